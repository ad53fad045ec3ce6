"""A deadline for each use of a PostgreSQL connection, kept by this side.

A server that is frozen accepts what it is sent and never answers: no timeout of its own ends a statement.
So a thread shuts the socket of a connection that was in use for too long, and whoever waits for it gets the
error of a lost connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError

if TYPE_CHECKING:
    from sqlalchemy import Engine

# A connection that was used so recently is not tried before it is used again.
_FRESH_SECONDS = 1.0
_IDLE_SINCE = "idle_since"


class ConnectionDeadlines:
    """Ends uses of an engine's connections after ``seconds``, the check that they are alive included."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._uses: dict[int, tuple[float, Any]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def attach(self, log: Engine) -> None:
        """Watch an engine on PostgreSQL from now on."""

        def check_out(connection: Any, record: Any, _: object) -> None:
            self._begin(connection)
            idle_since = record.info.get(_IDLE_SINCE)
            if idle_since is not None and time.monotonic() - idle_since > _FRESH_SECONDS:
                try:
                    log.dialect.do_ping(connection)
                except Exception as error:
                    self._end(connection)
                    raise InvalidatePoolError from error

        def check_in(connection: Any, record: Any) -> None:
            record.info[_IDLE_SINCE] = time.monotonic()
            self._end(connection)

        event.listen(log, "checkout", check_out)
        event.listen(log, "checkin", check_in)
        for ending in ("invalidate", "close"):
            event.listen(log, ending, lambda connection, *_: self._end(connection))

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _begin(self, connection: Any) -> None:
        with self._changed:
            self._uses[id(connection)] = (time.monotonic() + self._seconds, connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-deadlines", daemon=True)
                self._thread.start()

    def _end(self, connection: Any) -> None:
        with self._changed:
            self._uses.pop(id(connection), None)

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                overdue = [key for key, (deadline, _) in self._uses.items() if deadline <= now]
                for key in overdue:
                    _shut(self._uses.pop(key)[1])
                self._changed.wait(self._seconds / 10)


def _shut(connection: Any) -> None:
    """Shut a connection's socket for both directions; libpq sees the end of the stream."""
    with contextlib.suppress(Exception):
        copy = os.dup(connection.pgconn.socket)
        with socket.socket(fileno=copy) as shared:
            shared.shutdown(socket.SHUT_RDWR)
