"""What the checks of a table go by beside its rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from features.ingest.event_tables import EVENT_SCHEMAS
from features.ingest.timestamps import has_days

if TYPE_CHECKING:
    from features.ingest.mapping import HistoryMapping, TableMapping
    from features.ingest.schema import TableName, ValidationContext


def table_context(
    name: TableName, mapping: TableMapping, context: ValidationContext, history_mapping: HistoryMapping
) -> ValidationContext:
    """What a table is checked by.

    Args:
        name: Which table of the contract it becomes.
        mapping: How it becomes that.
        context: What all tables are checked by.
        history_mapping: How all tables map onto the data contract.

    Returns:
        The context with what the table's own mapping says.
    """
    leads_table = history_mapping.leads
    in_leads_table = mapping is not leads_table and mapping.location == leads_table.location
    sparse = in_leads_table or bool(mapping.stages) or _EVENT_COLUMN.get(name) in mapping.constants
    return replace(
        context,
        dated=name == "transitions",
        times=mapping.times,
        money=mapping.money,
        sparse=sparse,
        planned=_PLANNED if name == "touchpoints" else 0.0,
        is_part=history_mapping.of_part,
        evidence=history_mapping.evidence_of(mapping),
        ends_days=name == "transitions" or (name in EVENT_SCHEMAS and not has_days(mapping.time_format)),
    )


# Up to this share of touchpoints may be planned: later than the end of observation.
_PLANNED = 0.5
_EVENT_COLUMN: dict[TableName, str] = {"touchpoints": "kind", "transitions": "stage"}
