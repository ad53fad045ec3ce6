"""OAuth 2.0 client credentials (RFC 6749, section 4.4): a token that is fetched, kept, and renewed.

The client's id and secret are sent in the body of the request for a token, as Salesforce and Microsoft Entra
take them.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from training.crm.protocol import PushError, PushStopped, validate_base_url

if TYPE_CHECKING:
    import requests

CLIENT_ID, CLIENT_SECRET = "LEADLOOP_PUSH_CLIENT_ID", "LEADLOOP_PUSH_CLIENT_SECRET"
# A token is renewed a little before it expires; one without a time to live, when the CRM refuses it.
_EARLIER = 60.0
_TIMEOUTS = (10.0, 30.0)


class TokenEndpointDownError(OSError):
    """No token could be fetched, and trying again may help."""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Who asks for tokens, and where.

    Attributes:
        token_url: The address that gives tokens.
        client_id: The client.
        client_secret: Its secret.
        scope: What the token is to be for. Default: what the server gives.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None


def credentials_from_environment(token_url: str | None, scope: str | None = None) -> ClientCredentials | None:
    """The client in the environment; None where none is set.

    Raises:
        PushError: Only one of id and secret is set, or there is no address to ask for a token.
    """
    client_id, secret = (os.environ.get(name, "").strip() for name in (CLIENT_ID, CLIENT_SECRET))
    if not (client_id or secret):
        if token_url is not None:
            msg = f"--token-url is for OAuth: set {CLIENT_ID} and {CLIENT_SECRET}"
            raise PushError(msg)
        return None
    if not (client_id and secret):
        msg = f"{CLIENT_ID} and {CLIENT_SECRET} belong together; one of them is not set"
        raise PushError(msg)
    if token_url is None:
        msg = "--token-url is missing: give the address of the token endpoint"
        raise PushError(msg)
    return ClientCredentials(_require_safe(token_url), client_id, secret, scope)


def has_client() -> bool:
    """Whether the environment names a client."""
    return bool(os.environ.get(CLIENT_ID, "").strip())


def _require_safe(token_url: str) -> str:
    try:
        return validate_base_url(token_url)
    except PushError as error:
        msg = f"--token-url {token_url}: give an address as https://HOST/PATH, without user or query"
        raise PushError(msg) from error


class TokenSource:
    """The current token of a client, fetched when it is first needed and renewed in time.

    Args:
        credentials: The client.
        session: Sends the requests for tokens, without a token of its own.
    """

    def __init__(self, credentials: ClientCredentials, session: requests.Session) -> None:
        self._credentials, self._session = credentials, session
        self._token = ""
        self._renew_at = 0.0

    def token(self) -> str:
        """The token. Raises PushStopped where the client gets none, TokenEndpointDownError where it may."""
        if not self._token or time.monotonic() >= self._renew_at:
            self.renew()
        return self._token

    def renew(self) -> None:
        """Fetch a new token. Raises as ``token`` does."""
        client = self._credentials
        form = {
            "grant_type": "client_credentials",
            "client_id": client.client_id,
            "client_secret": client.client_secret,
        }
        form |= {} if client.scope is None else {"scope": client.scope}
        answer = self._session.post(
            client.token_url,
            data=form,
            headers={"Accept": "application/json"},
            timeout=_TIMEOUTS,
            allow_redirects=False,
        )
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status_code in _LATER:
            msg = f"the token endpoint answered {answer.status_code}"
            raise TokenEndpointDownError(msg)
        payload = _payload(answer)
        if answer.status_code != HTTPStatus.OK or not isinstance(payload.get("access_token"), str):
            msg = f"the token endpoint answered {answer.status_code}: {_reason(payload)}"
            raise PushStopped(msg)
        self._token = payload["access_token"]
        self._renew_at = time.monotonic() + _lifetime(payload.get("expires_in"))


_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


def _payload(answer: requests.Response) -> dict[str, Any]:
    try:
        payload = answer.json()
    except ValueError:
        payload = None
    return payload if isinstance(payload, dict) else {}


def _reason(payload: dict[str, Any]) -> str:
    """The server's own words (RFC 6749, section 5.2), never the request's, which hold the secret."""
    words = [payload[name] for name in ("error", "error_description") if isinstance(payload.get(name), str)]
    return ": ".join(words)[:500] or "no access_token in it; is --token-url right?"


def _lifetime(expires_in: Any) -> float:
    """For how many seconds a token is used, of those that it is valid; a server may write them as text."""
    try:
        seconds = float(expires_in)
    except (TypeError, ValueError):
        return float("inf")
    return max(0.0, seconds - min(_EARLIER, seconds / 2))
