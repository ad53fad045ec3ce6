"""The model registry: versions of a model, the aliases champion and challenger, and rollback.

A promoted model is in two places. The MLflow registry knows every version and who was champion before; the
BentoML store holds a plain copy of the champion, so that the service starts without MLflow or its server. A
pointer beside the copies says which of them is in charge; a running service follows it. A challenger has
copies and a pointer of its own, for a service that lets it score along.

Everything is named after the project: one project neither reads nor changes the models of another.

Of MLflow this module asks the model registry only; runs and their files are ``training.registry.tracking``'s.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from models import artifact
from models.active_model import active_folders, set_active
from models.project import LEGACY_NAME, belongs_to, mark_promoted_for, store_name
from models.trial import require_trial
from training.registry.tracking import (
    DESCRIPTION,
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
    run_tags,
    tag_run,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from training.registry.tracking import LogItem

Alias = Literal["champion", "challenger"]
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
REPLACED: Final = "replaced"
PROJECT_TAG: Final = "leadloop.project"
ROLE_TAG: Final = "leadloop.role"
_REGISTERED = (
    "Scores leads by how likely they convert. The alias champion answers; challenger only scores along."
)
# The tag by which MLflow's page of a logged model names its registered versions, as JSON.
_VERSIONS = "mlflow.modelVersions"
_NO_NOTES: Mapping[str, str] = MappingProxyType({})


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


def registered_name(tracking: Tracking) -> str:
    """The name of the project's registered model. Raises RegistryError where there is no project."""
    if not tracking.project:
        msg = "nothing names a project here yet; run `leadloop train`, or name one with --project"
        raise RegistryError(msg)
    return store_name(tracking.project)


def register(run_id: str, *, tracking: Tracking, alias: Alias = CHALLENGER) -> int:
    """Register a run's model for the project with ``alias``; the number of its version."""
    name = registered_name(tracking)
    with mlflow_client(tracking) as client:
        number = int(register_run(client, run_id, name).version)
        client.set_registered_model_alias(name, alias, str(number))
        return number


def set_challenger(source: str | Path, *, tracking: Tracking, force: str | None = None) -> Promotion:
    """Make a run's model, or the model in a folder, the challenger that services score with in shadow.

    Raises RegistryError where it is another project's and ``force`` gives no reason; TrialError where it
    fails its trial.
    """
    name = registered_name(tracking)
    with mlflow_client(tracking) as client:
        if (foreign := foreign_project(client, source, tracking)) and not force:
            raise RegistryError(foreign)
        run_id = find_run(client, source) or _log_folder(Path(source), tracking, ()).run_id
        return shadow(client, register_run(client, run_id, name), tracking.project)


def foreign_project(client: MlflowClient, source: str | Path, tracking: Tracking) -> str:
    """Try the model of a run or folder; a sentence where it is of another project, else "".

    Raises:
        TrialError: It cannot be loaded, or does not score as it should.
        RegistryError: There is no such run, or it logged no model.
    """
    folder = Path(source) if Path(source).is_dir() else _run_folder(client, _require_run(client, str(source)))
    require_trial(folder)
    owner = belongs_to(folder, artifact.read_card(folder)[1].project)
    if owner in {"", tracking.project}:
        return ""
    return (
        f"{source} is a model of the project {owner}, and this is the project {tracking.project}: promote it "
        f"in the folder of {owner}, or with --project {owner}"
    )


def _run_folder(client: MlflowClient, run_id: str) -> Path:
    """The plain model folder of a run, fetched to this machine if it is on a server."""
    uri = f"models:/{_require_model(client, run_id)}"
    try:
        return next(download_artifacts(uri).glob(f"data/*/{artifact.SUMS}")).parent
    except (OSError, StopIteration) as error:
        msg = f"{uri}: the files of the model of run {run_id} are gone; was the folder moved?"
        raise RegistryError(msg) from error


def _require_model(client: MlflowClient, run_id: str) -> str:
    model_id = logged_model_id(client, run_id)
    if model_id is None:
        msg = f"run {run_id} logged no model; promote a run that `leadloop train` finished"
        raise RegistryError(msg)
    return model_id


def set_champion(
    source: str | Path,
    *,
    tracking: Tracking,
    notes: Mapping[str, str] | None = None,
    remark: str = "",
    beside: Iterable[LogItem] = (),
) -> Promotion:
    """Make a model the champion without asking the gate (``promotion.promote_model`` does).

    Args:
        source: A run id, or a model folder.
        tracking: The tracking store and registry.
        notes: Tags of the run and of the version, set before the champion changes.
        remark: A sentence for the version's description, after the day of the promotion. Default: none.
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
    name = registered_name(tracking)
    with mlflow_client(tracking) as client:
        run_id = find_run(client, source) or _log_folder(Path(source), tracking, beside).run_id
        version = register_run(client, run_id, name)
        return put_in_charge(
            client, version, tracking.project, replaces=True, notes=notes or {}, remark=remark
        )


def restore_champion(*, tracking: Tracking) -> Promotion:
    """Make the version that the champion replaced the champion. Raises RegistryError without one."""
    name = registered_name(tracking)
    with mlflow_client(tracking) as client:
        champion = find_alias(client, name, CHAMPION)
        if champion is None or REPLACED not in champion.tags:
            msg = f"{name}: no earlier champion in {tracking.address}, so there is nothing to go back to"
            raise RegistryError(msg)
        version = client.get_model_version(name, champion.tags[REPLACED])
        return put_in_charge(client, version, tracking.project)


def champion_dir(*, tracking: Tracking) -> ChampionFolder:
    """The champion's model folder on this machine.

    Args:
        tracking: The tracking store and registry of a project.

    Returns:
        The folder of the registry or, while that does not answer, of the BentoML store; never that of another
        project.

    Raises:
        RegistryError: Neither has a champion of this project.
    """
    try:
        return ChampionFolder(_champion_in_registry(tracking), "registry")
    except (TrackingError, RegistryError) as error:
        return _champion_in_store(tracking, str(error))


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


def find_champion(client: MlflowClient, tracking: Tracking) -> ModelVersion | None:
    """The project's version with the alias champion; None without one."""
    return find_alias(client, registered_name(tracking), CHAMPION)


def _log_folder(folder: Path, tracking: Tracking, beside: Iterable[LogItem]) -> RunRef:
    """A run for a folder that was trained elsewhere, so that it can be registered."""
    model = Model(folder, artifact.load(folder).version)
    return log([*beside, model], tracking=tracking, name=f"promoted {folder.name}")


def register_run(client: MlflowClient, run_id: str, name: str) -> ModelVersion:
    """The registered version of a run's model, registered now if it was not."""
    known = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    if known:
        return known[0]
    model_id = _require_model(client, run_id)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, {PROJECT_TAG: name.partition(".")[2]}, description=_REGISTERED)
    description = run_tags(client, run_id).get(DESCRIPTION)
    version = client.create_model_version(
        name, f"models:/{model_id}", run_id, model_id=model_id, description=description
    )
    _link_version(client, model_id, version)
    return version


def _link_version(client: MlflowClient, model_id: str, version: ModelVersion) -> None:
    """Name the version on the page of the logged model: a server does, an embedded store does not."""
    number = int(version.version)
    links = json.loads(client.get_logged_model(model_id).tags.get(_VERSIONS, "[]"))
    if (version.name, number) not in {(link["name"], int(link["version"])) for link in links}:
        link = {"name": version.name, "version": number}
        client.set_logged_model_tags(model_id, {_VERSIONS: json.dumps([*links, link])})


def _describe_champion(
    client: MlflowClient, version: ModelVersion, before: ModelVersion | None, remark: str
) -> None:
    """Write on MLflow's pages who is champion; the promotion stands, whatever becomes of these words."""
    from mlflow import MlflowException  # noqa: PLC0415 - it is here already, and takes seconds elsewhere

    place = CHAMPION if before is None else f"{CHAMPION}, in place of version {before.version}"
    with suppress(MlflowException):
        _set_role(client, version, CHAMPION)
        if before is not None:
            _set_role(client, before, f"former {CHAMPION}")
        _add_remark(client, version, ". ".join(filter(None, [place, remark])))


def _set_role(client: MlflowClient, version: ModelVersion, role: str) -> None:
    """Tag run, logged model and version with what the version is now, for MLflow's lists."""
    run_id = str(version.run_id)
    tag_run(client, run_id, Tag(ROLE_TAG, role))
    client.set_model_version_tag(version.name, str(version.version), ROLE_TAG, role)
    if (model_id := logged_model_id(client, run_id)) is not None:
        client.set_logged_model_tags(model_id, {ROLE_TAG: role})


def _add_remark(client: MlflowClient, version: ModelVersion, sentence: str) -> None:
    """Append a dated sentence to the version's description."""
    line = f"{datetime.now(UTC):%Y-%m-%d}: {sentence}"
    text = "\n\n".join(filter(None, [version.description, line]))
    client.update_model_version(version.name, str(version.version), text)


def shadow(client: MlflowClient, version: ModelVersion, project: str) -> Promotion:
    """Make a version of the project's model its challenger, for the service as well."""
    name, number = version.name, str(version.version)
    copy = _store(download_folder(client, version), version, project, challenger=True)
    client.set_registered_model_alias(name, CHALLENGER, number)
    set_active(copy.folder)
    champion = find_alias(client, name, CHAMPION)
    if champion is None or str(champion.version) != number:
        _set_role(client, version, CHALLENGER)
    return Promotion(name, int(number), copy.model_version, str(version.run_id), None, copy.tag)


def put_in_charge(  # noqa: PLR0913
    client: MlflowClient,
    version: ModelVersion,
    project: str,
    *,
    replaces: bool = False,
    notes: Mapping[str, str] = _NO_NOTES,
    remark: str = "",
) -> Promotion:
    """Make a version of the project's model its champion, the registry's first and then the service's."""
    name, number = version.name, str(version.version)
    before = find_alias(client, name, CHAMPION)
    replaced = str(before.version) if before and str(before.version) != number else None
    copy = _store(download_folder(client, version), version, project)
    for note, value in notes.items():
        tag_run(client, str(version.run_id), Tag(note, value))
        client.set_model_version_tag(name, number, note, value)
    if replaced and replaces:
        client.set_model_version_tag(name, number, REPLACED, replaced)
    client.set_registered_model_alias(name, CHAMPION, number)
    set_active(copy.folder)
    _describe_champion(client, version, before if replaced else None, remark)
    earlier = int(replaced) if replaced else None
    return Promotion(name, int(number), copy.model_version, str(version.run_id), earlier, copy.tag)


def _store(folder: Path, version: ModelVersion, project: str, *, challenger: bool = False) -> _Copy:
    """Copy the model into the project's entry of the BentoML store.

    The copy is tried before the store takes it in, so the service never finds one that it cannot use.
    """
    name = store_name(project, challenger=challenger)
    models = _bentoml_models()
    model_version = artifact.load(folder).version
    labels = {MODEL_VERSION: model_version, "version": str(version.version), "run_id": str(version.run_id)}
    with models.create(name, labels=labels) as stored:
        shutil.copytree(folder, stored.path, dirs_exist_ok=True)
        mark_promoted_for(Path(stored.path), project)
        require_trial(Path(stored.path))
    return _Copy(Path(models.get(stored.tag).path), model_version, str(stored.tag))


def _champion_in_registry(tracking: Tracking) -> Path:
    name = registered_name(tracking)
    # Asking an embedded store that was never written would create it, and take ten seconds.
    if not tracking.exists:
        msg = f"{tracking.address} does not exist"
        raise RegistryError(msg)
    with mlflow_client(tracking) as client:
        champion = find_alias(client, name, CHAMPION)
        if champion is None:
            raise RegistryError(_no_champion(client, tracking))
        return download_folder(client, champion)


def _no_champion(client: MlflowClient, tracking: Tracking) -> str:
    """That the registry has no champion of the project, and whether it has one of an earlier release."""
    absent = f"{tracking.address} has no {CHAMPION} of it"
    legacy = find_alias(client, LEGACY_NAME, CHAMPION)
    if legacy is None:
        return absent
    return (
        f"{absent}; it has one of an earlier release, version {legacy.version} of {LEGACY_NAME}, which "
        "`leadloop models adopt` makes this project's"
    )


def download_folder(client: MlflowClient, version: ModelVersion) -> Path:
    """The version's plain model folder on this machine, fetched from the server if it is there."""
    uri = client.get_model_version_download_uri(version.name, str(version.version))
    try:
        return next(download_artifacts(uri).glob(f"data/*/{artifact.SUMS}")).parent
    except (OSError, StopIteration) as error:
        msg = f"{uri}: the files of {version.name} version {version.version} are gone; was the folder moved?"
        raise RegistryError(msg) from error


def find_alias(client: MlflowClient, name: str, alias: Alias) -> ModelVersion | None:
    """The version of a registered model with an alias; None without one."""
    models = client.search_registered_models(f"name = '{name}'")
    number = models[0].aliases.get(alias) if models else None
    return client.get_model_version(name, str(number)) if number else None


def _champion_in_store(tracking: Tracking, why: str) -> ChampionFolder:
    folder = champion_copy(tracking.project)
    if folder is None:
        whose = f"the project {tracking.project}" if tracking.project else "this folder"
        msg = (
            f"there is no champion of {whose} ({why}). `leadloop promote` makes one; `--model FOLDER` takes "
            "a model without; `leadloop models` lists what there is, of other projects too"
        )
        raise RegistryError(msg)
    name = f"{store_name(tracking.project)}:{folder.name}"
    return ChampionFolder(folder, "store", f"{why}; using {name} of the BentoML store")


def champion_copy(project: str) -> Path | None:
    """The folder of the project's champion in the BentoML store; None without one."""
    models = _bentoml_models()
    from bentoml.exceptions import NotFound  # noqa: PLC0415

    if not project:
        return None
    try:
        stored = models.get(f"{store_name(project)}:latest")
    except NotFound:
        return None
    # Where BentoML's clock was set back, its latest is not ours.
    return next(iter(active_folders(Path(stored.path).parent)), Path(stored.path))


def _bentoml_models() -> ModuleType:
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    try:
        import bentoml.models  # noqa: PLC0415
    except ModuleNotFoundError as error:
        msg = "the BentoML model store is not installed; install leadloop with the extra `serve`"
        raise RegistryError(msg) from error
    return bentoml.models
