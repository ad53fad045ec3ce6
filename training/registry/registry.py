"""The model registry: versions of a model, the aliases champion and challenger, and rollback.

A promoted model is in two places. The MLflow registry knows every version and who was champion before; the
BentoML store holds a plain copy of the champion, so that the service starts without MLflow or its server. A
pointer beside the copies says which of them is in charge; a running service follows it. A challenger has
copies and a pointer of its own, for a service that lets it score along.

Of MLflow this module asks the model registry only; runs and their files are ``training.registry.tracking``'s.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from models import artifact
from models.active_model import active_folders, set_active
from training.registry.tracking import (
    MODEL_VERSION,
    Model,
    RunRef,
    Tag,
    Tracking,
    TrackingError,
    download_artifacts,
    log,
    logged_model_id,
    mlflow_client,
    run_by_id,
    run_by_model_version,
    tag_run,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from training.registry.tracking import LogItem

NAME = "leadloop"
Alias = Literal["champion", "challenger"]
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
REPLACED: Final = "replaced"


class RegistryError(ValueError):
    """There is no such model; the message says where it was looked for and what to do."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """The result of a promotion.

    Attributes:
        name: The registered model.
        version: Its number in the registry.
        model_version: The version that the content of its folder gives.
        run_id: The run that logged it.
        replaced: The version that was champion before, if another one was.
        bento_tag: The tag of its copy in the BentoML store.
    """

    name: str
    version: int
    model_version: str
    run_id: str
    replaced: int | None
    bento_tag: str


@dataclass(frozen=True, slots=True)
class _Copy:
    """A model in the BentoML store: its folder, model version and tag."""

    folder: Path
    model_version: str
    tag: str


@dataclass(frozen=True, slots=True)
class ChampionFolder:
    """Where the champion's folder is on this machine; ``notice`` says why it is not the registry's."""

    folder: Path
    origin: Literal["registry", "store"]
    notice: str = ""


def register(run_id: str, *, tracking: Tracking, name: str = NAME, alias: Alias = CHALLENGER) -> int:
    """Register a run's model under ``name`` with ``alias``; the number of its version."""
    with mlflow_client(tracking) as client:
        number = int(_version_of(client, run_id, name).version)
        client.set_registered_model_alias(name, alias, str(number))
        return number


def set_challenger(source: str | Path, *, tracking: Tracking, name: str = NAME) -> Promotion:
    """Make a run's model, or the model in a folder, the challenger that services score with in shadow."""
    with mlflow_client(tracking) as client:
        run_id = find_run(client, source) or _log_folder(Path(source), tracking, ()).run_id
        version = _version_of(client, run_id, name)
        copy = _store(download_folder(client, version), version, f"{name}-{CHALLENGER}")
        client.set_registered_model_alias(name, CHALLENGER, str(version.version))
        set_active(copy.folder)
        return Promotion(name, int(version.version), copy.model_version, run_id, None, copy.tag)


def set_champion(
    source: str | Path,
    *,
    tracking: Tracking,
    name: str = NAME,
    notes: Mapping[str, str] | None = None,
    beside: Iterable[LogItem] = (),
) -> Promotion:
    """Make a model the champion without asking the gate (``promotion.promote_model`` does).

    Args:
        source: A run id, or a model folder.
        tracking: The tracking store and registry.
        name: The registered model.
        notes: Tags of the run and of the version, set before the champion changes.
        beside: What is logged with the run that a folder from elsewhere gets.

    Returns:
        The promotion.

    Raises:
        RegistryError: There is no such run, or it logged no model.
        ArtifactError: The model folder is damaged.
        TrackingError: The store does not answer.

    The champion changes last, after the model was found whole, loadable and copied for the service, and the
    service's pointer after that: a promotion that fails leaves the old champion where it was.
    """
    with mlflow_client(tracking) as client:
        run_id = find_run(client, source) or _log_folder(Path(source), tracking, beside).run_id
        version = _version_of(client, run_id, name)
        return _put_in_charge(client, version, replaces=True, notes=notes or {})


def restore_champion(*, tracking: Tracking, name: str = NAME) -> Promotion:
    """Make the version that the champion replaced the champion. Raises RegistryError without one."""
    with mlflow_client(tracking) as client:
        champion = _with_alias(client, name, CHAMPION)
        if champion is None or REPLACED not in champion.tags:
            msg = f"{name}: no earlier champion in {tracking.uri}, so there is nothing to go back to"
            raise RegistryError(msg)
        return _put_in_charge(client, client.get_model_version(name, champion.tags[REPLACED]))


def champion_dir(*, tracking: Tracking, name: str = NAME) -> ChampionFolder:
    """The champion's model folder on this machine.

    Args:
        tracking: The tracking store and registry.
        name: The registered model.

    Returns:
        The folder of the registry or, while that does not answer, of the BentoML store.

    Raises:
        RegistryError: Neither has a champion.
    """
    try:
        return ChampionFolder(_champion_in_registry(tracking, name), "registry")
    except (TrackingError, RegistryError) as error:
        return _champion_in_store(name, str(error))


def find_run(client: MlflowClient, source: str | Path) -> str | None:
    """The run that logged the model: ``source`` itself, or the one whose model has the folder's version."""
    folder = Path(source)
    if not folder.is_dir():
        return _require_run(client, str(source))
    return run_by_model_version(client, artifact.load(folder).version)


def _require_run(client: MlflowClient, source: str) -> str:
    run_id = run_by_id(client, source)
    if run_id is None:
        msg = f"{source} is neither a folder nor a tracked run; name what `leadloop train` printed"
        raise RegistryError(msg)
    return run_id


def find_champion(client: MlflowClient, name: str = NAME) -> ModelVersion | None:
    """The version with the alias champion; None without one."""
    return _with_alias(client, name, CHAMPION)


def _log_folder(folder: Path, tracking: Tracking, beside: Iterable[LogItem]) -> RunRef:
    """A run for a folder that was trained elsewhere, so that it can be registered."""
    model = Model(folder, artifact.load(folder).version)
    return log([*beside, model], tracking=tracking, name=f"promoted {folder.name}")


def _version_of(client: MlflowClient, run_id: str, name: str) -> ModelVersion:
    """The registered version of a run's model, registered now if it was not."""
    known = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    if known:
        return known[0]
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    model_id = logged_model_id(client, run_id)
    if model_id is None:
        msg = f"run {run_id} logged no model; promote a run that `leadloop train` finished"
        raise RegistryError(msg)
    return client.create_model_version(name, f"models:/{model_id}", run_id, model_id=model_id)


def _put_in_charge(
    client: MlflowClient,
    version: ModelVersion,
    *,
    replaces: bool = False,
    notes: Mapping[str, str] = MappingProxyType({}),
) -> Promotion:
    name, number = version.name, str(version.version)
    before = _with_alias(client, name, CHAMPION)
    replaced = str(before.version) if before and str(before.version) != number else None
    copy = _store(download_folder(client, version), version, name)
    for note, value in notes.items():
        tag_run(client, str(version.run_id), Tag(note, value))
        client.set_model_version_tag(name, number, note, value)
    if replaced and replaces:
        client.set_model_version_tag(name, number, REPLACED, replaced)
    client.set_registered_model_alias(name, CHAMPION, number)
    set_active(copy.folder)
    earlier = int(replaced) if replaced else None
    return Promotion(name, int(number), copy.model_version, str(version.run_id), earlier, copy.tag)


def _store(folder: Path, version: ModelVersion, name: str) -> _Copy:
    """Copy the model into the BentoML store.

    The copy is loaded before the store takes it in, so the service never finds one that it cannot load.
    """
    models = _bentoml_models()
    model_version = artifact.load(folder).version
    labels = {MODEL_VERSION: model_version, "version": str(version.version), "run_id": str(version.run_id)}
    with models.create(name, labels=labels) as stored:
        shutil.copytree(folder, stored.path, dirs_exist_ok=True)
        artifact.load(Path(stored.path))
    return _Copy(Path(models.get(stored.tag).path), model_version, str(stored.tag))


def _champion_in_registry(tracking: Tracking, name: str) -> Path:
    # Asking an embedded store that was never written would create it, and take ten seconds.
    if not tracking.exists:
        msg = f"{tracking.uri} does not exist"
        raise RegistryError(msg)
    with mlflow_client(tracking) as client:
        champion = _with_alias(client, name, CHAMPION)
        if champion is None:
            msg = f"{tracking.uri} has no {CHAMPION} of {name}"
            raise RegistryError(msg)
        return download_folder(client, champion)


def download_folder(client: MlflowClient, version: ModelVersion) -> Path:
    """The version's plain model folder on this machine, fetched from the server if it is there."""
    uri = client.get_model_version_download_uri(version.name, str(version.version))
    try:
        return next(download_artifacts(uri).glob(f"data/*/{artifact.SUMS}")).parent
    except (OSError, StopIteration) as error:
        msg = f"{uri}: the files of {version.name} version {version.version} are gone; was the folder moved?"
        raise RegistryError(msg) from error


def _with_alias(client: MlflowClient, name: str, alias: Alias) -> ModelVersion | None:
    models = client.search_registered_models(f"name = '{name}'")
    number = models[0].aliases.get(alias) if models else None
    return client.get_model_version(name, str(number)) if number else None


def _champion_in_store(name: str, why: str) -> ChampionFolder:
    models = _bentoml_models()
    from bentoml.exceptions import NotFound  # noqa: PLC0415

    try:
        stored = models.get(f"{name}:latest")
    except NotFound:
        msg = f"no champion of {name}: {why}, and the BentoML store has none; run `leadloop promote` first"
        raise RegistryError(msg) from None
    # Where BentoML's clock was set back, its latest is not ours.
    folder, *_ = active_folders(Path(stored.path).parent) or (Path(stored.path),)
    return ChampionFolder(folder, "store", f"{why}; using {name}:{folder.name} of the BentoML store")


def _bentoml_models() -> ModuleType:
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    try:
        import bentoml.models  # noqa: PLC0415
    except ModuleNotFoundError as error:
        msg = "the BentoML model store is not installed; install leadloop with the extra `serve`"
        raise RegistryError(msg) from error
    return bentoml.models
