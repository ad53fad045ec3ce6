"""Sends a message to its receiver over HTTP: one attempt, within a time, to an address that may be reached.

The addresses are the operator's own, and a name may lead anywhere all the same: so it is resolved here, and
the connection goes to the very address that was looked at. Redirects are not followed, and no proxy is asked.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx

from serving.webhooks.messages import trial_payload
from serving.webhooks.settings import is_private
from serving.webhooks.signatures import signed_headers

if TYPE_CHECKING:
    from serving.webhooks.settings import Subscription

# So much of an answer is read, so that the connection can be used again; what it says is not looked at.
_MOST_BYTES = 65_536
_LONGEST_WAIT = 86_400.0
_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of an attempt.

    Attributes:
        error: Why the message was not taken; "" where it was.
        receiver_is_down: Whether any other message would have fared alike: nobody answered, or with an error
            of the server.
        retry_after: The seconds that the receiver asks to wait.
    """

    error: str = ""
    receiver_is_down: bool = False
    retry_after: float | None = None


class AddressRefusedError(OSError):
    """The receiver's name leads to a private network, or nowhere."""


class Receiver:
    """The receiver of one subscription, with its own connections."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._url = httpx.URL(subscription.url)
        self._client = httpx.AsyncClient(
            verify=httpx.create_ssl_context(),
            timeout=subscription.timeout,
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, message_id: str, payload: str) -> Attempt:
        """Try once to deliver a message; what became of it."""
        try:
            async with asyncio.timeout(self._subscription.timeout):
                return await self._send(message_id, payload)
        except TimeoutError:
            return Attempt("no answer in time", receiver_is_down=True)
        except AddressRefusedError as error:
            return Attempt(str(error), receiver_is_down=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Attempt(f"no answer ({type(error).__name__})", receiver_is_down=True)

    async def _send(self, message_id: str, payload: str) -> Attempt:
        address = await self._address()
        headers = signed_headers(self._subscription.secrets, message_id, int(time.time()), payload)
        request = self._client.build_request(
            "POST",
            self._url.copy_with(host=address),
            content=payload.encode(),
            headers={
                **headers,
                "content-type": "application/json",
                "host": self._url.netloc.decode(),
                "user-agent": "leadloop-webhooks/1",
            },
            extensions={"sni_hostname": self._url.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            await _skip_body(response)
        finally:
            await response.aclose()
        return _attempt(response)

    async def _address(self) -> str:
        """The address to connect to. Raises AddressRefusedError where one of the name's is not public."""
        host = self._url.host
        loop = asyncio.get_running_loop()
        try:
            infos = await loop.getaddrinfo(host, self._url.port or 443, type=socket.SOCK_STREAM)
        except OSError as error:
            msg = "the receiver's host name cannot be resolved"
            raise AddressRefusedError(msg) from error
        addresses = [str(entry[4][0]) for entry in infos]
        if not self._subscription.allow_private and any(map(is_private, addresses)):
            msg = "the receiver's address is in a private network; allow_private = true allows it"
            raise AddressRefusedError(msg)
        return addresses[0]


def send_trial(subscription: Subscription) -> Attempt:
    """Send a receiver a message that tells of nobody; what became of it."""

    async def send() -> Attempt:
        receiver = Receiver(subscription)
        try:
            return await receiver.send(f"msg_{uuid4().hex}", trial_payload(time.time()))
        finally:
            await receiver.close()

    return asyncio.run(send())


async def _skip_body(response: httpx.Response) -> None:
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > _MOST_BYTES:
            return


def _attempt(response: httpx.Response) -> Attempt:
    status = response.status_code
    if response.is_success:
        return Attempt()
    down = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER
    return Attempt(
        f"status {status}",
        receiver_is_down=down,
        retry_after=_retry_after(response.headers.get("retry-after")),
    )


def _retry_after(value: str | None) -> float | None:
    """The seconds that a header asks to wait, as a number or as a date; at most a day."""
    if value is None:
        return None
    try:
        seconds = float(value) if value.isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)
