"""The statements that change the decision log; the transaction belongs to the caller."""

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

_BATCH_ROWS = 1_000
# Knowing what it writes it takes half the time, and a hundred reasons cost more than the row.
_REASONS = TypeAdapter(tuple[Reason, ...])
# Built once: SQLAlchemy recognises a statement sooner than one that is like it.
_ADD = insert(DECISIONS)
_CONTENT = ("lead_id", "outcome", "reason", "occurred_at", "corrects")


def decision_rows(decisions: Iterable[NewDecision], request: RequestInfo, now: int) -> list[dict[str, Any]]:
    """Decisions as rows of their table; the feature row as JSON whose numbers read back to the same bits."""
    shared = {
        "decided_at": now,
        "request_id": request.request_id,
        "endpoint": request.endpoint,
        "key_id": request.key_id,
        "shadow": int(request.shadow),
        "explored": int(request.explored),
    }
    return [shared | _decision_row(decision) for decision in decisions]


def _decision_row(decision: NewDecision) -> dict[str, Any]:
    score = decision.score
    return {
        "lead_id": score.lead_id,
        "as_of": score.as_of,
        "model_version": score.model_version,
        "probability": score.probability,
        "log_odds": score.log_odds,
        "points": score.points,
        "grade": score.grade,
        "insufficient": score.insufficient and score.insufficient.code,
        "row": to_json(decision.row).decode(),
        "reasons": None if decision.reasons is None else _REASONS.dump_json(decision.reasons).decode(),
    }


def add_decisions(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows of ``decision_rows``."""
    if rows:
        connection.execute(_ADD, rows)


def add_outcomes(connection: Connection, outcomes: Sequence[Outcome], now: int) -> list[OutcomeStatus]:
    """Add outcomes that are not in the log yet; the status of each, in their order.

    A key that is known counts as repeated if all else is the same. An outcome may correct one that has not
    arrived yet, so that order never matters; one of another lead it may not.
    """
    known = _known_outcomes(connection, outcomes)
    statuses: list[OutcomeStatus] = []
    fresh: list[dict[str, Any]] = []
    for outcome in outcomes:
        status = _outcome_status(outcome, known)
        if status == "recorded":
            fresh.append({name: getattr(outcome, name) for name in ("key", *_CONTENT)} | {"recorded_at": now})
            known[outcome.key] = fresh[-1]
        statuses.append(status)
    if fresh:
        connection.execute(insert(OUTCOMES), fresh)
    return statuses


def _known_outcomes(connection: Connection, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The logged outcomes whose keys are those of ``outcomes``, or of what they correct, by key."""
    keys = {outcome.key for outcome in outcomes} | {
        outcome.corrects for outcome in outcomes if outcome.corrects is not None
    }
    rows = connection.execute(select(OUTCOMES).where(OUTCOMES.c.key.in_(sorted(keys))))
    return {row["key"]: row for row in rows.mappings()}


def _outcome_status(outcome: Outcome, known: Mapping[str, Any]) -> OutcomeStatus:
    if outcome.key in known:
        same = all(known[outcome.key][name] == getattr(outcome, name) for name in _CONTENT)
        return "repeated" if same else "key_conflict"
    corrected = known.get(outcome.corrects or "")
    return "recorded" if corrected is None or corrected["lead_id"] == outcome.lead_id else "other_lead"


def erase(connection: Connection, lead_id: str, now: int) -> ErasedCounts:
    """Delete all records of a lead; only the counts of the day remain."""
    erased = _remove(connection, DECISIONS.c.lead_id == lead_id, OUTCOMES.c.lead_id == lead_id)
    connection.execute(delete(HANDED_OVER).where(HANDED_OVER.c.lead_id == lead_id))
    if erased != ErasedCounts(0, 0):
        counts = {"decisions": erased.decisions, "outcomes": erased.outcomes}
        connection.execute(insert(ERASURES), [{"day": now - now % DAY} | counts])
    return erased


def prune(connection: Connection, before: int, most: int) -> ErasedCounts:
    """Delete at most ``most`` decisions and ``most`` outcomes that were logged before ``before``."""
    _remove_handovers(connection, before)
    decisions = _oldest(DECISIONS.c.id, DECISIONS.c.decided_at < before, most)
    return _remove(connection, decisions, _oldest(OUTCOMES.c.id, OUTCOMES.c.recorded_at < before, most))


def _remove_handovers(connection: Connection, before: int) -> None:
    """Delete the hand-overs of days that ended at or before ``before``."""
    old = HANDOVERS.c.day + DAY <= before
    leads = HANDED_OVER.c.handover_id.in_(select(HANDOVERS.c.id).where(old))
    connection.execute(delete(HANDED_OVER).where(leads))
    connection.execute(delete(HANDOVERS).where(old))


def prune_in_batches(log: Engine, keep_days: int) -> ErasedCounts:
    """Delete all records older than ``keep_days``, in transactions of 1,000 between which others write."""
    before, batches = int(time.time()) - keep_days * DAY, [ErasedCounts(_BATCH_ROWS, 0)]
    while max(batches[-1].decisions, batches[-1].outcomes) == _BATCH_ROWS:
        with writing(log).begin() as connection:
            batches.append(prune(connection, before, _BATCH_ROWS))
    return ErasedCounts(
        sum(counts.decisions for counts in batches[1:]), sum(counts.outcomes for counts in batches[1:])
    )


def probe_writable(connection: Connection) -> None:
    """Insert a row and delete it: the log can be written if this can be committed."""
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
