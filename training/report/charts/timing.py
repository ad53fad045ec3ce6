"""The charts of time: cumulative incidence over the first days, and hazard rates by week."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.report.charts.vega import PALETTE, mark, nominal, percent_axis, quantitative, to_svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.metrics import Interval
    from training.analysis.time_to_conversion import ConversionCurve, ShareByDay
    from training.report.charts.vega import Rows, Spec
    from training.report.translator import Translator

_MARK = 30
_WEEKS = 12
# Where inks run out, dashes tell curves apart; the last one is for the pooled rest.
_STROKES = (
    ("accent", [1, 0]),
    ("against", [1, 0]),
    ("ink", [1, 0]),
    ("accent", [6, 3]),
    ("against", [6, 3]),
    ("muted", [2, 3]),
)


def conversion_chart(points: Sequence[ShareByDay], title: str, words: Translator) -> str:
    """Plot the cumulative incidence of all leads with its interval as a band."""
    top = _top(points)
    x, y = _days(points[-1].days, words), percent_axis("y", title, words, top)
    band: Rows = [{"x": p.days, "y": p.share.low, "high": p.share.high} for p in points]
    rows: Rows = [{"x": p.days, "y": p.share.value} for p in points]
    return to_svg(
        mark("area", band, {"x": x, "y": y, "y2": {"field": "high"}}, color=PALETTE["accent"], opacity=0.18),
        mark("line", rows, {"x": x, "y": y}, color=PALETTE["accent"], strokeWidth=2.4),
    )


def segment_chart(named: Sequence[tuple[str, ConversionCurve]], title: str, words: Translator) -> str:
    """Plot one curve per segment, told apart by colour and dash."""
    curves = [(name, curve.points) for name, curve in named if curve.points]
    rows: Rows = [{"x": p.days, "y": p.share.value, "name": name} for name, points in curves for p in points]
    top = min(1.0, 1.05 * max(row["y"] for row in rows) or 1.0)
    names = [name for name, _ in curves]
    strokes = [(PALETTE[ink], dash) for ink, dash in (*_STROKES[: len(names) - 1], _STROKES[-1])]
    legend = {
        "orient": "bottom",
        "columns": 2,
        "labelColor": PALETTE["muted"],
        "symbolSize": 300,
        "labelLimit": 130,
    }
    inks, dashes = ({"domain": names, "range": list(each)} for each in zip(*strokes, strict=True))
    colour = nominal("name", title=None, scale=inks, legend=legend)
    dash = nominal("name", title=None, scale=dashes, legend=legend)
    x, y = _days(max(row["x"] for row in rows), words), percent_axis("y", title, words, top)
    return to_svg(mark("line", rows, {"x": x, "y": y, "color": colour, "strokeDash": dash}, strokeWidth=2))


def hazard_chart(hazards: Sequence[tuple[int, Interval]], title: str, words: Translator) -> str:
    """Plot the hazard rate by week with its interval."""
    top = 1.05 * max(rate.high for _, rate in hazards)
    first, last = hazards[0][0], hazards[-1][0]
    x = quantitative(
        "x",
        title=words("time-to-sql.week"),
        axis={"values": list(range(first, last + 1, 1 + (last - first) // _WEEKS)), "grid": False},
        scale={"domain": [first - 0.5, last + 0.5], "nice": False},
    )
    y = percent_axis("y", title, words, top)
    spans: Rows = [{"x": week, "y": rate.low, "high": rate.high} for week, rate in hazards]
    dots: Rows = [{"x": week, "y": rate.value} for week, rate in hazards]
    ink = PALETTE["accent"]
    return to_svg(
        mark("rule", spans, {"x": x, "y": y, "y2": {"field": "high"}}, color=ink, strokeWidth=1.6),
        mark("point", dots, {"x": x, "y": y}, color=ink, filled=True, size=60, opacity=1),
    )


def _days(last: int, words: Translator) -> Spec:
    ticks = list(range(0, last + 1, _MARK))
    return quantitative(
        "x",
        title=words("time-to-sql.days"),
        axis={"values": ticks, "grid": False},
        scale={"domain": [0, last], "nice": False},
    )


def _top(points: Sequence[ShareByDay]) -> float:
    return min(1.0, 1.05 * max(point.share.high for point in points) or 1.0)
