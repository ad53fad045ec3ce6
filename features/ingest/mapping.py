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
from features.number_marks import NumberMarks  # noqa: TC001
from features.parsing import MISSING, clean_text

Database = NewType("Database", str)
"""A database: the path of a SQLite or DuckDB file, or a URL such as ``postgresql://host/crm``."""

_PASSWORD = re.compile(r"(://[^:/@]+:)[^@]*@")


def check_encoding(name: str | None) -> None:
    """Raise ValueError where ``name`` is no encoding of text that Python knows."""
    try:
        "".encode(name or "utf-8")
    except LookupError:
        msg = f"{name!r} is no encoding; write one such as utf-8, windows-1252, latin-1 or shift_jis"
        raise ValueError(msg) from None


@dataclass(frozen=True)
class TableSource:
    """Where a table is: a file (CSV or Parquet), or a table or query of a database.

    A password is best kept out of the URL: PostgreSQL reads ``PGPASSWORD`` and a password file.

    Attributes:
        file: Path of a CSV or Parquet file.
        database: Path of a SQLite or DuckDB file, or a URL such as ``postgresql://host/crm``.
        table: Table of the database, with its schema if needed.
        query: SQL that reads from the database, instead of ``table``.
        encoding: How the characters of a text file are written, such as ``shift_jis``. Default: found out.

    Raises:
        SourceError: neither or both of file and database are named, or not exactly one of table and query.
    """

    file: Path | None = None
    database: Database | None = None
    table: str | None = None
    query: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        check_encoding(self.encoding)
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
        display = _PASSWORD.sub(r"\1***@", self.database)
        return f"{display}: {self.table or 'query'}"


@dataclass(frozen=True)
class TableMapping(TableSource):
    """How one table of a company becomes rows of a table of the data contract.

    In a table with a constant ``kind`` or ``stage``, and in the leads' own read for events, an empty date
    means that there was no such event: a file of won deals with a ``won_date`` is transitions with the
    constant ``stage = "won"``.

    Attributes:
        file: As in TableSource.
        database: As in TableSource.
        table: As in TableSource.
        query: As in TableSource.
        encoding: As in TableSource.
        columns: The company's column for each column of the contract; one that is not mentioned is read from
            the column of the same name, if there is one.
        constants: Columns of the contract that hold one value in every row.
        values: By column of the contract, the company's words and what they mean there.
        time_format: ``"iso"`` (default), ``"day_first"``, ``"month_first"``, ``"epoch_s"``, ``"epoch_ms"`` or
            a strptime pattern.
        time_zone: IANA name of the zone of times without an offset. Default UTC.
        money: Whether amounts are in ``"major"`` units (default) or in ``"minor"`` ones, such as cents.
        missing: Words that mean "no value".

    Raises:
        SourceError: the source is not one table, or a column is also a constant.
        ValueError: the time format, the zone or the encoding does not exist.
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
        columns = {column: clean_text(name) for column, name in self.columns.items()}
        words = {
            column: {clean_text(word): value for word, value in words.items()}
            for column, words in self.values.items()
        }
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "values", words)

    @property
    def times(self) -> TimeFormat:
        """How the table writes its times."""
        return TimeFormat(self.time_format, self.time_zone)


@dataclass(frozen=True)
class AttributeSelection:
    """Which free columns of the leads and accounts are attributes.

    Attributes:
        exclude: Columns that are kept out; those of accounts are called ``account.<column>``.
        only: If any are named, all other columns are kept out.
        roles: Roles of columns, instead of those inferred from their values.
    """

    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(map(clean_text, self.exclude)))
        object.__setattr__(self, "only", tuple(map(clean_text, self.only)))
        object.__setattr__(self, "roles", {clean_text(name): role for name, role in self.roles.items()})


@dataclass(frozen=True)
class HistoryMapping:
    """Where all the tables of a history come from.

    Attributes:
        leads: The table of leads.
        touchpoints: Tables of touchpoints.
        transitions: Tables of stage entries.
        attributes: Tables of changes of overwritten attributes.
        accounts: The table of accounts, if any.
        plain: Which free columns of leads and accounts are attributes.
        stages: The company's own stages; a transition into any other is bad. Empty for no check.
        observed_until: Epoch seconds up to which the sources are complete (exclusive); None for one second
            after the newest event.
        max_share: Share of bad rows above which reading stops. Default 0.05.
        marks: What the marks in the numbers of free columns meant in earlier data, by column.
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
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)


@dataclass(frozen=True)
class FlatMapping:
    """How to read a flat export: one row a lead, an outcome column, perhaps a column that orders the rows.

    Attributes:
        id: Column of the lead's id; None for the number of the row.
        label: Column of the outcome; None for a file to score.
        time: Column of dates, months or numbers that orders the rows; None where there is no order.
        exclude: Columns that are kept out.
        roles: Roles of columns, instead of those inferred from their values.
        missing: Words that mean "no value".
        positive: The outcome that counts as 1, where its words do not say so.
        negative: The outcomes that count as 0; if any are named, rows with another value have no outcome yet.
        time_format: How dates are written, where that cannot be inferred.
        max_share: Share of bad rows above which reading stops. Default 0.05.
        marks: What the marks in the numbers of columns meant in earlier data, by column.
        encoding: How the characters of a text file are written. Default: found out.
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
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)
    encoding: str | None = None

    def __post_init__(self) -> None:
        for name in ("id", "label", "time"):
            column = getattr(self, name)
            object.__setattr__(self, name, None if column is None else clean_text(column))
        object.__setattr__(self, "exclude", tuple(map(clean_text, self.exclude)))
        object.__setattr__(self, "roles", {clean_text(name): role for name, role in self.roles.items()})

    @property
    def named(self) -> tuple[str, ...]:
        """Every column of the file that the mapping speaks of."""
        names = (self.id, self.label, self.time, *self.exclude, *self.roles)
        return tuple(name for name in names if name is not None)

    @property
    def reserved(self) -> frozenset[str]:
        """The columns that are no attributes."""
        return frozenset(name for name in (self.id, self.label, self.time, *self.exclude) if name is not None)
