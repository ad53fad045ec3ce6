"""Settings of the decision log: place and retention; they can be read without a database library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE, KEEP_DAYS, PROJECT = "LEADLOOP_LOG", "LEADLOOP_LOG_KEEP_DAYS", "LEADLOOP_PROJECT"
DEFAULT_PLACE = "leadloop-out/decisions.db"
OFF = "off"
_LONGEST = 36_500


class LogError(ValueError):
    """The decision log cannot be used as it is configured; the message says why and what to do."""


class LogUnavailable(Exception):  # noqa: N818  # the answer is refused, the service is not in error
    """The log cannot be written or read at the moment, so the answer must not be given."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where decisions are logged, and for how long.

    Attributes:
        place: The path of a SQLite file, a URL, or "off".
        keep_days: After how many days records are deleted, 1 to 36,500; None keeps them.

    Raises:
        LogError: ``keep_days`` is out of its range.

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
        """Seconds after which records are deleted; None keeps them."""
        return None if self.keep_days is None else self.keep_days * DAY

    def in_words(self) -> str:
        """A line for whoever starts the service: the place, without its password, and the retention."""
        if not self.on:
            return "no decision is logged"
        retention = (
            f"for {self.keep_days} days" if self.keep_days else "until somebody removes them (--keep-days)"
        )
        return f"decisions are logged in {_without_password(self.place)} and kept {retention}"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> LogSettings:
        """The settings in environment variables. Without any the log is on, at ``default_place``.

        Raises:
            LogError: The days to keep records are no whole number, or out of the range of ``keep_days``.
        """
        days = environment.get(KEEP_DAYS, "")
        if days and not days.isdecimal():
            msg = f"{KEEP_DAYS} is a whole number of days, not {days[:40]!r}"
            raise LogError(msg)
        return cls(environment.get(PLACE) or default_place(environment), int(days) if days else None)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of these settings, with an absolute path."""
        is_file = self.on and "://" not in self.place
        place = str(Path(self.place).absolute()) if is_file else self.place
        return {PLACE: place, KEEP_DAYS: str(self.keep_days or "")}


def default_place(environment: Mapping[str, str]) -> str:
    """Where a service that is only told by its environment logs: in the user's folder for state.

    Its own folder may be that of a bento, which is deleted with it.

    >>> default_place({"XDG_STATE_HOME": "/var/lib", "LEADLOOP_PROJECT": "acme"})
    '/var/lib/leadloop/acme/decisions.db'
    """
    configured = Path(environment.get("XDG_STATE_HOME") or "")
    state = configured if configured.is_absolute() else Path.home() / ".local" / "state"
    return str(state / "leadloop" / (environment.get(PROJECT) or "service") / "decisions.db")


def _without_password(place: str) -> str:
    scheme, slashes, rest = place.partition("://")
    user, at, address = rest.rpartition("@")
    return f"{scheme}{slashes}{user.partition(':')[0]}{at}{address}"
