"""Charts with one row per name, the name and its figures above the marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from training.report.charts.vega import PALETTE, ROW, WIDTH, chart, to_svg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.metrics import Interval
    from training.analysis.accounts import AccountScore
    from training.report.charts.vega import Rows
    from training.report.translator import Translator

_BELOW = 6
_BAR: dict[str, Any] = {"height": 9, "yOffset": _BELOW}


def bar_chart(rows: Sequence[tuple[str, float]], words: Translator) -> str:
    """One bar per name in the given order; negative values in the other colour."""
    data: Rows = [
        {"row": i, "name": name, "value": value, "text": words.signed(value), "zero": 0.0}
        for i, (name, value) in enumerate(rows)
    ]
    reach = max(1e-9, *(abs(value) for _, value in rows))
    low = -reach if any(value < 0 for _, value in rows) else 0.0
    at = _axis(low, 0.0 if all(value < 0 for _, value in rows) else reach)
    colour = alt.condition("datum.value < 0", alt.value(PALETTE["against"]), alt.value(PALETTE["accent"]))
    base = _base(data)
    zero: dict[str, Any] = {"color": PALETTE["muted"], "height": 15, "thickness": 1}
    return _with_labels(
        data,
        base.mark_bar(**_BAR).encode(x=at("value"), x2="zero:Q", color=colour),
        base.mark_tick(**zero, yOffset=_BELOW).encode(x=at("zero")),
    )


def stage_chart(counts: Sequence[tuple[str, int]], words: Translator) -> str:
    """One bar per stage in the order of the funnel, with its share of the first stage."""
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
    at = _axis(0.0, first)
    return _with_labels(data, _base(data).mark_bar(color=PALETTE["accent"], **_BAR).encode(x=at("value")))


def interval_bars(rows: Sequence[tuple[str, Interval, str]]) -> str:
    """One row per name: its figure as a bar, the interval as a line, and the figure as text."""
    # Few events have intervals without end; they must not make the bars unreadable.
    reach = min(max(r.high for _, r, _ in rows), 2 * max(r.value for _, r, _ in rows)) or 1.0
    data: Rows = [
        {"row": i, "name": name, "text": text, "value": r.value, "low": r.low, "high": min(r.high, reach)}
        for i, (name, r, text) in enumerate(rows)
    ]
    at, base = _axis(0.0, reach), _base(data)
    return _with_labels(
        data,
        base.mark_bar(color=PALETTE["accent"], **_BAR).encode(x=at("value")),
        base.mark_rule(color=PALETTE["ink"], strokeWidth=1.2, yOffset=_BELOW).encode(
            x=at("low"), x2="high:Q"
        ),
    )


def range_chart(accounts: Sequence[AccountScore], words: Translator) -> str:
    """One row per account: a dot at its best lead's probability, a line to that of any conversion."""
    data: Rows = [
        {
            "row": i,
            "name": account.account,
            "best": account.best,
            "any": account.at_least_one,
            "text": f"{words.percent(account.best)} \N{EN DASH} {words.percent(account.at_least_one)}",
        }
        for i, account in enumerate(accounts)
    ]
    at = _axis(0.0, max(1e-9, *(account.at_least_one for account in accounts)))
    base, ink = _base(data), PALETTE["accent"]
    whole = base.mark_rule(color=PALETTE["line"], strokeWidth=2, yOffset=_BELOW)
    return _with_labels(
        data,
        whole.encode(x=alt.value(0), x2=alt.value(WIDTH)),
        base.mark_rule(color=ink, strokeWidth=4, yOffset=_BELOW).encode(x=at("best"), x2="any:Q"),
        base.mark_point(color=ink, filled=True, size=80, opacity=1, yOffset=_BELOW).encode(x=at("best")),
    )


def _base(rows: Rows) -> alt.Chart:
    return chart(rows).encode(y=alt.Y("row:O", axis=None))


def _axis(low: float, high: float) -> Callable[[str], alt.X]:
    """A hidden axis over [low, high], for any field."""
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    return lambda field: alt.X(f"{field}:Q", axis=None, scale=scale)


def _with_labels(rows: Rows, *marks: alt.Chart) -> str:
    """The marks of each row below its ``name`` on the left and its ``text`` on the right."""
    base = _base(rows)
    above: dict[str, Any] = {"dy": -8, "fontSize": 12, "limit": WIDTH - 90}
    names = base.mark_text(align="left", color=PALETTE["ink"], **above)
    figures = base.mark_text(align="right", color=PALETTE["muted"], **above)
    drawing = alt.layer(
        *marks,
        names.encode(x=alt.value(0), text="name:N"),
        figures.encode(x=alt.value(WIDTH), text="text:N"),
    )
    return to_svg(drawing.properties(height=ROW * len(rows)))
