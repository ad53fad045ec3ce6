"""The HTTP client of the push: a session with the token, timeouts, and errors to retry or to stop at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests
from requests.auth import AuthBase
from requests.exceptions import RequestException, SSLError

from training.crm.protocol import PushError, PushStopped, Request, Response

Send = Callable[[Request], Response]
TOKEN = "LEADLOOP_PUSH_TOKEN"  # noqa: S105  # where the token is, not what it is
# To connect, and to answer: Dataverse gives an operation two minutes.
TIMEOUTS = (10.0, 130.0)


class UnreachableError(OSError):
    """No response came; whether the CRM read the request is not known."""


class _Bearer(AuthBase):
    """The token in its header; as ``auth`` it also keeps requests from looking into ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
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
def http_session(token: str, timeouts: tuple[float, float] = TIMEOUTS) -> Iterator[Send]:
    """Sends requests with ``token`` over one kept connection; proxies are those of the environment.

    A redirect is not followed: it would carry the token to another host. Sending raises UnreachableError
    where trying again may help, and PushStopped where it will not.
    """
    with requests.Session() as session:
        session.auth = _Bearer(token)

        def send(request: Request) -> Response:
            with _translate_errors():
                answer = session.request(
                    request.method,
                    request.url,
                    headers=dict(request.headers),
                    data=request.body,
                    timeout=timeouts,
                    allow_redirects=False,
                )
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status_code, headers, answer.content)

        yield send


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate the errors of requests, without the request, whose headers hold the token."""
    try:
        yield
    except SSLError as error:
        msg = "the CRM's certificate is not valid for its address, so nothing was sent"
        raise PushStopped(msg) from error
    except RequestException as error:
        msg = f"no answer ({type(error).__name__})"
        raise UnreachableError(msg) from error
