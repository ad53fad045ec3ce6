"""What ``leadloop store`` reads: the tables of a CRM, as training reads them, once or again and again."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from features.clock import parse_duration
from features.history import ACCOUNT_PREFIX
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_unmerged_history
from features.ingest.tables import open_table
from training.config.settings import load_config
from training.config.toml_reader import ConfigError
from training.data.load import quarantine_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import polars as pl

    from features.history import LeadHistory
    from features.ingest.column_roles import Role
    from features.ingest.mapping import AttributeSelection, HistoryMapping

    Say = Callable[[str], object]

_FLAT = (
    "a flat export has no events to keep; the store is filled from the tables of a history, which "
    "`leadloop init` drafts, or by POST /v1/events"
)


@dataclass(frozen=True)
class StoreTables:
    """The tables of a CRM as they were read.

    Attributes:
        history: Leads, accounts and events, without what merges make of them.
        merges: Who was merged into whom, and when.
        read_at: When they were read, in epoch seconds.
        notices: Sentences about them.
    """

    history: LeadHistory
    merges: pl.DataFrame
    read_at: int
    notices: tuple[str, ...]

    @property
    def leads(self) -> int:
        """How many leads there are."""
        return self.history.leads.height


class StoreSource:
    """The tables that a configuration describes, to be read whenever they are asked for.

    Args:
        config: The configuration, a file.
        out: The folder of the quarantine file, where the configuration names none.
        is_for_people: Whether a column says who a lead is or whose. Such a column is read even where the
            configuration keeps it from the model. Default: none is.

    Raises:
        ConfigError: It has a mistake, or describes a flat export.
    """

    def __init__(
        self, config: Path, out: Path, is_for_people: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._config = load_config(config)
        if self._config.flat is not None:
            raise ConfigError(_FLAT)
        self._out = out
        self._is_for_people = is_for_people

    def read(self, say: Say | None = None) -> StoreTables:
        """The tables as they are now. Raises SourceError where one cannot be read."""
        now = int(time.time())
        # The store goes on where training stops looking.
        trained = self._config.history_mapping
        mapping = replace(trained, plain=self._with_names(trained), observed_until=None)
        self._out.mkdir(parents=True, exist_ok=True)
        unmerged = read_unmerged_history(mapping, now, quarantine_file(self._config, self._out))
        bad = unmerged.reading.quarantine
        summary = (bad.summary(),) if len(bad) else ()
        tables = StoreTables(
            unmerged.reading.history, unmerged.merges, now, (*unmerged.reading.notices, *summary)
        )
        if say is not None:
            for notice in tables.notices:
                say(notice)
        return tables

    def _with_names(self, mapping: HistoryMapping) -> AttributeSelection:
        """The columns that training reads, and those that say who a lead is or whose."""
        plain = mapping.plain
        people = tuple(filter(self._is_for_people, _free_columns(mapping)))
        # Names are nearly all different, and no model learns them; as words they are kept for reading.
        words: dict[str, Role] = dict.fromkeys(people, "category")
        return replace(
            plain,
            exclude=tuple(name for name in plain.exclude if name not in people),
            only=(*plain.only, *people) if plain.only else (),
            roles={**words, **plain.roles},
        )


def _free_columns(mapping: HistoryMapping) -> Iterator[str]:
    """The columns of leads and accounts, called as in the section [attributes]."""
    for prefix, table in (("", mapping.leads), (ACCOUNT_PREFIX, mapping.accounts)):
        if table is not None:
            yield from (f"{prefix}{name}" for name in (*open_table(table).columns, *table.attributes))


def parse_interval(text: str) -> int:
    """A duration such as 5m in seconds. Raises ConfigError where it is none, or none at all.

    >>> parse_interval("5m"), parse_interval("1h")
    (300, 3600)
    """
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if seconds < 1:
        msg = "the shortest interval is 1 s; write a longer one, such as 5m"
        raise ConfigError(msg)
    return seconds


def repeat(
    work: Callable[[], object],
    interval: int | None,
    say: Say,
    transient: tuple[type[Exception], ...] = (SourceError, OSError),
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Do ``work`` once or, with an interval in seconds, for ever; what cannot be read then is tried again.

    Args:
        work: What to do.
        interval: From one beginning to the next. Default: None, once.
        say: Called with a sentence where that failed.
        transient: The errors that may be gone the next time.
        sleep: How to wait.
    """
    while True:
        started = time.monotonic()
        try:
            work()
        except transient as error:
            if interval is None:
                raise
            say(f"the store is unchanged; next attempt in {interval:,} s: {error}")
        if interval is None:
            return
        sleep(max(0.0, started + interval - time.monotonic()))
