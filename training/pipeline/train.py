"""The training run: reads the sources, fits, saves, reports and tracks a model, in that order.

The model is saved before anything that may fail for reasons of its own, such as a tracking server.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.ingest.flat_export import FlatColumns, read_flat
from features.ingest.mapping import FlatMapping
from models import artifact
from models.project import resolve_project
from training.analysis.fairness import audit_fairness
from training.analysis.inputs import report_input, report_settings
from training.analysis.next_offers import count_next_offers
from training.config.toml_reader import ConfigError
from training.data.dataset import Dataset, flat_rows
from training.data.load import quarantine_file, read_dataset
from training.file_output import write_text
from training.pipeline.fit_model import evaluate, train_model
from training.pipeline.messages import (
    holdout_overlap_message,
    ingest_messages,
    metric_messages,
    warning_messages,
)
from training.pipeline.tracked_charts import draw_interactive_page
from training.pipeline.tracked_items import describe_run
from training.points.distillation import learn_points
from training.points.learned_table import FILE as POINTS
from training.registry.promotion import save_promotion_evidence
from training.registry.tracking import RunRef, Text, Tracking, log, tracking
from training.report.plugin_sections import compute_custom_sections
from training.report.report import MonitorVerdict, Report, build_report
from training.stats.plugin_metrics import plugin_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from features.ingest.flat_export import FlatExport
    from features.messages import Lang
    from models.conversion import ConversionModel
    from models.metrics import Interval
    from models.project import Project
    from training.config.settings import Config
    from training.plugins import PluginModule
    from training.points.learned_table import LearnedScorecard
    from training.report.digest import Digest
    from training.trained_model import TrainedModel

    Say = Callable[[str], None]


MODEL, REPORT, REPORT_DATA = "model", artifact.REPORT, "report.json"
# The figures of the report that a run replaced, and the word for them.
EARLIER_REPORT_DATA, LAST = "report-before.json", "last"
# What `leadloop monitor --json` wrote into the folder of a run, if somebody had it do so.
MONITOR_DATA = "monitor.json"

VALIDATION, HOLDOUT = "validation", "holdout"


@dataclass(frozen=True)
class TrainingRun:
    """A finished training run.

    Attributes:
        fitted: What training returned.
        model: The saved model, with its version.
        folder: The folder of model and report.
        metrics: By "validation" and "holdout", the metrics with their intervals.
        report: The data of the report.
        run: The MLflow run.
    """

    fitted: TrainedModel
    model: ConversionModel
    folder: Path
    metrics: dict[str, dict[str, Interval]]
    report: Report
    run: RunRef

    @property
    def model_dir(self) -> Path:
        """The folder of the saved model."""
        return self.folder / MODEL

    def to_dict(self) -> dict[str, Any]:
        """The run as ``train --json`` writes it."""
        return {
            "run_id": self.run.run_id,
            "model_dir": str(self.model_dir),
            "model_version": self.model.version,
            "report": str(self.folder / REPORT),
            "rows": self.model.card.rows,
            "time_ordered": self.model.card.time_ordered,
            "metrics": {
                part: {name: asdict(figure) for name, figure in figures.items()}
                for part, figures in self.metrics.items()
            },
        }


def run_training(  # noqa: PLR0913
    config: Config,
    out: Path,
    store: Tracking,
    *,
    dataset: Dataset | None = None,
    holdout: Path | None = None,
    configuration: Path | None = None,
    say: Say = print,
) -> TrainingRun:
    """Train a model, save it with its report, and track the run.

    Args:
        config: The sources, and how to learn from them.
        out: The folder of model and report.
        store: Where the run is tracked.
        dataset: Rows to learn from instead of the sources, such as those of a decision log.
        holdout: A second flat file with outcomes, to evaluate the model on.
        configuration: The file of ``config``, to be tracked with the run. Default: there was none.
        say: Called with lines about the progress.

    Returns:
        The finished run.

    Raises:
        ConfigError: The configuration and ``holdout`` do not go together, or name what is not there.
        SourceError: A source cannot be read.
        NoLabelledRowsError: There are no labelled rows of both outcomes.
        TrackingError: The tracking store does not answer; model and report are saved already.
    """
    from training.report.render import plots, render  # noqa: PLC0415 - takes seconds, and few commands draw

    # A place that cannot be written is known before anything is learned.
    out.mkdir(parents=True, exist_ok=True)
    dataset = read_dataset(config, out) if dataset is None else dataset
    for line in ingest_messages(dataset, quarantine_file(config, out)):
        say(line)
    holdout_export = None if holdout is None else _outcomes(dataset, config, holdout)
    if holdout_export is not None and (
        line := holdout_overlap_message(holdout_export.leads["lead_id"], dataset)
    ):
        say(line)
    fitted = train_model(dataset, config.training, say, config.plugins)
    measured = {VALIDATION: fitted.model.card.metrics}
    if holdout_export is not None:
        measured[HOLDOUT] = evaluate_holdout(fitted.model, holdout_export, config.plugins)
    fairness = audit_fairness(fitted)
    record = {} if fairness is None else fairness.to_record()
    card = replace(fitted.model.card, project=store.project, fairness=record)
    offers = count_next_offers(dataset.history, report_settings(config))
    model = artifact.save(replace(fitted.model, card=card, next_offers=offers), out / MODEL)
    say(f"model {model.version} saved in {out / MODEL}")
    evidence = save_promotion_evidence(fitted, model, out, store, say)
    inputs = report_input(fitted, model, config.training.seed, report_settings(config))
    inputs = replace(inputs, fairness=fairness)
    say("distilling the model into a points table")
    inputs = replace(inputs, learned=learn_points(fitted, inputs.company.points, config.training.seed))
    _save_points(inputs.learned, out / MODEL / POINTS)
    before = _previous_report(out / REPORT_DATA, say)
    report = replace(
        build_report(inputs, before),
        custom=compute_custom_sections(inputs, config.plugins),
    )
    page = render(report, lang=config.report.lang)
    if before is not None and before.version != report.version:
        write_text(out / EARLIER_REPORT_DATA, before.to_json())
    write_text(out / REPORT_DATA, report.to_json())
    for folder in (out, out / MODEL):
        write_text(folder / REPORT, page)
    for line in metric_messages(measured):
        say(line)
    for line in warning_messages(report):
        say(line)
    say(f"report written to {out / REPORT}")
    charts = [Text(f"plots/{name}", svg) for name, svg in plots(report, config.report.lang).items()]
    charts.append(Text("plots/interactive.html", draw_interactive_page(report, fitted)))
    items = describe_run(config, fitted, model, measured, report, out, configuration)
    run = log([*items, *charts, *evidence], tracking=store, name=f"{card.label} {model.version}")
    say(f"run {run.run_id} tracked in {run.address}")
    return TrainingRun(fitted, model, out, measured, report, run)


def _save_points(table: LearnedScorecard | None, file: Path) -> None:
    """Write the points table of a model beside it; without one, remove that of an earlier model."""
    if table is None:
        file.unlink(missing_ok=True)
    else:
        write_text(file, table.to_json())


def _previous_report(data: Path, say: Say) -> Report | None:
    """The report in ``data`` that this run replaces; None where there is none that can be read."""
    if not data.is_file():
        return None
    try:
        return Report.from_json(data.read_text(encoding="utf-8"))
    except (KeyError, TypeError, ValueError) as error:
        say(f"not compared with the last report: {data} is of another release of leadloop ({error!r})")
        return None


def resolve_tracking(config: Config, out: Path, project: str = "") -> Tracking:
    """Where runs go: MLFLOW_TRACKING_URI, else what the configuration names, else a store in ``out``.

    ``project`` is the one that was chosen; else it is the configuration's, or the one that ``out`` has.
    """

    def find(store: str) -> Project:
        return resolve_project(out, chosen=project, configured=config.project or "", registry=store)

    return tracking(out, config.tracking.experiment, uri=config.tracking.uri, project=find)


def rerender_report(
    folder: Path, page: Path, lang: Lang, *, board: bool = False, monitor: Path | None = None
) -> Path:
    """Render the report of a finished run once more, from its figures; nothing is computed anew.

    Args:
        folder: The output folder of the run, with its ``report.json``.
        page: The HTML file to write.
        lang: The language in which the page opens, "en" or "de".
        board: Whether to write the board page alone.
        monitor: What ``leadloop monitor --json`` wrote about the model. Default: ``monitor.json`` of the
            folder, if it is there and about this model.

    Returns:
        ``page``.

    Raises:
        ConfigError: The folder has no report, or one of another release; ``monitor`` is about another model.
    """
    from training.report.render import render, render_board  # noqa: PLC0415 - takes seconds

    report = read_report_data(folder / REPORT_DATA)
    report = replace(report, monitor=_read_verdict(report, monitor, folder / MONITOR_DATA))
    write_text(page, render_board(report, lang=lang) if board else render(report, lang=lang))
    return page


def _read_verdict(report: Report, chosen: Path | None, usual: Path) -> MonitorVerdict | None:
    """The monitor's verdict on a report's model; None without a chosen file or the usual one."""
    if chosen is None and not usual.is_file():
        return None
    file = chosen or usual
    try:
        verdict = MonitorVerdict.from_record(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{file} is nothing that leadloop monitor --json writes"
        raise ConfigError(msg) from error
    if verdict.model_version == report.version:
        return verdict
    if chosen is None:
        return None
    msg = f"{file} is about the model {verdict.model_version}, the report about {report.version}"
    raise ConfigError(msg)


def read_report_data(data: Path) -> Report:
    """Read the figures of a report.

    Args:
        data: A ``report.json`` that ``leadloop train`` wrote.

    Raises:
        ConfigError: There is no such file, or it is of another release.
    """
    if not data.is_file():
        msg = f"{data} does not exist; `leadloop train --out {data.parent}` writes it"
        raise ConfigError(msg)
    try:
        return Report.from_json(data.read_text(encoding="utf-8"))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{data} is of another release of leadloop, or altered; run leadloop train once more"
        raise ConfigError(msg) from error


def digest_report(folder: Path, since: str, lang: Lang) -> Digest:
    """Compare the report of a run with an earlier one.

    Args:
        folder: The output folder of the run.
        since: "last" for the report that this run replaced in its folder, else another ``report.json``.
        lang: The language of the digest, "en" or "de".

    Raises:
        ConfigError: A report is not there or of another release, or the two answer different questions.
    """
    from training.report.digest import make_digest  # noqa: PLC0415 - takes seconds, and few commands compare

    now = read_report_data(folder / REPORT_DATA)
    earlier = folder / EARLIER_REPORT_DATA if since == LAST else Path(since)
    if since == LAST and not earlier.is_file():
        msg = f"{folder} has no earlier report yet; train there again, or name one: --since FILE"
        raise ConfigError(msg)
    try:
        return make_digest(read_report_data(earlier), now, lang)
    except ValueError as error:
        msg = f"these reports cannot be compared: {error}"
        raise ConfigError(msg) from error


def evaluate_holdout(
    model: ConversionModel, export: FlatExport, modules: Sequence[PluginModule] = ()
) -> dict[str, Interval]:
    """The metrics of a model on a holdout file, with those of plug-ins of packages and ``modules``."""
    scores = model.score_frame(flat_rows(model.features, export.leads))
    label = export.label.to_numpy()  # type: ignore[union-attr]  # a holdout is read with its outcomes
    return evaluate(label, scores["probability"].to_numpy(), extra_metrics=plugin_metrics(modules))


def _outcomes(dataset: Dataset, config: Config, holdout: Path) -> FlatExport:
    """The holdout file, with the columns typed as in the training data."""
    if config.flat is None:
        msg = "--holdout needs a flat export; a history is measured on its own later leads"
        raise ConfigError(msg)
    columns = FlatColumns.from_features(dataset.features)
    mapping = FlatMapping(
        id=config.flat.id,
        label=config.flat.label,
        roles=columns.roles,
        missing=config.flat.missing,
        positive=config.flat.positive,
        negative=config.flat.negative,
        max_share=config.quarantine.max_share,
        marks=dataset.marks,
        encoding=config.flat.encoding,
        extractions=columns.extractions,
    )
    return read_flat(holdout, mapping)
