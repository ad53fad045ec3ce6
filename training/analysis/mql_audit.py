"""Today's way of handing leads to sales, held against what became of them and against the model.

A false hand-over is a lead that sales was given and that did not become an SQL within the horizon; a missed
one became an SQL, or looked like one to the model, and was not handed over. Both are told only of leads whose
horizon is over, and from what was known at the time.

Today's rule and the model on the same leads with the same number of calls: who calls whom, to what end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from features.clock import DAY
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

    Floats = NDArray[np.float64]
    from training.analysis.inputs import ReportInput
    from training.analysis.stage_entries import Flags, StageEntries, Times


Called = Literal["both", "today", "model", "neither"]

RESAMPLES = 300


@dataclass(frozen=True, slots=True)
class AgreementCell:
    """The leads that both would call, only one of them, or neither; what became of them."""

    called: Called
    leads: int
    won: int
    rate: Interval | None


@dataclass(frozen=True, slots=True)
class EqualCallsComparison:
    """Of ``leads`` today's rule calls ``calls`` and reaches ``won`` SQLs; the model calls its best ``calls``.

    ``gained`` is by how many SQLs that is more, ``saved`` how many calls fewer the model needs for ``won``.
    ``threshold`` is the least probability that it calls.
    """

    leads: int
    calls: int
    won: int
    gained: Interval
    saved: Interval
    threshold: float
    quarters: tuple[AgreementCell, ...]


def compare_at_equal_calls(y: Floats, p: Floats, today: Flags) -> EqualCallsComparison | None:
    """(n,) outcomes and probabilities of leads, and whether ``today`` calls them.

    The intervals are of Poisson resamples of the leads, in which the model calls as many as today's rule.
    Of leads that tie at the threshold lots say whom it calls: all of them would be more calls than today's.
    None where that calls all or none, or reaches nobody.
    """
    calls = int(today.sum())
    if not 0 < calls < len(y) or not y[today].any():
        return None
    lots = np.random.default_rng(1).permutation(len(y))
    order = np.lexsort((lots, p))  # once, so that each resample's own sort costs next to nothing
    y, p, today = y[order], p[order], today[order]
    weights = metrics.poisson_weights(len(y), RESAMPLES, 0)
    drawn = np.array([_difference(y, p, today, w) for w in weights if (w * y)[today].any()])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    gained, saved = _difference(y, p, today, np.ones(len(y)))
    best = len(p) - calls
    return EqualCallsComparison(
        leads=len(y),
        calls=calls,
        won=int(y[today].sum()),
        gained=Interval(gained, float(low[0]), float(high[0])),
        saved=Interval(saved, float(low[1]), float(high[1])),
        threshold=float(p[best]),
        quarters=tuple(_quarters(y, today, np.arange(len(p)) >= best)),
    )


def _difference(y: Floats, p: Floats, today: Flags, weights: Floats) -> tuple[float, float]:
    """The SQLs that the model gains on ``today``, and the calls that it saves, among leads so weighted."""
    called, found = metrics.gains_curve(y, p, weights)
    leads, won = float(weights.sum()), float(weights @ y)
    calls, reached = float(weights @ today), float((weights * y) @ today)
    more = won * float(np.interp(calls / leads, called, found)) - reached
    # The curve is flat where leads did not convert: the first place that reaches as many is the one.
    enough = leads * float(np.interp(reached / won, *_rising(found, called)))
    return more, calls - enough


def _rising(found: Floats, called: Floats) -> tuple[Floats, Floats]:
    first = np.diff(found, prepend=-1.0) > 0
    return found[first], called[first]


def _quarters(y: Floats, today: Flags, model: Flags) -> Iterator[AgreementCell]:
    parts: dict[Called, Flags] = {
        "both": today & model,
        "model": ~today & model,
        "today": today & ~model,
        "neither": ~today & ~model,
    }
    for called, rows in parts.items():
        leads, won = int(rows.sum()), int(y[rows].sum())
        yield AgreementCell(called, leads, won, wilson_interval(won, leads) if leads else None)


MOST_LOOKS = 20_000

MOST_REASONS, FEWEST = 5, 20

MOST_REJECTIONS = 8


@dataclass(frozen=True, slots=True)
class HandoverOutcome:
    """``won`` of ``leads`` became an SQL within the horizon; ``waiting`` more are not over yet."""

    leads: int
    won: int
    rate: Interval | None
    waiting: int

    @property
    def lost(self) -> int:
        """Those that did not."""
        return self.leads - self.won


@dataclass(frozen=True, slots=True)
class ContributionGap:
    """How many points more a feature gave one group of leads than another, on average."""

    spec: FeatureSpec
    points: float


@dataclass(frozen=True, slots=True)
class RejectionReason:
    """A reason that sales gave for closing leads it had been handed, and how many leads that were."""

    reason: str
    leads: int


@dataclass(frozen=True, slots=True)
class HandoverAudit:
    """What became of the leads that were ``handed`` over, and of those that were ``kept``.

    ``rule`` says whether a stage or a points table hands over; ``stage`` which. ``same`` is today's rule
    beside the model at each lead's first look. ``against`` are the features that set handed-over leads that
    were no SQL apart from those that were, ``towards`` those that set apart whom the model would have called.
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


def audit_handover(given: ReportInput) -> HandoverAudit | NotApplicable:
    """Today's rule of the report's company, beside its model."""
    known, flags = given.stage_entries, current_rule_handover(given)
    if isinstance(known, NotApplicable):
        return known
    if flags is None:
        return NotApplicable("no_hand_over")
    points = given.company.points is not None
    at = _by_points(given, known, flags) if points else _by_stage(known, given.company.hand_over)
    looked = _first_looks(given, flags)
    same = compare_at_equal_calls(*(looked[name].to_numpy() for name in ("label", "probability", "today")))
    against, towards = _leanings(given, flags, same)
    return HandoverAudit(
        rule="points" if points else "stage",
        stage=None if points else given.company.hand_over,
        days=known.spec.horizon / DAY,
        handed=_handed(known, at),
        kept=_kept(known, at, _asked(given, known) if points else None),
        hours=given.company.settings.hours_per_call,
        same=same,
        against=against,
        towards=towards,
        rejections=_rejections(known, at),
    )


def _by_stage(known: StageEntries, stage: str | None) -> Times:
    """(n,) when each lead entered the stage that hands it over."""
    if stage not in known.stages:
        return np.full(len(known.created), NEVER)
    return np.asarray(known.entered[:, known.stages.index(stage)])


def _by_points(given: ReportInput, known: StageEntries, flags: Flags) -> Times:
    """(n,) when each lead was first seen with enough points, among the moments at which it was judged."""
    at = np.full(len(known.created), NEVER)
    flagged = given.scores.filter(pl.Series(flags) & given.scores["lead_id"].is_in(known.lead_id.implode()))
    found = flagged.group_by("lead_id").agg(pl.col("as_of").min())
    at[index_of(found["lead_id"], known.lead_id)] = found["as_of"].to_numpy()
    return at


def _asked(given: ReportInput, known: StageEntries) -> Flags:
    """(n,) whether a lead was ever judged: of the others nobody knows what the points would have said."""
    return known.lead_id.is_in(given.scores["lead_id"].unique().implode()).to_numpy()


def _handed(known: StageEntries, at: Times) -> HandoverOutcome:
    """The leads handed over by when they were an SQL, counted from that moment on."""
    won_at = known.entered[:, known.target]
    mine = (at < NEVER) & (at <= won_at)
    won_at, at = won_at[mine], at[mine]
    over = at + known.spec.gap <= known.until
    won = int((won_at[over] - at[over] < known.spec.horizon).sum())
    return _outcome(won, int(over.sum()), len(at))


def _kept(known: StageEntries, at: Times, among: Flags | None) -> HandoverOutcome:
    """The leads not handed over by when they were an SQL, nor within the horizon of their creation."""
    won_at, due = known.entered[:, known.target], known.created + known.spec.horizon
    kept = (at > won_at) | (at >= due)
    if among is not None:
        kept &= among
    over = kept & (known.created + known.spec.gap <= known.until)
    return _outcome(int((won_at[over] < due[over]).sum()), int(over.sum()), int(kept.sum()))


def _outcome(won: int, over: int, everyone: int) -> HandoverOutcome:
    return HandoverOutcome(over, won, wilson_interval(won, over) if over else None, everyone - over)


def _first_looks(given: ReportInput, flags: Flags) -> pl.DataFrame:
    """``label``, ``probability`` and ``today`` of each lead's first judged row; evenly fewer of very many."""
    rows = given.scores.with_columns(label=pl.Series(given.label), today=pl.Series(flags))
    first = rows.sort("as_of", "lead_id").unique("lead_id", keep="first", maintain_order=True)
    return first.gather_every(1 + (first.height - 1) // MOST_LOOKS)


def _leanings(
    given: ReportInput, flags: Flags, same: EqualCallsComparison | None
) -> tuple[tuple[ContributionGap, ...], tuple[ContributionGap, ...]]:
    """What speaks against false hand-overs, and for those that the model would have called."""
    keys = ["lead_id", "as_of"]
    if same is None or not set(keys) <= set(given.explained.columns):
        return (), ()
    rows = given.scores.with_columns(label=pl.Series(given.label), today=pl.Series(flags))
    shown = given.explained.select(keys).join(rows, on=keys, how="left", maintain_order="left")
    today, won = shown["today"].to_numpy(), shown["label"].to_numpy() == 1
    likely = shown["probability"].to_numpy() >= same.threshold
    against = _lean(given, today & ~won, today & won)
    towards = _lean(given, ~today & likely, ~today & ~likely)
    return (
        tuple(lean for lean in against[:MOST_REASONS] if lean.points < 0),
        tuple(lean for lean in towards[: -MOST_REASONS - 1 : -1] if lean.points > 0),
    )


def _lean(given: ReportInput, one: Flags, other: Flags) -> list[ContributionGap]:
    """Each feature's mean contribution in points to one group less that to another, the least first."""
    if min(one.sum(), other.sum()) < FEWEST:
        return []
    means = (given.contributions[rows].mean(axis=0) for rows in (one, other))
    points = log_odds_to_points(1.0) * np.subtract(*means)
    order = np.argsort(points, kind="stable")
    return [ContributionGap(given.features.specs[place], float(points[place])) for place in order]


def _rejections(known: StageEntries, at: Times) -> tuple[RejectionReason, ...]:
    """The reasons with which leads were closed after they had been handed over, the most frequent first."""
    handed = pl.DataFrame({"lead_id": known.lead_id, "at": at}).filter(pl.col("at") < NEVER)
    history = known.history
    closed = history.transitions.filter(
        pl.col("stage").is_in(known.spec.closed),
        pl.col("reason").is_not_null(),
        pl.col("known_at") < history.observed_until,
    )
    after = closed.join(handed, on="lead_id").filter(pl.col("occurred_at") >= pl.col("at"))
    counted = after.group_by("reason").agg(leads=pl.col("lead_id").n_unique())
    ordered = counted.sort("leads", "reason", descending=[True, False]).head(MOST_REJECTIONS)
    return tuple(RejectionReason(reason, leads) for reason, leads in ordered.iter_rows())
