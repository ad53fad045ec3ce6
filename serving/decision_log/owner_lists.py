"""Selects the leads of several owners at once, in one pass over the open leads.

The database joins what the plan decides by; who takes which lead, and who is left out, is decided here, by
each combination of attributes once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Text, cast, select

from serving.decision_log.tables import CURRENT_SCORES, DECISIONS, LEAD_RANKS
from serving.handover_plan import NO_OWNER, OVERRIDE, ROW, HandoverPlan, attribute_text
from serving.handover_selection import HandoverCandidate, StreamedSelection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from serving.handover_plan import Placement
    from serving.handover_selection import HandoverRequest, Selection

_FETCH_ROWS = 10_000
# What the lead store knows of every lead; all else is in its attributes.
_STORE_COLUMNS = {
    "owner": CURRENT_SCORES.c.owner,
    "stage": CURRENT_SCORES.c.stage,
    "channel": CURRENT_SCORES.c.channel,
    "account": CURRENT_SCORES.c.account_id,
}


@dataclass(frozen=True, slots=True)
class LeadGroup:
    """Open leads, and what they are worth: ``worth``, or their probability times a typical value."""

    conditions: tuple[Any, ...]
    known: int = 1
    factor: float = 1.0

    @property
    def worth(self) -> ColumnElement[float]:
        """What a lead is ranked by."""
        column = LEAD_RANKS.c.worth
        return column if self.known else column * self.factor


@dataclass(frozen=True, slots=True)
class OwnerList:
    """The list of an owner, or of nobody in particular.

    Attributes:
        request: The parameters, with the owner and its capacity.
        selection: The selected leads.
        excluded: By reason, how many leads are on no list that would have been candidates of this one.
        nobodys: By reason, how many leads are on no list and no owner's.
    """

    request: HandoverRequest
    selection: Selection
    excluded: Mapping[str, int]
    nobodys: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ListWish:
    """Which lists are asked for.

    Attributes:
        request: The parameters that all of them share; ``capacity`` counts where ``by_owner`` is false.
        plan: Who takes which leads, and who is left out.
        by_owner: Whether each owner has a list; else there is one of all leads.
        owners: Whose lists alone. Default: those of all owners.
    """

    request: HandoverRequest
    plan: HandoverPlan
    by_owner: bool
    owners: frozenset[str] = frozenset()

    def request_of(self, owner: str) -> HandoverRequest:
        """The parameters of the list of an owner."""
        if not self.by_owner:
            return self.request
        capacity = self.plan.capacity_of(owner) or self.request.capacity
        return replace(self.request, owner=owner, capacity=capacity)

    @property
    def listed(self) -> Collection[str]:
        """The owners who have a list whether or not a lead is theirs."""
        if not self.by_owner:
            return ("",)
        return self.owners or tuple(self.plan.owners)

    def missing(self, owners: Collection[str]) -> Collection[str]:
        """Owners whose lists are asked for and are not among these; with a plan for anybody, none of them."""
        return set(self.listed).difference(owners) if self.listed or owners else {""}

    def covers(self, owner: str) -> bool:
        """Whether the list of an owner is asked for; leads that are nobody's are counted beside any."""
        return not self.owners or owner in self.owners or not owner


@dataclass(frozen=True, slots=True)
class Overridden:
    """Pairs of tenant and lead that people handed over or took off, and that are no candidates."""

    handed_over: frozenset[tuple[str, str]] = frozenset()
    taken_off: frozenset[tuple[str, str]] = frozenset()


def select_lists(
    connection: Connection, groups: Sequence[LeadGroup], wish: ListWish, overridden: Overridden
) -> list[OwnerList]:
    """Select the leads of each list that is asked for.

    Args:
        connection: A connection to the log.
        groups: The open leads.
        wish: Which lists.
        overridden: Leads that people decided about.

    Returns:
        The lists by the names of their owners, also empty ones of owners of the plan. Each is what
        ``serving.handover_selection.select_leads`` selects from the leads that are its owner's.
    """
    lists = {owner: StreamedSelection(wish.request_of(owner)) for owner in wish.listed}
    excluded: dict[str, Counter[str]] = {}
    for candidate, lot, placement in _candidates(connection, groups, wish.plan):
        lead = (candidate.tenant, candidate.lead_id)
        owner = placement.owner_of(lot) if wish.by_owner else ""
        reason = OVERRIDE if lead in overridden.taken_off else _reason(placement, wish)
        if lead in overridden.handed_over or not wish.covers(owner):
            continue
        if reason:
            excluded.setdefault(owner, Counter())[reason] += 1
            continue
        if owner not in lists:
            lists[owner] = StreamedSelection(wish.request_of(owner))
        lists[owner].add(candidate, lot)
    nobodys = dict(excluded.get("", {})) if wish.by_owner else {}
    return [
        OwnerList(wish.request_of(owner), selection.finish(), dict(excluded.get(owner, {})), nobodys)
        for owner, selection in sorted(lists.items())
    ]


def _reason(placement: Placement, wish: ListWish) -> str:
    """Why leads are on no list; on one of all leads those without an owner are as well."""
    return "" if placement.reason == NO_OWNER and not wish.by_owner else placement.reason


def _candidates(
    connection: Connection, groups: Sequence[LeadGroup], plan: HandoverPlan
) -> Iterator[tuple[HandoverCandidate, int, Placement]]:
    """The open leads, each with its lot and where it belongs."""
    placements: dict[tuple[Any, ...], Placement] = {}
    for group in groups:
        query = _query(connection, group, plan).execution_options(yield_per=_FETCH_ROWS)
        for lead_id, decision_id, worth, value, tenant, lot, *raw in connection.execute(query):
            values = tuple(raw)
            placement = placements.get(values)
            if placement is None:
                placement = placements[values] = plan.place(_named(plan, values))
            yield HandoverCandidate(lead_id, decision_id, worth, value, tenant), lot, placement


def _named(plan: HandoverPlan, values: Sequence[str | None]) -> dict[str, str | None]:
    return {
        name: (value or "").strip() or None if name in _STORE_COLUMNS else attribute_text(value)
        for name, value in zip(plan.attributes, values, strict=True)
    }


def _query(connection: Connection, group: LeadGroup, plan: HandoverPlan) -> Select[Any]:
    """The leads of a group with the attributes that the plan decides by."""
    dialect = connection.dialect.name
    ranks = LEAD_RANKS.c
    columns = (ranks.lead_id, ranks.decision_id, group.worth.label("worth"), ranks.value, ranks.tenant)
    named = [_attribute(name, dialect).label(f"attribute_{n}") for n, name in enumerate(plan.attributes)]
    source: Any = LEAD_RANKS
    if any(not name.startswith(ROW) for name in plan.attributes):
        same = (CURRENT_SCORES.c.lead_id == ranks.lead_id) & (CURRENT_SCORES.c.tenant == ranks.tenant)
        source = source.outerjoin(CURRENT_SCORES, same)
    if any(name.startswith(ROW) for name in plan.attributes):
        source = source.outerjoin(DECISIONS, DECISIONS.c.id == ranks.decision_id)
    return select(*columns, ranks.lot, *named).select_from(source).where(*group.conditions)


def _attribute(name: str, dialect: str) -> ColumnElement[Any]:
    """An attribute as text: of the store's own columns as it is, of others as JSON."""
    if name in _STORE_COLUMNS:
        return _STORE_COLUMNS[name]
    table, key = (
        (DECISIONS.c.row, name.removeprefix(ROW))
        if name.startswith(ROW)
        else (CURRENT_SCORES.c.attributes, name)
    )
    document: Any = table if dialect == "sqlite" else cast(table, JSON)
    return cast(document.op("->")(key), Text)


def find_owner(connection: Connection, plan: HandoverPlan, lead_id: str, tenant: str) -> str | None:
    """Whose lead this is by a plan; None where it was never scored, "" where nobody takes it."""
    conditions = (
        LEAD_RANKS.c.tenant == tenant,
        LEAD_RANKS.c.lead_id == lead_id,
        LEAD_RANKS.c.value_name == "",
        LEAD_RANKS.c.decision_id > 0,
    )
    lead = next(_candidates(connection, [LeadGroup(conditions)], plan), None)
    if lead is None:
        return None
    _, lot, placement = lead
    return placement.owner_of(lot)
