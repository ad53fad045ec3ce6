"""What changed between two reports beyond chance: rates, channels, the model's quality, and the data.

Two reports of one company share most of their leads, and matured leads never change. So counts are compared
between the leads that matured since the earlier report and all those before: disjoint leads, tested by
Fisher's exact test. Where the counts of the later report do not contain those of the earlier one, as after a
change of the source, the reports are compared as independent samples. Measures of the model are compared by
their intervals as if they were independent, which is cautious where they share leads. Everything that is
tested counts for Benjamini-Hochberg: of reports without any change one in twenty says something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import chi2_contingency, false_discovery_control, fisher_exact, norm

from features.spec import FeatureSpec  # noqa: TC001  # a field's type
from models.metrics import Z_95
from training.analysis.channels import Channels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.metrics import Interval
    from training.analysis.channels import Channel, ChannelBreakdown
    from training.report.report import Report

Kind = Literal["conversion", "channel", "mix", "ranking", "called", "gap", "missing"]

ERROR_RATE = 0.05
# Leads on either side that a comparison of rates takes.
FEWEST = 30


@dataclass(frozen=True, slots=True)
class ReportChange:
    """One figure of two reports.

    Attributes:
        kind: What is compared.
        before: The figure of the earlier report, or of the leads up to it.
        now: The figure of the later report, or of the leads since.
        p_value: Two-sided.
        spec: The channel column, or the feature whose values are missing.
        name: The channel; None where a channel is not known, and where it is about none.
        leads: How many leads ``now`` is about.
    """

    kind: Kind
    before: float
    now: float
    p_value: float
    spec: FeatureSpec | None = None
    name: str | None = None
    leads: int = 0


@dataclass(frozen=True, slots=True)
class ReportChanges:
    """The comparison of two reports.

    Attributes:
        compared: How many figures were compared.
        changes: Those that differ beyond chance, after Benjamini-Hochberg, in the order of the report.
    """

    compared: int
    changes: tuple[ReportChange, ...]


def compare_reports(before: Report, now: Report) -> ReportChanges:
    """Compare two reports that answer the same question.

    Args:
        before: The earlier report.
        now: The later one.

    Raises:
        ValueError: They answer different questions.
    """
    if before.card.label != now.card.label:
        msg = f"one report is about {before.card.label!r}, the other about {now.card.label!r}"
        raise ValueError(msg)
    compared = [
        *_conversion(before, now),
        *_channels(before, now),
        *_model(before, now),
        *_missing(before, now),
    ]
    if not compared:
        return ReportChanges(0, ())
    adjusted = false_discovery_control([change.p_value for change in compared])
    changes = (change for change, p in zip(compared, adjusted, strict=True) if p <= ERROR_RATE)
    return ReportChanges(len(compared), tuple(changes))


def _conversion(before: Report, now: Report) -> Iterator[ReportChange]:
    earlier, later = before.summary.leads, now.summary.leads
    counts = [(leads.matured, round(leads.matured * leads.rate.value)) for leads in (earlier, later)]
    yield from _rates("conversion", counts[0], counts[1])


def _rates(
    kind: Kind,
    earlier: tuple[int, int],
    later: tuple[int, int],
    spec: FeatureSpec | None = None,
    name: str | None = None,
) -> Iterator[ReportChange]:
    """The rates of (rows, hits); of the rows since, where the later ones contain the earlier ones."""
    rows, hits = later[0] - earlier[0], later[1] - earlier[1]
    if not 0 <= hits <= rows:
        rows, hits = later
    if min(rows, earlier[0]) < FEWEST:
        return
    table = [[hits, rows - hits], [earlier[1], earlier[0] - earlier[1]]]
    p_value = float(fisher_exact(table).pvalue)
    yield ReportChange(kind, earlier[1] / earlier[0], hits / rows, p_value, spec, name, rows)


def _channels(before: Report, now: Report) -> Iterator[ReportChange]:
    earlier, later = before.insights.channels, now.insights.channels
    if not isinstance(earlier, Channels) or not isinstance(later, Channels):
        return
    for breakdown in earlier.dimensions:
        for other in later.dimensions:
            if breakdown.spec.name == other.spec.name and breakdown.whole and other.whole:
                yield from _mix(breakdown, other)
                yield from _channel_rates(breakdown, other)


def _own(breakdown: ChannelBreakdown) -> dict[str | None, Channel]:
    """The channels by name, without small ones that are pooled."""
    return {channel.name: channel for channel in breakdown.channels if not channel.pooled}


def _channel_rates(earlier: ChannelBreakdown, later: ChannelBreakdown) -> Iterator[ReportChange]:
    others = _own(later)
    for name, channel in _own(earlier).items():
        if name in others:
            counts = (channel.matured, channel.won), (others[name].matured, others[name].won)
            yield from _rates("channel", *counts, earlier.spec, name)


def _mix(earlier: ChannelBreakdown, later: ChannelBreakdown) -> Iterator[ReportChange]:
    """The shares of the channels among leads; the change names the channel that moved most."""
    old, new = _own(earlier), _own(later)
    names = [name for name in old if name in new]
    first = np.array([old[name].leads for name in names])
    since = np.array([new[name].leads for name in names]) - first
    if (since < 0).any():
        since = since + first
    if len(names) <= 1 or min(first.sum(), since.sum()) < FEWEST:
        return
    table = np.array([first, since])
    result = chi2_contingency(table[:, table.sum(axis=0) > 0])
    shares = table / table.sum(axis=1, keepdims=True)
    place = int(np.argmax(np.abs(shares[1] - shares[0])))
    yield ReportChange(
        "mix",
        float(shares[0, place]),
        float(shares[1, place]),
        float(result.pvalue),
        earlier.spec,
        names[place],
        int(since.sum()),
    )


def _model(before: Report, now: Report) -> Iterator[ReportChange]:
    """Ranking, conversions at capacity, and the gap between prediction and outcome."""
    if before.version == now.version:
        return
    pairs: dict[Kind, tuple[Interval, Interval]] = {"ranking": (before.worth.roc_auc, now.worth.roc_auc)}
    if before.summary.at_capacity.share == now.summary.at_capacity.share:
        pairs["called"] = (before.summary.at_capacity.rate, now.summary.at_capacity.rate)
    for kind, (earlier, later) in pairs.items():
        yield _difference(kind, (earlier.value, _error(earlier)), (later.value, _error(later)))
    gaps = []
    for report in (before, now):
        total = report.calibration.total
        error = math.hypot(_error(total.observed), total.forecast_half / Z_95)
        gaps.append((total.forecast - total.observed.value, error))
    yield _difference("gap", *gaps)


def _error(figure: Interval) -> float:
    return (figure.high - figure.low) / 2 / Z_95


def _difference(kind: Kind, before: tuple[float, float], now: tuple[float, float]) -> ReportChange:
    error = math.hypot(before[1], now[1])
    z = abs(now[0] - before[0]) / error if error else 0.0
    return ReportChange(kind, before[0], now[0], 2 * float(norm.sf(z)))


def _missing(before: Report, now: Report) -> Iterator[ReportChange]:
    """How often each feature has no value; a report is worth as many rows as it held out leads."""
    specs = {driver.spec.name: driver.spec for driver in now.drivers.features}
    earlier = {column.column: column.missing for column in before.health.columns}
    rows = before.summary.people, now.summary.people
    for column in now.health.columns:
        if column.column not in earlier or column.column not in specs or min(rows) < FEWEST:
            continue
        old, new = earlier[column.column], column.missing
        if old == new:
            continue
        hits = round(old * rows[0]), round(new * rows[1])
        table = [[hit, count - hit] for hit, count in zip(hits, rows, strict=True)]
        p_value = float(fisher_exact(table).pvalue)
        yield ReportChange("missing", old, new, p_value, specs[column.column])
