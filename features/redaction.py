"""Takes what is secret out of messages that quote URLs of databases and servers."""

from __future__ import annotations

import re

_USER = re.compile(r"(\w://)[^\s'\"]*@")
_QUERY = re.compile(r"(\w://[^\s?'\"]*)\?[^\s'\"):]*")
_SECRET = re.compile(r"((?:password|token|secret)=)[^\s&'\"]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """A message without the user, password and query of the URLs in it.

    >>> without_secrets("postgresql://ada:secret@db/mlflow?password=secret: no answer")
    'postgresql://db/mlflow: no answer'
    """
    return _SECRET.sub(r"\1...", _QUERY.sub(r"\1", _USER.sub(r"\1", text)))
