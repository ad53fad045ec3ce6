"""Follows the file of a hand-over plan: a change counts from the next request, and a broken file does not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from models.handover_plan import PlanError, read_plan

if TYPE_CHECKING:
    from pathlib import Path

    from models.handover_plan import HandoverPlan

logger = logging.getLogger("leadloop")


class PlanFile:
    """The plan in a file, read again when it changes; while it cannot be read, the one before.

    Args:
        file: The file; None where there is no plan.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._plan: HandoverPlan | None = None
        self._seen: tuple[int, int, int] | None = None

    @property
    def plan(self) -> HandoverPlan | None:
        """The plan as it is now; None where there is none."""
        if self._file is None:
            return None
        try:
            status = self._file.stat()
            fingerprint = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            fingerprint = (0, 0, 0)
        if fingerprint != self._seen:
            self._seen = fingerprint
            try:
                self._plan = read_plan(self._file)
            except PlanError as error:
                logger.critical("the hand-over plan stays as it was: %s", error)
        return self._plan
