"""API keys with scopes, kept as hashes in a JSON file that is read again when it changes.

A key is 256 random bits, so nobody can try them all, and one round of SHA-256 keeps it as safe as bcrypt
would; bcrypt makes guessing a *password* slow, at the price of 0.1 s a request.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, get_args

from features.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

Scope = Literal["score", "outcomes", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "leadloop_"
_OTHERS_MAY_WRITE = 0o022
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
logger = logging.getLogger("leadloop")


class KeysError(ValueError):
    """A key file or the name of a key cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the file holds it, valid while ``now < expires_at`` (epoch seconds; None: always)."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int | None = None

    def valid(self, now: float) -> bool:
        """Whether the key has not expired."""
        return self.expires_at is None or now < self.expires_at

    def in_words(self) -> str:
        """One line with name, scopes and dates."""
        until = "for good" if self.expires_at is None else f"until {_day(self.expires_at)}"
        return f"{self.name}: {', '.join(self.scopes)}; since {_day(self.created_at)}, {until}"


def create_key(file: Path, name: str, scopes: Collection[str], days: int | None = None) -> str:
    """Create an API key, and the file of keys where there is none.

    Other keys stay valid, so that a client can change over before its old key is revoked.

    Args:
        file: The file of keys.
        name: 1 to 64 letters, digits, dots, - and _; it appears in log lines.
        scopes: Some of ``SCOPES``.
        days: How long the key is valid. Default: until it is revoked.

    Returns:
        The token; only its hash is kept, so it cannot be shown again.

    Raises:
        KeysError: The name or a scope cannot be used, or the file cannot be read.
    """
    keys = load_keys(file) if file.exists() else ()
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot be told in a log; name a key with 1 to 64 letters, digits, dots, - and _"
        raise KeysError(msg)
    if any(key.name == name for key in keys):
        msg = f"{file}: there is a key {name!r} already; name the new one otherwise, revoke the old one later"
        raise KeysError(msg)
    token, now = _PREFIX + secrets.token_urlsafe(32), int(time.time())
    until = None if days is None else now + days * DAY
    _write(file, (*keys, ApiKey(name, digest(token), _scopes(scopes), now, until)))
    return token


def revoke_key(file: Path, name: str) -> None:
    """Remove a key from the file; running services refuse it from their next request on."""
    keys = load_keys(file)
    remaining = tuple(key for key in keys if key.name != name)
    if len(remaining) == len(keys):
        known = ", ".join(key.name for key in keys) or "none"
        msg = f"{file}: no key is called {name!r}; there are: {known}"
        raise KeysError(msg)
    _write(file, remaining)


def load_keys(file: Path) -> tuple[ApiKey, ...]:
    """The keys in a file. Raises KeysError where it cannot be read, or others than its owner may write it."""
    try:
        open_to_others = file.stat().st_mode & _OTHERS_MAY_WRITE
        records = json.loads(file.read_text(encoding="utf-8"))["keys"]
        keys = tuple(ApiKey(**record | {"scopes": _scopes(record["scopes"])}) for record in records)
    except OSError as error:
        msg = (
            f"{file}: {error.strerror}; make a key with `leadloop keys add NAME --scope score --keys {file}`"
        )
        raise KeysError(msg) from error
    except (ValueError, TypeError, KeyError) as error:
        msg = f"{file}: not a file of keys ({error!r}); put the last good one back"
        raise KeysError(msg) from error
    if open_to_others:
        msg = f"{file}: others than its owner may write it, and so let themselves in; chmod go-w it"
        raise KeysError(msg)
    return keys


def _scopes(names: Collection[str]) -> tuple[Scope, ...]:
    for name in names:
        if name not in SCOPES:
            msg = f"there is no scope {name!r}; a key may {', '.join(SCOPES)}"
            raise KeysError(msg)
    return tuple(scope for scope in SCOPES if scope in names)


def digest(token: str) -> str:
    """The SHA-256 of a token, in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


class ApiKeyStore:
    """The keys in a file, read again when it changes; while it cannot be read, those it held before."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._keys: tuple[ApiKey, ...] = ()
        self._seen: tuple[int, int, int] | None = None

    def find(self, token: str) -> ApiKey | None:
        """The valid key of a token, or None; in constant time, so that its duration tells nothing."""
        self._reload_if_changed()
        presented, now = digest(token), time.time()
        matches = [key for key in self._keys if hmac.compare_digest(key.sha256.encode(), presented.encode())]
        return next((key for key in matches if key.valid(now)), None)

    def _reload_if_changed(self) -> None:
        try:
            stat = self._file.stat()
            fingerprint = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        except OSError:
            fingerprint = (0, 0, 0)
        if fingerprint == self._seen:
            return
        self._seen = fingerprint
        try:
            self._keys = load_keys(self._file)
        except KeysError as error:
            logger.critical("the keys stay as they were: %s", error)


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _write(file: Path, keys: tuple[ApiKey, ...]) -> None:
    """Replace the file atomically; only its owner can read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}-{os.getpid()}")
    # Whatever lies there, a link above all, is not written through.
    fresh.unlink(missing_ok=True)
    opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "w", encoding="utf-8") as text:
        json.dump({"keys": [asdict(key) for key in keys]}, text, indent=1)
        text.flush()
        os.fsync(text.fileno())
    fresh.replace(file)
