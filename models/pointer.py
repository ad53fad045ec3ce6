"""Which of the model folders beside each other is in charge: a file of one line, replaced whole.

A reader sees the old name or the new one, never half of either, and needs nothing but the file system.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

POINTER = "in-charge"


def point(folder: Path) -> None:
    """Put the model in ``folder`` in charge of those beside it; a failure leaves the one before."""
    pointer = folder.parent / POINTER
    fresh = pointer.with_name(f".{POINTER}-{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(f"{folder.name}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(pointer)


def pointed(beside: Path) -> Path | None:
    """The folder in charge of those in ``beside``, or None where nothing was put in charge."""
    try:
        name = (beside / POINTER).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return beside / name
