"""The charts of the model: its gains curve and its calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.report.charts.vega import GUIDE, PALETTE, add_tips, mark, path, percent_axis, to_svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.analysis.calibration import CalibrationGroup
    from training.report.charts.vega import Rows
    from training.report.translator import Translator

# Every tenth point of the gains curve, 5 % of the leads apart, has a tip.
_STEPS_OF_TIPS = 10


def gains_chart(
    curve: Sequence[tuple[float, float]],
    capacity: tuple[float, float],
    words: Translator,
) -> str:
    """Plot the share of conversions captured against the share of leads called.

    Args:
        curve: Points of the gains curve.
        capacity: The point at capacity.
        words: The language.
    """
    x, y = percent_axis("x", words("worth.called"), words), percent_axis("y", words("worth.reached"), words)
    drop_lines = [(capacity[0], 0.0), capacity, (0.0, capacity[1])]
    capacity_mark: dict[str, Any] = {"color": PALETTE["against"], "filled": True, "opacity": 1}
    tips: Rows = [
        {
            "x": share,
            "y": captured,
            "tip": words("worth.gains", share=words.percent(share), captured=words.percent(captured)),
        }
        for share, captured in curve[_STEPS_OF_TIPS - 1 :: _STEPS_OF_TIPS]
    ]
    return to_svg(
        path([(0.0, 0.0), (1.0, 1.0)], x, y, **GUIDE),
        path(drop_lines, x, y, color=PALETTE["against"], strokeWidth=1.2),
        path([(0.0, 0.0), *curve], x, y, color=PALETTE["accent"], strokeWidth=2.6),
        path([capacity], x, y, "point", **capacity_mark, size=90),
        # What a reader points at; the line itself is too thin.
        mark("point", tips, {"x": x, "y": y}, filled=True, opacity=0, size=300, color=PALETTE["accent"]),
    )


def calibration_chart(groups: Sequence[CalibrationGroup], words: Translator) -> str:
    """Plot observed rates with intervals against mean predictions; the diagonal is perfect."""
    top = min(1.0, 1.05 * max(max(group.observed.high, group.forecast) for group in groups))
    x = percent_axis("x", words("calibration.forecast"), words, top)
    y = percent_axis("y", words("calibration.observed"), words, top)
    spans: Rows = [
        {
            "x": group.forecast,
            "y": group.observed.low,
            "high": group.observed.high,
            "value": group.observed.value,
            "name": f"{words('calibration.forecast')} {words.percent(group.forecast, 1)}",
            "text": f"{words('calibration.observed')} {words.rate(group.observed)}",
        }
        for group in groups
    ]
    add_tips(spans)
    value = percent_axis("value", words("calibration.observed"), words, top)
    ink = PALETTE["accent"]
    return to_svg(
        path([(0.0, 0.0), (top, top)], x, y, **GUIDE),
        mark("rule", spans, {"x": x, "y": y, "y2": {"field": "high"}}, color=ink, strokeWidth=1.6),
        mark("point", spans, {"x": x, "y": value}, color=ink, filled=True, size=60, opacity=1),
    )
