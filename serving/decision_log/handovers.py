"""Hand-overs in the decision log: the request of a day, and the leads that were selected for it.

The database ranks: what is read is the selected leads and some counts, however many leads are open.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, cast, func, insert, select, text, true

from features.suggestions import suggest
from models.handover_lists import OwnerList
from models.handover_plan import DORMANT
from models.handover_selection import (
    LOT_MODULUS,
    DayLots,
    HandoverCandidate,
    HandoverRequest,
    NoSuchValueError,
    SelectedParts,
    compose_selection,
    control_limit,
    control_number,
    count_lots,
)
from serving.decision_log import ranks
from serving.decision_log.database import writing
from serving.decision_log.erasure import lock_against_erasure, lock_against_records
from serving.decision_log.overrides import active_overrides, decision_of_lead
from serving.decision_log.owner_lists import Overridden, open_by_name, select_lists, values_by_name
from serving.decision_log.queries import decisions_by_number, decisions_of_handover
from serving.decision_log.records import Handover, HandoverLead
from serving.decision_log.tables import (
    CONTROL_LEADS,
    DECISIONS,
    HANDED_OVER,
    HANDOVER_EXCLUSIONS,
    HANDOVERS,
    LEAD_RANKS,
    NAMED_SCORES,
    OPEN_LEADS,
    RANKED_VALUES,
    RESERVE_LEADS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import ColumnElement, Connection, Engine, Row, Select

    from models.handover_lists import ListWish
    from models.handover_selection import SelectedLead, Selection
    from serving.decision_log.records import DecisionSummary

    HandoverObserver = Callable[[Connection, HandoverRequest, Sequence[dict[str, Any]]], None]
    Condition = Callable[[ColumnElement[float]], ColumnElement[bool]]

# How many features hand-overs may rank by: each is kept up with every decision.
MOST_VALUES = 8
_BATCH_LEADS = 1_000
# At most so many decisions are expected of an open lead; of fewer, so many times as many lots are looked at.
_DECISIONS_A_LEAD = 32
# Not as a parameter: a partial index is used where its condition stands in the query as it is.
_OPEN = text(OPEN_LEADS)


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


def select_handover(log: Engine, request: HandoverRequest) -> Selection:
    """Select the leads of a hand-over from the open leads whose number was not withheld.

    The result is that of ``models.handover_selection.select_leads`` on all of them. A lead without a value
    counts with the median of the others.

    Args:
        log: An open log.
        request: The parameters.

    Raises:
        NoSuchValueError: No open lead has a number in ``request.value``.
    """
    if request.value:
        rank_by_value(log, request.value)
    with _snapshot(log) as connection:
        return _select(connection, request)


def select_handovers(log: Engine, wish: ListWish) -> list[OwnerList]:
    """Select the leads of several lists, or of one with a reserve, exclusions or decisions of people.

    Args:
        log: An open log.
        wish: Which lists.

    Returns:
        The lists; a single one without more is selected as ``select_handover`` does, by the database.

    Raises:
        NoSuchValueError: No open lead has a number in ``wish.request.value``.
    """
    request = wish.request
    if request.value and not request.model:
        rank_by_value(log, request.value)
    with _snapshot(log) as connection:
        overrides = active_overrides(connection, request.tenant, int(time.time()), request.model)
        dormant = 0 if request.dormant else _count_dormant(connection, request)
        nobodys = {DORMANT: dormant} if dormant else {}
        by_rank = not (wish.by_owner or request.reserve or wish.plan.exclusions or overrides or request.model)
        if by_rank:
            return [OwnerList(request, _select(connection, request), {}, nobodys)]
        overridden = Overridden(
            *(
                frozenset((each.tenant, each.lead_id) for each in overrides if each.action == action)
                for action in ("hand_over", "take_off")
            )
        )
        groups = [] if request.model else open_lead_groups(connection, request)
    typical_value = next((each.factor for each in groups if not each.known), 1.0)
    if request.model and request.value:
        typical_value = _median_by_name(log, request)
    lists = select_lists(log, wish, overridden, typical_value)
    return [replace(each, nobodys={**each.nobodys, **nobodys}) for each in lists]


def _median_by_name(log: Engine, request: HandoverRequest) -> float:
    """The median of what the open leads of a named model are worth, for those of which it is not known."""
    values = list(values_by_name(log, request))
    if not values:
        with log.connect() as connection:
            raise _no_such_value(connection, request.value, request.model)
    return float(median(values))


def _snapshot(log: Engine) -> AbstractContextManager[Connection]:
    """A connection whose queries all see the same."""
    snapshot = {"isolation_level": "REPEATABLE READ"} if log.dialect.name == "postgresql" else {}
    return log.execution_options(**snapshot).connect()


def _select(connection: Connection, request: HandoverRequest) -> Selection:
    groups = open_lead_groups(connection, request)
    control = _OpenLeads(connection, _of_control_group(groups, request, belongs=True), request.value)
    leads = _OpenLeads(connection, _of_control_group(groups, request, belongs=False), request.value)
    best = leads.best_worths(request.capacity + 1)
    # As many as these there are, if not more: that is all it takes to know how many are drawn.
    lots = count_lots(len(best), request)
    size = min(len(best), request.capacity - lots)
    cut = best[size - 1] if size else math.inf
    ties, draw = DayLots.of(request.day, "tie"), DayLots.of(request.day, "explore")
    higher = list(leads.read(lambda worth: worth > cut)) if size else []
    tied = leads.count(lambda worth: worth == cut) if size else 0
    room = size - len(higher)
    at_cut = leads.draw(lambda worth: worth == cut, ties, room, tied)
    above = sorted([*higher, *at_cut], key=lambda each: (-each.worth, *ties.key(each)))
    # Leads that tie with the last one above may be drawn from below; those above are left out again.
    number, below = leads.count_and_draw(lambda worth: worth <= cut, draw, lots and lots + room)
    chosen = set(at_cut)
    sample = [each for each in below if each not in chosen][:lots]
    near = _near_control(control, request, draw, above, sample) if request.control_share else []
    return compose_selection(request, SelectedParts(above, sample, near), number, tied)


def _near_control(
    control: _OpenLeads,
    request: HandoverRequest,
    draw: DayLots,
    above: Sequence[HandoverCandidate],
    sample: Sequence[HandoverCandidate],
) -> list[HandoverCandidate]:
    """The leads of the control group that can have been selected: above the cut, or by their lot."""
    if len(above) + len(sample) < request.capacity:
        return list(control.read(lambda _: true()))
    cut = above[-1].worth if above else math.inf
    near = list(control.read(lambda worth: worth >= cut)) if above else []
    last = max((draw.key(each)[0] for each in sample), default=None)
    if last is not None:
        near += control.read(lambda worth: worth < cut, _day_number(draw) <= last)
    return near


def _of_control_group(
    groups: Sequence[LeadGroup], request: HandoverRequest, *, belongs: bool
) -> Sequence[LeadGroup]:
    """The groups without the control group, or with nobody else."""
    if not request.control_share:
        return [] if belongs else groups
    number, limit = control_number(LEAD_RANKS.c.lot), control_limit(request.control_share)
    condition = number < limit if belongs else number >= limit
    return [replace(group, conditions=(*group.conditions, condition)) for group in groups]


@dataclass(frozen=True, slots=True)
class _OpenLeads:
    """The open leads of a hand-over in the database; a condition is about what a lead is worth."""

    connection: Connection
    groups: Sequence[LeadGroup]
    value_name: str

    def best_worths(self, size: int) -> list[float]:
        """The ``size`` greatest worths, in descending order."""
        worths: list[float] = []
        for group in self.groups:
            query = select(group.worth).where(*group.conditions).order_by(group.worth.desc()).limit(size)
            worths += self.connection.execute(query).scalars()
        return sorted(worths, reverse=True)[:size]

    def count(self, condition: Condition) -> int:
        """How many leads meet a condition."""
        queries = (
            select(func.count()).select_from(LEAD_RANKS).where(*group.conditions, condition(group.worth))
            for group in self.groups
        )
        return sum(self.connection.execute(query).scalar_one() for query in queries)

    def has_any(self) -> bool:
        """Whether there is a lead."""
        queries = (_candidate_columns(group).where(*group.conditions).limit(1) for group in self.groups)
        return any(self.connection.execute(query).first() is not None for query in queries)

    def read(self, condition: Condition, *more: ColumnElement[bool]) -> Iterator[HandoverCandidate]:
        """The leads that meet a condition."""
        for group in self.groups:
            query = _candidate_columns(group).where(*group.conditions, condition(group.worth), *more)
            yield from map(_candidate, self.connection.execute(query))

    def _read_by_decisions(self, numbers: Sequence[int]) -> Iterator[HandoverCandidate]:
        """The leads of some decisions, found by the keys of their rows."""
        query = select(DECISIONS.c.tenant, DECISIONS.c.lead_id).where(DECISIONS.c.id.in_(numbers))
        keys = self.connection.execute(query).all()
        # No more conditions: the database would go through all open leads to meet them.
        own = (
            LEAD_RANKS.c.tenant.in_(sorted({tenant for tenant, _ in keys})),
            LEAD_RANKS.c.lead_id.in_([lead_id for _, lead_id in keys]),
            LEAD_RANKS.c.value_name == self.value_name,
        )
        factors = {group.known: group.factor for group in self.groups}
        decisions = set(numbers)
        for row in self.connection.execute(select(LEAD_RANKS).where(*own)):
            if row.decision_id in decisions:
                worth = row.worth * factors[row.known]
                yield HandoverCandidate(row.lead_id, row.decision_id, worth, row.value, row.tenant)

    def draw(
        self, condition: Condition, order: DayLots, number: int, population: int
    ) -> list[HandoverCandidate]:
        """The first ``number`` leads in the order of a day among the ``population`` that meet a condition.

        The database leaves out those that are certainly not among them, and a few more than ``number`` are
        read.
        """
        if not number:
            return []
        limit = _lot_limit(number, population)
        candidates = list(self.read(condition, _day_number(order) < limit))
        while len(candidates) < number and limit < LOT_MODULUS:
            limit *= 2
            candidates = list(self.read(condition, _day_number(order) < limit))
        return sorted(candidates, key=order.key)[:number]

    def count_and_draw(
        self, condition: Condition, order: DayLots, number: int
    ) -> tuple[int, list[HandoverCandidate]]:
        """How many leads there are, and what ``draw`` returns; in one pass over them all.

        Of numbers below a limit more are read than it takes: how many leads there are is not known yet.
        """
        if not number:
            return self.count(lambda _: true()), []
        last = self.connection.execute(select(func.max(DECISIONS.c.id))).scalar() or 1
        limit = _lot_limit(number, max(1, last // _DECISIONS_A_LEAD))
        day_number = _day_number(order)
        entry = cast(day_number, String) + ":" + cast(LEAD_RANKS.c.decision_id, String)
        count, lots = 0, list[str]()
        for group in self.groups:
            passing = condition(group.worth) & (day_number < limit)
            entries = func.aggregate_strings(entry, ",").filter(passing)
            query = select(func.count(), entries).where(*group.conditions)
            number_of_group, text_of_group = self.connection.execute(query).one()
            count += number_of_group
            lots += text_of_group.split(",") if text_of_group else ()
        if len(lots) < number:
            return count, self.draw(condition, order, number, count)
        pairs = sorted(tuple(map(int, pair.split(":"))) for pair in lots)
        # Whoever has the same number as the last one may stand before it.
        decisions = [decision for day, decision in pairs if day <= pairs[number - 1][0]]
        candidates = [
            candidate for batch in _batches(decisions) for candidate in self._read_by_decisions(batch)
        ]
        return count, sorted(candidates, key=order.key)[:number]


def _candidate_columns(group: LeadGroup) -> Select[Any]:
    columns = (LEAD_RANKS.c.lead_id, LEAD_RANKS.c.decision_id, LEAD_RANKS.c.value, LEAD_RANKS.c.tenant)
    return select(*columns, group.worth.label("worth"))


def _candidate(row: Row[Any]) -> HandoverCandidate:
    return HandoverCandidate(row.lead_id, row.decision_id, row.worth, row.value, row.tenant)


def _day_number(order: DayLots) -> ColumnElement[int]:
    return (LEAD_RANKS.c.lot * order.multiplier + order.offset) % LOT_MODULUS


def _lot_limit(number: int, population: int) -> int:
    """A number of a day below which almost certainly ``number`` leads of a population are, and few more."""
    share = (number + 4 * math.sqrt(number) + 16) / population
    return math.ceil(min(1, share) * LOT_MODULUS)


def _batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[start : start + _BATCH_LEADS] for start in range(0, len(numbers), _BATCH_LEADS))


def open_lead_groups(connection: Connection, request: HandoverRequest) -> list[LeadGroup]:
    """The open leads whose worth is known, and those that count with the median of the others' values.

    Dormant leads are groups of their own, and only there where they are asked for.
    """
    own: list[Any] = [
        _OPEN,
        *_tenant_conditions(connection, request.tenant),
        LEAD_RANKS.c.value_name == request.value,
    ]
    states = [(*own, LEAD_RANKS.c.dormant == flag) for flag in ((0, 1) if request.dormant else (0,))]
    known, unknown = (
        [LeadGroup((*state, LEAD_RANKS.c.known == flag), flag) for state in states] for flag in (1, 0)
    )
    if not request.value or not _OpenLeads(connection, unknown, request.value).has_any():
        return known
    count = _OpenLeads(connection, known, request.value).count(lambda _: true())
    if not count:
        raise _no_such_value(connection, request.value)
    own += [] if request.dormant else [LEAD_RANKS.c.dormant == 0]
    typical_value = _median_value(connection, own, count)
    return [*known, *(replace(group, factor=typical_value) for group in unknown)]


def _count_dormant(connection: Connection, request: HandoverRequest) -> int:
    """How many open leads are dormant."""
    if request.model:
        own = [NAMED_SCORES.c.tenant == request.tenant] if request.tenant else []
        dormant = (NAMED_SCORES.c.state == "dormant", *open_by_name(replace(request, dormant=True)))
        query = select(func.count()).select_from(NAMED_SCORES).where(*own, *dormant)
        return int(connection.execute(query).scalar_one())
    conditions = (
        _OPEN,
        *_tenant_conditions(connection, request.tenant),
        LEAD_RANKS.c.value_name == "",
        LEAD_RANKS.c.known == 1,
        LEAD_RANKS.c.dormant == 1,
    )
    return _OpenLeads(connection, [LeadGroup(conditions)], "").count(lambda _: true())


def _tenant_conditions(connection: Connection, tenant: str) -> list[ColumnElement[bool]]:
    """The leads of a tenant; of all, as a range of the index where there is but one."""
    if tenant:
        return [LEAD_RANKS.c.tenant == tenant]
    first = connection.execute(select(func.min(LEAD_RANKS.c.tenant))).scalar()
    if first is None:
        return []
    later = select(func.min(LEAD_RANKS.c.tenant)).where(LEAD_RANKS.c.tenant > first)
    return [LEAD_RANKS.c.tenant == first] if connection.execute(later).scalar() is None else []


def _median_value(connection: Connection, conditions: Sequence[Any], count: int) -> float:
    query = select(LEAD_RANKS.c.value).where(*conditions, LEAD_RANKS.c.value.is_not(None))
    middle = query.order_by(LEAD_RANKS.c.value).offset((count - 1) // 2).limit(2 - count % 2)
    values = connection.execute(middle).scalars().all()
    return float(sum(values) / len(values))


def rank_by_value(log: Engine, name: str) -> None:
    """Let leads be ranked by their probability times a feature from now on.

    The first time all open leads are ranked by it, which takes a minute for a million of them.

    Raises:
        NoSuchValueError: The feature holds no number, or hand-overs rank by ``MOST_VALUES`` others already.
    """
    with log.connect() as connection:
        values = connection.execute(select(RANKED_VALUES)).mappings().all()
        if any(row["complete"] for row in values if row["value_name"] == name):
            return
        if not _has_number(connection, name):
            return
    if len({row["value_name"] for row in values} | {name}) > MOST_VALUES:
        others = ", ".join(sorted(row["value_name"] for row in values))
        msg = f"hand-overs rank by at most {MOST_VALUES} features, and do by {others} already"
        raise NoSuchValueError(msg)
    with writing(log).begin() as connection:
        # Whoever adds decisions after this transaction knows of the feature.
        lock_against_records(connection)
        ranks.register_value(connection, name)
    last: tuple[str, str] | None = ("", "")
    while last is not None:
        with writing(log).begin() as connection:
            lock_against_records(connection)
            last = ranks.rank_next_by_value(connection, name, last, _BATCH_LEADS)


def _has_number(connection: Connection, name: str) -> bool:
    """Whether the newest decisions have a feature; it is refused where they do not, or have text in it."""
    rows = _newest_rows(connection)
    values = [row[name] for row in rows if name in row]
    if rows and (not values or any(isinstance(value, str) for value in values)):
        raise _no_such_value(connection, name)
    return bool(rows)


def _no_such_value(connection: Connection, name: str, model: str = "") -> NoSuchValueError:
    rows = _newest_rows(connection, model)
    names = {n for row in rows for n, value in row.items() if isinstance(value, int | float)}
    return NoSuchValueError(f"no open lead has a number in {name[:40]!r}{suggest(name, names)}")


def _newest_rows(connection: Connection, model: str = "") -> list[dict[str, Any]]:
    ranked = (DECISIONS.c.shadow == 0, DECISIONS.c.model == model)
    query = select(DECISIONS.c.row).where(*ranked).order_by(DECISIONS.c.id.desc()).limit(100)
    return [json.loads(row) for row in connection.execute(query).scalars()]


def find_handover(log: Engine, request: HandoverRequest) -> Handover | None:
    """The logged hand-over of a request, without leads that were erased since; None where there is none.

    The control group and the reserve are as they were when the list was made.
    """
    conditions = [HANDOVERS.c[name] == value for name, value in _identity(request).items()]
    with log.connect() as connection:
        head = connection.execute(select(HANDOVERS).where(*conditions)).mappings().one_or_none()
    return None if head is None else _read_handover(log, head)


def find_handovers(log: Engine, request: HandoverRequest) -> list[Handover]:
    """The logged hand-overs of all owners of a day that differ from a request in owner and capacity alone."""
    identity = {
        name: value for name, value in _identity(request).items() if name not in {"owner", "capacity"}
    }
    conditions = [HANDOVERS.c[name] == value for name, value in identity.items()]
    query = select(HANDOVERS).where(*conditions, HANDOVERS.c.owner != "").order_by(HANDOVERS.c.owner)
    with log.connect() as connection:
        heads = connection.execute(query).mappings().all()
    return [_read_handover(log, head) for head in heads]


def _identity(request: HandoverRequest) -> dict[str, Any]:
    """What makes a request the same as another one: the columns of a hand-over that are unique together."""
    values = asdict(request) | {"dormant": int(request.dormant)}
    return {name: value for name, value in values.items() if name not in {"control_share", "reserve"}}


def _read_handover(log: Engine, head: Mapping[Any, Any]) -> Handover:
    """A logged hand-over by its row of ``handovers``."""
    number = head["id"]
    with log.connect() as connection:
        rows, reserve = (
            connection.execute(select(table).where(table.c.handover_id == number).order_by(table.c.rank))
            .mappings()
            .all()
            for table in (HANDED_OVER, RESERVE_LEADS)
        )
        group = select(func.count()).select_from(CONTROL_LEADS)
        control = connection.execute(group.where(CONTROL_LEADS.c.handover_id == number)).scalar_one()
        query = select(HANDOVER_EXCLUSIONS).where(HANDOVER_EXCLUSIONS.c.handover_id == number)
        exclusions = connection.execute(query).mappings().all()
    decisions = decisions_of_handover(log, number)
    logged = HandoverRequest(
        **{name: head[name] for name in ("day", "capacity", "explore", "value", "tenant", "control_share")},
        owner=head["owner"],
        dormant=bool(head["dormant"]),
        model=head["model"],
    )
    leads, waiting = (
        tuple(
            _handover_lead(row, decisions[row["decision_id"]])
            for row in table
            if row["decision_id"] in decisions
        )
        for table in (rows, reserve)
    )
    excluded, nobodys = (
        {row["reason"]: row["leads"] for row in exclusions if (row["owner"] == head["owner"]) == is_own}
        for is_own in (True, False)
    )
    counts = (head["open"], head["tied"], head["tied_taken"])
    return Handover(logged, *counts, leads, control, waiting, excluded, nobodys)


def _handover_lead(row: Mapping[Any, Any], decision: DecisionSummary) -> HandoverLead:
    explored, propensity = bool(row.get("explored")), row.get("propensity")
    return HandoverLead(row["rank"], decision, row["worth"], row["value"], explored, propensity)


def add_handover(
    connection: Connection,
    request: HandoverRequest,
    selection: Selection,
    observer: HandoverObserver | None = None,
) -> None:
    """Log a selection, without leads that were erased since it was made.

    Args:
        connection: A connection in a transaction.
        request: The parameters.
        selection: The leads.
        observer: Called in the same transaction with the rows of ``handed_over`` that were added.

    Raises:
        IntegrityError: Another process has logged one for the same request.
    """
    add_handovers(connection, [OwnerList(request, selection, {}, {})], observer)


def add_handovers(
    connection: Connection, lists: Sequence[OwnerList], observer: HandoverObserver | None = None
) -> None:
    """Log the selections of several lists, all or none, without leads that were erased since they were made.

    Args:
        connection: A connection in a transaction.
        lists: The selections.
        observer: Called in the same transaction with each request and the rows of ``handed_over`` that were
            added for it.

    Raises:
        IntegrityError: Another process has logged one of them.
    """
    lock_against_erasure(connection)
    for each in lists:
        _add_handover(connection, each, observer)


def _add_handover(connection: Connection, owner_list: OwnerList, observer: HandoverObserver | None) -> None:
    request, selection = owner_list.request, owner_list.selection
    head = _identity(request) | {
        "control_share": request.control_share,
        "open": selection.open,
        "tied": selection.tied,
        "tied_taken": selection.tied_taken,
    }
    number = connection.execute(insert(HANDOVERS).returning(HANDOVERS.c.id), [head]).scalar_one()
    rows_by_table = {
        HANDED_OVER: _lead_rows(number, selection.leads),
        CONTROL_LEADS: _lead_rows(number, selection.control),
        RESERVE_LEADS: [_candidate_row(number, rank, each) for rank, each in enumerate(selection.reserve, 1)],
    }
    for table, rows in rows_by_table.items():
        logged = _logged_decisions(connection, [row["decision_id"] for row in rows])
        if left := [row for row in rows if row["decision_id"] in logged]:
            connection.execute(insert(table), left)
            if table is HANDED_OVER and observer is not None:
                observer(connection, request, left)
    _add_exclusions(connection, number, owner_list)


def _add_exclusions(connection: Connection, number: int, owner_list: OwnerList) -> None:
    """Log how many leads were on no list."""
    request = owner_list.request
    counts = [(request.owner, each) for each in owner_list.excluded.items()]
    counts += [("", each) for each in owner_list.nobodys.items()]
    exclusions = [
        {"handover_id": number, "owner": owner, "reason": reason, "leads": leads}
        for owner, (reason, leads) in counts
    ]
    if exclusions:
        connection.execute(insert(HANDOVER_EXCLUSIONS), exclusions)


def _logged_decisions(connection: Connection, numbers: Sequence[int]) -> set[int]:
    """Which of these decisions are in the log still."""
    queries = (select(DECISIONS.c.id).where(DECISIONS.c.id.in_(batch)) for batch in _batches(numbers))
    return {number for query in queries for number in connection.execute(query).scalars()}


def _lead_rows(number: int, leads: Sequence[SelectedLead]) -> Sequence[dict[str, Any]]:
    return [
        _candidate_row(number, rank, lead.candidate)
        | {"explored": int(lead.explored), "propensity": lead.propensity}
        for rank, lead in enumerate(leads, 1)
    ]


def _candidate_row(number: int, rank: int, candidate: HandoverCandidate) -> dict[str, Any]:
    return {"handover_id": number, "rank": rank} | asdict(candidate)


def find_candidate(
    connection: Connection, lead_id: str, tenant: str, model: str = ""
) -> DecisionSummary | None:
    """The decision that a model ranks a lead by; None where there is none, or its lead was erased."""
    return next(decisions_by_number(connection, decision_of_lead(lead_id, tenant, model)), None)
