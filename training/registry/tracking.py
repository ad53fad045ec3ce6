"""Runs in MLflow's tracking store: the one module that writes, finds and reads them.

Training describes what it did as plain ``LogItem`` records; ``log`` alone turns them into an MLflow run. So
training is testable without a tracking store, and the store can be replaced here.
``training.registry.registry`` asks MLflow's model registry; no other module speaks to MLflow.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from features.redaction import without_secrets
from models.project import PROJECT_VARIABLE, resolve_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mlflow import MlflowClient

    from models.project import Project

EXPERIMENT = "leadloop"
MODEL = "model"
MODEL_VERSION = "model_version"
# The tag that MLflow's pages show as the description of a run.
DESCRIPTION = "mlflow.note.content"
_NEEDED = ("leadloop", "lightgbm", "narwhals", "numpy", "pandas", "polars", "scipy")
_PARENT = "mlflow.parentRunId"
# MLflow takes 1,000 values a call, and no more than 100 parameters and 100 tags among them.
_METRICS_A_CALL, _PARAMS_A_CALL, _TAGS_A_CALL = 800, 100, 100
_REFUSED = re.compile(r"[^\w\-. :/]+")
# Only defaults: whoever sets these variables has a reason. Retries would hang for minutes on a dead server.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


# In the URL of a store these escape a character, or end the path: the store would be another file, or none.
_NO_PATH_OF_A_STORE = frozenset("%?#")


class TrackingError(ValueError):
    """The tracking store cannot be used; the message says which one and what to do."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure, with the interval it was measured to if there is one.

    Attributes:
        name: Its name.
        value: The figure.
        low: The lower end of its interval. Default: none.
        high: The upper end of its interval. Default: none.
        dataset: The name of the ``DatasetRef`` it was measured on. Default: not said.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """A figure by step, such as by boosting round or by fold: a curve in MLflow's pages.

    Attributes:
        name: Its name.
        values: The figure at each step.
        steps: The steps. Default: 0, 1, 2 and so on.
    """

    name: str
    values: Sequence[float]
    steps: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class DatasetRef:
    """Rows that a model learned from or was measured on; only what tells them apart is logged.

    Attributes:
        name: The name that metrics refer to it by.
        digest: A hash of its content; MLflow takes up to 36 characters.
        source: Where it was read from.
        context: What it was for, ``training`` or ``evaluation``.
        rows: How many rows it has.
        columns: Its columns with their types as MLflow names them.
    """

    name: str
    digest: str
    source: str
    context: str
    rows: int
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EvaluationTable:
    """A table that MLflow's pages show and compare between runs: the file's name, and its columns."""

    name: str
    columns: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class RunParams:
    """The parameters of a run by name."""

    values: Mapping[str, str | float | bool | None]


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of a run."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text to log as a file: its name, which may have folders, and its content."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder on disk to log under ``folder`` of the run."""

    path: Path
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A saved model to log.

    Attributes:
        folder: Its folder.
        version: The version that its content gives.
        inputs: Its columns with their types as MLflow names them, or "any", for the signature. Default: no
            signature.
        outputs: The same of what it returns.
        example: Some rows of ``inputs``, a column a name. Default: none.
        params: Parameters for MLflow's page of the model. Default: none.
        tags: Tags for it. Default: none.
    """

    folder: Path
    version: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    example: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NestedRun:
    """A run below the one that it is logged with, such as a candidate's; it has neither model nor files.

    Attributes:
        name: Its name.
        items: Its figures, parameters and tags.
    """

    name: str
    items: Sequence[Metric | MetricSeries | RunParams | Tag]


LogItem = (
    Metric
    | MetricSeries
    | RunParams
    | Tag
    | Text
    | Artifact
    | EvaluationTable
    | DatasetRef
    | Model
    | NestedRun
)


@dataclass(frozen=True, slots=True)
class Tracking:
    """Where runs are logged.

    Attributes:
        uri: The tracking store.
        files: Where artifacts go. Default: the server decides.
        experiment: The name of the experiment.
        project: Whose models are registered. Default: nobody's, and nothing can be promoted.
    """

    uri: str
    files: str | None = None
    experiment: str = EXPERIMENT
    project: str = ""

    @property
    def address(self) -> str:
        """The URI as messages show it, without user, password and query."""
        return without_secrets(self.uri)

    @property
    def exists(self) -> bool:
        """Whether the store may hold anything: false only for an embedded one that was never written."""
        return not self.uri.startswith("sqlite:///") or Path(self.uri.removeprefix("sqlite:///")).is_file()


@dataclass(frozen=True, slots=True)
class RunRef:
    """A finished run: its ids, its store, and the URI of the model it logged, if any."""

    run_id: str
    experiment_id: str
    uri: str
    model_uri: str | None = None

    @property
    def address(self) -> str:
        """The URI of the store as messages show it, without user, password and query."""
        return without_secrets(self.uri)


def tracking(
    out: Path,
    experiment: str = EXPERIMENT,
    *,
    uri: str | None = None,
    project: Callable[[str], Project] | None = None,
) -> Tracking:
    """The server that MLFLOW_TRACKING_URI names, else ``uri``, else an embedded store in ``out``.

    Args:
        out: The folder for ``mlflow.db``, ``mlflow-files`` and the name of the project.
        experiment: The name of the experiment. Default: ``EXPERIMENT``.
        uri: A tracking store, unless MLFLOW_TRACKING_URI names one. Default: the embedded one.
        project: Gives the project by the URI of the store. Default: LEADLOOP_PROJECT, else the one that
            ``out`` or the server has, drawn now where there is none.

    Returns:
        Where runs are logged. Paths are absolute, or the store would only work from the folder in which it
        was first used.

    Raises:
        TrackingError: The path of an embedded store has a mark that means something else in its URL.
    """
    server = os.environ.get("MLFLOW_TRACKING_URI") or uri
    find = project or (
        lambda store: resolve_project(out, chosen=os.environ.get(PROJECT_VARIABLE, ""), registry=store)
    )
    name = find(server or "").name
    if server:
        return Tracking(server, None, experiment, name)
    here = out.absolute()
    if marks := sorted(set(str(here)) & _NO_PATH_OF_A_STORE):
        msg = (
            f"{here}: MLflow cannot keep its store in a folder with {' or '.join(marks)} in its path; rename "
            "the folder, or name another store (MLFLOW_TRACKING_URI, or uri in [tracking])"
        )
        raise TrackingError(msg)
    return Tracking(f"sqlite:///{here / 'mlflow.db'}", (here / "mlflow-files").as_uri(), experiment, name)


def log(
    items: Iterable[LogItem], *, tracking: Tracking, name: str | None = None, parent: RunRef | None = None
) -> RunRef:
    """Log items as a new run. A run whose items cannot all be logged stays, marked as failed.

    Args:
        items: What to log; files are only read. A model comes first, then the rest in this order, so that
            MLflow's page of the model shows the figures.
        tracking: The store.
        name: The name of the run. Default: MLflow's.
        parent: The run that the new one is nested in. Default: none.

    Returns:
        The run.

    Raises:
        TrackingError: The store does not answer.
    """
    with mlflow_client(tracking) as client:
        import mlflow  # noqa: PLC0415

        experiment = _experiment(client, tracking)
        with mlflow.start_run(experiment_id=experiment, run_name=name, nested=True) as run:
            if parent is not None:
                client.set_tag(run.info.run_id, _PARENT, parent.run_id)
            model_uri = _RunLogger(client, run.info.run_id, experiment).log(items)
        return RunRef(run.info.run_id, experiment, tracking.uri, model_uri)


@contextmanager
def mlflow_client(tracking: Tracking) -> Iterator[MlflowClient]:
    """A client of the store, quiet and quick to fail; MLflow's own globals are put back afterwards.

    They matter: MLflow copies the URI it was told into MLFLOW_TRACKING_URI, where the next call of
    ``tracking`` would take it for the user's wish.
    """
    mlflow = _mlflow()
    _create_folder(tracking)
    before = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        mlflow.set_tracking_uri(tracking.uri)
        yield mlflow.MlflowClient(tracking.uri, tracking.uri)
    except mlflow.MlflowException as error:
        raise TrackingError(_advice(tracking, error)) from error
    finally:
        mlflow.set_tracking_uri(before)


def run_by_id(client: MlflowClient, run_id: str) -> str | None:
    """The id of a run that is in the store; None where there is no such run."""
    from mlflow import MlflowException  # noqa: PLC0415 - it is here already, and takes seconds elsewhere

    try:
        return str(client.get_run(run_id).info.run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def run_by_model_version(client: MlflowClient, model_version: str) -> str | None:
    """The id of a run that logged a model with this version; None where none did."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.{MODEL_VERSION} = '{model_version}'", max_results=1)
    return str(runs[0].info.run_id) if runs else None


def run_tags(client: MlflowClient, run_id: str) -> dict[str, str]:
    """The tags of a run; none where there is no such run."""
    return dict(client.get_run(run_id).data.tags) if run_by_id(client, run_id) else {}


def model_version_of(client: MlflowClient, run_id: str) -> str | None:
    """The version of the model that a run logged; None where it logged none."""
    return client.get_run(run_id).data.tags.get(MODEL_VERSION)


def logged_model_id(client: MlflowClient, run_id: str) -> str | None:
    """MLflow's id of the model that a run logged; None where it logged none."""
    outputs = client.get_run(run_id).outputs
    return str(outputs.model_outputs[0].model_id) if outputs and outputs.model_outputs else None


def tag_run(client: MlflowClient, run_id: str, tag: Tag) -> None:
    """Set a tag of a run that is finished."""
    client.set_tag(run_id, tag.name, tag.value)


def download_run_folder(client: MlflowClient, run_id: str, folder: str) -> Path | None:
    """A folder of a run's files, fetched to this machine if they are on a server; None where it is empty."""
    if not client.list_artifacts(run_id, folder):
        return None
    return Path(client.download_artifacts(run_id, folder))


def download_artifacts(uri: str) -> Path:
    """The files that MLflow has under ``uri`` on this machine, fetched from the server if they are there.

    Raises OSError where they are gone.
    """
    import mlflow.artifacts  # noqa: PLC0415

    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri))


def _mlflow() -> Any:
    """The module mlflow, imported late because that takes seconds, without telemetry and chatter."""
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: PLC0415
        import mlflow.artifacts  # noqa: PLC0415
        import mlflow.pyfunc  # noqa: PLC0415
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return mlflow


def _create_folder(tracking: Tracking) -> None:
    if tracking.uri.startswith("sqlite:///"):
        Path(tracking.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)


def _advice(tracking: Tracking, error: Exception) -> str:
    first = without_secrets(str(error).partition("\n")[0])
    return (
        f"{tracking.address}: the tracking store failed ({first[:160]}); check that it is running and "
        "MLFLOW_TRACKING_URI is right, or unset it to track beside the outputs. Saved models are untouched"
    )


def _experiment(client: MlflowClient, tracking: Tracking) -> str:
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is not None:
        return str(experiment.experiment_id)
    return str(client.create_experiment(tracking.experiment, artifact_location=tracking.files))


class _RunLogger:
    """Writes the items of one run."""

    def __init__(self, client: MlflowClient, run_id: str, experiment: str) -> None:
        self._client, self._run_id, self._experiment = client, run_id, experiment
        self._model_id: str | None = None
        self._digests: dict[str, str] = {}

    def log(self, items: Iterable[LogItem]) -> str | None:
        """Write items, models and then datasets first; the URI of the first model."""
        gathered: list[LogItem] = []
        try:
            for item in items:
                gathered.append(item)  # noqa: PERF402  # what is there when the next one fails counts
        except BaseException:
            self._log_gathered(gathered)
            raise
        return self._log_gathered(gathered)

    def _log_gathered(self, items: Sequence[LogItem]) -> str | None:
        # Figures refer to the model and to the data that they are about.
        ordered = sorted(
            items, key=lambda item: (not isinstance(item, Model), not isinstance(item, DatasetRef))
        )
        uris = [self._log_model(item) for item in ordered if isinstance(item, Model)]
        self._log_datasets([item for item in ordered if isinstance(item, DatasetRef)])
        _log_values(self._client, self._run_id, ordered, self._model_id, self._digests)
        for item in ordered:
            self._log_rest(item)
        return next(iter(uris), None)

    def _log_rest(self, item: LogItem) -> None:
        client, run_id = self._client, self._run_id
        match item:
            case NestedRun(name, items):
                child = client.create_run(self._experiment, run_name=name, tags={_PARENT: run_id}).info.run_id
                _log_values(client, child, items)
                client.set_terminated(child)
            case Text(name, content):
                client.log_text(run_id, content, name)
            case EvaluationTable(name, columns):
                client.log_table(run_id, {key: list(values) for key, values in columns.items()}, name)
            case Artifact(path, folder):
                upload = client.log_artifacts if path.is_dir() else client.log_artifact
                upload(run_id, str(path), folder or None)

    def _log_datasets(self, items: Sequence[DatasetRef]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput  # noqa: PLC0415

        if not items:
            return
        self._digests = {item.name: item.digest for item in items}
        inputs = [
            DatasetInput(
                Dataset(
                    item.name,
                    item.digest,
                    "local",
                    json.dumps({"uri": item.source}),
                    schema=json.dumps({"mlflow_colspec": _columns(item.columns)}),
                    profile=json.dumps({"num_rows": item.rows}),
                ),
                [InputTag("mlflow.data.context", item.context)],
            )
            for item in items
        ]
        models = None if self._model_id is None else [LoggedModelInput(self._model_id)]
        self._client.log_inputs(self._run_id, datasets=inputs, models=models)

    def _log_model(self, model: Model) -> str:
        """Log the folder as it is, with a loader instead of a pickle.

        The requirements are given because MLflow would otherwise spend ten seconds on guessing them.
        """
        import mlflow.pyfunc  # noqa: PLC0415

        self._client.set_tag(self._run_id, MODEL_VERSION, model.version)
        info = mlflow.pyfunc.log_model(
            name=MODEL,
            loader_module="training.pyfunc",
            data_path=str(model.folder.absolute()),
            pip_requirements=[
                *(f"{name}=={version(name)}" for name in _NEEDED),
                *_learner_package(model.folder),
            ],
            signature=_signature(model),
            input_example=_example(model),
            params=dict(model.params) or None,
            tags=dict(model.tags) or None,
        )
        self._model_id = str(info.model_id)
        return str(info.model_uri)


def _log_values(
    client: MlflowClient,
    run_id: str,
    items: Sequence[LogItem],
    model_id: str | None = None,
    digests: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write all figures, parameters and tags in as few calls as MLflow takes; figures refer to the model."""
    from mlflow.entities import Metric as MlflowMetric  # noqa: PLC0415
    from mlflow.entities import Param, RunTag  # noqa: PLC0415

    now = int(time.time() * 1000)
    metrics = [
        MlflowMetric(
            name,
            value,
            now,
            step,
            model_id=model_id,
            dataset_name=dataset or None,
            dataset_digest=digests.get(dataset),
        )
        for item in items
        if isinstance(item, Metric | MetricSeries)
        for name, value, step, dataset in _points(item)
    ]
    params = [
        Param(_valid_name(name), str(value))
        for item in items
        if isinstance(item, RunParams)
        for name, value in item.values.items()
    ]
    tags = [RunTag(_valid_name(item.name), item.value) for item in items if isinstance(item, Tag)]
    calls = max(
        -(-len(metrics) // _METRICS_A_CALL), -(-len(params) // _PARAMS_A_CALL), -(-len(tags) // _TAGS_A_CALL)
    )
    for call in range(calls):
        client.log_batch(
            run_id,
            metrics[call * _METRICS_A_CALL : (call + 1) * _METRICS_A_CALL],
            params[call * _PARAMS_A_CALL : (call + 1) * _PARAMS_A_CALL],
            tags[call * _TAGS_A_CALL : (call + 1) * _TAGS_A_CALL],
        )


def _points(item: Metric | MetricSeries) -> Iterator[tuple[str, float, int, str]]:
    """Name, value, step and dataset of each figure that an item has."""
    name = _valid_name(item.name)
    if isinstance(item, MetricSeries):
        steps = item.steps or range(len(item.values))
        yield from ((name, value, step, "") for step, value in zip(steps, item.values, strict=True))
        return
    figures = {name: item.value, f"{name}_low": item.low, f"{name}_high": item.high}
    yield from ((each, value, 0, item.dataset) for each, value in figures.items() if value is not None)


def _columns(types: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "type": kind, "required": False} for name, kind in types.items()]


def _signature(model: Model) -> Any:
    """MLflow's signature of the model; every column may be missing a value."""
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415
    from mlflow.types.schema import AnyType  # noqa: PLC0415

    any_type: Callable[[], Any] = AnyType

    if not model.inputs:
        return None
    inputs = Schema(
        [
            ColSpec(any_type() if kind == "any" else kind, name, required=False)
            for name, kind in model.inputs.items()
        ]
    )
    return ModelSignature(inputs, Schema([ColSpec(kind, name) for name, kind in model.outputs.items()]))


def _example(model: Model) -> Any:
    """The example as a pandas frame in the types of the signature; None without one."""
    if not model.example:
        return None
    import polars as pl  # noqa: PLC0415 - who only asks where runs are needs no Polars

    return pl.DataFrame({name: list(values) for name, values in model.example.items()}).to_pandas()


def _valid_name(name: str) -> str:
    """The name with every run of characters that MLflow refuses replaced by one underscore.

    >>> _valid_name("candidate/additive + trees (log-loss)")
    'candidate/additive _ trees _log-loss_'
    """
    return _REFUSED.sub("_", name)


def _learner_package(folder: Path) -> list[str]:
    """The requirement of a model that a plug-in's learner made: the package that can load it."""
    from models.plugin_part import PART  # noqa: PLC0415 - who only asks where runs are needs no NumPy

    learner = folder / PART
    if not learner.is_file():
        return []
    return [str(json.loads(learner.read_text(encoding="utf-8"))["package"]).replace(" ", "==", 1)]
