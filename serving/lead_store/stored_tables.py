"""Reads many leads out of their events at once: touchpoints and transitions as frames, not event by event.

What ``stored_leads`` reads of a few leads this module reads of thousands, for the engine that scores files.
Leads that merges, a clock ahead of ours or a huge account concern are told apart by ``split``: few as they
are, they are read one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, Any

import polars as pl

from features.history import TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA
from features.point_in_time import is_visible
from serving.decision_log.database import ListStatement
from serving.lead_store.lead_details import LeadActivity
from serving.lead_store.stored_leads import (
    KINDS_OF_COLLEAGUES,
    MOST_COLLEAGUES,
    OTHER_THAN_EVENTS,
    StoredRows,
    read_rows_around,
    rows_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Connection

    from serving.lead_store.stored_leads import StoredLead

# The events of so many leads become a frame at a time, and so many other rows are parsed: all at once their
# text would be in memory twice.
_FRAME_LEADS, _ROWS = 2_000, 4_000
_REMOVED = "leadloop.removed_at"
# What stands in columns of the table, as lines of CSV; the rest is content, a line of JSON an event.
_MOMENTS: dict[str, Any] = {"occurred_at": pl.Int64, "known_at": pl.Int64, _REMOVED: pl.Int64}
_MOMENTS_OF_EVENT = "occurred_at || ',' || known_at || ',' || coalesce(CAST(removed_at AS text), '')"
_SCHEMAS: dict[str, dict[str, Any]] = {
    "touchpoint": {**TOUCHPOINT_SCHEMA, _REMOVED: pl.Int64},
    "transition": {**TRANSITION_SCHEMA, _REMOVED: pl.Int64},
}
_EVENTS = {
    kind: ListStatement(
        f"SELECT subject, count(*), {{joined}}({_MOMENTS_OF_EVENT}, '\n'), {{joined}}(content, '\n') "  # noqa: S608
        f"FROM lead_events WHERE tenant = ? AND kind = '{kind}' AND subject IN {{values}} GROUP BY subject"
    )
    for kind in KINDS_OF_COLLEAGUES
}


@dataclass
class StoredTables:
    """The events of some leads and of all whom they depend on, as they were read.

    Attributes:
        rows: All but touchpoints and transitions.
        events: By kind, touchpoints and transitions in the columns of a history, and when each was removed.
    """

    rows: StoredRows = field(default_factory=StoredRows)
    events: dict[str, pl.DataFrame] = field(default_factory=dict)

    def split(
        self, lead_ids: Iterable[str], as_of: int, skew: int
    ) -> tuple[dict[str, StoredLead], list[str]]:
        """Tell the leads that can be read together from those that cannot.

        Args:
            lead_ids: The leads.
            as_of: The moment as of which they are read, in epoch seconds.
            skew: By how many seconds a CRM's clock may run ahead: what is known within them may move
                ``as_of`` for a lead.

        Returns:
            By their ids leads that exist by then, without their events; and the ids of all others.
        """
        apart = self._apart(as_of, skew)
        together: dict[str, StoredLead] = {}
        others: list[str] = []
        for lead_id in lead_ids:
            stored = None if lead_id in apart else self.rows.lead_alone(lead_id, as_of)
            if stored is None or not _exists(stored, as_of):
                others.append(lead_id)
            else:
                together[lead_id] = stored
        return together, others

    def _apart(self, as_of: int, skew: int) -> set[str]:
        """The leads that merges or a clock ahead concern, their colleagues, and leads of huge accounts."""
        ahead = range(as_of, as_of + skew + 1)
        concerned = {lead_id for merge in self.rows.merges for lead_id in merge[:2]}
        for lead_id, versions in self.rows.versions.items():
            if any(each.known_at in ahead or each.created_at in ahead for each in versions):
                concerned.add(lead_id)
        for lead_id, changes in self.rows.events["attribute"].items():
            if any(each["known_at"] in ahead for each in changes):
                concerned.add(lead_id)
        for frame in self.events.values():
            newest = pl.max_horizontal("occurred_at", "known_at")
            concerned |= set(frame.filter(newest.is_between(ahead.start, ahead.stop))["lead_id"])
        accounts = (
            members
            for members in self.rows.members.values()
            if len(members) > MOST_COLLEAGUES or not members.isdisjoint(concerned)
        )
        return concerned.union(*accounts)

    def members(self, as_of: int, known: Mapping[str, StoredLead]) -> Iterator[StoredLead]:
        """All leads that were read as they were before ``as_of``, without events; some are ``known``."""
        for lead_id in self.rows.versions:
            stored = known.get(lead_id) or self.rows.lead_alone(lead_id, as_of)
            if stored is not None:
                yield stored

    def events_at(self, kind: str, as_of: int) -> pl.DataFrame:
        """The touchpoints or transitions that were not removed by ``as_of``, in the columns of a history."""
        frame = self.events[kind]
        removed = pl.col(_REMOVED)
        is_removed = is_visible(removed, removed, as_of).fill_null(value=False)
        return frame.filter(~is_removed).drop(_REMOVED)


def last_activities(
    touchpoints: pl.DataFrame, transitions: pl.DataFrame, as_of: int
) -> Mapping[str, LeadActivity]:
    """By lead, what ``LeadActivity.of`` finds in its events; none of a lead without any.

    Args:
        touchpoints: The touchpoints of leads, in the columns of a history.
        transitions: Their transitions.
        as_of: What was known before counts, in epoch seconds.
    """
    is_known: Any = is_visible(pl.col("occurred_at"), pl.col("known_at"), as_of)
    order = ("occurred_at", "known_at")
    channels = pl.col("channel").filter(pl.col("channel").is_not_null())
    known = touchpoints.filter(is_known).sort(*order, "channel")
    latest = known.group_by("lead_id").agg(channels.last(), pl.col("occurred_at").max().alias("last"))
    entered = transitions.filter(is_known).sort(*order, "stage")
    stages = entered.group_by("lead_id").agg(pl.col("stage").last())
    joined = latest.join(stages, on="lead_id", how="full", coalesce=True)
    columns = joined.select(pl.col("lead_id").cast(pl.String), "channel", "stage", "last")
    return {lead_id: LeadActivity(*activity) for lead_id, *activity in columns.iter_rows()}


def _exists(stored: StoredLead, as_of: int) -> bool:
    known_at = stored.created_at if stored.known_at is None else stored.known_at
    return bool(is_visible(stored.created_at, known_at, as_of))


def read_stored_tables(connection: Connection, lead_ids: Iterable[str], tenant: str) -> StoredTables:
    """Read leads as ``stored_leads.read_stored_leads`` does, for thousands of them.

    Args:
        connection: A connection to the store.
        lead_ids: The leads; what is not known is left out.
        tenant: Whose they are.

    Returns:
        All that the leads are read out of, at whatever moment.
    """
    tables = StoredTables()
    frames = {kind: [pl.DataFrame(schema=schema)] for kind, schema in _SCHEMAS.items()}

    def read(leads: set[str], accounts: set[str]) -> None:
        others = rows_of(OTHER_THAN_EVENTS, connection, tenant, leads, accounts)
        for first in range(0, len(others), _ROWS):
            tables.rows.add(others[first : first + _ROWS])
        for kind, parts in frames.items():
            parts.extend(_read_events(connection, kind, leads, tenant))

    read_rows_around(connection, lead_ids, tenant, tables.rows, read)
    tables.events = {kind: pl.concat(parts) for kind, parts in frames.items()}
    return tables


def _read_events(connection: Connection, kind: str, leads: set[str], tenant: str) -> Iterator[pl.DataFrame]:
    """The touchpoints or transitions of leads in the columns of a history."""
    schema = _SCHEMAS[kind]
    own = {name: dtype for name, dtype in schema.items() if name != "lead_id" and name not in _MOMENTS}
    rows = iter(_EVENTS[kind].rows(connection, tenant, among=leads))
    while some := list(islice(rows, _FRAME_LEADS)):
        subjects, counts, moments, contents = zip(*some, strict=True)
        # Parsers that make columns of them take a third of what rows of Python objects take.
        content = pl.read_ndjson(BytesIO("\n".join(contents).encode()), schema=own)
        times = pl.read_csv(BytesIO("\n".join(moments).encode()), has_header=False, schema=_MOMENTS)
        ids = pl.DataFrame({"lead_id": subjects, "events": counts}).select(
            pl.col("lead_id").repeat_by("events").explode()
        )
        yield ids.hstack(times).hstack(content).select(*schema)
