"""The file of webhooks: who is told what, and whose messages are read; every mistake with its line."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.clock import DAY, parse_duration
from features.suggestions import suggest
from features.toml_lines import nearest_line
from serving.settings import DEFAULT_MODEL, WEBHOOKS
from serving.webhooks.mapping import EventRule, Mapper, MappingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

EventType = Literal[
    "score.grade_entered", "score.jumped", "score.stale", "lead.handed_over", "outcome.recorded"
]
EVENT_TYPES: tuple[EventType, ...] = (
    "score.grade_entered",
    "score.jumped",
    "score.stale",
    "lead.handed_over",
    "outcome.recorded",
)
Proof = Literal["key", "standard", "hubspot", "basic"]
RECIPES = Path(__file__).parent / "recipes"
_PREFIX = "whsec_"
# What the Standard Webhooks specification asks of a secret, in bytes.
_SECRET_BYTES = range(24, 65)
# A password that is not guessed at any rate that the service answers.
_SHORTEST_PASSWORD = 24
# A subscription that says nothing: twenty points double the odds.
_JUMP = 20
# With the delays of ``serving.webhooks.delivery`` these are a little more than three days.
_ATTEMPTS, _GIVES_UP_AFTER = 80, 3 * DAY


class WebhookSettingsError(ValueError):
    """A file of webhooks that cannot be used; the message names the file, the line and the key."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is told of what.

    Attributes:
        name: Its name in the file.
        url: Where messages go.
        secrets: The keys that sign them, the current one first.
        events: The types of events.
        grades: The grades whose entry counts, and of whose leads hand-overs are told; empty means all.
        jump: How many points a score has to move, either way, for ``score.jumped``.
        tenant: Whose leads; "" means all.
        models: The names of the models whose scores are told; hand-overs and outcomes are of no single model.
        allow_private: Whether the address may be one of a private network, and http.
        attempts: After how many attempts a message is given up.
        gives_up_after: After how many seconds.
        timeout: Seconds that an attempt may take.
    """

    name: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    events: frozenset[str] = frozenset(EVENT_TYPES)
    grades: frozenset[str] = frozenset()
    jump: int = _JUMP
    tenant: str = ""
    models: frozenset[str] = frozenset({DEFAULT_MODEL})
    allow_private: bool = False
    attempts: int = _ATTEMPTS
    gives_up_after: int = _GIVES_UP_AFTER
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Source:
    """Whose messages are read, at ``/v1/webhooks/NAME``.

    Attributes:
        name: Its name in the file.
        mapper: What becomes of a message.
        proof: How a message shows who sent it: a key of the service, or a signature, or a password.
        secret: What it is verified with; "" for a key.
        tenant: Whose leads these are.
        url: The address that the sender calls, which HubSpot's signature covers.
    """

    name: str
    mapper: Mapper
    proof: Proof = "key"
    secret: str = field(default="", repr=False)
    tenant: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """All webhooks, by their names."""

    outgoing: Mapping[str, Subscription] = field(default_factory=dict)
    incoming: Mapping[str, Source] = field(default_factory=dict)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Secret(_Table):
    secret_file: str | None = None
    secret_env: str | None = None


class _Outgoing(_Secret):
    url: str
    events: list[EventType] = Field(default=list(EVENT_TYPES), min_length=1)
    grades: list[str] = []
    jump: int = Field(default=_JUMP, ge=1)
    tenant: str = ""
    models: list[str] = Field(default=[DEFAULT_MODEL], min_length=1)
    allow_private: bool = False
    attempts: int = Field(default=_ATTEMPTS, ge=1)
    give_up_after: str = f"{_GIVES_UP_AFTER // DAY}d"
    timeout: float = Field(default=10.0, gt=0, le=20)


class _Recipe(_Table):
    items: str = "@"
    body: Literal["json", "soap"] = "json"
    events: list[EventRule] = Field(min_length=1)


class _Incoming(_Secret):
    recipe: str | None = None
    items: str = "@"
    body: Literal["json", "soap"] = "json"
    events: list[EventRule] = []
    proof: Proof = "key"
    tenant: str = ""
    url: str = ""
    words: dict[str, dict[str, str]] = {}
    numbers: list[str] = []


class _File(_Table):
    outgoing: dict[str, _Outgoing] = {}
    incoming: dict[str, _Incoming] = {}


def read_webhooks(environment: Mapping[str, str] | None = None) -> WebhookSettings:
    """The webhooks of the file in ``LEADLOOP_WEBHOOKS``; none where it is not set.

    Args:
        environment: Where the file's name and the secrets are. Default: this process's environment.

    Returns:
        The webhooks.

    Raises:
        WebhookSettingsError: The file cannot be read, or has a mistake.
    """
    values = os.environ if environment is None else environment
    name = values.get(WEBHOOKS, "")
    return parse_webhooks(Path(name), values) if name else WebhookSettings()


def parse_webhooks(path: Path, environment: Mapping[str, str]) -> WebhookSettings:
    """The webhooks of a file. Raises WebhookSettingsError as ``read_webhooks`` does."""
    text, table = _read(path)
    file = _Place(path, text)
    parsed = _validate(_File, table, file)
    try:
        return WebhookSettings(
            {name: _subscription(name, each, environment, file) for name, each in parsed.outgoing.items()},
            {name: _source(name, each, environment, file) for name, each in parsed.incoming.items()},
        )
    except MappingError as error:
        raise WebhookSettingsError(str(error)) from error


def find_subscription(settings: WebhookSettings, name: str) -> Subscription:
    """A subscription by its name. Raises WebhookSettingsError where there is none."""
    if name not in settings.outgoing:
        msg = f"the file of webhooks has no [outgoing.{name}]{suggest(name, settings.outgoing)}"
        raise WebhookSettingsError(msg)
    return settings.outgoing[name]


def check_models(settings: WebhookSettings, names: Collection[str]) -> None:
    """Refuse a subscription to a model that the service does not have; ``names`` are those it has.

    Raises:
        WebhookSettingsError: A subscription names another one.
    """
    for subscription in settings.outgoing.values():
        for name in sorted(subscription.models - set(names)):
            msg = f"[outgoing.{subscription.name}] models: there is no model {name!r}{suggest(name, names)}"
            raise WebhookSettingsError(msg)


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        msg = f"the webhooks in {path} cannot be read ({error.strerror}); {WEBHOOKS} names their file"
        raise WebhookSettingsError(msg) from error
    except ValueError as error:
        msg = f"{path} is not valid TOML: {error}"
        raise WebhookSettingsError(msg) from error


@dataclass(frozen=True, slots=True)
class _Place:
    """A file, and a key of it, for messages."""

    path: Path
    text: str

    def error(self, keys: tuple[str | int, ...], message: str) -> WebhookSettingsError:
        """The error that says ``message`` about a key."""
        line, name = nearest_line(self.text, keys), ".".join(map(str, keys))
        return WebhookSettingsError(f"{self.path}, line {line}, {name}: {message}")

    def beside(self, name: str) -> Path:
        """A file as it is named in this one: from its folder on."""
        return self.path.parent / Path(name).expanduser()


def _validate(kind: Any, table: Mapping[str, Any], place: _Place) -> Any:
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        # A misspelt key rather than the missing one that it was meant to be.
        details = error.errors(include_url=False, include_input=False)
        first = next((each for each in details if each["type"] == "extra_forbidden"), details[0])
        keys = tuple(first["loc"])
        message = first["msg"]
        if first["type"] == "extra_forbidden":
            message = f"there is no such key{suggest(str(keys[-1]), _known_keys(keys))}"
        elif first["type"] == "missing":
            keys, message = keys[:-1], f"the key {keys[-1]!r} is missing"
        raise place.error(keys, message) from error


def _known_keys(keys: tuple[str | int, ...]) -> list[str]:
    """The keys that may stand where an unknown one does."""
    tables: dict[str, type[BaseModel]] = {"outgoing": _Outgoing, "incoming": _Incoming}
    if len(keys) == 1:
        return sorted(tables)
    kind: type[BaseModel] = EventRule if "events" in keys else tables.get(str(keys[0]), _Recipe)
    return sorted(kind.model_fields)


def _subscription(name: str, table: _Outgoing, environment: Mapping[str, str], place: _Place) -> Subscription:
    keys = ("outgoing", name)
    problem = _url_problem(table.url, allow_private=table.allow_private)
    if problem:
        raise place.error((*keys, "url"), problem)
    try:
        gives_up_after = parse_duration(table.give_up_after)
    except ValueError as error:
        raise place.error((*keys, "give_up_after"), str(error)) from error
    secrets = tuple(_secret(table, environment, place, keys).split())
    for secret in secrets:
        _require_signing_key(secret, place, keys)
    return Subscription(
        name,
        table.url,
        secrets,
        frozenset(table.events),
        frozenset(table.grades),
        table.jump,
        table.tenant,
        frozenset(table.models),
        table.allow_private,
        table.attempts,
        gives_up_after,
        table.timeout,
    )


def _url_problem(url: str, *, allow_private: bool) -> str:
    parts = urlsplit(url)
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not parts.hostname or parts.username or parts.fragment:
        hint = "" if allow_private else "; http is for receivers with allow_private = true"
        return f"give the receiver's address as https://HOST/PATH, without a user in it{hint}"
    if not allow_private and is_private(parts.hostname):
        return "this address is one of a private network; say so with allow_private = true"
    return ""


def is_private(address: str) -> bool:
    """Whether an IP address is not one of the public internet; False for a name.

    >>> is_private("10.0.0.1"), is_private("::ffff:169.254.169.254"), is_private("hooks.example.com")
    (True, True, False)
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return not mapped.is_global or mapped.is_multicast


def _secret(table: _Secret, environment: Mapping[str, str], place: _Place, keys: tuple[str, ...]) -> str:
    """The content of the file or variable that a table names for its secret."""
    if (table.secret_file is None) == (table.secret_env is None):
        message = "name one place for the secret: secret_file, or secret_env for an environment variable"
        raise place.error(keys, message)
    if table.secret_env is not None:
        secret = environment.get(table.secret_env, "").strip()
        if not secret:
            raise place.error((*keys, "secret_env"), f"the variable {table.secret_env} is not set")
        return secret
    try:
        return place.beside(str(table.secret_file)).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        message = f"the secret in {table.secret_file} cannot be read"
        raise place.error((*keys, "secret_file"), message) from error


def _require_signing_key(secret: str, place: _Place, keys: tuple[str, ...]) -> None:
    try:
        size = len(b64decode(secret.removeprefix(_PREFIX), validate=True))
    except ValueError:
        size = 0
    if size not in _SECRET_BYTES or not secret.startswith(_PREFIX):
        message = (
            f"a secret is {_PREFIX} and 24 to 64 random bytes in base64; `leadloop webhooks secret` makes one"
        )
        raise place.error(keys, message)


def _source(name: str, table: _Incoming, environment: Mapping[str, str], place: _Place) -> Source:
    keys = ("incoming", name)
    mapper = _mapper(name, table, place)
    secret = ""
    if table.proof != "key":
        secret = _secret(table, environment, place, keys)
    elif table.secret_file or table.secret_env:
        message = 'with proof = "key" the sender has a key of the service, and there is no other secret'
        raise place.error(keys, message)
    if table.proof == "standard":
        _require_signing_key(secret, place, keys)
    if table.proof == "basic" and len(secret) < _SHORTEST_PASSWORD:
        raise place.error(keys, f"a password here has {_SHORTEST_PASSWORD} characters at least")
    if table.proof == "hubspot" and not table.url.startswith("https://"):
        message = "HubSpot signs the address that it calls: give it as url, https://HOST/v1/webhooks/NAME"
        raise place.error(keys, message)
    return Source(name, mapper, table.proof, secret, table.tenant, table.url)


def _mapper(name: str, table: _Incoming, place: _Place) -> Mapper:
    """What becomes of the messages of a source: by a recipe, or by the events of its own table."""
    keys = ("incoming", name)
    if (table.recipe is None) == (not table.events):
        known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
        message = (
            f"name a recipe ({known}, or a file), or say with [[incoming.{name}.events]] what becomes of it"
        )
        raise place.error(keys, message)
    if table.recipe is None:
        return Mapper(
            name, table.items, table.body, tuple(table.events), table.words, frozenset(table.numbers)
        )
    shipped = RECIPES / f"{table.recipe}.toml"
    path = shipped if shipped.is_file() else place.beside(table.recipe)
    text, content = _read(path)
    recipe = _validate(_Recipe, content, _Place(path, text))
    return Mapper(
        name, recipe.items, recipe.body, tuple(recipe.events), table.words, frozenset(table.numbers)
    )
