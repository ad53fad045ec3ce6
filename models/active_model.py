"""Which of several model folders is the active one, and which was before: a file, replaced whole.

A reader sees the old names or the new ones, never half of either, and needs nothing but the file system.
"""

from __future__ import annotations

import os
from pathlib import Path

POINTER = "in-charge"


def set_active(folder: Path) -> None:
    """Make the model in ``folder`` the active one of those beside it.

    The file that names it is replaced whole: a failure leaves the model before it active.

    Args:
        folder: A model folder, e.g. ``models/3f9a1c0d2b7e``.
    """
    previous = [other.name for other in active_folders(folder.parent) if other.name != folder.name]
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
    """
    try:
        names = (parent / POINTER).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return ()
    return tuple(parent / name for name in names if name == Path(name).name and name != "..")
