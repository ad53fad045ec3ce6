"""Audit of today's hand-over of leads to sales: its outcomes, and the model with the same number of calls.

A false hand-over is a lead that was handed over and did not become an SQL within the horizon; a missed one
became an SQL without having been handed over. Both are counted only for leads whose horizon is over, and from
what was known at the time.

The rule and the model are compared lead by lead at the same moments, those at which the lead was scored: each
hands it over at the first of them at which it would have, and what came within the horizon of that moment
counts. The model's threshold is the one that hands over as many leads. Where snapshots were not taken when
the rule handed leads over, it could not have fired at them, and there is no comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from features.clock import DAY
from features.closings import standing_transitions
from features.cohort import lead_codes
from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations
from models import metrics
from models.explanation import log_odds_to_points
from models.metrics import Interval
from training.analysis.inputs import current_rule_handover
from training.analysis.not_applicable import NotApplicable
from training.analysis.risk_set_matching import index_of
from training.analysis.stage_entries import NEVER
from training.stats.intervals import wilson_interval
from training.stats.significance import Z_CLAIM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.analysis.inputs import ReportInput
    from training.analysis.stage_entries import Flags, StageEntries, Times

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Places = NDArray[np.int64]

Called = Literal["both", "today", "model", "neither"]

RESAMPLES = 300
# Leads in the comparison with the model; more are thinned evenly.
MOST_LOOKS = 20_000
# A hand-over that a snapshot follows within so many seconds could be compared; so large a share must be.
_SOON, _MIN_COMPARABLE = 7 * DAY, 0.8
# Features that are reported, and the leads that each of the compared groups needs.
MOST_REASONS, FEWEST = 5, 20
MOST_REJECTIONS = 8
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The calls of today's rule or of the model, and how many conversions came within the horizon of them.

    Reports of earlier releases have the leads that both call, only one of them, or neither.
    """

    called: Called
    leads: int
    won: int
    rate: Interval | None


@dataclass(frozen=True, slots=True)
class EqualCallsComparison:
    """Today's rule and the model with the same number of calls, each lead called at most once by each.

    Attributes:
        leads: Number of leads.
        calls: Leads that today's rule calls; the model calls as many, when they first reach ``threshold``.
        won: Conversions that today's rule reaches, within the horizon of its call.
        gained: Further conversions that the model reaches, with a 95 % interval.
        saved: Calls that the model needs fewer for ``won`` conversions, with a 95 % interval.
        threshold: The least probability that the model calls.
        quarters: What came of the model's calls, and of those of today's rule.
        is_gain: Whether ``gained`` is above 0 by so much that a report may recommend the model's threshold.
    """

    leads: int
    calls: int
    won: int
    gained: Interval
    saved: Interval
    threshold: float
    quarters: tuple[CallOutcome, ...]
    is_gain: bool = False


@dataclass(frozen=True, slots=True)
class HandoverOutcome:
    """The conversions of a group of leads.

    Attributes:
        leads: Leads whose horizon is over.
        won: Those of them that converted within it.
        rate: won / leads with its 95 % interval; None without leads.
        waiting: Leads whose horizon is not over.
    """

    leads: int
    won: int
    rate: Interval | None
    waiting: int

    @property
    def lost(self) -> int:
        """Leads that did not convert."""
        return self.leads - self.won


@dataclass(frozen=True, slots=True)
class ContributionGap:
    """A feature's mean contribution to one group of leads minus that to another, in points."""

    spec: FeatureSpec
    points: float


@dataclass(frozen=True, slots=True)
class RejectionReason:
    """A reason with which leads were closed after the hand-over, and the number of leads."""

    reason: str
    leads: int


@dataclass(frozen=True, slots=True)
class HandoverAudit:
    """The outcomes of today's rule, beside the model.

    Attributes:
        rule: Whether a stage or a points table hands over.
        stage: That stage; None for a points table.
        days: The horizon.
        handed: Leads that were handed over.
        kept: Leads that were not.
        hours: Hours per call, where the company named them.
        same: The rule and the model with equally many calls, at the moments of each lead's snapshots; None
            where the rule could not have fired at them.
        against: Features that set handed-over leads without conversion apart from those with one.
        towards: Features that set leads that only the model would have called apart from those neither would.
        rejections: Why leads were closed after the hand-over, the most frequent first.
    """

    rule: Literal["stage", "points"]
    stage: str | None
    days: float
    handed: HandoverOutcome
    kept: HandoverOutcome
    hours: float | None
    same: EqualCallsComparison | None
    against: tuple[ContributionGap, ...]
    towards: tuple[ContributionGap, ...]
    rejections: tuple[RejectionReason, ...]


def audit_handover(inputs: ReportInput) -> HandoverAudit | NotApplicable:
    """Audit the hand-over rule of a report's company beside its model."""
    entries, flags = inputs.stage_entries, current_rule_handover(inputs)
    if isinstance(entries, NotApplicable):
        return entries
    if flags is None:
        return NotApplicable("no_hand_over")
    points = inputs.company.points is not None
    handed_at = (
        _reached_points_at(inputs, entries, flags)
        if points
        else _entered_stage_at(entries, inputs.company.hand_over)
    )
    same = _compare_with_model(inputs, entries, flags, None if points else handed_at)
    against, towards = _contribution_gaps(inputs, flags, same)
    return HandoverAudit(
        rule="points" if points else "stage",
        stage=None if points else inputs.company.hand_over,
        days=entries.spec.horizon / DAY,
        handed=_handed_over_outcome(entries, handed_at),
        kept=_not_handed_over_outcome(entries, handed_at, _has_scores(inputs, entries) if points else None),
        hours=inputs.company.settings.hours_per_call,
        same=same,
        against=against,
        towards=towards,
        rejections=_rejection_reasons(entries, handed_at),
    )


def _entered_stage_at(entries: StageEntries, stage: str | None) -> Times:
    """(n,) when each lead entered the hand-over stage."""
    if stage not in entries.stages:
        return np.full(len(entries.created), NEVER)
    return np.asarray(entries.entered[:, entries.stages.index(stage)])


def _reached_points_at(inputs: ReportInput, entries: StageEntries, flags: Flags) -> Times:
    """(n,) the first snapshot at which each lead had enough points."""
    reached_at = np.full(len(entries.created), NEVER)
    flagged = inputs.scores.filter(
        pl.Series(flags) & inputs.scores["lead_id"].is_in(entries.lead_id.implode())
    )
    first = flagged.group_by("lead_id").agg(pl.col("as_of").min())
    reached_at[index_of(first["lead_id"], entries.lead_id)] = first["as_of"].to_numpy()
    return reached_at


def _has_scores(inputs: ReportInput, entries: StageEntries) -> Flags:
    """(n,) whether a lead has a snapshot; of the others the points are unknown."""
    return entries.lead_id.is_in(inputs.scores["lead_id"].unique().implode()).to_numpy()


def _handed_over_outcome(entries: StageEntries, handed_at: Times) -> HandoverOutcome:
    """Outcome of the leads handed over before they converted, counted from the hand-over."""
    won_at = entries.entered[:, entries.target]
    handed_over = (handed_at < NEVER) & (handed_at <= won_at)
    won_at, handed_at = won_at[handed_over], handed_at[handed_over]
    over = handed_at + entries.spec.gap <= entries.until
    won = int((won_at[over] - handed_at[over] < entries.spec.horizon).sum())
    return _make_outcome(won, int(over.sum()), len(handed_at))


def _not_handed_over_outcome(entries: StageEntries, handed_at: Times, among: Flags | None) -> HandoverOutcome:
    """Outcome of the leads not handed over before converting, nor within the horizon of creation."""
    won_at, due = entries.entered[:, entries.target], entries.created + entries.spec.horizon
    not_handed_over = (handed_at > won_at) | (handed_at >= due)
    if among is not None:
        not_handed_over &= among
    over = not_handed_over & (entries.created + entries.spec.gap <= entries.until)
    return _make_outcome(int((won_at[over] < due[over]).sum()), int(over.sum()), int(not_handed_over.sum()))


def _make_outcome(won: int, over: int, everyone: int) -> HandoverOutcome:
    return HandoverOutcome(over, won, wilson_interval(won, over) if over else None, everyone - over)


def _compare_with_model(
    inputs: ReportInput, entries: StageEntries, flags: Flags, handed_at: Times | None
) -> EqualCallsComparison | None:
    """Compare the rule with the model at the snapshots of at most ``MOST_LOOKS`` leads.

    Leads that were handed over long before their first snapshot are left out: the model had no chance. With
    ``handed_at``, hand-overs by a stage, most must have a snapshot soon after.
    """
    rows = inputs.scores.select("lead_id", "as_of", "probability").with_columns(
        label=pl.Series(inputs.label), today=pl.Series(flags)
    )
    if handed_at is not None:
        moments = pl.DataFrame({"lead_id": entries.lead_id, "handed_at": handed_at})
        rows = rows.join(moments, on="lead_id", how="left", maintain_order="left")
        late = pl.col("today") & (pl.col("as_of") - pl.col("handed_at") > _SOON)
        rows = rows.filter(~(late & (pl.col("as_of") == pl.col("as_of").min())).any().over("lead_id"))
        if not _are_comparable(rows):
            return None
    names = rows["lead_id"].unique().sort()
    rows = rows.filter(
        pl.col("lead_id").is_in(names.gather_every(1 + (len(names) - 1) // MOST_LOOKS).implode())
    )
    rows = rows.sort("lead_id", "as_of")
    columns = (rows[name].to_numpy() for name in ("label", "probability", "today"))
    return compare_at_equal_calls(lead_codes(rows["lead_id"]), *columns)


def _are_comparable(rows: pl.DataFrame) -> bool:
    """Whether most hand-overs between a lead's first snapshot and the last of all have one soon after."""
    leads = rows.group_by("lead_id").agg(
        pl.col("handed_at").first(), pl.col("as_of").min().alias("first"), caught=pl.col("today").any()
    )
    since = pl.col("handed_at") >= pl.col("first") - _SOON
    handed = leads.filter(since, pl.col("handed_at") < rows["as_of"].to_numpy().max())
    first_flagged = rows.filter("today").group_by("lead_id").agg(at=pl.col("as_of").min())
    soon = handed.join(first_flagged, on="lead_id").filter(pl.col("at") - pl.col("handed_at") <= _SOON)
    return handed.height > 0 and soon.height >= _MIN_COMPARABLE * handed.height


def _contribution_gaps(
    inputs: ReportInput, flags: Flags, same: EqualCallsComparison | None
) -> tuple[tuple[ContributionGap, ...], tuple[ContributionGap, ...]]:
    """What speaks against false hand-overs, and for leads that only the model would have called."""
    keys = ["lead_id", "as_of"]
    if same is None or not set(keys) <= set(inputs.explained_rows.columns):
        return (), ()
    rows = inputs.scores.with_columns(label=pl.Series(inputs.label), today=pl.Series(flags))
    explained = inputs.explained_rows.select(keys).join(rows, on=keys, how="left", maintain_order="left")
    today, won = explained["today"].to_numpy(), explained["label"].to_numpy() == 1
    likely = explained["probability"].to_numpy() >= same.threshold
    against = _mean_contribution_gaps(inputs, today & ~won, today & won)
    towards = _mean_contribution_gaps(inputs, ~today & likely, ~today & ~likely)
    return (
        tuple(gap for gap in against[:MOST_REASONS] if gap.points < 0),
        tuple(gap for gap in towards[: -MOST_REASONS - 1 : -1] if gap.points > 0),
    )


def _mean_contribution_gaps(inputs: ReportInput, group: Flags, reference: Flags) -> list[ContributionGap]:
    """Each feature's mean contribution to ``group`` minus that to ``reference``, in points, ascending."""
    if min(group.sum(), reference.sum()) < FEWEST:
        return []
    means = (inputs.contributions[rows].mean(axis=0) for rows in (group, reference))
    points = log_odds_to_points(1.0) * np.subtract(*means)
    order = np.argsort(points, kind="stable")
    return [ContributionGap(inputs.features.specs[place], float(points[place])) for place in order]


def _rejection_reasons(entries: StageEntries, handed_at: Times) -> tuple[RejectionReason, ...]:
    """The reasons with which leads were closed after the hand-over, the most frequent first."""
    handed = pl.DataFrame({"lead_id": entries.lead_id, "at": handed_at}).filter(pl.col("at") < NEVER)
    history = entries.history
    spec = entries.spec
    closed = standing_transitions(history, spec.closed, spec.reopen).filter(
        pl.col("stage").is_in(spec.closed), pl.col("reason").is_not_null()
    )
    after = closed.join(handed, on="lead_id").filter(pl.col("occurred_at") >= pl.col("at"))
    counted = after.group_by("reason").agg(leads=pl.col("lead_id").n_unique())
    ordered = counted.sort("leads", "reason", descending=[True, False]).head(MOST_REJECTIONS)
    return tuple(RejectionReason(reason, leads) for reason, leads in ordered.iter_rows())


def compare_at_equal_calls(lead: Codes, y: Floats, p: Floats, today: Flags) -> EqualCallsComparison | None:
    """Compare today's rule with the model at the same moments and the same number of calls.

    Each calls a lead once, at the first snapshot at which the rule has handed it over, or its probability
    reaches the model's threshold. Intervals are over Poisson resamples of the leads, in each of which the
    model calls as many as today's rule. Leads that tie at the threshold are drawn by lot.

    Args:
        lead: (n,) number of each snapshot's lead, ascending; the snapshots of a lead in the order of time.
        y: (n,) outcomes within the horizon of each snapshot, 0 or 1.
        p: (n,) predicted probabilities.
        today: (n,) whether today's rule had handed the lead over by then.

    Returns:
        The comparison; None where the rule calls all or none of the leads, or reaches no conversion.
    """
    unit = np.unique(lead, return_inverse=True)[1]
    rule = _first_of_each(unit, today)
    leads, calls, won = int(unit.max()) + 1, len(rule), int(y[rule].sum())
    if not 0 < calls < leads or not won:
        return None
    curve = _CallCurve.of(unit, y, p)
    weights = metrics.poisson_weights(leads, RESAMPLES, 0)
    resampled = np.array(
        [curve.gain_and_saving(unit, y, rule, w) for w in weights if (w[unit] * y)[rule].any()]
    )
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    gained, saved = curve.gain_and_saving(unit, y, rule, np.ones(leads))
    model = curve.called(calls)
    return EqualCallsComparison(
        leads=leads,
        calls=calls,
        won=won,
        gained=Interval(gained, float(low[0]), float(high[0])),
        saved=Interval(saved, float(low[1]), float(high[1])),
        threshold=float(p[curve.record[curve.rank >= curve.threshold(calls)]].min()),
        quarters=tuple(_call_outcomes(y, rule, model)),
        is_gain=bool(gained > Z_CLAIM * resampled[:, 0].std()),
    )


def _first_of_each(unit: Codes, flags: Flags) -> Places:
    """The first flagged row of each unit that has one; rows are in the order of units and time."""
    rows = np.flatnonzero(flags)
    return rows[np.unique(unit[rows], return_index=True)[1]]


@dataclass(frozen=True, eq=False)
class _CallCurve:
    """Whom the model calls, and when, from the highest threshold to the lowest.

    A row can be a first call only if its score exceeds those of its lead before: it is the call for all
    thresholds above these and up to its own.

    Attributes:
        record: (r,) such rows.
        rank: (r,) the ranks of their scores among all rows.
        before: (r,) the ranks of their lead's greatest scores before, -1 without one.
        is_top: (r,) whether no later row of the lead has a higher score.
        rows: Number of all rows.
    """

    record: Places
    rank: Places
    before: Places
    is_top: Flags
    rows: int

    @classmethod
    def of(cls, unit: Codes, y: Floats, p: Floats) -> _CallCurve:
        """The curve of scores ``p``; ties of leads are broken by lot, of a lead's rows by time."""
        lots = np.random.default_rng(1).permutation(int(unit.max()) + 1)
        order = np.lexsort((-np.arange(len(y)), lots[unit], p))
        rank = np.empty(len(y), dtype=np.int64)
        rank[order] = np.arange(len(y))
        highest = pl.DataFrame({"unit": unit, "rank": rank}).select(
            before=pl.col("rank").cum_max().shift().over("unit").fill_null(-1),
            top=pl.col("rank").max().over("unit"),
        )
        before, top = highest["before"].to_numpy(), highest["top"].to_numpy()
        record = np.flatnonzero(rank > before)
        return cls(record, rank[record], before[record], rank[record] == top[record], len(y))

    def threshold(self, calls: int) -> int:
        """The rank from which on so many leads are called."""
        return int(np.sort(self.rank[self.is_top])[-calls])

    def called(self, calls: int) -> Places:
        """The rows at which so many leads are called."""
        least = self.threshold(calls)
        return self.record[(self.before < least) & (self.rank >= least)]

    def gain_and_saving(self, unit: Codes, y: Floats, rule: Places, weight: Floats) -> tuple[float, float]:
        """Conversions that the model gains on the calls ``rule``, and calls it saves, with weighted leads."""
        own = weight[unit[self.record]]
        reached = own * y[self.record]
        called = self._from_top(self.rank[self.is_top], own[self.is_top])
        hits = self._from_top(self.rank, reached) - self._from_top(self.before, reached)
        calls, won = float(weight[unit[rule]].sum()), float((weight[unit] * y)[rule].sum())
        last = int(np.searchsorted(called, calls - _ROUNDING))
        above = np.append(0.0, called)[last], np.append(0.0, hits)[last]
        part = (calls - above[0]) / (called[last] - above[0])
        more = float(above[1] + part * (hits[last] - above[1])) - won
        enough = np.flatnonzero(hits >= won - _ROUNDING)
        return more, calls - float(called[enough[0]] if len(enough) else called[-1])

    def _from_top(self, rank: Places, weight: Floats) -> Floats:
        """(rows,) the sum of the weights of all ranks from the highest down to each."""
        known = rank >= 0
        return np.cumsum(np.bincount(rank[known], weight[known], self.rows)[::-1])


def _call_outcomes(y: Floats, rule: Places, model: Places) -> Iterator[CallOutcome]:
    """What came after the calls of each.

    Leads that only one of them calls must not be compared: whom the rule calls later has not converted until
    then, so that among those it never calls are the ones who converted first (immortal time, Suissa 2008).
    """
    calls: dict[Called, Places] = {"model": model, "today": rule}
    for called, rows in calls.items():
        won = int(y[rows].sum())
        yield CallOutcome(called, len(rows), won, wilson_interval(won, len(rows)))
