"""Whether there is a log, where, and for how long: settings that can be read without a database library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def in_words(self) -> str:
        """What a person who starts a service wants to know."""
        if not self.on:
            return "no decision is logged"
        kept = f"for {self.keep_days} days" if self.keep_days else "until somebody removes them (--keep-days)"
        return f"decisions are logged in {_without_password(self.place)} and kept {kept}"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> LogSettings:
        """What the variables say. Without them the log is on: switching it off is a decision of its own."""
        days = environment.get(KEEP_DAYS, "")
        if days and not days.isdecimal():
            msg = f"{KEEP_DAYS} is a whole number of days, not {days[:40]!r}"
            raise LogError(msg)
        return cls(environment.get(PLACE) or DEFAULT_PLACE, int(days) if days else None)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that say the same, from whatever folder they are read."""
        is_file = self.on and "://" not in self.place
        place = str(Path(self.place).absolute()) if is_file else self.place
        return {PLACE: place, KEEP_DAYS: str(self.keep_days or "")}


def _without_password(place: str) -> str:
    scheme, slashes, rest = place.partition("://")
    who, at, where = rest.rpartition("@")
    return f"{scheme}{slashes}{who.partition(':')[0]}{at}{where}"
