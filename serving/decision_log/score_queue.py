"""Which leads are to be scored anew, since something was added or removed that their scores count.

A row is written in the transaction that adds or removes the events, so that none is lost with a process; of
a lead there is one row at most, however many events come. Who else is concerned, colleagues and merged leads,
is found when it is read: whatever was committed by then counts.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from serving.decision_log.database import DriverStatement, ListStatement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

# Whoever has read the row before will not delete it any more. It keeps its place.
_ADD = DriverStatement(
    "INSERT INTO score_queue (tenant, lead_id, is_account, since, token) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (lead_id, tenant, is_account) DO UPDATE SET token = excluded.token"
)
_OLDEST = DriverStatement(
    "SELECT tenant, lead_id, is_account, since, token FROM score_queue ORDER BY since, tenant LIMIT ?"
)
_AMONG = ListStatement(
    "SELECT tenant, lead_id, is_account, since, token FROM score_queue "
    "WHERE tenant = ? AND is_account = 0 AND lead_id IN {values}"
)
_REMOVE = DriverStatement(
    "DELETE FROM score_queue WHERE tenant = ? AND lead_id = ? AND is_account = ? AND token = ?"
)
_LENGTH = DriverStatement("SELECT count(*), min(since) FROM score_queue")
_ALL = DriverStatement(
    "INSERT INTO score_queue (lead_id, tenant, is_account, since, token) "
    "SELECT DISTINCT subject, tenant, 0, CAST(? AS bigint), CAST(? AS bigint) FROM lead_events "
    "WHERE kind = 'lead' ON CONFLICT (lead_id, tenant, is_account) DO UPDATE SET token = excluded.token"
)
_IF_SCORED = DriverStatement(
    "INSERT INTO score_queue (lead_id, tenant, is_account, since, token) "
    "SELECT lead_id, tenant, 0, CAST(? AS bigint), CAST(? AS bigint) FROM current_scores "
    "WHERE lead_id = ? AND tenant = ? "
    "ON CONFLICT (lead_id, tenant, is_account) DO UPDATE SET token = excluded.token"
)
_TOKEN_BITS = 62


class QueuedLead(NamedTuple):
    """A row of the queue: a lead, or with ``is_account`` 1 all leads of an account."""

    tenant: str
    lead_id: str
    is_account: int
    since: int
    token: int


def queue_leads(connection: Connection, lead_ids: Iterable[str], tenant: str) -> None:
    """Let leads be scored anew, in the transaction that changes what is known of them."""
    _queue(connection, lead_ids, tenant, is_account=0)


def queue_accounts(connection: Connection, account_ids: Iterable[str], tenant: str) -> None:
    """Let all leads of accounts be scored anew."""
    _queue(connection, account_ids, tenant, is_account=1)


def _queue(connection: Connection, ids: Iterable[str], tenant: str, is_account: int) -> None:
    # In one order, so that two writers wait for each other in none.
    now, token = int(time.time()), secrets.randbits(_TOKEN_BITS)
    rows = [(tenant, each, is_account, now, token) for each in sorted(set(ids))]
    if rows:
        _ADD.execute_many(connection, rows)


def queue_scored_leads(connection: Connection, leads: Iterable[tuple[str, str]]) -> None:
    """Let those of some leads (tenant and id) be scored anew that have a current score."""
    now, token = int(time.time()), secrets.randbits(_TOKEN_BITS)
    rows = [(now, token, lead_id, tenant) for tenant, lead_id in sorted(set(leads))]
    if rows:
        _IF_SCORED.execute_many(connection, rows)


def queue_all_leads(connection: Connection) -> None:
    """Let every lead of the store be scored anew, whoever's it is."""
    _ALL.execute(connection, (int(time.time()), secrets.randbits(_TOKEN_BITS)))


def oldest_queued(connection: Connection, most: int) -> list[QueuedLead]:
    """At most ``most`` rows, those that have waited longest."""
    return list(map(QueuedLead._make, _OLDEST.execute(connection, (most,))))


def queued_among(connection: Connection, lead_ids: Iterable[str], tenant: str) -> list[QueuedLead]:
    """The rows of some leads of a tenant."""
    return list(map(QueuedLead._make, _AMONG.rows(connection, tenant, among=lead_ids)))


def remove_queued(connection: Connection, rows: Sequence[QueuedLead]) -> None:
    """Remove rows whose leads are scored; one that was queued again since it was read stays."""
    keys = [(row.tenant, row.lead_id, row.is_account, row.token) for row in sorted(rows)]
    if keys:
        _REMOVE.execute_many(connection, keys)


def queue_length(connection: Connection) -> tuple[int, int | None]:
    """How many rows wait, and since when the oldest does (epoch seconds)."""
    count, since = list[Any](_LENGTH.execute(connection, ()).one())
    return count, since
