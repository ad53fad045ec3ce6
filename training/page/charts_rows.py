"""Charts with a row a name, the name above its marks: forecasts beside outcomes, and the spread of points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from training.page.charts import PALETTE, ROW, WIDTH, chart, svg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.page.charts import Rows
    from training.page.reliability import Group
    from training.page.words import Words

_BELOW = 6


def outcomes(groups: Sequence[tuple[str, Group]], t: Words) -> str:
    """What came as a dot with its interval, what was forecast as an upright line; a group a row."""
    rows: Rows = [
        {
            "row": i,
            "name": name,
            "text": t.percent(group.observed.value, 1),
            "value": group.observed.value,
            "low": group.observed.low,
            "high": group.observed.high,
            "forecast": group.forecast,
        }
        for i, (name, group) in enumerate(groups)
    ]
    at = _axis(0.0, max(max(row["high"], row["forecast"]) for row in rows))
    base, ink = _base(rows), PALETTE["accent"]
    forecast: dict[str, Any] = {"color": PALETTE["against"], "height": 18, "thickness": 2.4}
    return _svg(
        rows,
        base.mark_rule(color=ink, strokeWidth=2, yOffset=_BELOW).encode(x=at("low"), x2="high:Q"),
        base.mark_point(color=ink, filled=True, size=60, opacity=1, yOffset=_BELOW).encode(x=at("value")),
        base.mark_tick(**forecast, yOffset=_BELOW).encode(x=at("forecast")),
    )


def spreads(features: Sequence[tuple[str, tuple[float, ...]]], t: Words) -> str:
    """The points that leads got, a feature a row: 90 % of leads on the thin line, half on the thick one."""
    rows: Rows = [
        {"row": i, "name": name, "text": f"{t.signed(points[0], 0)} … {t.signed(points[-1], 0)}", "zero": 0.0}
        | dict(zip(("low", "under", "value", "over", "high"), points, strict=True))
        for i, (name, points) in enumerate(features)
    ]
    at = _axis(min(0.0, *(row["low"] for row in rows)), max(0.0, *(row["high"] for row in rows)))
    base, ink = _base(rows), PALETTE["accent"]
    middle: dict[str, Any] = {"color": PALETTE["ink"], "height": 14, "thickness": 2.4}
    return _svg(
        rows,
        base.mark_tick(color=PALETTE["line"], height=ROW, thickness=1).encode(x=at("zero")),
        base.mark_rule(color=ink, strokeWidth=1.6, yOffset=_BELOW).encode(x=at("low"), x2="high:Q"),
        base.mark_bar(color=ink, height=9, yOffset=_BELOW).encode(x=at("under"), x2="over:Q"),
        base.mark_tick(**middle, yOffset=_BELOW).encode(x=at("value")),
    )


def _base(rows: Rows) -> alt.Chart:
    return chart(rows).encode(y=alt.Y("row:O", axis=None))


def _axis(low: float, high: float) -> Callable[[str], alt.X]:
    """An unseen axis that holds [low, high] with a little room, for any field."""
    room = 0.02 * ((high - low) or 1.0)
    scale = alt.Scale(domain=[low - room, high + room], nice=False, zero=False)
    return lambda field: alt.X(f"{field}:Q", axis=None, scale=scale)


def _svg(rows: Rows, *marks: alt.Chart) -> str:
    """The marks of each row below its name and its figures."""
    base = _base(rows)
    text: dict[str, Any] = {"dy": -9, "fontSize": 12, "limit": WIDTH - 90}
    names = base.mark_text(align="left", color=PALETTE["ink"], **text)
    figures = base.mark_text(align="right", color=PALETTE["muted"], **text)
    drawing = alt.layer(
        *marks,
        names.encode(x=alt.value(0), text="name:N"),
        figures.encode(x=alt.value(WIDTH), text="text:N"),
    )
    return svg(drawing.properties(height=ROW * len(rows)))
