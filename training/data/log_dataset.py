"""Data sets from a service's decision log: feature rows exactly as served, labelled by reported outcomes.

Each decision is a snapshot, labelled as those of a history are (``features.labels``); there is no skew
between training and serving.

Decisions about leads that nobody called are rows, too. Where only a lead that is called can get an outcome,
each of the others would count as a failure. Then each lead's first hand-over alone is a row. Where the choice
of leads tells more of their outcomes than the features do, each is weighted by one over the chance to be
handed over within the log (Horvitz and Thompson 1952): the few that were drawn at random stand for all that
were left out.
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
from training.data.propensity import cumulative_propensities, truncate_weights
from training.stats.intervals import scale_to_effective_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from features.spec import FeatureSet
    from models.model_card import ModelCard
    from training.data.propensity import TruncatedWeights

    # The p-value of independence of (n,) outcomes and what (n,) leads were ranked by, given (n, k) features.
    SelectionTest = Callable[[pl.DataFrame, NDArray[np.int8], NDArray[np.float64]], float | None]

# Below this p-value the choice of leads is taken to tell more than the features.
INFORMATIVE = 0.05

WON, LOST = ("qualified", "won"), ("rejected", "disqualified", "lost")
_WITHIN = re.compile(r"(.+) within ([\d.]+) days")


class NoHorizonError(ValueError):
    """The horizon of the label is not known."""


class OtherTargetError(ValueError):
    """The configuration predicts another stage than the model of a log; the message says what to do."""


class ConflictingWeightsError(ValueError):
    """Propensity weights and censoring weights cannot be combined; the message says what to leave out."""


class EmptyLogError(ValueError):
    """The log holds no labelled decision; the message says why."""


@dataclass(frozen=True)
class OutcomeDefinition:
    """The label of decisions: an outcome of ``WON`` within the horizon and before one of ``LOST``."""

    text: str
    label: LabelSpec


@dataclass(frozen=True)
class DecisionLogFrames:
    """A log as frames.

    ``decisions`` has ``lead_id``, ``as_of``, ``decided_at``, ``complete`` (false: another model's features)
    and ``features``, a struct of all of them, one row per lead and as_of; or, where hand-overs are to be
    learned from, one per hand-over with its ``propensity`` on that day and whether it was drawn ``by_lot``.
    ``outcomes`` has ``lead_id``, ``outcome`` and ``occurred_at``, corrections applied. ``lists`` has every
    list of leads to call, in the columns of ``training.data.propensity``; None counts the chance of a
    hand-over's own day alone.
    """

    decisions: pl.DataFrame
    outcomes: pl.DataFrame
    features: FeatureSet
    lists: pl.DataFrame | None = None

    @property
    def by_chance(self) -> bool:
        """Whether the rows are hand-overs with their propensities."""
        return "propensity" in self.decisions.columns


@dataclass(frozen=True)
class LabelledDecisions:
    """Decisions with ``at`` (their moment), ``label`` (null: not known yet), ``settled_at`` and ``matured``.

    ``other_features``, ``closed`` and ``overridden`` count decisions that are left out: of models with other
    features, about leads whose outcome was there before, and about leads that people handed over or took off
    beside the model's choice. Outcomes are known until ``until``.
    """

    rows: pl.DataFrame
    until: int
    other_features: int
    closed: int
    overridden: int = 0


def outcome_definition(
    card: ModelCard, label: LabelSpec | None = None, horizon: int | None = None
) -> OutcomeDefinition:
    """The label of decisions, in the words of the model that made them.

    Args:
        card: The card of that model.
        label: The configured label. Default: as on the card.
        horizon: The horizon in seconds. Default: that of ``label``, else the one on the card.

    Returns:
        The definition.

    Raises:
        NoHorizonError: None of them gives a horizon.
        OtherTargetError: ``label`` is of another stage than the model predicts: the outcomes in its log say
            nothing of that one.

    >>> from types import SimpleNamespace
    >>> definition = outcome_definition(SimpleNamespace(label="sql within 60 days"))
    >>> definition.text, definition.label.horizon // DAY
    ('sql within 60 days', 60)
    """
    match = _WITHIN.fullmatch(card.label)
    stage = match[1] if match else label.stage if label else card.label
    if label and label.stage != stage:
        msg = (
            f"the configuration predicts {label.stage!r}, and the outcomes in the log are those of a model "
            f"that predicts {stage!r}: please name a configuration with that target, or train from a history"
        )
        raise OtherTargetError(msg)
    seconds = horizon or (label.horizon if label else round(float(match[2]) * DAY) if match else None)
    if seconds is None:
        msg = f"the model answers {card.label!r}, which does not say within how long; add --horizon DAYS"
        raise NoHorizonError(msg)
    base = label or LabelSpec("won", seconds)
    spec = replace(base, stage="won", closed=("lost",), horizon=seconds)
    return OutcomeDefinition(f"{stage} within {seconds / DAY:g} days" if match or label else stage, spec)


def label_decisions(frames: DecisionLogFrames, definition: OutcomeDefinition) -> LabelledDecisions:
    """Label every decision as of the newest outcome in the log.

    A decision about a flat lead has no meaningful ``as_of``: its moment is when it was made, and of several
    the first counts.

    Args:
        frames: The log.
        definition: The label.

    Returns:
        The decisions with their labels, where known.
    """
    chosen = frames.decisions.filter(*(~pl.col(name) for name in _OVERRIDDEN if name in frames.decisions))
    timed = chosen.with_columns(
        at=pl.when(pl.col("as_of") > FLAT_AS_OF).then("as_of").otherwise("decided_at")
    )
    complete = _first_per_moment(timed.filter("complete"), by_chance=frames.by_chance)
    ends = _decisive_outcomes(frames.outcomes)
    until = int(frames.outcomes["occurred_at"].max() or -1) + 1  # type: ignore[arg-type]  # whole seconds
    followed = complete.join(_first(ends), on="lead_id", how="left", maintain_order="left")
    still_open = followed.filter(pl.col("ended").is_null() | (pl.col("ended") >= pl.col("at"))).drop("ended")
    snapshots = Snapshots(still_open.select("lead_id", as_of="at"))
    known = compute_labels(_history(snapshots, ends, until), snapshots, definition.label).drop(
        "lead_id", "as_of"
    )
    return LabelledDecisions(
        pl.concat([still_open, known], how="horizontal"),
        until,
        other_features=timed.height - int(timed["complete"].sum()),
        closed=complete.height - still_open.height,
        overridden=frames.decisions.height - chosen.height,
    )


def first_ends(outcomes: pl.DataFrame) -> pl.DataFrame:
    """When each lead ended by its outcomes.

    Args:
        outcomes: ``lead_id``, ``outcome`` and ``occurred_at``.

    Returns:
        ``lead_id`` and ``ended``, the first outcome that decides, in epoch seconds.
    """
    return _first(_decisive_outcomes(outcomes))


def _first(ends: pl.DataFrame) -> pl.DataFrame:
    return ends.group_by("lead_id").agg(ended=pl.col("occurred_at").min())


OVERRIDDEN_TEXT = "were about leads that people handed over or took off beside the model's choice"
# Whether people handed a lead over, or took it off a list, beside the model's choice.
_OVERRIDDEN = ("by_hand", "taken_off")


def _first_per_moment(decisions: pl.DataFrame, *, by_chance: bool) -> pl.DataFrame:
    """The first row of each lead and moment; of hand-overs the first of each lead.

    A lead without outcome may be handed over on many days. Counted for each of them, leads that take long to
    convert would weigh more than leads that are soon rejected.
    """
    once = (
        ["lead_id", *(["tenant"] if "tenant" in decisions.columns else [])]
        if by_chance
        else ["lead_id", "at"]
    )
    return decisions.unique(once, keep="first", maintain_order=True)


def _decisive_outcomes(outcomes: pl.DataFrame) -> pl.DataFrame:
    """The outcomes in ``WON`` and ``LOST`` as stages "won" and "lost"."""
    stages = dict.fromkeys(WON, "won") | dict.fromkeys(LOST, "lost")
    stage = pl.col("outcome").replace_strict(stages, default=None, return_dtype=pl.String)
    return outcomes.with_columns(stage=stage).drop_nulls("stage")


def _history(snapshots: Snapshots, ends: pl.DataFrame, until: int) -> LeadHistory:
    """The outcomes as a history; each counts as known when it occurred."""
    leads = snapshots.frame.group_by("lead_id").agg(created_at=pl.col("as_of").min() - 1)
    moves = ends.select(
        "lead_id", "occurred_at", "stage", known_at="occurred_at", reason=pl.lit(None, pl.String)
    )
    return replace(LeadHistory.from_leads(leads, until), transitions=moves.select(list(TRANSITION_SCHEMA)))


def dataset_from_log(
    frames: DecisionLogFrames,
    definition: OutcomeDefinition,
    card: ModelCard,
    weights: Weights = "matured",
    selection_test: SelectionTest | None = None,
) -> Dataset:
    """The labelled decisions of a log as rows to learn from.

    Args:
        frames: The log; of hand-overs those that nobody took up are left out, where the log tells.
        definition: The label.
        card: The card of the model that decided.
        weights: "matured" takes decisions whose window is over; "ipcw" every one with an outcome, weighted by
            the inverse probability of censoring, as early outcomes alone would overstate fast leads.
        selection_test: Of hand-overs, the test whether the choice of leads tells more than the features:
            where it does not, they have no weights. Default: they have weights in any case.

    Returns:
        The rows, ordered by time and ``lead_id``.

    Raises:
        ConflictingWeightsError: "ipcw" is asked for hand-overs.
        EmptyLogError: No decision has a label.
    """
    if frames.by_chance and weights == "ipcw":
        msg = 'hand-overs bring their own weights; leave weights = "ipcw" out of [training]'
        raise ConflictingWeightsError(msg)
    decisions = label_decisions(frames, definition)
    rows = select_labelled(decisions.rows.with_columns(as_of="at"), decisions.until, weights).sort(
        "as_of", "lead_id"
    )
    labelled, handed_over = rows.height, None
    if frames.by_chance and labelled:
        handed_over = _weigh_handovers(frames, rows, decisions.until - definition.label.gap, selection_test)
        rows = handed_over.rows
    if rows.is_empty():
        raise EmptyLogError(_empty_log_message(frames, decisions, definition))
    return Dataset(
        features=frames.features,
        rows=rows.select("lead_id", "as_of", "features").unnest("features"),
        label=rows["label"].to_numpy(),
        question=definition.text,
        order=rows["as_of"].to_numpy(),
        gap=definition.label.gap,
        weights=_censoring_weights(rows) if handed_over is None else handed_over.weights,
        matured=rows["matured"].to_numpy() if "weight" in rows.columns else None,
        settled_at=rows["settled_at"].to_numpy(),
        immature=decisions.rows.height - labelled,
        has_dates=True,
        flat=_flat_mapping(card) if card.flat else None,
        intake=IngestSummary(frames.decisions.height, {}, {}),
        ignored=card.ignored,
        missing=card.missing,
        marks=card.marks,
        closed_stages=card.closed_stages,
        reopen_stages=card.reopen_stages,
        notices=(
            *_notices(decisions, labelled),
            *(_acceptance_notices(frames.outcomes) if handed_over is None else handed_over.notices),
        ),
    )


def _flat_mapping(card: ModelCard) -> FlatMapping:
    return FlatMapping(label=card.label, id=card.id_column, missing=card.missing, encoding=card.encoding)


def _censoring_weights(rows: pl.DataFrame) -> NDArray[np.float64] | None:
    return rows["weight"].to_numpy() if "weight" in rows.columns else None


def _acceptance_notices(outcomes: pl.DataFrame) -> Iterator[str]:
    if _only_accepted_leads(outcomes):
        yield (
            "every outcome is of a lead that somebody accepted: if no other lead can have one, the "
            "others count as failures here; learn with --handed-over"
        )


@dataclass(frozen=True)
class _WeighedHandovers:
    """Labelled hand-overs, their weights (None: they count alike), and what is to be said of both."""

    rows: pl.DataFrame
    weights: NDArray[np.float64] | None
    notices: tuple[str, ...]


def _weigh_handovers(
    frames: DecisionLogFrames, rows: pl.DataFrame, until: int, selection_test: SelectionTest | None
) -> _WeighedHandovers:
    """Leave out hand-overs that nobody took up, and weigh the others where that is needed."""
    is_silent = ~rows["lead_id"].is_in(frames.outcomes["lead_id"].implode())
    is_reported = bool((frames.outcomes["outcome"] == "accepted").any())
    notices = list(_silence_notices(int(is_silent.sum()), rows.height, is_reported=is_reported))
    rows = rows.filter(~is_silent) if is_reported else rows
    if rows.is_empty():
        return _WeighedHandovers(rows, None, tuple(notices))
    p = None
    if selection_test is not None and "worth" in rows.columns:
        features = rows.select("features").unnest("features")
        p = selection_test(features, rows["label"].to_numpy(), rows["worth"].to_numpy())
    if p is not None and p >= INFORMATIVE:
        notices.append(
            f"who was handed over says nothing of the outcome beyond the features (p = {p:.2f}): the "
            f"{rows.height:,} hand-overs count alike, as weights would only add noise"
        )
        return _WeighedHandovers(rows, None, (*notices, *_lot_notices(rows)))
    if p is not None:
        notices.append(
            f"who was handed over rests on more than the features say (p {_p_text(p)}): each hand-over is "
            "weighted by one over the lead's chance to be handed over within the log"
        )
    truncated = truncate_weights(
        1 / rows["propensity"].to_numpy()
        if frames.lists is None
        else cumulative_propensities(rows, frames.lists, until).weights
    )
    weights = scale_to_effective_size(truncated.weights)
    notices.append(
        f"{rows.height:,} hand-overs, weighted by their chances, are worth {weights.sum():,.0f} rows"
    )
    notices.extend((*_truncation_notices(truncated), *_lot_notices(rows)))
    return _WeighedHandovers(rows, weights, tuple(notices))


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"  # noqa: PLR2004


def _silence_notices(silent: int, rows: int, *, is_reported: bool) -> Iterator[str]:
    """What becomes of hand-overs of leads that the log has no outcome of at all."""
    if silent and is_reported:
        yield (
            f"{silent:,} of {rows:,} hand-overs were neither accepted nor rejected: left out, as nobody "
            "seems to have called these leads"
        )
    elif silent:
        yield (
            f"{silent:,} of {rows:,} hand-overs have no outcome and count as failures, although nobody "
            "may have called these leads; report accepted and rejected ones to tell them apart"
        )


def _lot_notices(rows: pl.DataFrame) -> Iterator[str]:
    if not rows["by_lot"].any():
        yield (
            "no lead was handed over by lot: what is learned holds for leads above the cut alone; serve with "
            "--explore"
        )


def _truncation_notices(weights: TruncatedWeights) -> Iterator[str]:
    if weights.truncated:
        yield (
            f"{weights.truncated:,} weights above {weights.limit:.1f} were truncated to it: these leads "
            f"stood for {weights.share_before:.0%} of all and now stand for {weights.share_after:.0%}, so "
            "that what is learned leans a little to the others"
        )


def _only_accepted_leads(outcomes: pl.DataFrame) -> bool:
    accepted = outcomes.filter(pl.col("outcome") == "accepted")["lead_id"]
    lead_ids = _decisive_outcomes(outcomes)["lead_id"]
    return bool(len(lead_ids)) and bool(lead_ids.is_in(accepted.implode()).all())


def _notices(decisions: LabelledDecisions, labelled: int) -> Iterator[str]:
    waiting = decisions.rows.height - labelled
    reasons = {
        "have no outcome yet, and their time is not over": waiting,
        "were made from other features": decisions.other_features,
        "were about leads whose outcome was there before": decisions.closed,
        OVERRIDDEN_TEXT: decisions.overridden,
    }
    yield from (f"{count:,} decisions {why}: left out" for why, count in reasons.items() if count)


def _empty_log_message(
    frames: DecisionLogFrames, decisions: LabelledDecisions, definition: OutcomeDefinition
) -> str:
    if frames.decisions.is_empty():
        return "the log holds no decision; let `leadloop serve` answer first"
    if not decisions.until:
        return "the log holds no outcome; report them to POST /v1/outcomes"
    days = definition.label.gap / DAY
    why = "; ".join(_notices(decisions, 0))
    return f"no decision is {days:g} days older than the newest outcome ({why}); wait, or shorten --horizon"
