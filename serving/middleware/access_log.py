"""The access log: a request id, one log line per request, metrics, and security headers on responses."""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from serving.middleware.request_body import IN_FLIGHT
from serving.monitoring import metrics
from serving.request_context import RequestContext, begin, end, request_id, route_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PROBES = frozenset(("/livez", "/readyz", "/healthz", "/metrics"))
_COMMON = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_DATA = (
    *_COMMON,
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# The sheet for a person is a page to print: it has a style, loads nothing and runs nothing.
_SHEET_PATH = "/v1/leads/{id}/subject-access"
_SHEET = (
    *_COMMON,
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        (
            b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
            b"form-action 'none'; sandbox"
        ),
    ),
)
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'; sandbox allow-scripts allow-downloads"
)
_REPORT = (
    *_COMMON,
    (b"cache-control", b"no-cache"),
    (b"content-security-policy", REPORT_POLICY.encode()),
)
# The console loads its own files alone. Its pages tell none but the service where a visitor comes from; with
# no-referrer a browser would not tell it the origin of a form either.
_CONSOLE = (
    *_COMMON[:2],
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        (
            b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
            b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        ),
    ),
)
# Another content of a file has another address.
_CONSOLE_FILES = (*_COMMON, (b"cache-control", b"public, max-age=31536000, immutable"), _CONSOLE[-1])
_PAGES = (
    *_COMMON,
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
    ),
)
# Our own, or of no use to a client: who serves is nobody's business.
_REPLACED = frozenset((b"server", b"x-bentoml-request-id", b"cache-control", b"content-security-policy"))
logger = logging.getLogger("leadloop")


class AccessLogMiddleware:
    """ASGI middleware, the outermost: it logs every request, however it ends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log its status and duration."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id")
        context = RequestContext(request_id(sent, scope["path"]), route_template(scope["path"]))
        sender = _HeaderSender(send, context.request_id, _headers(scope["path"], context.endpoint))
        started, token = time.perf_counter(), begin(context)
        try:
            await self.app(scope, receive, sender)
            await sender.close()
        finally:
            end(token)
            IN_FLIGHT.release(context)
            _log_request(scope["method"], context, sender.status, time.perf_counter() - started)


class _HeaderSender:
    """Adds our headers to the response, and holds its status: 499 where the client left before."""

    def __init__(self, send: Send, request_id: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._mine = (*headers, (b"x-request-id", request_id.encode()))
        self._started = False
        self.status = 499

    async def close(self) -> None:
        """Send an empty response where there is none: BentoML and a worker's end wait a minute for one."""
        if not self._started:
            await self({"type": "http.response.start", "status": self.status, "headers": []})
            await self({"type": "http.response.body"})

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started, self.status = True, message["status"]
            headers = [header for header in message["headers"] if header[0].lower() not in _REPLACED]
            message = {**message, "headers": [*headers, *self._mine]}
        await self._send(message)


def _headers(path: str, endpoint: str) -> Sequence[tuple[bytes, bytes]]:
    if path == "/" or path.startswith("/static_content/"):
        return _PAGES
    if path.startswith("/console/static/"):
        return _CONSOLE_FILES
    if path == "/console" or path.startswith("/console/"):
        return _REPORT if path == "/console/report" else _CONSOLE
    return {_SHEET_PATH: _SHEET, "/report": _REPORT}.get(endpoint, _DATA)


def _log_request(method: str, context: RequestContext, status: int, seconds: float) -> None:
    metrics.REQUESTS.labels(context.endpoint, str(status)).observe(seconds)
    if context.code:
        metrics.REFUSED.labels(context.code).inc()
    if context.endpoint in _PROBES and status < HTTPStatus.BAD_REQUEST:
        return
    fields = {
        "request_id": context.request_id,
        "method": method,
        "endpoint": context.endpoint,
        "status": status,
        "ms": round(seconds * 1e3, 2),
        "leads": context.leads,
        "key": context.key_id,
        "model": context.model_version,
        "code": context.code,
    }
    entry = {name: value for name, value in fields.items() if value is not None}
    level = logging.ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
    logger.log(level, "request", extra={"fields": entry})
