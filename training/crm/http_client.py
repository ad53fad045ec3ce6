"""The HTTP client of the push: a session with the token, timeouts, and errors to retry or to stop at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import requests
from requests.auth import AuthBase
from requests.exceptions import RequestException, SSLError

from training.crm.oauth import ClientCredentials, TokenEndpointDownError, TokenSource
from training.crm.protocol import PushError, PushStopped, Request, Response

Send = Callable[[Request], Response]
TOKEN = "LEADLOOP_PUSH_TOKEN"  # noqa: S105  # where the token is, not what it is
# To connect, and to answer: Dataverse gives an operation two minutes.
TIMEOUTS = (10.0, 130.0)


class UnreachableError(OSError):
    """No response came; whether the CRM read the request is not known."""


class _Bearer(AuthBase):
    """The token in its header; as ``auth`` it also keeps requests from looking into ~/.netrc."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request


class _NoAuth(AuthBase):
    """Nothing in the header: requests must not look into ~/.netrc for the token endpoint either."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def token_from_environment() -> str:
    """The token in LEADLOOP_PUSH_TOKEN. Raises PushError, which never shows it."""
    token = optional_token()
    if token is None:
        msg = f"{TOKEN} is not set: put the CRM's access token there; it is not taken from the command line"
        raise PushError(msg)
    if not token.isascii() or not token.isprintable() or " " in token:
        msg = f"{TOKEN} holds blanks or characters that a token cannot have; set it to the bare token"
        raise PushError(msg)
    return token


def optional_token() -> str | None:
    """What LEADLOOP_PUSH_TOKEN holds, such as a password; None where it is not set."""
    return os.environ.get(TOKEN, "").strip() or None


@contextmanager
def http_session(token: str | ClientCredentials, timeouts: tuple[float, float] = TIMEOUTS) -> Iterator[Send]:
    """Sends requests with a token over one kept connection; proxies are those of the environment.

    A redirect is not followed: it would carry the token to another host. The token of a client is fetched
    first, renewed before it expires, and once more where the CRM refuses it. Sending raises UnreachableError
    where trying again may help, and PushStopped where it will not.
    """
    with requests.Session() as session, requests.Session() as asking:
        asking.auth = _NoAuth()
        source = None if isinstance(token, str) else TokenSource(token, asking)
        session.auth = _Bearer((lambda: str(token)) if source is None else source.token)

        def send(request: Request) -> Response:
            with _translate_errors():
                answer = _call(session, request, timeouts)
                if source is not None and answer.status_code == HTTPStatus.UNAUTHORIZED:
                    source.renew()
                    answer = _call(session, request, timeouts)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status_code, headers, answer.content)

        yield send


def _call(session: requests.Session, request: Request, timeouts: tuple[float, float]) -> requests.Response:
    return session.request(
        request.method,
        request.url,
        headers=dict(request.headers),
        data=request.body,
        timeout=timeouts,
        allow_redirects=False,
    )


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate the errors of requests, without the request, whose headers hold the token."""
    try:
        yield
    except TokenEndpointDownError as error:
        raise UnreachableError(str(error)) from error
    except SSLError as error:
        msg = "the CRM's certificate is not valid for its address, so nothing was sent"
        raise PushStopped(msg) from error
    except RequestException as error:
        msg = f"no answer ({type(error).__name__})"
        raise UnreachableError(msg) from error
