"""Where the console's people sign in by OpenID Connect, and what makes their roles."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from serving.middleware.api_keys import ROLES
from serving.middleware.hosts import is_loopback
from serving.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.middleware.api_keys import Role

ISSUER, CLIENT_ID = "LEADLOOP_OIDC_ISSUER", "LEADLOOP_OIDC_CLIENT_ID"
CLIENT_SECRET, SECRET_FILE = "LEADLOOP_OIDC_CLIENT_SECRET", "LEADLOOP_OIDC_CLIENT_SECRET_FILE"  # names
ROLES_CLAIM, ROLE_NAMES = "LEADLOOP_OIDC_ROLES_CLAIM", "LEADLOOP_OIDC_ROLES"
MODELS_CLAIM, MODEL_NAMES = "LEADLOOP_OIDC_MODELS_CLAIM", "LEADLOOP_OIDC_MODELS"
TENANT_CLAIM, REDIRECT, SCOPE = (
    "LEADLOOP_OIDC_TENANT_CLAIM",
    "LEADLOOP_OIDC_REDIRECT_URI",
    "LEADLOOP_OIDC_SCOPE",
)


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """An OpenID Connect provider and what its tokens mean here.

    Attributes:
        issuer: The provider, as it calls itself in its tokens.
        client_id: What it calls this service.
        client_secret: The secret that it shares with this service; "" of a public client.
        roles_claim: The claim that holds a person's groups or roles; within others by dots.
        role_names: What the provider calls each role.
        tenant_claim: The claim that holds a person's tenant; "" where nobody has one.
        redirect_uri: Where browsers come back to; "" is the address that they came by.
        scope: What the provider is asked to tell.
        models_claim: The claim that holds the models whose scores a person may see; "" where everybody sees
            all of them.
        model_names: What the provider calls each model; one that is not named is called as it is here.

    Raises:
        SettingsError: One of them is missing, or a connection would be open to others.
    """

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    roles_claim: str = "roles"
    role_names: Mapping[Role, str] = field(default_factory=lambda: {role: role for role in ROLES})
    tenant_claim: str = ""
    redirect_uri: str = ""
    scope: str = "openid profile email"
    models_claim: str = ""
    model_names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.client_id:
            msg = f"{ISSUER} is set and {CLIENT_ID} is not: name what the provider calls this service"
            raise SettingsError(msg)
        if self.model_names and not self.models_claim:
            msg = (
                f"{MODEL_NAMES} is set and {MODELS_CLAIM} is not: without the claim everybody sees all models"
            )
            raise SettingsError(msg)
        self.require_safe(self.issuer)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> OidcSettings | None:
        """The settings in environment variables; None where no provider is named."""
        values = {name: value for name, value in environment.items() if value}
        if ISSUER not in values:
            return None
        return cls(
            values[ISSUER],
            values.get(CLIENT_ID, ""),
            _secret(values),
            values.get(ROLES_CLAIM, "roles"),
            _role_names(values.get(ROLE_NAMES, "")),
            values.get(TENANT_CLAIM, ""),
            values.get(REDIRECT, ""),
            values.get(SCOPE, "openid profile email"),
            values.get(MODELS_CLAIM, ""),
            _model_names(values.get(MODEL_NAMES, "")),
        )

    @staticmethod
    def require_safe(address: str) -> None:
        """Raise SettingsError where others could read what is sent to an address, and change the answer."""
        parts = urlsplit(address)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            msg = f"people can sign in over https only, not over {address[:200]!r}"
            raise SettingsError(msg)

    def role_of(self, claims: Mapping[str, Any]) -> Role | None:
        """The role that a person's claims make: of several the one that may do most; None where none does.

        >>> OidcSettings("https://id.example", "x", roles_claim="a.b").role_of({"a": {"b": ["sales", "x"]}})
        'sales'
        """
        names = _values(_claim(claims, self.roles_claim))
        return next((role for role in reversed(ROLES) if self.role_names.get(role) in names), None)

    def tenant_of(self, claims: Mapping[str, Any]) -> str:
        """The tenant that a person's claims name; "" where nobody has one. Of several the first."""
        return next(iter(_values(_claim(claims, self.tenant_claim))), "") if self.tenant_claim else ""

    def models_of(self, claims: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The models that a person's claims name, whether there are such or not; None where all may be seen.

        >>> names = {"renewal": "success"}
        >>> settings = OidcSettings("https://id.example", "x", models_claim="groups", model_names=names)
        >>> settings.models_of({"groups": ["success", "upsell"]})
        ('renewal', 'upsell')
        """
        if not self.models_claim:
            return None
        own = {text: name for name, text in self.model_names.items()}
        return tuple(own.get(each, each) for each in _values(_claim(claims, self.models_claim)))


def _model_names(text: str) -> dict[str, str]:
    """What a provider calls models: ``default=crm-sales renewal=crm-success``."""
    pairs = dict(pair.partition("=")[::2] for pair in text.replace(",", " ").split())
    if not all(pairs.values()):
        msg = f"{MODEL_NAMES} names models, such as renewal=crm-success, and not {text[:80]!r}"
        raise SettingsError(msg)
    return pairs


def _secret(values: Mapping[str, str]) -> str:
    file = values.get(SECRET_FILE)
    if file is None:
        return values.get(CLIENT_SECRET, "")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        msg = f"{SECRET_FILE}: {file}: {error.strerror}"
        raise SettingsError(msg) from error


def _role_names(text: str) -> dict[Role, str]:
    """What a provider calls each role: ``sales=crm-sales admin=crm-admins``; a role without is called so."""
    pairs = dict(pair.partition("=")[::2] for pair in text.replace(",", " ").split())
    unknown = sorted(pairs.keys() - set(ROLES))
    if unknown or not all(pairs.values()):
        msg = f"{ROLE_NAMES} names {', '.join(ROLES)}, such as sales=crm-sales, and not {text[:80]!r}"
        raise SettingsError(msg)
    return (
        {role: pairs.get(role, role) for role in ROLES}
        if not pairs
        else {role: pairs[role] for role in ROLES if role in pairs}
    )


def _claim(claims: Mapping[str, Any], path: str) -> object:
    """A claim by its name, which may have dots of its own, or within others by dots."""
    if path in claims:
        return claims[path]
    value: object = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _values(claim: object) -> list[str]:
    if isinstance(claim, str):
        return claim.split()
    return [each for each in claim if isinstance(each, str)] if isinstance(claim, list) else []
