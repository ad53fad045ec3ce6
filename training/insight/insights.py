"""The blocks of the report that a history fills: one field each, in the order of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.insight.rates import NotApplicable

if TYPE_CHECKING:
    from training.report import ReportInput

_LATER = NotApplicable("not_made")


@dataclass(frozen=True, slots=True)
class Insights:
    """What each block shows, or why it cannot."""

    funnel: NotApplicable = _LATER
    mql_audit: NotApplicable = _LATER
    channels: NotApplicable = _LATER
    offers: NotApplicable = _LATER
    time_to_sql: NotApplicable = _LATER
    accounts: NotApplicable = _LATER
    points_table: NotApplicable = _LATER


def insights(given: ReportInput) -> Insights:  # noqa: ARG001  # each block takes it
    """Every block of ``given``."""
    return Insights()
