"""Which model is in charge: versions under a name, the aliases champion and challenger, and the way back.

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
    """What a promotion did: ``replaced`` is the version that was champion before, if another one was."""

    name: str
    version: int
    model_version: str
    run_id: str
    replaced: int | None
    bento_tag: str


@dataclass(frozen=True, slots=True)
class _Copy:
    """A model in the BentoML store: where, its own version, and its tag there."""

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
    """Make the run's model a version called ``name`` with ``alias``; the number it has or gets."""
    with mlflow_client(tracking) as client:
        number = int(_version_of(client, run_id, name).version)
        client.set_registered_model_alias(name, alias, str(number))
        return number


def set_challenger(source: str | Path, *, tracking: Tracking, name: str = NAME) -> Promotion:
    """Let a run's model, or the model in a folder, score along where a service was told to listen to it."""
    with mlflow_client(tracking) as client:
        run_id = find_run(client, source) or _adopted(Path(source), tracking, ()).run_id
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
    """Put a run's model, or the model in a folder, in charge; ``promotion`` asks the gate first.

    ``notes`` are kept as tags of the run and of the version, before the champion changes; ``beside`` goes
    into the run that a folder from elsewhere gets.

    The champion changes last, after the model was found whole, loadable and copied for the service, and the
    service's pointer after that: a promotion that fails leaves the old champion where it was.
    """
    with mlflow_client(tracking) as client:
        run_id = find_run(client, source) or _adopted(Path(source), tracking, beside).run_id
        version = _version_of(client, run_id, name)
        return _put_in_charge(client, version, replaces=True, notes=notes or {})


def restore_champion(*, tracking: Tracking, name: str = NAME) -> Promotion:
    """Put the version in charge that the champion replaced; the one before it is next."""
    with mlflow_client(tracking) as client:
        champion = _with_alias(client, name, CHAMPION)
        if champion is None or REPLACED not in champion.tags:
            msg = f"{name}: no earlier champion in {tracking.uri}, so there is nothing to go back to"
            raise RegistryError(msg)
        return _put_in_charge(client, client.get_model_version(name, champion.tags[REPLACED]))


def champion_dir(*, tracking: Tracking, name: str = NAME) -> ChampionFolder:
    """The champion's folder: the registry's, or while that cannot answer, the copy made for the service.

    Raises RegistryError when neither has one.
    """
    try:
        return ChampionFolder(_registered(tracking, name), "registry")
    except (TrackingError, RegistryError) as error:
        return _stored(name, str(error))


def find_run(client: MlflowClient, source: str | Path) -> str | None:
    """The run that logged the model: ``source`` itself, or the one whose model has the folder's version."""
    folder = Path(source)
    if not folder.is_dir():
        return _known(client, str(source))
    return run_by_model_version(client, artifact.load(folder).version)


def _known(client: MlflowClient, source: str) -> str:
    run_id = run_by_id(client, source)
    if run_id is None:
        msg = f"{source} is neither a folder nor a tracked run; name what `leadloop train` printed"
        raise RegistryError(msg)
    return run_id


def find_champion(client: MlflowClient, name: str = NAME) -> ModelVersion | None:
    """The version in charge, if there is one."""
    return _with_alias(client, name, CHAMPION)


def _adopted(folder: Path, tracking: Tracking, beside: Iterable[LogItem]) -> RunRef:
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
    found = artifact.load(folder).version
    labels = {MODEL_VERSION: found, "version": str(version.version), "run_id": str(version.run_id)}
    with models.create(name, labels=labels) as stored:
        shutil.copytree(folder, stored.path, dirs_exist_ok=True)
        artifact.load(Path(stored.path))
    return _Copy(Path(models.get(stored.tag).path), found, str(stored.tag))


def _registered(tracking: Tracking, name: str) -> Path:
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


def _stored(name: str, why: str) -> ChampionFolder:
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
