"""Adds events to the lead store: each once, in whatever order they come."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import compress
from operator import attrgetter
from typing import TYPE_CHECKING

from serving.decision_log.database import DriverStatement, ListStatement
from serving.decision_log.erasure import (
    erased_since,
    lock_against_erasure,
    lock_against_records,
    refuse_late_record,
)
from serving.decision_log.lead_events import forgotten_leads, take_in_again
from serving.decision_log.score_queue import queue_accounts, queue_leads
from serving.decision_log.statements import erase
from serving.lead_store.records import BY_REST, CONSENTED, REFUSED, lead_ids_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any

    from sqlalchemy import Connection

    from serving.lead_store.records import EventRow, EventStatus

_COLUMNS = (
    *("tenant", "event_id", "kind", "subject", "other", "occurred_at", "known_at", "content"),
    *("received_at", "origin"),
)
# Whoever was faster has added the same event: SQLite has one writer, PostgreSQL may have several.
ADD_EVENTS = DriverStatement(
    f"INSERT INTO lead_events ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT DO NOTHING"
)
_KNOWN = ListStatement(
    "SELECT event_id, kind, subject, other, occurred_at, known_at, content FROM lead_events "
    "WHERE tenant = ? AND event_id IN {values}"
)
_CONSENTS = ListStatement(
    "SELECT subject, known_at, content FROM lead_events WHERE kind = 'consent' AND tenant = ? "
    "AND subject IN {values}"
)


def add_events(
    connection: Connection, rows: Sequence[EventRow], tenant: str, received_at: float
) -> list[EventStatus]:
    """Add events of a request, and forget whoever does not consent by them.

    Args:
        connection: A connection in a transaction.
        rows: The events.
        tenant: Whose they are.
        received_at: When the request came, in epoch seconds; events of leads that were erased since are
            forgotten at once.

    Returns:
        The status of each, in their order.
    """
    consents = [row for row in rows if row.kind == "consent"]
    if any(row.content == REFUSED for row in consents):
        # Whoever erases keeps others from adding; to ask for it later, two could wait for each other.
        lock_against_records(connection)
    lock_against_erasure(connection)
    forgotten = _forgotten(connection, rows, consents, tenant, received_at)
    # Nearly always all of them are new, and to ask first would take half as long again.
    is_new = [not forgotten or row.content == REFUSED or forgotten.isdisjoint(row.lead_ids) for row in rows]
    new = list(compress(rows, is_new)) if forgotten else rows
    _BEGIN_ATTEMPT.execute(connection, ())
    if _insert(connection, new, tenant, received_at) == len(new) - _count_refusals(new, consents):
        _END_ATTEMPT.execute(connection, ())
        return ["accepted" if each else "forgotten" for each in is_new]
    _UNDO_ATTEMPT.execute(connection, ())
    _END_ATTEMPT.execute(connection, ())
    return _add_unknown(connection, rows, forgotten, tenant, received_at)


# As SQLAlchemy's own savepoint, for a fifth of what that costs.
_BEGIN_ATTEMPT, _UNDO_ATTEMPT, _END_ATTEMPT = (
    DriverStatement(f"{words} adding_events")
    for words in ("SAVEPOINT", "ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT")
)


def _count_refusals(rows: Sequence[EventRow], consents: Sequence[EventRow]) -> int:
    return sum(row.content == REFUSED for row in rows) if consents else 0


def _insert(connection: Connection, rows: Iterable[EventRow], tenant: str, received_at: float) -> int:
    """Add rows but those that say who does not consent, and queue their leads; how many were new."""
    arrival = int(received_at)
    # In one order, so that no two writers wait for each other.
    ordered = sorted((row for row in rows if row.content != REFUSED), key=_event_id)
    values = [(tenant, *row, arrival, BY_REST) for row in ordered]
    added = ADD_EVENTS.execute_many(connection, values) if values else 0
    if added:
        queue_leads(connection, lead_ids_of(ordered), tenant)
        queue_accounts(connection, (row.subject for row in ordered if row.kind == "account"), tenant)
    return added


_event_id = attrgetter("event_id")


def _add_unknown(
    connection: Connection,
    rows: Sequence[EventRow],
    forgotten: Collection[str],
    tenant: str,
    received_at: float,
) -> list[EventStatus]:
    """Add the rows whose ids are not known; the status of each."""
    known = _known_events(connection, rows, tenant)
    statuses: list[EventStatus] = []
    fresh: list[EventRow] = []
    for row in rows:
        status = _status(row, known, forgotten)
        statuses.append(status)
        if status == "accepted":
            known[row.event_id] = row.values
            fresh.append(row)
    if _insert(connection, fresh, tenant, received_at) == sum(row.content != REFUSED for row in fresh):
        return statuses
    # Another worker was faster with some of these ids, perhaps for other events.
    stored = _known_events(connection, fresh, tenant)
    return [
        "key_conflict"
        if status == "accepted" and stored.get(row.event_id, row.values) != row.values
        else status
        for row, status in zip(rows, statuses, strict=True)
    ]


def _known_events(
    connection: Connection, rows: Iterable[EventRow], tenant: str
) -> dict[str, tuple[Any, ...]]:
    """By their ids, the events that the store has under ids of ``rows``."""
    rows_by_id = _KNOWN.rows(connection, tenant, among=(row.event_id for row in rows))
    return {event_id: tuple(values) for event_id, *values in rows_by_id}


def _status(row: EventRow, known: Mapping[str, tuple[Any, ...]], forgotten: Collection[str]) -> EventStatus:
    stored = known.get(row.event_id)
    if stored is not None:
        return "duplicate" if stored == row.values else "key_conflict"
    if row.content != REFUSED and any(lead_id in forgotten for lead_id in row.lead_ids):
        return "forgotten"
    return "accepted"


def _forgotten(
    connection: Connection,
    rows: Sequence[EventRow],
    consents: Sequence[EventRow],
    tenant: str,
    received_at: float,
) -> set[str]:
    """The leads whose events are not taken in, after what ``consents`` say; whoever refuses is erased."""
    refuse_late_record(received_at)
    if not consents and not _ANYBODY_GONE.execute(connection, ()).scalar_one():
        return set()
    leads = lead_ids_of(rows)
    erased = {
        lead_id for _, lead_id in erased_since(connection, ((tenant, each) for each in leads), received_at)
    }
    forgotten = forgotten_leads(connection, leads, tenant)
    if consents:
        _settle_consents(connection, consents, tenant, forgotten)
        forgotten = forgotten_leads(connection, leads, tenant)
    return erased | set(forgotten)


# Nearly always nobody is.
_ANYBODY_GONE = DriverStatement(
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM erased_leads) OR EXISTS (SELECT 1 FROM forgotten_leads) "
    "THEN 1 ELSE 0 END"
)


def _settle_consents(
    connection: Connection,
    consents: Iterable[EventRow],
    tenant: str,
    forgotten: Mapping[str, tuple[int, tuple[str, ...]]],
) -> None:
    """Erase whose newest word is no, and let in again whose newest word is yes."""
    by_lead: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for row in consents:
        by_lead[row.subject].append((row.known_at, row.content == CONSENTED))
    for subject, known_at, content in _CONSENTS.rows(connection, tenant, among=by_lead):
        by_lead[subject].append((known_at, content == CONSENTED))
    for lead_id, words in by_lead.items():
        # At the same second no goes before yes.
        newest = max(words, key=lambda word: (word[0], not word[1]))
        known_at, consented = newest
        since, hashes = forgotten.get(lead_id, (known_at - 1, ()))
        if not consented and known_at > since:
            erase(connection, lead_id, int(time.time()), tenant, known_at)
        elif consented and known_at > since and hashes:
            take_in_again(connection, hashes)
