"""From rows to a model and what is worth knowing of it: pure, so the caller decides what to write where."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from models import metrics
from models.card import INTENDED_USE, LIMITS, SCORE, Card
from models.conversion import ConversionModel
from models.grades import from_capacity
from models.profile import Profile
from models.track_record import TrackRecord
from models.witnesses import witnesses
from training.checks import checks, findings
from training.fit import fit_rows
from training.insight.company import Company
from training.insight.given import ReportInput
from training.learning.doubting import doubt
from training.learning.refits import refits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.metrics import Interval
    from training.checks import Check
    from training.config import Training
    from training.dataset import Dataset
    from training.fit import FittedPredictor
    from training.learning.judging import Progress
    from training.learning.refits import Refits

DEFAULT_SHARE = 0.1
EXPLAINED = 1000
PROFILED = 20_000
_OF_A_CHECK = ("code", "title", "outcome", "reason")
_LIBRARIES = ("leadloop", "lightgbm", "numpy", "polars", "narwhals")


@dataclass(frozen=True)
class Fitted:
    """A trained model with what it was judged by.

    ``judged`` are the positions of the rows that the judged model had not learned from, ``scores`` what was
    said of them then, and ``capacity`` the share of leads that sales can call. ``refits`` are for the report.
    """

    model: ConversionModel
    dataset: Dataset
    judged: NDArray[np.intp]
    scores: pl.DataFrame
    checks: tuple[Check, ...]
    capacity: float
    refits: Refits | None = None

    @property
    def label(self) -> NDArray[np.float64]:
        """What became of the judged rows."""
        return self.dataset.label[self.judged].astype(np.float64)


def fit(dataset: Dataset, training: Training, progress: Progress | None = None) -> Fitted:
    """Learn from ``dataset``; the same rows and seed give the same model."""
    made = checks(dataset)
    rows = dataset.to_learn()
    fitted = fit_rows(rows, training.seed, progress)
    capacity = capacity_share(dataset, training)
    probability = fitted.predictor.probability(fitted.log_odds)
    grades = from_capacity(probability, capacity)
    judged_by = all_metrics(
        dataset.label[fitted.judged],
        probability,
        None if rows.groups is None else rows.groups[fitted.judged],
        training.seed,
    )
    card = _card(dataset, fitted, judged_by, made)
    if progress:
        progress("rehearsing, for the intervals of scores")
    lead = dataset.rows["lead_id"]
    model = ConversionModel(
        dataset.features,
        fitted.predictor,
        grades,
        card,
        doubt=doubt(rows, fitted, lead, training.seed),
        track_record=TrackRecord.of(rows.frame, lead, dataset.label),
    )
    scores = dataset.rows[fitted.judged].select("lead_id", "as_of")
    scored = model.scored(scores, fitted.log_odds)
    again = refits(rows, fitted, dataset.lead, training.seed)
    return Fitted(model, dataset, fitted.judged, scored, made, capacity, again)


def all_metrics(
    label: NDArray[np.int8],
    probability: NDArray[np.float64],
    leads: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """The figures of a run, each with its 95 % bootstrap interval; ``leads`` (n,) are drawn whole."""
    measured = {
        "roc_auc": metrics.roc_auc,
        "average_precision": metrics.average_precision,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier,
        "calibration_error": metrics.calibration_error,
    }
    return metrics.with_intervals(measured, label, probability, leads, seed)


def report_input(
    fitted: Fitted, model: ConversionModel, seed: int = 0, company: Company | None = None
) -> ReportInput:
    """What the report of ``fitted`` is made from; ``model`` is the saved one, which has a version."""
    dataset, rows = fitted.dataset, len(fitted.judged)
    sample = np.random.default_rng(seed).permutation(fitted.judged)[: min(EXPLAINED, rows)]
    explained = dataset.rows[np.sort(sample)]
    _, contributions = model.explain_rows(explained)
    again = fitted.refits
    earlier = np.setdiff1d(np.arange(len(dataset)), fitted.judged)
    return ReportInput(
        features=dataset.features,
        card=model.card,
        version=model.version,
        scores=fitted.scores,
        label=fitted.label,
        # Shuffled folds judge every row, by a model of the others; then there is no "before" to compare with.
        trained=dataset.rows[earlier] if len(earlier) else dataset.rows,
        judged=dataset.rows[fitted.judged],
        explained=explained,
        contributions=contributions,
        intake=dataset.intake,
        capacity=fitted.capacity,
        history=dataset.history,
        company=company or Company(),
        model=model,
        refitted=tuple(one.contributions(one.encodings.encode(explained))[1] for one in again.predictors)
        if again
        else (),
        refitted_share=again.share if again else 1.0,
    )


def capacity_share(dataset: Dataset, training: Training) -> float:
    """The share of leads that sales can call: as configured, else one in ten."""
    if training.capacity_share is not None:
        return training.capacity_share
    window = dataset.window
    if training.capacity is None or window is None:
        return DEFAULT_SHARE
    return training.capacity.share(len(dataset), max(1, window[1] - window[0]))


def _card(
    dataset: Dataset, fitted: FittedPredictor, judged_by: dict[str, Interval], made: tuple[Check, ...]
) -> Card:
    return Card(
        label=dataset.question,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=len(dataset),
        positives=int(dataset.label.sum()),
        time_ordered=dataset.order is not None,
        recipe=fitted.recipe,
        trees=fitted.bag.name,
        flat=dataset.flat is not None,
        id_column=dataset.flat.id if dataset.flat else None,
        missing=dataset.missing,
        window=dataset.window,
        metrics=judged_by,
        candidates=dict(fitted.candidates),
        findings=tuple(asdict(found) for found in findings(made)),
        availability=tuple(asdict(column) for column in dataset.availability),
        ignored=dataset.ignored,
        notes=dataset.notices,
        libraries={name: version(name) for name in _LIBRARIES},
        features=dataset.features.names,
        checks=tuple({name: getattr(check, name) for name in _OF_A_CHECK} for check in made),
        judged_rows=len(fitted.judged),
        judged_positives=int(dataset.label[fitted.judged].sum()),
        profiles=_profiles(dataset, fitted),
        usual_missing=_usual_missing(dataset, fitted),
        left_out={"immature": dataset.immature, "unreadable": dataset.intake.unreadable},
        intended_use=INTENDED_USE,
        limits=LIMITS,
    )


def _profiles(dataset: Dataset, fitted: FittedPredictor) -> dict[str, Profile]:
    """How the judged rows are spread, and what the model in use, not the judged one, says of them.

    The judged one learned from fewer rows and is more cautious; beside it, every new lead looks like drift.
    """
    judged = dataset.rows[fitted.judged]
    spread = {name: Profile.of(judged[name], witnesses(judged["lead_id"])) for name in dataset.features.names}
    some = judged.gather_every(1 + judged.height // PROFILED)
    said = fitted.predictor.log_odds(fitted.predictor.encodings.encode(some))
    return {SCORE: Profile.of(pl.Series(SCORE, said), witnesses(some["lead_id"]))} | spread


def _usual_missing(dataset: Dataset, fitted: FittedPredictor) -> float:
    """The share of features that nineteen of twenty judged rows do not exceed in missing ones."""
    shares = missing_share(dataset.rows[fitted.judged].select(dataset.features.names))
    return float(np.quantile(shares, 0.95, method="higher"))


def missing_share(rows: pl.DataFrame) -> NDArray[np.float64]:
    """(n,) shares of each row's columns that hold no value."""
    return rows.select(pl.mean_horizontal(pl.all().is_null())).to_series().to_numpy()
