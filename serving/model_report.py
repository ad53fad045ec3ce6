"""The report that training wrote beside a model, read from its folder."""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from serving.model_reload import LoadedModel


async def read_report(loaded: LoadedModel | None) -> bytes | None:
    """The page beside a model; None where there is none, or no model."""
    # BentoML's first process reads this file too, and can do without LightGBM.
    from models.artifact import REPORT  # noqa: PLC0415

    return None if loaded is None else await asyncio.to_thread(_read_within, loaded.folder, REPORT)


def _read_within(folder: Path, name: str) -> bytes | None:
    """The content of a regular file in ``folder``; None where there is none, or a link out of it."""
    with suppress(OSError):
        # A pipe of that name would make whoever opens it wait.
        file = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(file, "rb") as page:  # noqa: PTH123  # a descriptor has no path
            return page.read() if stat.S_ISREG(os.fstat(file).st_mode) else None
    return None
