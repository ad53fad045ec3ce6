"""A project: one company's question, with models, keys and a decision log that no other project reads.

Its name is configuration. Where none is given it is drawn once and kept in ``project.json`` beside what the
project writes, so that two folders of one user are two projects; folders that share a server of MLflow share
its project.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PROJECT_FILE, PROJECT_VARIABLE = "project.json", "LEADLOOP_PROJECT"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_STORE_PREFIX, _CHALLENGER = "leadloop", "challenger"
# Under these names earlier releases kept the models of all projects of a user.
LEGACY_NAME = "leadloop"
_LEGACY_CHALLENGER = "leadloop-challenger"
_DEMO = "demo-"
_EMBEDDED = ("", "sqlite", "file")


class ProjectError(ValueError):
    """A project's name or file cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project's name, and in words where it comes from.

    Attributes:
        name: The name; empty where nothing has named a project yet.
        origin: Such as "the key project of leadloop.toml".
    """

    name: str
    origin: str


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """The models of one project in the model store, where promotions copy them to.

    Attributes:
        folder: The folder of the entry, which holds a model folder for each promotion.
        project: The project; None where it is of an earlier release, which knew none.
        challenger: Whether these are challengers.
    """

    folder: Path
    project: str | None
    challenger: bool = False


def check_project_name(name: str) -> str:
    """Return the name of a project if it can stand in a model store, a database and a log line.

    Args:
        name: 1 to 40 lower-case letters, digits and hyphens; a hyphen neither first nor last.

    Returns:
        The name as it is.

    Raises:
        ProjectError: It has other characters, or too many.

    >>> check_project_name("acme-leads")
    'acme-leads'
    """
    if not _NAME.fullmatch(name):
        msg = (
            f"{name[:60]!r} cannot name a project; take 1 to 40 lower-case letters, digits and hyphens, with "
            "a letter or a digit first and last"
        )
        raise ProjectError(msg)
    return name


def read_project(folder: Path) -> str | None:
    """The name of the project that writes into ``folder``; None where none was drawn or set there.

    Raises:
        ProjectError: The file is there and holds no name.
    """
    record = _read(folder)
    return None if record is None else check_project_name(record["project"])


def _read(folder: Path) -> dict[str, str] | None:
    file = folder / PROJECT_FILE
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        check_project_name(record["project"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f'{file}: it holds no name of a project ({error}); it should be {{"project": "NAME"}}'
        raise ProjectError(msg) from error
    return dict(record)


def project_of(folder: Path) -> str:
    """The name of the project that writes into ``folder``, drawn now where there is none yet.

    Args:
        folder: The folder of what the project writes, such as ``leadloop-out``.

    Returns:
        The name in ``project.json``, or a new one from the name of the folder around it and six hex digits.

    Raises:
        ProjectError: The file is there and holds no name.
        OSError: The file cannot be written.
    """
    return read_project(folder) or _keep(folder, f"{_slug(folder.absolute().parent.name)}-{_digits()}")


def resolve_project(
    folder: Path, *, chosen: str = "", configured: str = "", registry: str = "", draw: bool = True
) -> Project:
    """The project of a command: chosen, configured, kept in ``folder``, or that of a shared registry.

    Args:
        folder: The folder of what the project writes, such as ``leadloop-out``.
        chosen: The name of an option or environment variable, if any.
        configured: The name in the configuration, if any.
        registry: The URI of the tracking store, if any.
        draw: Whether a new project gets its name now, and a name that was given is kept in ``folder``.

    Returns:
        The project, whose name is empty only without ``draw``.

    Raises:
        ProjectError: A name cannot be one.
        OSError: The name cannot be kept.
    """
    origin = f"--project or {PROJECT_VARIABLE}" if chosen else "the key project of leadloop.toml"
    record = _read(folder)
    if name := chosen or configured:
        check_project_name(name)
        if draw and record is None:
            _keep(folder, name, drawn=False)
        return Project(name, origin)
    kept_in = str(folder / PROJECT_FILE)
    if _is_shared(registry) and (record is None or record.get("drawn")):
        return Project(_shared_project(registry), "the address of the tracking server")
    if record is not None:
        return Project(record["project"], kept_in)
    return Project(project_of(folder), kept_in) if draw else Project("", "nothing names a project here yet")


def demo_project(folder: Path) -> str:
    """The demo's project in ``folder``: never one that somebody trains real models in.

    Where nothing names a project there yet, the demo's is kept, so that other commands find its champion.
    """
    name = read_project(folder) or _keep(folder, f"{_DEMO}{_digits()}")
    return name if name.startswith(_DEMO) else f"{_DEMO}{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _is_shared(registry: str) -> bool:
    scheme = registry.partition(":")[0] if "://" in registry else ""
    return scheme.partition("+")[0] not in _EMBEDDED


def _shared_project(registry: str) -> str:
    """A name for all who use the registry, without the user and password of one of them.

    >>> _shared_project("https://ada:secret@mlflow.example.org/") == _shared_project("https://mlflow.example.org")
    True
    """
    parts = urlsplit(registry)
    address = f"{(parts.netloc.rpartition('@')[2]).lower()}{parts.path.rstrip('/')}"
    return f"{_slug(parts.hostname or 'server')}-{hashlib.sha256(address.encode()).hexdigest()[:6]}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:30].strip("-") or "project"


def _digits() -> str:
    return secrets.token_hex(3)


def _keep(folder: Path, name: str, *, drawn: bool = True) -> str:
    """Keep a name in ``folder``; the name that is kept there, which is another where somebody was faster."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=folder, prefix=f".{PROJECT_FILE}-", encoding="utf-8"
    ) as scratch:
        scratch.write(json.dumps({"project": name} | ({"drawn": True} if drawn else {})) + "\n")
        scratch.flush()
        # It names nothing secret, and who may read the folder may know whose it is.
        os.fchmod(scratch.fileno(), 0o644)
        try:
            # Of two processes that draw at once the first one decides: a link is never written over.
            os.link(scratch.name, folder / PROJECT_FILE)
        except FileExistsError:
            return read_project(folder) or name
    return name


def mark_promoted_for(folder: Path, project: str) -> None:
    """Write down beside a copy of a model which project it was promoted for; no checksum is about that."""
    (folder / PROJECT_FILE).write_text(json.dumps({"project": check_project_name(project)}), encoding="utf-8")


def belongs_to(folder: Path, card_project: str) -> str:
    """The project of a model: the one it was promoted for, else the one on its card; "" is anybody's."""
    return read_project(folder) or card_project


def store_name(project: str, *, challenger: bool = False) -> str:
    """The name under which a project's models are registered and stored.

    >>> store_name("acme"), store_name("acme", challenger=True)
    ('leadloop.acme', 'leadloop.acme.challenger')
    """
    # A project's name has no dot, so no name of one project is the challenger of another.
    return ".".join((_STORE_PREFIX, project, *([_CHALLENGER] if challenger else [])))


def bentoml_store() -> Path:
    """The folder of BentoML's model store, where promotions copy their models."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "models"


def store_entries(store: Path) -> tuple[StoreEntry, ...]:
    """The entries of all projects in a model store, those of earlier releases last.

    Args:
        store: The folder of the model store.

    Returns:
        The entries in the order of their projects, a champion's before its challenger's.
    """
    folders = sorted(path for path in store.iterdir() if path.is_dir()) if store.is_dir() else []
    entries = [entry for folder in folders if (entry := _entry(folder))]
    return tuple(
        sorted(entries, key=lambda entry: (entry.project is None, entry.project or "", entry.challenger))
    )


def _entry(folder: Path) -> StoreEntry | None:
    if folder.name in {LEGACY_NAME, _LEGACY_CHALLENGER}:
        return StoreEntry(folder, None, folder.name == _LEGACY_CHALLENGER)
    prefix, _, rest = folder.name.partition(".")
    project, _, kind = rest.partition(".")
    if prefix != _STORE_PREFIX or kind not in {"", _CHALLENGER} or not _NAME.fullmatch(project):
        return None
    return StoreEntry(folder, project, kind == _CHALLENGER)
