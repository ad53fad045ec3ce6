"""Leads that were erased within the last hour, so that records of earlier requests do not bring them back.

A decision may be written long after its request came: it waits for its commit, or a challenger computes it
later. Each erasure leaves a keyed hash of the lead's id and the time; a record whose request came before is
left out by whoever writes it, in any worker.

On PostgreSQL, where several workers write at once, whoever adds records of leads holds a shared lock until
the commit, and whoever erases one an exclusive lock: nothing is on its way past the erasure.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, text

from serving.decision_log.database import DriverStatement
from serving.decision_log.settings import LogUnavailable
from serving.decision_log.tables import ERASED_LEADS, LOG_STATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

# For how long an erasure is remembered; what was received before and is not written by then is never written.
REMEMBERS = 3_600
# Any two numbers that nobody else locks in the same database; these are "lead" and "gone" in ASCII.
_ERASING = f"({0x6C656164}, {0x676F6E65})"
_SHARED, _EXCLUSIVE = (
    text(f"SELECT {function}{_ERASING}")
    for function in ("pg_advisory_xact_lock_shared", "pg_advisory_xact_lock")
)
_ERASURES = DriverStatement("SELECT lead_hash, erased_at FROM erased_leads")
# No label of a tenant holds a zero byte.
ALL_TENANTS = "\0"


@dataclass(frozen=True, slots=True)
class RecentErasures:
    """When leads were erased, in epoch seconds, by the keyed hash of tenant and lead."""

    key: bytes
    times: Mapping[str, float]

    def cover(self, tenant: str, lead_id: str, received_at: float) -> bool:
        """Whether a lead was erased, under its tenant or under all, after a request came."""
        hashes = (lead_hash(self.key, label, lead_id) for label in (tenant, ALL_TENANTS))
        return any(self.times.get(each, 0.0) >= received_at for each in hashes)


def lock_against_erasure(connection: Connection) -> None:
    """Keep erasures waiting until the transaction ends. Call it before ``recent_erasures``."""
    if connection.dialect.name == "postgresql":
        connection.execute(_SHARED)


def lock_against_records(connection: Connection) -> None:
    """Wait for whoever adds records of leads, and keep others from it until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(_EXCLUSIVE)


def recent_erasures(connection: Connection) -> RecentErasures | None:
    """The erasures of the last hour; None where there was none, as nearly always."""
    rows = _ERASURES.execute(connection, ()).all()
    if not rows:
        return None
    # The newest of a lead's counts.
    return RecentErasures(hash_key(connection), dict(sorted(map(tuple, rows), key=lambda row: row[1])))


def erased_since(
    connection: Connection, leads: Iterable[tuple[str, str]], received_at: float
) -> set[tuple[str, str]]:
    """Which leads were erased after a request came, and must not be written any more.

    Args:
        connection: A connection in a transaction that ``lock_against_erasure`` was called in.
        leads: Pairs of tenant and lead id.
        received_at: When the request came, in epoch seconds.

    Returns:
        The pairs that were erased since.

    Raises:
        LogUnavailable: The request came so long ago that erasures since then are no longer remembered.
    """
    refuse_late_record(received_at)
    erasures = recent_erasures(connection)
    return {lead for lead in leads if erasures and erasures.cover(*lead, received_at)}


def refuse_late_record(received_at: float) -> None:
    """Raise LogUnavailable where erasures since a request came are no longer remembered."""
    if received_at < time.time() - REMEMBERS:
        raise LogUnavailable


def register_erasure(connection: Connection, lead_id: str, tenant: str = "") -> None:
    """Wait for whoever adds records, then remember that a lead is erased; with "" under every tenant."""
    lock_against_records(connection)
    now = time.time()
    forget_erasures(connection, now)
    erased = lead_hash(hash_key(connection), tenant or ALL_TENANTS, lead_id)
    connection.execute(insert(ERASED_LEADS), [{"lead_hash": erased, "erased_at": now}])


def forget_erasures(connection: Connection, now: float) -> None:
    """Delete the hashes of erasures that are more than an hour old."""
    connection.execute(delete(ERASED_LEADS).where(ERASED_LEADS.c.erased_at < now - REMEMBERS))


def hash_key(connection: Connection) -> bytes:
    """The key of the hashes by which leads are remembered that are gone."""
    return bytes.fromhex(connection.execute(select(LOG_STATE.c.hash_key)).scalar_one())


def lead_hash(key: bytes, tenant: str, lead_id: str) -> str:
    """By what a lead is remembered that is gone: nobody without the key can tell who it was."""
    return hmac.new(key, f"{tenant}\0{lead_id}".encode(), hashlib.sha256).hexdigest()
