"""Fits a model with its card, grades, intervals and checks; writes nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.cohort import lead_codes
from features.extraction import extract_column
from features.spec import FeatureSet
from models import metrics
from models.conversion import ConversionModel
from models.drift import ReferenceDistribution, missing_share
from models.grades import from_capacity
from models.model_card import INTENDED_USE, LIMITS, SCORE, ModelCard
from models.observed_rates import FEWEST, ObservedRates
from models.score_parts import PartScales
from training.data.load import resolve_capacity
from training.leakage.checks import run_checks, sorted_findings
from training.learner.fit import fit_learning_rows
from training.learner.jackknife import jackknife
from training.learner.plugin_learner import fit_plugin_learner, savable_learner
from training.learner.score_intervals import estimate_uncertainty
from training.pipeline.messages import code_column_messages, combination_messages
from training.stats.account_dependence import measure_account_dependence
from training.stats.intervals import effective_sample_size
from training.stats.plugin_metrics import plugin_metrics
from training.trained_model import TrainedModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from models.account_chance import AccountDependence
    from models.encoding import FeatureEncoder
    from models.metrics import Interval, MetricFunction
    from training.config.settings import TrainingConfig
    from training.data.dataset import Dataset
    from training.data.training_rows import TrainingRows
    from training.leakage.checks import Check
    from training.learner.fit import FittedPredictor
    from training.learner.model_selection import Progress
    from training.plugins import PluginModule
    from training.stats.plugin_metrics import PluginMetric


PROFILED = 20_000
SPLIT_IN_PARTS = 2_000
"""Rows that scales of fit and engagement are learned from: a percentile's error is at most 1.1."""

_OF_A_CHECK = ("code", "title", "outcome", "reason")

_LIBRARIES = ("leadloop", "lightgbm", "numpy", "polars", "narwhals")


def train_model(
    dataset: Dataset,
    training: TrainingConfig,
    progress: Progress | None = None,
    modules: Sequence[PluginModule] = (),
) -> TrainedModel:
    """Train a model; the same rows and seed give the same model.

    Args:
        dataset: The rows to learn from.
        training: Seed, capacity, and a plug-in's learner where one is to make the model.
        progress: Called with a line per step.
        modules: Modules with plug-ins, beside those of installed packages.

    Returns:
        The model, not saved yet, with its held-out scores, checks and jackknife refits.

    Raises:
        PluginError: A plug-in cannot be used, or the model of its learner cannot be saved.
    """
    extra_metrics = plugin_metrics(modules)
    learner = None if training.learner is None else savable_learner(training.learner, modules)
    checks = run_checks(dataset)
    rows = dataset.to_learning_rows()
    fitted = (
        fit_learning_rows(rows, training.seed, progress)
        if learner is None
        else fit_plugin_learner(rows, learner, training.seed, progress)
    )
    dataset = keep_learned_words(dataset, fitted.predictor.encodings)
    if progress:
        for line in _learned_columns(dataset, fitted.predictor.encodings):
            progress(line)
    capacity = resolve_capacity(dataset, training)
    probability = fitted.predictor.probability(fitted.log_odds)
    grades = from_capacity(probability, capacity)
    measured = evaluate(
        dataset.label[fitted.held_out_rows],
        probability,
        None if rows.groups is None else rows.groups[fitted.held_out_rows],
        training.seed,
        extra_metrics,
    )
    card = _card(dataset, fitted, measured, checks)
    if progress:
        progress("rehearsing, for the intervals of scores")
    lead = dataset.rows["lead_id"]
    plain = ConversionModel(
        dataset.features,
        fitted.predictor,
        grades,
        card,
        uncertainty=estimate_uncertainty(
            rows, fitted, lead, training.seed, dataset.features.aging if dataset.has_dates else ()
        ),
        # Two texts are hardly ever the same, so there are no rates of leads with the same one.
        observed_rates=ObservedRates.of(_rows_of_evidence(rows, fitted), lead, dataset.label),
        account_dependence=_account_dependence(dataset, fitted, probability, training.seed),
    )
    model = replace(plain, part_scales=_part_scales(dataset, fitted, plain, capacity))
    scores = dataset.rows[fitted.held_out_rows].select("lead_id", "as_of")
    scored = model.scores_from_log_odds(scores, fitted.log_odds)
    refits = jackknife(rows, fitted, dataset.lead, training.seed)
    return TrainedModel(
        model,
        dataset,
        fitted.held_out_rows,
        scored,
        checks,
        capacity,
        refits,
        learner,
        fitted.choice,
        fitted.round_log_losses,
    )


def _learned_columns(dataset: Dataset, encodings: FeatureEncoder) -> Iterator[str]:
    """Lines on what the rows showed of the columns: codes, and combinations."""
    numbers = {name for name in dataset.features.names if dataset.rows[name].dtype.is_numeric()}
    codes = [
        each.name
        for each in encodings.features
        if each.name in numbers and each.kind == "category" and each.levels
    ]
    yield from code_column_messages(codes, dataset.names)
    yield from combination_messages(encodings, dataset.names)


def _rows_of_evidence(rows: TrainingRows, fitted: FittedPredictor) -> pl.DataFrame:
    """The columns that leads can be counted by: no texts, but the combinations that the model has."""
    combinations = fitted.predictor.encodings.combinations
    return rows.frame.drop(rows.texts).with_columns(each.keys(rows.frame) for each in combinations)


def evaluate(
    label: NDArray[np.int8],
    probability: NDArray[np.float64],
    leads: NDArray[np.int64] | None = None,
    seed: int = 0,
    extra_metrics: Mapping[str, PluginMetric] | None = None,
) -> dict[str, Interval]:
    """The metrics of predictions with 95 % bootstrap intervals.

    Args:
        label: (n,) outcomes, 0 or 1.
        probability: (n,) predictions.
        leads: (n,) the lead of each row; leads are resampled as a whole. Default: each row is one.
        seed: Of the resamples.
        extra_metrics: Metrics of plug-ins by name. Default: none.

    Returns:
        ROC AUC, average precision, log-loss, Brier score and expected calibration error, by name; after
        them ``extra_metrics``, with intervals from the same resamples.

    Raises:
        PluginError: A plug-in has the name of one of leadloop's own metrics, or fails.
    """
    extra = extra_metrics or {}
    measured: dict[str, MetricFunction] = {
        "roc_auc": metrics.roc_auc,
        "average_precision": metrics.average_precision,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier_score,
        "calibration_error": metrics.expected_calibration_error,
    }
    for metric in extra.values():
        metric.check_name(measured)
    measured |= extra
    return metrics.bootstrap_intervals(measured, label, probability, leads, seed)


def keep_learned_words(dataset: Dataset, encodings: FeatureEncoder) -> Dataset:
    """The dataset with those words of its texts that count in a model, which says so in its features.

    Whoever reads the model's features, a file, a request, a log, then has no other word of a text.
    """
    if not dataset.features.texts:
        return dataset
    words = {encoding.name: encoding.levels for encoding in encodings.features}
    specs = tuple(
        replace(spec, extraction=spec.extraction.keep_words(map(str, words[spec.name])))
        if spec.unit == "words" and spec.extraction is not None
        else spec
        for spec in dataset.features.specs
    )
    columns = [
        extract_column(spec.extraction, dataset.rows[spec.name]).alias(spec.name)
        for spec in specs
        if spec.unit == "words" and spec.extraction is not None
    ]
    return replace(
        dataset,
        features=FeatureSet(specs),
        rows=dataset.rows.with_columns(columns),
        words=dataset.rows.select(sorted(dataset.features.texts)),
    )


def _card(
    dataset: Dataset, fitted: FittedPredictor, measured: dict[str, Interval], checks: tuple[Check, ...]
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
        marks=dict(dataset.marks),
        names=dict(dataset.names.texts),
        positive=dataset.flat.positive if dataset.flat else None,
        encoding=dataset.flat.encoding if dataset.flat else None,
        window=dataset.window,
        metrics=measured,
        candidates=dict(fitted.candidates),
        findings=tuple(asdict(finding) for finding in sorted_findings(checks)),
        availability=tuple(asdict(column) for column in dataset.availability),
        ignored=dataset.ignored,
        notes=dataset.notices,
        libraries={name: version(name) for name in _LIBRARIES},
        features=dataset.features.names,
        checks=tuple({name: getattr(check, name) for name in _OF_A_CHECK} for check in checks),
        judged_rows=len(fitted.held_out_rows),
        judged_positives=int(dataset.label[fitted.held_out_rows].sum()),
        profiles=_profiles(dataset, fitted),
        usual_missing=_usual_missing(dataset, fitted),
        left_out={"immature": dataset.immature, "unreadable": dataset.intake.unreadable},
        intended_use=INTENDED_USE,
        limits=LIMITS,
        closed_stages=dataset.closed_stages,
        reopen_stages=dataset.reopen_stages,
    )


def _profiles(dataset: Dataset, fitted: FittedPredictor) -> dict[str, ReferenceDistribution]:
    """The reference distributions of features and scores among the held-out rows.

    Their scores are by the final model: the models that were held out from them learned from fewer rows and
    are more cautious, so that every new lead would look like drift.
    """
    held_out = dataset.rows[fitted.held_out_rows]
    worth, lead = effective_sample_size(held_out["lead_id"]), lead_codes(held_out["lead_id"])
    spread = {
        name: ReferenceDistribution.of(held_out[name], worth, lead, FEWEST) for name in dataset.features.names
    }
    sample = held_out.gather_every(1 + held_out.height // PROFILED)
    log_odds = fitted.predictor.log_odds(fitted.predictor.encodings.encode(sample))
    return {
        SCORE: ReferenceDistribution.of(pl.Series(SCORE, log_odds), effective_sample_size(sample["lead_id"]))
    } | spread


def _part_scales(
    dataset: Dataset, fitted: FittedPredictor, model: ConversionModel, capacity: float
) -> PartScales:
    """The scales of fit and engagement among the held-out rows, by the final model as of new leads."""
    held_out = dataset.rows[fitted.held_out_rows]
    sample = held_out.gather_every(1 + held_out.height // SPLIT_IN_PARTS)
    return PartScales.of(model.contributions(sample)[1], model.reason_families, capacity)


@dataclass(frozen=True, slots=True)
class _ScoredRows:
    """Held-out rows as ``measure_account_dependence`` takes them."""

    account: NDArray[np.int64]
    lead: NDArray[np.int64]
    as_of: NDArray[np.int64]
    probability: NDArray[np.float64]
    label: NDArray[np.float64]


def _account_dependence(
    dataset: Dataset, fitted: FittedPredictor, probability: NDArray[np.float64], seed: int
) -> AccountDependence | None:
    """How alike colleagues are among the held-out rows; None where nothing tells of accounts."""
    if dataset.accounts is None or not dataset.has_dates:
        return None
    held_out = fitted.held_out_rows
    rows = _ScoredRows(
        dataset.accounts[held_out],
        dataset.lead[held_out],
        dataset.rows["as_of"].to_numpy()[held_out],
        probability,
        dataset.label[held_out].astype(np.float64),
    )
    return measure_account_dependence(rows, dataset.gap, seed)


def _usual_missing(dataset: Dataset, fitted: FittedPredictor) -> float:
    """The 95 % quantile of the share of missing features among the held-out rows."""
    shares = missing_share(dataset.rows[fitted.held_out_rows].select(dataset.features.names))
    return float(np.quantile(shares, 0.95, method="higher"))
