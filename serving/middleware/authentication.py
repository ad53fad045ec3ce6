"""Who is answered: keys and their scopes, rates, and without keys this machine alone, under its own name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from serving.middleware.api_keys import ApiKeyStore
from serving.middleware.hosts import host_name, is_cross_site, is_loopback, parse_address
from serving.middleware.rate_limit import shared_limiter
from serving.middleware.request_body import BODY_TOO_LARGE, MAX_BODY
from serving.problems import Problem, send_problem
from serving.request_context import current_request, route_template
from serving.settings import ServiceSettings
from serving.webhooks.settings import read_webhooks

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from starlette.types import ASGIApp, Receive, Scope, Send

    from serving.middleware.api_keys import ApiKey
    from serving.middleware.api_keys import Scope as KeyScope

_PROBES = frozenset(("/livez", "/readyz", "/healthz"))
_OPEN = frozenset((*_PROBES, "/", "/docs.json"))
# What a link on another site may lead to, and the pages of the console.
_PAGES = frozenset((*_OPEN, "/report"))
_READS = frozenset(("GET", "HEAD", "OPTIONS"))
_SCOPES: dict[str, KeyScope] = {
    "/v1/score": "score",
    "/v1/explain": "score",
    "/v1/model": "score",
    "/v1/handover": "handover",
    "/v1/handover/overrides": "handover",
    "/v1/outcomes": "outcomes",
    "/v1/events": "events",
    "/v1/webhooks/{source}": "events",
}
# What a key may do is no secret to whoever has it.
_OF_ANY_KEY = frozenset(("/v1/key",))
# A lead is read by whoever may have it scored, and erased by an administrator.
_READING_SCOPES: dict[str, KeyScope] = {
    "/v1/leads/{id}": "score",
    "/v1/accounts": "score",
    "/v1/accounts/{id}": "score",
}
# Requests without a valid key, by address and minute.
GUESSES = 60
_IPV6_NETWORK = 64
# An IPv6 address with the name of an interface.
_LONGEST_ADDRESS = 80
_BEARER = "bearer "
# A proxy adds them; where one is not trusted, they say only that the request comes from elsewhere.
_FORWARDED = frozenset((b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"))
_UNKNOWN = "the key is unknown, revoked or expired; ask whoever runs the service for a new one"
_MISSING = "send one header Authorization: Bearer and a key; `leadloop keys add` makes one"
_KEYLESS = (
    "this service has no keys and answers only the machine it runs on; start it with --keys FILE, "
    "or with --no-keys where something else guards it"
)
_CLOSE = (("connection", "close"),)
_AMBIGUOUS = Problem(
    HTTPStatus.BAD_REQUEST,
    "ambiguous_length",
    "Transfer-Encoding and Content-Length cannot be combined; send one of them",
    headers=_CLOSE,
)
_CROSS_SITE = Problem(
    HTTPStatus.FORBIDDEN,
    "cross_site",
    "the request comes from a page of another site and has no key; "
    "send it from a program, or from this service's own pages",
)


@dataclass(frozen=True, slots=True)
class _Head:
    """What the headers say of who asks, and whether a proxy passed them on."""

    values: dict[bytes, str]
    counts: dict[bytes, int]
    forwarded: bool

    @classmethod
    def of(cls, scope: Scope) -> _Head:
        values: dict[bytes, str] = {}
        counts: dict[bytes, int] = {}
        forwarded = False
        for name, value in scope["headers"]:
            if name in _LOOKED_AT:
                values[name] = value.decode("latin-1")
                counts[name] = counts.get(name, 0) + 1
            forwarded = forwarded or name in _FORWARDED
        return cls(values, counts, forwarded)

    def only(self, name: bytes) -> str:
        """The value of a header that was sent once; else ""."""
        return self.values[name] if self.counts.get(name) == 1 else ""


_LOOKED_AT = frozenset(
    (b"host", b"origin", b"sec-fetch-site", b"authorization", b"content-length", b"transfer-encoding")
)


class AuthenticationMiddleware:
    """ASGI middleware that refuses requests without a valid key and scope, or over the rate limit."""

    def __init__(self, app: ASGIApp) -> None:
        settings = ServiceSettings.of(os.environ)
        self.app = app
        self._ring = ApiKeyStore(settings.keys, settings.project) if settings.keys else None
        self._open_to_all = settings.open_to_all
        self._has_provider = bool(os.environ.get("LEADLOOP_OIDC_ISSUER"))
        self._hosts = frozenset(settings.allowed_hosts)
        self._rate = shared_limiter(settings.rate, "requests") if settings.rate else None
        self._guesses = shared_limiter(GUESSES, "guesses")
        # Their messages are signed, which whoever reads the body verifies.
        incoming = read_webhooks().incoming.values()
        self._signed = frozenset(f"/v1/webhooks/{each.name}" for each in incoming if each.proof != "key")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it without reading its body, which the server throws away."""
        problem = self._refusal(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await send_problem(problem, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        head = _Head.of(scope)
        near = not _is_remote(scope, forwarded=head.forwarded)
        problem = _length_problem(head) or self._host_problem(scope["path"], head, near=near)
        if problem or _is_open(scope["path"]):
            return problem
        if _is_console(scope["path"]) and (self._ring or self._has_provider):
            # Its pages ask for a session of whoever signed in.
            return self._site_problem(scope, head)
        if scope["path"] in self._signed and scope["method"] == "POST":
            return self._rate_refusal(counted_address(scope))
        if self._ring:
            return self._key_refusal(self._ring, scope, head, near=near)
        if not (near or self._open_to_all):
            return _unauthorized("keys_required", _KEYLESS)
        return self._site_problem(scope, head) or self._rate_refusal(counted_address(scope))

    def _host_problem(self, path: str, head: _Head, *, near: bool) -> Problem | None:
        """A refusal of a name that is not this service's, where names are set or stand in for keys."""
        trusts_machine = near and not (self._ring or self._open_to_all)
        if path in _PROBES or not (trusts_machine or self._hosts):
            return None
        name = host_name(head.only(b"host"))
        if is_loopback(name) or name in self._hosts:
            return None
        detail = (
            f"this service does not answer to the name {name[:60]!r}; start it with --allowed-host and the "
            "name, or ask for 127.0.0.1"
        )
        return Problem(HTTPStatus.MISDIRECTED_REQUEST, "unknown_host", detail)

    def _site_problem(self, scope: Scope, head: _Head) -> Problem | None:
        reads = scope["method"] in _READS
        if reads and (self._open_to_all or scope["path"] in _PAGES or _is_console(scope["path"])):
            return None
        origin, site = head.values.get(b"origin", ""), head.values.get(b"sec-fetch-site", "")
        return _CROSS_SITE if is_cross_site(origin, site, head.only(b"host"), self._hosts) else None

    def _key_refusal(self, keys: ApiKeyStore, scope: Scope, head: _Head, *, near: bool) -> Problem | None:
        if scope["path"] == "/metrics" and near:
            return None
        header = head.only(b"authorization")
        if not header.lower().startswith(_BEARER):
            return self._guess_refusal(scope) or _unauthorized("key_missing", _MISSING)
        key = keys.find(header[len(_BEARER) :].strip())
        if key is None:
            return self._guess_refusal(scope) or _unauthorized("key_invalid", _UNKNOWN)
        return _scope_problem(key, scope) or self._rate_refusal(key.name)

    def _guess_refusal(self, scope: Scope) -> Problem | None:
        """A refusal of an address that sends too many requests without a valid key.

        A valid key is let in from there all the same: behind a proxy everybody may have the same address, and
        the hash of a key costs a tenth of this count.
        """
        wait = self._guesses.retry_after(counted_address(scope))
        detail = (
            f"too many requests without a valid key came from this address; ask again in {wait} s with one"
        )
        return _too_many("too_many_guesses", detail, wait, _CLOSE) if wait else None

    def _rate_refusal(self, caller: str) -> Problem | None:
        wait = self._rate.retry_after(caller) if self._rate else 0
        return _too_many("too_many_requests", f"ask again in {wait} s", wait) if wait else None


def is_keyless_request(scope: Scope) -> bool:
    """Whether a request is answered without a key: locally, or as the service is open to all."""
    settings = ServiceSettings.of(os.environ)
    near = not _is_remote(scope, forwarded=_Head.of(scope).forwarded)
    return settings.keys is None and (settings.open_to_all or near)


def _length_problem(head: _Head) -> Problem | None:
    length = head.values.get(b"content-length", "")
    if length and b"transfer-encoding" in head.values:
        return _AMBIGUOUS
    return BODY_TOO_LARGE if length.isdigit() and int(length) > MAX_BODY else None


def _scope_problem(key: ApiKey, scope: Scope) -> Problem | None:
    context = current_request()
    context.key_id, context.tenant, context.key_models = key.name, key.tenant, key.models
    context.scopes = key.scopes
    path = route_template(scope["path"])
    if path in _OF_ANY_KEY:
        return None
    reading = _READING_SCOPES.get(path) if scope["method"] in _READS else None
    needed = reading or _SCOPES.get(path, "admin")
    if needed in key.scopes:
        return None
    detail = f"this key may not do that; it takes one with the scope {needed}"
    return Problem(HTTPStatus.FORBIDDEN, "scope_missing", detail)


def _unauthorized(code: str, detail: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, code, detail, headers=(("www-authenticate", "Bearer"),))


def _too_many(code: str, detail: str, wait: int, headers: tuple[tuple[str, str], ...] = ()) -> Problem:
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, code, detail, headers=(("retry-after", str(wait)), *headers))


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith("/static_content/")


def _ip(scope: Scope) -> IPv4Address | IPv6Address | None:
    """The address of the client; None where there is none, or what a proxy sent is none."""
    client = scope.get("client")
    return parse_address(client[0][:_LONGEST_ADDRESS]) if client else None


def _is_console(path: str) -> bool:
    return path == "/console" or path.startswith("/console/")


def counted_address(scope: Scope) -> str:
    """The address that requests are counted by: of IPv6 the network, since a client has all of it."""
    address = _ip(scope)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, _IPV6_NETWORK), strict=False))
    return str(address or "")


def _is_remote(scope: Scope, *, forwarded: bool) -> bool:
    """Whether the request comes from another machine, or may: what a proxy passed on does.

    A client without address is local on a local socket alone: a connection that has broken has none either.
    """
    server = scope.get("server") or ("", 0)
    on_local_socket = scope.get("client") is None and server[1] is None
    address = _ip(scope)
    return forwarded or not (on_local_socket or (address is not None and address.is_loopback))
