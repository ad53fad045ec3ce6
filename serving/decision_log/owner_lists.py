"""Selects the leads of several owners at once, in one pass over the open leads.

The database joins what the plan decides by; who takes which lead, and who is left out, is decided here, by
each combination of attributes once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Text, case, cast, func, select, text

from serving.decision_log.tables import CURRENT_SCORES, DECISIONS, LEAD_RANKS, OPEN_LEADS
from serving.handover_plan import NO_OWNER, OVERRIDE, ROW, HandoverPlan, attribute_text
from serving.handover_selection import HandoverCandidate, StreamedSelection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, FromClause, Select

    from serving.handover_plan import ListWish, Takers
    from serving.handover_selection import HandoverRequest, Selection

_PAGE_LEADS = 10_000
# What the lead store knows of every lead; all else is in its attributes.
_STORE_COLUMNS = {
    "owner": CURRENT_SCORES.c.owner,
    "stage": CURRENT_SCORES.c.stage,
    "channel": CURRENT_SCORES.c.channel,
    "account": CURRENT_SCORES.c.account_id,
}


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
class Overridden:
    """Pairs of tenant and lead that people handed over or took off, and that are no candidates."""

    handed_over: frozenset[tuple[str, str]] = frozenset()
    taken_off: frozenset[tuple[str, str]] = frozenset()


def select_lists(
    log: Engine, wish: ListWish, overridden: Overridden, typical_value: float = 1.0
) -> list[OwnerList]:
    """Select the leads of each list that is asked for.

    Args:
        log: An open log.
        wish: Which lists.
        overridden: Leads that people decided about.
        typical_value: What the value of a lead counts as where it is not known.

    Returns:
        The lists by the names of their owners, also empty ones of owners of the plan. Each is what
        ``serving.handover_selection.select_leads`` selects from the leads that are its owner's.
    """
    lists = {owner: StreamedSelection(wish.request_of(owner)) for owner in wish.listed}
    excluded: dict[str, Counter[str]] = defaultdict(Counter)
    people = overridden.handed_over | overridden.taken_off
    for lead, owner, reason in _placed_leads(log, wish, typical_value):
        why = reason
        if people and (key := (lead[4], lead[0])) in people:
            if key in overridden.handed_over:
                continue
            why = OVERRIDE
        if not wish.covers(owner):
            continue
        if why:
            excluded[owner][why] += 1
            continue
        if owner not in lists:
            lists[owner] = StreamedSelection(wish.request_of(owner))
        lists[owner].add(partial(HandoverCandidate, *lead[:5]), lead[2], lead[5])
    nobodys = dict(excluded.get("", {})) if wish.by_owner else {}
    return [
        OwnerList(wish.request_of(owner), selection.finish(), dict(excluded.get(owner, {})), nobodys)
        for owner, selection in sorted(lists.items())
    ]


def _placed_leads(
    log: Engine, wish: ListWish, typical_value: float
) -> Iterator[tuple[Sequence[Any], str, str]]:
    """The open leads as columns of ``_LEAD``, each with its owner ("" without one) and why it is left out."""
    plan, width = wish.plan, len(_LEAD)
    owner_names = plan.owner_attributes if wish.by_owner else ()
    split = width + len(owner_names)
    takers: dict[Sequence[Any], Takers] = {}
    reasons: dict[Sequence[Any], str] = {}
    for row in _rows(log, wish, typical_value):
        whose, why = row[width:split], row[split:]
        if (reason := reasons.get(why)) is None:
            reason = reasons[why] = plan.reason(_named(plan.excluding_attributes, why))
        owner = ""
        if owner_names:
            if (own := takers.get(whose)) is None:
                own = takers[whose] = plan.takers(_named(owner_names, whose))
            owner = own.owner_of(row[_LOT])
            reason = reason or ("" if owner else NO_OWNER)
        yield row, owner, reason


def _rows(log: Engine, wish: ListWish, typical_value: float) -> Iterator[Sequence[Any]]:
    """The open leads with the attributes that a plan decides by, in pages by their ids.

    In the order of the ids both tables are read from front to back. A page is a transaction of its own, so
    that no reader is in the way for long; a lead that is scored meanwhile is seen once all the same.
    """
    with log.connect() as connection:
        tenants = [wish.request.tenant] if wish.request.tenant else list(_tenants(connection))
        query = _query(connection.dialect.name, wish, typical_value)
    for tenant in tenants:
        after = ""
        while True:
            page = query.where(LEAD_RANKS.c.tenant == tenant, LEAD_RANKS.c.lead_id > after)
            with log.connect() as connection:
                rows = connection.execute(page).fetchall()
            yield from rows
            if len(rows) < _PAGE_LEADS:
                break
            after = rows[-1][0]


def _tenants(connection: Connection) -> Iterator[str]:
    """The tenants whose leads are ranked, each found by a step in the index."""
    last = connection.execute(select(func.min(LEAD_RANKS.c.tenant))).scalar()
    while last is not None:
        yield last
        later = select(func.min(LEAD_RANKS.c.tenant)).where(LEAD_RANKS.c.tenant > last)
        last = connection.execute(later).scalar()


# What a candidate is made of, and its lot.
_LEAD = ("lead_id", "decision_id", "worth", "value", "tenant", "lot")
_LOT = _LEAD.index("lot")


def _query(dialect: str, wish: ListWish, typical_value: float) -> Select[Any]:
    """The open leads in the order of their ids, with the attributes that the plan decides by."""
    ranks, plan = LEAD_RANKS.c, wish.plan
    worth = case((ranks.known == 1, ranks.worth), else_=ranks.worth * typical_value)
    names = [*(plan.owner_attributes if wish.by_owner else ()), *plan.excluding_attributes]
    columns = [worth if name == "worth" else ranks[name] for name in _LEAD]
    attributes = [_attribute(name, dialect).label(f"attribute_{n}") for n, name in enumerate(names)]
    # Not by the index of what leads are worth: its order is not that of the pages.
    states = (0, 1) if wish.request.dormant else (0,)
    is_wanted = (text(OPEN_LEADS), ranks.value_name == wish.request.value, (ranks.dormant + 0).in_(states))
    query = select(*columns, *attributes).select_from(_source(names)).where(*is_wanted)
    return query.order_by(ranks.lead_id).limit(_PAGE_LEADS)


def _source(names: Sequence[str]) -> FromClause:
    """The ranks of leads, with the tables that hold these attributes."""
    source: FromClause = LEAD_RANKS
    if any(not name.startswith(ROW) for name in names):
        scores = CURRENT_SCORES.c
        same = (scores.lead_id == LEAD_RANKS.c.lead_id) & (scores.tenant == LEAD_RANKS.c.tenant)
        source = source.outerjoin(CURRENT_SCORES, same)
    if any(name.startswith(ROW) for name in names):
        source = source.outerjoin(DECISIONS, DECISIONS.c.id == LEAD_RANKS.c.decision_id)
    return source


def _named(names: Sequence[str], values: Sequence[str | None]) -> dict[str, str | None]:
    return {
        name: (value or "").strip() or None if name in _STORE_COLUMNS else attribute_text(value)
        for name, value in zip(names, values, strict=True)
    }


def _attribute(name: str, dialect: str) -> ColumnElement[Any]:
    """An attribute as text: of the store's own columns as it is, of others as JSON."""
    if name in _STORE_COLUMNS:
        return _STORE_COLUMNS[name]
    is_in_row = name.startswith(ROW)
    column, key = (DECISIONS.c.row if is_in_row else CURRENT_SCORES.c.attributes), name.removeprefix(ROW)
    document: Any = column if dialect == "sqlite" else cast(column, JSON)
    return cast(document.op("->")(key), Text)


def find_owner(connection: Connection, plan: HandoverPlan, lead_id: str, tenant: str) -> str | None:
    """Whose lead this is by a plan; None where it was never scored, "" where nobody takes it."""
    ranks, names = LEAD_RANKS.c, plan.owner_attributes
    attributes = [_attribute(name, connection.dialect.name).label(name) for name in names]
    query = (
        select(ranks.lot, *attributes)
        .select_from(_source(names))
        .where(
            ranks.tenant == tenant, ranks.lead_id == lead_id, ranks.value_name == "", ranks.decision_id > 0
        )
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else plan.takers(_named(names, row[1:])).owner_of(row[0])
