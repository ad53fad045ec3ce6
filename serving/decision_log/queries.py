"""Queries of the decision log, for monitoring, retraining, hand-over and the listing of a lead.

``log`` is what ``open_log`` returned; ``tenant`` limits a query to its records, "" means all tenants. Each
function yields records while it reads, so that a log of any size fits; a reader never keeps a writer waiting.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, literal, select, union_all

from serving.decision_log.overrides import action_on, overrides_by_lead
from serving.decision_log.records import Decision, DecisionSummary, Outcome
from serving.decision_log.standing_outcomes import counts, stands
from serving.decision_log.tables import (
    CONTROL_LEADS,
    CURRENT_SCORES,
    DECISIONS,
    ERASURES,
    HANDED_OVER,
    HANDOVERS,
    NAMED_SCORES,
    OUTCOMES,
    RESERVE_LEADS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, CompoundSelect, Connection, Engine, Select, Table


_FETCH_ROWS = 1_000
_SUMMARY_COLUMNS = [DECISIONS.c[field.name] for field in fields(DecisionSummary)]
_OUTCOME_COLUMNS = [OUTCOMES.c[field.name] for field in fields(Outcome)]
# The same id under two tenants is two leads.
_LEAD = (DECISIONS.c.tenant, DECISIONS.c.lead_id)


def decisions_of_lead(  # noqa: PLR0913, PLR0917  # a part of a listing, of whose lead, by which models
    log: Engine,
    lead_id: str,
    before: int | None = None,
    limit: int | None = None,
    tenant: str = "",
    models: Sequence[str] | None = None,
) -> Iterator[Decision]:
    """At most ``limit`` decisions about a lead, newest first; with ``before``, those with smaller ids.

    With ``models`` those of these alone, by their names; "" is the default one.
    """
    query = select(DECISIONS).where(DECISIONS.c.lead_id == lead_id, *_of(DECISIONS, tenant))
    query = query.order_by(DECISIONS.c.id.desc())
    if before is not None:
        query = query.where(DECISIONS.c.id < before)
    if models is not None:
        query = query.where(DECISIONS.c.model.in_(models))
    return map(_decision, _rows(log, query.limit(limit)))


def latest_decisions(log: Engine, tenant: str = "", model: str = "") -> Iterator[Decision]:
    """The newest decision about each lead by a model (no shadow), in the order of their ids.

    ``model`` is the name that requests ask for; "" is the default one.
    """
    return _chosen(log, func.max(DECISIONS.c.id), _LEAD, tenant, model)


def first_decisions(log: Engine, tenant: str = "", model: str = "") -> Iterator[Decision]:
    """A model's first decision about each lead at each as_of, in the order of their ids.

    Later ones about the same moment may know what a CRM has written over since, for example after the end.
    """
    return _chosen(log, func.min(DECISIONS.c.id), (*_LEAD, DECISIONS.c.as_of), tenant, model)


def _chosen(
    log: Engine, number: ColumnElement[int], per: tuple[Column[Any], ...], tenant: str, model: str
) -> Iterator[Decision]:
    numbers = select(number).where(*_answered_by(model), *_of(DECISIONS, tenant)).group_by(*per)
    query = select(DECISIONS).where(DECISIONS.c.id.in_(numbers)).order_by(DECISIONS.c.id)
    return map(_decision, _rows(log, query))


def _answered_by(model: str) -> tuple[ColumnElement[bool], ...]:
    """The decisions that a model answered with: those of others answer other questions."""
    return DECISIONS.c.shadow == 0, DECISIONS.c.model == model


def scores(log: Engine, since: int, until: int, *, shadow: bool = False) -> Iterator[DecisionSummary]:
    """The decisions of ``[since, until)`` by the default model, or with ``shadow`` by its challenger."""
    when = (DECISIONS.c.decided_at >= since) & (DECISIONS.c.decided_at < until)
    of_model = (DECISIONS.c.shadow == int(shadow)) & (DECISIONS.c.model == "")
    query = select(*_SUMMARY_COLUMNS).where(when, of_model).order_by(DECISIONS.c.id)
    return (DecisionSummary(**_flags(row)) for row in _rows(log, query))


def decisions_of_handover(log: Engine, handover_id: int) -> dict[int, DecisionSummary]:
    """The decisions about the leads of a list and its reserve, by their ids.

    ``as_of`` of each is the last moment as of which the lead had this score.
    """
    numbers = union_all(
        *(
            select(table.c.decision_id).where(table.c.handover_id == handover_id)
            for table in (HANDED_OVER, RESERVE_LEADS)
        )
    )
    with log.connect() as connection:
        # A score that was computed again and came out the same is as of then, though it is no new decision.
        own = DECISIONS.c.id.in_(numbers)
        both = union_all(*(_repeated(table).where(own) for table in (CURRENT_SCORES, NAMED_SCORES)))
        again: dict[int, int] = {row.id: row.as_of for row in connection.execute(both)}
        return {
            each.id: replace(each, as_of=max(each.as_of, again.get(each.id, each.as_of)))
            for each in decisions_by_number(connection, numbers)
        }


def _repeated(scores: Table) -> Select[Any]:
    """The decisions whose score came out the same again, and as of when it last did."""
    same = (
        (scores.c.lead_id == DECISIONS.c.lead_id)
        & (scores.c.tenant == DECISIONS.c.tenant)
        & (scores.c.decision_id == DECISIONS.c.id)
        & (scores.c.points == DECISIONS.c.points)
    )
    return select(DECISIONS.c.id, scores.c.as_of).join(scores, same)


def decisions_by_number(
    connection: Connection, numbers: Select[Any] | CompoundSelect[Any]
) -> Iterator[DecisionSummary]:
    """The decisions whose ids a query gives."""
    rows = connection.execute(select(*_SUMMARY_COLUMNS).where(DECISIONS.c.id.in_(numbers)))
    return (DecisionSummary(**_flags(row._asdict())) for row in rows)


def handed_over(log: Engine, tenant: str = "", model: str = "") -> Iterator[tuple[Decision, dict[str, Any]]]:
    """Every hand-over of a lead by a model: its decision, and what list and log know of it.

    That is ``propensity``, ``by_lot``, ``worth``, ``handover_id``, ``tenant``, ``first_decided_at``, when
    the lead was first scored, ``owner``, whose list it was ("": anybody's), and ``taken_off``, whether people
    had taken it off by the end of that day.
    """
    first = (
        select(DECISIONS.c.lead_id, DECISIONS.c.tenant, func.min(DECISIONS.c.decided_at).label("at"))
        .where(*_answered_by(model))
        .group_by(DECISIONS.c.lead_id, DECISIONS.c.tenant)
        .subquery()
    )
    listed = {
        "propensity": HANDED_OVER.c.propensity,
        "by_lot": HANDED_OVER.c.explored,
        "worth": HANDED_OVER.c.worth,
        "handover_id": HANDED_OVER.c.handover_id,
        "first_decided_at": func.coalesce(first.c.at, DECISIONS.c.decided_at),
        "owner": HANDOVERS.c.owner,
        "day": HANDOVERS.c.day,
    }
    overrides = overrides_by_lead(log, tenant, model)
    same = (first.c.lead_id == DECISIONS.c.lead_id) & (first.c.tenant == DECISIONS.c.tenant)
    query = (
        select(DECISIONS, *(column.label(f"listed_{name}") for name, column in listed.items()))
        .join(HANDED_OVER, HANDED_OVER.c.decision_id == DECISIONS.c.id)
        .outerjoin(HANDOVERS, HANDOVERS.c.id == HANDED_OVER.c.handover_id)
        .outerjoin(first, same)
        .where(*_of(DECISIONS, tenant), DECISIONS.c.model == model)
        .order_by(DECISIONS.c.id, HANDED_OVER.c.handover_id)
    )
    for row in _rows(log, query):
        entry = {name: row.pop(f"listed_{name}") for name in listed}
        day, own = entry.pop("day"), overrides.get((row["tenant"], row["lead_id"]), ())
        taken_off = day is not None and action_on(own, day) == "take_off"
        flags = {"by_lot": bool(entry["by_lot"]), "taken_off": taken_off}
        yield _decision(row), entry | flags | {"tenant": row["tenant"], "owner": entry["owner"] or ""}


def handover_lists(log: Engine, tenant: str = "", model: str = "") -> Iterator[dict[str, Any]]:
    """Every list of a model in the order of days.

    Each has its request and counts, and ``cut``, the worth of its last lead above.
    """
    cut = (
        select(HANDED_OVER.c.handover_id, func.min(HANDED_OVER.c.worth).label("cut"))
        .where(HANDED_OVER.c.explored == 0)
        .group_by(HANDED_OVER.c.handover_id)
        .subquery()
    )
    query = (
        select(HANDOVERS, cut.c.cut)
        .outerjoin(cut, cut.c.handover_id == HANDOVERS.c.id)
        .where(*_of(HANDOVERS, tenant), HANDOVERS.c.model == model)
        .order_by(HANDOVERS.c.day, HANDOVERS.c.id)
    )
    return _rows(log, query)


def lists_of_lead(log: Engine, lead_id: str, tenant: str = "") -> Iterator[dict[str, Any]]:
    """The lists that a lead was on or left off for the control group, in the order of their days.

    Each has ``day``, ``handed_over``, ``by_lot`` and ``model``, "" for the default one.
    """
    queries = (
        _arm(table, handed_over).where(table.c.lead_id == lead_id, *_of(table, tenant))
        for table, handed_over in ((HANDED_OVER, 1), (CONTROL_LEADS, 0))
    )
    both = union_all(*queries).subquery()
    columns = (both.c[name] for name in ("day", "handed_over", "by_lot", "model"))
    query = select(*columns).order_by(both.c.day, both.c.handover_id)
    return _rows(log, query)


def experiment_entries(log: Engine, model: str = "") -> Iterator[tuple[Decision, dict[str, Any]]]:
    """The decision about each lead of a model's list or of its control group, in the order of the lists.

    With it ``day``, ``handed_over``, ``by_lot`` and ``control_share``.
    """
    arms = ((HANDED_OVER, 1), (CONTROL_LEADS, 0))
    both = union_all(*(_arm(table, handed_over) for table, handed_over in arms)).subquery()
    names = ("day", "handed_over", "by_lot", "control_share")
    query = (
        select(DECISIONS, *(both.c[name] for name in names))
        .join(both, both.c.decision_id == DECISIONS.c.id)
        .where(DECISIONS.c.model == model)
        .order_by(both.c.handover_id, both.c.handed_over, both.c.rank)
    )
    for row in _rows(log, query):
        entry = {name: row.pop(name) for name in names}
        yield _decision(row), entry


def _arm(table: Table, handed_over: int) -> Select[Any]:
    own = (table.c.handover_id, table.c.rank, table.c.decision_id, table.c.explored.label("by_lot"))
    of_list = (HANDOVERS.c[name] for name in ("day", "control_share", "model"))
    shared = (*of_list, literal(handed_over).label("handed_over"))
    return select(*own, *shared).join(HANDOVERS, HANDOVERS.c.id == table.c.handover_id)


def model_names(log: Engine, model_version: str | None = None) -> list[str]:
    """The names that models answered under, or that a version did; "", the default model's, first."""
    own = [] if model_version is None else [DECISIONS.c.model_version == model_version]
    query = select(DECISIONS.c.model).where(DECISIONS.c.shadow == 0, *own).distinct()
    query = query.order_by(DECISIONS.c.model)
    with log.connect() as connection:
        return list(connection.execute(query).scalars())


def decisions_of_model(log: Engine, model_version: str) -> Iterator[Decision]:
    """Every decision of one version of a model, shadow or not."""
    return map(_decision, _rows(log, select(DECISIONS).where(DECISIONS.c.model_version == model_version)))


def outcomes(log: Engine, lead_id: str | None = None, tenant: str = "", model: str = "") -> Iterator[Outcome]:
    """The outcomes that answer a model's question, by ``occurred_at``, without those corrected or withdrawn.

    Of a named model these are those that ``serving.decision_log.standing_outcomes.counts`` for it.
    """
    query = select(*_OUTCOME_COLUMNS).where(stands(), counts(model), *_of(OUTCOMES, tenant))
    return _outcomes(log, query if lead_id is None else query.where(OUTCOMES.c.lead_id == lead_id))


def outcome_history(log: Engine, lead_id: str, tenant: str = "") -> Iterator[Outcome]:
    """All outcomes reported about a lead, by ``occurred_at``, with those that were corrected."""
    own = (OUTCOMES.c.lead_id == lead_id, *_of(OUTCOMES, tenant))
    return _outcomes(log, select(*_OUTCOME_COLUMNS).where(*own))


def _of(table: Table, tenant: str) -> list[ColumnElement[bool]]:
    return [table.c.tenant == tenant] if tenant else []


def stats(log: Engine) -> dict[str, Any]:
    """Counts of what the log holds, as ``log stats`` prints them; nothing in them identifies a lead."""
    counts = select(func.count(), func.count(DECISIONS.c.lead_id.distinct())).select_from(DECISIONS)
    span = counts.add_columns(func.min(DECISIONS.c.decided_at), func.max(DECISIONS.c.decided_at))
    gone = select(func.count(), func.sum(ERASURES.c.decisions), func.sum(ERASURES.c.outcomes))
    with log.connect() as connection:
        number, leads, first, last = connection.execute(span).one()
        erasures, decisions_gone, outcomes_gone = connection.execute(gone).one()
        return {
            "decisions": number,
            "leads": leads,
            "first_decided_at": first,
            "last_decided_at": last,
            "by_model": _counts(connection, DECISIONS.c.model_version),
            "outcomes": _counts(connection, OUTCOMES.c.outcome),
            "erasures": erasures,
            "erased": {"decisions": int(decisions_gone or 0), "outcomes": int(outcomes_gone or 0)},
        }


def _counts(connection: Connection, column: Column[str]) -> dict[str, int]:
    counts = connection.execute(select(column, func.count()).group_by(column).order_by(column))
    return {str(value): int(number) for value, number in counts}


def _outcomes(log: Engine, query: Select[Any]) -> Iterator[Outcome]:
    ordered = query.order_by(OUTCOMES.c.occurred_at, OUTCOMES.c.id)
    return (Outcome(**row) for row in _rows(log, ordered))


def _rows(log: Engine, query: Select[Any]) -> Iterator[dict[str, Any]]:
    streaming = log.execution_options(yield_per=_FETCH_ROWS)
    with streaming.connect() as connection, connection.execute(query) as rows:
        yield from (row._asdict() for row in rows)


def _flags(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its flags as booleans, which SQLite does not have."""
    return {**row, "shadow": bool(row["shadow"]), "explored": bool(row["explored"])}


def _decision(row: Mapping[str, Any]) -> Decision:
    reasons = None if row["reasons"] is None else json.loads(row["reasons"])
    return Decision(**_flags(row) | {"row": json.loads(row["row"]), "reasons": reasons})
