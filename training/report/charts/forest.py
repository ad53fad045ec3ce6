"""Forest plots: estimates with their intervals, one row each, the name above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.report.charts.vega import (
    GUIDE,
    PALETTE,
    ROW,
    WIDTH,
    add_tips,
    in_percent,
    mark,
    nominal,
    ordinal,
    quantitative,
    to_svg,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.metrics import Interval
    from training.report.charts.vega import Rows, Spec
    from training.report.translator import Translator
    from training.stats.significance import Verdict

    At = Callable[[str], Spec]

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
    low = max(_MIN_RATIO, min(0.5, *(row.figure.low for row in marks)))
    high = min(_MAX_RATIO, max(2.0, *(row.figure.high for row in marks)))
    scale = {"type": "log", "domain": [low, high], "range": [0, _PLOT], "nice": False, "clamp": True}
    ticks = [tick for tick in (0.125, 0.25, 0.5, 1, 2, 4, 8) if low <= tick <= high]
    expression = "datum.value < 1 ? '1/' + format(1 / datum.value, 'd') : format(datum.value, 'd')"
    axis = {"values": ticks, "labelExpr": f"({expression}) + '×'", "grid": False, "title": None}  # noqa: RUF001  # meant
    return _forest_chart(marks, lambda field: quantitative(field, scale=scale, axis=axis), 1.0)


def rate_forest(marks: Sequence[ForestRow], reference: float | None, words: Translator) -> str:
    """Plot rates in percent from 0 to the largest; the dashed line is ``reference``, if given."""
    top = min(1.0, 1.05 * max(max(row.figure.high, row.forecast or 0.0) for row in marks))
    axis = {"tickCount": 4, "labelExpr": in_percent(words), "grid": False, "title": None}
    scale = {"domain": [0, top], "range": [0, _PLOT_OF_RATES], "nice": False}
    return _forest_chart(marks, lambda field: quantitative(field, scale=scale, axis=axis), reference)


def _forest_chart(marks: Sequence[ForestRow], at: At, reference: float | None) -> str:
    rows: Rows = [
        {
            "row": i,
            "name": each.name,
            "text": each.text,
            "value": each.figure.value,
            "low": each.figure.low,
            "high": each.figure.high,
            "ink": PALETTE[INKS[each.verdict]],
            "forecast": each.forecast,
        }
        for i, each in enumerate(marks)
    ]
    add_tips(rows)
    height = ROW * len(rows) + _TOP
    y, colour = ordinal("row", axis=None), nominal("ink", scale=None)
    dots: Spec = {"filled": True, "size": 64, "opacity": 1}
    forecast: dict[str, Any] = {"color": PALETTE["against"], "height": 16, "thickness": 2.4}
    with_forecast = [row for row in rows if row["forecast"] is not None]
    spans = {"y": y, "x": at("low"), "x2": {"field": "high"}, "color": colour}
    names = {"y": y, "x": value(0), "text": nominal("name")}
    figures = {"y": y, "x": value(WIDTH), "text": nominal("text")}
    layers = [
        *([] if reference is None else [_guide(reference, at("value"), len(rows), height)]),
        mark("rule", rows, spans, strokeWidth=2, yOffset=_BELOW),
        mark("point", rows, {"y": y, "x": at("value"), "color": colour}, yOffset=_BELOW, **dots),
        *(
            [mark("tick", rows, {"y": y, "x": at("forecast")}, yOffset=_BELOW, **forecast)]
            if with_forecast
            else []
        ),
        mark("text", rows, names, align="left", color=PALETTE["ink"], dy=-9, limit=WIDTH, fontSize=12),
        mark("text", rows, figures, align="right", color=PALETTE["muted"], dy=_BELOW, fontSize=12),
    ]
    return to_svg(*layers, height=height, resolve={"scale": {"y": "independent"}})


def _guide(reference: float, x: Spec, rows: int, height: int) -> Spec:
    """The dashed line, interrupted where names stand."""
    slot = height / rows
    pieces: Rows = [
        {"value": reference, "y": (i + 0.5) * slot - _UNDER, "end": min(height, (i + 1.5) * slot - _OVER)}
        for i in range(rows)
    ]
    scale = {"domain": [0, height], "range": [0, height], "nice": False}
    y = quantitative("y", axis=None, scale=scale)
    return mark("rule", pieces, {"x": x, "y": y, "y2": {"field": "end"}}, **GUIDE)
