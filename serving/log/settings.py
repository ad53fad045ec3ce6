"""Whether there is a log, where, and for how long: settings that can be read without a database library."""

from __future__ import annotations

import os
from dataclasses import dataclass

from features.clock import DAY

PLACE, KEEP_DAYS = "LEADLOOP_LOG", "LEADLOOP_LOG_KEEP_DAYS"
DEFAULT_PLACE = "leadloop-out/decisions.db"
OFF = "off"
_LONGEST = 36_500


class LogError(ValueError):
    """The decision log cannot be used as it was asked for; the message says why and what to do."""


class LogUnavailable(Exception):  # noqa: N818  # the answer is refused, the service is not in error
    """The record cannot be written or read just now, so the answer must not be given."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """A path or URL, or ``off``; and after how many days records are forgotten, if ever.

    >>> LogSettings("off").on, LogSettings("decisions.db", keep_days=30).keeps_for
    (False, 2592000)
    """

    place: str = DEFAULT_PLACE
    keep_days: int | None = None

    def __post_init__(self) -> None:
        if self.keep_days is not None and not 1 <= self.keep_days <= _LONGEST:
            msg = f"records are kept for 1 to {_LONGEST:,} days, not {self.keep_days}; name none for ever"
            raise LogError(msg)

    @property
    def on(self) -> bool:
        """Whether answers are logged."""
        return self.place != OFF

    @property
    def keeps_for(self) -> int | None:
        """Seconds after which records are forgotten."""
        return None if self.keep_days is None else self.keep_days * DAY

    @classmethod
    def from_environment(cls) -> LogSettings:
        """What the variables say. Without them the log is on: switching it off is a decision of its own."""
        days = os.environ.get(KEEP_DAYS, "")
        if days and not days.isdecimal():
            msg = f"{KEEP_DAYS} is a whole number of days, not {days[:40]!r}"
            raise LogError(msg)
        return cls(os.environ.get(PLACE) or DEFAULT_PLACE, int(days) if days else None)
