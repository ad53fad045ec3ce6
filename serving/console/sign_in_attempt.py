"""One attempt to sign in at an identity provider, as a browser keeps it meanwhile."""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass


class SignInFailed(Exception):  # noqa: N818  # the visitor is told why, nothing is in error
    """Nobody is signed in; ``key`` names the sentence that says why and what to do."""

    def __init__(self, *, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True, slots=True)
class SignInAttempt:
    """What a browser keeps between leaving for the provider and coming back.

    Attributes:
        state: Comes back in the address: only this browser's own attempt is finished.
        nonce: Comes back in the ID token: it was made for this attempt.
        verifier: Proves to the provider who asked for the code.
        target: The page to go to afterwards.
    """

    state: str
    nonce: str
    verifier: str
    target: str

    @classmethod
    def begin(cls, target: str) -> SignInAttempt:
        """A new attempt."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), target)

    def encode(self) -> str:
        """The attempt as the value of a cookie."""
        return urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, cookie: str) -> SignInAttempt | None:
        """The attempt in a cookie; None where it is none."""
        try:
            fields = json.loads(urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)))
            attempt = cls(**fields)
        except (ValueError, TypeError):
            return None
        return attempt if all(isinstance(value, str) for value in asdict(attempt).values()) else None
