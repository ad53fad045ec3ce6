"""What a training run consists of, as the plain items that ``training.registry.tracking`` writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from features.ingest.flat_export import FlatColumns
from features.redaction import without_secrets
from models import artifact
from training.pyfunc import OUTPUTS
from training.registry.registry import PROJECT_TAG
from training.registry.tracking import (
    DESCRIPTION,
    Artifact,
    DatasetRef,
    EvaluationTable,
    LogItem,
    Metric,
    MetricSeries,
    Model,
    NestedRun,
    RunParams,
    Tag,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from features.spec import FeatureSpec
    from models.conversion import ConversionModel
    from models.metrics import Interval
    from models.model_card import ModelCard
    from training.analysis.calibration import CalibrationGroup
    from training.config.settings import Config
    from training.learner.fit import RecipeScore
    from training.report.report import Report
    from training.trained_model import TrainedModel

_EXAMPLE_ROWS = 3
# MLflow takes digests of so many characters.
_LONGEST_DIGEST = 36


def describe_run(  # noqa: PLR0913, PLR0917  # what a run consists of
    config: Config,
    fitted: TrainedModel,
    model: ConversionModel,
    metrics: Mapping[str, Mapping[str, Interval]],
    report: Report,
    folder: Path,
    configuration: Path | None = None,
) -> Iterator[LogItem]:
    """The items of a training run.

    Args:
        config: The sources, and how the model learned from them.
        fitted: What training returned.
        model: The saved model.
        metrics: By "validation" and "holdout", the metrics with their intervals.
        report: The data of the report.
        folder: Where model and report lie.
        configuration: The file of ``config``. Default: there was none.

    Returns:
        The model with signature and example, data sets, parameters, figures, tables, texts and files.
    """
    card = model.card
    yield _model(fitted, model, folder / "model", describe_model(card, report))
    yield from _datasets(config, fitted)
    yield from _tags(card, report)
    yield _params(config, fitted, card)
    yield from _figures(metrics, card, report)
    yield from _curves(fitted)
    yield from _candidates(fitted, card)
    yield from _tables(report)
    yield from _files(fitted, card, folder)
    if configuration is not None:
        # A URL in it may hold a password.
        yield Text("leadloop.toml", without_secrets(configuration.read_text(encoding="utf-8")))


def _model(fitted: TrainedModel, model: ConversionModel, folder: Path, description: str) -> Model:
    specs = model.features.specs
    rows = fitted.dataset.rows[fitted.held_out_rows[:_EXAMPLE_ROWS].tolist()]
    example = {spec.name: rows[spec.name].to_list() for spec in specs}
    inputs = _types(specs)
    if model.card.flat:
        # The rows of the export may hold text where the model has numbers, and columns that features are read
        # out of.
        columns = FlatColumns.from_features(model.features).needed
        inputs = dict.fromkeys((*inputs, *columns), "any")
    card = model.card
    params = {"recipe": card.recipe, "rows": str(card.rows), "features": str(len(specs))}
    tags = {PROJECT_TAG: card.project, "leadloop.question": card.label, DESCRIPTION: description}
    return Model(folder, model.version, inputs, OUTPUTS, example, params, tags)


def _types(specs: Iterable[FeatureSpec]) -> dict[str, str]:
    return {spec.name: "string" if spec.is_category else "double" for spec in specs}


def _datasets(config: Config, fitted: TrainedModel) -> Iterator[DatasetRef]:
    """The rows that the model learned from, and those held out to measure it."""
    dataset = fitted.dataset
    columns = _types(dataset.features.specs) | {"label": "double"}
    digest, source = dataset.fingerprint[:_LONGEST_DIGEST], _source(config)
    yield DatasetRef("training", digest, source, "training", len(dataset.label), columns)
    held_out = f"{digest[: _LONGEST_DIGEST - 2]}-h"
    yield DatasetRef("validation", held_out, source, "evaluation", len(fitted.held_out_rows), columns)


def _source(config: Config) -> str:
    """Where the leads were read from."""
    if config.flat is not None:
        return str(config.flat.leads)
    table = config.leads
    return "" if table is None else without_secrets(str(table.file or table.database or ""))


def _tags(card: ModelCard, report: Report) -> Iterator[Tag]:
    yield Tag("leadloop.question", card.label)
    yield Tag(PROJECT_TAG, card.project)
    yield Tag("leadloop.open_checks", _open_checks(card) or "none")
    yield Tag("leadloop.time_ordered", str(card.time_ordered).lower())
    yield Tag("leadloop.worthwhile", str(report.summary.at_capacity.is_worthwhile).lower())
    for warning in report.summary.warnings:
        yield Tag(f"leadloop.warning.{warning.code}", f"{warning.value:g}")
    yield Tag(DESCRIPTION, describe_model(card, report))


def describe_model(card: ModelCard, report: Report) -> str:
    """What a model predicts and how well, in Markdown, for the pages of MLflow."""
    best = report.summary.at_capacity
    order = "later leads than it learned from" if card.time_ordered else "leads drawn at random"
    learned = f"learned from {card.rows:,} rows, {card.positives:,} of which converted"
    base = 100 * report.summary.base_rate
    rates = f"{100 * best.rate.value:.0f} of 100 of the best {best.share:.0%} convert, of all {base:.0f}"
    auc, loss = card.metrics["roc_auc"], card.metrics["log_loss"]
    return "\n".join(
        [
            f"Predicts **{card.label}**; {learned}.",
            "",
            f"Measured on {report.summary.rows:,} {order}: {rates}.",
            "",
            "| metric | value | 95% interval |",
            "|---|---|---|",
            f"| ROC AUC | {auc.value:.3f} | {auc.low:.3f} to {auc.high:.3f} |",
            f"| log-loss | {loss.value:.3f} | {loss.low:.3f} to {loss.high:.3f} |",
            "",
            f"Open checks: {_open_checks(card) or 'none'}.",
        ]
    )


def _params(config: Config, fitted: TrainedModel, card: ModelCard) -> RunParams:
    features = fitted.dataset.features
    return RunParams(
        {
            "recipe": card.recipe,
            "trees": card.trees,
            "seed": config.training.seed,
            "rows": card.rows,
            "positives": card.positives,
            "features": len(features),
            "features_fingerprint": features.fingerprint,
            "data_fingerprint": fitted.dataset.fingerprint,
            "capacity_share": fitted.capacity,
        }
    )


def _figures(
    metrics: Mapping[str, Mapping[str, Interval]], card: ModelCard, report: Report
) -> Iterator[LogItem]:
    for part, figures in metrics.items():
        for name, figure in figures.items():
            dataset = "validation" if part == "validation" else ""
            yield Metric(f"{part}_{name}", figure.value, figure.low, figure.high, dataset)
    for name, loss in card.candidates.items():
        yield Metric(f"candidate_{name}_log_loss", loss)
    months = report.calibration.months
    if months:
        yield MetricSeries("month_observed", [month.observed.value for month in months])
        yield MetricSeries("month_predicted", [month.forecast for month in months])


def _curves(fitted: TrainedModel) -> Iterator[MetricSeries]:
    """The cross-validated log-loss by boosting round, and that of the chosen recipe by fold."""
    if fitted.round_log_losses:
        losses = fitted.round_log_losses
        yield MetricSeries("trees_log_loss_by_round", list(losses.values()), list(losses))
    for score in fitted.choice:
        if score.name == fitted.model.card.recipe:
            yield MetricSeries("log_loss_by_fold", score.fold_log_losses, _fold_numbers(score))


def _candidates(fitted: TrainedModel, card: ModelCard) -> Iterator[NestedRun]:
    """A run for each recipe that the learner chose from."""
    for score in fitted.choice:
        yield NestedRun(
            f"candidate {score.name}",
            (
                RunParams({"recipe": score.name}),
                Tag(PROJECT_TAG, card.project),
                Tag("leadloop.candidate", "chosen" if score.name == card.recipe else "not chosen"),
                Metric("log_loss", score.log_loss),
                Metric("log_loss_minus_preferred", score.worse_by),
                Metric("log_loss_minus_preferred_standard_error", score.standard_error),
                MetricSeries("log_loss_by_fold", score.fold_log_losses, _fold_numbers(score)),
            ),
        )


def _fold_numbers(score: RecipeScore) -> range:
    return range(1, len(score.fold_log_losses) + 1)


def _open_checks(card: ModelCard) -> str:
    """The codes of the open leakage checks, the gravest first."""
    return ", ".join(dict.fromkeys(f"{each['code']} ({each['severity']})" for each in card.findings))


def _tables(report: Report) -> Iterator[EvaluationTable]:
    """The evaluation as tables, which MLflow compares between runs."""
    gains = report.worth.gains
    yield EvaluationTable(
        "evaluation/gains.json", {"share": [s for s, _ in gains], "captured": [c for _, c in gains]}
    )
    calibration = report.calibration
    yield EvaluationTable("evaluation/calibration.json", _groups(calibration.bins))
    yield EvaluationTable("evaluation/grades.json", _groups(calibration.grades))
    if calibration.segments is not None:
        segments = calibration.segments
        others = () if segments.others is None else (segments.others,)
        yield EvaluationTable("evaluation/segments.json", _groups((*segments.groups, *others)))


def _groups(groups: Iterable[CalibrationGroup]) -> dict[str, list[Any]]:
    rows = list(groups)
    return {
        "group": [row.name for row in rows],
        "rows": [row.rows for row in rows],
        "predicted": [row.forecast for row in rows],
        "observed": [row.observed.value for row in rows],
        "observed_low": [row.observed.low for row in rows],
        "observed_high": [row.observed.high for row in rows],
    }


def _files(fitted: TrainedModel, card: ModelCard, folder: Path) -> Iterator[LogItem]:
    yield Text("features.json", fitted.dataset.features.to_json())
    yield Text("card.json", card.to_json())
    intake = fitted.dataset.intake
    unusable = {str(reason): count for reason, count in intake.quarantined.items()}
    summary = {"rows_read": intake.rows_read, "unusable": unusable, "columns_left_out": dict(intake.excluded)}
    yield Text("quarantine.json", json.dumps(summary, indent=2, ensure_ascii=False))
    for name in (artifact.REPORT, "report.json"):
        yield Artifact(folder / name, "report")
