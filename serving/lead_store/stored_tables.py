"""Reads many leads out of their events at once: touchpoints and transitions as frames, not event by event.

What ``stored_leads`` reads of a few leads this module reads of thousands, for the engine that scores files.
Leads that merges, a clock ahead of ours or a huge account concern are told apart by ``split``: few as they
are, they are read one by one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from features.history import TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA
from features.point_in_time import is_visible
from serving.lead_store.lead_details import LeadActivity
from serving.lead_store.stored_leads import (
    KINDS_OF_COLLEAGUES,
    MOST_COLLEAGUES,
    StoredRows,
    read_rows_around,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from serving.lead_store.stored_leads import StoredLead

# So many rows become a frame at a time: the interpreter is free for answers in between.
_FRAME_ROWS = 5_000
_ROW_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("kind", "lead_id", "other"), pl.String),
    **dict.fromkeys(("occurred_at", "known_at"), pl.Int64),
    "content": pl.String,
    "removed_at": pl.Int64,
    "event_id": pl.String,
}
_KEYS = ("lead_id", "occurred_at", "known_at")
_SCHEMAS: dict[str, dict[str, Any]] = {"touchpoint": TOUCHPOINT_SCHEMA, "transition": TRANSITION_SCHEMA}
_REMOVED = "leadloop.removed_at"


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
    frames: dict[str, list[pl.DataFrame]] = {kind: [] for kind in KINDS_OF_COLLEAGUES}

    def add(rows: Sequence[tuple[Any, ...]]) -> None:
        for first in range(0, len(rows), _FRAME_ROWS):
            by_kind: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
            for row in rows[first : first + _FRAME_ROWS]:
                by_kind[row[0]].append(row)
            for kind, read in frames.items():
                if of_kind := by_kind.pop(kind, None):
                    read.append(_to_frame(kind, of_kind))
            tables.rows.add([row for others in by_kind.values() for row in others])

    read_rows_around(connection, lead_ids, tenant, tables.rows, add)
    for kind, read in frames.items():
        schema = {**_SCHEMAS[kind], _REMOVED: pl.Int64}
        tables.events[kind] = pl.concat([pl.DataFrame(schema=schema), *read])
    return tables


def _to_frame(kind: str, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows of the store in the columns of a history."""
    frame = pl.DataFrame(rows, schema=_ROW_SCHEMA, orient="row")
    content = {name: dtype for name, dtype in _SCHEMAS[kind].items() if name not in _KEYS}
    own = frame.select(*_KEYS, pl.col("content").str.json_decode(pl.Struct(content)), "removed_at")
    return own.unnest("content").select(*_SCHEMAS[kind], pl.col("removed_at").alias(_REMOVED))
