"""The query that reads a table with its joins, lookups and conditions, as its database spells it.

Names are quoted as the database quotes them, values are bound and never stand in the text of the query. Two
columns are equal as they are where both are text or both are numbers, else as text; addresses of e-mail are
equal without case and blanks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy

from features.ingest.quarantine import SourceError
from features.ingest.row_conditions import TRUTH_WORDS
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from features.ingest.mapping import CellValues, TableJoin, TableSource, ValueLookup

BASE = "leadloop_base"
ROW_NUMBER = "leadloop_row"
_OPERAND = "leadloop_operand"


@dataclass(frozen=True)
class SqlDialect:
    """How a database spells names, casts and paths into JSON.

    Attributes:
        name: The name of the database's kind, as SQLAlchemy has it, or ``"duckdb"``.
        sqlalchemy: SQLAlchemy's description of the database; PostgreSQL's for DuckDB.
    """

    name: str
    sqlalchemy: sqlalchemy.Dialect

    @property
    def is_duckdb(self) -> bool:
        """Whether DuckDB itself runs the query, not SQLAlchemy."""
        return self.name == "duckdb"

    @property
    def is_mysql(self) -> bool:
        """Whether the database is MySQL or MariaDB."""
        return self.name in {"mysql", "mariadb"}

    def quote(self, name: str) -> str:
        """A name between the quotes of the database."""
        quote = self.sqlalchemy.identifier_preparer.quote_identifier
        quoted = quote(name)
        if "%%" in quote("%"):  # for the driver; but the text of a query doubles percent signs, too
            quoted = quoted.replace("%%", "%")
        return self.escape(quoted)

    def quote_table(self, name: str) -> str:
        """The name of a table with its schema, each part quoted."""
        return ".".join(self.quote(part) for part in name.split("."))

    def escape(self, sql: str) -> str:
        """Text of a query in which a colon is a colon and no parameter."""
        return sql if self.is_duckdb else sql.replace(":", "\\:")

    def placeholder(self, name: str) -> str:
        """The place of a bound value."""
        return f"${name}" if self.is_duckdb else f":{name}"

    def text(self, sql: str) -> str:
        """An expression as text; in MySQL as text in which upper case and lower case differ."""
        if self.is_mysql:
            return f"(CONVERT({sql} USING utf8mb4) COLLATE utf8mb4_bin)"
        kind = sqlalchemy.String(4000) if self.name in {"mssql", "oracle"} else sqlalchemy.String()
        cast = sqlalchemy.cast(sqlalchemy.literal_column(_OPERAND), kind)
        return str(cast.compile(dialect=self.sqlalchemy)).replace(_OPERAND, sql)

    def json_value(self, sql: str, family: str, path: Sequence[str], bind: Callable[[Any], str]) -> str:
        """The text at a path inside of a JSON column."""
        if self.name == "postgresql":
            return f"(CAST({sql} AS JSONB) #>> CAST({bind(list(path))} AS TEXT[]))"
        steps = "".join(f"[{part}]" if part.isdigit() else f".{json.dumps(part)}" for part in path)
        if self.name == "duckdb":
            document = f"to_json({sql})" if family == "nested" else sql
            return f"json_extract_string({document}, {bind('$' + steps)})"
        if self.name == "sqlite":
            return f"json_extract({sql}, {bind('$' + steps)})"
        if self.is_mysql:
            return f"NULLIF(JSON_UNQUOTE(JSON_EXTRACT({sql}, {bind('$' + steps)})), 'null')"
        if self.name == "snowflake":
            return self.text(f"GET_PATH({sql}, {bind(steps.removeprefix('.'))})")
        return f"JSON_VALUE({sql}, {bind('$' + steps)})"


@dataclass(frozen=True)
class TableQuery:
    """A query with its bound values.

    Attributes:
        sql: The text; columns are called ``c0``, ``c1``, ... in the order of ``columns``.
        parameters: The bound values.
        columns: The name of each column of the result.
        checks: For each further column, true where something was not found, whether the row is left out then,
            and what was not found in words.
    """

    sql: str
    parameters: Mapping[str, Any]
    columns: tuple[str, ...]
    checks: tuple[QueryCheck, ...] = ()


@dataclass(frozen=True)
class QueryCheck:
    """What a query says of rows for which a join or a lookup found nothing."""

    text: str
    drops_row: bool


@dataclass(frozen=True)
class _Place:
    """Where a column is: a table of the query, its column, and the path inside of a JSON column."""

    table: str
    column: str
    path: tuple[str, ...] = ()


Families = dict[str, str]
"""The columns of a table, each with ``"text"``, ``"number"``, another kind, or ``""`` if unknown."""


def find_place(reference: str, tables: Mapping[str, Families]) -> _Place | None:
    """Where a column is that may be ``column``, ``table.column`` or ``column.key`` of JSON; None for nowhere.

    >>> tables = {BASE: {"id": "", "data": ""}, "mail": {"date": ""}}
    >>> find_place("mail.date", tables).table, find_place("data.size", tables).path
    ('mail', ('size',))
    """
    base, *joined = tables
    if reference in tables[base]:
        return _Place(base, reference)
    for name in joined:
        if reference.startswith(f"{name}.") and (
            place := _place_within(name, reference.removeprefix(f"{name}."), tables[name])
        ):
            return place
    return _place_within(base, reference, tables[base])


def _place_within(table: str, reference: str, columns: Families) -> _Place | None:
    if reference in columns:
        return _Place(table, reference)
    documents = [column for column in columns if reference.startswith(f"{column}.")]
    if not documents:
        return None
    column = max(documents, key=len)
    return _Place(table, column, tuple(reference.removeprefix(f"{column}.").split(".")))


@dataclass
class TableQueryBuilder:
    """Builds the query of a table from the columns of the tables that it reads.

    Attributes:
        source: The table with its joins, lookups and conditions.
        dialect: How the database spells them.
        tables: The columns of the table itself (as ``BASE``) and of those joined, by name.
        relations: How a query names each of these tables.
        lookups: The columns of the tables of lookups, and how a query names them, by looked-up column.
        keeps_rows: Whether a row stays where a join finds nothing, as leads do.
    """

    source: TableSource
    dialect: SqlDialect
    tables: Mapping[str, Families]
    relations: Mapping[str, str]
    lookups: Mapping[str, tuple[str, Families]] = field(default_factory=dict)
    keeps_rows: bool = False
    _parameters: dict[str, Any] = field(default_factory=dict)

    def build(self, columns: Mapping[str, str], *, numbered: bool = False) -> TableQuery:
        """The query for columns, by the name that each gets; ``numbered`` adds the number of the row."""
        selected = [self._looked_up(reference) for reference in columns.values()]
        if numbered:
            selected.append(f"{self.dialect.quote(BASE)}.{self.dialect.quote(ROW_NUMBER)}")
        joins = [text for join in self.source.join for text in self._join(join)]
        lookups = [self._lookup_join(i, name) for i, name in enumerate(self.source.lookup)]
        checks = [*self._join_checks(), *self._lookup_checks(list(columns.values()))]
        everything = [*selected, *(sql for sql, _ in checks)]
        names = (f"{sql} AS c{i}" for i, sql in enumerate(everything))
        conditions = list(self._conditions())
        parts = [
            "SELECT " + ", ".join(names),
            f"FROM {self.relations[BASE]} AS {self.dialect.quote(BASE)}",
            *joins,
            *filter(None, lookups),
            *(["WHERE " + " AND ".join(conditions)] if conditions else []),
            *([f"ORDER BY c{len(selected) - 1}"] if numbered else []),
        ]
        names_of_columns = (*columns, *((ROW_NUMBER,) if numbered else ()))
        return TableQuery(
            "\n".join(parts), dict(self._parameters), names_of_columns, tuple(check for _, check in checks)
        )

    def _bind(self, value: Any) -> str:
        name = f"p{len(self._parameters)}"
        self._parameters[name] = value
        return self.dialect.placeholder(name)

    def _expression(self, place: _Place, families: Families) -> tuple[str, str]:
        """The expression for a place, and the family of its values."""
        column = f"{self.dialect.quote(place.table)}.{self.dialect.quote(place.column)}"
        family = families[place.column]
        if not place.path:
            return column, family
        return self.dialect.json_value(column, family, place.path, self._bind), "text"

    def _resolve(self, reference: str) -> tuple[str, str]:
        place = find_place(reference, self.tables)
        if place is None:
            known = [
                *self.tables[BASE],
                *(f"{t}.{c}" for t, cs in self.tables.items() if t != BASE for c in cs),
            ]
            msg = f"{self.source.name} has no column {reference!r}{suggest(reference, known)}"
            raise SourceError(msg)
        return self._expression(place, self.tables[place.table])

    def _resolve_in(self, table: str, column: str) -> tuple[str, str]:
        place = _place_within(table, column, self.tables[table])
        if place is None:
            msg = f"{self.source.name}: {table} has no column {column!r}{suggest(column, self.tables[table])}"
            raise SourceError(msg)
        return self._expression(place, self.tables[table])

    def _join(self, join: TableJoin) -> Iterator[str]:
        quote, matches, keys = self.dialect.quote, [], []
        for i, (theirs, own) in enumerate(join.on.items()):
            (left, family), (right, own_family) = self._resolve(theirs), self._resolve_in(join.name, own)
            comparable = self._comparable(family, own_family, theirs + own)
            key = right if comparable is None else f"{quote(join.name)}.{quote(f'leadloop_key{i}')}"
            matches.append(f"{left if comparable is None else comparable(left)} = {key}")
            keys += [] if comparable is None else [f"{comparable(right)} AS {quote(f'leadloop_key{i}')}"]
        if self.keeps_rows:  # a lead without a fitting row is a lead
            matches += self._fits_all(join.name, join.where)
        relation, name = self.relations[join.name], quote(join.name)
        if keys:
            relation = f"(SELECT {name}.*, {', '.join(keys)} FROM {relation} AS {name}{self._stays_a_table})"  # noqa: S608
        yield f"LEFT JOIN {relation} AS {name}"
        yield "  ON " + " AND ".join(matches)

    @property
    def _stays_a_table(self) -> str:
        """What keeps SQLite from dissolving an inner query: only a table of its own gets an index."""
        return " LIMIT -1" if self.dialect.name == "sqlite" else ""

    def _comparable(self, family: str, other: str, names: str) -> Callable[[str], str] | None:
        """How both sides of an equality are written to be compared; None where they can be as they are."""
        if "mail" in names.lower():
            return lambda sql: f"LOWER(TRIM({self.dialect.text(sql)}))"
        return None if family and family == other else self.dialect.text

    def _join_checks(self) -> Iterator[tuple[str, QueryCheck]]:
        for join in self.source.join:
            own = next(iter(join.on.values()))
            missing = f"({self._resolve_in(join.name, own)[0]} IS NULL)"
            yield missing, QueryCheck(f"rows have no row in {join.name}", drops_row=not self.keeps_rows)

    def _lookup_checks(self, references: Sequence[str]) -> Iterator[tuple[str, QueryCheck]]:
        for i, (reference, lookup) in enumerate(self.source.lookup.items()):
            if lookup.table is not None and reference in references:
                key = f"{self.dialect.quote(f'lookup_{i}')}.{self.dialect.quote('k')}"
                missing = f"({self._resolve(reference)[0]} IS NOT NULL AND {key} IS NULL)"
                yield (
                    missing,
                    QueryCheck(
                        f"rows have a {reference} that is not in {lookup.table}; it stays as it is",
                        drops_row=False,
                    ),
                )

    def _lookup_join(self, number: int, reference: str) -> str | None:
        """The join with the names of a lookup, one a key."""
        lookup = self.source.lookup[reference]
        if lookup.table is None:
            return None
        relation, families = self.lookups[reference]
        inner, alias = self.dialect.quote("names"), self.dialect.quote(f"lookup_{number}")
        key, key_family = self._column_of_lookup("names", lookup.key, families, lookup)
        value, _ = self._column_of_lookup("names", lookup.value, families, lookup)
        left, family = self._resolve(reference)
        comparable = self._comparable(family, key_family, "")
        if comparable is not None:
            left, key = comparable(left), comparable(key)
        k, v = self.dialect.quote("k"), self.dialect.quote("v")
        fits = [
            self._fits(self._column_of_lookup("names", column, families, lookup), values)
            for column, values in lookup.where.items()
        ]
        rows = f"{relation} AS {inner}" + (" WHERE " + " AND ".join(fits) if fits else "")
        names = f"SELECT {key} AS {k}, MIN({self.dialect.text(value)}) AS {v} FROM {rows} GROUP BY {key}"  # noqa: S608
        return f"LEFT JOIN ({names}) AS {alias}\n  ON {left} = {alias}.{k}"

    def _column_of_lookup(
        self, table: str, column: str, families: Families, lookup: ValueLookup
    ) -> tuple[str, str]:
        place = _place_within(table, column, families)
        if place is None:
            msg = f"{self.source.name}: {lookup.table} has no column {column!r}{suggest(column, families)}"
            raise SourceError(msg)
        return self._expression(place, families)

    def _looked_up(self, reference: str) -> str:
        """The expression of a column, with the names of its lookup if there is one."""
        sql, _ = self._resolve(reference)
        lookup = self.source.lookup.get(reference)
        if lookup is None:
            return sql
        text = self.dialect.text(sql)
        if lookup.table is None:
            cases = (
                f"WHEN {self._bind(code)} THEN {self._bind(word)}" for code, word in lookup.codes.items()
            )
            return f"CASE {text} {' '.join(cases)} ELSE {text} END"
        number = list(self.source.lookup).index(reference)
        value = f"{self.dialect.quote(f'lookup_{number}')}.{self.dialect.quote('v')}"
        return f"COALESCE({value}, {text})"

    def _conditions(self) -> Iterator[str]:
        for reference, values in self.source.where.items():
            yield self._fits(self._resolve(reference), values)
        if self.keeps_rows:
            return
        for join in self.source.join:
            if join.where:
                own = self._resolve_in(join.name, next(iter(join.on.values())))[0]
                yield f"({own} IS NULL OR {' AND '.join(self._fits_all(join.name, join.where))})"

    def _fits_all(self, table: str, where: Mapping[str, CellValues]) -> list[str]:
        return [self._fits(self._resolve_in(table, column), values) for column, values in where.items()]

    def _fits(self, expression: tuple[str, str], values: CellValues) -> str:
        """The condition that an expression holds one of the values, compared as text."""
        sql, family = expression
        text = self.dialect.text(sql) if family != "text" or self.dialect.is_mysql else sql
        words = [value for value in values if isinstance(value, str) and value]
        truth = [word for value in values if isinstance(value, bool) for word in TRUTH_WORDS[value]]
        parts = []
        if words:
            parts.append(f"{text} IN ({', '.join(map(self._bind, words))})")
        if truth:
            parts.append(f"LOWER({self.dialect.text(sql)}) IN ({', '.join(map(self._bind, truth))})")
        if "" in values:
            parts.append(f"({sql} IS NULL OR {text} = '')")
        return "(" + " OR ".join(parts) + ")"
