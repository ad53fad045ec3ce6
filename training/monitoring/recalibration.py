"""Recalibrates a model whose base rate has shifted: a new intercept from recent outcomes, and nothing else.

Such a model still ranks as it did, and its contributions still hold. Retraining takes a history at the new
base rate, which is not there yet; one number can be estimated from some tens of outcomes. Every score moves
by the same log-odds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import expit, logit

from features.clock import to_datetime
from features.cohort import lead_codes
from models import artifact
from models.calibration import PlattCalibration, update_intercept
from models.grades import Grades
from models.model_card import SCORE
from training.monitoring.results import InterceptUpdate
from training.monitoring.windows import AT, split_recent
from training.pipeline.fit_model import evaluate
from training.registry.comparison import (
    PromotionEvidence,
    compare,
    held_out_performance,
    high_severity_findings,
    save_evidence,
)
from training.stats.intervals import design_effect

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.conversion import ConversionModel
    from models.model_card import ModelCard
    from models.uncertainty import ScoreUncertainty
    from training.registry.comparison import Basis, Comparison

    Floats = NDArray[np.float64]

PARTS, FEWEST = 5, 10.0

# The prior of no shift has the weight of an outcome or two: whoever recalibrates expects a shift.
DOUBT = 1.0

_EDGE = 1e-12


class TooFewOutcomesError(ValueError):
    """There are too few outcomes to estimate an intercept; the message says how many."""


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Rows with log-odds under an intercept that other leads' outcomes gave.

    ``champion_log_odds`` are those of the model as it is, ``basis`` whether the others were earlier.
    """

    rows: pl.DataFrame
    champion_log_odds: pl.Series
    basis: Basis


def shift_intercept(model: ConversionModel, shift: float, note: str) -> ConversionModel:
    """A model with a constant added to every log-odds.

    Contributions stay and the base moves, so that they add up as before. Grades are by capacity: their
    thresholds move along, and every lead keeps its grade. So do the knots of the uncertainty.

    Args:
        model: The model to shift.
        shift: What is added to every log-odds.
        note: A sentence for the model card.

    Returns:
        The shifted model, with the version "unsaved".
    """
    calibration = model.predictor.calibration
    a, b, c = (_shift_probability(threshold, shift) for threshold in model.grades.thresholds)
    return replace(
        model,
        predictor=replace(
            model.predictor, calibration=replace(calibration, intercept=calibration.intercept + shift)
        ),
        grades=Grades((a, b, c)),
        card=_card(model.card, shift, note),
        version="unsaved",
        uncertainty=None if model.uncertainty is None else _shift_uncertainty(model.uncertainty, shift),
    )


def estimate_intercept_update(known: pl.DataFrame, fewest: float = FEWEST) -> InterceptUpdate | None:
    """Estimate the shift of the intercept that recent outcomes ask for.

    Args:
        known: Scores with their outcomes: ``lead_id``, ``log_odds``, ``label`` and perhaps ``at`` (epoch
            seconds).
        fewest: The leads of either outcome that it takes.

    Returns:
        The shift with its standard error, and the gain in log-loss on rows that did not decide it; None where
        there are too few outcomes.
    """
    if not _enough(known, fewest):
        return None
    y, f = known["label"].to_numpy(), known["log_odds"].to_numpy()
    shift, held_out = intercept_shift(f, y), _hold_out(known)
    error = _standard_error(y, np.asarray(expit(f + shift)), lead_codes(known["lead_id"]))
    worse = _compare(held_out, "").worse_by
    gain = replace(worse, value=-worse.value, low=-worse.high, high=-worse.low)
    return InterceptUpdate(shift, error, held_out.rows.height, gain)


def intercept_shift(log_odds: Floats, y: Floats) -> float:
    """By how much (n,) log-odds are too low, given (n,) outcomes; a maximum a posteriori estimate."""
    return update_intercept(PlattCalibration(), log_odds, y, DOUBT).intercept


def recalibrate(
    model: ConversionModel, known: pl.DataFrame, out: Path, last: int | None = None
) -> InterceptUpdate:
    """Save a model with the intercept that recent outcomes ask for, and the evidence for it.

    The folder is laid out as training leaves it, so that ``leadloop promote`` decides on it by the same gate.

    Args:
        model: The model in use.
        known: Scores with their outcomes, as ``estimate_intercept_update`` takes them.
        out: The folder; the model goes to ``out / "model"``.
        last: Only outcomes of scores of so many days before the newest one count. Default: all.

    Returns:
        The update that was made.

    Raises:
        TooFewOutcomesError: There are fewer than ``FEWEST`` leads of either outcome.
    """
    if last is not None:
        known = split_recent(known, last)[1]
    update = estimate_intercept_update(known)
    if update is None:
        leads, conversions = _outcomes(known)
        won = f"{leads:,} outcomes, {conversions:g} of them conversions"
        msg = f"{won}: these are too few to set a level; it takes {FEWEST:g} of either kind"
        raise TooFewOutcomesError(msg)
    held_out = _hold_out(known)
    y, f = held_out.rows["label"].to_numpy(), held_out.rows["log_odds"].to_numpy()
    metrics = evaluate(y, expit(f), lead_codes(held_out.rows["lead_id"]))
    shifted = shift_intercept(model, update.moved, _note(model, update, known))
    card = replace(
        shifted.card,
        metrics=metrics,
        judged_rows=held_out.rows.height,
        judged_positives=int(y.sum()),
    )
    saved = artifact.save(replace(shifted, card=card), out / "model")
    save_evidence(out, _evidence(saved, held_out, model.version), held_out.rows)
    return update


def _shift_uncertainty(doubt: ScoreUncertainty, shift: float) -> ScoreUncertainty:
    return replace(doubt, half=replace(doubt.half, knots=tuple(knot + shift for knot in doubt.half.knots)))


def _shift_probability(probability: float, by: float) -> float:
    return float(expit(logit(np.clip(probability, _EDGE, 1 - _EDGE)) + by))


def _card(card: ModelCard, shift: float, note: str) -> ModelCard:
    """The card with the note, and the profile of scores shifted."""
    spread = {
        name: replace(profile, edges=tuple(edge + shift for edge in profile.edges))
        for name, profile in card.profiles.items()
        if name == SCORE
    }
    return replace(card, notes=(*card.notes, note), profiles=card.profiles | spread)


def _standard_error(y: Floats, p: Floats, lead: NDArray[np.int64]) -> float:
    """The standard error of an intercept, clustered by lead (Liang and Zeger 1986)."""
    alone = float((p * (1 - p)).sum())
    return float(np.sqrt(design_effect(y - p, lead, alone) / (alone + DOUBT)))


def _enough(known: pl.DataFrame, fewest: float) -> bool:
    leads, won = _outcomes(known)
    return min(won, leads - won) >= fewest


def _outcomes(known: pl.DataFrame) -> tuple[int, float]:
    """How many leads have an outcome, and how many converted; a lead with both outcomes counts half."""
    by_lead = known.group_by("lead_id").agg(pl.col("label").mean())["label"]
    return len(by_lead), round(float(by_lead.sum()), 6)


def _hold_out(known: pl.DataFrame) -> _HeldOut:
    """Every row under the intercept that other leads' outcomes give: earlier ones, where there are dates.

    All rows of a lead are in one part, so that its outcome does not decide the intercept it is tested with.
    """
    dated = AT in known.columns and known[AT].null_count() == 0
    rows = known.sort(AT, "lead_id") if dated else known.sort("lead_id")
    part = (_parts_in_time_order if dated else _random_parts)(rows["lead_id"])
    y, f = rows["label"].to_numpy(), rows["log_odds"].to_numpy()
    shifted = f.copy()
    for k in np.unique(part):
        in_part = part == k
        train = (part < k) & (np.arange(rows.height) < np.argmax(in_part)) if dated else ~in_part
        shifted[in_part] += intercept_shift(f[train], y[train])
    keep = pl.Series((part > 0) | (not dated))
    as_of = pl.col("as_of") if "as_of" in rows.columns else pl.lit(0, pl.Int64).alias("as_of")
    frame = rows.select("lead_id", as_of, pl.col("label").cast(pl.Float64), log_odds=pl.Series(shifted))
    return _HeldOut(frame.filter(keep), rows["log_odds"].filter(keep), "later" if dated else "held out")


def _parts_in_time_order(lead: pl.Series) -> NDArray[np.intp]:
    """(n,) a part for each row, all rows of a lead in one; the leads that came first are in the first."""
    number = lead_codes(lead)
    first = np.unique(number, return_index=True)[1]
    part = np.argsort(np.argsort(first)) * PARTS // len(first)
    return np.asarray(part[number], dtype=np.intp)


def _random_parts(lead: pl.Series) -> NDArray[np.intp]:
    """(n,) a part for each row, all rows of a lead in one."""
    place = lead_codes(lead)
    part = np.random.default_rng(0).permutation(int(place.max()) + 1) % PARTS
    return np.asarray(part[place], dtype=np.intp)


def _compare(held_out: _HeldOut, before: str) -> Comparison:
    return compare(held_out.rows, held_out.champion_log_odds, before, held_out.basis)


def _evidence(model: ConversionModel, held_out: _HeldOut, before: str) -> PromotionEvidence:
    y, f = held_out.rows["label"].to_numpy(), held_out.rows["log_odds"].to_numpy()
    return PromotionEvidence(
        version=model.version,
        question=model.card.label,
        time_ordered=held_out.basis == "later",
        rows=len(y),
        positives=int(y.sum()),
        standing=held_out_performance(y, f, lead_codes(held_out.rows["lead_id"])),
        grave=high_severity_findings(model.card),
        comparison=_compare(held_out, before),
    )


def _note(model: ConversionModel, update: InterceptUpdate, known: pl.DataFrame) -> str:
    until = known[AT].max() if AT in known.columns else None
    when = "" if until is None else f", the last of {to_datetime(int(until)):%Y-%m-%d}"  # type: ignore[arg-type]
    return (
        f"Model {model.version} with its level moved by {update.moved:+.3f} log-odds, as {known.height:,} "
        f"recent outcomes ask for{when}; all else is as it was learned."
    )
