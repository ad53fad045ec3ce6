"""Forest plots: estimates with their intervals, one row each, the name above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from training.report.charts.vega import GUIDE, PALETTE, ROW, WIDTH, chart, in_percent, to_svg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.metrics import Interval
    from training.report.charts.vega import Rows
    from training.report.translator import Translator
    from training.stats.significance import Verdict

    At = Callable[[str], alt.X]

INKS = {"more": "accent", "less": "against", "level": "muted", "few": "muted"}
_MIN_RATIO, _MAX_RATIO = 1 / 8, 8.0
_BELOW = 7
_UNDER, _OVER = 2, 17
# Figures stand right of the marks, so that no line runs through them.
_PLOT, _PLOT_OF_RATES = 200, 210
_TOP = 14


@dataclass(frozen=True, slots=True)
class ForestRow:
    """A row of a forest plot.

    Attributes:
        name: Its name.
        text: The estimate as text.
        figure: The estimate with its interval.
        verdict: Decides the colour.
        forecast: A prediction to compare with, if any.
    """

    name: str
    text: str
    figure: Interval
    verdict: Verdict = "level"
    forecast: float | None = None


def ratio_forest(marks: Sequence[ForestRow]) -> str:
    """Plot ratios on a log scale around 1, the dashed line.

    The scale ends at 1/8 and 8; intervals beyond are cut off there.
    """
    low = max(_MIN_RATIO, min(0.5, *(mark.figure.low for mark in marks)))
    high = min(_MAX_RATIO, max(2.0, *(mark.figure.high for mark in marks)))
    scale = alt.Scale(type="log", domain=[low, high], range=[0, _PLOT], nice=False, clamp=True)
    ticks = [tick for tick in (0.125, 0.25, 0.5, 1, 2, 4, 8) if low <= tick <= high]
    expression = "datum.value < 1 ? '1/' + format(1 / datum.value, 'd') : format(datum.value, 'd')"
    axis = alt.Axis(values=ticks, labelExpr=f"({expression}) + '×'", grid=False, title=None)  # noqa: RUF001  # meant
    return _forest_chart(marks, lambda field: alt.X(f"{field}:Q", scale=scale, axis=axis), 1.0)


def rate_forest(marks: Sequence[ForestRow], reference: float | None, words: Translator) -> str:
    """Plot rates in percent from 0 to the largest; the dashed line is ``reference``, if given."""
    top = min(1.0, 1.05 * max(max(mark.figure.high, mark.forecast or 0.0) for mark in marks))
    axis = alt.Axis(tickCount=4, labelExpr=in_percent(words), grid=False, title=None)
    scale = alt.Scale(domain=[0, top], range=[0, _PLOT_OF_RATES], nice=False)
    return _forest_chart(marks, lambda field: alt.X(f"{field}:Q", scale=scale, axis=axis), reference)


def _forest_chart(marks: Sequence[ForestRow], at: At, reference: float | None) -> str:
    rows: Rows = [
        {
            "row": i,
            "name": mark.name,
            "text": mark.text,
            "value": mark.figure.value,
            "low": mark.figure.low,
            "high": mark.figure.high,
            "ink": PALETTE[INKS[mark.verdict]],
            "forecast": mark.forecast,
        }
        for i, mark in enumerate(marks)
    ]
    height = ROW * len(rows) + _TOP
    base = chart(rows).encode(y=alt.Y("row:O", axis=None))
    colour = alt.Color("ink:N", scale=None)
    text: dict[str, Any] = {"fontSize": 12}
    forecast: dict[str, Any] = {"color": PALETTE["against"], "height": 16, "thickness": 2.4}
    with_forecast = [row for row in rows if row["forecast"] is not None]
    layers = [
        *([] if reference is None else [_guide(reference, len(rows), height).encode(x=at("value"))]),
        base.mark_rule(strokeWidth=2, yOffset=_BELOW).encode(x=at("low"), x2="high:Q", color=colour),
        base.mark_point(filled=True, size=64, opacity=1, yOffset=_BELOW).encode(x=at("value"), color=colour),
        *([base.mark_tick(**forecast, yOffset=_BELOW).encode(x=at("forecast"))] if with_forecast else []),
        base.mark_text(align="left", color=PALETTE["ink"], dy=-9, limit=WIDTH, **text).encode(
            x=alt.value(0), text="name:N"
        ),
        base.mark_text(align="right", color=PALETTE["muted"], dy=_BELOW, **text).encode(
            x=alt.value(WIDTH), text="text:N"
        ),
    ]
    return to_svg(alt.layer(*layers).properties(height=height).resolve_scale(y="independent"))


def _guide(reference: float, rows: int, height: int) -> alt.Chart:
    """The dashed line, interrupted where names stand."""
    slot = height / rows
    pieces: Rows = [
        {"value": reference, "y": (i + 0.5) * slot - _UNDER, "end": min(height, (i + 1.5) * slot - _OVER)}
        for i in range(rows)
    ]
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[0, height], range=[0, height], nice=False))
    line: alt.Chart = chart(pieces).mark_rule(**GUIDE).encode(y=y, y2="end:Q")
    return line
