"""Who takes which leads: owners with a capacity each, teams, territories, and leads that nobody is to call.

A plan decides by the attributes of a lead alone, never by a score or by lot: the list of each owner is a draw
of its own among leads that were this owner's before anything was drawn, so that every propensity stays right.
"""

from __future__ import annotations

import json
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from features.suggestions import suggest
from models.handover_selection import LOT_MODULUS, DayLots

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAX_CAPACITY = 10_000
# Why a lead is on nobody's list, beside the reasons of a plan.
NO_OWNER, OVERRIDE, DORMANT = "no_owner", "taken_off", "dormant"
_OWN_REASONS = (NO_OWNER, OVERRIDE, DORMANT)
# The territory of all values that are not named.
ELSEWHERE = "*"
# A feature in the model's row instead of an attribute of the lead store.
ROW = "row."
_OWNER_LOTS = DayLots.of(0, "owner")
_KEYS = ("owner", "territory", "capacity", "reserve", "owners", "teams", "territories", "exclude")
_EXCLUDE_KEYS = ("reason", "attribute", "is", "contains")


class PlanError(ValueError):
    """A hand-over plan that cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Leads that are on no list.

    Attributes:
        reason: Why, in a word or two; the answer counts leads by it.
        attribute: The attribute that tells.
        values: Its values, in any capitals.
        contains: Words of which its value holds one, in any capitals.
    """

    reason: str
    attribute: str
    values: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()

    def covers(self, value: str | None) -> bool:
        """Whether a lead with this value is excluded."""
        if value is None:
            return False
        folded = value.casefold()
        return folded in {each.casefold() for each in self.values} or any(
            each.casefold() in folded for each in self.contains
        )


@dataclass(frozen=True, slots=True)
class Takers:
    """Who takes the leads with some attributes.

    Attributes:
        owners: Those who share them, in the order of the plan; none where nobody takes them.
        limits: Of each owner, the number of a lead below which it is theirs.
    """

    owners: tuple[str, ...]
    limits: tuple[float, ...]

    def owner_of(self, lot: int) -> str:
        """The owner of a lead with this ``lead_lot``; "" where nobody takes it."""
        if len(self.owners) <= 1:
            return self.owners[0] if self.owners else ""
        return self.owners[bisect_right(self.limits, _OWNER_LOTS.number(lot))]


@dataclass(frozen=True)
class HandoverPlan:
    """Who takes which leads.

    Attributes:
        owners: How many leads each owner takes a day.
        capacity: Of an owner who is not among ``owners``. Default: none; leads of others count as nobody's.
        owner: The attribute that says whose lead it is.
        territory: Of a lead that is nobody's, the attribute that says who takes it. Default: none.
        territories: By its values, an owner or a team; ``"*"`` is for all other values and for none.
        teams: The owners in each team; they share its leads in proportion to their capacity.
        exclusions: Leads that are on no list; of several the first one counts.
        reserve: How many leads are named beside each list.

    An attribute is one of the lead store: ``owner``, ``stage``, ``channel`` and ``account`` as it knows them,
    others by their names. ``row.NAME`` is a feature in the model's row, for leads that the store does not
    have.
    """

    owners: Mapping[str, int] = field(default_factory=dict)
    capacity: int | None = None
    owner: str = "owner"
    territory: str = ""
    territories: Mapping[str, str] = field(default_factory=dict)
    teams: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()
    reserve: int = 0

    @cached_property
    def owner_attributes(self) -> tuple[str, ...]:
        """The attributes that say whose a lead is."""
        return tuple(dict.fromkeys(filter(None, (self.owner, self.territory)))) if self.has_owners else ()

    @cached_property
    def excluding_attributes(self) -> tuple[str, ...]:
        """The attributes that say whether a lead is left out, each once."""
        return tuple(dict.fromkeys(each.attribute for each in self.exclusions))

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """All attributes that it decides by, each once."""
        return tuple(dict.fromkeys((*self.owner_attributes, *self.excluding_attributes)))

    @cached_property
    def has_owners(self) -> bool:
        """Whether anybody has a list of their own."""
        return bool(self.owners) or self.capacity is not None

    def spelled(self, owner: str) -> str:
        """The name of an owner as the plan spells it."""
        return self._spelled.get(owner.strip().casefold(), owner.strip())

    def teams_of(self, owner: str) -> tuple[str, ...]:
        """The teams that an owner is in, in the order of the plan."""
        return tuple(team for team, members in self.teams.items() if owner in members)

    def capacity_of(self, owner: str) -> int | None:
        """How many leads an owner takes a day; None where it is no owner."""
        return self.owners.get(owner, self.capacity)

    def reason(self, values: Mapping[str, str | None]) -> str:
        """Why leads with these values of the attributes are on no list; "" where they may be."""
        return next((each.reason for each in self.exclusions if each.covers(values.get(each.attribute))), "")

    def takers(self, values: Mapping[str, str | None]) -> Takers:
        """Who takes leads with these values of the attributes."""
        owners = self._owners_of(values)
        shares = [self.capacity_of(owner) or 0 for owner in owners]
        return Takers(owners, tuple(LOT_MODULUS * each / sum(shares) for each in accumulate(shares)))

    def _owners_of(self, values: Mapping[str, str | None]) -> tuple[str, ...]:
        own = values.get(self.owner) or ""
        named = self.spelled(own)
        if named and self.capacity_of(named) is not None:
            return (named,)
        place = (values.get(self.territory) or "").casefold() if self.territory else ""
        territories = {value.casefold(): whose for value, whose in self.territories.items()}
        whose = territories.get(place, territories.get(ELSEWHERE, ""))
        return tuple(self.teams.get(whose, (whose,))) if whose else ()

    @cached_property
    def _spelled(self) -> dict[str, str]:
        return {owner.casefold(): owner for owner in self.owners}


def attribute_text(raw: str | None) -> str | None:
    """The JSON value of an attribute as text to compare with; None where there is none.

    >>> attribute_text('"DE "'), attribute_text("true"), attribute_text("5.0"), attribute_text("null")
    ('DE', 'true', '5', None)
    """
    value = None if raw is None else json.loads(raw)
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else json.dumps(value, ensure_ascii=False)


def read_plan(file: Path) -> HandoverPlan:
    """Read a plan from a TOML file.

    Args:
        file: The file.

    Returns:
        The plan.

    Raises:
        PlanError: The file cannot be read, or something in it makes no sense.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        msg = f"{file}: {error.strerror}; name the plan with --handover or LEADLOOP_HANDOVER"
        raise PlanError(msg) from error
    except ValueError as error:
        msg = f"{file}: this is not TOML: {error}"
        raise PlanError(msg) from error
    try:
        return parse_plan(content)
    except PlanError as error:
        msg = f"{file}: {error}"
        raise PlanError(msg) from None


def parse_plan(content: Mapping[str, Any]) -> HandoverPlan:
    """The plan in the tables of a TOML file.

    Raises:
        PlanError: Something in it makes no sense.
    """
    _refuse_unknown(content, _KEYS, "")
    owners = {
        name: _whole(number, f"owners.{name}") for name, number in _table(content, "owners", int).items()
    }
    plan = HandoverPlan(
        owners=owners,
        capacity=_whole(content["capacity"], "capacity") if "capacity" in content else None,
        owner=_text(content.get("owner", "owner"), "owner"),
        territory=_text(content.get("territory", ""), "territory"),
        territories=_table(content, "territories", str),
        teams={
            name: _texts(names, f"teams.{name}") for name, names in _table(content, "teams", list).items()
        },
        exclusions=tuple(map(_exclusion, _list(content.get("exclude", ()), "exclude"))),
        reserve=_whole(content.get("reserve", 0), "reserve", least=0),
    )
    _refuse_strangers(plan)
    return plan


def _refuse_strangers(plan: HandoverPlan) -> None:
    """Refuse members of teams and of territories who take no leads: theirs would be nobody's."""
    if plan.territories and not plan.territory:
        msg = "territories need the key territory: the attribute whose values they name"
        raise PlanError(msg)
    pairs = [(f"teams.{team}", member) for team, members in plan.teams.items() for member in members]
    pairs += [
        (f"territories.{value}", whose)
        for value, whose in plan.territories.items()
        if whose not in plan.teams
    ]
    for where, name in pairs:
        if plan.capacity_of(name) is None:
            known = (*plan.owners, *plan.teams)
            msg = f"{where}: no owner called {name!r} is among the owners{suggest(name, known)}"
            raise PlanError(msg)


def _exclusion(entry: Any) -> Exclusion:
    if not isinstance(entry, dict):
        msg = "exclude: write each exclusion as [[exclude]] with reason, attribute, and is or contains"
        raise PlanError(msg)
    _refuse_unknown(entry, _EXCLUDE_KEYS, "exclude.")
    values, words = (_texts(entry.get(key, []), f"exclude.{key}") for key in ("is", "contains"))
    if not {"reason", "attribute"} <= set(entry) or not (values or words):
        msg = "exclude: each one takes a reason, an attribute, and is or contains with at least one value"
        raise PlanError(msg)
    reason = _text(entry["reason"], "exclude.reason")
    if reason in _OWN_REASONS:
        msg = f"exclude.reason: {reason!r} is a reason of the service itself; choose another name"
        raise PlanError(msg)
    return Exclusion(reason, _text(entry["attribute"], "exclude.attribute"), values, words)


def _refuse_unknown(content: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in content:
        if key not in keys:
            msg = f"there is no key {where}{key}{suggest(key, keys)}"
            raise PlanError(msg)


def _table(content: Mapping[str, Any], key: str, kind: type) -> dict[str, Any]:
    table = content.get(key, {})
    if not isinstance(table, dict) or not all(
        isinstance(value, kind) and name for name, value in table.items()
    ):
        what = {int: "a whole number", str: "a name", list: "a list of names"}[kind]
        msg = f"[{key}] takes names with {what} each"
        raise PlanError(msg)
    return table


def _list(value: Any, key: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        msg = f"{key} takes a list"
        raise PlanError(msg)
    return value


def _texts(value: Any, key: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str | bool | int) else _list(value, key)
    return tuple(str(each).lower() if isinstance(each, bool) else str(each).strip() for each in values)


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        msg = f"{key} takes a name"
        raise PlanError(msg)
    return value.strip()


def _whole(value: Any, key: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_CAPACITY:
        msg = f"{key} takes a whole number from {least} to {MAX_CAPACITY:,}, not {value!r}"
        raise PlanError(msg)
    return value


def with_capacities(plan: HandoverPlan | None, owners: Mapping[str, int]) -> HandoverPlan:
    """A plan in which these owners, and nobody else, take so many leads each.

    Without a plan the attribute ``owner`` of the lead store says whose a lead is.
    """
    known = HandoverPlan() if plan is None else plan
    teams = {name: [each for each in members if each in owners] for name, members in known.teams.items()}
    territories = {
        value: whose for value, whose in known.territories.items() if whose in owners or teams.get(whose)
    }
    return HandoverPlan(
        owners=dict(owners),
        owner=known.owner,
        territory=known.territory,
        territories=territories,
        teams=teams,
        exclusions=known.exclusions,
        reserve=known.reserve,
    )
