"""Audit of today's hand-over of leads to sales: its outcomes, and the model with the same number of calls.

A false hand-over is a lead that was handed over and did not become an SQL within the horizon; a missed one
became an SQL without having been handed over. Both are counted only for leads whose horizon is over, and from
what was known at the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from features.clock import DAY
from features.closings import standing_transitions
from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations
from models import metrics
from models.explanation import log_odds_to_points
from models.metrics import Interval
from training.analysis.inputs import current_rule_handover
from training.analysis.not_applicable import NotApplicable
from training.analysis.risk_set_matching import index_of
from training.analysis.stage_entries import NEVER
from training.stats.intervals import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.analysis.inputs import ReportInput
    from training.analysis.stage_entries import Flags, StageEntries, Times

    Floats = NDArray[np.float64]

Called = Literal["both", "today", "model", "neither"]

RESAMPLES = 300
# Leads in the comparison with the model; more are thinned evenly.
MOST_LOOKS = 20_000
# Features that are reported, and the leads that each of the compared groups needs.
MOST_REASONS, FEWEST = 5, 20
MOST_REJECTIONS = 8


@dataclass(frozen=True, slots=True)
class AgreementCell:
    """The leads that both rules call, only one of them, or neither, and how many of them converted."""

    called: Called
    leads: int
    won: int
    rate: Interval | None


@dataclass(frozen=True, slots=True)
class EqualCallsComparison:
    """Today's rule and the model with the same number of calls.

    Attributes:
        leads: Number of leads.
        calls: Leads that today's rule calls; the model calls as many, the best.
        won: Conversions that today's rule reaches.
        gained: Further conversions that the model reaches, with a 95 % interval.
        saved: Calls that the model needs fewer for ``won`` conversions, with a 95 % interval.
        threshold: The least probability that the model calls.
        quarters: The leads by who calls them.
    """

    leads: int
    calls: int
    won: int
    gained: Interval
    saved: Interval
    threshold: float
    quarters: tuple[AgreementCell, ...]


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
        same: The rule and the model with equally many calls, at each lead's first snapshot.
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
    first_rows = _first_rows(inputs, flags)
    same = compare_at_equal_calls(
        *(first_rows[name].to_numpy() for name in ("label", "probability", "today"))
    )
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


def _first_rows(inputs: ReportInput, flags: Flags) -> pl.DataFrame:
    """``label``, ``probability`` and ``today`` of each lead's first row, thinned to ``MOST_LOOKS``."""
    rows = inputs.scores.with_columns(label=pl.Series(inputs.label), today=pl.Series(flags))
    first = rows.sort("as_of", "lead_id").unique("lead_id", keep="first", maintain_order=True)
    return first.gather_every(1 + (first.height - 1) // MOST_LOOKS)


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


def compare_at_equal_calls(y: Floats, p: Floats, today: Flags) -> EqualCallsComparison | None:
    """Compare today's rule with the model at the same number of calls.

    Intervals are over Poisson resamples of the leads, in each of which the model calls as many as today's
    rule. Ties at the threshold are broken at random.

    Args:
        y: (n,) outcomes, 0 or 1.
        p: (n,) predicted probabilities.
        today: (n,) whether today's rule calls the lead.

    Returns:
        The comparison; None where the rule calls all or none, or reaches no conversion.
    """
    calls = int(today.sum())
    if not 0 < calls < len(y) or not y[today].any():
        return None
    lots = np.random.default_rng(1).permutation(len(y))
    order = np.lexsort((lots, p))  # once, so that each resample's own sort costs next to nothing
    y, p, today = y[order], p[order], today[order]
    weights = metrics.poisson_weights(len(y), RESAMPLES, 0)
    resampled = np.array([_gain_and_saving(y, p, today, w) for w in weights if (w * y)[today].any()])
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    gained, saved = _gain_and_saving(y, p, today, np.ones(len(y)))
    best = len(p) - calls
    return EqualCallsComparison(
        leads=len(y),
        calls=calls,
        won=int(y[today].sum()),
        gained=Interval(gained, float(low[0]), float(high[0])),
        saved=Interval(saved, float(low[1]), float(high[1])),
        threshold=float(p[best]),
        quarters=tuple(_agreement_cells(y, today, np.arange(len(p)) >= best)),
    )


def _gain_and_saving(y: Floats, p: Floats, today: Flags, weights: Floats) -> tuple[float, float]:
    """Conversions that the model gains on ``today``, and calls that it saves, with weighted leads."""
    called, captured = metrics.gains_curve(y, p, weights)
    leads, conversions = float(weights.sum()), float(weights @ y)
    calls, hits = float(weights @ today), float((weights * y) @ today)
    more = conversions * float(np.interp(calls / leads, called, captured)) - hits
    # The curve is flat where leads did not convert: the first place that reaches as many is the one.
    enough = leads * float(np.interp(hits / conversions, *_first_steps(captured, called)))
    return more, calls - enough


def _first_steps(captured: Floats, called: Floats) -> tuple[Floats, Floats]:
    first = np.diff(captured, prepend=-1.0) > 0
    return captured[first], called[first]


def _agreement_cells(y: Floats, today: Flags, model: Flags) -> Iterator[AgreementCell]:
    parts: dict[Called, Flags] = {
        "both": today & model,
        "model": ~today & model,
        "today": today & ~model,
        "neither": ~today & ~model,
    }
    for called, rows in parts.items():
        leads, won = int(rows.sum()), int(y[rows].sum())
        yield AgreementCell(called, leads, won, wilson_interval(won, leads) if leads else None)
