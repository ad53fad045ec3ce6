"""Settings of the decision log: place and retention; they can be read without a database library."""

from __future__ import annotations

import re
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
        project: The project that the log has to belong to. Default: none, and it is not checked.

    Raises:
        LogError: ``keep_days`` is out of its range.

    >>> LogSettings("off").on, LogSettings("decisions.db", keep_days=30).keeps_for
    (False, 2592000)
    """

    place: str = DEFAULT_PLACE
    keep_days: int | None = None
    project: str = ""

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
        return f"decisions are logged in {displayed_place(self.place)} and kept {retention}"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> LogSettings:
        """The settings in environment variables. Without any the log is on, at ``DEFAULT_PLACE``.

        Raises:
            LogError: The days to keep records are no whole number, or out of the range of ``keep_days``.
        """
        days = environment.get(KEEP_DAYS, "")
        if days and not days.isdecimal():
            msg = f"{KEEP_DAYS} is a whole number of days, not {days[:40]!r}"
            raise LogError(msg)
        return cls(
            environment.get(PLACE) or DEFAULT_PLACE, int(days) if days else None, environment.get(PROJECT, "")
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of these settings, with an absolute path."""
        is_file = self.on and "://" not in self.place
        place = str(Path(self.place).absolute()) if is_file else self.place
        return {PLACE: place, KEEP_DAYS: str(self.keep_days or ""), PROJECT: self.project}


def displayed_place(place: str) -> str:
    """A place as messages may have it: a path, or scheme, host, port and database of a URL.

    User, password and query are left out: a query may hold a password, too. Where it cannot be told what is
    which, all but the scheme is left out.

    >>> displayed_place("postgresql://me:secret@db:5432/log?sslpassword=secret")
    'postgresql://db:5432/log'
    """
    scheme, slashes, rest = place.partition("://")
    if not slashes or scheme.startswith("sqlite"):
        return place.partition("?")[0] if slashes else place
    before, _, query = rest.partition("?")
    address = before.rpartition("@")[2]
    # An @ behind the first ? may be the end of a password with a question mark in it.
    clear = ("@" in before or "@" not in query) and _ADDRESS.fullmatch(address)
    return f"{scheme}://{address if clear else '...'}"


# Hosts with their ports, separated by commas; in brackets those of IPv6; and a database.
_ADDRESS = re.compile(r"(?:[\w.-]*|\[[0-9A-Fa-f:.%]*\])(?::\d*)?(?:,(?:[\w.-]*)(?::\d*)?)*(?:/[\w.%-]*)?")
