"""What the template of a block is given beside the report: its tables and its charts, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.page.words import Words
    from training.report import Report

    View = Callable[[Report, Words], dict[str, Any]]

VIEWS: dict[str, View] = {}


def views(report: Report, t: Words, shown: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The view of each block in ``shown`` that has one."""
    return {block: view(report, t) for block, view in VIEWS.items() if block in shown}
