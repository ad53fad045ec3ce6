"""The chart of the funnel's cohorts: the naive and the matured rate of each period."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from training.report.charts.vega import PALETTE, chart, percent_axis, to_svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.analysis.funnel import Cohort
    from training.report.charts.vega import Rows
    from training.report.translator import Translator

_LABELS = 5
PAPER = "transparent"


def cohort_chart(named_cohorts: Sequence[tuple[str, Cohort]], title: str, words: Translator) -> str:
    """Plot each cohort's matured rate with its interval, hollow while maturing, and its naive rate."""
    naive: Rows = [{"x": name, "y": cohort.target.naive} for name, cohort in named_cohorts]
    dots: Rows = [
        {"x": name, "y": cohort.target.matured.value, "maturing": cohort.maturing}
        for name, cohort in named_cohorts
        if cohort.target.matured is not None
    ]
    spans: Rows = [
        {"x": name, "y": cohort.target.matured.low, "high": cohort.target.matured.high}
        for name, cohort in named_cohorts
        if cohort.target.matured is not None
    ]
    top = min(1.0, 1.05 * max(*(row["y"] for row in naive), *(row["high"] for row in spans), 0.01))
    x, y = _periods([name for name, _ in named_cohorts]), percent_axis("y", title, words, top)
    fill = alt.condition("datum.maturing", alt.value(PAPER), alt.value(PALETTE["accent"]))
    return to_svg(
        chart(naive).mark_line(color=PALETTE["against"], strokeDash=[5, 4], strokeWidth=1.8).encode(x=x, y=y)
        + chart(spans).mark_rule(color=PALETTE["accent"], strokeWidth=1.6).encode(x=x, y=y, y2="high:Q")
        + chart(dots)
        .mark_point(color=PALETTE["accent"], size=55, opacity=1, strokeWidth=1.8)
        .encode(x=x, y=y, fill=fill)
    )


def _periods(names: Sequence[str]) -> alt.X:
    """An axis of periods with as many labels as a phone has room for."""
    ticks = list(names)[:: -(-len(names) // _LABELS)]
    axis = alt.Axis(labelAngle=0, values=ticks)
    return alt.X("x:O", title=None, sort=list(names), axis=axis)
