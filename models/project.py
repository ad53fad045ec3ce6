"""A project: one company's question, with models, keys and a decision log that no other project reads.

Its name is configuration. Where none is given it is drawn once and kept in ``project.json`` beside what the
project writes, so that two folders of one user are two projects.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROJECT_FILE = "project.json"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_STORE_PREFIX, _CHALLENGER = "leadloop", "challenger"


class ProjectError(ValueError):
    """A project's name or file cannot be used; the message says what to do."""


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
    file = folder / PROJECT_FILE
    try:
        return check_project_name(json.loads(file.read_text(encoding="utf-8"))["project"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f'{file}: it holds no name of a project ({error}); it should be {{"project": "NAME"}}'
        raise ProjectError(msg) from error


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
    known = read_project(folder)
    if known is not None:
        return known
    around = re.sub(r"[^a-z0-9]+", "-", folder.absolute().parent.name.lower()).strip("-")[:30].strip("-")
    name = f"{around or 'project'}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=folder, prefix=f".{PROJECT_FILE}-", encoding="utf-8"
    ) as scratch:
        scratch.write(json.dumps({"project": name}) + "\n")
        scratch.flush()
        try:
            # Of two processes that draw at once the first one decides: a link is never written over.
            os.link(scratch.name, folder / PROJECT_FILE)
        except FileExistsError:
            return project_of(folder)
    return name


def store_name(project: str, *, challenger: bool = False) -> str:
    """The name under which a project's models are registered and stored.

    >>> store_name("acme"), store_name("acme", challenger=True)
    ('leadloop.acme', 'leadloop.acme.challenger')
    """
    # A project's name has no dot, so no name of one project is the challenger of another.
    return ".".join((_STORE_PREFIX, project, *([_CHALLENGER] if challenger else [])))
