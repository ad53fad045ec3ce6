"""Clients of a real server that do not read, never stop sending, or stand behind a proxy."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import sys
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving import uvicorn_patches
from serving.uvicorn_patches import GracefulServer

GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Protocol(uvicorn_patches._Clock, H11Protocol):
    """The protocol of the service."""


def answers(body, headers=()):
    """An application that reads nothing and answers with this body."""

    async def app(scope, _, send):
        app.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    app.scopes = []
    return app


@asynccontextmanager
async def serving(app):
    """A server for this application, its port, and what it knows of its connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Protocol, lifespan="off", log_level="critical")
    server = GracefulServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    try:
        yield listener.getsockname()[1], server.server_state
    finally:
        server.should_exit = True
        await task


async def connect(port, *, window=4096):
    """A connection of which the client's side holds little that it has not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.settimeout(0)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


async def until(true):
    """Wait for what must come; the test fails where it does not."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)


@pytest.fixture
def hurry(monkeypatch):
    """No client is waited for longer than a moment."""
    monkeypatch.setattr(uvicorn_patches, "TAKES_WITHIN", 0.2)
    monkeypatch.setattr(uvicorn_patches, "TAKES_AT_LAST_WITHIN", 0.2)


@pytest.mark.parametrize("size", [20 << 20, 300])
@pytest.mark.usefixtures("hurry")
def test_a_client_that_does_not_read_its_answers_loses_its_connection(size):
    """Whether it is one long answer, or short ones that fill what the system keeps for it."""

    async def silent():
        loop = asyncio.get_running_loop()
        async with serving(answers(b"x" * size)) as (port, state):
            with await connect(port) as client:
                # Requests in a pipeline, until nobody takes more of them.
                async def ask():
                    while True:
                        await loop.sock_sendall(client, GET * 100)

                asking = asyncio.create_task(ask())
                await until(lambda: state.connections)
                await until(lambda: not state.connections)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            await until(lambda: not state.tasks)

    asyncio.run(silent())


@pytest.mark.usefixtures("hurry")
def test_a_client_that_reads_slowly_but_steadily_gets_its_whole_answer(monkeypatch):
    monkeypatch.setattr(uvicorn_patches, "TAKES_AT_LEAST", 1 << 16)
    size = 24 << 20

    async def steady():
        loop = asyncio.get_running_loop()
        async with serving(answers(b"x" * size)) as (port, _):
            with await connect(port, window=1 << 18) as client:
                await loop.sock_sendall(client, GET)
                taken = 0
                while taken < size:
                    chunk = await loop.sock_recv(client, 1 << 19)
                    assert chunk, "the connection has ended"
                    taken += len(chunk)
                    await asyncio.sleep(0.01)

    asyncio.run(steady())


def test_what_was_not_read_of_a_body_is_thrown_away_and_the_answer_is_heard():
    async def refused():
        reader, writer = None, None
        async with serving(answers(b"no")) as (port, state):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = 32 << 20
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % body)
            held = 0
            for _ in range(body >> 20):
                writer.write(b"x" * (1 << 20))
                await writer.drain()
                (protocol,) = state.connections
                held = max(held, len(protocol.cycle.body) if protocol.cycle else 0)
            # The connection goes on: the next request is answered on it.
            writer.write(GET)
            text = b""
            while text.count(b"200 OK") < 2:
                text += await reader.read(1000)
            writer.close()
        assert held <= 2 * uvicorn_patches._READS_AT_ONCE

    asyncio.run(refused())


def test_a_body_that_goes_on_for_ever_after_its_answer_ends_its_connection(monkeypatch):
    monkeypatch.setattr(uvicorn_patches, "SENDS_AFTERWARDS", 1 << 20)

    async def endless():
        async with serving(answers(b"no")) as (port, state):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
            with suppress(ConnectionError):
                for _ in range(1000):
                    writer.write(b"x" * (1 << 16))
                    await writer.drain()
            assert writer.is_closing()
            await until(lambda: not state.connections)

    asyncio.run(endless())


@pytest.mark.parametrize(
    ("trusted", "sent", "address"),
    [
        (None, "unknown", "127.0.0.1"),
        (None, "192.0.2.7", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "unknown", "unknown"),
        ("10.0.0.1", "192.0.2.7", "127.0.0.1"),
    ],
)
def test_a_proxy_is_believed_where_it_was_named_and_nowhere_else(monkeypatch, trusted, sent, address):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if trusted:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)

    async def forwarded():
        app = answers(b"yes")
        async with serving(app) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET.replace(b"\r\n\r\n", f"\r\nX-Forwarded-For: {sent}\r\n\r\n".encode()))
            await reader.readuntil(b"yes")
            writer.close()
        return app.scopes[0]["client"][0]

    assert asyncio.run(forwarded()) == address


class _LateClient(socket.socket):
    """A listener on which somebody connects after its last ``accept``, just before it is closed."""

    def shutdown(self, how):
        self.client = socket.socket()
        self.client.settimeout(0)
        self.client.connect_ex(self.getsockname())
        super().shutdown(how)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux filters the packets of a listening socket")
def test_who_connects_while_the_listener_is_closed_is_refused_and_not_reset():
    with _LateClient() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0)
        with socket.create_connection(listener.getsockname()) as early:
            (waiting,) = uvicorn_patches._close_listener(listener)
            with waiting:
                early.sendall(b"still heard")
                assert waiting.recv(11) == b"still heard"
        with listener.client as late:
            select.select([], [late], [], 30)
            assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
