"""The basis of the report's charts: Altair specifications turned into SVG without script, font or network.

Colours are those of ``PALETTE`` only: the page's stylesheet finds them by value and replaces them in dark
mode, so that one SVG suits both. Sizes fit a phone; the page scales them up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.report.translator import Translator

PALETTE = {
    "ink": "#1c2430",
    "muted": "#5b6675",
    "line": "#d9dfe6",
    "accent": "#0b6e75",
    "against": "#b4481e",
    "low": "#2f6fb3",
    "high": "#b3246b",
}
WIDTH, HEIGHT = 360, 250
ROW = 36

GUIDE: dict[str, Any] = {"color": PALETTE["muted"], "strokeDash": [4, 4], "strokeWidth": 1.2}
_CONFIG: dict[str, Any] = {
    "aria": False,
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": PALETTE["muted"],
        "labelFontSize": 12,
        "titleColor": PALETTE["ink"],
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "gridColor": PALETTE["line"],
        "domainColor": PALETTE["muted"],
        "tickColor": PALETTE["muted"],
    },
}

Rows = list[dict[str, Any]]


def chart(rows: Rows) -> alt.Chart:
    """A chart with inline data."""
    return alt.Chart(alt.InlineData(values=rows))


def line_chart(points: Sequence[tuple[float, float]], x: alt.X, y: alt.Y) -> alt.Chart:
    """Points joined in the given order, whatever their x."""
    rows: Rows = [{"x": at, "y": height, "step": i} for i, (at, height) in enumerate(points)]
    return chart(rows).encode(x=x, y=y, order=alt.Order("step:Q"))


def percent_axis(field: str, title: str, words: Translator, top: float = 1.0) -> Any:
    """An axis from 0 to ``top``, in percent."""
    channel = alt.X if field == "x" else alt.Y
    axis = alt.Axis(tickCount=5, labelExpr=in_percent(words))
    scale = alt.Scale(domain=[0, top], nice=False)
    return channel(f"{field}:Q", title=title, axis=axis, scale=scale)


def in_percent(words: Translator) -> str:
    """A Vega expression that labels an axis in percent; Vega knows no decimal commas."""
    point = words.number(0.5, 1)[1]
    return f"replace(format(100 * datum.value, '.3~r'), '.', '{point}') + '{words.percent_sign}'"


def to_svg(drawing: alt.LayerChart | alt.FacetChart) -> str:
    """Render as an inline SVG element without ids and namespaces, hidden from screen readers.

    Screen readers get the sentence below it and the table behind it; Vega's own labels would read every dot.
    """
    spec = {"width": WIDTH, "height": HEIGHT, **drawing.to_dict(), "config": _CONFIG}
    svg = str(vl_convert.vegalite_to_svg(spec))
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace(
        "<svg ", '<svg aria-hidden="true" focusable="false" ', 1
    )


def chart_markup(markup: str) -> Markup:
    """Mark a chart as safe for templates."""
    return Markup(markup)  # noqa: S704  # the chart library escapes the texts that it draws
