"""What models there are: the project's versions in the registry, and all entries of the model store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from models.active_model import PointerError, active_folders
from models.artifact import ArtifactError, read_card
from models.project import LEGACY_NAME, Project, store_entries
from training.registry.registry import CHAMPION, find_alias, registered_name
from training.registry.tracking import MODEL_VERSION, TrackingError, mlflow_client, run_tags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow import MlflowClient

    from models.project import StoreEntry
    from training.registry.tracking import Tracking


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of the project's model in the registry.

    Attributes:
        version: Its number.
        aliases: Such as "champion".
        model_version: The version that the content of its folder gives.
        run_id: The run that logged it.
        label: The outcome that it predicts, in words.
        created_at: When it was registered, ISO 8601.
    """

    version: int
    aliases: tuple[str, ...]
    model_version: str
    run_id: str
    label: str
    created_at: str

    def in_words(self) -> str:
        """A line for a terminal."""
        aliases = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return (
            f"  version {self.version}{aliases}: model {self.model_version}, {self.label}, "
            f"registered {self.created_at[:16]}"
        )


@dataclass(frozen=True, slots=True)
class StoredModels:
    """The models of one entry of the model store, as far as a service would use them.

    Attributes:
        name: The name of the entry.
        project: The project; None where the entry is of an earlier release.
        challenger: Whether these are challengers.
        own: Whether it is this project's.
        copies: How many models lie there.
        folder: The folder of the model that a service answers with; "" where none is named.
        model_version: The version of that model; "" where it cannot be read.
        label: What it predicts.
        created_at: When it was trained, ISO 8601.
        problem: Why a service could not use it; "" where nothing is known against it.
    """

    name: str
    project: str | None
    challenger: bool
    own: bool
    copies: int
    folder: str = ""
    model_version: str = ""
    label: str = ""
    created_at: str = ""
    problem: str = ""

    def in_words(self) -> str:
        """A line for a terminal."""
        whose = "of an earlier release" if self.project is None else f"project {self.project}"
        kind = "challenger" if self.challenger else "champion"
        what = self.problem or f"model {self.model_version}, {self.label}, trained {self.created_at[:16]}"
        mine = ", this project" if self.own else ""
        return f"  {self.name} ({whose}{mine}): {kind} is {what} (copies: {self.copies:,})"


@dataclass(frozen=True, slots=True)
class ModelsOverview:
    """What models there are.

    Attributes:
        project: This folder's project, and where its name comes from.
        registry: The address of the registry.
        versions: The project's versions in the registry.
        store: The folder of the model store.
        stored: Its entries, of all projects.
        notes: What stands in the way, or could be done.
    """

    project: Project
    registry: str
    versions: tuple[RegisteredVersion, ...]
    store: str
    stored: tuple[StoredModels, ...]
    notes: tuple[str, ...] = ()

    def in_words(self) -> Iterator[str]:
        """Lines for a terminal."""
        yield f"project: {self.project.name or 'none'} ({self.project.origin})"
        yield f"registered in {self.registry}, versions of this project: {len(self.versions):,}"
        yield from (version.in_words() for version in self.versions)
        yield f"copied for services in {self.store}, entries of all projects: {len(self.stored):,}"
        yield from (entry.in_words() for entry in self.stored)
        yield from self.notes

    def to_dict(self) -> dict[str, Any]:
        """The overview as ``models --json`` writes it."""
        return asdict(self)


def list_models(project: Project, *, tracking: Tracking, store: Path) -> ModelsOverview:
    """What models there are in the registry of ``tracking`` and in the folder of a model ``store``.

    A registry that does not answer, or an entry that cannot be read, is a note and no error.
    """
    notes: list[str] = []
    versions: tuple[RegisteredVersion, ...] = ()
    try:
        if tracking.exists:
            with mlflow_client(tracking) as client:
                versions = tuple(_versions(client, tracking)) if project.name else ()
                notes.extend(_legacy_notes(client, versions))
    except TrackingError as error:
        notes.append(str(error))
    entries = tuple(_stored(entry, project.name) for entry in store_entries(store))
    return ModelsOverview(project, tracking.address, versions, str(store), entries, tuple(notes))


def _versions(client: MlflowClient, tracking: Tracking) -> Iterator[RegisteredVersion]:
    name = registered_name(tracking)
    models = client.search_registered_models(f"name = '{name}'")
    aliases = models[0].aliases if models else {}
    registered = client.search_model_versions(f"name = '{name}'")
    for version in sorted(registered, key=lambda each: int(each.version)):
        number, tags = int(version.version), run_tags(client, str(version.run_id))
        yield RegisteredVersion(
            number,
            tuple(sorted(alias for alias, to in aliases.items() if int(to) == number)),
            tags.get(MODEL_VERSION, "unknown"),
            str(version.run_id),
            tags.get("leadloop.question", "label unknown"),
            datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        )


def _legacy_notes(client: MlflowClient, versions: tuple[RegisteredVersion, ...]) -> Iterator[str]:
    has_champion = any(CHAMPION in version.aliases for version in versions)
    if not has_champion and (legacy := find_alias(client, LEGACY_NAME, CHAMPION)):
        yield (
            f"the registry has a champion of an earlier release, version {legacy.version} of {LEGACY_NAME}: "
            "`leadloop models adopt` makes it this project's"
        )


def _stored(entry: StoreEntry, project: str) -> StoredModels:
    copies = sum(path.is_dir() for path in entry.folder.iterdir())
    known = (entry.folder.name, entry.project, entry.challenger, entry.project == project, copies)
    try:
        folder = next(iter(active_folders(entry.folder)), None)
        if folder is None:
            return StoredModels(*known, problem="none: nothing names one")
        version, card = read_card(folder)
    except (PointerError, ArtifactError, OSError) as error:
        return StoredModels(*known, problem=f"unusable: {error}")
    return StoredModels(*known, folder.name, version, card.label, card.created_at)
