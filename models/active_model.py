"""Which of several model folders is the active one, and which was before: a file, replaced whole.

A reader sees the old names or the new ones, never half of either, and needs nothing but the file system.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

POINTER = "in-charge"
_LONGEST = 4096
_NAMES = re.compile(r"[^\s\x00-\x1f]+(\n[^\s\x00-\x1f]+)*\n?")


class PointerError(ValueError):
    """The file that names the active model holds something else; the message says what to do."""


def set_active(folder: Path) -> None:
    """Make the model in ``folder`` the active one of those beside it.

    The file that names it is replaced whole: a failure leaves the model before it active.

    Args:
        folder: A model folder, e.g. ``models/3f9a1c0d2b7e``.
    """
    try:
        previous = [other.name for other in active_folders(folder.parent) if other.name != folder.name]
    except PointerError:
        previous = []
    pointer = folder.parent / POINTER
    temporary = pointer.with_name(f".{POINTER}-{os.getpid()}")
    # Whatever lies there, a link above all, is not written through.
    temporary.unlink(missing_ok=True)
    with temporary.open("x", encoding="utf-8") as file:
        file.write("\n".join([folder.name, *previous[:1]]))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(pointer)


def active_folders(parent: Path) -> tuple[Path, ...]:
    """The active model folder and the one before it.

    Args:
        parent: The folder that holds the model folders.

    Returns:
        At most two folders, the active one first; empty where none was ever made active. A name that leads
        out of ``parent`` is left out.

    Raises:
        PointerError: The file that names them holds no names.
    """
    pointer = parent / POINTER
    try:
        return tuple(parent / name for name in _names_beside(_pointer_text(pointer)))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except (OSError, ValueError) as error:
        msg = f"{pointer}: it does not name a model folder ({error}); run `leadloop promote` again"
        raise PointerError(msg) from error


def _names_beside(text: str) -> list[str]:
    """The first two names without those that lead out of the folder. Raises ValueError where none is left."""
    names = [name for name in text.split("\n")[:2] if name == Path(name).name and name not in {"", ".."}]
    if not names:
        msg = "the folder it names is elsewhere"
        raise ValueError(msg)
    return names


def _pointer_text(pointer: Path) -> str:
    """The names in the pointer. Raises ValueError where it holds more, or other characters."""
    # Not to wait for a pipe that somebody put there.
    descriptor = os.open(pointer, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123  # the file is open already
        content = file.read(_LONGEST + 1) or b""
    text = content.decode("utf-8")
    if len(content) > _LONGEST or not _NAMES.fullmatch(text):
        msg = "it holds other bytes than a name"
        raise ValueError(msg)
    return text
