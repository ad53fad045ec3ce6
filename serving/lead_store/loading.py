"""Brings the store to what a CRM's own tables hold: new rows are added, changed ones are known from now on.

A row's id is a hash of its content, so that nothing is added twice, whatever was interrupted. A lead is
written with all its events or not at all; what the tables no longer have counts as removed from now on.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic_core import to_json
from sqlalchemy import bindparam, select, update

from features.history import LEAD_KNOWN_AT
from serving.decision_log.database import ListStatement
from serving.decision_log.erasure import lock_against_erasure
from serving.decision_log.lead_events import forgotten_leads
from serving.decision_log.score_queue import queue_accounts, queue_leads
from serving.decision_log.tables import LEAD_EVENTS
from serving.lead_store.events import ADD_EVENTS
from serving.lead_store.records import ALWAYS_KNOWN, FROM_TABLES, EventRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from features.history import LeadHistory
    from serving.lead_store.records import EventKind

# So many rows are compared and written in one transaction; the service's own writes wait meanwhile.
_CHUNK_ROWS = 5_000
_CHUNK, _SUBJECT = "leadloop.chunk", "leadloop.subject"
_STORED = ListStatement(
    "SELECT event_id, kind, subject, other, occurred_at, known_at, content, removed_at FROM lead_events "  # noqa: S608
    f"WHERE origin = {FROM_TABLES} AND tenant = ? AND subject IN {{values}}"
)
_DETAILS = {
    "touchpoint": ("kind", "channel", "campaign", "offer", "offer_stage", "amount", "seconds"),
    "transition": ("stage", "reason"),
    "attribute": ("name", "value", "number"),
    "merge": (),
}


@dataclass(frozen=True, slots=True)
class SyncCounts:
    """What a synchronisation changed.

    Attributes:
        leads: How many leads the tables have.
        added: How many rows are new in the store.
        changed: How many rows of leads and accounts replaced an earlier one.
        removed: How many rows the tables no longer have.
        forgotten: How many leads were left out, since they were erased or do not consent.
    """

    leads: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    forgotten: int = 0

    def __add__(self, other: SyncCounts) -> SyncCounts:
        return SyncCounts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def in_words(self) -> str:
        """A line for whoever runs it."""
        out = (
            f"; {self.forgotten:,} leads were erased or do not consent and stay out" if self.forgotten else ""
        )
        return (
            f"{self.leads:,} leads: {self.added:,} new rows, {self.changed:,} changed ones, "
            f"{self.removed:,} that are gone{out}"
        )


@dataclass(frozen=True, slots=True)
class _Stored:
    """A row of the store that came from tables."""

    event_id: str
    kind: str
    values: tuple[Any, ...]
    known_at: int
    removed_at: int | None


def synchronise(  # noqa: PLR0913, PLR0917  # tables, and whose and when they are
    store: Engine,
    history: LeadHistory,
    merges: pl.DataFrame,
    tenant: str,
    now: int,
    progress: Callable[[int, int], object] = max,
) -> SyncCounts:
    """Bring a store to what tables hold.

    Args:
        store: An open log for transactions that write.
        history: The tables, without what merges make of them.
        merges: ``lead_id``, ``merged_into`` and ``known_at`` of each merge.
        tenant: Whose leads these are; "" without tenants.
        now: When the tables were read, in epoch seconds: from then on changes are known.
        progress: Called with how many leads are done and how many there are.

    Returns:
        What was changed. Once more with the same tables it is nothing.
    """
    counts, subjects, done = SyncCounts(), set[tuple[bool, str]](), 0
    parts = [*_account_chunks(history.accounts), *_lead_chunks(history, merges)]
    leads = history.leads.height
    for chunk in parts:
        with store.begin() as connection:
            counts += _write_chunk(connection, chunk, tenant, now)
        subjects |= {(chunk.is_of_accounts, subject) for subject in chunk.subjects}
        done += 0 if chunk.is_of_accounts else chunk.frames["lead"].height
        progress(done, leads)
    return counts + _remove_vanished(store, subjects, tenant, now) + SyncCounts(leads=leads)


@dataclass(frozen=True)
class _Chunk:
    """The rows of some leads, or of some accounts, by kind."""

    subjects: Sequence[str]
    frames: Mapping[str, pl.DataFrame]

    @property
    def is_of_accounts(self) -> bool:
        return "account" in self.frames

    def rows(self, forgotten: Mapping[str, Any]) -> Iterator[EventRow]:
        """The events of the tables, without those of leads that were forgotten."""
        for kind, frame in self.frames.items():
            repeated: Counter[str] = Counter()
            for row in frame.iter_rows(named=True):
                event = _event(kind, row)  # type: ignore[arg-type]
                if forgotten.keys().isdisjoint(event.lead_ids):
                    repeated[event.event_id] += 1
                    yield _numbered(event, repeated[event.event_id])


def _account_chunks(accounts: pl.DataFrame) -> Iterator[_Chunk]:
    ordered = accounts.sort("account_id")
    for frame in ordered.iter_slices(_CHUNK_ROWS):
        yield _Chunk(frame["account_id"].to_list(), {"account": frame})


def _lead_chunks(history: LeadHistory, merges: pl.DataFrame) -> Iterator[_Chunk]:
    """All rows of some leads at a time, those of one account after each other."""
    tables = {
        "lead": history.leads,
        "touchpoint": history.touchpoints,
        "transition": history.transitions,
        "attribute": history.attributes,
        "merge": merges,
    }
    counted = pl.concat([frame.select("lead_id") for frame in tables.values()]).group_by("lead_id").len()
    ordered = counted.join(history.leads.select("lead_id", "account_id"), on="lead_id", how="left").sort(
        "account_id", "lead_id"
    )
    chunks = ordered.select("lead_id", (pl.col("len").cum_sum() // _CHUNK_ROWS).alias(_CHUNK))
    by_chunk = {
        kind: frame.join(chunks, on="lead_id", maintain_order="left").partition_by(
            _CHUNK, as_dict=True, include_key=False
        )
        for kind, frame in tables.items()
    }
    for (number,), leads in chunks.partition_by(_CHUNK, as_dict=True, maintain_order=True).items():
        frames = {kind: parts.get((number,), tables[kind].clear()) for kind, parts in by_chunk.items()}
        yield _Chunk(leads["lead_id"].to_list(), frames)


def _event(kind: EventKind, row: Mapping[str, Any]) -> EventRow:
    """A row of a table as an event, whose id is a hash of its content."""
    if kind == "account":
        subject, other, occurred_at, known_at = row["account_id"], None, None, ALWAYS_KNOWN
        content = _plain(row, ("account_id",))
    elif kind == "lead":
        subject, other, occurred_at = row["lead_id"], row["account_id"], row["created_at"]
        known_at = row.get(LEAD_KNOWN_AT) or occurred_at
        content = _plain(row, ("lead_id", "account_id", "created_at", LEAD_KNOWN_AT))
    else:
        subject, other = row["lead_id"], row.get("merged_into")
        occurred_at, known_at = row.get("occurred_at"), row["known_at"]
        content = {name: row[name] for name in _DETAILS[kind] if row[name] is not None}
    return _hashed(EventRow("", kind, subject, other, occurred_at, known_at, to_json(content).decode()))


def _plain(row: Mapping[str, Any], identity: Iterable[str]) -> dict[str, Any]:
    """The plain attributes of a row that have a value, by name."""
    return {name: row[name] for name in sorted(row.keys() - set(identity)) if row[name] is not None}


def _hashed(event: EventRow) -> EventRow:
    digest = hashlib.blake2b("\x1f".join(map(str, event.values)).encode(), digest_size=16).hexdigest()
    return EventRow(digest, *event.values)


def _numbered(event: EventRow, number: int) -> EventRow:
    """The event, of several that are alike in all the second, the third and so on."""
    return event if number == 1 else EventRow(f"{event.event_id}-{number}", *event.values)


def _write_chunk(connection: Connection, chunk: _Chunk, tenant: str, now: int) -> SyncCounts:
    """Write what the tables have of some subjects and the store has not."""
    lock_against_erasure(connection)
    named = set(chunk.subjects)
    if "merge" in chunk.frames:
        named |= set(chunk.frames["merge"]["merged_into"])
    forgotten = {} if chunk.is_of_accounts else forgotten_leads(connection, named, tenant)
    stored = _stored_rows(connection, chunk, tenant)
    added: list[EventRow] = []
    back: list[EventRow] = []
    changed = 0
    for row in chunk.rows(forgotten):
        of_subject = stored[row.subject]
        if row.kind in {"lead", "account"}:
            version = _replacement(row, of_subject, now)
            changed += version is not None and version.known_at == now
            added += [] if version is None else [version]
            continue
        known = of_subject.pop(row.event_id, None)
        if known is None:
            added.append(row)
        elif known.removed_at is not None:
            back.append(row)
    gone = {
        row.event_id: subject
        for subject, rows in stored.items()
        for row in rows.values()
        if row.removed_at is None
    }
    _mark(connection, tenant, list(gone), now)
    _mark(connection, tenant, [row.event_id for row in back], None)
    if added:
        ADD_EVENTS.execute_many(
            connection, [(tenant, row.event_id, *row.values, now, FROM_TABLES) for row in added]
        )
    _queue(connection, tenant, (*added, *back), gone.values(), of_accounts=chunk.is_of_accounts)
    out = sum(lead_id in forgotten for lead_id in chunk.subjects)
    return SyncCounts(
        added=len(added) + len(back) - changed, changed=changed, removed=len(gone), forgotten=out
    )


def _queue(
    connection: Connection,
    tenant: str,
    changed: Iterable[EventRow],
    subjects_of_gone: Iterable[str],
    *,
    of_accounts: bool,
) -> None:
    """Let the leads be scored anew of which rows were added, are back, or are gone."""
    if of_accounts:
        queue_accounts(connection, {*(row.subject for row in changed), *subjects_of_gone}, tenant)
    else:
        leads = {lead_id for row in changed for lead_id in row.lead_ids}
        queue_leads(connection, leads.union(subjects_of_gone), tenant)


def _stored_rows(connection: Connection, chunk: _Chunk, tenant: str) -> dict[str, dict[str, _Stored]]:
    """By subject, the rows that came from tables, by their ids."""
    stored: dict[str, dict[str, _Stored]] = defaultdict(dict)
    for event_id, kind, *values, removed_at in _STORED.rows(connection, tenant, among=chunk.subjects):
        if (kind == "account") == chunk.is_of_accounts:
            subject, other, occurred_at, known_at, content = values
            row = _Stored(event_id, kind, (other, occurred_at, content), known_at, removed_at)
            stored[subject][event_id] = row
    return stored


def _replacement(row: EventRow, stored: dict[str, _Stored], now: int) -> EventRow | None:
    """The row of a lead or account where it is new or another one now; its rows in ``stored`` are taken out.

    Earlier ones stay what they were: until now they were what the CRM knew.
    """
    versions = [each for each in stored.values() if each.kind == row.kind]
    for each in versions:
        del stored[each.event_id]
    present = [each for each in versions if each.removed_at is None]
    newest = max(present, key=lambda each: (each.known_at, each.event_id), default=None)
    if newest is None and not versions:
        return row
    if newest is not None and newest.values == (row.other, row.occurred_at, row.content):
        return None
    return _hashed(EventRow("", row.kind, row.subject, row.other, row.occurred_at, now, row.content))


_EVENT_ID, _TENANT, _REMOVED = "of_event", "of_tenant", "since"
_MARK = (
    update(LEAD_EVENTS)
    .where(LEAD_EVENTS.c.tenant == bindparam(_TENANT), LEAD_EVENTS.c.event_id == bindparam(_EVENT_ID))
    .values(removed_at=bindparam(_REMOVED))
)


def _mark(connection: Connection, tenant: str, event_ids: Sequence[str], removed_at: int | None) -> None:
    """Let rows be removed since a moment; with None they are back."""
    if event_ids:
        rows = [{_TENANT: tenant, _EVENT_ID: each, _REMOVED: removed_at} for each in event_ids]
        connection.execute(_MARK, rows)


def _remove_vanished(store: Engine, subjects: set[tuple[bool, str]], tenant: str, now: int) -> SyncCounts:
    """Let all rows of leads and accounts be removed that the tables do not name at all any more."""
    is_account = LEAD_EVENTS.c.kind == "account"
    query = select(LEAD_EVENTS.c.event_id, is_account, LEAD_EVENTS.c.subject).where(
        LEAD_EVENTS.c.tenant == tenant,
        LEAD_EVENTS.c.origin == FROM_TABLES,
        LEAD_EVENTS.c.removed_at.is_(None),
    )
    with store.execution_options(writes=False, yield_per=_CHUNK_ROWS).connect() as connection:
        gone = [
            (event_id, bool(of_account), subject)
            for event_id, of_account, subject in connection.execute(query)
            if (bool(of_account), subject) not in subjects
        ]
    for start in range(0, len(gone), _CHUNK_ROWS):
        batch = gone[start : start + _CHUNK_ROWS]
        with store.begin() as connection:
            _mark(connection, tenant, [event_id for event_id, *_ in batch], now)
            for of_accounts in (False, True):
                vanished = [subject for _, of_account, subject in batch if of_account == of_accounts]
                _queue(connection, tenant, (), vanished, of_accounts=of_accounts)
    return SyncCounts(removed=len(gone))
