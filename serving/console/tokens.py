"""Tokens of visitors: in a cookie that no script can read, and one made from it that a form brings along.

The second proves that a form came from a page that this visitor was shown: a page of somebody else's can make
a browser send the cookie, and knows neither of them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

_FORM = b"a form of leadloop's console"
_LONGEST_TOKEN = 128


def new_token() -> str:
    """A token of 256 random bits."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """The SHA-256 of a cookie's token, by which its session is found."""
    return hashlib.sha256(token[:_LONGEST_TOKEN].encode()).hexdigest()


def form_token(token: str) -> str:
    """What a form of the visitor with this cookie must bring along."""
    return hmac.new(token[:_LONGEST_TOKEN].encode(), _FORM, hashlib.sha256).hexdigest()


def is_form_token(token: str, presented: str) -> bool:
    """Whether a form came from a page that this visitor was shown; compared in constant time.

    >>> is_form_token("", form_token("")), is_form_token("a", form_token("a"))
    (False, True)
    """
    return bool(token) and hmac.compare_digest(form_token(token).encode(), presented.encode())
