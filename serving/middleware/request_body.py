"""Reads request bodies, up to a size and within a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive

# A thousand leads of forty touchpoints take four to six.
MAX_BODY = 8 * 1024 * 1024
# A client that is still sending does not hear the answer; up to this many bytes are read and thrown away.
_PATIENCE = 8 * MAX_BODY
# Seconds for all of it, so that a byte a second keeps nobody busy; 8 MB take 15 s at 4.5 Mbit/s.
WITHIN = 15.0


class ClientDisconnected(ConnectionError):  # noqa: N818  # the client left, nothing is in error
    """The client closed the connection while it was being read; nobody waits for an answer."""


async def read_body(receive: Receive, within: float | None = None) -> bytes:
    """Read a request body.

    Args:
        receive: ASGI's channel of messages.
        within: The seconds that all of it may take. Default: ``WITHIN``.

    Returns:
        The body; one that is too large is cut off, and longer than ``MAX_BODY``.

    Raises:
        TimeoutError: It did not arrive in time.
        ClientDisconnected: The client closed the connection.
    """
    async with asyncio.timeout(WITHIN if within is None else within):
        body, size, more = bytearray(), 0, True
        while more and size <= _PATIENCE:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            size += len(message.get("body", b""))
            if len(body) <= MAX_BODY:
                body += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(body)
