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
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.redaction import without_secrets
from models.plugin_part import PART as LEARNER
from models.project import PROJECT_VARIABLE, resolve_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mlflow import MlflowClient

    from models.project import Project

EXPERIMENT = "leadloop"
MODEL = "model"
MODEL_VERSION = "model_version"
_NEEDED = ("leadloop", "lightgbm", "narwhals", "numpy", "pandas", "polars", "scipy")
_PARENT = "mlflow.parentRunId"
_PARAMS_A_CALL = 100
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
    """A figure, with the interval it was measured to if there is one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


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
    """A saved model to log: its folder, and the version that its content gives."""

    folder: Path
    version: str


LogItem = Metric | RunParams | Tag | Text | Artifact | Model


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
        items: What to log, in this order; files are only read.
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
            logged = [_log(client, run.info.run_id, item) for item in items]
        model_uri = next((uri for uri in logged if uri), None)
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


def _log(client: MlflowClient, run_id: str, item: LogItem) -> str | None:
    """Write one item; the URI of the logged model if it is one."""
    match item:
        case Metric():
            _log_metric(client, run_id, item)
        case RunParams(values):
            _log_params(client, run_id, values)
        case Tag(name, value):
            client.set_tag(run_id, _valid_name(name), value)
        case Text(name, content):
            client.log_text(run_id, content, name)
        case Artifact(path, folder):
            put = client.log_artifacts if path.is_dir() else client.log_artifact
            put(run_id, str(path), folder or None)
        case Model():
            return _log_model(client, run_id, item)
    return None


def _log_metric(client: MlflowClient, run_id: str, metric: Metric) -> None:
    figures = {"": metric.value, "_low": metric.low, "_high": metric.high}
    for suffix, value in figures.items():
        if value is not None:
            client.log_metric(run_id, _valid_name(metric.name) + suffix, value)


def _log_params(client: MlflowClient, run_id: str, values: Mapping[str, str | float | bool | None]) -> None:
    from mlflow.entities import Param  # noqa: PLC0415

    params = [Param(_valid_name(name), str(value)) for name, value in values.items()]
    for start in range(0, len(params), _PARAMS_A_CALL):
        client.log_batch(run_id, params=params[start : start + _PARAMS_A_CALL])


def _valid_name(name: str) -> str:
    """The name with every run of characters that MLflow refuses replaced by one underscore.

    >>> _valid_name("candidate/additive + trees (log-loss)")
    'candidate/additive _ trees _log-loss_'
    """
    return _REFUSED.sub("_", name)


def _learner_package(folder: Path) -> list[str]:
    """The requirement of a model that a plug-in's learner made: the package that can load it."""
    learner = folder / LEARNER
    if not learner.is_file():
        return []
    return [str(json.loads(learner.read_text(encoding="utf-8"))["package"]).replace(" ", "==", 1)]


def _log_model(client: MlflowClient, run_id: str, model: Model) -> str:
    """Log the folder as it is, with a loader instead of a pickle.

    The requirements are given because MLflow would otherwise spend ten seconds on guessing them.
    """
    import mlflow.pyfunc  # noqa: PLC0415

    client.set_tag(run_id, MODEL_VERSION, model.version)
    info = mlflow.pyfunc.log_model(
        name=MODEL,
        loader_module="training.pyfunc",
        data_path=str(model.folder.absolute()),
        pip_requirements=[*(f"{name}=={version(name)}" for name in _NEEDED), *_learner_package(model.folder)],
    )
    return str(info.model_uri)
