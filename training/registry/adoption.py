"""Takes the models of an earlier release, or of another project, over into a project of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.project import LEGACY_NAME, check_project_name, store_name
from training.registry.registry import (
    CHALLENGER,
    CHAMPION,
    REPLACED,
    Alias,
    RegistryError,
    find_alias,
    put_in_charge,
    register_run,
    registered_name,
    shadow,
)
from training.registry.tracking import mlflow_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlflow import MlflowClient

    from training.registry.tracking import Tracking


@dataclass(frozen=True, slots=True)
class Adoption:
    """What was taken over.

    Attributes:
        source: The registered model whose versions these were.
        name: The registered model of the project.
        versions: The number of each version in the project, by its number before.
        aliases: The number in the project of the champion and the challenger, as far as they were taken over.
        notes: What was left as it was, and why.
    """

    source: str
    name: str
    versions: Mapping[int, int]
    aliases: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def in_words(self) -> Iterator[str]:
        """Lines for a terminal."""
        for before, number in self.versions.items():
            yield f"version {before} of {self.source} is version {number} of {self.name}"
        for alias, number in self.aliases.items():
            yield f"{alias} is version {number}, copied for the service"
        yield from self.notes
        yield f"{self.source} stays as it is"

    def to_dict(self) -> dict[str, Any]:
        """The adoption as ``models adopt --json`` writes it."""
        return {
            "source": self.source,
            "name": self.name,
            "versions": {str(before): number for before, number in self.versions.items()},
            "aliases": dict(self.aliases),
            "notes": list(self.notes),
        }


def adopt_models(source: str, *, tracking: Tracking) -> Adoption:
    """Make the versions and aliases of another registered model the project's; twice is no harm.

    Args:
        source: "leadloop", the name that releases before projects gave to all models, or another project.
        tracking: The tracking store and registry of the project.

    Returns:
        What was taken over. Runs keep their ids, and the other registered model stays as it is.

    Raises:
        RegistryError: There is no such registered model.
        TrialError: The champion or challenger cannot be used; nothing of it was put in charge.
    """
    name = registered_name(tracking)
    before = source if source == LEGACY_NAME else store_name(check_project_name(source))
    if before == name:
        msg = f"{source} is this project; name the other project with --from"
        raise RegistryError(msg)
    with mlflow_client(tracking) as client:
        versions = client.search_model_versions(f"name = '{before}'") if tracking.exists else []
        if not versions:
            msg = f"{tracking.address} has no models of {before}; `leadloop models` lists what there is"
            raise RegistryError(msg)
        notes: list[str] = []
        numbers: dict[int, int] = {}
        for version in sorted(versions, key=lambda each: int(each.version)):
            try:
                numbers[int(version.version)] = int(register_run(client, str(version.run_id), name).version)
            except RegistryError as error:
                notes.append(f"version {version.version} was left out: {error}")
                continue
            _copy_tags(client, name, version.tags, numbers, int(version.version))
        aliases: dict[str, int] = {}
        for alias in (CHAMPION, CHALLENGER):
            aliases |= _adopt_alias(client, tracking, before, alias, numbers, notes)
    return Adoption(before, name, numbers, aliases, tuple(notes))


def _copy_tags(
    client: MlflowClient, name: str, tags: Mapping[str, str], numbers: Mapping[int, int], before: int
) -> None:
    for tag, value in tags.items():
        if tag != REPLACED:
            client.set_model_version_tag(name, str(numbers[before]), tag, value)
        elif int(value) in numbers:
            client.set_model_version_tag(name, str(numbers[before]), tag, str(numbers[int(value)]))


def _adopt_alias(  # noqa: PLR0913, PLR0917
    client: MlflowClient,
    tracking: Tracking,
    source: str,
    alias: Alias,
    numbers: Mapping[int, int],
    notes: list[str],
) -> dict[str, int]:
    """The number of the version that has the alias now, if it was taken over."""
    name = registered_name(tracking)
    old, current = find_alias(client, source, alias), find_alias(client, name, alias)
    if old is None or int(old.version) not in numbers:
        return {}
    number = numbers[int(old.version)]
    if current is not None:
        if int(current.version) != number:
            notes.append(f"the project has another {alias} already, version {current.version}, which stays")
        return {}
    version = client.get_model_version(name, str(number))
    (put_in_charge if alias == CHAMPION else shadow)(client, version, tracking.project)
    return {alias: number}
