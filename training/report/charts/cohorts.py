"""The chart of the funnel's cohorts: the naive and the matured rate of each period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.report.charts.vega import PALETTE, conditional, mark, ordinal, percent_axis, to_svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.analysis.funnel import Cohort
    from training.report.charts.vega import Rows, Spec
    from training.report.translator import Translator

_LABELS = 5
PAPER = "transparent"
# Leads that were old enough, for a rate to be drawn: the interval of two would stretch the axis of all.
FEWEST = 10


def cohort_chart(named_cohorts: Sequence[tuple[str, Cohort]], title: str, words: Translator) -> str:
    """Plot each cohort's matured rate with its interval, hollow while maturing, and its naive rate.

    A rate of fewer than ``FEWEST`` leads is left to the table.
    """
    drawn = [(name, cohort) for name, cohort in named_cohorts if cohort.target.old >= FEWEST]
    naive: Rows = [{"x": name, "y": cohort.target.naive} for name, cohort in named_cohorts]
    dots: Rows = [
        {"x": name, "y": cohort.target.matured.value, "maturing": cohort.maturing}
        for name, cohort in drawn
        if cohort.target.matured is not None
    ]
    spans: Rows = [
        {"x": name, "y": cohort.target.matured.low, "high": cohort.target.matured.high}
        for name, cohort in drawn
        if cohort.target.matured is not None
    ]
    top = min(1.0, 1.05 * max(*(row["y"] for row in naive), *(row["high"] for row in spans), 0.01))
    x, y = _periods([name for name, _ in named_cohorts]), percent_axis("y", title, words, top)
    fill = conditional("datum.maturing", PAPER, PALETTE["accent"])
    at, ink = {"x": x, "y": y}, PALETTE["accent"]
    return to_svg(
        mark("line", naive, at, color=PALETTE["against"], strokeDash=[5, 4], strokeWidth=1.8),
        mark("rule", spans, {**at, "y2": {"field": "high"}}, color=ink, strokeWidth=1.6),
        mark("point", dots, {**at, "fill": fill}, color=ink, size=55, opacity=1, strokeWidth=1.8),
    )


def _periods(names: Sequence[str]) -> Spec:
    """An axis of periods with as many labels as a phone has room for."""
    ticks = list(names)[:: -(-len(names) // _LABELS)]
    return ordinal("x", title=None, sort=list(names), axis={"labelAngle": 0, "values": ticks})
