"""Writes the quarantine down, and stops a run that would leave out too much."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from features.reading.quarantine import stop_above

if TYPE_CHECKING:
    from features.reading.quarantine import Quarantine


def write(quarantine: Quarantine, path: Path) -> None:
    """Write the entries as CSV: all of them or, when that fails, nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        quarantine.frame.write_csv(name)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def settle(quarantine: Quarantine, rows: int, share: float, path: Path | None) -> None:
    """Write what was found to ``path``, if any, then stop if more than ``share`` of ``rows`` are bad.

    Raises:
        TooManyBadRowsError: more rows were left out than allowed; the message says where the entries are.
    """
    if path is not None and len(quarantine):
        write(quarantine, path)
    where = f"all are in {path}" if path is not None else "the first: " + "; ".join(quarantine.examples())
    stop_above(share, quarantine.rows, rows, f"{quarantine.summary()}; {where}")
