"""From rows to a model and what is worth knowing of it: pure, so the caller decides what to write where."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from models import metrics
from models.conversion import ConversionModel
from models.drift import ReferenceDistribution, missing_share
from models.grades import from_capacity
from models.model_card import INTENDED_USE, LIMITS, SCORE, ModelCard
from models.observed_rates import ObservedRates
from training.data.load import resolve_capacity
from training.leakage.checks import run_checks, sorted_findings
from training.learner.fit import fit_learning_rows
from training.learner.jackknife import jackknife
from training.learner.plugin_learner import fit_plugin_learner, savable_learner
from training.learner.score_intervals import estimate_uncertainty
from training.stats.intervals import effective_sample_size
from training.stats.plugin_metrics import plugin_metrics
from training.trained_model import TrainedModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from models.metrics import Interval, MetricFunction
    from training.config.settings import TrainingConfig
    from training.data.dataset import Dataset
    from training.leakage.checks import Check
    from training.learner.fit import FittedPredictor
    from training.learner.model_selection import Progress
    from training.plugins import PluginModule
    from training.stats.plugin_metrics import PluginMetric


PROFILED = 20_000

_OF_A_CHECK = ("code", "title", "outcome", "reason")

_LIBRARIES = ("leadloop", "lightgbm", "numpy", "polars", "narwhals")


def train_model(
    dataset: Dataset,
    training: TrainingConfig,
    progress: Progress | None = None,
    modules: Sequence[PluginModule] = (),
) -> TrainedModel:
    """Learn from ``dataset``; the same rows and seed give the same model.

    Args:
        dataset: Rows of both outcomes.
        training: The seed, the capacity, and perhaps a learner other than the default.
        progress: Is told of each step.
        modules: Where plug-ins are found beside installed packages.

    Raises:
        PluginError: A plug-in cannot be used, or its learner not saved.
    """
    metrics = plugin_metrics(modules)
    learner = None if training.learner is None else savable_learner(training.learner, modules)
    made = run_checks(dataset)
    rows = dataset.to_learning_rows()
    fitted = (
        fit_learning_rows(rows, training.seed, progress)
        if learner is None
        else fit_plugin_learner(rows, learner, training.seed, progress)
    )
    capacity = resolve_capacity(dataset, training)
    probability = fitted.predictor.probability(fitted.log_odds)
    grades = from_capacity(probability, capacity)
    judged_by = evaluate(
        dataset.label[fitted.held_out_rows],
        probability,
        None if rows.groups is None else rows.groups[fitted.held_out_rows],
        training.seed,
        metrics,
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
        doubt=estimate_uncertainty(rows, fitted, lead, training.seed),
        track_record=ObservedRates.of(rows.frame, lead, dataset.label),
    )
    scores = dataset.rows[fitted.held_out_rows].select("lead_id", "as_of")
    scored = model.scores_from_log_odds(scores, fitted.log_odds)
    again = jackknife(rows, fitted, dataset.lead, training.seed)
    return TrainedModel(model, dataset, fitted.held_out_rows, scored, made, capacity, again, learner)


def evaluate(
    label: NDArray[np.int8],
    probability: NDArray[np.float64],
    leads: NDArray[np.int64] | None = None,
    seed: int = 0,
    more: Mapping[str, PluginMetric] | None = None,
) -> dict[str, Interval]:
    """The figures of a run, each with its 95 % bootstrap interval; ``leads`` (n,) are drawn whole.

    Those of plug-ins come after leadloop's own, with intervals from the same resamples.
    """
    more = more or {}
    measured: dict[str, MetricFunction] = {
        "roc_auc": metrics.roc_auc,
        "average_precision": metrics.average_precision,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier_score,
        "calibration_error": metrics.expected_calibration_error,
    }
    for metric in more.values():
        metric.check_name(measured)
    measured |= more
    return metrics.bootstrap_intervals(measured, label, probability, leads, seed)


def _card(
    dataset: Dataset, fitted: FittedPredictor, judged_by: dict[str, Interval], made: tuple[Check, ...]
) -> ModelCard:
    return ModelCard(
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
        findings=tuple(asdict(found) for found in sorted_findings(made)),
        availability=tuple(asdict(column) for column in dataset.availability),
        ignored=dataset.ignored,
        notes=dataset.notices,
        libraries={name: version(name) for name in _LIBRARIES},
        features=dataset.features.names,
        checks=tuple({name: getattr(check, name) for name in _OF_A_CHECK} for check in made),
        judged_rows=len(fitted.held_out_rows),
        judged_positives=int(dataset.label[fitted.held_out_rows].sum()),
        profiles=_profiles(dataset, fitted),
        usual_missing=_usual_missing(dataset, fitted),
        left_out={"immature": dataset.immature, "unreadable": dataset.intake.unreadable},
        intended_use=INTENDED_USE,
        limits=LIMITS,
    )


def _profiles(dataset: Dataset, fitted: FittedPredictor) -> dict[str, ReferenceDistribution]:
    """How the judged rows are spread, and what the model in use, not the judged one, says of them.

    The judged one learned from fewer rows and is more cautious; beside it, every new lead looks like drift.
    """
    judged = dataset.rows[fitted.held_out_rows]
    spread = {
        name: ReferenceDistribution.of(judged[name], effective_sample_size(judged["lead_id"]))
        for name in dataset.features.names
    }
    some = judged.gather_every(1 + judged.height // PROFILED)
    said = fitted.predictor.log_odds(fitted.predictor.encodings.encode(some))
    return {
        SCORE: ReferenceDistribution.of(pl.Series(SCORE, said), effective_sample_size(some["lead_id"]))
    } | spread


def _usual_missing(dataset: Dataset, fitted: FittedPredictor) -> float:
    """The share of features that nineteen of twenty judged rows do not exceed in missing ones."""
    shares = missing_share(dataset.rows[fitted.held_out_rows].select(dataset.features.names))
    return float(np.quantile(shares, 0.95, method="higher"))
