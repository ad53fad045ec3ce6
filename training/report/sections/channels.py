"""Channels in words: a chart and a table for each way of asking where a lead came from."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from training.analysis.channels import Channels
from training.report.charts.forest import ForestRow, ratio_forest
from training.report.charts.vega import chart_markup
from training.report.table import Table
from training.report.translator import FormattedNumber

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.analysis.channels import Channel, ChannelBreakdown, CostPerSql
    from training.report.report import Report
    from training.report.translator import Translator
    from training.stats.significance import Verdict

MOST_NAMED = 3


def view(report: Report, t: Translator) -> dict[str, Any]:
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


def headline(found: Channels, t: Translator) -> str:
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


def _titles(found: Channels, t: Translator) -> list[str]:
    """What each way of asking is called; two of one name say which column they are."""
    titles = [t.title(one.spec) for one in found.dimensions]
    return [
        title if titles.count(title) == 1 else f"{title} ({one.spec.name})"
        for title, one in zip(titles, found.dimensions, strict=True)
    ]


def _dimension(found: ChannelBreakdown, title: str, t: Translator) -> dict[str, Any]:
    marks = [
        ForestRow(_name(one, t), t.interval(one.ratio, 2), one.ratio, one.verdict)
        for one in found.channels
        if one.ratio is not None
    ]
    return {
        "title": title,
        "chart": chart_markup(ratio_forest(marks)) if marks else None,
        "reading": _reading(found.channels, t),
        "base": t(
            "channels.whole" if found.whole else "channels.looked",
            matured=t.number(found.matured),
            rate=t.rate(found.rate),
        ),
        "table": _table(found, title, t),
    }


def _reading(channels: Sequence[Channel], t: Translator) -> str:
    """What to see in the chart: who is above and below, and of how many nothing can be said."""
    return describe_groups("channels", [(_name(one, t), one.verdict) for one in channels], t)


def describe_groups(block: str, told: Sequence[tuple[str, Verdict]], t: Translator) -> str:
    """Which names are more, which less, and that the rest cannot be told; in the sentences of ``block``."""
    found = sides(block, told, t)
    if not found:
        return t(f"{block}.none")
    untold = any(verdict in ("level", "few") for _, verdict in told)
    return f"{found} {t(f'{block}.rest')}" if untold else found


def sides(block: str, told: Sequence[tuple[str, Verdict]], t: Translator) -> str:
    """Which names are more and which less, in the sentences of ``block``; nothing where none is."""
    by = {side: [name for name, said in told if said == side] for side in ("more", "less")}
    return " ".join(t(f"{block}.{side}", names=named(names, t)) for side, names in by.items() if names)


def named(names: Sequence[str], t: Translator) -> str:
    """Names in a row, the first few of many."""
    more = len(names) - MOST_NAMED
    shown = ", ".join(names[:MOST_NAMED])
    return shown if more <= 0 else t("channels.and_more", names=shown, more=t.number(more))


def _table(found: ChannelBreakdown, title: str, t: Translator) -> Table:
    costs = any(one.cost for one in found.channels)
    heads = ("channel", "leads", "matured", "won", "rate", "judged", "expected", "came", "ratio", "verdict")
    rows = tuple(_row(one, t) + ((_cost(one.cost, t),) if costs else ()) for one in found.channels)
    head = tuple(t(f"channels.{name}") for name in heads)
    quiet = frozenset(i for i, one in enumerate(found.channels) if one.verdict == "few")
    caption = t("channels.table", dimension=title)
    return Table(caption, head + ((t("channels.cost"),) if costs else ()), rows, muted_rows=quiet)


def _row(one: Channel, t: Translator) -> tuple[str, ...]:
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


def _name(one: Channel, t: Translator) -> str:
    if one.pooled:
        return t.plural("channels.pooled", one.pooled)
    return t("channels.unknown") if one.name is None else one.name


def _cost(cost: CostPerSql | None, t: Translator) -> str:
    if cost is None or cost.value is None:
        return ""
    high = t("channels.open") if cost.high is None else t.number(cost.high)
    text = f"{t.number(cost.value)} ({t.number(cost.low)} – {high})"  # noqa: RUF001  # a dash between figures
    return FormattedNumber(text, cost.value, cost.low, *([] if cost.high is None else [cost.high]))
