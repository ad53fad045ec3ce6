"""Tables of events, read a batch at a time: a history's events may be larger than the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from features.history import ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA
from features.ingest.lead_ids import FURTHER_ID, resolve_lead_ids
from features.ingest.row_validation import ValidatedRows
from features.ingest.schema import (
    PART,
    ValidationContext,
    attribute_numbers,
    check_mapping,
    column_names,
    validate_table,
)
from features.ingest.tables import TableReader, open_table
from features.parsing import strip_missing

if TYPE_CHECKING:
    from features.ingest.column_roles import ColumnRole
    from features.ingest.mapping import TableMapping
    from features.ingest.quarantine import Quarantine
    from features.ingest.schema import TableName
    from features.ingest.tables import Batch

RowSink = Callable[["TableName", pl.DataFrame], None]
"""What becomes of the good rows of a table, whose name comes first."""
EVENT_ROWS = 500_000
EVENT_SCHEMAS: dict[TableName, dict[str, Any]] = {
    "touchpoints": TOUCHPOINT_SCHEMA,
    "transitions": TRANSITION_SCHEMA,
    "attributes": ATTRIBUTE_SCHEMA,
}


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows a table had, and how many of them go on."""

    table: str
    file: str
    rows: int
    accepted: int


@dataclass(frozen=True)
class TableReport:
    """What there is to say of one table that was read.

    Attributes:
        count: How many rows it had and how many go on.
        quarantine: Its bad rows and cells.
        notices: Sentences on the table as a whole.
        newest: When the newest row became known, epoch seconds.
        names: Names of the overwritten attributes in it.
        roles: What each free column was taken for.
        columns: All its columns.
    """

    count: RowCounts
    quarantine: Quarantine
    notices: tuple[str, ...]
    newest: int | None = None
    names: frozenset[str] = frozenset()
    roles: tuple[ColumnRole, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass
class _Tally:
    """What the batches of a table added up to so far."""

    problems: ValidatedRows = field(default_factory=lambda: ValidatedRows(pl.DataFrame()))
    rows: int = 0
    accepted: int = 0
    newest: int | None = None
    names: frozenset[str] = frozenset()

    def add(self, checked: ValidatedRows, good: pl.DataFrame) -> None:
        self.problems = replace(checked.after(self.problems), frame=self.problems.frame)
        self.accepted += good.height
        self.newest = max((s for s in (self.newest, good["known_at"].max()) if s is not None), default=None)  # type: ignore[assignment]
        if "name" in good.columns:
            self.names |= frozenset(good["name"].unique())


def read_events(
    name: TableName, mapping: TableMapping, context: ValidationContext, sink: RowSink
) -> TableReport:
    """Read a table of events in batches; good rows go to ``sink`` with the ``PART`` of their lead."""
    check_mapping(name, mapping)
    table = open_table(mapping)
    context = replace(context, decimal=table.decimal)
    variants = [(each, map_column_names(name, each, table)) for each in mapping.by_stage()]
    tally = _Tally(ValidatedRows(pl.DataFrame(), names=variants[0][1]))
    for batch in table.batches(EVENT_ROWS, sorted({c for _, names in variants for c in names.values()})):
        tally.rows += batch.frame.height
        for variant, names in variants:
            rows = apply_mapping(batch, names, (), variant)
            rows = resolve_lead_ids(rows, context.leads, context.further_ids)
            checked = validate_table(name, rows, context)
            good = _cast_events(name, checked.frame, context)
            sink(name, good)
            tally.add(checked, good)
    is_empty = not tally.rows and not table.rejects
    empty = (f"{name}: {table.no_rows_message}; it counts once it has some",) if is_empty else ()
    return TableReport(
        count=RowCounts(name, mapping.name, tally.rows + len(table.rejects), tally.accepted),
        quarantine=tally.problems.quarantine(table, name, rejects=True),
        notices=(*table.notices, *empty, *table_notices(name, mapping, tally.problems)),
        newest=tally.newest,
        names=tally.names,
    )


def _cast_events(name: TableName, rows: pl.DataFrame, context: ValidationContext) -> pl.DataFrame:
    if name == "attributes":
        rows = rows.with_columns(attribute_numbers(rows["value"], context.decimal).alias("number"))
    return rows.select(*(pl.col(c).cast(dtype) for c, dtype in EVENT_SCHEMAS[name].items()), PART)


def map_column_names(name: TableName, mapping: TableMapping, table: TableReader) -> dict[str, str]:
    """The table's own name of each column of the contract that it has.

    Raises:
        SourceError: the mapping names a column that the contract or the table does not have.
    """
    check_mapping(name, mapping)
    first, further = mapping.lead_id[:1], mapping.lead_id[1:]
    chosen = dict(zip(["lead_id"], first, strict=False))
    chosen |= {f"{FURTHER_ID}{i}": column for i, column in enumerate(further)}
    table.require((*mapping.columns.values(), *chosen.values()))
    same = (c for c in column_names(name) if c in table.columns and c not in mapping.constants)
    return {column: column for column in same} | dict(mapping.columns) | chosen


def apply_mapping(
    batch: Batch, names: dict[str, str], free: tuple[str, ...], mapping: TableMapping
) -> ValidatedRows:
    """Rows with the contract's columns under the contract's names, cells cleaned and translated.

    The ``free`` columns, which the contract does not know, keep their names.
    """
    cells = {column.name: strip_missing(column, mapping.missing) for column in batch.frame}
    columns = [
        _translate_values(cells[source_name].alias(column), mapping) for column, source_name in names.items()
    ]
    columns += [cells[column] for column in free]
    constants = [pl.lit(value).alias(column) for column, value in mapping.constants.items()]
    frame = pl.DataFrame(columns).with_columns(constants)
    return replace(ValidatedRows.from_frame(frame, batch.first, batch.numbers), names=names)


def _translate_values(column: pl.Series, mapping: TableMapping) -> pl.Series:
    words = mapping.values.get(column.name)
    return column if words is None else column.cast(pl.String).replace(dict(words))


def table_notices(name: TableName, mapping: TableMapping, rows: ValidatedRows) -> tuple[str, ...]:
    """Sentences of the checks on a whole table."""
    return tuple(f"{name}: {mapping.name}: {count:,} {text}" for text, count in rows.remarks.items())
