"""Which columns a configured table has under the contract's own names, where the table can be asked.

Reading a history takes such a column without being told. A query is often written where the warehouse cannot
be reached; then only what the configuration names is certain, and the query says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from features.ingest.event_tables import EVENT_SCHEMAS
from features.ingest.quarantine import SourceError
from features.ingest.schema import TableName, column_names
from features.ingest.tables import open_table

if TYPE_CHECKING:
    from features.ingest.mapping import HistoryMapping, TableMapping


def name_source_columns(mapping: HistoryMapping) -> HistoryMapping:
    """The mapping with every column of the contract that its tables have, for all that can be opened.

    Args:
        mapping: Where the tables are; files are opened, databases are connected to.
    """
    accounts = None if mapping.accounts is None else _with_columns("accounts", mapping.accounts)
    events = {
        name: tuple(_with_columns(name, table) for table in getattr(mapping, name)) for name in EVENT_SCHEMAS
    }
    return replace(mapping, leads=_with_columns("leads", mapping.leads), accounts=accounts, **events)  # type: ignore[arg-type]


def _with_columns(name: TableName, table: TableMapping) -> TableMapping:
    try:
        present = open_table(table).columns
    except SourceError:
        return table
    fixed = {*table.constants, *(("occurred_at", "stage") if table.stages else ())}
    fixed |= {"lead_id"} if table.lead_id else set()
    same = {column: column for column in column_names(name) if column in present and column not in fixed}
    return replace(table, columns=same | dict(table.columns))
