"""The report's charts: Altair specifications turned into SVG that needs no script, font or network.

Colours are the five of ``PALETTE`` and nothing else: the page's stylesheet finds them by value and replaces
them in the dark, so that one SVG is readable on both papers. Sizes fit a phone; the page scales them up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.metrics import Interval
    from training.page.reliability import Group
    from training.page.words import Words

PALETTE = {
    "ink": "#1c2430",
    "muted": "#5b6675",
    "line": "#d9dfe6",
    "accent": "#0b6e75",
    "against": "#b4481e",
}
WIDTH, HEIGHT = 300, 230
ROW = 38

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


def gains(
    curve: Sequence[tuple[float, float]],
    capacity: tuple[float, float],
    today: tuple[float, float] | None,
    words: Words,
) -> str:
    """The share of conversions among the best leads, against calling them in any order, and as today."""
    x, y = share("x", words("worth.called"), words), share("y", words("worth.reached"), words)
    drop = [(capacity[0], 0.0), capacity, (0.0, capacity[1])]
    ink: dict[str, Any] = {"color": PALETTE["against"], "filled": True, "opacity": 1}
    now: dict[str, Any] = {
        "color": PALETTE["ink"],
        "filled": True,
        "opacity": 1,
        "shape": "diamond",
        "size": 120,
    }
    layers = [
        line([(0.0, 0.0), (1.0, 1.0)], x, y).mark_line(**GUIDE),
        line(drop, x, y).mark_line(color=PALETTE["against"], strokeWidth=1.2),
        line([(0.0, 0.0), *curve], x, y).mark_line(color=PALETTE["accent"], strokeWidth=2.6),
        line([capacity], x, y).mark_point(**ink, size=90),
        *([] if today is None else [line([today], x, y).mark_point(**now)]),
    ]
    return svg(alt.layer(*layers))


def reliability(groups: Sequence[Group], words: Words) -> str:
    """What came against what was forecast, each with its interval; on the diagonal, forecasts came true."""
    top = min(1.0, 1.05 * max(max(group.observed.high, group.forecast) for group in groups))
    x = share("x", words("calibration.forecast"), words, top)
    y = share("y", words("calibration.observed"), words, top)
    dots = line([(group.forecast, group.observed.value) for group in groups], x, y)
    spans: Rows = [{"x": g.forecast, "y": g.observed.low, "high": g.observed.high} for g in groups]
    return svg(
        line([(0.0, 0.0), (top, top)], x, y).mark_line(**GUIDE)
        + chart(spans).encode(x=x, y=y, y2="high:Q").mark_rule(color=PALETTE["accent"], strokeWidth=1.6)
        + dots.mark_point(color=PALETTE["accent"], filled=True, size=60, opacity=1)
    )


def bars(rows: Sequence[tuple[str, float]], words: Words, *, signed: bool = True) -> str:
    """One bar a name, in the order given, the name above it; below zero in the other colour."""
    show = words.signed if signed else lambda value: words.number(value, 1)
    data: Rows = [
        {"row": i, "name": name, "value": value, "text": show(value), "zero": 0.0}
        for i, (name, value) in enumerate(rows)
    ]
    reach = max(1e-9, *(abs(value) for _, value in rows))
    domain = [-reach if any(value < 0 for _, value in rows) else 0.0, reach]
    x = alt.X("value:Q", axis=None, scale=alt.Scale(domain=domain, nice=False))
    base = chart(data).encode(y=alt.Y("row:O", axis=None))
    colour = alt.condition("datum.value < 0", alt.value(PALETTE["against"]), alt.value(PALETTE["accent"]))
    text: dict[str, Any] = {"dy": -8, "fontSize": 12, "limit": WIDTH - 80}
    layers = alt.layer(
        base.mark_bar(height=9, yOffset=5).encode(x=x, x2="zero:Q", color=colour),
        base.mark_tick(color=PALETTE["muted"], height=15, yOffset=5, thickness=1).encode(x=alt.X("zero:Q")),
        base.mark_text(align="left", color=PALETTE["ink"], **text).encode(x=alt.value(0), text="name:N"),
        base.mark_text(align="right", color=PALETTE["muted"], **text).encode(
            x=alt.value(WIDTH), text="text:N"
        ),
    )
    return svg(layers.properties(height=ROW * len(rows)))


def differences_by_round(rounds: Mapping[str, Mapping[str, Interval]]) -> str:
    """Each name's difference in each round, side by side with its interval; 0 is no difference."""
    rows: Rows = [
        {"round": when, "name": name, "value": one.value, "low": one.low, "high": one.high, "zero": 0.0}
        for when, named in rounds.items()
        for name, one in named.items()
    ]
    names = list(dict.fromkeys(row["name"] for row in rows))
    inks = [PALETTE[name] for name in ("accent", "against", "muted", "ink")]
    colour = alt.Color(
        "name:N",
        title=None,
        scale=alt.Scale(domain=names, range=[inks[i % len(inks)] for i in range(len(names))]),
        legend=alt.Legend(orient="bottom", labelColor=PALETTE["muted"], columns=3),
    )
    # More names than inks: the mark tells apart what the ink does not.
    shape = alt.Shape("name:N", title=None, scale=alt.Scale(domain=names))
    x = alt.X("round:O", title=None, sort=list(rounds), axis=alt.Axis(labelAngle=-30))
    y = alt.Y("value:Q", title="log-loss against the default")
    base = chart(rows).encode(x=x, xOffset=alt.XOffset("name:N", sort=names))
    return svg(
        chart(rows[:1]).mark_rule(**GUIDE).encode(y="zero:Q")
        + base.mark_rule(strokeWidth=1.6)
        .encode(y=y, y2="high:Q", color=colour)
        .transform_calculate(value="datum.low")
        + base.mark_point(filled=True, size=50, opacity=1).encode(y=y, color=colour, shape=shape)
    )


def chart(rows: Rows) -> alt.Chart:
    """A chart of rows that are in the page, not fetched."""
    return alt.Chart(alt.InlineData(values=rows))


def line(points: Sequence[tuple[float, float]], x: alt.X, y: alt.Y) -> alt.Chart:
    """Points joined in the order given, whatever their x."""
    rows: Rows = [{"x": at, "y": height, "step": i} for i, (at, height) in enumerate(points)]
    return chart(rows).encode(x=x, y=y, order=alt.Order("step:Q"))


def share(field: str, title: str, words: Words, top: float = 1.0) -> Any:
    """An axis from nothing to ``top``, in percent."""
    channel = alt.X if field == "x" else alt.Y
    sign = "%" if words.lang == "en" else " %"
    axis = alt.Axis(tickCount=5, labelExpr=f"format(100 * datum.value, '.3~r') + '{sign}'")
    scale = alt.Scale(domain=[0, top], nice=False)
    return channel(f"{field}:Q", title=title, axis=axis, scale=scale)


def svg(drawing: alt.LayerChart | alt.FacetChart) -> str:
    """The chart as an inline SVG element, hidden from screen readers and free of ids and namespaces.

    Screen readers get the sentence below it and the table behind it; Vega's own labels would read every dot.
    """
    spec = {"width": WIDTH, "height": HEIGHT, **drawing.to_dict(), "config": _CONFIG}
    svg = str(vl_convert.vegalite_to_svg(spec))
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace(
        "<svg ", '<svg aria-hidden="true" focusable="false" ', 1
    )


def drawn(markup: str) -> Markup:
    """A chart that a template may put in as it is."""
    return Markup(markup)  # noqa: S704  # the chart library escapes the texts that it draws
