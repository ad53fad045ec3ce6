"""The result of an analysis whose data are missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """An analysis that cannot be made of these data; ``reason`` is a key under "absent" in the catalogue."""

    reason: str
