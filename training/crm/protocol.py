"""The protocol of CRM adapters: records become one request, its response one answer per record.

A format is pure: it turns records into a request and a response into answers, and never sends anything.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CrmName = Literal["dynamics", "hubspot", "odoo", "rest", "salesforce", "sql"]
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_LONGEST_REASON = 500


class PushError(ValueError):
    """Scores that cannot be pushed as they were given; the message says what to change."""


class PushStopped(Exception):  # noqa: N818  # it ends a push, and the next one goes on from there
    """The rest of the push cannot succeed now; the message says why."""


class UnsendableRecordError(ValueError):
    """A record that no request can hold; the message says why."""


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """One lead and what it is to get, under the CRM's own field names."""

    lead_id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a CRM, complete but for the token."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """The response of a CRM; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises PushStopped where it is none, such as the page of a login."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            msg = f"the answer (status {self.status}) is not JSON; is --url the address of the CRM's API?"
            raise PushStopped(msg) from error


@dataclass(frozen=True, slots=True)
class Accepted:
    """The CRM has acknowledged the record."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The CRM does not take the record, with its own reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The CRM asks to be sent the record again, after so many ``seconds`` if it says when."""

    seconds: float | None = None


Answer = Accepted | Rejected | RetryLater


class CrmAdapter(Protocol):
    """One CRM's format: how records are sent to it and how it answers."""

    @property
    def limit(self) -> int:
        """The most records of one request."""

    def request(self, records: Sequence[CrmRecord]) -> Request:
        """The call that writes ``records``. Raises UnsendableRecordError where one cannot stand in it."""

    def answers(self, records: Sequence[CrmRecord], response: Response) -> list[Answer]:
        """What a 2xx ``response`` says of each of ``records``, in their order."""

    def is_about_record(self, response: Response) -> bool:
        """Whether an error that usually ends a push is about the one record of the request."""


def validate_base_url(url: str) -> str:
    """``url`` without a closing slash. Raises PushError where a token must not be sent to it.

    >>> validate_base_url("https://contoso.crm.dynamics.com/")
    'https://contoso.crm.dynamics.com'
    """
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not safe or not parts.hostname or parts.username or parts.query or parts.fragment:
        msg = f"--url {url}: give the CRM's address as https://HOST, without user, password or query"
        raise PushError(msg)
    return url.rstrip("/")


def field_name(name: str) -> str:
    """``name`` if it can be a CRM's field: letters, digits and underscores. Raises PushError otherwise."""
    if not _NAME.fullmatch(name):
        msg = f"{name!r} is not the name of a field; it has letters, digits and underscores"
        raise PushError(msg)
    return name


def error_message(payload: Any) -> str:
    """The CRM's own words in an error, whichever of the three shapes it has.

    >>> error_message([{"errorCode": "INVALID_FIELD", "message": "No such column 'Grade__c'"}])
    "INVALID_FIELD: No such column 'Grade__c'"
    >>> error_message({"error": {"code": "0x80044331", "message": "too long"}})
    '0x80044331: too long'
    """
    if isinstance(payload, list) and payload:
        return error_message(payload[0])
    if not isinstance(payload, dict):
        return str(payload)[:_LONGEST_REASON]
    if isinstance(payload.get("error"), dict):
        return error_message(payload["error"])
    code = next(
        (payload[key] for key in ("errorCode", "statusCode", "code", "category") if key in payload), None
    )
    message = payload.get("message") or json.dumps(payload)
    return (f"{code}: {message}" if code else str(message))[:_LONGEST_REASON]


def reason_in(body: bytes) -> str:
    """The CRM's own words in an error's body, JSON or not."""
    try:
        return error_message(json.loads(body))
    except ValueError:
        return error_message(body.decode(errors="replace").strip() or "no reason given")
