"""The evidence for a promotion: challenger and champion compared on rows that neither learned from.

The final model has learned from every row, so its predictions of them prove nothing. The comparison is on a
run's held-out predictions. The champion scores those of the rows that are later than all it learned from;
where there are too few of them, its own run's held-out predictions of the same rows are taken.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from scipy.special import expit

from features.cohort import KEYS, lead_codes
from models import metrics
from models.metrics import (
    Z_95,
    Interval,
    calibration_intercept,
    calibration_slope,
    log_loss_per_row,
    log_odds,
    mean_interval,
    poisson_weight_matrix,
)
from training.data.dataset import MissingFeaturesError
from training.file_output import frame_writer, write_text
from training.serialization import from_dict
from training.stats.intervals import design_effect

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from models.conversion import ConversionModel
    from models.model_card import ModelCard
    from training.trained_model import TrainedModel

    Floats = NDArray[np.float64]

Basis = Literal["later", "held out"]
Because = Literal[
    "no champion",
    "undated",
    "too few rows",
    "other rows",
    "other question",
    "judged otherwise",
    "other features",
    "unavailable",
]
EVIDENCE, JUDGED = "promotion.json", "judged.parquet"
FEWEST_ROWS, FEWEST_OF_A_CLASS = 100, 10
_RESAMPLES, _GROUPS = 500, 1000
_AGREE = 0.95


@dataclass(frozen=True, slots=True)
class NotComparable:
    """Why there is no comparison with the champion, as a code and in words."""

    because: Because
    message: str


@dataclass(frozen=True, slots=True)
class CalibrationCheck:
    """Calibration slope, intercept and error of probabilities (Cox 1958).

    Attributes:
        slope: The calibration slope, 1 for a perfect forecast, with its 95 % interval.
        intercept: The calibration intercept in log-odds, 0 for a perfect forecast, with its 95 % interval.
        error: The expected calibration error.
        chance: The expected calibration error that a perfect forecast would show on so many leads.
    """

    slope: Interval
    intercept: Interval
    error: float
    chance: float


@dataclass(frozen=True, slots=True)
class HeldOutPerformance:
    """Log-loss and calibration of one model on the compared rows."""

    log_loss: float
    calibration: CalibrationCheck


@dataclass(frozen=True, slots=True)
class Comparison:
    """Challenger and champion on the same rows.

    Attributes:
        champion: The version of the champion.
        basis: "later": rows later than all that the champion learned from. "held out": the predictions of
            both runs by models that had not learned from the rows.
        rows: The number of rows.
        positives: How many of them converted.
        challenger_standing: The challenger's performance.
        champion_standing: The champion's performance.
        worse_by: The challenger's log-loss less the champion's, paired by row, with a 95 % interval by a
            bootstrap of leads.
    """

    champion: str
    basis: Basis
    rows: int
    positives: int
    challenger_standing: HeldOutPerformance
    champion_standing: HeldOutPerformance
    worse_by: Interval


@dataclass(frozen=True, slots=True)
class PromotionEvidence:
    """What a run leaves for the promotion gate.

    Attributes:
        version: The version of the model.
        question: The label in words.
        time_ordered: Whether held-out rows are later than those learned from.
        rows: The number of held-out rows.
        positives: How many of them converted.
        standing: The model's performance on them.
        grave: Its findings of high severity, in short.
        comparison: With the champion at the time, if there was one.
        not_comparable: Why there is no comparison.
    """

    version: str
    question: str
    time_ordered: bool
    rows: int
    positives: int
    standing: HeldOutPerformance
    grave: tuple[str, ...]
    comparison: Comparison | None = None
    not_comparable: NotComparable | None = None

    def to_json(self) -> str:
        """As JSON text; ``from_json`` gives back equal evidence."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> PromotionEvidence:
        """The evidence that ``to_json`` wrote."""
        return from_dict(cls, json.loads(text))


def save_evidence(out: Path, evidence: PromotionEvidence, rows: pl.DataFrame) -> None:
    """Write the evidence, and the held-out ``rows`` beside it, to ``out``."""
    write_text(out / EVIDENCE, evidence.to_json(), private=True)
    with frame_writer(out / JUDGED) as write:
        write(rows)


def high_severity_findings(card: ModelCard) -> tuple[str, ...]:
    """Code and column of the findings of high severity on a model card; what is of no column, in full."""
    return tuple(_in_short(note) for note in card.findings if note["severity"] == "high")


def no_champion() -> NotComparable:
    """The value for there being no champion."""
    return NotComparable("no champion", "no model is in charge yet")


def held_out_predictions(fitted: TrainedModel) -> pl.DataFrame:
    """The held-out predictions of a run: ``lead_id``, ``as_of``, ``label`` and calibrated ``log_odds``."""
    return fitted.scores.select(*KEYS, pl.Series("label", fitted.label), "log_odds")


def collect_evidence(
    fitted: TrainedModel, model: ConversionModel, champion: ConversionModel | NotComparable
) -> PromotionEvidence:
    """The evidence for ``model``, the saved one of ``fitted``, compared with the champion if there is one."""
    y, f = fitted.label, fitted.scores["log_odds"].to_numpy()
    comparison = champion if isinstance(champion, NotComparable) else compare_on_later_rows(fitted, champion)
    return PromotionEvidence(
        version=model.version,
        question=model.card.label,
        time_ordered=model.card.time_ordered,
        rows=len(y),
        positives=int(y.sum()),
        standing=held_out_performance(y, f, lead_codes(fitted.scores["lead_id"])),
        grave=high_severity_findings(model.card),
        comparison=comparison if isinstance(comparison, Comparison) else None,
        not_comparable=comparison if isinstance(comparison, NotComparable) else None,
    )


def compare_on_later_rows(fitted: TrainedModel, champion: ConversionModel) -> Comparison | NotComparable:
    """Compare a run with a champion on held-out rows that are later than all the champion learned from."""
    dataset, window = fitted.dataset, champion.card.window
    if champion.card.label != dataset.question:
        return NotComparable("other question", f"the champion predicts {champion.card.label!r}")
    if window is None or dataset.window is None or dataset.order is None:
        return NotComparable("undated", "without dates nobody knows what is later than the champion")
    later = np.flatnonzero(dataset.order[fitted.held_out_rows] > window[1] + dataset.gap)
    if few := _too_few(fitted.label[later]):
        return NotComparable(
            few.because, f"of rows later than all that the champion learned from: {few.message}"
        )
    try:
        rows = dataset.features_for(champion.features, fitted.held_out_rows[later])
    except MissingFeaturesError as error:
        return NotComparable("other features", f"the champion cannot be asked: {error}")
    champion_log_odds = champion.score_frame(rows)["log_odds"]
    return compare(held_out_predictions(fitted)[later], champion_log_odds, champion.version, "later")


def compare_held_out(
    challenger: pl.DataFrame, champion_predictions: pl.DataFrame, champion: str
) -> Comparison | NotComparable:
    """Compare two runs by their held-out predictions of the rows that both have.

    A challenger with more rows is at a small disadvantage: its held-out predictions are by models of a
    smaller part of them.

    Args:
        challenger: ``held_out_predictions`` of the challenger.
        champion_predictions: Those of the champion's run.
        champion: The version of the champion.

    Returns:
        The comparison, or why there is none.
    """
    shared = challenger.join(champion_predictions, on=KEYS, suffix="_theirs", maintain_order="left")
    if few := _too_few(shared["label"].to_numpy()):
        return few
    if np.mean(shared["label"].to_numpy() == shared["label_theirs"].to_numpy()) < _AGREE:
        return NotComparable("other rows", "the same ids have other outcomes: are these other leads?")
    return compare(shared, shared["log_odds_theirs"], champion, "held out")


def compare(rows: pl.DataFrame, champion_log_odds: pl.Series, champion: str, basis: Basis) -> Comparison:
    """Compare the challenger's predictions with the champion's, row by row.

    Args:
        rows: ``lead_id``, ``label`` and ``log_odds`` of the challenger.
        champion_log_odds: (n,) the champion's log-odds of the same rows.
        champion: The version of the champion.
        basis: What the rows are.

    Returns:
        The comparison.
    """
    y, challenger_log_odds, reference_log_odds = (
        rows["label"].to_numpy(),
        rows["log_odds"].to_numpy(),
        champion_log_odds.to_numpy(),
    )
    lead = lead_codes(rows["lead_id"])
    return Comparison(
        champion=champion,
        basis=basis,
        rows=len(y),
        positives=int(y.sum()),
        challenger_standing=held_out_performance(y, challenger_log_odds, lead),
        champion_standing=held_out_performance(y, reference_log_odds, lead),
        worse_by=_by_lead(
            log_loss_per_row(y, challenger_log_odds) - log_loss_per_row(y, reference_log_odds), lead
        ),
    )


def held_out_performance(y: Floats, scores: Floats, lead: NDArray[np.int64]) -> HeldOutPerformance:
    """Log-loss and calibration of (n,) log-odds ``scores`` against outcomes ``y``, clustered by ``lead``."""
    return HeldOutPerformance(
        float(log_loss_per_row(y, scores).mean()), check_calibration(y, np.asarray(expit(scores)), lead)
    )


def check_calibration(y: Floats, p: Floats, lead: NDArray[np.int64]) -> CalibrationCheck:
    """Check the calibration of probabilities.

    The standard errors are those of the logistic calibration model at slope 1 and intercept 0, widened by the
    design effect of leads (Kish 1965).

    Args:
        y: (n,) outcomes, 0 or 1.
        p: (n,) probabilities.
        lead: (n,) the lead of each row, numbered from 0.

    Returns:
        Slope, intercept and error with what chance alone does to them.
    """
    weight, f = p * (1 - p), log_odds(p)
    tilt, level = f - np.average(f, weights=weight), calibration_intercept(y, p)
    residuals = y - (expit(f + level) if np.isfinite(level) else p)
    effect = design_effect(residuals, lead)
    bins = np.array_split(np.sort(p), metrics.BINS)
    chance = [np.sqrt(2 / np.pi * b.mean() * (1 - b.mean()) / len(b) * effect) for b in bins if len(b)]
    return CalibrationCheck(
        slope=_around(
            calibration_slope(y, p), float(weight @ tilt**2) / design_effect(residuals * tilt, lead)
        ),
        intercept=_around(level, float(weight.sum()) / effect),
        error=metrics.expected_calibration_error(y, p),
        chance=float(np.mean(chance)),
    )


def _around(value: float, information: float) -> Interval:
    half = Z_95 / np.sqrt(information) if information > 0 else float("inf")
    return Interval(value, float(value - half), float(value + half))


def _by_lead(values: Floats, lead: NDArray[np.int64]) -> Interval:
    """The mean with a 95 % interval by a Poisson bootstrap of leads.

    Many leads are drawn in groups, which costs nothing in width and much less in time.
    """
    group = lead % _GROUPS
    return mean_interval(values, group, poisson_weight_matrix(int(group.max()) + 1, _RESAMPLES, 0))


def _too_few(y: Floats) -> NotComparable | None:
    won = int(y.sum())
    if len(y) >= FEWEST_ROWS and min(won, len(y) - won) >= FEWEST_OF_A_CLASS:
        return None
    needed = f"it takes {FEWEST_ROWS} and {FEWEST_OF_A_CLASS} of each outcome"
    return NotComparable("too few rows", f"{len(y):,} rows, {won:,} of them converted; {needed}")


def _in_short(finding: dict[str, str]) -> str:
    code, column = finding["code"], finding["column"]
    return f"{code} {column}" if column else f"{code}: {finding['message']}"
