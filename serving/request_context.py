"""What is known of the request that is being answered, for log lines, metrics and records."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

_PATHS = frozenset(
    (
        *("/", "/docs.json", "/report", "/metrics", "/livez", "/readyz", "/healthz"),
        *("/v1/score", "/v1/explain", "/v1/model", "/v1/outcomes", "/v1/handover"),
    )
)
_OF_A_LEAD = re.compile(r"/v1/leads/[^/]+(/decisions)?")
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class RequestContext:
    """One request: filled in on its way, and nothing in it is about a person."""

    request_id: str = ""
    endpoint: str = ""
    key_id: str | None = None
    leads: int | None = None
    model_version: str | None = None
    code: str | None = None


# A request has its own, also in the threads that work for it; without one, whoever writes has nobody to tell.
_NOW: ContextVar[RequestContext | None] = ContextVar("visit", default=None)
begin, end = _NOW.set, _NOW.reset


def current_request() -> RequestContext:
    """The request that is being answered."""
    return _NOW.get() or RequestContext()


def route_template(path: str) -> str:
    """The path without what a client may choose, so that no lead is named and no list grows.

    >>> [route_template(path) for path in ("/v1/leads/ada/decisions", "/v1/leads/ada", "/wp-admin")]
    ['/v1/leads/{id}/decisions', '/v1/leads/{id}', 'other']
    """
    if path in _PATHS:
        return path
    of_a_lead = _OF_A_LEAD.fullmatch(path)
    return f"/v1/leads/{{id}}{of_a_lead[1] or ''}" if of_a_lead else "other"


def request_id(sent: str | None) -> str:
    """The id that the client sent, if it can stand in a log line as it is; else a new one.

    >>> request_id("crm-17"), len(request_id("two" + chr(10) + "lines"))
    ('crm-17', 32)
    """
    return sent if sent and _SANE.fullmatch(sent) else secrets.token_hex(16)
