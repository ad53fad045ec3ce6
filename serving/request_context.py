"""The context of the current request, for log lines, metrics and the decision log."""

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
    """What is known of one request; middleware fills it in, and nothing in it identifies a lead.

    ``tenant`` is the label that the key is bound to; "" sees all of them. ``cost`` is what
    the request takes by estimate, in ms of CPU.
    """

    request_id: str = ""
    endpoint: str = ""
    key_id: str | None = None
    tenant: str = ""
    leads: int | None = None
    model_version: str | None = None
    code: str | None = None
    cost: float = 0.0


# A request has its own, also in the threads that work for it; without one, whoever writes has nobody to tell.
_NOW: ContextVar[RequestContext | None] = ContextVar("visit", default=None)
begin, end = _NOW.set, _NOW.reset


def current_request() -> RequestContext:
    """The context of the current request; an empty one outside of a request."""
    return _NOW.get() or RequestContext()


def route_template(path: str) -> str:
    """The path without ids, so that log lines name no lead and metrics have few labels.

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
