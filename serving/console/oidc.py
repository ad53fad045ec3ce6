"""Signing in by OpenID Connect: the authorization code flow with PKCE, state and nonce.

Authlib and joserfc check what comes back; requests to the provider are made with a deadline. A role comes
from a claim of the ID token. Needs the extra ``oidc``.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from serving.console.roles import Person
from serving.console.sign_in_attempt import SignInFailed
from serving.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.console.oidc_settings import OidcSettings
    from serving.console.sign_in_attempt import SignInAttempt
    from serving.middleware.api_keys import Role

_WITHIN = 10.0
# Signatures that only the provider can make: with a shared secret, whoever knows that could make them, too.
_ALGORITHMS = frozenset(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
)
_LEEWAY = 60
# Keys of the provider are read anew for a token that none of them has signed, and not more often.
_KEYS_EVERY = 30.0
_NAMES = ("name", "preferred_username", "email", "sub")
_LONGEST_NAME, _LONGEST_ANSWER = 200, 1_000_000
logger = logging.getLogger("leadloop")


class IdentityProvider:
    """An OpenID Connect provider: its description and keys are read when they are first needed.

    Args:
        settings: Where it is, and what of it makes a person's role.
        transport: Makes the requests. Default: over the network.
    """

    def __init__(self, settings: OidcSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.settings = settings
        self._transport = transport
        self._description: dict[str, Any] | None = None
        self._keys: KeySet | None = None
        self._keys_read_at = -_KEYS_EVERY

    async def address(self, attempt: SignInAttempt, redirect_uri: str) -> str:
        """Where to send a browser that signs in. Raises SignInFailed where the provider cannot be asked."""
        description = await self._describe()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.settings.scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": create_s256_code_challenge(attempt.verifier),
            "code_challenge_method": "S256",
        }
        place = str(description["authorization_endpoint"])
        return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}"

    async def finish(self, attempt: SignInAttempt, query: Mapping[str, str], redirect_uri: str) -> Person:
        """Who has come back from the provider.

        Args:
            attempt: The attempt that the browser began.
            query: What the address holds that it came back to.
            redirect_uri: That address, as the provider was told it.

        Raises:
            SignInFailed: It is not this attempt, the provider says no or cannot be asked, the token is not
                valid, or the person has no role or no model here.
        """
        if not hmac.compare_digest(attempt.state.encode(), query.get("state", "").encode()):
            raise SignInFailed(key="console.sign_in_again")
        if query.get("iss", self.settings.issuer) != self.settings.issuer or "code" not in query:
            raise SignInFailed(key="console.sign_in_refused")
        claims = await self._claims(attempt, query["code"], redirect_uri)
        role = self.settings.role_of(claims)
        if role is None:
            raise SignInFailed(key="console.no_role")
        models = self.settings.models_of(claims)
        if models is not None and not models:
            raise SignInFailed(key="console.no_models")
        return _person(claims, role, self.settings.tenant_of(claims), models or ())

    async def _claims(self, attempt: SignInAttempt, code: str, redirect_uri: str) -> dict[str, Any]:
        """The claims of the ID token that a code is exchanged for."""
        description = await self._describe()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
            "client_id": self.settings.client_id,
        }
        answer = await self._request("POST", str(description["token_endpoint"]), form)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInFailed(key="console.sign_in_refused")
        try:
            claims = await self._verify(token, description, answer.get("access_token"), attempt.nonce)
        except (JoseError, ValueError) as error:
            logger.warning("an ID token was refused: %s", type(error).__name__)
            raise SignInFailed(key="console.token_refused") from error
        return claims

    async def _verify(
        self, token: str, description: Mapping[str, Any], access_token: object, nonce: str
    ) -> dict[str, Any]:
        supported = description.get("id_token_signing_alg_values_supported") or ["RS256"]
        algorithms = sorted(_ALGORITHMS & set(supported))
        try:
            decoded = jwt.decode(token, await self._key_set(description), algorithms=algorithms)
        except (JoseError, ValueError):
            # The provider may have changed its keys meanwhile.
            decoded = jwt.decode(token, await self._key_set(description, anew=True), algorithms=algorithms)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "value": self.settings.issuer},
                "aud": {"essential": True, "value": self.settings.client_id},
                "sub": {"essential": True},
                "nonce": {"essential": True, "value": nonce},
            },
            {"nonce": nonce, "client_id": self.settings.client_id, "access_token": access_token},
        )
        claims.validate(now=int(time.time()), leeway=_LEEWAY)
        return dict(decoded.claims)

    async def _key_set(self, description: Mapping[str, Any], *, anew: bool = False) -> KeySet:
        now = time.monotonic()
        if self._keys is None or (anew and now - self._keys_read_at >= _KEYS_EVERY):
            self._keys = KeySet.import_key_set(
                cast("Any", await self._request("GET", str(description["jwks_uri"])))
            )
            self._keys_read_at = now
        return self._keys

    async def _describe(self) -> dict[str, Any]:
        """The provider's own description of where to ask for what."""
        if self._description is None:
            place = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            description = await self._request("GET", place)
            if description.get("issuer") != self.settings.issuer:
                logger.error("the identity provider calls itself %.200r", description.get("issuer"))
                raise SignInFailed(key="console.no_provider")
            try:
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    self.settings.require_safe(str(description.get(name)))
            except SettingsError as error:
                logger.error("the identity provider: %s", error)  # noqa: TRY400  # the message says all
                raise SignInFailed(key="console.no_provider") from error
            self._description = description
        return self._description

    async def _request(self, method: str, place: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        """The JSON object that an address of the provider answers."""
        secret = self.settings.client_secret
        auth = httpx.BasicAuth(self.settings.client_id, secret) if form is not None and secret else None
        try:
            async with httpx.AsyncClient(
                transport=self._transport, timeout=_WITHIN, trust_env=False
            ) as client:
                response = await client.request(method, place, data=form, auth=auth)
            answer = json.loads(response.content) if len(response.content) <= _LONGEST_ANSWER else None
        except (httpx.HTTPError, ValueError) as error:
            logger.warning("the identity provider cannot be asked: %s", type(error).__name__)
            raise SignInFailed(key="console.no_provider") from error
        if response.status_code >= httpx.codes.BAD_REQUEST or not isinstance(answer, dict):
            logger.warning("the identity provider answered %d", response.status_code)
            raise SignInFailed(key="console.sign_in_refused")
        return answer


def _person(claims: Mapping[str, Any], role: Role, tenant: str, models: tuple[str, ...]) -> Person:
    """A person by the first of their names that there is."""
    names = (str(claims[name]) for name in _NAMES if claims.get(name))
    return Person(next(names, "")[:_LONGEST_NAME], role, tenant, by_key=False, models=models)
