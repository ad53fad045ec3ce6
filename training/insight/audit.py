"""Today's way of handing leads to sales, held against what became of them and against the model.

A false hand-over is a lead that sales was given and that did not become an SQL within the horizon; a missed
one became an SQL, or looked like one to the model, and was not handed over. Both are told only of leads whose
horizon is over, and from what was known at the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from features.clock import DAY
from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations
from models.explanation import as_points
from models.metrics import Interval  # noqa: TC001  # the same
from training.insight.capacity import SameCalls, same_calls
from training.insight.lives import places
from training.insight.rates import NotApplicable, wilson
from training.insight.roads import NEVER
from training.insight.today import handed_over

if TYPE_CHECKING:
    from training.insight.given import ReportInput
    from training.insight.roads import Flags, Roads, Times

MOST_LOOKS = 20_000
MOST_REASONS, FEWEST = 5, 20
MOST_REJECTIONS = 8


@dataclass(frozen=True, slots=True)
class Outcome:
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
class Lean:
    """How many points more a feature gave one group of leads than another, on average."""

    spec: FeatureSpec
    points: float


@dataclass(frozen=True, slots=True)
class Rejection:
    """A reason that sales gave for closing leads it had been handed, and how many leads that were."""

    reason: str
    leads: int


@dataclass(frozen=True, slots=True)
class Audit:
    """What became of the leads that were ``handed`` over, and of those that were ``kept``.

    ``rule`` says whether a stage or a points table hands over; ``stage`` which. ``same`` is today's rule
    beside the model at each lead's first look. ``against`` are the features that set handed-over leads that
    were no SQL apart from those that were, ``towards`` those that set apart whom the model would have called.
    """

    rule: Literal["stage", "points"]
    stage: str | None
    days: float
    handed: Outcome
    kept: Outcome
    hours: float | None
    same: SameCalls | None
    against: tuple[Lean, ...]
    towards: tuple[Lean, ...]
    rejections: tuple[Rejection, ...]


def audit(given: ReportInput) -> Audit | NotApplicable:
    """Today's rule of the report's company, beside its model."""
    known, flags = given.roads, handed_over(given)
    if isinstance(known, NotApplicable):
        return known
    if flags is None:
        return NotApplicable("no_hand_over")
    points = given.company.points is not None
    at = _by_points(given, known, flags) if points else _by_stage(known, given.company.hand_over)
    looked = _first_looks(given, flags)
    same = same_calls(*(looked[name].to_numpy() for name in ("label", "probability", "today")))
    against, towards = _leanings(given, flags, same)
    return Audit(
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


def _by_stage(known: Roads, stage: str | None) -> Times:
    """(n,) when each lead entered the stage that hands it over."""
    if stage not in known.stages:
        return np.full(len(known.created), NEVER)
    return np.asarray(known.entered[:, known.stages.index(stage)])


def _by_points(given: ReportInput, known: Roads, flags: Flags) -> Times:
    """(n,) when each lead was first seen with enough points, among the moments at which it was judged."""
    at = np.full(len(known.created), NEVER)
    flagged = given.scores.filter(pl.Series(flags) & given.scores["lead_id"].is_in(known.lead_id.implode()))
    found = flagged.group_by("lead_id").agg(pl.col("as_of").min())
    at[places(found["lead_id"], known.lead_id)] = found["as_of"].to_numpy()
    return at


def _asked(given: ReportInput, known: Roads) -> Flags:
    """(n,) whether a lead was ever judged: of the others nobody knows what the points would have said."""
    return known.lead_id.is_in(given.scores["lead_id"].unique().implode()).to_numpy()


def _handed(known: Roads, at: Times) -> Outcome:
    """The leads handed over by when they were an SQL, counted from that moment on."""
    won_at = known.entered[:, known.target]
    mine = (at < NEVER) & (at <= won_at)
    won_at, at = won_at[mine], at[mine]
    over = at + known.spec.gap <= known.until
    won = int((won_at[over] - at[over] < known.spec.horizon).sum())
    return _outcome(won, int(over.sum()), len(at))


def _kept(known: Roads, at: Times, among: Flags | None) -> Outcome:
    """The leads not handed over by when they were an SQL, nor within the horizon of their creation."""
    won_at, due = known.entered[:, known.target], known.created + known.spec.horizon
    kept = (at > won_at) | (at >= due)
    if among is not None:
        kept &= among
    over = kept & (known.created + known.spec.gap <= known.until)
    return _outcome(int((won_at[over] < due[over]).sum()), int(over.sum()), int(kept.sum()))


def _outcome(won: int, over: int, everyone: int) -> Outcome:
    return Outcome(over, won, wilson(won, over) if over else None, everyone - over)


def _first_looks(given: ReportInput, flags: Flags) -> pl.DataFrame:
    """``label``, ``probability`` and ``today`` of each lead's first judged row; evenly fewer of very many."""
    rows = given.scores.with_columns(label=pl.Series(given.label), today=pl.Series(flags))
    first = rows.sort("as_of", "lead_id").unique("lead_id", keep="first", maintain_order=True)
    return first.gather_every(1 + (first.height - 1) // MOST_LOOKS)


def _leanings(
    given: ReportInput, flags: Flags, same: SameCalls | None
) -> tuple[tuple[Lean, ...], tuple[Lean, ...]]:
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


def _lean(given: ReportInput, one: Flags, other: Flags) -> list[Lean]:
    """Each feature's mean contribution in points to one group less that to another, the least first."""
    if min(one.sum(), other.sum()) < FEWEST:
        return []
    means = (given.contributions[rows].mean(axis=0) for rows in (one, other))
    points = as_points(1.0) * np.subtract(*means)
    order = np.argsort(points, kind="stable")
    return [Lean(given.features.specs[place], float(points[place])) for place in order]


def _rejections(known: Roads, at: Times) -> tuple[Rejection, ...]:
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
    return tuple(Rejection(reason, leads) for reason, leads in ordered.iter_rows())
