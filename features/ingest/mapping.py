"""How a company's own tables map onto the data contract: configuration as frozen, typed values."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - the configuration reads these types at run time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003
from typing import Literal, NewType

from features.ingest.column_roles import Role  # noqa: TC001
from features.ingest.quarantine import MAX_SHARE, SourceError
from features.ingest.timestamps import ISO, TimeFormat
from features.parsing import MISSING

Database = NewType("Database", str)
"""A database: the path of a SQLite or DuckDB file, or a URL such as ``postgresql://host/crm``."""

_PASSWORD = re.compile(r"(://[^:/@]+:)[^@]*@")


@dataclass(frozen=True)
class TableSource:
    """Where a table stands: a file (CSV or Parquet), or a table or query of a database.

    A password is best kept out of the URL: PostgreSQL reads ``PGPASSWORD`` and a password file.
    """

    file: Path | None = None
    database: Database | None = None
    table: str | None = None
    query: str | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.database is None):
            msg = "a table comes from a file or from a database; name exactly one of them"
            raise SourceError(msg)
        if (self.database is not None) != ((self.table is None) != (self.query is None)):
            msg = f"{self.name}: a database needs a table or a query to read, exactly one; a file neither"
            raise SourceError(msg)

    @property
    def name(self) -> str:
        """How messages call it; a password in the URL is not shown."""
        if self.database is None:
            return str(self.file)
        shown = _PASSWORD.sub(r"\1***@", self.database)
        return f"{shown}: {self.table or 'query'}"


@dataclass(frozen=True)
class TableMapping(TableSource):
    """How one table of a company becomes rows of a table of the contract.

    ``columns`` names the company's column for each column of the contract; one that is not mentioned is read
    from the column of the same name, if there is one. ``constants`` fills a column with one value: a file of
    won deals with a ``won_date`` is transitions with the constant ``stage = "won"``. In such a table, and in
    the leads' own read for events, an empty date simply means that there was no such event. ``values``
    translates words, e.g. the company's stages or kinds.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    time_format: str = ISO
    time_zone: str = "UTC"
    money: Literal["major", "minor"] = "major"
    missing: tuple[str, ...] = MISSING

    def __post_init__(self) -> None:
        super().__post_init__()
        if ambiguous := sorted(self.columns.keys() & self.constants.keys()):
            msg = f"{self.name}: {ambiguous[0]!r} is both a column and a constant; choose one"
            raise SourceError(msg)
        TimeFormat(self.time_format, self.time_zone)

    @property
    def times(self) -> TimeFormat:
        """How the table writes its times."""
        return TimeFormat(self.time_format, self.time_zone)


@dataclass(frozen=True)
class AttributeSelection:
    """Which free columns of the leads and accounts are attributes.

    ``exclude`` keeps columns out, ``only`` keeps out all others; ``roles`` overrides what leadloop finds out.
    """

    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)


@dataclass(frozen=True)
class HistoryMapping:
    """Where all the tables of a history come from; ``stages`` are the company's own.

    ``observed_until`` (epoch seconds) says up to when the sources are complete, exclusive; without it that
    is one second after the newest event.
    """

    leads: TableMapping
    touchpoints: tuple[TableMapping, ...] = ()
    transitions: tuple[TableMapping, ...] = ()
    attributes: tuple[TableMapping, ...] = ()
    accounts: TableMapping | None = None
    plain: AttributeSelection = AttributeSelection()
    stages: tuple[str, ...] = ()
    observed_until: int | None = None
    max_share: float = MAX_SHARE


@dataclass(frozen=True)
class FlatMapping:
    """How to read a flat export: one row a lead, an outcome column, perhaps a column that orders the rows.

    Without ``id`` the number of the row is the id. ``positive`` names the outcome that counts as 1 where its
    words do not say so; with ``negative`` named as well, rows with any other value have no outcome yet.
    ``time_format`` is for dates whose format cannot be found out. ``roles`` overrides what leadloop finds out
    about a column.
    """

    id: str | None = None
    label: str | None = None
    time: str | None = None
    exclude: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    missing: tuple[str, ...] = MISSING
    positive: str | None = None
    negative: tuple[str, ...] = ()
    time_format: TimeFormat | None = None
    max_share: float = MAX_SHARE

    @property
    def named(self) -> tuple[str, ...]:
        """Every column of the file that the mapping speaks of."""
        names = (self.id, self.label, self.time, *self.exclude, *self.roles)
        return tuple(name for name in names if name is not None)

    @property
    def reserved(self) -> frozenset[str]:
        """The columns that are no attributes."""
        return frozenset(name for name in (self.id, self.label, self.time, *self.exclude) if name is not None)
