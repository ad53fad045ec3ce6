"""Charts with one row per name, the name and its figures above the marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.report.charts.vega import (
    PALETTE,
    ROW,
    WIDTH,
    add_tips,
    conditional,
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
    from training.analysis.accounts import AccountScore
    from training.report.charts.vega import Rows, Spec
    from training.report.translator import Translator

_BELOW = 6
_BAR: dict[str, Any] = {"height": 9, "yOffset": _BELOW}
_Y = ordinal("row", axis=None)


def bar_chart(rows: Sequence[tuple[str, float]], words: Translator) -> str:
    """One bar per name in the given order; negative values in the other colour."""
    data: Rows = [
        {"row": i, "name": name, "value": value, "text": words.signed(value), "zero": 0.0}
        for i, (name, value) in enumerate(rows)
    ]
    add_tips(data)
    reach = max(1e-9, *(abs(value) for _, value in rows))
    low = -reach if any(value < 0 for _, value in rows) else 0.0
    at = _axis(low, 0.0 if all(value < 0 for _, value in rows) else reach)
    colour = conditional("datum.value < 0", PALETTE["against"], PALETTE["accent"])
    bars = {"y": _Y, "x": at("value"), "x2": {"field": "zero"}, "color": colour}
    zero: dict[str, Any] = {"color": PALETTE["muted"], "height": 15, "thickness": 1}
    return _with_labels(
        data,
        mark("bar", data, bars, **_BAR),
        mark("tick", data, {"y": _Y, "x": at("zero")}, yOffset=_BELOW, **zero),
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
    add_tips(data)
    at = _axis(0.0, first)
    return _with_labels(data, mark("bar", data, {"y": _Y, "x": at("value")}, color=PALETTE["accent"], **_BAR))


def interval_bars(rows: Sequence[tuple[str, Interval, str]]) -> str:
    """One row per name: its figure as a bar, the interval as a line, and the figure as text."""
    # Few events have intervals without end; they must not make the bars unreadable.
    reach = min(max(r.high for _, r, _ in rows), 2 * max(r.value for _, r, _ in rows)) or 1.0
    data: Rows = [
        {"row": i, "name": name, "text": text, "value": r.value, "low": r.low, "high": min(r.high, reach)}
        for i, (name, r, text) in enumerate(rows)
    ]
    add_tips(data)
    at = _axis(0.0, reach)
    spans = {"y": _Y, "x": at("low"), "x2": {"field": "high"}}
    return _with_labels(
        data,
        mark("bar", data, {"y": _Y, "x": at("value")}, color=PALETTE["accent"], **_BAR),
        mark("rule", data, spans, color=PALETTE["ink"], strokeWidth=1.2, yOffset=_BELOW),
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
    add_tips(data)
    at = _axis(0.0, max(1e-9, *(account.at_least_one for account in accounts)))
    ink, best = PALETTE["accent"], {"y": _Y, "x": at("best")}
    whole = {"y": _Y, "x": value(0), "x2": value(WIDTH)}
    return _with_labels(
        data,
        mark("rule", data, whole, color=PALETTE["line"], strokeWidth=2, yOffset=_BELOW),
        mark("rule", data, {**best, "x2": {"field": "any"}}, color=ink, strokeWidth=4, yOffset=_BELOW),
        mark("point", data, best, color=ink, filled=True, size=80, opacity=1, yOffset=_BELOW),
    )


def _axis(low: float, high: float) -> Callable[[str], Spec]:
    """A hidden axis over [low, high], for any field."""
    scale = {"domain": [low, high], "nice": False, "zero": False}
    return lambda field: quantitative(field, axis=None, scale=scale)


def _with_labels(rows: Rows, *marks: Spec) -> str:
    """The marks of each row below its ``name`` on the left and its ``text`` on the right."""
    above: dict[str, Any] = {"dy": -8, "fontSize": 12, "limit": WIDTH - 90}
    names, figures = (
        {"y": _Y, "x": value(at), "text": nominal(of)} for at, of in ((0, "name"), (WIDTH, "text"))
    )
    return to_svg(
        *marks,
        mark("text", rows, names, align="left", color=PALETTE["ink"], **above),
        mark("text", rows, figures, align="right", color=PALETTE["muted"], **above),
        height=ROW * len(rows),
    )
