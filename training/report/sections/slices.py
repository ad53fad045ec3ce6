"""The section that filters by period, segment and channel: choices, and tables that the script fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from babel.dates import format_date

from features.clock import to_datetime
from training.analysis.slices import OTHER, Slices, has_others, slice_figures

if TYPE_CHECKING:
    from models.metrics import Interval
    from training.analysis.slices import SlicedColumn
    from training.report.report import Report
    from training.report.translator import Translator

_PATTERNS = {"month": "MMMM y", "quarter": "QQQ y", "year": "y"}


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``slices.html``; {} where nothing can be filtered.

    Returns:
        choices (name, title and options of each filter), figures (of all leads), stages, channels and groups
        (the names of the rows of each table).
    """
    slices = report.insights.slices
    if not isinstance(slices, Slices):
        return {}
    others = t("slices.others")
    periods = [
        (place, format_date(to_datetime(start), _PATTERNS[slices.period], locale=t.lang))
        for place, start in enumerate(slices.periods)
    ]
    columns: dict[Literal["segment", "channel"], SlicedColumn | None] = {
        "segment": slices.segment,
        "channel": slices.channel,
    }
    named = {
        name: _options(column, others if has_others(slices, name) else None, t)
        for name, column in columns.items()
        if column is not None
    }
    titles = {name: t.title(column.spec) for name, column in columns.items() if column is not None}
    return {
        "choices": [
            *([("period", t("slices.period"), periods)] if len(periods) > 1 else []),
            *((name, titles[name], options) for name, options in named.items()),
        ],
        "figures": slice_figures(slices),
        "stages": [t.label("stages", stage) for stage in slices.stages],
        "channels": [name for _, name in named.get("channel", [])],
        "rate": lambda rate: _rate(rate, t),
    }


def _options(column: SlicedColumn, others: str | None, t: Translator) -> list[tuple[int, str]]:
    values = [(place, t.value(column.spec, value)) for place, value in enumerate(column.values)]
    return values if others is None else [*values, (OTHER, others)]


def _rate(rate: Interval | None, t: Translator) -> str:
    return "" if rate is None else t.rate(rate)
