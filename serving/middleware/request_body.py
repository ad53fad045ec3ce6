"""Reads request bodies, up to a size, within a time, and up to a sum over all requests of the worker."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from serving.problems import Problem, ProblemResponse
from serving.request_context import current_request

if TYPE_CHECKING:
    from starlette.types import Receive

    from serving.request_context import RequestContext

# A thousand leads of forty touchpoints take four to six.
MAX_BODY = 8 * 1024 * 1024
# Seconds for all of it, so that a byte a second keeps nobody busy; 8 MB take 15 s at 4.5 Mbit/s.
WITHIN = 15.0
# Bytes of the bodies of all requests that a worker is reading or answering.
MAX_IN_FLIGHT = 64 * 1024 * 1024

BODY_TOO_LARGE = Problem(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "body_too_large",
    f"at most {MAX_BODY:,} bytes are read; send fewer leads at once",
)
_TOO_MUCH_IN_FLIGHT = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too_much_in_flight",
    "the memory for requests is full; try again soon, with fewer leads in a request",
    headers=(("retry-after", "1"),),
)


class ClientDisconnected(ConnectionError):  # noqa: N818  # the client left, nothing is in error
    """The client closed the connection while it was being read; nobody waits for an answer."""


class _InFlight:
    """How many bytes of bodies the requests of this worker hold."""

    def __init__(self) -> None:
        self.size = 0

    def add(self, size: int, context: RequestContext) -> None:
        """Count bytes that a request holds until it ends. Raises ProblemResponse where there are too many."""
        if self.size + size > MAX_IN_FLIGHT:
            raise ProblemResponse(_TOO_MUCH_IN_FLIGHT)
        self.size += size
        context.body_bytes += size

    def release(self, context: RequestContext) -> None:
        """The request has ended."""
        self.size -= context.body_bytes
        context.body_bytes = 0


IN_FLIGHT = _InFlight()


async def read_body(receive: Receive, within: float | None = None) -> bytes:
    """Read a request body. Of one that is refused the server throws away what still comes.

    Args:
        receive: ASGI's channel of messages.
        within: The seconds that all of it may take. Default: ``WITHIN``.

    Returns:
        The body.

    Raises:
        TimeoutError: It did not arrive in time.
        ClientDisconnected: The client closed the connection.
        ProblemResponse: It is larger than ``MAX_BODY``, or all bodies together than ``MAX_IN_FLIGHT``.
    """
    context = current_request()
    async with asyncio.timeout(WITHIN if within is None else within):
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > MAX_BODY:
                raise ProblemResponse(BODY_TOO_LARGE)
            IN_FLIGHT.add(len(chunk), context)
            body += chunk
            more = message.get("more_body", False)
        return bytes(body)
