"""What the template of a block is given beside the report: its tables and its charts, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.page import (
    accounts_view,
    audit_view,
    channels_view,
    funnel_view,
    model_views,
    offers_view,
    pointed_view,
    time_to_sql_view,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.page.words import Words
    from training.report import Report

    View = Callable[[Report, Words], dict[str, Any]]

VIEWS: dict[str, View] = {
    "worth": model_views.worth,
    "funnel": funnel_view.view,
    "mql-audit": audit_view.view,
    "channels": channels_view.view,
    "offers": offers_view.view,
    "accounts": accounts_view.view,
    "points-table": pointed_view.view,
    "time-to-sql": time_to_sql_view.view,
    "calibration": model_views.calibration,
    "drivers": model_views.drivers,
}


def views(report: Report, t: Words, shown: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The view of each block in ``shown`` that has one."""
    return {block: view(report, t) for block, view in VIEWS.items() if block in shown}
