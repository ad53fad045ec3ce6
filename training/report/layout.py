"""The layout of the page: its sections in order, and the view of each.

The id of a section is its anchor and names all that belongs to it: ``templates/<id>.html``, its sentences in
``features/locale/<lang>/<id>.po``, its view in ``sections``, and its figures in ``Report`` or
``Report.insights`` (there with an underscore for a hyphen), which come from ``training.analysis``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.not_applicable import NotApplicable
from training.report.sections import (
    accounts,
    calibration,
    channels,
    data_health,
    drivers,
    fairness,
    funnel,
    lift,
    model_card,
    mql_audit,
    offers,
    points_comparison,
    slices,
    summary,
    time_to_conversion,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.report.report import Report
    from training.report.translator import Translator

    View = Callable[[Report, Translator], dict[str, Any]]

BLOCKS: dict[str, View] = {
    "summary": summary.view,
    "worth": lift.view,
    "mql-audit": mql_audit.view,
    "time-to-sql": time_to_conversion.view,
    "accounts": accounts.view,
    "slices": slices.view,
    "funnel": funnel.view,
    "channels": channels.view,
    "offers": offers.view,
    "drivers": drivers.view,
    "points-table": points_comparison.view,
    "calibration": calibration.view,
    "fairness": fairness.view,
    "health": data_health.view,
    "model-card": model_card.view,
}

PARTS: dict[str, tuple[str, ...]] = {
    "act": ("summary", "worth", "mql-audit", "time-to-sql", "accounts"),
    "learn": ("slices", "funnel", "channels", "offers", "drivers", "points-table"),
    "trust": ("calibration", "fairness", "health", "model-card"),
}
"""The blocks by what a reader wants of them: to act, to learn about leads, or to know what to trust."""

OPENED = ("worth", "mql-audit")
"""The sections that are open when the page opens; of the others the title and the takeaway are shown."""

_HISTORY_REASONS = {"no_history", "no_channels"}


def missing_reason(report: Report, block: str) -> NotApplicable | None:
    """Why the section ``block`` is not applicable, or None if it is."""
    part = getattr(report.insights, block.replace("-", "_"), None)
    return part if isinstance(part, NotApplicable) else None


def history_only_sections(report: Report) -> tuple[str, ...]:
    """The sections that no flat export can fill; the page names them in one line."""
    missing = ((block, missing_reason(report, block)) for block in BLOCKS) if report.card.flat else ()
    return tuple(block for block, why in missing if why is not None and why.reason in _HISTORY_REASONS)
