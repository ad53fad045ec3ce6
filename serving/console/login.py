"""Signing in with a key or at an identity provider, and out."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import RedirectResponse

from serving.console.pages import PageRefused, set_visitor_cookie, visitor_cookie
from serving.console.rendering import ROOT, console_url
from serving.console.sign_in_attempt import SignInAttempt, SignInFailed
from serving.middleware.authentication import counted_address

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.responses import Response

    from serving.console.oidc import IdentityProvider
    from serving.console.pages import Visit

T = TypeVar("T")
# The cookie of an attempt to sign in elsewhere, and how long that may take.
_ATTEMPT, _ATTEMPT_SECONDS = "oidc", 600
_STATUSES = {
    "console.no_provider": HTTPStatus.BAD_GATEWAY,
    "console.no_role": HTTPStatus.FORBIDDEN,
    "console.no_models": HTTPStatus.FORBIDDEN,
    "console.sign_in_refused": HTTPStatus.FORBIDDEN,
    "console.token_refused": HTTPStatus.FORBIDDEN,
}
# A page of the console, never one of another site: "//" and "\\" would lead there.
_PAGE = re.compile(rf"{ROOT}(?:[/?][^\\\s]*)?")


async def login_page(visit: Visit) -> Response:
    """The form to sign in with, and what became of it."""
    target = next_page(visit.form.get("next") or visit.query.get("next", ""))
    if visit.person is not None:
        return RedirectResponse(target, HTTPStatus.SEE_OTHER)
    if visit.request.method != "POST":
        return visit.page("login.html", **_login_values(visit, target))
    token = await visit.console.sign_in_with_key(visit.form.get("key", ""))
    if token is None:
        wait = visit.console.seconds_until_guess(counted_address(visit.request.scope))
        if wait:
            raise PageRefused(HTTPStatus.TOO_MANY_REQUESTS, "console.too_many_guesses", seconds=wait)
        values = _login_values(visit, target) | {"failed": True}
        return visit.page("login.html", HTTPStatus.UNAUTHORIZED, **values)
    response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
    set_visitor_cookie(visit, response, token)
    return response


async def logout(visit: Visit) -> Response:
    """End the session; the cookie is of no use any more."""
    await visit.console.sign_out(visit.token)
    return visit.go("login")


async def begin_oidc(visit: Visit) -> Response:
    """Send the browser to the identity provider."""
    provider = _require_provider(visit)
    attempt = SignInAttempt.begin(next_page(visit.query.get("next", "")))
    address = await _ask(provider.address(attempt, _redirect_uri(visit)))
    response = RedirectResponse(address, HTTPStatus.SEE_OTHER)
    # Lax: the browser comes back from another site, and must bring it along.
    set_visitor_cookie(visit, response, attempt.encode(), _ATTEMPT, lasts=_ATTEMPT_SECONDS, samesite="lax")
    return response


async def finish_oidc(visit: Visit) -> Response:
    """Sign in who comes back from the identity provider."""
    provider = _require_provider(visit)
    attempt = SignInAttempt.decode(visitor_cookie(visit.request, _ATTEMPT))
    if attempt is None:
        raise PageRefused(HTTPStatus.BAD_REQUEST, "console.sign_in_again")
    person = await _ask(provider.finish(attempt, visit.query, _redirect_uri(visit)))
    token = await _ask(visit.console.begin_session(person))
    # A redirect would still count as coming from the other site, and the session's cookie would stay behind.
    response = visit.page("signed_in.html", target=next_page(attempt.target))
    set_visitor_cookie(visit, response, token)
    set_visitor_cookie(visit, response, "", _ATTEMPT, lasts=0, samesite="lax")
    return response


def _require_provider(visit: Visit) -> IdentityProvider:
    if visit.console.provider is None:
        raise PageRefused(HTTPStatus.NOT_FOUND, "console.no_page")
    return visit.console.provider


async def _ask(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except SignInFailed as failure:
        raise PageRefused(_STATUSES.get(failure.key, HTTPStatus.BAD_REQUEST), failure.key) from failure


def _redirect_uri(visit: Visit) -> str:
    """Where the browser comes back to, as the provider knows it."""
    own = "" if visit.console.provider is None else visit.console.provider.settings.redirect_uri
    return own or f"{visit.request.url.scheme}://{visit.request.url.netloc}{console_url('oidc', 'callback')}"


def next_page(address: str) -> str:
    """Where to go after signing in: the page that was asked for, if it is one of the console.

    >>> next_page("/console/model?x=1"), next_page("//elsewhere.example"), next_page("/consoles")
    ('/console/model?x=1', '/console', '/console')
    """
    return address if _PAGE.fullmatch(address) else console_url()


def _login_values(visit: Visit, target: str) -> dict[str, Any]:
    provider = None if visit.console.provider is None else console_url("oidc", "start", next=target)
    return {"next": target, "failed": False, "takes_keys": visit.console.takes_keys, "provider": provider}
