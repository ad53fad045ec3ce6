"""How a company's own tables map onto the data contract: configuration as frozen, typed values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path  # noqa: TC003
from textwrap import shorten
from typing import Any, Literal, NewType

from features.extraction import ColumnExtraction  # noqa: TC001
from features.ingest.column_extractions import EVERY, Extracted
from features.ingest.column_roles import Role  # noqa: TC001
from features.ingest.quarantine import MAX_SHARE, SourceError
from features.ingest.timestamps import ISO, TimeFormat
from features.number_marks import MarkEvidence, NumberMarks
from features.parsing import MISSING, clean_text
from features.redaction import without_secrets

Database = NewType("Database", str)
"""A database: the path of a SQLite or DuckDB file, or a URL such as ``postgresql://host/crm``."""

CellValues = NewType("CellValues", tuple[str | bool, ...])
"""The values of a column that count: words as the table shows them, true or false, "" for no value."""

_SHOWN_QUERY = 60


def cell_values(raw: Any) -> CellValues:
    """One value or a list of them as the values that a column may have.

    Raises:
        ValueError: it is neither text, a whole number, true nor false, nor a list of these.

    >>> cell_values("Status"), cell_values([1, False])
    (('Status',), ('1', False))
    """
    values = raw if isinstance(raw, list | tuple) else (raw,)
    if not values or not all(isinstance(value, str | bool | int) for value in values):
        msg = f"{raw!r} should be text, a whole number, true or false, or a list of these"
        raise ValueError(msg)
    return CellValues(tuple(value if isinstance(value, bool) else str(value) for value in values))


def _as_conditions(where: Mapping[str, Any]) -> dict[str, CellValues]:
    return {column: cell_values(values) for column, values in where.items()}


@dataclass(frozen=True)
class TableJoin:
    """A table beside another one, whose rows are found by equal values.

    Its columns are then called ``<name>.<column>``, where ``<name>`` is the table's own name without its
    schema, or ``alias``.

    Attributes:
        table: The table: of the same database or, beside a file, the name of a file in the same folder.
        on: For each column of the rows so far, the column of this table that holds the same value.
        where: The values that columns of this table must have; other rows are no rows.
        alias: Another name for the table, as where it is joined twice (``as`` in the file).

    Raises:
        SourceError: there is no column to join on.
    """

    table: str
    on: Mapping[str, str]
    where: Mapping[str, CellValues] = field(default_factory=dict)
    alias: str | None = field(default=None, metadata={"key": "as"})

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", _as_conditions(self.where))
        if not self.on:
            msg = f'the join with {self.table} names no columns; write on = {{ column = "its column" }}'
            raise SourceError(msg)

    @property
    def name(self) -> str:
        """How columns and messages call the table."""
        return self.alias or table_stem(self.table)


@dataclass(frozen=True)
class ValueLookup:
    """What the ids or codes of a column mean: names from another table, or a list of codes.

    A value that is not found stays as it is.

    Attributes:
        table: The table with the names, as in TableJoin.
        key: Its column of ids. Default ``"id"``.
        value: Its column of names; a dot leads into a JSON column: ``"name.en_US"``. Default ``"name"``.
        codes: The meanings themselves, by code, instead of a table.
        where: The values that columns of the table must have, where it holds the names of several columns.

    Raises:
        SourceError: not exactly one of table and codes is given.
    """

    table: str | None = None
    key: str = "id"
    value: str = "name"
    codes: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, CellValues] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", _as_conditions(self.where))
        if (self.table is None) == (not self.codes):
            msg = "a lookup needs a table with the names, or codes with their meanings, exactly one of them"
            raise SourceError(msg)


@dataclass(frozen=True)
class GatheredValues:
    """The values of several rows of another table as one cell, such as the tags of a lead: ``"A;B"``.

    Attributes:
        table: The table, as in TableJoin.
        on: The column of the rows so far, and the column of this table that holds the same value.
        value: The column of the values.
        where: The values that columns of this table must have.
        lookup: What the values mean, where they are ids or codes.

    Raises:
        SourceError: there is not exactly one pair of columns to find the rows by.
    """

    table: str
    on: Mapping[str, str]
    value: str
    where: Mapping[str, CellValues] = field(default_factory=dict)
    lookup: ValueLookup | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", _as_conditions(self.where))
        if len(self.on) != 1:
            msg = f'what is gathered from {self.table} needs one pair on = {{ column = "its column" }}'
            raise SourceError(msg)


def table_stem(table: str) -> str:
    """The name of a table without its schema, or of a file without its ending.

    >>> table_stem("public.crm_stage"), table_stem("crm_stage.csv")
    ('crm_stage', 'crm_stage')
    """
    return re.sub(r"(?i)\.(csv|tsv|txt|parquet)$", "", table).rpartition(".")[2]


def check_encoding(name: str | None) -> None:
    """Raise SourceError where ``name`` is no encoding of text that Python knows."""
    try:
        "".encode(name or "utf-8")
    except LookupError:
        msg = f"{name!r} is no encoding; write one such as utf-8, windows-1252, latin-1 or shift_jis"
        raise SourceError(msg) from None


@dataclass(frozen=True)
class TableSource:
    """Where a table is: a file (CSV or Parquet), or a table or query of a database or of a folder of files.

    A password is best kept out of the URL: PostgreSQL reads ``PGPASSWORD`` and a password file.

    Attributes:
        file: Path of a CSV or Parquet file.
        database: Path of a SQLite or DuckDB file, a URL such as ``postgresql://host/crm``, or a folder, whose
            CSV and Parquet files are its tables.
        table: Table of the database, with its schema if needed.
        query: SQL that reads from the database, instead of ``table``, or from the files of the folder in
            which ``file`` is.
        title: What messages call it (``name`` in the file).
        where: The values that columns must have; other rows are no rows of the table.
        join: Tables beside it, by equal values.
        lookup: By column, what its ids or codes mean.
        gather: Of leads and accounts: further columns whose cells hold the values of several rows of another
            table.
        encoding: How the characters of a text file are written, such as ``shift_jis``. Default: found out.

    Raises:
        SourceError: neither or both of file and database are named, or not exactly one of table and query, or
            two joined tables have one name.
    """

    file: Path | None = None
    database: Database | None = None
    table: str | None = None
    query: str | None = None
    title: str | None = field(default=None, metadata={"key": "name"})
    where: Mapping[str, CellValues] = field(default_factory=dict)
    join: tuple[TableJoin, ...] = ()
    lookup: Mapping[str, ValueLookup] = field(default_factory=dict)
    gather: Mapping[str, GatheredValues] = field(default_factory=dict)
    encoding: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", _as_conditions(self.where))
        check_encoding(self.encoding)
        if (self.file is None) == (self.database is None):
            msg = "a table comes from a file or from a database; name exactly one of them"
            raise SourceError(msg)
        one = self.table is None if self.file is not None else (self.table is None) != (self.query is None)
        if not one:
            msg = (
                f"{self.name}: a database needs a table or a query to read, exactly one; a file has no table"
            )
            raise SourceError(msg)
        names = [join.name for join in self.join]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            msg = f"{self.name}: two joined tables are called {repeated[0]!r}; give one of them as = ..."
            raise SourceError(msg)

    @property
    def name(self) -> str:
        """How messages call it: of a URL without its user, password and query."""
        if self.title is not None:
            return self.title
        place = str(self.file) if self.database is None else without_secrets(self.database)
        if self.query is not None:
            return f"{place}: query {shorten(self.query, _SHOWN_QUERY, placeholder=' ...')}"
        return place if self.table is None else f"{place}: {self.table}"

    @property
    def location(self) -> tuple[Path | str | None, ...]:
        """What two sections that read the same rows have in common."""
        return self.file, self.database, self.table, self.query

    @property
    def query_text(self) -> str | None:
        """The query without the semicolon that ends it."""
        return None if self.query is None else self.query.rstrip().rstrip(";")

    @property
    def references(self) -> Mapping[str, str]:
        """Columns that may lie in a joined table or inside of JSON, by the name they get."""
        return {}


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
        title: As in TableSource.
        where: As in TableSource.
        join: As in TableSource.
        lookup: As in TableSource.
        gather: As in TableSource.
        encoding: As in TableSource.
        columns: The company's column for each column of the contract; one that is not mentioned is read from
            the column of the same name, if there is one. ``"table.column"`` is a column of a joined table,
            ``"column.key"`` a value inside of a JSON column.
        constants: Columns of the contract that hold one value in every row.
        values: By column of the contract, the company's words and what they mean there.
        time_format: ``"iso"`` (default), ``"day_first"``, ``"month_first"``, ``"epoch_s"``, ``"epoch_ms"``,
            ``"epoch_us"`` or a strptime pattern.
        time_zone: IANA name of the zone of times without an offset. Default UTC.
        money: Whether amounts are in ``"major"`` units (default) or in ``"minor"`` ones, such as cents.
        missing: Words that mean "no value".
        attributes: Of leads and accounts: further attributes, by the name they get, each a column of a joined
            table or a value inside of a JSON column.
        lead_id: Of events: several columns of ids, of which the first that is a lead's counts.
        also: Of events: the column or columns of ``leads`` in which an id of this table is looked for that is
            no lead's own, such as the contact that a lead became.
        deleted: Of leads: the column that says which of them were deleted; their events are no bad rows.
        max_share: The share of bad rows above which reading stops, of this table alone.
        stages: Of transitions: for each column of dates the stage that was entered then.
        id: Of events: the column of the event's id; rows with one id are one event of a lead.

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
    attributes: Mapping[str, str] = field(default_factory=dict)
    lead_id: tuple[str, ...] = ()
    also: Mapping[str, CellValues] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)
    deleted: str | None = None
    max_share: float | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_share is not None and not 0 <= self.max_share <= 1:
            msg = f"{self.name}: max_share is a share: between 0 and 1"
            raise SourceError(msg)
        object.__setattr__(self, "also", _as_conditions(self.also))
        if ambiguous := sorted(self.columns.keys() & self.constants.keys()):
            msg = f"{self.name}: {ambiguous[0]!r} is both a column and a constant; choose one"
            raise SourceError(msg)
        if self.lead_id and "lead_id" in self.columns:
            msg = f"{self.name}: lead_id stands beside columns and in them; choose one"
            raise SourceError(msg)
        if unknown := sorted(self.also.keys() - {"leads"}):
            msg = f"{self.name}: also = {{ leads = ... }} names columns of leads, not of {unknown[0]!r}"
            raise SourceError(msg)
        elsewhere = {*self.columns, *self.constants} if self.stages else set()
        if twice := [column for column in ("occurred_at", "stage") if column in elsewhere]:
            msg = f"{self.name}: stages say what {twice[0]} is; leave it out elsewhere"
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

    @property
    def references(self) -> Mapping[str, str]:
        """Columns that may lie in a joined table or inside of JSON, by the name they get."""
        single = (name for name in (self.deleted, self.id) if name is not None)
        names = (*self.columns.values(), *self.lead_id, *self.stages, *single)
        return {name: name for name in names} | dict(self.attributes)

    def by_stage(self) -> tuple[TableMapping, ...]:
        """The mapping itself or, where each stage has its own column of dates, one mapping a stage."""
        if not self.stages:
            return (self,)
        return tuple(
            replace(
                self,
                stages={},
                columns={**self.columns, "occurred_at": column},
                constants={**self.constants, "stage": stage},
            )
            for column, stage in self.stages.items()
        )


@dataclass(frozen=True)
class AttributeSelection:
    """Which free columns of the leads and accounts are attributes.

    Attributes:
        exclude: Columns that are kept out; those of accounts are called ``account.<column>``.
        only: If any are named, all other columns are kept out.
        roles: Roles of columns, instead of those inferred from their values.
        extract: What there is to read out of a column, or "none"; ``"*"`` speaks of all others.
    """

    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    extract: Mapping[str, Extracted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", tuple(map(clean_text, self.exclude)))
        object.__setattr__(self, "only", tuple(map(clean_text, self.only)))
        object.__setattr__(self, "roles", {clean_text(name): role for name, role in self.roles.items()})
        object.__setattr__(self, "extract", {clean_text(name): kind for name, kind in self.extract.items()})


TableEvidence = Mapping[str, Mapping[str | None, MarkEvidence]]
"""What the values of a table say on the marks in its numbers, by column and name of the attribute, if any."""


@dataclass(frozen=True)
class HistoryMapping:
    """Where all the tables of a history come from.

    Attributes:
        leads: The table of leads.
        touchpoints: Tables of touchpoints.
        transitions: Tables of stage entries.
        attributes: Tables of changes of overwritten attributes.
        accounts: The table of accounts, if any.
        merges: Tables of leads that were merged into others.
        plain: Which free columns of leads and accounts are attributes.
        stages: The company's own stages; a transition into any other is bad. Empty for no check.
        observed_until: Epoch seconds up to which the sources are complete (exclusive); None for one second
            after the newest event.
        max_share: Share of bad rows above which reading stops. Default 0.05.
        marks: What the marks in the numbers of free columns meant in earlier data, by column.
        extractions: What a model reads out of columns; None where that is to be found.
        history_extractions: What a model reads out of overwritten attributes; None where that is to be found.
        of_part: Whether the tables are those of a part of a history, in which any of them may be empty.
        evidence: Of a part: what all parts together say on the marks in the numbers of each of ``tables``.
            None where that is not known yet.
    """

    leads: TableMapping
    touchpoints: tuple[TableMapping, ...] = ()
    transitions: tuple[TableMapping, ...] = ()
    attributes: tuple[TableMapping, ...] = ()
    accounts: TableMapping | None = None
    merges: tuple[TableMapping, ...] = ()
    plain: AttributeSelection = AttributeSelection()
    stages: tuple[str, ...] = ()
    observed_until: int | None = None
    max_share: float = MAX_SHARE
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)
    extractions: tuple[ColumnExtraction, ...] | None = None
    history_extractions: tuple[ColumnExtraction, ...] | None = None
    of_part: bool = False
    evidence: tuple[TableEvidence, ...] | None = None

    @property
    def tables(self) -> tuple[TableMapping, ...]:
        """The tables in the order in which they are read."""
        accounts = () if self.accounts is None else (self.accounts,)
        events = (*self.touchpoints, *self.transitions, *self.attributes)
        return (*self.merges, *accounts, self.leads, *events)

    def evidence_of(self, table: TableMapping) -> TableEvidence | None:
        """What all parts say on the marks in the numbers of a table; None where it is to be asked itself."""
        places = (place for place, each in enumerate(self.tables) if each is table)
        return None if self.evidence is None else self.evidence[next(places)]

    def map_tables(self, convert: Callable[[TableMapping], TableMapping]) -> HistoryMapping:
        """The same mapping with every table put through ``convert``, in the order of ``tables``."""
        tables = iter([convert(table) for table in self.tables])
        return replace(
            self,
            merges=tuple(islice(tables, len(self.merges))),
            accounts=None if self.accounts is None else next(tables),
            leads=next(tables),
            touchpoints=tuple(islice(tables, len(self.touchpoints))),
            transitions=tuple(islice(tables, len(self.transitions))),
            attributes=tuple(tables),
        )


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
        extract: What there is to read out of a column, or "none"; ``"*"`` speaks of all others.
        extractions: What a model reads out of columns; None where that is to be found.
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
    extract: Mapping[str, Extracted] = field(default_factory=dict)
    extractions: tuple[ColumnExtraction, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("id", "label", "time"):
            column = getattr(self, name)
            object.__setattr__(self, name, None if column is None else clean_text(column))
        object.__setattr__(self, "exclude", tuple(map(clean_text, self.exclude)))
        object.__setattr__(self, "roles", {clean_text(name): role for name, role in self.roles.items()})
        object.__setattr__(self, "extract", {clean_text(name): kind for name, kind in self.extract.items()})

    @property
    def named(self) -> tuple[str, ...]:
        """Every column of the file that the mapping speaks of."""
        extracted = (name for name in self.extract if name != EVERY)
        names = (self.id, self.label, self.time, *self.exclude, *self.roles, *extracted)
        return tuple(name for name in names if name is not None)

    @property
    def reserved(self) -> frozenset[str]:
        """The columns that are no attributes."""
        return frozenset(name for name in (self.id, self.label, self.time, *self.exclude) if name is not None)
