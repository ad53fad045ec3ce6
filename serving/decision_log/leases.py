"""Leases: work that one worker does of all that share the database, on however many machines.

Whoever has a lease renews it before it expires; when it dies, another one takes over then. Two may believe to
have it for a moment, where clocks differ or one was stopped in the middle: the work must bear that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.decision_log.database import DriverStatement

if TYPE_CHECKING:
    from sqlalchemy import Connection

_TAKE = DriverStatement(
    "INSERT INTO leases (name, holder, expires_at) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at "
    "WHERE leases.holder = excluded.holder OR leases.expires_at < ?"
)
_HOLDER = DriverStatement("SELECT holder, expires_at FROM leases WHERE name = ?")
_GIVE_BACK = DriverStatement("DELETE FROM leases WHERE name = ? AND holder = ?")


def take_lease(connection: Connection, name: str, holder: str, now: float, seconds: float) -> bool:
    """Take a lease or keep it for some seconds; whether nobody else has it."""
    return _TAKE.execute(connection, (name, holder, now + seconds, now)).rowcount > 0


def is_taken(connection: Connection, name: str, holder: str, now: float) -> bool:
    """Whether somebody else has a lease, without writing anything."""
    row: Any = _HOLDER.execute(connection, (name,)).first()
    return row is not None and row[0] != holder and row[1] >= now


def give_back_lease(connection: Connection, name: str, holder: str) -> None:
    """Let somebody else have a lease at once."""
    _GIVE_BACK.execute(connection, (name, holder))
