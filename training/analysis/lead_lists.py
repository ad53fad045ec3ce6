"""The ids of the leads behind figures of a report, where the company allows them on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from training.analysis.calibration import equal_bins
from training.analysis.channels import Channels, first_snapshots, value_at_creation
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from training.analysis.calibration import Reliability
    from training.analysis.channels import ChannelBreakdown
    from training.analysis.inputs import ReportInput
    from training.analysis.lift import ModelValue

MOST_IDS = 100


@dataclass(frozen=True, slots=True)
class LeadList:
    """The leads of one figure: how many they are, and the ids of at most ``MOST_IDS`` of them."""

    leads: int
    ids: tuple[str, ...]


LeadLists = dict[str, tuple[LeadList, ...]]
"""By table ("funnel.steps", "calibration.grades" and so on) the leads of each of its rows."""


def list_leads(
    inputs: ReportInput, worth: ModelValue, calibration: Reliability, channels: Channels | NotApplicable
) -> LeadLists:
    """List the leads behind the rows of a report's tables; none unless ``[report] leads`` is true.

    Args:
        inputs: The report's inputs.
        worth: Ranking quality, whose shares are listed.
        calibration: Calibration, whose groups are listed.
        channels: The channels.

    Returns:
        Leads that entered a stage or came by a channel, the newest first; held-out leads by probability, the
        highest first.
    """
    if not inputs.company.settings.leads:
        return {}
    lists = dict(_held_out(inputs, worth, calibration))
    entries = inputs.stage_entries
    if not isinstance(entries, NotApplicable):
        lists["funnel.steps"] = tuple(
            _make_list(entries.lead_id.gather(_newest(entries.entered[:, stage])))
            for stage in range(len(entries.stages))
        )
    if isinstance(channels, Channels):
        for number, breakdown in enumerate(channels.dimensions):
            lists[f"channels.{number}"] = tuple(_by_channel(inputs, breakdown))
    return lists


def _make_list(lead_id: pl.Series) -> LeadList:
    distinct = lead_id.unique(maintain_order=True)
    return LeadList(len(distinct), tuple(distinct.head(MOST_IDS)))


def _newest(entered: NDArray[np.int64]) -> NDArray[np.intp]:
    """The places of the leads that entered, the latest first."""
    places = np.flatnonzero(entered < NEVER)
    return places[np.argsort(-entered[places], kind="stable")]


def _held_out(
    inputs: ReportInput, worth: ModelValue, calibration: Reliability
) -> Iterator[tuple[str, tuple[LeadList, ...]]]:
    scores, p = inputs.scores, inputs.scores["probability"].to_numpy()
    best = np.argsort(-p, kind="stable")

    def of(flags: pl.Series) -> LeadList:
        return _make_list(scores["lead_id"].gather(best[flags.to_numpy()[best]]))

    def by(values: pl.Series, names: Sequence[str]) -> tuple[LeadList, ...]:
        return tuple(of((values == name).fill_null(value=False)) for name in names)

    bins = [np.isin(np.arange(len(p)), rows) for rows in equal_bins(p)]
    yield "calibration.bins", tuple(of(pl.Series(rows)) for rows in bins)
    yield "calibration.grades", by(scores["grade"], [group.name for group in calibration.grades])
    yield (
        "worth.lifts",
        tuple(_make_list(scores["lead_id"].gather(best[: lift.leads])) for lift in worth.lifts),
    )
    if calibration.months:
        month = scores.select(pl.from_epoch("as_of").dt.truncate("1mo").dt.strftime("%Y-%m-%d")).to_series()
        yield "calibration.months", by(month, [group.name for group in calibration.months])
    if calibration.segments is not None:
        values = inputs.held_out_rows[calibration.segments.by.name]
        names = [group.name for group in calibration.segments.groups]
        others = of(~values.is_in(names).fill_null(value=False))
        rest = () if calibration.segments.others is None else (others,)
        yield "calibration.segments", (*by(values, names), *rest)


def _by_channel(inputs: ReportInput, breakdown: ChannelBreakdown) -> Iterator[LeadList]:
    """The leads of each channel; of pooled ones those of all channels without a row of their own."""
    known = value_at_creation(inputs, breakdown.spec) if breakdown.whole else None
    if known is None or inputs.history is None:
        leads = first_snapshots(inputs).select("lead_id", "as_of", value=breakdown.spec.name)
    else:
        created = inputs.history.leads.select("lead_id", as_of="created_at")
        leads = created.join(known, on="lead_id", how="left")
    leads = leads.sort("as_of", descending=True, maintain_order=True)
    own = [channel.name for channel in breakdown.channels if not channel.pooled]
    for channel in breakdown.channels:
        is_own = pl.col("value").eq_missing(pl.lit(channel.name))
        fits = ~pl.col("value").is_in(own, nulls_equal=True) if channel.pooled else is_own
        yield _make_list(leads.filter(fits)["lead_id"])
