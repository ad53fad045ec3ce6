"""Repairs a base rate that moved: the intercept follows what recently came, and nothing else changes.

A model whose level is off still ranks as it did, and its reasons still hold; learning it anew takes a history
of the new level, which is not there yet. One number can be learned from some tens of outcomes.

A model after the base rate moved: each score the same log-odds higher or lower, each reason the same.
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


_EDGE = 1e-12


def shift_intercept(model: ConversionModel, moved: float, note: str) -> ConversionModel:
    """``model`` with ``moved`` added to every log-odds; ``note`` is left on its card.

    Contributions stay and the base moves, so that reasons add up as before. Grades are those of capacity, so
    their thresholds move along and every lead keeps its letter; so do the widths of intervals.
    """
    calibration = model.predictor.calibration
    a, b, c = (_moved(threshold, moved) for threshold in model.grades.thresholds)
    return replace(
        model,
        predictor=replace(
            model.predictor, calibration=replace(calibration, intercept=calibration.intercept + moved)
        ),
        grades=Grades((a, b, c)),
        card=_card(model.card, moved, note),
        version="unsaved",
        uncertainty=None if model.uncertainty is None else _doubt(model.uncertainty, moved),
    )


def _doubt(doubt: ScoreUncertainty, moved: float) -> ScoreUncertainty:
    return replace(doubt, half=replace(doubt.half, knots=tuple(knot + moved for knot in doubt.half.knots)))


def _moved(probability: float, by: float) -> float:
    return float(expit(logit(np.clip(probability, _EDGE, 1 - _EDGE)) + by))


def _card(card: ModelCard, moved: float, note: str) -> ModelCard:
    """The card with the note, and scores spread where they are now."""
    spread = {
        name: replace(profile, edges=tuple(edge + moved for edge in profile.edges))
        for name, profile in card.profiles.items()
        if name == SCORE
    }
    return replace(card, notes=(*card.notes, note), profiles=card.profiles | spread)


PARTS, FEWEST = 5, 10.0

# The prior that nothing moved weighs as much as an outcome or two: what is asked for is that it moves.
DOUBT = 1.0


class TooFewOutcomesError(ValueError):
    """There are too few outcomes to tell a level by; the message says how many."""


@dataclass(frozen=True, eq=False)
class _Judged:
    """Rows under levels that they had no say in, what the model ``said`` of them, and the kind of rows."""

    rows: pl.DataFrame
    said: pl.Series
    basis: Basis


def estimate_intercept_update(known: pl.DataFrame, fewest: float = FEWEST) -> InterceptUpdate | None:
    """What ``known`` (lead_id, log_odds, label, perhaps at) ask of the level; None where they are too few."""
    if not _enough(known, fewest):
        return None
    y, f = known["label"].to_numpy(), known["log_odds"].to_numpy()
    moved, judged = intercept_shift(f, y), _judged(known)
    error = _standard_error(y, np.asarray(expit(f + moved)), lead_codes(known["lead_id"]))
    worse = _compared(judged, "").worse_by
    gain = replace(worse, value=-worse.value, low=-worse.high, high=-worse.low)
    return InterceptUpdate(moved, error, judged.rows.height, gain)


def _standard_error(y: Floats, p: Floats, lead: NDArray[np.int64]) -> float:
    """That of a level, by the sandwich (Liang and Zeger 1986): a lead scored again is no new witness."""
    alone = float((p * (1 - p)).sum())
    return float(np.sqrt(design_effect(y - p, lead, alone) / (alone + DOUBT)))


def intercept_shift(log_odds: Floats, y: Floats) -> float:
    """By how much (n,) log-odds are too low, by (n,) outcomes."""
    return update_intercept(PlattCalibration(), log_odds, y, DOUBT).intercept


def recalibrate(
    model: ConversionModel, known: pl.DataFrame, out: Path, last: int | None = None
) -> InterceptUpdate:
    """Save ``model`` with the level that ``known`` outcomes ask for in ``out``, with what speaks for it.

    With ``last`` only outcomes of scores of so many days before the newest one count. The folder is laid out
    as training leaves it, so that ``leadloop promote`` lets it pass, or not, by the same gate. Raises
    NothingToRepairError.
    """
    if last is not None:
        known = split_recent(known, last)[1]
    found = estimate_intercept_update(known)
    if found is None:
        leads, came = _outcomes(known)
        won = f"{leads:,} outcomes, {came:g} of them conversions"
        msg = f"{won}: no level can be told by so few; it takes {FEWEST:g} of either kind"
        raise TooFewOutcomesError(msg)
    judged = _judged(known)
    y, f = judged.rows["label"].to_numpy(), judged.rows["log_odds"].to_numpy()
    metrics = evaluate(y, expit(f), lead_codes(judged.rows["lead_id"]))
    told = shift_intercept(model, found.moved, _note(model, found, known))
    card = replace(
        told.card,
        metrics=metrics,
        judged_rows=judged.rows.height,
        judged_positives=int(y.sum()),
    )
    saved = artifact.save(replace(told, card=card), out / "model")
    save_evidence(out, _evidence(saved, judged, model.version), judged.rows)
    return found


def _enough(known: pl.DataFrame, fewest: float) -> bool:
    leads, won = _outcomes(known)
    return min(won, leads - won) >= fewest


def _outcomes(known: pl.DataFrame) -> tuple[int, float]:
    """Of how many leads the outcome is known, and how many converted; who came to both is half of each."""
    by_lead = known.group_by("lead_id").agg(pl.col("label").mean())["label"]
    return len(by_lead), round(float(by_lead.sum()), 6)


def _judged(known: pl.DataFrame) -> _Judged:
    """Every row under the level that other leads ask for: by their earlier rows, where there are dates.

    All rows of a lead are in one part: its outcome must not teach the level that it judges.
    """
    dated = AT in known.columns and known[AT].null_count() == 0
    rows = known.sort(AT, "lead_id") if dated else known.sort("lead_id")
    part = (_by_turns if dated else _mixed)(rows["lead_id"])
    y, f = rows["label"].to_numpy(), rows["log_odds"].to_numpy()
    said = f.copy()
    for k in np.unique(part):
        mine = part == k
        teach = (part < k) & (np.arange(rows.height) < np.argmax(mine)) if dated else ~mine
        said[mine] += intercept_shift(f[teach], y[teach])
    keep = pl.Series((part > 0) | (not dated))
    as_of = pl.col("as_of") if "as_of" in rows.columns else pl.lit(0, pl.Int64).alias("as_of")
    moved = rows.select("lead_id", as_of, pl.col("label").cast(pl.Float64), log_odds=pl.Series(said))
    return _Judged(moved.filter(keep), rows["log_odds"].filter(keep), "later" if dated else "held out")


def _by_turns(lead: pl.Series) -> NDArray[np.intp]:
    """(n,) a part for each row, all rows of a lead in one; the leads that came first are in the first."""
    number = lead_codes(lead)
    first = np.unique(number, return_index=True)[1]
    part = np.argsort(np.argsort(first)) * PARTS // len(first)
    return np.asarray(part[number], dtype=np.intp)


def _mixed(lead: pl.Series) -> NDArray[np.intp]:
    """(n,) a part for each row, all rows of a lead in one."""
    place = lead_codes(lead)
    part = np.random.default_rng(0).permutation(int(place.max()) + 1) % PARTS
    return np.asarray(part[place], dtype=np.intp)


def _compared(judged: _Judged, before: str) -> Comparison:
    return compare(judged.rows, judged.said, before, judged.basis)


def _evidence(model: ConversionModel, judged: _Judged, before: str) -> PromotionEvidence:
    y, f = judged.rows["label"].to_numpy(), judged.rows["log_odds"].to_numpy()
    return PromotionEvidence(
        version=model.version,
        question=model.card.label,
        time_ordered=judged.basis == "later",
        rows=len(y),
        positives=int(y.sum()),
        standing=held_out_performance(y, f, lead_codes(judged.rows["lead_id"])),
        grave=high_severity_findings(model.card),
        comparison=_compared(judged, before),
    )


def _note(model: ConversionModel, found: InterceptUpdate, known: pl.DataFrame) -> str:
    until = known[AT].max() if AT in known.columns else None
    when = "" if until is None else f", the last of {to_datetime(int(until)):%Y-%m-%d}"  # type: ignore[arg-type]
    return (
        f"Model {model.version} with its level moved by {found.moved:+.3f} log-odds, as {known.height:,} "
        f"recent outcomes ask for{when}; all else is as it was learned."
    )
