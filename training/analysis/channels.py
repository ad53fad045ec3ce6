"""Conversions by channel beside those expected of the same leads in an average channel.

A channel's own rate reflects the leads that come through it as much as the channel. So observed conversions
are compared with those that the model expects of these very leads had each come through the channel of a
random other lead: indirect standardisation (Breslow and Day 1987) with the model in the place of the strata.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import expit

from features.clock import DAY
from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations
from features.word_lists import fold_word
from models.metrics import Interval  # noqa: TC001  # the same
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import labels_from_creation
from training.stats.intervals import wilson_interval
from training.stats.significance import (
    FEWEST_LEADS,
    FEWEST_SQLS,
    ORDER,
    Verdict,
    benjamini_hochberg,
    observed_expected_ratio,
    shift_to_total,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from features.history import LeadHistory
    from features.labels import LabelSpec
    from models.conversion import ConversionModel
    from training.analysis.inputs import ReportInput
    from training.stats.significance import Floats, RatioTest

FAMILY = "channel"
MOST_DIMENSIONS, MOST_CHANNELS = 4, 15
# Leads whose expectation is computed, and the random channels it is averaged over.
MOST_ASKED, DRAWS = 20_000, 4
# Beside features, which companies may call what they like.
LABEL, LOG_ODDS, _EXPECTED = "leadloop.label", "leadloop.log_odds", "leadloop.expected"
# Probabilities stay so far from 0 and 1; a column must be known at creation for so large a share of leads.
_EPSILON, _MIN_KNOWN = 1e-6, 0.8
# Conversions, and leads without one, that a month needs to have an expectation of its own.
_MIN_MONTHLY = 10
# Numbers, and hashes or keys: eight hexadecimal digits or more, in groups or not.
_CODE = re.compile(r"\d+|(?=.*\d)[0-9a-f]{8}[0-9a-f-]*", re.IGNORECASE)
_NO_CHANNEL = frozenset({
    "unknown", "unbekannt", "other", "others", "sonstige", "sonstiges", "andere", "none", "n/a", "(not set)",
    "not set", "(none)", "(direct)", "undefined", "autre", "autres", "otro", "otros", "outro", "outros",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class CostPerSql:
    """The cost of one SQL with the ends of its interval; None where it has no upper bound."""

    value: float | None
    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class Channel:
    """The leads of one channel.

    Attributes:
        name: None for leads whose channel is unknown.
        leads: Number of leads.
        matured: Those of them whose horizon is over.
        won: Matured leads that converted in time.
        rate: won / matured with its 95 % interval.
        held_out_leads: Held-out leads, which the model was not trained on.
        came: Conversions among these.
        expected: Conversions expected of these in an average channel.
        ratio: came / expected with its interval.
        verdict: What the ratio shows, after Benjamini-Hochberg.
        cost: Cost per SQL, where the company named the channel's cost.
        pooled: Number of small channels pooled here; 0 for a channel of its own.
        pipeline: The values of its leads that entered the target stage, where the company named their column.
    """

    name: str | None
    leads: int
    matured: int
    won: int
    rate: Interval | None
    held_out_leads: int
    came: int
    expected: float
    ratio: Interval | None
    verdict: Verdict
    cost: CostPerSql | None = None
    pooled: int = 0
    pipeline: float | None = None


@dataclass(frozen=True, slots=True)
class ChannelBreakdown:
    """All leads by one channel column.

    Attributes:
        spec: The column.
        whole: Whether every lead of the company is counted; else only held-out leads, as of their snapshot.
        matured: Number of matured leads.
        rate: Their conversion rate.
        channels: The channels, significant ones first.
    """

    spec: FeatureSpec
    whole: bool
    matured: int
    rate: Interval
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Channels:
    """Every channel column.

    Attributes:
        days: The horizon; None for a flat export.
        adjusted: Whether expectations are the model's, and not one rate for all.
        dimensions: One breakdown per column.
        unknown: Channels with a cost that no lead came through.
    """

    days: float | None
    adjusted: bool
    dimensions: tuple[ChannelBreakdown, ...]
    unknown: tuple[str, ...] = ()


def channels(inputs: ReportInput) -> Channels | NotApplicable:
    """Compare the channels of a report's leads, each lead at its first snapshot."""
    specs = [spec for spec in inputs.features.specs if spec.family == FAMILY]
    snapshots = first_snapshots(inputs)
    dimensions = [s for s in specs if s.unit == "category" and snapshots[s.name].n_unique() > 1][
        :MOST_DIMENSIONS
    ]
    if not dimensions:
        return NotApplicable("no_channels")
    costs = inputs.company.settings.costs
    names = {name for dimension in dimensions for name in snapshots[dimension.name].drop_nulls()}
    label = inputs.company.label
    with_expected = snapshots.with_columns(
        pl.Series(_EXPECTED, counterfactual_probability(inputs, snapshots))
    )
    outcomes = _outcomes(inputs)
    return Channels(
        days=None if label is None else label.horizon / DAY,
        adjusted=inputs.model is not None,
        dimensions=_breakdowns(
            [
                _ChannelColumn.of(spec, _outcomes_by_value(inputs, outcomes, spec), with_expected)
                for spec in dimensions
            ],
            costs,
            pipeline_values(inputs),
        ),
        unknown=tuple(sorted(set(costs) - names)),
    )


def has_codes(breakdown: ChannelBreakdown) -> bool:
    """Whether most leads of a column came by names that only a machine reads, such as hashes and keys."""
    named = [channel for channel in breakdown.channels if channel.name]
    codes = sum(channel.leads for channel in named if _CODE.fullmatch(channel.name or ""))
    return 2 * codes > sum(channel.leads for channel in named)


def is_named(channel: Channel) -> bool:
    """Whether leads came by one channel that has a name, and not by unknown or several ones."""
    return channel.name is not None and not channel.pooled and fold_word(channel.name) not in _NO_CHANNEL


def first_snapshots(inputs: ReportInput) -> pl.DataFrame:
    """Select each lead's first held-out row with ``LABEL`` and ``LOG_ODDS``, thinned to ``MOST_ASKED``."""
    columns = {LABEL: pl.Series(inputs.label), LOG_ODDS: inputs.scores["log_odds"]}
    scores = inputs.scores.select("lead_id", "as_of", **columns)
    ordered = scores.select("lead_id", "as_of").with_row_index("place").sort("as_of", "lead_id", "place")
    first = ordered.unique("lead_id", keep="first", maintain_order=True)["place"]
    places = first.gather_every(1 + (len(first) - 1) // MOST_ASKED)
    return inputs.held_out_rows.with_columns(scores.get_columns())[places]


def counterfactual_probability(inputs: ReportInput, snapshots: pl.DataFrame) -> Floats:
    """Predict the probabilities of leads had each come through the channel of a random other lead.

    Args:
        inputs: A report's inputs; without a model all leads get one rate.
        snapshots: (n,) rows with ``LABEL``, ``LOG_ODDS`` and the features.

    Returns:
        (n,) probabilities, shifted in log-odds so that they add up to the observed conversions: in each month
        with enough of them, as a channel of a good season is no good channel, and in all.
    """
    y, names = snapshots[LABEL].to_numpy(), [s.name for s in inputs.features.specs if s.family == FAMILY]
    if inputs.model is None:
        return np.full(len(y), float(y.mean()))
    log_odds = snapshots[LOG_ODDS].to_numpy() - _predict_log_odds(inputs.model, snapshots)
    random = np.random.default_rng(0)
    draws = [
        expit(
            log_odds + _predict_log_odds(inputs.model, snapshots.with_columns(snapshots.select(names)[order]))
        )
        for order in (random.permutation(len(y)) for _ in range(DRAWS))
    ]
    return _shift_by_month(np.clip(np.mean(draws, axis=0), _EPSILON, 1 - _EPSILON), y, snapshots)


def _shift_by_month(p: Floats, y: Floats, snapshots: pl.DataFrame) -> Floats:
    """(n,) probabilities that add up to the conversions of each month, of the small months together."""
    if not snapshots["as_of"].dtype.is_integer() or snapshots["as_of"].null_count():
        return shift_to_total(p, float(y.sum()))
    month = snapshots["as_of"].to_numpy().astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    place = np.unique(month, return_inverse=True)[1]
    rows, won = np.bincount(place), np.bincount(place, y)
    period = np.where(np.minimum(won, rows - won) >= _MIN_MONTHLY, np.arange(len(rows)), -1)[place]
    shifted = p.copy()
    for number in np.unique(period):
        inside = period == number
        total = float(y[inside].sum())
        if 0 < total < inside.sum():
            shifted[inside] = shift_to_total(p[inside], total)
    return shifted


def _predict_log_odds(model: ConversionModel, rows: pl.DataFrame) -> Floats:
    return model.score_frame(rows)["log_odds"].to_numpy()


def _outcomes(inputs: ReportInput) -> pl.DataFrame | None:
    """``lead_id`` and ``label`` (null while not matured) of every lead; None without a history."""
    history, label = inputs.history, inputs.company.label
    if history is None or label is None:
        return None
    return matured_outcomes(history, label, inputs.company.since)


def _outcomes_by_value(
    inputs: ReportInput, outcomes: pl.DataFrame | None, spec: FeatureSpec
) -> pl.DataFrame | None:
    """``outcomes`` with the ``value`` of ``spec`` as known at each lead's creation.

    None where the value is not known then: a later campaign is not the channel a lead came through.
    """
    if outcomes is None or (known := value_at_creation(inputs, spec)) is None:
        return None
    return outcomes.join(known, on="lead_id", how="left")


def value_at_creation(inputs: ReportInput, spec: FeatureSpec) -> pl.DataFrame | None:
    """``lead_id`` and ``value`` of leads as known at their creation; None where it is not known then."""
    history = inputs.history
    if history is None:
        return None
    if spec.source == "leads" and spec.of in history.leads.columns:
        return history.leads.select("lead_id", value=str(spec.of))
    if spec.source == "touchpoints" and spec.reduce == "earliest":
        known = _first_touch_value(history, str(spec.of))
        return known if known.height >= _MIN_KNOWN * history.leads.height else None
    return None


def matured_outcomes(history: LeadHistory, label: LabelSpec, since: int | None) -> pl.DataFrame:
    """Label every lead from its creation.

    Args:
        history: The leads.
        label: What is predicted.
        since: Outcomes of leads created before this moment are incomplete and become null.

    Returns:
        ``lead_id`` and ``label``, null while not matured.
    """
    known = labels_from_creation(history, label)
    is_known = pl.col("matured") & (pl.lit(since is None) | (pl.col("as_of") >= (since or 0)))
    return known.select("lead_id", label=pl.when(is_known).then(pl.col("label")).cast(pl.Float64))


def _first_touch_value(history: LeadHistory, column: str) -> pl.DataFrame:
    """``column`` of each lead's first touchpoint before its creation; of several at once the last by name."""
    created = history.leads.lazy().select("lead_id", "created_at")
    touches = history.touchpoints.lazy().select("lead_id", "occurred_at", value=column).drop_nulls("value")
    # Most leads have many touchpoints, and hardly any before their creation: none but these are kept.
    known = touches.join(created, on="lead_id").filter(pl.col("occurred_at") <= pl.col("created_at"))
    first = pl.col("occurred_at") == pl.col("occurred_at").min()
    return known.group_by("lead_id").agg(pl.col("value").filter(first).max()).collect()


@dataclass(frozen=True, eq=False)
class _ChannelColumn:
    """The leads of one channel column.

    Attributes:
        spec: The column.
        whole: Whether every lead of the company is counted.
        counted: ``label`` of the leads that are counted.
        rows: For each channel its name, its counted and its held-out leads, and how many values it holds.
    """

    spec: FeatureSpec
    whole: bool
    counted: pl.DataFrame
    rows: list[tuple[str | None, pl.DataFrame, pl.DataFrame, int]]

    @classmethod
    def of(cls, spec: FeatureSpec, all_leads: pl.DataFrame | None, snapshots: pl.DataFrame) -> _ChannelColumn:
        """Split leads by a column: all leads where it is known at creation, else the held-out ones."""
        expected = snapshots.select("lead_id", label=LABEL, expected=_EXPECTED, value=spec.name)
        if all_leads is not None:
            known = all_leads.select("lead_id", "value")
            expected = expected.drop("value").join(known, on="lead_id", how="left")
        counted = expected if all_leads is None else all_leads
        rows = [
            (name, _select_level(counted, level), _select_level(expected, level), len(level))
            for name, level in _channel_levels(counted["value"])
        ]
        return cls(spec, all_leads is not None, counted, rows)


def _breakdowns(
    columns: Sequence[_ChannelColumn], costs: Mapping[str, float], values: pl.DataFrame | None
) -> tuple[ChannelBreakdown, ...]:
    """The channels of all columns; their tests are corrected together."""
    tests = [[_test_ratio(held_out) for _, _, held_out, _ in column.rows] for column in columns]
    verdicts = iter(benjamini_hochberg([test for row in tests for test in row]))
    return tuple(
        _breakdown(
            column,
            [
                _make_channel(
                    row,
                    test,
                    next(verdicts),
                    costs if column.whole else {},
                    values if column.whole else None,
                )
                for row, test in zip(column.rows, of_column, strict=True)
            ],
        )
        for column, of_column in zip(columns, tests, strict=True)
    )


def _breakdown(column: _ChannelColumn, channels: list[Channel]) -> ChannelBreakdown:
    matured = column.counted["label"].drop_nulls()
    return ChannelBreakdown(
        spec=column.spec,
        whole=column.whole,
        matured=len(matured),
        rate=wilson_interval(float(matured.sum()), max(len(matured), 1)),
        channels=tuple(
            sorted(
                channels,
                key=lambda channel: (ORDER.index(channel.verdict), -channel.leads, channel.name or ""),
            )
        ),
    )


def _channel_levels(values: pl.Series) -> Iterator[tuple[str | None, Sequence[str | None]]]:
    """Each channel with the values it holds, the largest first; the smallest pooled if there are too many."""
    counted = values.value_counts(name="leads").sort("leads", values.name, descending=[True, False])
    names = counted[values.name].to_list()
    alone = names if len(names) <= MOST_CHANNELS else names[: MOST_CHANNELS - 1]
    yield from ((name, [name]) for name in alone)
    if len(names) > len(alone):
        yield None, names[len(alone) :]


def _select_level(frame: pl.DataFrame, level: Sequence[str | None]) -> pl.DataFrame:
    return frame.filter(pl.col("value").is_in(level, nulls_equal=True))


def _test_ratio(held_out: pl.DataFrame) -> RatioTest | None:
    """Test observed against expected conversions; None where too few of either outcome are expected."""
    p = held_out["expected"].to_numpy()
    if len(p) < FEWEST_LEADS or min(p.sum(), (1 - p).sum()) < FEWEST_SQLS:
        return None
    return observed_expected_ratio(held_out["label"].to_numpy(), p)


def _make_channel(
    row: tuple[str | None, pl.DataFrame, pl.DataFrame, int],
    test: RatioTest | None,
    verdict: Verdict,
    costs: Mapping[str, float],
    values: pl.DataFrame | None,
) -> Channel:
    name, counted, held_out, size = row
    matured = counted["label"].drop_nulls()
    won = int(matured.sum())
    rate = wilson_interval(won, len(matured)) if len(matured) else None
    return Channel(
        name=name,
        leads=counted.height,
        matured=len(matured),
        won=won,
        rate=rate,
        held_out_leads=held_out.height,
        came=int(held_out["label"].sum()),
        expected=float(held_out["expected"].sum()),
        ratio=test.ratio if test else None,
        verdict=verdict,
        cost=_cost_per_sql(costs.get(name or ""), counted.height, rate),
        pooled=size if size > 1 else 0,
        pipeline=None
        if values is None
        else float(values.join(counted, on="lead_id", how="semi")["amount"].sum()),
    )


def pipeline_values(inputs: ReportInput) -> pl.DataFrame | None:
    """``lead_id`` and ``amount`` of the leads that entered the target stage; None without [report] value.

    The amount is the column of leads, else the newest number of the overwritten attribute of that name. It is
    read as of the export: what a lead is worth is often known only after it was qualified.
    """
    column, entries = inputs.company.settings.value, inputs.stage_entries
    if column is None or inputs.history is None or isinstance(entries, NotApplicable):
        return None
    leads, attributes = inputs.history.leads, inputs.history.attributes
    if column in leads.columns:
        amounts = leads.select("lead_id", amount=pl.col(column).cast(pl.Float64, strict=False))
    else:
        newest = attributes.filter(pl.col("name") == column).sort("known_at", maintain_order=True)
        amounts = newest.group_by("lead_id").agg(amount=pl.col("number").last())
    won = pl.DataFrame({"lead_id": entries.lead_id.filter(pl.Series(entries.won))})
    return won.join(amounts.drop_nulls(), on="lead_id")


def _cost_per_sql(cost: float | None, leads: int, rate: Interval | None) -> CostPerSql | None:
    """The cost per lead over the rate of matured leads, so that leads not yet matured count as well."""
    if cost is None or rate is None or not leads:
        return None
    each = cost / leads
    low, high = (each / part if part else None for part in (rate.high, rate.low))
    return CostPerSql(each / rate.value if rate.value else None, low or 0.0, high)
