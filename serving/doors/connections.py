"""Connections that say nothing: how many there may be, and how long each.

uvicorn lets a client take as long as it likes for the first line of its request, and BentoML hands no setting
through. Here a connection has ``SPEAKS_WITHIN`` seconds for a whole head; and a worker holds as many as the
machine allows a process, since a thousand (the usual soft limit) are soon taken.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http import auto

if TYPE_CHECKING:
    import asyncio

SPEAKS_WITHIN = 15.0


def take_many() -> None:
    """Raise the process's limit of open files, and so of connections, as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def be_impatient() -> None:
    """Let uvicorn, which looks its protocol up when it starts, close connections that do not speak."""

    class Impatient(_Impatience, auto.AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """The protocol that uvicorn would have taken, with a clock."""

    auto.AutoHTTPProtocol = Impatient


class _Impatience:
    """Starts a clock when a request may come, and looks once whether one has."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any
    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self._listen()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # type: ignore[misc]
        self._listen()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)  # type: ignore[misc]

    def _listen(self) -> None:
        self._stop()
        self._silence = self.loop.call_later(SPEAKS_WITHIN, self._give_up)

    def _stop(self) -> None:
        if self._silence:
            self._silence.cancel()

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
