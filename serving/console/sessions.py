"""Sessions of people who signed in, in the database of the decision log; a key's ends with the key."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from serving.console.tokens import hash_token
from serving.decision_log.tables import CONSOLE_SESSIONS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from serving.decision_log.async_log import DecisionLog


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """A session as the database holds it.

    Attributes:
        token_sha256: The SHA-256 of the token in the cookie.
        name: The name of the key, or what an identity provider calls the person.
        role: What the person may do; of a key what it says now counts instead.
        tenant: The label that the person is bound to; "" where there is none.
        key_sha256: The SHA-256 of the key; "" where an identity provider vouched for the person.
        created_at: When the person signed in, in epoch seconds.
        expires_at: Until when the session lasts, in epoch seconds; each page that is asked for moves it on.
        models: The models that the person may see, with blanks between; "" means all. Of a key what it says
            now counts instead.
    """

    token_sha256: str
    name: str
    role: str
    tenant: str
    key_sha256: str
    created_at: int
    expires_at: int
    models: str = ""


class SessionStore:
    """The sessions in the database of a decision log. Its methods raise LogUnavailable without it."""

    def __init__(self, journal: DecisionLog) -> None:
        self._journal = journal

    async def find(self, token: str) -> ConsoleSession | None:
        """The session of a token, unless it has expired."""

        def find() -> ConsoleSession | None:
            with self._journal.writer.log.connect() as connection:
                return _find_session(connection, hash_token(token), time.time())

        return await self._journal.read(find)

    async def add(self, session: ConsoleSession) -> None:
        """Begin a session, and forget those that have expired."""
        await self._journal.writer.write(partial(_add_session, session=session))

    async def prolong(self, token_sha256: str, expires_at: int) -> None:
        """Let a session last until a later moment."""
        await self._journal.writer.write(
            partial(_prolong_session, token_sha256=token_sha256, expires_at=expires_at)
        )

    async def end(self, token: str) -> None:
        """End the session of a token."""
        await self._journal.writer.write(partial(_end_session, token_sha256=hash_token(token)))


def _find_session(connection: Connection, token_sha256: str, now: float) -> ConsoleSession | None:
    query = select(CONSOLE_SESSIONS).where(CONSOLE_SESSIONS.c.token_sha256 == token_sha256)
    row = connection.execute(query.where(CONSOLE_SESSIONS.c.expires_at > now)).mappings().first()
    return None if row is None else ConsoleSession(**row)


def _add_session(connection: Connection, session: ConsoleSession) -> None:
    old = CONSOLE_SESSIONS.c.expires_at <= session.created_at
    connection.execute(delete(CONSOLE_SESSIONS).where(old))
    connection.execute(insert(CONSOLE_SESSIONS).values(asdict(session)))


def _prolong_session(connection: Connection, token_sha256: str, expires_at: int) -> None:
    own = CONSOLE_SESSIONS.c.token_sha256 == token_sha256
    connection.execute(update(CONSOLE_SESSIONS).where(own).values(expires_at=expires_at))


def _end_session(connection: Connection, token_sha256: str) -> None:
    connection.execute(delete(CONSOLE_SESSIONS).where(CONSOLE_SESSIONS.c.token_sha256 == token_sha256))
