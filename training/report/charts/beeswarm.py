"""A beeswarm chart as in SHAP: a dot per lead, points on the x axis, values as colours."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from training.report.charts.vega import PALETTE, ROW, WIDTH, mark, nominal, quantitative, to_svg, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.analysis.drivers import BeeswarmPoint
    from training.report.charts.vega import Rows
    from training.report.translator import Translator

_BINS, _STEP, _MOST = 110, 2.6, 4
_NAME, _UNDER, _MIDDLE = 9, 17, 25
_TINTS = (
    (0.17, "low", 1.0),
    (0.4, "low", 0.55),
    (0.6, "muted", 0.45),
    (0.83, "high", 0.55),
    (1.0, "high", 1.0),
)


def beeswarm(features: Sequence[tuple[str, Sequence[BeeswarmPoint]]], t: Translator) -> str:
    """One row per feature; dots at the same place are stacked as far as there is room."""
    ends = [dot.points for _, dots in features for dot in dots]
    low, high = min(0.0, *ends), max(0.0, *ends)
    data: Rows = [
        {**dot, "y": i * ROW + _MIDDLE + dot["off"]}
        for i, (_, dots) in enumerate(features)
        for dot in _place_dots(dots, (high - low) / _BINS or 1.0)
    ]
    names: Rows = [
        {"y": i * ROW + _NAME, "name": name, "text": _span(dots, t)}
        for i, (name, dots) in enumerate(features)
    ]
    # One for each row, so that no line runs through a name.
    zero: Rows = [{"x": 0.0, "y": i * ROW + _UNDER, "end": (i + 1) * ROW} for i in range(len(features))]
    height = ROW * len(features)
    y = quantitative("y", axis=None, scale={"domain": [0, height], "range": [0, height], "nice": False})
    x = quantitative("x", axis=None, scale={"domain": [low, high], "nice": False, "padding": 5})
    shades = {"color": nominal("ink", scale=None), "opacity": quantitative("tint", scale=None)}
    text: dict[str, Any] = {"fontSize": 12, "baseline": "middle"}
    left, right = ({"y": y, "x": value(at), "text": nominal(of)} for at, of in ((0, "name"), (WIDTH, "text")))
    return to_svg(
        mark("rule", zero, {"x": x, "y": y, "y2": {"field": "end"}}, color=PALETTE["muted"], strokeWidth=1),
        mark("circle", data, {"x": x, "y": y, **shades}, size=13),
        mark("text", names, left, align="left", color=PALETTE["ink"], limit=WIDTH - 90, **text),
        mark("text", names, right, align="right", color=PALETTE["muted"], **text),
        height=height,
    )


def _span(dots: Sequence[BeeswarmPoint], t: Translator) -> str:
    points = [dot.points for dot in dots]
    return f"{t.signed(min(points), 0)} … {t.signed(max(points), 0)}"


def _place_dots(dots: Sequence[BeeswarmPoint], width: float) -> Iterator[dict[str, Any]]:
    """The position of each dot: on zero, one above, one below, and so on within its bin of ``width``."""
    for _, together in groupby(
        sorted(dots, key=lambda dot: dot.points), lambda dot: round(dot.points / width)
    ):
        for k, dot in enumerate(sorted(together, key=lambda dot: -1.0 if dot.height is None else dot.height)):
            step = (k + 1) // 2 * (1 if k % 2 else -1)
            ink, tint = _tint(dot.height)
            yield {"x": dot.points, "off": _STEP * max(-_MOST, min(_MOST, step)), "ink": ink, "tint": tint}


def _tint(height: float | None) -> tuple[str, float]:
    if height is None:
        return PALETTE["muted"], 0.8
    return next((PALETTE[ink], tint) for most, ink, tint in _TINTS if height <= most)
