"""API keys with scopes, kept as hashes in a JSON file that is read again when it changes.

A key is 256 random bits, so nobody can try them all, and one round of SHA-256 keeps it as safe as bcrypt
would; bcrypt makes guessing a *password* slow, at the price of 0.1 s a request.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from features.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

Scope = Literal["score", "handover", "outcomes", "events", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
Role = Literal["sales", "marketing", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
_PREFIX = "leadloop_"
_OTHERS_MAY_WRITE = 0o022
# A token is _PREFIX and 43 characters; nothing much longer is hashed.
_LONGEST_TOKEN = 128
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
logger = logging.getLogger("leadloop")


class KeysError(ValueError):
    """A key file or the name of a key cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the file holds it, valid while ``now < expires_at`` (epoch seconds; None: always).

    ``tenant`` is the label that the key is bound to; "" sees all of them. ``role`` is what a person who signs
    in to the console with it may do there; None where it opens no console. ``models`` are those that it may
    ask, by name; () may ask any.
    """

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int | None = None
    tenant: str = ""
    role: Role | None = None
    models: tuple[str, ...] = ()

    def valid(self, now: float) -> bool:
        """Whether the key has not expired."""
        return self.expires_at is None or now < self.expires_at

    def may_ask(self, model: str) -> bool:
        """Whether the key may ask a model, by its name.

        >>> ApiKey("crm", "", ("score",), 0, models=("renewal",)).may_ask("default")
        False
        """
        return not self.models or model in self.models

    def in_words(self) -> str:
        """One line with name, scopes, role, tenant and dates."""
        until = "for good" if self.expires_at is None else f"until {_day(self.expires_at)}"
        tenant = f"; tenant {self.tenant}" if self.tenant else ""
        rights = ", ".join((*self.scopes, *([f"console as {self.role}"] if self.role else [])))
        models = f"; models {', '.join(self.models)}" if self.models else ""
        return f"{self.name}: {rights}{tenant}{models}; since {_day(self.created_at)}, {until}"


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """What a file of keys holds; ``project`` is "" where it belongs to none."""

    keys: tuple[ApiKey, ...] = ()
    project: str = ""


def create_key(  # noqa: PLR0913  # a key is what these say
    file: Path,
    name: str,
    scopes: Collection[str],
    days: int | None = None,
    *,
    tenant: str = "",
    project: str = "",
    role: str = "",
    models: Collection[str] = (),
) -> str:
    """Create an API key, and the file of keys where there is none.

    Other keys stay valid, so that a client can change over before its old key is revoked.

    Args:
        file: The file of keys.
        name: 1 to 64 letters, digits, dots, - and _; it appears in log lines.
        scopes: Some of ``SCOPES``; none where the key is for the console alone.
        days: How long the key is valid. Default: until it is revoked.
        tenant: The label that the key is bound to, of the same characters. Default: none; it sees all.
        project: The project that a new file belongs to. Default: none.
        role: One of ``ROLES``, for a person who signs in to the console. Default: none.
        models: The models of the service that the key may ask, "default" for the one without a name. Default:
            none, and the key may ask any.

    Returns:
        The token; only its hash is kept, so it cannot be shown again.

    Raises:
        KeysError: The name, the tenant, the role or a scope cannot be used, there is neither role nor scope,
            or the file cannot be read or belongs to another project.
    """
    _check_label("a key", name)
    if not (scopes or role):
        msg = f"{name} has no rights: give a scope ({', '.join(SCOPES)}) or a role ({', '.join(ROLES)})"
        raise KeysError(msg)
    if tenant:
        _check_label("a tenant", tenant)
    for model in models:
        _check_label("a model", model)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file):
        known = _read(file, project) if file.exists() else _KeyFile(project=project)
        if any(key.name == name for key in known.keys):
            msg = f"{file}: there is a key {name!r} already; name the new one otherwise, revoke it later"
            raise KeysError(msg)
        token, now = _PREFIX + secrets.token_urlsafe(32), int(time.time())
        until = None if days is None else now + days * DAY
        key = ApiKey(
            name, digest(token), _scopes(scopes), now, until, tenant, parse_role(role), tuple(models)
        )
        _write(file, _KeyFile((*known.keys, key), known.project))
    return token


def revoke_key(file: Path, name: str) -> None:
    """Remove a key from the file; running services refuse it from their next request on."""
    load_keys(file)
    with _locked(file):
        known = _read(file)
        remaining = tuple(key for key in known.keys if key.name != name)
        if len(remaining) == len(known.keys):
            names = ", ".join(key.name for key in known.keys) or "none"
            msg = f"{file}: no key is called {name!r}; there are: {names}"
            raise KeysError(msg)
        _write(file, _KeyFile(remaining, known.project))


def load_keys(file: Path, project: str = "") -> tuple[ApiKey, ...]:
    """The keys in a file.

    Args:
        file: The file of keys.
        project: The project that asks for them. Default: any.

    Raises:
        KeysError: The file cannot be read, others than its owner may write it, or it belongs to another
            project.
    """
    return _read(file, project).keys


def _read(file: Path, project: str = "") -> _KeyFile:
    try:
        open_to_others = _open_to_others(file)
        content = json.loads(file.read_text(encoding="utf-8"))
        records, owner = content["keys"], str(content.get("project", ""))
        keys = tuple(map(_parse_key, records))
    except OSError as error:
        msg = (
            f"{file}: {error.strerror}; make a key with `leadloop keys add NAME --scope score --keys {file}`"
        )
        raise KeysError(msg) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        msg = f"{file}: not a file of keys ({error!r}); put the last good one back"
        raise KeysError(msg) from error
    if open_to_others:
        raise KeysError(open_to_others)
    if project and owner and project != owner:
        msg = f"{file}: these are keys of the project {owner}, not of {project}; name the file of {project}"
        raise KeysError(msg)
    return _KeyFile(keys, owner)


def _open_to_others(file: Path) -> str:
    """Why others than its owner may change what the file says; "" where they may not."""
    if file.stat().st_mode & _OTHERS_MAY_WRITE:
        return f"{file}: others than its owner may write it, and so let themselves in; chmod go-w it"
    mode = file.parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return (
            f"{file.parent}: everybody may replace {file.name} there, and so let themselves in; chmod o-w it"
        )
    return ""


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Let one process after the other change the file; it is replaced, so the lock is a file beside it."""
    opened = os.open(file.with_name(f".{file.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _check_label(what: str, label: str) -> None:
    if not _NAME.fullmatch(label):
        msg = f"{label!r} cannot be written to a log; name {what} with 1 to 64 letters, digits, dots, - and _"
        raise KeysError(msg)


def _scopes(names: Collection[str]) -> tuple[Scope, ...]:
    for name in names:
        if name not in SCOPES:
            msg = f"there is no scope {name!r}; a key may {', '.join(SCOPES)}"
            raise KeysError(msg)
    return tuple(scope for scope in SCOPES if scope in names)


def parse_role(name: str) -> Role | None:
    """The role of a name; None of an empty one. Raises KeysError where there is no such role."""
    if name and name not in ROLES:
        msg = f"there is no role {name[:40]!r}; in the console a person is {', '.join(ROLES)}"
        raise KeysError(msg)
    return next((role for role in ROLES if role == name), None)


def _parse_key(record: dict[str, Any]) -> ApiKey:
    role = parse_role(record.get("role") or "")
    models = tuple(record.get("models", ()))
    return ApiKey(**record | {"scopes": _scopes(record["scopes"]), "role": role, "models": models})


def digest(token: str) -> str:
    """The SHA-256 of a token, in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


class ApiKeyStore:
    """The keys in a file, read again when it changes; while it cannot be read, those it held before.

    Args:
        file: The file of keys.
        project: The project that they must belong to. Default: any.
    """

    def __init__(self, file: Path, project: str = "") -> None:
        self._file, self._project = file, project
        self._keys: tuple[ApiKey, ...] = ()
        self._seen: tuple[int, int, int] | None = None

    def find(self, token: str) -> ApiKey | None:
        """The valid key of a token, or None; in constant time, so that its duration tells nothing."""
        return None if len(token) > _LONGEST_TOKEN else self.find_by_hash(digest(token))

    def find_by_hash(self, presented: str) -> ApiKey | None:
        """The valid key of a token with this SHA-256, or None, as ``find`` finds it."""
        self._reload_if_changed()
        now = time.time()
        matches = [key for key in self._keys if hmac.compare_digest(key.sha256.encode(), presented.encode())]
        return next((key for key in matches if key.valid(now)), None)

    def _reload_if_changed(self) -> None:
        try:
            status = self._file.stat()
            fingerprint = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            fingerprint = (0, 0, 0)
        if fingerprint == self._seen:
            return
        self._seen = fingerprint
        try:
            self._keys = load_keys(self._file, self._project)
        except KeysError as error:
            logger.critical("the keys stay as they were: %s", error)


def _record(key: ApiKey) -> dict[str, Any]:
    """A key as the file has it; one that may ask any model is what earlier releases wrote."""
    record = asdict(key)
    return record if key.models else {name: value for name, value in record.items() if name != "models"}


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _write(file: Path, content: _KeyFile) -> None:
    """Replace the file atomically; only its owner can read it."""
    fresh = file.with_name(f".{file.name}-{os.getpid()}")
    # Whatever lies there, a link above all, is not written through.
    fresh.unlink(missing_ok=True)
    opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "w", encoding="utf-8") as text:
        project = {"project": content.project} if content.project else {}
        json.dump(project | {"keys": [_record(key) for key in content.keys]}, text, indent=1)
        text.flush()
        os.fsync(text.fileno())
    fresh.replace(file)
