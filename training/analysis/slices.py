"""Counts by period, segment and channel, from which the page recomputes figures where a reader filters.

A cell is a period, a segment and a channel. It has counts of leads as of their creation, for funnel and
channels, and counts of held-out scores by forty equal steps of the probability, for calibration and gains.
Every figure of a filter is a sum over cells, so the page needs no row of a single lead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations
from models import metrics
from models.metrics import Interval  # noqa: TC001  # the same
from training.analysis.channels import value_at_creation
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import NEVER
from training.stats.intervals import design_effect, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.analysis.drivers import Drivers
    from training.analysis.inputs import ReportInput

    Codes = NDArray[np.int64]

Period = Literal["month", "quarter", "year"]
_LENGTHS: dict[Period, str] = {"month": "1mo", "quarter": "1q", "year": "1y"}
MOST_PERIODS, MOST_VALUES = 8, 6
STEPS_PER_GROUP = 4
STEPS = STEPS_PER_GROUP * metrics.BINS
_KEYS = ("period", "segment", "channel")
# What is none of the listed values: older periods, rarer or missing values.
OTHER = -1


@dataclass(frozen=True, slots=True)
class SlicedColumn:
    """A column to filter by, and its most frequent values, which cells name by their places.

    Attributes:
        spec: The column.
        values: Its values, the most frequent first.
    """

    spec: FeatureSpec
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slices:
    """Counts by period, segment and channel.

    Attributes:
        period: The length of the periods.
        periods: Their beginnings in epoch seconds, ascending; none where rows have no dates.
        segment: The most important category of leads; None without one.
        channel: The channel; None without one.
        stages: The stages of the funnel; none for a flat export.
        leads: A row per cell, separated by semicolons: period, segment, channel (their places, -1 for any
            other), leads, leads whose horizon is over, conversions of these, and entries of each stage.
        scores: A row per cell and step: period, segment, channel, step from 0 for the smallest probabilities,
            held-out scores, conversions, and the sum of the probabilities.
        design_effect: By how much the scores of a lead being alike widens intervals.
    """

    period: Period
    periods: tuple[int, ...]
    segment: SlicedColumn | None
    channel: SlicedColumn | None
    stages: tuple[str, ...]
    leads: str
    scores: str
    design_effect: float


@dataclass(frozen=True, slots=True)
class ChannelRate:
    """The leads of a channel, and the conversion rate of those whose horizon is over."""

    leads: int
    rate: Interval | None


@dataclass(frozen=True, slots=True)
class GroupRate:
    """Scores of a tenth of all probabilities, mean prediction and observed rate; None without any."""

    rows: int
    forecast: float | None
    observed: Interval | None


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """The figures of one filter.

    Attributes:
        leads: Number of leads.
        rate: Conversion rate of those whose horizon is over.
        entered: Leads that entered each stage.
        channels: The listed channels, and all others last, if there are any.
        rows: Held-out scores.
        groups: By tenths of the probability over all scores, the smallest first.
        gains: The share of conversions among the best 10 %, 20 % and so on; none without conversions.
    """

    leads: int
    rate: Interval | None
    entered: tuple[int, ...]
    channels: tuple[ChannelRate, ...]
    rows: int
    groups: tuple[GroupRate, ...]
    gains: tuple[float, ...]


def count_slices(inputs: ReportInput, drivers: Drivers) -> Slices | NotApplicable:
    """Count leads and held-out scores by period, segment and channel.

    Args:
        inputs: The history, the held-out scores and their rows.
        drivers: Feature importances, which the segment is chosen by.
    """
    leads, stages = _leads(inputs)
    y, p = inputs.label, inputs.scores["probability"].to_numpy()
    scores = inputs.scores.select("lead_id").with_columns(
        moment=inputs.scores["as_of"] if _has_dates(inputs) else pl.lit(None, pl.Int64),
        step=pl.Series(_steps(p)),
        rows=pl.lit(1),
        hits=pl.Series(y.astype(np.int64)),
        forecast=pl.Series(p),
    )
    columns: dict[str, SlicedColumn | None] = {}
    for name, specs in (("segment", _segment_specs(inputs, drivers)), ("channel", _channel_specs(inputs))):
        columns[name], leads, scores = _with_column(inputs, name, specs, leads, scores)
    period, periods = _periods(pl.concat([leads["moment"], scores["moment"]]).drop_nulls())
    if len(periods) <= 1 and not any(columns.values()):
        return NotApplicable("no_slices")
    leads, scores = (_with_period(frame, period, periods) for frame in (leads, scores))
    counts = ["leads", "old", "won", *(f"stage{i}" for i in range(len(stages)))]
    cells = leads.group_by(_KEYS).agg(pl.col(counts).sum()).sort(_KEYS)
    steps = scores.group_by(*_KEYS, "step").agg(pl.col("rows", "hits", "forecast").sum()).sort(*_KEYS, "step")
    return Slices(
        period=period,
        periods=periods,
        segment=columns["segment"],
        channel=columns["channel"],
        stages=stages,
        leads=_packed(cells.select(*_KEYS, *counts)),
        scores=_packed(steps.with_columns(pl.col("forecast").round(4))),
        design_effect=design_effect(y - p, inputs.lead),
    )


def slice_figures(
    slices: Slices, *, period: int | None = None, segment: int | None = None, channel: int | None = None
) -> SliceFigures:
    """Sum up the cells of a filter, as the page does.

    Args:
        slices: The counts.
        period: The place of a period, -1 for all that are not listed. Default: all.
        segment: The same of the segment.
        channel: The same of the channel.
    """
    chosen = (period, segment, channel)
    leads, scores = _cells(slices.leads, chosen), _cells(slices.scores, chosen)
    entered = 6 + np.arange(len(slices.stages))
    others = (OTHER,) if slices.channel and has_others(slices, "channel") else ()
    places = (*range(len(slices.channel.values)), *others) if slices.channel else ()
    return SliceFigures(
        leads=int(leads[:, 3].sum()),
        rate=_rate(leads[:, 5].sum(), leads[:, 4].sum()),
        entered=tuple(int(count) for count in leads[:, entered].sum(axis=0)),
        channels=tuple(
            ChannelRate(int(own[:, 3].sum()), _rate(own[:, 5].sum(), own[:, 4].sum()))
            for own in (leads[leads[:, 2] == place] for place in places)
        ),
        rows=int(scores[:, 4].sum()),
        groups=tuple(
            _group(scores[scores[:, 3] // STEPS_PER_GROUP == group], slices.design_effect)
            for group in range(metrics.BINS)
        ),
        gains=_gains(scores),
    )


def has_others(slices: Slices, name: Literal["period", "segment", "channel"]) -> bool:
    """Whether any lead or score has no period or value that is listed."""
    key = _KEYS.index(name)
    packed = (slices.leads, slices.scores)
    return any((_cells(counts, ())[:, key] == OTHER).any() for counts in packed if counts)


def _cells(packed: str, chosen: Sequence[int | None]) -> NDArray[np.float64]:
    """The rows of the chosen cells."""
    rows = np.array([[float(number) for number in row.split(",")] for row in packed.split(";")])
    for column, place in enumerate(chosen):
        if place is not None:
            rows = rows[rows[:, column] == place]
    return rows


def _rate(hits: float, rows: float, design: float = 1.0) -> Interval | None:
    return wilson_interval(hits / design, rows / design) if rows else None


def _group(rows: NDArray[np.float64], design: float) -> GroupRate:
    scores, hits, forecast = rows[:, 4:].sum(axis=0)
    mean = float(forecast / scores) if scores else None
    return GroupRate(int(scores), mean, _rate(hits, scores, design))


def _gains(rows: NDArray[np.float64]) -> tuple[float, ...]:
    """The captured share of conversions at each tenth; within a step scores count in part."""
    step = rows[:, 3].astype(np.int64)
    scores, hits = (np.bincount(step, rows[:, column], STEPS)[::-1].cumsum() for column in (4, 5))
    if not len(rows) or not hits[-1]:
        return ()
    tenths = np.arange(1, 11) / 10 * scores[-1]
    captured = np.interp(tenths, np.append(0.0, scores), np.append(0.0, hits)) / hits[-1]
    return tuple(float(share) for share in captured)


def _has_dates(inputs: ReportInput) -> bool:
    dated = "as_of" in inputs.scores.columns and inputs.scores["as_of"].dtype.is_integer()
    return inputs.card.window is not None and dated


def _leads(inputs: ReportInput) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Every lead with its moment of creation and what became of it; held-out leads without a history."""
    entries = inputs.stage_entries
    if isinstance(entries, NotApplicable):
        first = inputs.scores.select("lead_id", won=pl.Series(inputs.label.astype(np.int64))).unique(
            "lead_id", keep="first", maintain_order=True
        )
        moment = pl.lit(None, pl.Int64).alias("moment")
        return first.with_columns(moment, leads=pl.lit(1), old=pl.lit(1)), ()
    created, horizon = entries.created, entries.spec.horizon
    old = created + horizon <= entries.until
    won = (entries.entered[:, entries.target] < NEVER) & (
        entries.entered[:, entries.target] - created < horizon
    )
    columns = {f"stage{i}": entries.entered[:, i] < NEVER for i in range(len(entries.stages))}
    frame = pl.DataFrame({"lead_id": entries.lead_id, "moment": created}).with_columns(
        leads=pl.lit(1),
        old=pl.Series(old.astype(np.int64)),
        won=pl.Series((old & won).astype(np.int64)),
        **{name: pl.Series(flags.astype(np.int64)) for name, flags in columns.items()},
    )
    return frame, entries.stages


def _steps(p: NDArray[np.float64]) -> Codes:
    """(n,) the step of each row; four of them are a group of the calibration, ties broken alike."""
    order = np.lexsort((np.random.default_rng(0).permutation(len(p)), p))
    steps = np.empty(len(p), dtype=np.int64)
    steps[order] = ((np.arange(len(p)) + 0.5) / len(p) * STEPS).astype(np.int64)
    return steps


def _segment_specs(inputs: ReportInput, drivers: Drivers) -> list[FeatureSpec]:
    """The categories of leads but for channels, the most important first."""
    known = set(inputs.features.specs)
    specs = [driver.spec for driver in drivers.features if driver.spec.unit == "category"]
    return [spec for spec in specs if spec in known and spec.family != "channel"]


def _channel_specs(inputs: ReportInput) -> list[FeatureSpec]:
    return [s for s in inputs.features.specs if s.unit == "category" and s.family == "channel"]


def _with_column(
    inputs: ReportInput, name: str, specs: Sequence[FeatureSpec], leads: pl.DataFrame, scores: pl.DataFrame
) -> tuple[SlicedColumn | None, pl.DataFrame, pl.DataFrame]:
    """Both frames with the places of the first column's values that is known of leads at their creation."""
    for spec in specs:
        known = (
            inputs.scores.select("lead_id", value=inputs.held_out_rows[spec.name]).unique(
                "lead_id", keep="first", maintain_order=True
            )
            if inputs.history is None
            else value_at_creation(inputs, spec)
        )
        if known is None:
            continue
        counted = leads.join(known, on="lead_id", how="left")["value"].drop_nulls().value_counts()
        values = counted.sort("count", "value", descending=[True, False])["value"].to_list()[:MOST_VALUES]
        if len(values) > 1:
            places = pl.DataFrame(
                {"value": values, name: range(len(values))}, schema_overrides={name: pl.Int64}
            )
            codes = known.join(places, on="value").select("lead_id", name)
            column = SlicedColumn(spec, tuple(values))
            return column, _with_places(leads, name, codes), _with_places(scores, name, codes)
    other = pl.lit(OTHER).alias(name)
    return None, leads.with_columns(other), scores.with_columns(other)


def _with_places(frame: pl.DataFrame, name: str, codes: pl.DataFrame) -> pl.DataFrame:
    """The rows with the places of their leads' values in the column ``name``."""
    joined = frame.join(codes, on="lead_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col(name).fill_null(OTHER))


def _start(period: Period) -> pl.Expr:
    return pl.from_epoch("moment").dt.truncate(_LENGTHS[period]).dt.epoch("s")


def _periods(moments: pl.Series) -> tuple[Period, tuple[int, ...]]:
    """The shortest periods of which there are few enough, else the last years."""
    frame = pl.DataFrame({"moment": moments})
    for period in _LENGTHS:
        starts = frame.select(_start(period)).to_series().unique().sort().to_list()
        if len(starts) <= MOST_PERIODS:
            break
    return period, tuple(starts[-MOST_PERIODS:])


def _with_period(frame: pl.DataFrame, period: Period, periods: tuple[int, ...]) -> pl.DataFrame:
    places = pl.DataFrame(
        {"start": periods, "period": range(len(periods))}, schema={"start": pl.Int64, "period": pl.Int64}
    )
    dated = frame.with_columns(start=_start(period))
    return dated.join(places, on="start", how="left").with_columns(pl.col("period").fill_null(OTHER))


def _packed(frame: pl.DataFrame) -> str:
    return ";".join(
        ",".join(f"{number:g}" if isinstance(number, float) else str(number) for number in row)
        for row in frame.iter_rows()
    )
