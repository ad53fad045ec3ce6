"""The tables of a history in a warehouse, as SELECTs that give them the columns of the data contract.

Without a mapping they have those columns already, with times in epoch seconds. What a mapping says beyond
names, constants, words and formats of time is refused: a view can do it, and nothing is left out silently.
What reading a file does beside the mapping, such as to set bad rows aside, stands in ``ASSUMPTIONS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from features.clock import DAY
from features.history import (
    ACCOUNT_PREFIX,
    ATTRIBUTE_SCHEMA,
    LEAD_KNOWN_AT,
    LEAD_SCHEMA,
    TOUCHPOINT_SCHEMA,
    TRANSITION_SCHEMA,
)
from features.ingest.mapping import Database, HistoryMapping, TableMapping, table_stem
from features.ingest.quarantine import SourceError
from features.ingest.schema import OFFER_STAGES
from features.ingest.timestamps import EPOCH_S, EPOCHS, FIRST_DATE, ISO, LAST_DATE
from features.parsing import FALSE, TRUE
from features.warehouse.dialects import (
    Warehouse,
    as_text,
    epoch_seconds,
    is_plain_number,
    quote_name,
    quote_own_name,
    quote_table,
    sql_type,
    text_literal,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from features.spec import FeatureSpec

EVENT_SCHEMAS = {
    "touchpoints": TOUCHPOINT_SCHEMA,
    "transitions": TRANSITION_SCHEMA,
    "attributes": ATTRIBUTE_SCHEMA,
}
OBSERVATION = "leadloop_observation"
"""The name within the query of the table of one row with the end of observation."""
_MOMENTS = frozenset({"occurred_at", "known_at", "created_at"})
_WORD_OF = {"touchpoints": "kind", "transitions": "stage", "attributes": "name"}

ASSUMPTIONS = (
    "ids are unique in leads and accounts, and an event is in its table once",
    "times are dates or timestamps, not text; those without a zone are in UTC, and so is the session",
    "words are spelled in one way, with plain blanks alone; numbers are numbers, or text such as 12.5",
    "no row is set aside: what `leadloop check` lists as bad rows counts here, or stops the query",
)
"""What a SELECT over mapped tables takes for granted, as lines of its comment."""

CANONICAL = (
    "leads, touchpoints, transitions, attributes and accounts have the columns of the data contract",
    "times are whole seconds since 1970, amounts minor units; what is read out of a column is a column",
)
"""What a SELECT without a mapping takes for granted."""


def canonical_mapping() -> HistoryMapping:
    """The mapping of tables that have the columns of a ``LeadHistory``, under the same names."""

    def table(name: str, columns: Iterable[str]) -> TableMapping:
        return TableMapping(
            database=Database(":warehouse:"),
            table=name,
            columns={column: column for column in columns},
            time_format=EPOCH_S,
            money="minor",
            missing=(),
        )

    return HistoryMapping(
        leads=table("leads", (*LEAD_SCHEMA, LEAD_KNOWN_AT)),
        accounts=table("accounts", ("account_id",)),
        **{
            name: (table(name, [column for column in schema if column != "number"]),)
            for name, schema in EVENT_SCHEMAS.items()
        },  # type: ignore[arg-type]  # the names are those of tables of events
    )


@dataclass(frozen=True)
class LeadColumn:
    """A column of the leads, or of their accounts, that features read.

    Attributes:
        of: Its name; those of accounts are called ``account.<column>``.
        unit: What its values are counted in, as in ``FeatureSpec``.
    """

    of: str
    unit: str


@dataclass(frozen=True)
class TableSelects:
    """Writes the SELECT of each table of a history.

    Attributes:
        mapping: Where the tables are and what their columns are called.
        warehouse: How names and types are spelled.
        is_canonical: Whether the tables have the columns of a ``LeadHistory``.
    """

    mapping: HistoryMapping
    warehouse: Warehouse
    is_canonical: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What the tables have to be, as lines of a comment."""
        if self.is_canonical:
            return CANONICAL
        events = [*self.mapping.touchpoints, *self.mapping.transitions]
        late = [
            f"{each.name}: no column known_at is known: an event counts as known when it occurred"
            for each in events
            if "known_at" not in each.columns
        ]
        return (*ASSUMPTIONS, *dict.fromkeys(late), *self._files())

    def _files(self) -> Iterator[str]:
        for table in _tables(self.mapping):
            if table.file is not None:
                yield f"{table.file.name} is taken for an export of the table {table_stem(table.file.name)}"

    def leads(self, columns: Sequence[LeadColumn], *, with_accounts: bool) -> str:
        """The SELECT of the leads, with ``columns`` as ``c0``, ``c1``, ..."""
        table = self.mapping.leads
        created = self._moment(table, "created_at", "l")
        known = self._moment(table, "known_at", "l") if "known_at" in table.columns else created
        account = self._null("text")
        if with_accounts or "account_id" in table.columns:
            account = self._cell(table, "account_id", "l")
        cells = {
            "lead_id": self._cell(table, "lead_id", "l"),
            "created_at": created,
            "account_id": account,
            "known_at": f"CASE WHEN {known} > {created} THEN {known} ELSE {created} END",
        }
        cells |= {f"c{i}": self._lead_cell(each) for i, each in enumerate(columns)}
        names = ", ".join(f"{sql} AS {self._own(name)}" for name, sql in cells.items())
        join = self._account_join() if any(_is_of_account(each) for each in columns) else ""
        relation = f"{self._relation(table)} AS {self._own('l')}{join}"
        return f"SELECT {names} FROM {relation} WHERE {created} IS NOT NULL"  # noqa: S608

    def _account_join(self) -> str:
        accounts = self.mapping.accounts
        if accounts is None:
            msg = "the model reads columns of accounts, and the configuration has no [accounts]"
            raise SourceError(msg)
        own, other = (
            self._cell(self.mapping.leads, "account_id", "l"),
            self._cell(accounts, "account_id", "a"),
        )
        return f" LEFT JOIN {self._relation(accounts)} AS {self._own('a')} ON {own} = {other}"

    def _lead_cell(self, column: LeadColumn) -> str:
        table, alias, name = self.mapping.leads, "l", column.of
        if _is_of_account(column):
            # Where there is none, the join says so.
            table, alias = self.mapping.accounts or table, "a"
            name = column.of.removeprefix(ACCOUNT_PREFIX)
        if name in table.attributes:
            msg = f"{table.name}: {name} comes out of a joined table or of JSON; {_VIEW}"
            raise SourceError(msg)
        raw = f"{self._own(alias)}.{self._quote(name)}"
        if column.unit in {"category", "words"}:
            return self._word(raw, table, {})
        if column.unit == "flag":
            return self._flag(raw)
        return f"CAST({raw} AS {sql_type('number', self.warehouse)})"

    def events(self, name: str, columns_read: Iterable[str]) -> str:
        """The SELECT of all tables of events of a name; columns that are not ``columns_read`` are null."""
        tables = [each for table in getattr(self.mapping, name) for each in table.by_stage()]
        columns = frozenset({*columns_read, _WORD_OF[name]})
        if not tables:
            empty = ", ".join(
                f"{self._null(_kind(dtype))} AS {self._own(column)}"
                for column, dtype in EVENT_SCHEMAS[name].items()
            )
            return f"SELECT {empty} FROM {self._own(OBSERVATION)} WHERE 1 = 0"  # noqa: S608
        return " UNION ALL ".join(self._event_select(name, table, columns) for table in tables)

    def _event_select(self, name: str, table: TableMapping, columns_read: frozenset[str]) -> str:
        cells = {
            column: self._event_cell(name, table, column, columns_read, _kind(dtype))
            for column, dtype in EVENT_SCHEMAS[name].items()
        }
        if "occurred_at" in cells:
            occurred, known = cells["occurred_at"], cells["known_at"]
            cells["known_at"] = f"CASE WHEN {known} > {occurred} THEN {known} ELSE {occurred} END"
        names = ", ".join(f"{sql} AS {self._own(column)}" for column, sql in cells.items())
        moment = cells.get("occurred_at", cells["known_at"])
        conditions = [f"{moment} IS NOT NULL"]
        if name == "transitions" and self.mapping.stages:
            conditions.append(f"{cells['stage']} IN ({self._list(self.mapping.stages)})")
        relation = f"{self._relation(table)} AS {self._own('e')}"
        return f"SELECT {names} FROM {relation} WHERE {' AND '.join(conditions)}"  # noqa: S608

    def _event_cell(
        self, name: str, table: TableMapping, column: str, columns_read: frozenset[str], kind: str
    ) -> str:
        if column == "number":
            return self._number(table) if {"number", "value"} & columns_read else self._null("number")
        if column == "known_at" and "known_at" not in table.columns and name != "attributes":
            return self._event_cell(name, table, "occurred_at", columns_read, kind)
        if column in _MOMENTS:
            sql = self._moment(table, column, "e")
            return self._end_of_day(table, column, sql) if name == "transitions" else sql
        return (
            self._cell(table, column, "e")
            if column in columns_read or column == "lead_id"
            else self._null(kind)
        )

    def _cell(self, table: TableMapping, column: str, alias: str) -> str:
        """A cell of the contract that is no time."""
        if column in table.constants:
            return as_text(text_literal(table.constants[column], self.warehouse), self.warehouse)
        raw = self._raw(table, column, alias)
        if column in {"amount", "seconds"}:
            return self._count(raw, is_major=column == "amount" and table.money == "major")
        word = self._word(raw, table, table.values.get(column, {}))
        if column != "offer_stage" or self.is_canonical:
            return word
        stage = f"LOWER({word})"
        return f"CASE WHEN {stage} IN ({self._list(OFFER_STAGES)}) THEN {stage} END"

    def _raw(self, table: TableMapping, column: str, alias: str) -> str:
        name = table.columns.get(column, column)
        if "." in name:
            msg = f"{table.name}: {name} lies in a joined table or in JSON; {_VIEW}"
            raise SourceError(msg)
        return f"{self._own(alias)}.{self._quote(name)}"

    def _word(self, raw: str, table: TableMapping, values: Mapping[str, str]) -> str:
        text = as_text(raw, self.warehouse)
        if self.is_canonical:
            return text
        trimmed, missing = f"TRIM({text})", self._list(dict.fromkeys(("", *table.missing)))
        literals = (
            (text_literal(a, self.warehouse), text_literal(b, self.warehouse)) for a, b in values.items()
        )
        cases = "".join(f" WHEN {trimmed} = {a} THEN {b}" for a, b in literals)
        return f"CASE WHEN {trimmed} IN ({missing}) THEN NULL{cases} ELSE {trimmed} END"

    def _flag(self, raw: str) -> str:
        word = f"LOWER({as_text(raw, self.warehouse)})"
        number = sql_type("number", self.warehouse)
        yes, no = self._list(sorted(TRUE)), self._list(sorted(FALSE))
        flag = f"CASE WHEN {word} IN ({yes}) THEN 1 WHEN {word} IN ({no}) THEN 0 END"
        return f"CAST({flag} AS {number})"

    def _count(self, raw: str, *, is_major: bool) -> str:
        integer = sql_type("integer", self.warehouse)
        if is_major:
            return f"CAST(ROUND(CAST({raw} AS {sql_type('money', self.warehouse)}) * 100) AS {integer})"
        return f"CAST(FLOOR(CAST({raw} AS {sql_type('number', self.warehouse)})) AS {integer})"

    def _number(self, table: TableMapping) -> str:
        """The number that an overwritten attribute is, if it is one."""
        number = sql_type("number", self.warehouse)
        if self.is_canonical:
            return f"CAST({self._own('e')}.{self._quote('number')} AS {number})"
        text = f"TRIM({as_text(self._raw(table, 'value', 'e'), self.warehouse)})"
        cast = f"CAST({text} AS {number})"
        return f"CASE WHEN {is_plain_number(text, self.warehouse)} THEN {cast} END"

    def _moment(self, table: TableMapping, column: str, alias: str) -> str:
        """A time in epoch seconds; null where it stands for none."""
        raw = self._raw(table, column, alias)
        integer, number = (sql_type(kind, self.warehouse) for kind in ("integer", "number"))
        if self.is_canonical:
            return f"CAST({raw} AS {integer})"
        units = EPOCHS.get(table.time_format, 1)
        scale = f" / {units}.0" if units > 1 else ""
        sql = f"CAST(FLOOR(CAST({raw} AS {number}){scale}) AS {integer})"
        if table.time_format == ISO:
            sql = epoch_seconds(raw, self.warehouse)
        none = f"{sql} < {FIRST_DATE} OR {sql} >= {LAST_DATE} OR {sql} = 0"
        return f"CASE WHEN {none} THEN NULL ELSE {sql} END"

    def _end_of_day(self, table: TableMapping, column: str, sql: str) -> str:
        """The last second of the day where a date has no time: then, at the latest, the stage was entered."""
        if table.time_format != ISO or self.is_canonical:
            return sql
        text = as_text(self._raw(table, column, "e"), self.warehouse)
        until = f"(SELECT {self._own('observed_until')} FROM {self._own(OBSERVATION)})"  # noqa: S608
        end = f"{sql} + {DAY - 1}"
        today = f"CASE WHEN {sql} < {until} AND {end} >= {until} THEN {until} - 1 ELSE {end} END"
        return f"CASE WHEN LENGTH({text}) <= {_DATE_LENGTH} THEN {today} ELSE {sql} END"

    def _relation(self, table: TableMapping) -> str:
        if table.query_text is not None:
            return f"({table.query_text})"
        name = table.table if table.file is None else table_stem(table.file.name)
        return quote_table(str(name), self.warehouse)

    def _list(self, words: Iterable[str]) -> str:
        return ", ".join(text_literal(word, self.warehouse) for word in words)

    def _null(self, kind: str) -> str:
        return f"CAST(NULL AS {sql_type(kind, self.warehouse)})"

    def _own(self, name: str) -> str:
        return quote_own_name(name, self.warehouse)

    def _quote(self, name: str) -> str:
        return quote_name(name, self.warehouse)


_VIEW = "make a view of it in the warehouse, and name that in a configuration of its own"
_DATE_LENGTH = len("2024-01-31")


def _is_of_account(column: LeadColumn) -> bool:
    return column.of.startswith(ACCOUNT_PREFIX)


def _kind(dtype: object) -> str:
    return {pl.Int64: "integer", pl.Float64: "number"}.get(dtype, "text")  # type: ignore[call-overload,no-any-return]


def needed_columns(specs: Iterable[FeatureSpec], table: str) -> frozenset[str]:
    """The columns of a table of events that features read."""
    own = [spec for spec in specs if spec.source.endswith(table)]
    read = {str(spec.of) for spec in own if spec.of is not None}
    return (
        frozenset(read | {column for spec in own for column, _ in spec.where}) & EVENT_SCHEMAS[table].keys()
    )


def _tables(mapping: HistoryMapping) -> list[TableMapping]:
    accounts = () if mapping.accounts is None else (mapping.accounts,)
    return [
        mapping.leads,
        *accounts,
        *mapping.touchpoints,
        *mapping.transitions,
        *mapping.attributes,
    ]


_REFUSED = ("where", "join", "lookup", "gather", "also", "deleted", "lead_id", "id")
"""The keys of a table that the SELECT does not express."""


def refuse_unwritable(mapping: HistoryMapping, specs: Iterable[FeatureSpec]) -> None:
    """Raise SourceError where the configuration or a feature says what the SELECT would leave out."""
    if mapping.merges:
        msg = f"[[merges]]: SQL does not follow merged leads; {_VIEW}, with events under the survivor's id"
        raise SourceError(msg)
    for table in _tables(mapping):
        if keys := [key for key in _REFUSED if getattr(table, key)]:
            msg = f"{table.name}: SQL does not write {keys[0]!r}; {_VIEW}"
            raise SourceError(msg)
        _refuse_times(table)
    for table in mapping.attributes:
        if "account_id" in table.columns:
            msg = f"{table.name}: SQL does not spread attributes of accounts over their leads; {_VIEW}"
            raise SourceError(msg)
    if extracted := [spec.name for spec in specs if spec.extraction is not None]:
        msg = (
            f"SQL does not read {extracted[0]!r} out of a column ({len(extracted):,} such features); write a "
            "table with the columns that are read out and leave --config away, or train without them: "
            '[attributes] extract = { "*" = "none" }'
        )
        raise SourceError(msg)


def _refuse_times(table: TableMapping) -> None:
    if table.time_format not in {ISO, *EPOCHS}:
        msg = f"{table.name}: SQL reads no times written as {table.time_format!r}; {_VIEW}, as timestamps"
        raise SourceError(msg)
    if table.time_zone != "UTC" and table.time_format == ISO:
        msg = f"{table.name}: SQL reads times in UTC, not in {table.time_zone}; {_VIEW}, in UTC"
        raise SourceError(msg)
