"""Patches of uvicorn: the number of connections, deadlines for clients, and a graceful shutdown.

uvicorn lets a client take as long as it likes for the first line of its request, and BentoML hands no setting
through. Here a connection has ``SPEAKS_WITHIN`` seconds for a whole head; and a worker holds as many as the
machine allows a process, since a thousand (the usual soft limit) are soon taken. A client that does not read
its answer is waited for, for ``TAKES_WITHIN`` seconds; what it still sends after its answer is thrown away.

uvicorn takes the client's address from X-Forwarded-For where the connection comes from this machine. Here a
proxy is trusted where FORWARDED_ALLOW_IPS names it, and nowhere else.

Told to stop, uvicorn closes every connection that is not being answered, also one whose request has arrived
and was not read yet: the client hears of a reset. Here who has connected is heard once more, and answered
with ``Connection: close``.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import shutil
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http import auto

SPEAKS_WITHIN = 15.0
# Seconds in which a client takes its answer, or so much of it; and how much it may send after its answer.
TAKES_WITHIN, TAKES_AT_LEAST, SENDS_AFTERWARDS = 30.0, 1 << 20, 64 << 20
# What is read at once: a thousand connections that send may fill that much memory each.
_READS_AT_ONCE = 64 * 1024
# At the end: what was sent has long arrived by then, and nobody waits longer for those who say nothing.
SPEAKS_AT_LAST_WITHIN, TAKES_AT_LAST_WITHIN = 2.0, 10.0
# A file that is there once the whole service is to end, and not this worker alone.
ENDING = "LEADLOOP_ENDING"
# The process that a process of the service ends with, and the folder that the workers of one parent share.
PARENT, RUN_DIR = "LEADLOOP_PARENT", "LEADLOOP_RUN_DIR"
# Without a parent: for requests that are being answered, and for all of the end.
ANSWERS_WITHIN, ENDS_WITHIN = 5.0, 15.0
# Linux: option 26 gives a socket a filter (socket(7)) of operation, jump if true, jump if false, operand
# (linux/filter.h): load byte 13 of the TCP header, keep SYN and ACK of it; SYN alone: take 0 bytes, else all.
_SO_ATTACH_FILTER = 26
_DROP_FIRST_PACKETS = (
    (0x30, 0, 0, 13),
    (0x54, 0, 0, 0x12),
    (0x15, 0, 1, 0x02),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)
logger = logging.getLogger("leadloop")


def raise_open_file_limit() -> None:
    """Raise the limit of open files, and so of connections, to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def install_uvicorn_patches() -> None:
    """Replace uvicorn's server and protocol by ours; BentoML looks them up when it starts."""

    class Protocol(_Clock, auto.AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """The protocol that uvicorn would have taken, with a timeout."""

    auto.AutoHTTPProtocol = Protocol
    uvicorn.Server = GracefulServer  # type: ignore[misc]


class GracefulServer(uvicorn.Server):
    """A server that answers clients who have connected before it ends, and ends with its parent."""

    def __init__(self, config: uvicorn.Config) -> None:
        config.proxy_headers = bool(os.environ.get("FORWARDED_ALLOW_IPS"))
        super().__init__(config)

    async def on_tick(self, counter: int) -> bool:
        """Whether to end: as uvicorn sees it, or since nobody is left to end it."""
        if is_orphan():
            self._prepare_lone_end()
            return True
        return await super().on_tick(counter)

    def _prepare_lone_end(self) -> None:
        """Set the deadlines that a parent would have kept, and remove what the workers share."""
        logger.error("the parent process is gone; this worker answers what it has accepted and ends")
        self.config.timeout_graceful_shutdown = int(ANSWERS_WITHIN)
        deadline = threading.Timer(ENDS_WITHIN, os._exit, (1,))
        deadline.daemon = True
        deadline.start()
        shutil.rmtree(os.environ.get(RUN_DIR) or os.devnull, ignore_errors=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept the clients that wait on the sockets, close the sockets, then shut down.

        All workers share the sockets, so they stay open where one worker ends and the others go on.
        """
        self.server_state.ending = True  # type: ignore[attr-defined]
        for waiting in [
            connection for listener in sockets or () if _all_end() for connection in _close_listener(listener)
        ]:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, waiting)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def _all_end() -> bool:
    return is_orphan() or Path(os.environ.get(ENDING) or os.devnull).is_file()


def is_orphan() -> bool:
    """Whether the process that this one is to end with is gone: then another process is our parent."""
    parent = os.environ.get(PARENT)
    return bool(parent) and os.getppid() != int(parent or 0)


def _close_listener(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait on a socket, which is closed: later clients are refused."""
    waiting: list[socket.socket] = []
    _ignore_new_clients(listener)
    with suppress(OSError):
        while True:
            waiting.append(listener.accept()[0])
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    return waiting


def _ignore_new_clients(listener: socket.socket) -> None:
    """Drop the first packets of new connections, where the system can (Linux).

    A client who connects after the last ``accept`` and before the socket is closed would be reset. Its first
    packet is dropped instead; it is sent again a second later, and refused then.
    """
    steps = [struct.pack("HBBI", *step) for step in _DROP_FIRST_PACKETS]
    program = ctypes.create_string_buffer(b"".join(steps))
    reference = struct.pack("HL", len(steps), ctypes.addressof(program))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, reference)


class _Clock:
    """Mixin for protocols: closes a connection whose client sends no request or takes no answer in time."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    server_state: Any
    cycle: Any
    _silence: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None
    _late_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        # So that writing is paused whenever something waits to be taken, be it the end of the answer.
        transport.set_write_buffer_limits(high=0)
        if hasattr(transport, "max_size"):
            transport.max_size = _READS_AT_ONCE
        self._listen()

    def data_received(self, data: bytes) -> None:
        if self._at_rest:
            self._late_bytes += len(data)
            if self._late_bytes > SENDS_AFTERWARDS:
                self.transport.abort()
                return
        super().data_received(data)  # type: ignore[misc]
        if self._ending and not self._at_rest:
            self._be_the_last()

    def on_response_complete(self) -> None:
        self._late_bytes = 0
        # What was not read of the body is not kept until the next request.
        self.cycle.body = type(self.cycle.body)()
        super().on_response_complete()  # type: ignore[misc]
        self._listen()

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        self._wait_for_taker()

    def resume_writing(self) -> None:
        self._stop_waiting()
        super().resume_writing()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._stop_waiting()
        super().connection_lost(exc)  # type: ignore[misc]

    def shutdown(self) -> None:
        """End after the current response, or after the next one if a request arrives in time."""
        if self._untaken:
            self._stop_waiting()
            self._wait_for_taker()
        if self._at_rest:
            self._listen()
        else:
            self._be_the_last()

    def _be_the_last(self) -> None:
        """Make the response, which has not begun yet, say ``Connection: close``."""
        self.cycle.keep_alive = False
        self.cycle.default_headers = [*self.cycle.default_headers, (b"connection", b"close")]

    @property
    def _ending(self) -> bool:
        return getattr(self.server_state, "ending", False)

    @property
    def _at_rest(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _listen(self) -> None:
        self._stop()
        patience = SPEAKS_AT_LAST_WITHIN if self._ending else SPEAKS_WITHIN
        self._silence = self.loop.call_later(patience, self._give_up)

    def _stop(self) -> None:
        if self._silence:
            self._silence.cancel()

    def _give_up(self) -> None:
        if self._at_rest:
            self.transport.close()

    def _wait_for_taker(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        patience = TAKES_AT_LAST_WITHIN if self._ending else TAKES_WITHIN
        self._untaken = self.loop.call_later(patience, self._check_taken, waiting)

    def _stop_waiting(self) -> None:
        if self._untaken:
            self._untaken.cancel()
            self._untaken = None

    def _check_taken(self, before: int) -> None:
        """Abort the connection unless its client takes a long answer at a bearable pace."""
        if before - self.transport.get_write_buffer_size() < TAKES_AT_LEAST:
            self.transport.abort()
        else:
            self._wait_for_taker()
