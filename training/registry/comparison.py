"""What speaks for a model: how it did, beside the champion, on rows that neither had learned from.

The served model has learned from every row, so nothing honest can be said of it on them. Honest are the
predictions by which a run judged itself, of rows that the judged models had not seen. The champion itself is
asked about those of them that are later than all it learned from; where there are too few, its own run's
honest predictions of the same rows stand for it.
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
    """Why there is no comparison with the champion: a reason that a script can tell apart, and in words."""

    because: Because
    message: str


@dataclass(frozen=True, slots=True)
class CalibrationCheck:
    """Whether probabilities are right: the slope should be 1, the intercept 0, the error no more than chance.

    The intervals are how far the figures of a perfect forecast stray on so many leads; ``chance`` is the
    calibration error that it would show.
    """

    slope: Interval
    intercept: Interval
    error: float
    chance: float


@dataclass(frozen=True, slots=True)
class HeldOutPerformance:
    """One model on the compared rows."""

    log_loss: float
    calibration: CalibrationCheck


@dataclass(frozen=True, slots=True)
class Comparison:
    """Challenger and champion on the same rows.

    ``basis`` "later": the champion was asked about rows later than all it learned from. "held out": both
    runs' predictions by models that had not learned from the rows. ``worse_by`` is the challenger's log-loss
    less the champion's, row by row, resampled by lead.
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
    """What a run leaves for whoever has to decide on its model, as JSON and beside the judged rows."""

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


def save_evidence(out: Path, found: PromotionEvidence, judged: pl.DataFrame) -> None:
    """Write what speaks for the model in ``out``, where whoever decides on it looks."""
    write_text(out / EVIDENCE, found.to_json())
    with frame_writer(out / JUDGED) as write:
        write(judged)


def high_severity_findings(card: ModelCard) -> tuple[str, ...]:
    """The open checks of high severity of a model."""
    return tuple(_in_short(note) for note in card.findings if note["severity"] == "high")


def no_champion() -> NotComparable:
    """There is no champion to compare with."""
    return NotComparable("no champion", "no model is in charge yet")


def held_out_predictions(fitted: TrainedModel) -> pl.DataFrame:
    """The honest predictions of a run: ``lead_id``, ``as_of``, ``label`` and calibrated ``log_odds``."""
    return fitted.scores.select(*KEYS, pl.Series("label", fitted.label), "log_odds")


def collect_evidence(
    fitted: TrainedModel, model: ConversionModel, champion: ConversionModel | NotComparable
) -> PromotionEvidence:
    """What speaks for ``model``, the saved one of ``fitted``, beside the champion or why there is none."""
    y, f = fitted.label, fitted.scores["log_odds"].to_numpy()
    found = champion if isinstance(champion, NotComparable) else compare_on_later_rows(fitted, champion)
    return PromotionEvidence(
        version=model.version,
        question=model.card.label,
        time_ordered=model.card.time_ordered,
        rows=len(y),
        positives=int(y.sum()),
        standing=held_out_performance(y, f, lead_codes(fitted.scores["lead_id"])),
        grave=high_severity_findings(model.card),
        comparison=found if isinstance(found, Comparison) else None,
        not_comparable=found if isinstance(found, NotComparable) else None,
    )


def compare_on_later_rows(fitted: TrainedModel, champion: ConversionModel) -> Comparison | NotComparable:
    """The champion itself, asked about the judged rows that are later than all it learned from."""
    dataset, window = fitted.dataset, champion.card.window
    if champion.card.label != dataset.question:
        return NotComparable("other question", f"the champion predicts {champion.card.label!r}")
    if window is None or dataset.window is None or dataset.order is None:
        return NotComparable("undated", "without dates nobody knows what is later than the champion")
    later = np.flatnonzero(dataset.order[fitted.judged] > window[1] + dataset.gap)
    if few := _too_few(fitted.label[later]):
        return NotComparable(
            few.because, f"of rows later than all that the champion learned from: {few.message}"
        )
    try:
        rows = dataset.features_for(champion.features, fitted.judged[later])
    except MissingFeaturesError as error:
        return NotComparable("other features", f"the champion cannot be asked: {error}")
    said = champion.score_frame(rows)["log_odds"]
    return compare(held_out_predictions(fitted)[later], said, champion.version, "later")


def compare_held_out(mine: pl.DataFrame, theirs: pl.DataFrame, champion: str) -> Comparison | NotComparable:
    """Two runs by their honest predictions (``held_out_predictions``) of the rows that both have.

    Each row is judged by models that had not learned from it, so this is fair where both runs cut the rows
    alike; a challenger with more rows is judged a little strictly, by models of a smaller part of them.
    """
    shared = mine.join(theirs, on=KEYS, suffix="_theirs", maintain_order="left")
    if few := _too_few(shared["label"].to_numpy()):
        return few
    if np.mean(shared["label"].to_numpy() == shared["label_theirs"].to_numpy()) < _AGREE:
        return NotComparable("other rows", "the same ids have other outcomes: are these other leads?")
    return compare(shared, shared["log_odds_theirs"], champion, "held out")


def compare(judged: pl.DataFrame, said: pl.Series, champion: str, basis: Basis) -> Comparison:
    """The challenger's ``judged`` rows beside what the champion ``said`` of them, (n,) log-odds."""
    y, mine, theirs = judged["label"].to_numpy(), judged["log_odds"].to_numpy(), said.to_numpy()
    lead = lead_codes(judged["lead_id"])
    return Comparison(
        champion=champion,
        basis=basis,
        rows=len(y),
        positives=int(y.sum()),
        challenger_standing=held_out_performance(y, mine, lead),
        champion_standing=held_out_performance(y, theirs, lead),
        worse_by=_by_lead(log_loss_per_row(y, mine) - log_loss_per_row(y, theirs), lead),
    )


def held_out_performance(y: Floats, said: Floats, lead: NDArray[np.int64]) -> HeldOutPerformance:
    """How one model's log-odds stand beside what happened; ``lead`` (n,) numbers whose row it is."""
    return HeldOutPerformance(
        float(log_loss_per_row(y, said).mean()), check_calibration(y, np.asarray(expit(said)), lead)
    )


def check_calibration(y: Floats, p: Floats, lead: NDArray[np.int64]) -> CalibrationCheck:
    """Slope, intercept and error of probabilities, with what chance does to them on so many leads.

    The standard errors are those of the logistic regression that defines the figures, where it is 1 and 0,
    widened by as much as rows of one lead vary together (Kish 1965).
    """
    weight, f = p * (1 - p), log_odds(p)
    tilt, level = f - np.average(f, weights=weight), calibration_intercept(y, p)
    off = y - (expit(f + level) if np.isfinite(level) else p)
    wider = design_effect(off, lead)
    bins = np.array_split(np.sort(p), metrics.BINS)
    chance = [np.sqrt(2 / np.pi * b.mean() * (1 - b.mean()) / len(b) * wider) for b in bins if len(b)]
    return CalibrationCheck(
        slope=_around(calibration_slope(y, p), float(weight @ tilt**2) / design_effect(off * tilt, lead)),
        intercept=_around(level, float(weight.sum()) / wider),
        error=metrics.expected_calibration_error(y, p),
        chance=float(np.mean(chance)),
    )


def _around(value: float, information: float) -> Interval:
    half = Z_95 / np.sqrt(information) if information > 0 else float("inf")
    return Interval(value, float(value - half), float(value + half))


def _by_lead(values: Floats, lead: NDArray[np.int64]) -> Interval:
    """The mean with its 95 % interval over Poisson resamples of whole leads: a lead's rows say one thing.

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
    return f"{finding['code']} {finding['column'] or 'all columns'}"
