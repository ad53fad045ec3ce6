"""Every way in which the log changes, each on a connection whose transaction belongs to the caller."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from pydantic_core import to_json
from sqlalchemy import delete, insert, select

from features.clock import DAY
from models.explanation import Reason
from serving.decision_log.database import writing
from serving.decision_log.records import ErasedCounts
from serving.decision_log.tables import DECISIONS, ERASURES, HANDED_OVER, HANDOVERS, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from sqlalchemy import Column, ColumnElement, Connection, Engine

    from serving.decision_log.records import NewDecision, Outcome, OutcomeStatus, RequestInfo

_AT_ONCE = 1_000
# Knowing what it writes it takes half the time, and a hundred reasons cost more than the row.
_REASONS = TypeAdapter(tuple[Reason, ...])
# Built once: SQLAlchemy recognises a statement sooner than one that is like it.
_ADD = insert(DECISIONS)
_SAID = ("lead_id", "outcome", "reason", "occurred_at", "corrects")


def decision_rows(made: Iterable[NewDecision], occasion: RequestInfo, now: int) -> list[dict[str, Any]]:
    """Decisions as rows of their table. Numbers become the shortest text that reads back to the same bits."""
    about = {
        "decided_at": now,
        "request_id": occasion.request_id,
        "endpoint": occasion.endpoint,
        "key_id": occasion.key_id,
        "shadow": int(occasion.shadow),
        "explored": int(occasion.explored),
    }
    return [about | _decision(one) for one in made]


def _decision(made: NewDecision) -> dict[str, Any]:
    score = made.score
    return {
        "lead_id": score.lead_id,
        "as_of": score.as_of,
        "model_version": score.model_version,
        "probability": score.probability,
        "log_odds": score.log_odds,
        "points": score.points,
        "grade": score.grade,
        "insufficient": score.insufficient and score.insufficient.code,
        "row": to_json(made.row).decode(),
        "reasons": None if made.reasons is None else _REASONS.dump_json(made.reasons).decode(),
    }


def add_decisions(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows of ``decision_rows``."""
    if rows:
        connection.execute(_ADD, rows)


def add_outcomes(connection: Connection, outcomes: Sequence[Outcome], now: int) -> list[OutcomeStatus]:
    """Add what is new among ``outcomes`` and say of each, in order, what became of it.

    A key that is known counts as repeated if all else is the same. An outcome may correct one that has not
    arrived yet, so that order never matters; one of another lead it may not.
    """
    known = _stored(connection, outcomes)
    receipts: list[OutcomeStatus] = []
    fresh: list[dict[str, Any]] = []
    for one in outcomes:
        receipt = _receipt(one, known)
        if receipt == "recorded":
            fresh.append({name: getattr(one, name) for name in ("key", *_SAID)} | {"recorded_at": now})
            known[one.key] = fresh[-1]
        receipts.append(receipt)
    if fresh:
        connection.execute(insert(OUTCOMES), fresh)
    return receipts


def _stored(connection: Connection, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The records whose keys ``outcomes`` bear or name, by key."""
    keys = {one.key for one in outcomes} | {one.corrects for one in outcomes if one.corrects is not None}
    rows = connection.execute(select(OUTCOMES).where(OUTCOMES.c.key.in_(sorted(keys))))
    return {row["key"]: row for row in rows.mappings()}


def _receipt(one: Outcome, known: Mapping[str, Any]) -> OutcomeStatus:
    if one.key in known:
        same = all(known[one.key][name] == getattr(one, name) for name in _SAID)
        return "repeated" if same else "key_conflict"
    corrected = known.get(one.corrects or "")
    return "recorded" if corrected is None or corrected["lead_id"] == one.lead_id else "other_lead"


def erase(connection: Connection, lead_id: str, now: int) -> ErasedCounts:
    """Remove all that is held about a person; that something was removed stays, as numbers of a day."""
    erased = _remove(connection, DECISIONS.c.lead_id == lead_id, OUTCOMES.c.lead_id == lead_id)
    connection.execute(delete(HANDED_OVER).where(HANDED_OVER.c.lead_id == lead_id))
    if erased != ErasedCounts(0, 0):
        counts = {"decisions": erased.decisions, "outcomes": erased.outcomes}
        connection.execute(insert(ERASURES), [{"day": now - now % DAY} | counts])
    return erased


def prune(connection: Connection, before: int, most: int) -> ErasedCounts:
    """Remove what was logged before ``before``, of decisions and of outcomes at most ``most``."""
    _remove_handovers(connection, before)
    decisions = _oldest(DECISIONS.c.id, DECISIONS.c.decided_at < before, most)
    return _remove(connection, decisions, _oldest(OUTCOMES.c.id, OUTCOMES.c.recorded_at < before, most))


def _remove_handovers(connection: Connection, before: int) -> None:
    """Remove the hand-overs of days that were over before ``before``; they are few."""
    old = HANDOVERS.c.day + DAY <= before
    leads = HANDED_OVER.c.handover_id.in_(select(HANDOVERS.c.id).where(old))
    connection.execute(delete(HANDED_OVER).where(leads))
    connection.execute(delete(HANDOVERS).where(old))


def prune_in_batches(log: Engine, keep_days: int) -> ErasedCounts:
    """Remove all that was logged more than ``keep_days`` ago, a little at a time: others write meanwhile."""
    before, gone = int(time.time()) - keep_days * DAY, [ErasedCounts(_AT_ONCE, 0)]
    while max(gone[-1].decisions, gone[-1].outcomes) == _AT_ONCE:
        with writing(log).begin() as connection:
            gone.append(prune(connection, before, _AT_ONCE))
    return ErasedCounts(sum(one.decisions for one in gone[1:]), sum(one.outcomes for one in gone[1:]))


def probe_writable(connection: Connection) -> None:
    """Write and take it back: the log can be written if this can be committed."""
    nothing = [{"day": 0, "decisions": 0, "outcomes": 0}]
    connection.execute(insert(ERASURES), nothing)
    connection.execute(delete(ERASURES).where(ERASURES.c.decisions == 0, ERASURES.c.outcomes == 0))


def _oldest(number: Column[int], which: ColumnElement[bool], most: int) -> ColumnElement[bool]:
    return number.in_(select(number).where(which).limit(most))


def _remove(
    connection: Connection, decisions: ColumnElement[bool], outcomes: ColumnElement[bool]
) -> ErasedCounts:
    return ErasedCounts(
        connection.execute(delete(DECISIONS).where(decisions)).rowcount,
        connection.execute(delete(OUTCOMES).where(outcomes)).rowcount,
    )
