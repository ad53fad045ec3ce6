"""Selects the leads of several owners at once, in one pass over the open leads.

The database joins what the plan decides by; ``models.handover_lists`` decides by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Text, case, cast, func, select, text

from models.handover_lists import LeadPlacer, ListBuilder
from models.handover_plan import OVERRIDE, ROW, HandoverPlan, attribute_text
from models.handover_selection import HandoverCandidate
from serving.decision_log.tables import CURRENT_SCORES, DECISIONS, LEAD_RANKS, OPEN_LEADS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, FromClause, Select

    from models.handover_lists import ListWish, OwnerList

_PAGE_LEADS = 10_000
# What the lead store knows of every lead; all else is in its attributes.
_STORE_COLUMNS = {
    "owner": CURRENT_SCORES.c.owner,
    "stage": CURRENT_SCORES.c.stage,
    "channel": CURRENT_SCORES.c.channel,
    "account": CURRENT_SCORES.c.account_id,
}


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
        ``models.handover_selection.select_leads`` selects from the leads that are its owner's.
    """
    lists, placer = ListBuilder(wish), LeadPlacer(wish, _named)
    width = len(_LEAD)
    split = width + len(placer.owner_names)
    people = overridden.handed_over | overridden.taken_off
    for row in _rows(log, wish, typical_value):
        owner, reason = placer.place(row[width:split], row[split:], row[_LOT])
        if people and (key := (row[4], row[0])) in people:
            if key in overridden.handed_over:
                continue
            reason = OVERRIDE
        lists.add(partial(HandoverCandidate, *row[:5]), row[2], row[_LOT], (owner, reason))
    return lists.finish()


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
