"""Rows to learn from out of a service's log: feature rows exactly as served, and what became of the leads.

What a model learns from here is by construction what it will be given. Each decision is a snapshot, labelled
as those of a history are (``features.labels``).

Decisions about leads that nobody called are rows, too: their label is what happened. Where only a lead that
is called can get an outcome, that would be wrong, as each of the others would count as a failure. Then
hand-overs alone are rows, weighted by one over their chance to be one (Horvitz and Thompson 1952): the few
that were drawn by lot stand for all that were left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from features.clock import DAY
from features.cohort import Snapshots
from features.history import TRANSITION_SCHEMA, LeadHistory
from features.ingest.mapping import FlatMapping
from features.labels import LabelSpec, compute_labels
from training.data.censoring import Weights, select_labelled
from training.data.dataset import FLAT_AS_OF, Dataset, IngestSummary
from training.stats.intervals import scale_to_effective_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from features.spec import FeatureSet
    from models.model_card import ModelCard

WON, LOST = ("qualified", "won"), ("rejected", "disqualified", "lost")
_WITHIN = re.compile(r"(.+) within ([\d.]+) days")


class NoHorizonError(ValueError):
    """Nothing says how long a decision has to wait for its outcome."""


class ConflictingWeightsError(ValueError):
    """Rows cannot be weighted in two ways at once; the message says what to leave out."""


class EmptyLogError(ValueError):
    """The log holds no decision that could teach anything; the message says why."""


@dataclass(frozen=True)
class OutcomeDefinition:
    """What is asked of each decision: does an outcome of ``WON`` come in time, before one of ``LOST``?"""

    text: str
    label: LabelSpec


@dataclass(frozen=True)
class DecisionLogFrames:
    """A log as frames.

    ``decisions`` has ``lead_id``, ``as_of``, ``decided_at``, ``complete`` (false: another model's features)
    and the columns of ``features``, one row per lead and as_of; or, where hand-overs are to be learned from,
    one per hand-over with its ``propensity`` and whether it was drawn ``by_lot``. ``outcomes`` has
    ``lead_id``, ``outcome`` and ``occurred_at``, corrections applied.
    """

    decisions: pl.DataFrame
    outcomes: pl.DataFrame
    features: FeatureSet

    @property
    def by_chance(self) -> bool:
        """Whether hand-overs are the rows, and their chances are known."""
        return "propensity" in self.decisions.columns


@dataclass(frozen=True)
class LabelledDecisions:
    """Decisions with ``at`` (their moment), ``label`` (null: not known yet), ``settled_at`` and ``matured``.

    ``other_features`` and ``closed`` count decisions that are left out: of models with other features, and
    about leads whose outcome was there before. Outcomes are known until ``until``.
    """

    rows: pl.DataFrame
    until: int
    other_features: int
    closed: int


def outcome_definition(
    card: ModelCard, label: LabelSpec | None = None, horizon: int | None = None
) -> OutcomeDefinition:
    """The question of the model that decided, within ``horizon`` seconds; else as configured or on its card.

    >>> from types import SimpleNamespace as Some
    >>> asked = outcome_definition(Some(label="sql within 60 days"))
    >>> asked.text, asked.label.horizon // DAY
    ('sql within 60 days', 60)
    """
    told = _WITHIN.fullmatch(card.label)
    stage = label.stage if label else told[1] if told else card.label
    seconds = horizon or (label.horizon if label else round(float(told[2]) * DAY) if told else None)
    if seconds is None:
        msg = f"the model answers {card.label!r}, which does not say within how long; add --horizon DAYS"
        raise NoHorizonError(msg)
    given = label or LabelSpec("won", seconds)
    asked = replace(given, stage="won", closed=("lost",), horizon=seconds)
    return OutcomeDefinition(f"{stage} within {seconds / DAY:g} days" if told or label else stage, asked)


def label_decisions(logged: DecisionLogFrames, asked: OutcomeDefinition) -> LabelledDecisions:
    """What became of each decision, as far as the newest outcome in the log reaches.

    A decision about a flat lead has no as_of that means anything: its moment is when it was made, and of
    several the first counts.
    """
    timed = logged.decisions.with_columns(
        at=pl.when(pl.col("as_of") > FLAT_AS_OF).then("as_of").otherwise("decided_at")
    )
    complete = _once(timed.filter("complete"), by_chance=logged.by_chance)
    ends = _ends(logged.outcomes)
    until = int(logged.outcomes["occurred_at"].max() or -1) + 1  # type: ignore[arg-type]  # whole seconds
    first_end = ends.group_by("lead_id").agg(ended=pl.col("occurred_at").min())
    followed = complete.join(first_end, on="lead_id", how="left", maintain_order="left")
    still_open = followed.filter(pl.col("ended").is_null() | (pl.col("ended") >= pl.col("at"))).drop("ended")
    drawn = Snapshots(still_open.select("lead_id", as_of="at"))
    known = compute_labels(_history(drawn, ends, until), drawn, asked.label).drop("lead_id", "as_of")
    return LabelledDecisions(
        pl.concat([still_open, known], how="horizontal"),
        until,
        other_features=timed.height - int(timed["complete"].sum()),
        closed=complete.height - still_open.height,
    )


def _once(decisions: pl.DataFrame, *, by_chance: bool) -> pl.DataFrame:
    """The first row of each lead and moment; ``worth`` is how many open leads its hand-over stands for.

    A lead that nobody reports as accepted stays on the list until its outcome is there. Counted for each day,
    whoever takes long to convert would weigh more than who is soon rejected: how long is part of what came.
    """
    first = decisions.unique(["lead_id", "at"], keep="first", maintain_order=True)
    return first.with_columns(worth=1 / pl.col("propensity")) if by_chance else first


def _ends(outcomes: pl.DataFrame) -> pl.DataFrame:
    """The outcomes that decide, as stages."""
    stages = dict.fromkeys(WON, "won") | dict.fromkeys(LOST, "lost")
    stage = pl.col("outcome").replace_strict(stages, default=None, return_dtype=pl.String)
    return outcomes.with_columns(stage=stage).drop_nulls("stage")


def _history(drawn: Snapshots, ends: pl.DataFrame, until: int) -> LeadHistory:
    """The outcomes as a history. One that was reported late counts as if it had been in time."""
    leads = drawn.frame.group_by("lead_id").agg(created_at=pl.col("as_of").min() - 1)
    moves = ends.select(
        "lead_id", "occurred_at", "stage", known_at="occurred_at", reason=pl.lit(None, pl.String)
    )
    return replace(LeadHistory.from_leads(leads, until), transitions=moves.select(list(TRANSITION_SCHEMA)))


def dataset_from_log(
    logged: DecisionLogFrames, asked: OutcomeDefinition, card: ModelCard, weights: Weights = "matured"
) -> Dataset:
    """The decisions whose outcome is known, as rows to learn from, in the order of time.

    Only those whose whole window is over, or ("ipcw") every one that has an outcome, weighted for those that
    have none: early outcomes alone would make the fast leads, and the fast of either kind, look common.
    Hand-overs are weighted by their chances, and need windows that are over.
    Raises NothingLoggedError, and TwoWeightsError where both were asked for.
    """
    if logged.by_chance and weights == "ipcw":
        msg = 'hand-overs have weights of their own; leave weights = "ipcw" out of [training]'
        raise ConflictingWeightsError(msg)
    found = label_decisions(logged, asked)
    kept = select_labelled(found.rows.with_columns(as_of="at"), found.until, weights).sort("as_of", "lead_id")
    if kept.is_empty():
        raise EmptyLogError(_why_nothing(logged, found, asked))
    return Dataset(
        features=logged.features,
        rows=kept.select("lead_id", "as_of", *logged.features.names),
        label=kept["label"].to_numpy(),
        question=asked.text,
        order=kept["as_of"].to_numpy(),
        gap=asked.label.gap,
        weights=_weights(kept),
        matured=kept["matured"].to_numpy() if "weight" in kept.columns else None,
        settled_at=kept["settled_at"].to_numpy(),
        immature=found.rows.height - kept.height,
        has_dates=True,
        flat=FlatMapping(label=card.label, id=card.id_column, missing=card.missing) if card.flat else None,
        intake=IngestSummary(logged.decisions.height, {}, {}),
        ignored=card.ignored,
        missing=card.missing,
        notices=(*_notices(found, kept.height), *_about_chances(logged, kept)),
    )


def _weights(kept: pl.DataFrame) -> NDArray[np.float64] | None:
    if "worth" in kept.columns:
        return scale_to_effective_size(kept["worth"].to_numpy())
    return kept["weight"].to_numpy() if "weight" in kept.columns else None


def _about_chances(logged: DecisionLogFrames, kept: pl.DataFrame) -> Iterator[str]:
    """What weights cost, or that they are called for."""
    if not logged.by_chance:
        if _of_accepted_alone(logged.outcomes):
            yield (
                "every outcome is of a lead that somebody accepted: if no other lead can have one, the "
                "others count as failures here; learn with --handed-over"
            )
        return
    worth = _weights(kept)
    if worth is not None:
        yield f"{kept.height:,} hand-overs, weighted by their chances, are worth {worth.sum():,.0f} rows"
    if not kept["by_lot"].any():
        yield (
            "no lead was handed over by lot: what is learned holds for leads above the cut alone; serve with "
            "--explore"
        )


def _of_accepted_alone(outcomes: pl.DataFrame) -> bool:
    accepted = outcomes.filter(pl.col("outcome") == "accepted")["lead_id"]
    ended = _ends(outcomes)["lead_id"]
    return bool(len(ended)) and bool(ended.is_in(accepted.implode()).all())


def _notices(found: LabelledDecisions, kept: int) -> Iterator[str]:
    waiting = found.rows.height - kept
    told = {
        "have no outcome yet, and their time is not over": waiting,
        "were made from other features": found.other_features,
        "were about leads whose outcome was there before": found.closed,
    }
    yield from (f"{count:,} decisions {why}: left out" for why, count in told.items() if count)


def _why_nothing(logged: DecisionLogFrames, found: LabelledDecisions, asked: OutcomeDefinition) -> str:
    if logged.decisions.is_empty():
        return "the log holds no decision; let `leadloop serve` answer first"
    if not found.until:
        return "the log holds no outcome; report them to POST /v1/outcomes"
    days = asked.label.gap / DAY
    why = "; ".join(_notices(found, 0))
    return f"no decision is {days:g} days older than the newest outcome ({why}); wait, or shorten --horizon"
