"""The console of a service: who may come in, and by which door."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from features.clock import HOUR, MINUTE, parse_duration
from serving.console.oidc_settings import ISSUER, OidcSettings
from serving.console.roles import Person
from serving.console.sign_in_attempt import SignInFailed
from serving.console.tokens import hash_token, new_token
from serving.decision_log.settings import LogUnavailable
from serving.middleware.api_keys import ApiKeyStore, parse_role
from serving.middleware.authentication import GUESSES
from serving.middleware.rate_limit import shared_limiter
from serving.settings import DEFAULT_MODEL, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.console.lead_lists import LeadLists
    from serving.console.oidc import IdentityProvider
    from serving.console.sessions import ConsoleSession, SessionStore
    from serving.current_scores.reading import CurrentScores
    from serving.decision_log.async_log import DecisionLog
    from serving.middleware.api_keys import ApiKey, Role
    from serving.settings import ServiceSettings

SESSION_SECONDS = 12 * HOUR
IDLE = "LEADLOOP_CONSOLE_IDLE"
_IDLE_SECONDS = 8 * HOUR
# A session that is in use is written anew no more often than this share of the time without use it bears.
_RENEWED_AFTER = 0.05


class Console:
    """Who is in front of the console, by the token of their cookie, and what its lists are read with.

    Args:
        settings: The settings of the service.
        journal: The decision log, whose database holds the sessions. None: nobody can sign in.

    Attributes:
        project: The project of the service.
        scores: The current scores; None without a log.
        lists: What lists need beside them; None without a log.
        provider: Where people sign in by OpenID Connect; None where nobody does.
    """

    def __init__(self, settings: ServiceSettings, journal: DecisionLog | None) -> None:
        self.project = settings.project
        self._models = (DEFAULT_MODEL, *(model.name for model in settings.also))
        self._keys = ApiKeyStore(settings.keys, settings.project) if settings.keys else None
        self._sessions = None if journal is None else _open_sessions(journal)
        self.lists = None if journal is None else _open_lists(journal)
        self.scores = None if journal is None else _open_scores(journal)
        self.provider = _find_provider(OidcSettings.of(os.environ))
        self._idle = idle_seconds(os.environ)
        self._rate = shared_limiter(settings.rate, "requests") if settings.rate else None
        self._guesses = shared_limiter(GUESSES, "guesses")

    @property
    def asks_for_login(self) -> bool:
        """Whether people must say who they are: without keys this machine is trusted."""
        return self._keys is not None or self.provider is not None

    @property
    def takes_keys(self) -> bool:
        """Whether people can sign in with a key."""
        return self._keys is not None

    async def find_person(self, token: str) -> Person | None:
        """Who has the cookie with this token; None where nobody is signed in. Raises LogUnavailable."""
        if not self.asks_for_login:
            return Person("", "admin")
        session = await self._sessions.find(token) if self._sessions and token else None
        if session is None or self._sessions is None:
            return None
        person = self._person_of_session(session)
        if person is not None:
            await self._prolong(session)
        return person

    def _person_of_session(self, session: ConsoleSession) -> Person | None:
        if not session.key_sha256:
            role = parse_role(session.role)
            person = None if role is None else _person_of_session(session, role)
            # Whoever no longer trusts the provider no longer trusts whom it vouched for.
            return person if self.provider is not None else None
        key = self._keys.find_by_hash(session.key_sha256) if self._keys else None
        return None if key is None else self._person_of(key)

    def _person_of(self, key: ApiKey) -> Person | None:
        """Who signs in with a key; None where it has no role, or may ask no model of this service."""
        if key.role is None:
            return None
        person = Person(key.name, key.role, key.tenant, models=key.models)
        return person if person.visible_models(self._models) else None

    async def _prolong(self, session: ConsoleSession) -> None:
        """A page was asked for: the time without use begins anew, as far as a session lasts at all."""
        now = int(time.time())
        ends = min(now + self._idle, session.created_at + SESSION_SECONDS)
        if self._sessions is not None and ends - session.expires_at > self._idle * _RENEWED_AFTER:
            # It lasts until it would have ended anyway.
            with suppress(LogUnavailable):
                await self._sessions.prolong(session.token_sha256, ends)

    async def sign_in_with_key(self, key: str) -> str | None:
        """The token of a new session; None of a key that opens no console. Raises LogUnavailable."""
        api_key = self._keys.find(key.strip()) if self._keys else None
        person = None if api_key is None else self._person_of(api_key)
        if api_key is None or person is None:
            return None
        return await self.begin_session(person, api_key.sha256, api_key.expires_at)

    async def begin_session(
        self, person: Person, key_sha256: str = "", valid_until: int | None = None
    ) -> str:
        """The token of a new session of a person.

        Raises:
            LogUnavailable: None can be kept.
            SignInFailed: The person may see no model of this service.
        """
        from serving.console.sessions import ConsoleSession  # noqa: PLC0415  # see _open_sessions

        if self._sessions is None:
            raise LogUnavailable
        # Names of groups that are no models are not kept: in them may be what is one.
        visible = person.visible_models(self._models)
        if not visible:
            raise SignInFailed(key="console.no_models")
        token, now = new_token(), int(time.time())
        seconds = min(self._idle, SESSION_SECONDS)
        ends = min(now + seconds, valid_until or now + seconds)
        identity = (person.name, person.role, person.tenant, key_sha256)
        models = " ".join(visible) if person.models and not key_sha256 else ""
        await self._sessions.add(ConsoleSession(hash_token(token), *identity, now, ends, models))
        return token

    async def sign_out(self, token: str) -> None:
        """End the session of a token. Raises LogUnavailable."""
        if self._sessions is not None:
            await self._sessions.end(token)

    def seconds_until_guess(self, address: str) -> int:
        """How long an address must wait with its next guess of a key; 0 where it may guess, which counts."""
        return self._guesses.retry_after(address)

    def seconds_until_request(self, person: Person) -> int:
        """How long a person must wait, whose key has asked too often; 0 where not, which counts."""
        return self._rate.retry_after(person.log_name) if self._rate and person.log_name else 0


def idle_seconds(environment: Mapping[str, str]) -> int:
    """After how many seconds without a page a session ends. Raises SettingsError where that makes no sense.

    >>> idle_seconds({}), idle_seconds({"LEADLOOP_CONSOLE_IDLE": "30m"})
    (28800, 1800)
    """
    text = environment.get(IDLE, "").strip()
    try:
        seconds = parse_duration(text) if text else _IDLE_SECONDS
    except ValueError as error:
        msg = f"{IDLE}: {error}"
        raise SettingsError(msg) from error
    if seconds < MINUTE:
        msg = f"{IDLE} is {text}, which ends sessions while people read; set a minute or more, such as 8h"
        raise SettingsError(msg)
    return seconds


def _person_of_session(session: ConsoleSession, role: Role) -> Person:
    """Whom an identity provider vouched for."""
    models = tuple(session.models.split())
    return Person(session.name, role, session.tenant, by_key=False, models=models)


def _find_provider(settings: OidcSettings | None) -> IdentityProvider | None:
    if settings is None:
        return None
    try:
        # Authlib comes with an extra of its own.
        from serving.console.oidc import IdentityProvider  # noqa: PLC0415
    except ModuleNotFoundError as error:
        msg = f"{ISSUER} is set, and {error.name} is not installed: install leadloop with the extra oidc"
        raise SettingsError(msg) from error
    return IdentityProvider(settings)


def _open_lists(journal: DecisionLog) -> LeadLists:
    from serving.console.lead_lists import LeadLists  # noqa: PLC0415  # as the sessions

    return LeadLists(journal)


def _open_scores(journal: DecisionLog) -> CurrentScores:
    from serving.current_scores.reading import CurrentScores  # noqa: PLC0415  # as the sessions

    return CurrentScores(journal)


def _open_sessions(journal: DecisionLog) -> SessionStore:
    # Without a log nobody needs SQLAlchemy.
    from serving.console.sessions import SessionStore  # noqa: PLC0415

    return SessionStore(journal)
