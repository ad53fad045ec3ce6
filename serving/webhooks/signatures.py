"""Signs outgoing messages by Standard Webhooks, and verifies who sent an incoming one.

The signatures of Standard Webhooks are made and verified by its own library, https://www.standardwebhooks.com;
HubSpot's third version is described at
https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from features.clock import to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serving.webhooks.settings import Source

# For how long HubSpot's signature counts, in milliseconds either way; Standard Webhooks has the same span.
_WINDOW_MS = 300_000
# HubSpot decodes these in the address before it signs; a ? that begins the query is never encoded.
_DECODED = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_SIZE = 32


class SignatureError(ValueError):
    """A message that does not show who sent it; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came: the names of the headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes


def new_secret() -> str:
    """A random secret as Standard Webhooks writes it.

    >>> new_secret().startswith("whsec_")
    True
    """
    return f"whsec_{b64encode(secrets.token_bytes(_SIZE)).decode()}"


def signed_headers(keys: Sequence[str], message_id: str, now: int, payload: str) -> dict[str, str]:
    """The headers of an outgoing message, with a signature by each key; while keys change there are two."""
    moment = to_datetime(now)
    signatures = [Webhook(key).sign(message_id, moment, payload) for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(signatures),
    }


def verify(source: Source, request: SignedRequest, now: float) -> None:
    """Raise SignatureError unless a request was sent by whoever has the source's secret."""
    match source.proof:
        case "standard":
            _verify_standard(source.secret, request)
        case "hubspot":
            _verify_hubspot(source, request, now)
        case "basic":
            _verify_password(source.secret, request.headers.get("authorization", ""))
        case "key":
            pass


def _verify_standard(secret: str, request: SignedRequest) -> None:
    try:
        Webhook(secret).verify(request.body, dict(request.headers), json_parse=False)
    except WebhookVerificationError as error:
        raise SignatureError(str(error)) from error
    except ValueError as error:
        msg = "the signature or body cannot be read"
        raise SignatureError(msg) from error


def _verify_hubspot(source: Source, request: SignedRequest, now: float) -> None:
    timestamp = request.headers.get("x-hubspot-request-timestamp", "")
    signature = request.headers.get("x-hubspot-signature-v3", "")
    if not (timestamp.isascii() and timestamp.isdigit() and signature):
        msg = "the headers X-HubSpot-Signature-v3 and X-HubSpot-Request-Timestamp are missing"
        raise SignatureError(msg)
    if abs(now * 1000 - int(timestamp[:20])) > _WINDOW_MS:
        msg = "the time of the signature is more than five minutes away"
        raise SignatureError(msg)
    address = _DECODED.sub(lambda code: unquote(code[0]), source.url)
    signed = f"POST{address}".encode() + request.body + timestamp.encode()
    digest = hmac.new(source.secret.encode(), signed, hashlib.sha256).digest()
    _require_same(b64encode(digest), signature.encode("latin-1", "replace"))


def _verify_password(password: str, authorization: str) -> None:
    scheme, _, content = authorization.partition(" ")
    if scheme.lower() != "basic":
        msg = "send the password as https://NAME:PASSWORD@HOST/... (Authorization: Basic)"
        raise SignatureError(msg)
    try:
        candidate = b64decode(content.strip(), validate=True).partition(b":")[2]
    except ValueError as error:
        msg = "the header Authorization cannot be read"
        raise SignatureError(msg) from error
    _require_same(password.encode(), candidate)


def _require_same(expected: bytes, sent: bytes) -> None:
    """Compare in a time that does not tell where the two differ."""
    if not hmac.compare_digest(expected, sent):
        msg = "the signature or password does not match"
        raise SignatureError(msg)
