"""The funnel's charts: how many leads entered each stage, and each month's rate in two ways of counting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from training.page.charts import PALETTE, ROW, WIDTH, chart, share, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.insight.funnel import Cohort
    from training.page.charts import Rows
    from training.page.words import Words

_LABELS = 5
PAPER = "transparent"


def stages(counts: Sequence[tuple[str, int]], words: Words) -> str:
    """One bar a stage in the order of the funnel, its name and its share of all leads above it."""
    first = max(1, counts[0][1])
    data: Rows = [
        {
            "row": i,
            "name": name,
            "value": count,
            "text": f"{words.number(count)} · {words.percent(count / first)}",
        }
        for i, (name, count) in enumerate(counts)
    ]
    x = alt.X("value:Q", axis=None, scale=alt.Scale(domain=[0, first], nice=False))
    base = chart(data).encode(y=alt.Y("row:O", axis=None))
    drawing = alt.layer(
        base.mark_bar(height=9, yOffset=5, color=PALETTE["accent"]).encode(x=x),
        *labels(base),
    )
    return svg(drawing.properties(height=ROW * len(counts)))


def labels(base: alt.Chart) -> tuple[alt.Chart, alt.Chart]:
    """Above each row its ``name`` at the left and its ``text`` at the right."""
    above: dict[str, Any] = {"dy": -8, "fontSize": 12}
    names = base.mark_text(align="left", color=PALETTE["ink"], limit=WIDTH - 100, **above)
    texts = base.mark_text(align="right", color=PALETTE["muted"], **above)
    return names.encode(x=alt.value(0), text="name:N"), texts.encode(x=alt.value(WIDTH), text="text:N")


def cohorts(found: Sequence[tuple[str, Cohort]], title: str, words: Words) -> str:
    """Each cohort's matured rate with its interval, hollow while maturing, and its naive rate, dashed."""
    naive: Rows = [{"x": name, "y": one.target.naive} for name, one in found]
    dots: Rows = [
        {"x": name, "y": one.target.matured.value, "maturing": one.maturing}
        for name, one in found
        if one.target.matured is not None
    ]
    spans: Rows = [
        {"x": name, "y": one.target.matured.low, "high": one.target.matured.high}
        for name, one in found
        if one.target.matured is not None
    ]
    top = min(1.0, 1.05 * max(*(row["y"] for row in naive), *(row["high"] for row in spans), 0.01))
    x, y = _periods([name for name, _ in found]), share("y", title, words, top)
    fill = alt.condition("datum.maturing", alt.value(PAPER), alt.value(PALETTE["accent"]))
    return svg(
        chart(naive).mark_line(color=PALETTE["against"], strokeDash=[5, 4], strokeWidth=1.8).encode(x=x, y=y)
        + chart(spans).mark_rule(color=PALETTE["accent"], strokeWidth=1.6).encode(x=x, y=y, y2="high:Q")
        + chart(dots)
        .mark_point(color=PALETTE["accent"], size=55, opacity=1, strokeWidth=1.8)
        .encode(x=x, y=y, fill=fill)
    )


def _periods(names: Sequence[str]) -> alt.X:
    """An axis of periods that writes down only as many as a phone has room for."""
    shown = list(names)[:: -(-len(names) // _LABELS)]
    axis = alt.Axis(labelAngle=0, values=shown)
    return alt.X("x:O", title=None, sort=list(names), axis=axis)
