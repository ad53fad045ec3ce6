"""Authentication by API key and scope; without keys only this machine is answered."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from serving.middleware.api_keys import ApiKeyStore
from serving.middleware.rate_limit import RateLimiter
from serving.middleware.request_body import ClientDisconnected, read_body
from serving.problems import Problem, send_problem
from serving.request_context import current_request, route_template
from serving.settings import ServiceSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from serving.middleware.api_keys import ApiKey
    from serving.middleware.api_keys import Scope as KeyScope

_OPEN = frozenset(("/", "/docs.json", "/livez", "/readyz", "/healthz"))
_SCOPES: dict[str, KeyScope] = {
    "/v1/score": "score",
    "/v1/explain": "score",
    "/v1/model": "score",
    "/v1/handover": "score",
    "/v1/outcomes": "outcomes",
}
_BEARER = "bearer "
_UNKNOWN = "the key is unknown, revoked or expired; ask whoever runs the service for a new one"
_MISSING = "send one header Authorization: Bearer and a key; `leadloop keys add` makes one"
_KEYLESS = (
    "this service has no keys and answers only the machine it runs on; start it with --keys FILE, "
    "or with --no-keys where something else guards it"
)


class AuthenticationMiddleware:
    """ASGI middleware that refuses requests without a valid key and scope, or over the rate limit."""

    def __init__(self, app: ASGIApp) -> None:
        settings = ServiceSettings.of(os.environ)
        self.app = app
        self._ring = ApiKeyStore(settings.keys) if settings.keys else None
        self._open_to_all = settings.open_to_all
        self._rate = RateLimiter(settings.rate) if settings.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it without parsing its body."""
        guarded = scope["type"] == "http" and not _is_open(scope["path"])
        problem = self._refusal(scope) if guarded else None
        if problem is None:
            await self.app(scope, receive, send)
            return
        # A client that is still sending does not hear the answer.
        with suppress(ClientDisconnected, TimeoutError):
            await read_body(receive)
        await send_problem(problem, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        if self._ring:
            return self._key_refusal(self._ring, scope) or self._rate_refusal(current_request().key_id or "")
        if _remote(scope) and not self._open_to_all:
            return _unauthorized("keys_required", _KEYLESS)
        return self._rate_refusal(_address(scope))

    def _key_refusal(self, keys: ApiKeyStore, scope: Scope) -> Problem | None:
        if scope["path"] == "/metrics" and not _remote(scope):
            return None
        sent = Headers(scope=scope).getlist("authorization")
        header = sent[0] if len(sent) == 1 else ""
        if not header.lower().startswith(_BEARER):
            return _unauthorized("key_missing", _MISSING)
        key = keys.find(header[len(_BEARER) :].strip())
        return _key_problem(key, scope["path"])

    def _rate_refusal(self, caller: str) -> Problem | None:
        wait = self._rate.retry_after(caller) if self._rate else 0
        if not wait:
            return None
        return Problem(
            429, "too_many_requests", f"ask again in {wait} s", headers=(("retry-after", str(wait)),)
        )


def is_keyless_request(scope: Scope) -> bool:
    """Whether a request is answered without a key: locally, or as the service is open to all."""
    settings = ServiceSettings.of(os.environ)
    return settings.keys is None and (settings.open_to_all or not _remote(scope))


def _key_problem(key: ApiKey | None, path: str) -> Problem | None:
    if key is None:
        return _unauthorized("key_invalid", _UNKNOWN)
    current_request().key_id = key.name
    needed = _SCOPES.get(route_template(path), "admin")
    if needed not in key.scopes:
        return Problem(
            403, "scope_missing", f"this key may not do that; it takes one with the scope {needed}"
        )
    return None


def _unauthorized(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers=(("www-authenticate", "Bearer"),))


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith("/static_content/")


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _remote(scope: Scope) -> bool:
    """Whether the request comes from another machine; one without IP address came through a local socket."""
    try:
        return not ip_address(_address(scope)).is_loopback
    except ValueError:
        return False
