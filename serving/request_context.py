"""The context of the current request, for log lines, metrics and the decision log."""

from __future__ import annotations

import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.decision_log.records import IdempotencyKey

_PATHS = frozenset(
    (
        *("/", "/docs.json", "/report", "/metrics", "/livez", "/readyz", "/healthz"),
        *("/v1/score", "/v1/explain", "/v1/model", "/v1/outcomes", "/v1/handover", "/v1/events"),
        *("/v1/handover/overrides", "/v1/key", "/v1/accounts"),
        *("/v1/subscriptions", "/v1/subscriptions/dead-letters", "/v1/subscriptions/resend"),
    )
)
# The pages of the console; what follows the name of some of them is an id.
_CONSOLE = re.compile(
    r"/console(/(?:login|logout|static|leads|accounts|forget|model|report|decided|decisions|oidc)(/.*)?)?",
    re.DOTALL,
)
_OF_A_LEAD = re.compile(r"/v1/leads/.+?(/decisions|/subject-access)?", re.DOTALL)
_OF_A_SOURCE = re.compile(r"/v1/webhooks/[^/]+")
_ACCOUNTS = "/v1/accounts/"
# A UUID, or hexadecimal digits as tracing has them: neither is likely to be somebody's name or address.
_TRACE_ID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16,64}")


def _now() -> float:
    return time.time()


@dataclass(slots=True)
class RequestContext:
    """What is known of one request; middleware fills it in, and nothing in it identifies a lead.

    ``scopes`` are those of the key, None where the service has no keys. ``tenant`` is the label that the key
    is bound to; "" sees all of them. ``model`` is the name of the model that is asked for, "" for the default
    one, and ``key_models`` are those that the key is limited to, if any. ``received_at`` is when the request
    came, in epoch seconds. ``body_bytes`` is how much of the worker's memory for bodies the request holds.
    ``cost`` is what it takes by estimate, in ms of CPU. ``answer`` is what was kept under its key for
    ``idempotency``, if it has one.
    """

    request_id: str = ""
    endpoint: str = ""
    key_id: str | None = None
    scopes: tuple[str, ...] | None = None
    tenant: str = ""
    model: str = ""
    key_models: tuple[str, ...] = ()
    leads: int | None = None
    model_version: str | None = None
    code: str | None = None
    received_at: float = field(default_factory=_now)
    body_bytes: int = 0
    cost: float = 0.0
    idempotency: IdempotencyKey | None = None
    answer: bytes | None = None


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
    >>> [route_template(path) for path in ("/console", "/console/leads/ada/2", "/console/x")]
    ['/console', '/console/leads/{id}', 'other']
    """
    if path in _PATHS:
        return path
    if page := _CONSOLE.fullmatch(path):
        return f"/console{page[1] or ''}".removesuffix(page[2] or "") + ("/{id}" if page[2] else "")
    if _OF_A_SOURCE.fullmatch(path):
        return "/v1/webhooks/{source}"
    if path.startswith(_ACCOUNTS):
        return f"{_ACCOUNTS}{{id}}"
    of_a_lead = _OF_A_LEAD.fullmatch(path)
    return f"/v1/leads/{{id}}{of_a_lead[1] or ''}" if of_a_lead else "other"


def request_id(sent: str | None, path: str = "") -> str:
    """The id that the client sent, if it is a UUID or 16 to 64 hexadecimal digits; else a new one.

    It stands in log lines that no erasure reaches: what may be a lead's id, or is the one in ``path``, does
    not get there.

    >>> request_id("0af7651916cd43dd8448eb211c80319c"), len(request_id("ada@example.com"))
    ('0af7651916cd43dd8448eb211c80319c', 32)
    """
    usable = sent and _TRACE_ID.fullmatch(sent) and sent not in path
    return sent if sent and usable else secrets.token_hex(16)
