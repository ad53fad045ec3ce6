"""The blocks of the page: their order, their names, and which of them may have nothing to say.

A block's id is its anchor, its template (``templates/<id>.html``), its file of sentences and, with an
underscore for a hyphen, its field in ``Report.insights``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.insight.rates import NotApplicable

if TYPE_CHECKING:
    from training.report import Report

BLOCKS = (
    "summary",
    "worth",
    "funnel",
    "mql-audit",
    "channels",
    "offers",
    "drivers",
    "time-to-sql",
    "calibration",
    "accounts",
    "points-table",
    "health",
    "model-card",
)


def absent(report: Report, block: str) -> NotApplicable | None:
    """Why ``block`` is not filled, or None if it is."""
    part = getattr(report.insights, block.replace("-", "_"), None)
    return part if isinstance(part, NotApplicable) else None
