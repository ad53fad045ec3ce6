"""The section on channels: a chart and a table per channel column."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from training.analysis.channels import Channels, has_codes, is_named
from training.report.charts.forest import ForestRow, ratio_forest
from training.report.charts.vega import chart_markup
from training.report.table import Table
from training.report.translator import FormattedNumber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from features.spec import FeatureSpec
    from training.analysis.channels import Channel, ChannelBreakdown, CostPerSql
    from training.analysis.lead_lists import LeadList
    from training.report.report import Report
    from training.report.translator import Translator
    from training.stats.significance import Verdict

MOST_NAMED = 3


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``channels.html``; {} where channels are not applicable.

    Returns:
        lead (sentence), dimensions (a dict per channel column: title, chart, reading, base, table) and
        unknown.
    """
    channels = report.insights.channels
    if not isinstance(channels, Channels):
        return {}
    return {
        "lead": t("channels.adjusted" if channels.adjusted else "channels.unadjusted"),
        "dimensions": [
            _breakdown_view(breakdown, title, report.lead_lists.get(f"channels.{number}", ()), t)
            for number, (breakdown, title) in enumerate(
                zip(channels.dimensions, channel_titles(channels, t), strict=True)
            )
        ],
        "unknown": ", ".join(channels.unknown),
    }


def headline(channels: Channels, t: Translator) -> str:
    """Name the channels farthest above and below expectation, or say that none is significant.

    Columns of hashes and keys and leads of unknown channels stay in the section.
    """
    candidates = [
        (channel, dimension.spec, title)
        for title, dimension in zip(channel_titles(channels, t), channels.dimensions, strict=True)
        for channel in dimension.channels
        if is_named(channel) and not has_codes(dimension)
    ]
    by_side = ([each for each in candidates if each[0].verdict == side] for side in ("more", "less"))
    farthest = [max(side, key=_log_ratio) for side in by_side if side]
    sentences = (
        t(
            "channels.farthest",
            dimension=title,
            name=_name(channel, spec, t),
            ratio=t.interval(channel.ratio, 1),
        )
        for channel, spec, title in farthest
        if channel.ratio is not None
    )
    return " ".join(sentences) or t("channels.takeaway")


def _log_ratio(candidate: tuple[Channel, FeatureSpec, str]) -> float:
    """The absolute log of a channel's ratio: twice as many is as far as half."""
    ratio = candidate[0].ratio
    return 0.0 if ratio is None else abs(math.log(max(ratio.value, sys.float_info.min)))


def channel_titles(channels: Channels, t: Translator) -> list[str]:
    """The titles of the channel columns, with the column's name where two are alike."""
    titles = [t.title(breakdown.spec) for breakdown in channels.dimensions]
    return [
        title if titles.count(title) == 1 else f"{title} ({breakdown.spec.name})"
        for title, breakdown in zip(titles, channels.dimensions, strict=True)
    ]


def _breakdown_view(
    breakdown: ChannelBreakdown, title: str, leads: tuple[LeadList, ...], t: Translator
) -> dict[str, Any]:
    marks = [
        ForestRow(
            _name(channel, breakdown.spec, t), t.interval(channel.ratio, 2), channel.ratio, channel.verdict
        )
        for channel in breakdown.channels
        if channel.ratio is not None
    ]
    return {
        "title": title,
        "chart": chart_markup(ratio_forest(marks)) if marks else None,
        "reading": _reading(breakdown, t),
        "base": t(
            "channels.whole" if breakdown.whole else "channels.looked",
            matured=t.number(breakdown.matured),
            rate=t.rate(breakdown.rate),
        ),
        "table": replace(_table(breakdown, title, t), leads=leads),
    }


def _reading(breakdown: ChannelBreakdown, t: Translator) -> str:
    """Describe the chart: which channels are above and below, and that the rest cannot be told apart."""
    named_verdicts = [(_name(channel, breakdown.spec, t), channel.verdict) for channel in breakdown.channels]
    return describe_groups("channels", named_verdicts, t)


def describe_groups(block: str, named_verdicts: Sequence[tuple[str, Verdict]], t: Translator) -> str:
    """Name the groups significantly above and below, and mention the rest.

    Args:
        block: The section whose sentences to use.
        named_verdicts: Name and verdict of each group.
        t: The language.
    """
    sentence = sides(block, named_verdicts, t)
    if not sentence:
        return t(f"{block}.none")
    has_unclear = any(verdict in ("level", "few") for _, verdict in named_verdicts)
    return f"{sentence} {t(f'{block}.rest')}" if has_unclear else sentence


def sides(block: str, named_verdicts: Sequence[tuple[str, Verdict]], t: Translator) -> str:
    """Name the groups significantly above and below in sentences of section ``block``, or return ""."""
    by = {side: [name for name, verdict in named_verdicts if verdict == side] for side in ("more", "less")}
    return " ".join(t(f"{block}.{side}", names=named(names, t)) for side, names in by.items() if names)


def named(names: Sequence[str], t: Translator) -> str:
    """Join names, the first ``MOST_NAMED`` of many."""
    more = len(names) - MOST_NAMED
    first_names = ", ".join(names[:MOST_NAMED])
    return first_names if more <= 0 else t("channels.and_more", names=first_names, more=t.number(more))


def _table(breakdown: ChannelBreakdown, title: str, t: Translator) -> Table:
    costs = any(channel.cost for channel in breakdown.channels)
    values = any(channel.pipeline for channel in breakdown.channels)
    heads = ("channel", "leads", "matured", "won", "rate", "judged", "expected", "came", "ratio", "verdict")
    rows = tuple(
        _row(channel, breakdown.spec, t)
        + ((_cost(channel.cost, t),) if costs else ())
        + ((t.number(channel.pipeline or 0.0),) if values else ())
        for channel in breakdown.channels
    )
    head = tuple(t(f"channels.{name}") for name in heads)
    quiet = frozenset(i for i, channel in enumerate(breakdown.channels) if channel.verdict == "few")
    caption = t("channels.table", dimension=title)
    more = ((t("channels.cost"),) if costs else ()) + ((t("channels.pipeline"),) if values else ())
    return Table(caption, head + more, rows, muted_rows=quiet)


def board_table(
    breakdown: ChannelBreakdown, chosen: Sequence[Channel], title: str, target: str, t: Translator
) -> Table:
    """The chosen channels: leads, conversion rate, and where given cost per SQL and pipeline value."""
    columns: dict[str, Callable[[Channel], str]] = {
        title: lambda channel: _name(channel, breakdown.spec, t),
        t("channels.leads"): lambda channel: t.number(channel.leads),
        t("channels.rate"): lambda channel: t.rate(channel.rate) if channel.rate else "",
    }
    if any(channel.cost for channel in chosen):
        columns[t("channels.cost_per", target=target)] = lambda channel: _cost(channel.cost, t)
    if any(channel.pipeline for channel in chosen):
        columns[t("channels.pipeline")] = lambda channel: t.number(channel.pipeline or 0.0)
    rows = tuple(tuple(cell(channel) for cell in columns.values()) for channel in chosen)
    quiet = frozenset(i for i, channel in enumerate(chosen) if channel.verdict == "few")
    return Table(t("channels.board_table", dimension=title), tuple(columns), rows, muted_rows=quiet)


def _row(channel: Channel, spec: FeatureSpec, t: Translator) -> tuple[str, ...]:
    return (
        _name(channel, spec, t),
        t.number(channel.leads),
        t.number(channel.matured),
        t.number(channel.won),
        t.rate(channel.rate) if channel.rate else "",
        t.number(channel.held_out_leads),
        t.number(channel.expected, 1),
        t.number(channel.came),
        t.interval(channel.ratio, 2) if channel.ratio else "",
        t(f"channels.verdict_{channel.verdict}"),
    )


def _name(channel: Channel, spec: FeatureSpec, t: Translator) -> str:
    if channel.pooled:
        return t.plural("channels.pooled", channel.pooled)
    return t("channels.unknown") if channel.name is None else t.value(spec, channel.name)


def _cost(cost: CostPerSql | None, t: Translator) -> str:
    if cost is None or cost.value is None:
        return ""
    high = t("channels.open") if cost.high is None else t.number(cost.high)
    text = f"{t.number(cost.value)} ({t.number(cost.low)}\N{WORD JOINER}\N{EN DASH}\N{WORD JOINER}{high})"
    return FormattedNumber(text, cost.value, cost.low, *([] if cost.high is None else [cost.high]))
