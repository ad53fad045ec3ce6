"""What a person may see and do in the console, by role."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from serving.settings import DEFAULT_MODEL, logged_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serving.middleware.api_keys import Role

Permission = Literal["lists", "leads", "decide", "accounts", "model", "forget"]
"""To read lists of leads, a lead, to decide about one, to read accounts, the model, to erase a person."""

_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "sales": frozenset(("lists", "leads", "decide", "accounts")),
    "marketing": frozenset(("lists", "leads", "accounts", "model")),
    "admin": frozenset(("lists", "leads", "decide", "accounts", "model", "forget")),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in front of the console.

    Attributes:
        name: The name of their key, or what their identity provider calls them; "" on this machine without
            keys.
        role: What they are to the console.
        tenant: The label whose leads alone they see; "" where they are bound to none.
        by_key: Whether they signed in with a key, and ``name`` is the key's.
        models: The models whose scores alone they see, by their names; none means all.
    """

    name: str
    role: Role
    tenant: str = ""
    by_key: bool = True
    models: tuple[str, ...] = ()

    @property
    def log_name(self) -> str | None:
        """What log lines call them: the key's name, or a hash of a person's own; None without a name."""
        if self.by_key or not self.name:
            return self.name or None
        return f"oidc-{sha256(self.name.encode()).hexdigest()[:12]}"

    def may(self, permission: Permission) -> bool:
        """Whether their role allows it.

        >>> Person("ada", "marketing").may("decide")
        False
        """
        return permission in _PERMISSIONS[self.role]

    def sees_model(self, name: str) -> bool:
        """Whether they may see the scores of a model.

        >>> Person("ada", "sales", models=("default",)).sees_model("renewal")
        False
        """
        return not self.models or name in self.models

    def visible_models(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of some models whose scores they may see, in their order.

        >>> Person("ada", "sales", models=("upsell", "renewal")).visible_models(("default", "renewal"))
        ('renewal',)
        """
        return tuple(filter(self.sees_model, names))


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The models whose scores a person may see, and the one that they are looking at.

    Attributes:
        names: The names that addresses take; the first one is shown where an address names none.
        current: The name of the one that is shown.
    """

    names: tuple[str, ...] = (DEFAULT_MODEL,)
    current: str = DEFAULT_MODEL

    @property
    def key(self) -> str:
        """The model as the log names it: "" is the default one.

        >>> ModelChoice().key, ModelChoice(("renewal",), "renewal").key
        ('', 'renewal')
        """
        return logged_name(self.current)

    def parameter(self, name: str | None = None) -> str | None:
        """What an address says for a model, that which is shown if none is named; None where it need not.

        >>> ModelChoice(("default", "renewal"), "renewal").parameter()
        'renewal'
        """
        name = name or self.current
        return None if name == self.names[0] else name
