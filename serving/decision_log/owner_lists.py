"""Selects the leads of several owners at once, in one pass over the open leads.

The database joins what the plan decides by; ``models.handover_lists`` decides by it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Text, case, cast, func, literal, null, select, text

from models.handover_lists import LeadPlacer, ListBuilder, ListWish
from models.handover_plan import OVERRIDE, ROW, HandoverPlan, attribute_text
from models.handover_selection import HandoverCandidate, lead_lot
from serving.decision_log.standing_outcomes import is_decided_by_name
from serving.decision_log.tables import CURRENT_SCORES, DECISIONS, LEAD_RANKS, NAMED_SCORES, OPEN_LEADS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, FromClause, Select, Table

    from models.handover_lists import OwnerList
    from models.handover_selection import HandoverRequest

_PAGE_LEADS = 10_000
# What the lead store knows of every lead, in its columns of current scores; all else is in its attributes.
_STORE_COLUMNS = {"owner": "owner", "stage": "stage", "channel": "channel", "account": "account_id"}


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

    In the order of the ids the tables are read from front to back. A page is a transaction of its own, so
    that no reader is in the way for long; a lead that is scored meanwhile is seen once all the same.
    """
    model, leads = wish.request.model, _leads_of(wish.request.model)
    with log.connect() as connection:
        tenants = [wish.request.tenant] if wish.request.tenant else list(_tenants(connection, leads, model))
        make_query = _query_by_name if model else _query
        query = make_query(connection.dialect.name, wish, typical_value)
    rows = (row for tenant in tenants for row in _pages(log, query, leads, tenant))
    yield from (_ranked_by_name(row, typical_value) for row in rows) if model else rows


def _pages(log: Engine, query: Select[Any], leads: Table, tenant: str) -> Iterator[Sequence[Any]]:
    after = ""
    while True:
        page = query.where(leads.c.tenant == tenant, leads.c.lead_id > after)
        with log.connect() as connection:
            rows = connection.execute(page).fetchall()
        yield from rows
        if len(rows) < _PAGE_LEADS:
            return
        after = rows[-1][0]


def _leads_of(model: str) -> Table:
    """Where the open leads of a model are: in its ranks, or by a named model among those of the store."""
    return NAMED_SCORES if model else LEAD_RANKS


def _tenants(connection: Connection, leads: Table, model: str) -> Iterator[str]:
    """The tenants whose leads are ranked, each found by a step in the index."""
    own = [leads.c.model == model] if model else []
    last = connection.execute(select(func.min(leads.c.tenant)).where(*own)).scalar()
    while last is not None:
        yield last
        later = select(func.min(leads.c.tenant)).where(*own, leads.c.tenant > last)
        last = connection.execute(later).scalar()


# What a candidate is made of, and its lot.
_LEAD = ("lead_id", "decision_id", "worth", "value", "tenant", "lot")
_LOT = _LEAD.index("lot")


def _plan_names(wish: ListWish) -> list[str]:
    """The attributes that the plan decides by."""
    return [*(wish.plan.owner_attributes if wish.by_owner else ()), *wish.plan.excluding_attributes]


def _query(dialect: str, wish: ListWish, typical_value: float) -> Select[Any]:
    """The open leads in the order of their ids, with the attributes that the plan decides by."""
    ranks, names = LEAD_RANKS.c, _plan_names(wish)
    worth = case((ranks.known == 1, ranks.worth), else_=ranks.worth * typical_value)
    columns = [worth if name == "worth" else ranks[name] for name in _LEAD]
    attributes = [_attribute(name, dialect).label(f"attribute_{n}") for n, name in enumerate(names)]
    # Not by the index of what leads are worth: its order is not that of the pages.
    states = (0, 1) if wish.request.dormant else (0,)
    is_wanted = (text(OPEN_LEADS), ranks.value_name == wish.request.value, (ranks.dormant + 0).in_(states))
    query = select(*columns, *attributes).select_from(_source(names)).where(*is_wanted)
    return query.order_by(ranks.lead_id).limit(_PAGE_LEADS)


def _query_by_name(dialect: str, wish: ListWish, _: float) -> Select[Any]:
    """The same of a named model, as the store has its scores; ``_ranked_by_name`` finishes each row."""
    score, names, value = NAMED_SCORES.c, _plan_names(wish), wish.request.value
    worths = [f"{ROW}{value}"] if value else []
    attributes = (_attribute(name, dialect, NAMED_SCORES) for name in (*worths, *names))
    labelled = [each.label(f"attribute_{n}") for n, each in enumerate(attributes)]
    first = labelled.pop(0) if value else null().label("value")
    columns = (score.lead_id, score.decision_id, score.probability, first, score.tenant, literal(0))
    query = select(*columns, *labelled).select_from(_source([*worths, *names], NAMED_SCORES))
    return query.where(*open_by_name(wish.request)).order_by(score.lead_id).limit(_PAGE_LEADS)


def _ranked_by_name(row: Sequence[Any], typical_value: float) -> Sequence[Any]:
    """A row of ``_query_by_name`` with what the lead is worth and its lot."""
    lead_id, decision_id, probability, document, tenant, _, *attributes = row
    value = number_in(document)
    worth = probability * (typical_value if value is None else value)
    return (lead_id, decision_id, worth, value, tenant, lead_lot(lead_id), *attributes)


def open_by_name(request: HandoverRequest) -> list[ColumnElement[bool]]:
    """What holds for the leads of the store that a hand-over of a named model may have.

    Their number was not withheld, its decision is in the log, and nobody has decided about them.
    """
    score = NAMED_SCORES.c
    return [
        score.model == request.model,
        score.state.in_(("open", "dormant") if request.dormant else ("open",)),
        score.probability.is_not(None),
        score.decision_id.is_not(None),
        ~is_decided_by_name(NAMED_SCORES),
    ]


def values_by_name(log: Engine, request: HandoverRequest) -> Iterator[float]:
    """What each open lead of a named model is worth by a feature, where that is known."""
    wish = ListWish(request, HandoverPlan(), by_owner=False)
    # Where its value is not known, a lead counts once as if it were 1: that is no value.
    return (row[3] for row in _rows(log, wish, 1.0) if row[3] is not None)


def number_in(document: str | None) -> float | None:
    """The number in a JSON text; None where it holds none that is finite.

    >>> number_in("12.5"), number_in('"many"'), number_in(None)
    (12.5, None, None)
    """
    value = None if document is None else json.loads(document)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _source(names: Sequence[str], leads: Table = LEAD_RANKS) -> FromClause:
    """The leads with the tables that hold these attributes."""
    source: FromClause = leads
    if leads is LEAD_RANKS and any(not name.startswith(ROW) for name in names):
        scores = CURRENT_SCORES.c
        same = (scores.lead_id == LEAD_RANKS.c.lead_id) & (scores.tenant == LEAD_RANKS.c.tenant)
        source = source.outerjoin(CURRENT_SCORES, same)
    if any(name.startswith(ROW) for name in names):
        source = source.outerjoin(DECISIONS, DECISIONS.c.id == leads.c.decision_id)
    return source


def _named(names: Sequence[str], values: Sequence[str | None]) -> dict[str, str | None]:
    return {
        name: (value or "").strip() or None if name in _STORE_COLUMNS else attribute_text(value)
        for name, value in zip(names, values, strict=True)
    }


def _attribute(name: str, dialect: str, scores: Table = CURRENT_SCORES) -> ColumnElement[Any]:
    """An attribute as text: of the store's own columns as it is, of others as JSON."""
    if name in _STORE_COLUMNS:
        return scores.c[_STORE_COLUMNS[name]]
    is_in_row = name.startswith(ROW)
    column, key = (DECISIONS.c.row if is_in_row else scores.c.attributes), name.removeprefix(ROW)
    document: Any = column if dialect == "sqlite" else cast(column, JSON)
    return cast(document.op("->")(key), Text)


def find_owner(
    connection: Connection, plan: HandoverPlan, lead_id: str, tenant: str, model: str = ""
) -> str | None:
    """Whose lead this is by a plan; None where the model never scored it, "" where nobody takes it."""
    leads, names = _leads_of(model), plan.owner_attributes
    scores = NAMED_SCORES if model else CURRENT_SCORES
    attributes = [_attribute(name, connection.dialect.name, scores).label(name) for name in names]
    own = leads.c.model == model if model else leads.c.value_name == ""
    is_it = (leads.c.tenant == tenant, leads.c.lead_id == lead_id, own, leads.c.decision_id > 0)
    query = select(literal(0), *attributes).select_from(_source(names, leads)).where(*is_it)
    row = connection.execute(query).one_or_none()
    return None if row is None else plan.takers(_named(names, row[1:])).owner_of(lead_lot(lead_id))
