"""How events of leads leave the lead store: erased, no longer consented to, or past their retention.

The tables lie in the database of the decision log, so that one transaction erases a person from both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from serving.decision_log.database import DriverStatement, ListStatement
from serving.decision_log.erasure import ALL_TENANTS, hash_key, lead_hash
from serving.decision_log.score_queue import queue_accounts
from serving.decision_log.tables import (
    CURRENT_SCORES,
    FORGOTTEN_LEADS,
    LEAD_EVENTS,
    NAMED_SCORES,
    SCORE_HISTORY,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

# Leads of which nothing was received since; one index answers it.
_SILENT = DriverStatement(
    "SELECT tenant, subject FROM lead_events GROUP BY subject, tenant HAVING max(received_at) < ? LIMIT ?"
)
_IS_MERGE = LEAD_EVENTS.c.kind == "merge"
_LINKED = (LEAD_EVENTS.c.tenant, LEAD_EVENTS.c.subject, LEAD_EVENTS.c.other)


def ids_of_person(connection: Connection, lead_id: str, tenant: str) -> dict[str, set[str]]:
    """By tenant, the lead and all that it was merged with, whoever survived: they are one person.

    With ``tenant`` "" those of all tenants.
    """
    persons: dict[str, set[str]] = {tenant: {lead_id}}
    fresh = {(tenant, lead_id)}
    while fresh:
        linked = {
            (row.tenant, each)
            for label, known in fresh
            for row in connection.execute(
                select(*_LINKED).where(
                    _IS_MERGE,
                    (LEAD_EVENTS.c.subject == known) | (LEAD_EVENTS.c.other == known),
                    *([LEAD_EVENTS.c.tenant == label] if label else []),
                )
            )
            for each in (row.subject, row.other)
        }
        fresh = {(label, each) for label, each in linked if each not in persons.get(label, set())}
        for label, each in fresh:
            persons.setdefault(label, set()).add(each)
    return persons


def erase_lead_events(connection: Connection, lead_id: str, tenant: str, known_at: int) -> int:
    """Delete all events of a lead, and remember as a hash that it is not taken in again; how many there were.

    With a tenant only its own, with "" those of all tenants.
    """
    own = [LEAD_EVENTS.c.tenant == tenant] if tenant else []
    of_lead = (LEAD_EVENTS.c.kind != "account") & (LEAD_EVENTS.c.subject == lead_id)
    _queue_colleagues(connection, [of_lead, *own])
    merged_into = _IS_MERGE & (LEAD_EVENTS.c.other == lead_id)
    # Two statements, so that each finds its rows by its index.
    removed = sum(
        connection.execute(delete(LEAD_EVENTS).where(rows, *own)).rowcount for rows in (of_lead, merged_into)
    )
    forget_lead(connection, lead_id, tenant, known_at)
    return removed


def _queue_colleagues(connection: Connection, conditions: Sequence[Any]) -> None:
    """Let the other leads be scored anew of all accounts that leads to be deleted were ever of."""
    accounts = select(LEAD_EVENTS.c.tenant, LEAD_EVENTS.c.other).distinct()
    of_leads = accounts.where(LEAD_EVENTS.c.kind == "lead", LEAD_EVENTS.c.other.is_not(None), *conditions)
    for tenant, account_id in sorted(map(tuple, connection.execute(of_leads))):
        queue_accounts(connection, [account_id], tenant)


def forget_lead(connection: Connection, lead_id: str, tenant: str, known_at: int) -> None:
    """Remember that a lead is not taken in again unless it consents later than ``known_at``."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(FORGOTTEN_LEADS).values(
        lead_hash=lead_hash(hash_key(connection), tenant or ALL_TENANTS, lead_id), known_at=known_at
    )
    newest = statement.excluded.known_at
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["lead_hash"],
            set_={"known_at": newest},
            where=FORGOTTEN_LEADS.c.known_at < newest,
        )
    )


def forgotten_leads(
    connection: Connection, leads: Iterable[str], tenant: str
) -> Mapping[str, tuple[int, tuple[str, ...]]]:
    """Of those of ``leads`` that are not taken in again: since when (epoch seconds), and the hashes of it."""
    if connection.execute(select(FORGOTTEN_LEADS.c.lead_hash).limit(1)).first() is None:
        return {}
    key = hash_key(connection)
    hashes = {
        lead_hash(key, label, lead_id): lead_id
        for lead_id in leads
        for label in {tenant or ALL_TENANTS, ALL_TENANTS}
    }
    forgotten: dict[str, tuple[int, tuple[str, ...]]] = {}
    for each, known_at in _FORGOTTEN.rows(connection, among=hashes):
        since, others = forgotten.get(hashes[each], (known_at, ()))
        forgotten[hashes[each]] = max(since, known_at), (*others, each)
    return forgotten


_FORGOTTEN = ListStatement("SELECT lead_hash, known_at FROM forgotten_leads WHERE lead_hash IN {values}")


def take_in_again(connection: Connection, hashes: Sequence[str]) -> None:
    """Let leads that were forgotten be taken in again, by their hashes."""
    connection.execute(delete(FORGOTTEN_LEADS).where(FORGOTTEN_LEADS.c.lead_hash.in_(hashes)))


def prune_silent_leads(connection: Connection, before: int, most: int) -> list[tuple[str, str]]:
    """Delete at most ``most`` leads and accounts of which nothing was received since ``before``.

    A lead goes with all its events or stays with all: half a history would be another lead.

    Returns tenant and id of each.
    """
    silent: list[Any] = [tuple(row) for row in _SILENT.execute(connection, (before, most))]
    for tenant, subject in silent:
        own = (LEAD_EVENTS.c.tenant == tenant, LEAD_EVENTS.c.subject == subject)
        _queue_colleagues(connection, own)
        is_account = connection.execute(select(LEAD_EVENTS.c.subject).where(*own, _IS_ACCOUNT)).first()
        connection.execute(delete(LEAD_EVENTS).where(*own))
        if is_account is not None:
            queue_accounts(connection, [subject], tenant)
        for table in (CURRENT_SCORES, NAMED_SCORES, SCORE_HISTORY):
            connection.execute(delete(table).where(table.c.tenant == tenant, table.c.lead_id == subject))
    return silent


_IS_ACCOUNT = LEAD_EVENTS.c.kind == "account"
