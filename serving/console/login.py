"""Signing in with a key, and out."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse

from serving.console.pages import PageRefused, set_visitor_cookie
from serving.console.rendering import ROOT, console_url
from serving.middleware.authentication import counted_address

if TYPE_CHECKING:
    from starlette.responses import Response

    from serving.console.pages import Visit

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


def next_page(address: str) -> str:
    """Where to go after signing in: the page that was asked for, if it is one of the console.

    >>> next_page("/console/model?x=1"), next_page("//elsewhere.example"), next_page("/consoles")
    ('/console/model?x=1', '/console', '/console')
    """
    return address if _PAGE.fullmatch(address) else console_url()


def _login_values(visit: Visit, target: str) -> dict[str, Any]:
    return {"next": target, "failed": False, "takes_keys": visit.console.takes_keys}
