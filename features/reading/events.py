"""Tables of events, read a batch at a time: a history's events may be larger than the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from features.history import ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA
from features.reading.parsing import cleaned
from features.reading.quarantine import Quarantine, SourceError
from features.reading.sieve import Sieve
from features.reading.tables import Table, open_table
from features.schema import PART, Context, attribute_numbers, check, columns_of, refuse_unknown

if TYPE_CHECKING:
    from features.reading.mapping import TableMapping
    from features.reading.roles import ColumnRole
    from features.reading.tables import Batch
    from features.schema import TableName

Keep = Callable[["TableName", pl.DataFrame], None]
"""What becomes of the good rows of a table, whose name comes first."""
EVENT_ROWS = 500_000
EVENT_SCHEMAS: dict[TableName, dict[str, Any]] = {
    "touchpoints": TOUCHPOINT_SCHEMA,
    "transitions": TRANSITION_SCHEMA,
    "attributes": ATTRIBUTE_SCHEMA,
}


@dataclass(frozen=True, slots=True)
class TableCount:
    """How many rows a source had, and how many of them go on."""

    table: str
    file: str
    rows: int
    kept: int


@dataclass(frozen=True)
class Source:
    """What there is to say of one source that was read; ``newest`` is when the last of it became known.

    ``names`` are those of the overwritten attributes in it.
    """

    count: TableCount
    quarantine: Quarantine
    notices: tuple[str, ...]
    newest: int | None = None
    names: frozenset[str] = frozenset()
    roles: tuple[ColumnRole, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass
class _Tally:
    """What the batches of a table came to so far."""

    sieve: Sieve = field(default_factory=lambda: Sieve(pl.DataFrame()))
    rows: int = 0
    kept: int = 0
    newest: int | None = None
    names: frozenset[str] = frozenset()

    def add(self, batch: Batch, sieve: Sieve, good: pl.DataFrame) -> None:
        self.sieve = replace(sieve.after(self.sieve), frame=self.sieve.frame)
        self.rows += batch.frame.height
        self.kept += good.height
        self.newest = max((s for s in (self.newest, good["known_at"].max()) if s is not None), default=None)  # type: ignore[assignment]
        if "name" in good.columns:
            self.names |= frozenset(good["name"].unique())


def read_events(name: TableName, mapping: TableMapping, context: Context, keep: Keep) -> Source:
    """Give the good rows of a table of events to ``keep``, each with the ``PART`` of its lead."""
    table = open_table(mapping)
    names, context = names_in(name, mapping, table), replace(context, decimal=table.decimal)
    tally = _Tally(Sieve(pl.DataFrame(), names=names))
    for batch in table.batches(EVENT_ROWS, sorted({*names.values()})):
        sieve = check(name, mapped(batch, names, (), mapping), context)
        good = _typed(name, sieve.frame, context)
        keep(name, good)
        tally.add(batch, sieve, good)
    if not tally.rows and not table.rejects:
        msg = f"{mapping.name} has column names but no rows"
        raise SourceError(msg)
    return Source(
        count=TableCount(name, mapping.name, tally.rows + len(table.rejects), tally.kept),
        quarantine=tally.sieve.quarantine(table, name, rejects=True),
        notices=(*table.notices, *remarks(name, mapping, tally.sieve)),
        newest=tally.newest,
        names=tally.names,
    )


def _typed(name: TableName, rows: pl.DataFrame, context: Context) -> pl.DataFrame:
    if name == "attributes":
        rows = rows.with_columns(attribute_numbers(rows["value"], context.decimal).alias("number"))
    return rows.select(*(pl.col(c).cast(dtype) for c, dtype in EVENT_SCHEMAS[name].items()), PART)


def names_in(name: TableName, mapping: TableMapping, table: Table) -> dict[str, str]:
    """How the table calls each column of the contract that it has.

    Raises:
        SourceError: the mapping names a column that the contract or the table does not have.
    """
    refuse_unknown(name, mapping)
    table.require(mapping.columns.values())
    same = (c for c in columns_of(name) if c in table.columns and c not in mapping.constants)
    return {column: column for column in same} | dict(mapping.columns)


def mapped(batch: Batch, names: dict[str, str], free: tuple[str, ...], mapping: TableMapping) -> Sieve:
    """Rows with the contract's columns under the contract's names, cells cleaned and translated.

    The ``free`` columns, which the contract does not know, keep their names.
    """
    cells = {column.name: cleaned(column, mapping.missing) for column in batch.frame}
    columns = [_translated(cells[own].alias(column), mapping) for column, own in names.items()]
    columns += [cells[column] for column in free]
    constants = [pl.lit(value).alias(column) for column, value in mapping.constants.items()]
    return replace(Sieve.of(pl.DataFrame(columns).with_columns(constants), batch.first), names=names)


def _translated(column: pl.Series, mapping: TableMapping) -> pl.Series:
    words = mapping.values.get(column.name)
    return column if words is None else column.cast(pl.String).replace(dict(words))


def remarks(name: TableName, mapping: TableMapping, sieve: Sieve) -> tuple[str, ...]:
    """What the checks have to say of a whole table."""
    return tuple(f"{name}: {mapping.name}: {rows:,} {text}" for text, rows in sieve.remarks.items())
