"""What every block says in the same way: a rate with its interval, and that it has nothing to say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """A block that these data cannot fill; the page says why by ``reason``, a name under "absent"."""

    reason: str
