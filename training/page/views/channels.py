"""Channels in words: a chart and a table for each way of asking where a lead came from."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from training.insight.channels import Channels
from training.page.charts.drawing import drawn
from training.page.charts.forest import Mark, ratios
from training.page.table import Table
from training.page.words import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.insight.channels import Channel, Cost, Dimension
    from training.insight.verdicts import Verdict
    from training.page.words import Words
    from training.report import Report

MOST_NAMED = 3


def view(report: Report, t: Words) -> dict[str, Any]:
    """What the template of the channels shows."""
    found = report.insights.channels
    if not isinstance(found, Channels):
        return {}
    return {
        "lead": t("channels.adjusted" if found.adjusted else "channels.unadjusted"),
        "dimensions": [
            _dimension(one, title, t) for one, title in zip(found.dimensions, _titles(found, t), strict=True)
        ],
        "unknown": ", ".join(found.unknown),
    }


def stands_out(found: Channels, t: Words) -> str:
    """The channel farthest above what was expected and the one farthest below, or that none is either."""
    told = [
        (one, title)
        for title, dimension in zip(_titles(found, t), found.dimensions, strict=True)
        for one in dimension.channels
    ]
    by_side = ([two for two in told if two[0].verdict == side] for side in ("more", "less"))
    farthest = [max(side, key=_distance) for side in by_side if side]
    said = (
        t("channels.farthest", dimension=title, name=_name(one, t), ratio=t.interval(one.ratio, 1))
        for one, title in farthest
        if one.ratio is not None
    )
    return " ".join(said) or t("channels.takeaway")


def _distance(told: tuple[Channel, str]) -> float:
    """How far a channel is from what was expected, twice as many being as far as half."""
    ratio = told[0].ratio
    return 0.0 if ratio is None else abs(math.log(max(ratio.value, sys.float_info.min)))


def _titles(found: Channels, t: Words) -> list[str]:
    """What each way of asking is called; two of one name say which column they are."""
    titles = [t.title(one.spec) for one in found.dimensions]
    return [
        title if titles.count(title) == 1 else f"{title} ({one.spec.name})"
        for title, one in zip(titles, found.dimensions, strict=True)
    ]


def _dimension(found: Dimension, title: str, t: Words) -> dict[str, Any]:
    marks = [
        Mark(_name(one, t), t.interval(one.ratio, 2), one.ratio, one.verdict)
        for one in found.channels
        if one.ratio is not None
    ]
    return {
        "title": title,
        "chart": drawn(ratios(marks)) if marks else None,
        "reading": _reading(found.channels, t),
        "base": t(
            "channels.whole" if found.whole else "channels.looked",
            matured=t.number(found.matured),
            rate=t.rate(found.rate),
        ),
        "table": _table(found, title, t),
    }


def _reading(channels: Sequence[Channel], t: Words) -> str:
    """What to see in the chart: who is above and below, and of how many nothing can be said."""
    return apart("channels", [(_name(one, t), one.verdict) for one in channels], t)


def apart(block: str, told: Sequence[tuple[str, Verdict]], t: Words) -> str:
    """Which names are more, which less, and that the rest cannot be told; in the sentences of ``block``."""
    found = sides(block, told, t)
    if not found:
        return t(f"{block}.none")
    untold = any(verdict in ("level", "few") for _, verdict in told)
    return f"{found} {t(f'{block}.rest')}" if untold else found


def sides(block: str, told: Sequence[tuple[str, Verdict]], t: Words) -> str:
    """Which names are more and which less, in the sentences of ``block``; nothing where none is."""
    by = {side: [name for name, said in told if said == side] for side in ("more", "less")}
    return " ".join(t(f"{block}.{side}", names=named(names, t)) for side, names in by.items() if names)


def named(names: Sequence[str], t: Words) -> str:
    """Names in a row, the first few of many."""
    more = len(names) - MOST_NAMED
    shown = ", ".join(names[:MOST_NAMED])
    return shown if more <= 0 else t("channels.and_more", names=shown, more=t.number(more))


def _table(found: Dimension, title: str, t: Words) -> Table:
    costs = any(one.cost for one in found.channels)
    heads = ("channel", "leads", "matured", "won", "rate", "judged", "expected", "came", "ratio", "verdict")
    rows = tuple(_row(one, t) + ((_cost(one.cost, t),) if costs else ()) for one in found.channels)
    head = tuple(t(f"channels.{name}") for name in heads)
    quiet = frozenset(i for i, one in enumerate(found.channels) if one.verdict == "few")
    caption = t("channels.table", dimension=title)
    return Table(caption, head + ((t("channels.cost"),) if costs else ()), rows, quiet=quiet)


def _row(one: Channel, t: Words) -> tuple[str, ...]:
    return (
        _name(one, t),
        t.number(one.leads),
        t.number(one.matured),
        t.number(one.won),
        t.rate(one.rate) if one.rate else "",
        t.number(one.judged),
        t.number(one.expected, 1),
        t.number(one.came),
        t.interval(one.ratio, 2) if one.ratio else "",
        t(f"channels.verdict_{one.verdict}"),
    )


def _name(one: Channel, t: Words) -> str:
    if one.pooled:
        return t.plural("channels.pooled", one.pooled)
    return t("channels.unknown") if one.name is None else one.name


def _cost(cost: Cost | None, t: Words) -> str:
    if cost is None or cost.value is None:
        return ""
    high = t("channels.open") if cost.high is None else t.number(cost.high)
    text = f"{t.number(cost.value)} ({t.number(cost.low)} – {high})"  # noqa: RUF001  # a dash between figures
    return Figure(text, cost.value, cost.low, *([] if cost.high is None else [cost.high]))
