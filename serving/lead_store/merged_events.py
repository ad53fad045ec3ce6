"""Whose events are whose after merges: by the functions that a history from files goes through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from features.history import TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA
from features.merges import MERGE_SCHEMA, PART, MergeCircleError, Merges, chain_merges

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    Event = dict[str, Any]
    EventsByLead = Mapping[str, Sequence[Event]]

# Of an overwritten attribute: the text in ``value`` or the number in ``number``, as the store has it.
_CHANGE_SCHEMA = {"lead_id": pl.String, "known_at": pl.Int64, "name": pl.String, "value": pl.String}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "touchpoint": TOUCHPOINT_SCHEMA,
    "transition": TRANSITION_SCHEMA,
    "attribute": _CHANGE_SCHEMA,
}


def share_events(
    events: Mapping[str, EventsByLead], merges: Sequence[tuple[str, str, int]], leads: Collection[str]
) -> dict[str, dict[str, list[Event]]]:
    """Events by kind and lead, with what survivors of merges have of others, and what becomes of those.

    Args:
        events: By kind and lead, the events of all leads that take part. The ``value`` of an attribute is
            JSON text, or None.
        merges: Who was merged into whom, and when that was known.
        leads: The leads of which there is more than their events.

    Returns:
        The events of each of ``leads``.
    """
    chained = chain_known_merges(merges)
    frames = {kind: _frame(events[kind], schema) for kind, schema in _SCHEMAS.items()}
    ids = sorted(leads)
    parts = chained.add_vanished(pl.DataFrame({"lead_id": ids, PART: [0] * len(ids)}, schema=_PART_SCHEMA))
    known = parts.filter(pl.col(PART) >= 0)
    shared = {
        kind: chained.share(frame.join(parts, on="lead_id", maintain_order="left"), parts)
        for kind, frame in frames.items()
    }
    if chained:
        changes = frames["attribute"].join(parts, on="lead_id", maintain_order="left")
        inherited = chained.inherited(changes, parts)
        shared["attribute"] = pl.concat([shared["attribute"], inherited.select(shared["attribute"].columns)])
        closings = chained.closings(known).select(shared["transition"].columns)
        shared["transition"] = pl.concat([shared["transition"], closings])
    return {kind: _by_lead(frame) for kind, frame in shared.items()}


_PART_SCHEMA: dict[str, Any] = {"lead_id": pl.String, PART: pl.Int64}


def chain_known_merges(merges: Sequence[tuple[str, str, int]]) -> Merges:
    """Chain the merges that the store knows.

    Args:
        merges: Who was merged into whom, and when that was known.

    Returns:
        The merges with their chains; none where they form a circle, which no order of them explains.
    """
    try:
        return chain_merges([pl.DataFrame(sorted(merges), schema=MERGE_SCHEMA, orient="row")])
    except MergeCircleError:
        return Merges()


def _frame(by_lead: EventsByLead, schema: dict[str, Any]) -> pl.DataFrame:
    rows = [
        (lead_id, *(event.get(name) for name in schema if name != "lead_id"))
        for lead_id, events in sorted(by_lead.items())
        for event in events
    ]
    # Of what was known in the same second the greatest counts, whatever came first.
    return pl.DataFrame(rows, schema=schema, orient="row").sort(list(schema), nulls_last=False)


def _by_lead(frame: pl.DataFrame) -> dict[str, list[Event]]:
    parts = frame.drop(PART).partition_by("lead_id", as_dict=True, include_key=False)
    return {str(key): rows.to_dicts() for (key,), rows in parts.items()}
