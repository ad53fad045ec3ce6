"""Writes current scores: with what changed of them, in one transaction.

A score whose grade, state or model is another one than at the last decision about the lead is a decision, and
so is one that has moved by a step since then (``_STEPS``): it is logged, and the lead is ranked by it for
hand-overs. One that moved by less is written over the earlier one and is no decision of its own. The history
of the score gets a point whenever people would see another one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.clock import HOUR
from serving.current_scores.records import CurrentScore
from serving.decision_log.database import DriverStatement, ListStatement
from serving.decision_log.erasure import erased_since, lock_against_erasure
from serving.decision_log.ranks import close_by_stage
from serving.decision_log.records import RequestInfo
from serving.decision_log.score_queue import remove_queued
from serving.decision_log.statements import add_decisions, decision_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from serving.decision_log.records import NewDecision
    from serving.decision_log.score_queue import QueuedLead

    OnChange = Callable[[Connection, CurrentScore | None, CurrentScore], object]

# The endpoint of decisions that nobody asked for.
RESCORE = "rescore"
# Points by which a score must have moved since the last decision about the lead to be one itself. Leads that
# could be called are ranked by every point; of the many others each day's ageing would fill the log.
_STEPS, _STEP = {"A": 1, "B": 1}, 5
_COLUMNS = CurrentScore._fields


def _writes(table: str, key: Sequence[str]) -> DriverStatement:
    changed = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in key)
    return DriverStatement(
        f"INSERT INTO {table} ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed} "
        # Of two who score the same lead the later one is right.
        f"WHERE excluded.as_of >= {table}.as_of"
    )


_WRITE = _writes("current_scores", ("lead_id", "tenant"))
_WRITE_NAMED = _writes("named_scores", ("lead_id", "tenant", "model"))
_REMEMBER = DriverStatement(
    "INSERT INTO score_history "
    "(lead_id, tenant, model, hour, as_of, probability, points, grade, model_version) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (lead_id, tenant, model, hour) DO UPDATE SET "
    "as_of = excluded.as_of, probability = excluded.probability, points = excluded.points, "
    "grade = excluded.grade, model_version = excluded.model_version "
    "WHERE excluded.as_of >= score_history.as_of"
)
_REMOVE = tuple(
    DriverStatement(f"DELETE FROM {table} WHERE lead_id = ? AND tenant = ?")  # noqa: S608
    for table in ("current_scores", "named_scores")
)


@dataclass(frozen=True, slots=True)
class ScoredLead:
    """A lead that was scored.

    Attributes:
        current: Its current score.
        decide: Makes the decision to log where the score changed, which most do not; None without a number.
    """

    current: CurrentScore
    decide: Callable[[], NewDecision] | None = None


@dataclass(frozen=True, slots=True)
class ScoreUpdate:
    """What a chunk of leads was scored to.

    Attributes:
        scored: The scores, all by the same model.
        read_at: When the events that they were computed from were read, in epoch seconds; leads that were
            erased since are left out.
        gone: Tenant and id of leads that the store no longer has.
        queued: The rows of the queue that are done by this.
    """

    scored: Sequence[ScoredLead]
    read_at: float
    gone: Sequence[tuple[str, str]] = ()
    queued: Sequence[QueuedLead] = ()


def write_scores(connection: Connection, update: ScoreUpdate, hooks: Sequence[OnChange] = ()) -> int:
    """Write current scores, and log as decisions those that changed.

    Args:
        connection: A connection in a transaction.
        update: The scores.
        hooks: Called with the connection, the score before (None without one) and the score, of each lead
            whose probability, grade, state or model is another one.

    Returns:
        How many decisions were logged.
    """
    lock_against_erasure(connection)
    ordered = sorted(update.scored, key=lambda each: (each.current.tenant, each.current.lead_id))
    leads = [(each.current.tenant, each.current.lead_id) for each in ordered]
    erased = erased_since(connection, leads, update.read_at)
    ordered = [each for each, lead in zip(ordered, leads, strict=True) if lead not in erased]
    before = _scores_before(connection, ordered)
    pairs = [(before.get((each.current.tenant, each.current.lead_id)), each) for each in ordered]
    # A score as of a later moment than this one is there already: another worker was faster.
    pairs = [pair for pair in pairs if pair[0] is None or pair[0].as_of <= pair[1].current.as_of]
    changes, logged = _log_changes(connection, pairs, update.read_at)
    _write(connection, changes)
    remove_queued(connection, update.queued)
    _remove(connection, update.gone)
    _remember(connection, changes)
    # The ranks are those of the default model.
    _close(connection, [change for change in changes if not change[1].model], update.gone)
    for earlier, current in changes:
        if _has_moved(earlier, current):
            for hook in hooks:
                hook(connection, earlier, current)
    return logged


def _scores_before(
    connection: Connection, scored: Sequence[ScoredLead]
) -> Mapping[tuple[str, str], CurrentScore]:
    """The current scores of leads as they are so far."""
    by_tenant = defaultdict[tuple[str, str], list[str]](list)
    for each in scored:
        by_tenant[each.current.tenant, each.current.model].append(each.current.lead_id)
    rows = (
        row
        for (tenant, model), lead_ids in by_tenant.items()
        for statement in [_BEFORE_NAMED if model else _BEFORE]
        for row in statement.rows(connection, tenant, model, among=lead_ids)
    )
    return {(score.tenant, score.lead_id): score for score in map(CurrentScore.from_values, rows)}


_BEFORE, _BEFORE_NAMED = (
    ListStatement(
        f"SELECT {', '.join(_COLUMNS)} FROM {table} WHERE tenant = ? AND model = ? AND lead_id IN {{values}}"  # noqa: S608
    )
    for table in ("current_scores", "named_scores")
)


def _log_changes(
    connection: Connection, pairs: Sequence[tuple[CurrentScore | None, ScoredLead]], read_at: float
) -> tuple[list[tuple[CurrentScore | None, CurrentScore]], int]:
    """The scores with the numbers of their decisions, new ones where they changed; how many were logged."""
    changed = [
        (place, each.decide, each.current)
        for place, (before, each) in enumerate(pairs)
        if each.decide is not None and _is_decision(before, each.current)
    ]
    entries = [
        entry
        for _, decide, current in changed
        for request in [RequestInfo(RESCORE, tenant=current.tenant, received_at=read_at, model=current.model)]
        for entry in decision_rows([decide()], request, int(read_at))
    ]
    numbers = dict(zip((place for place, *_ in changed), add_decisions(connection, entries), strict=True))
    numbered = [
        (before, _numbered(before, each, numbers.get(place))) for place, (before, each) in enumerate(pairs)
    ]
    return numbered, len(changed)


def _numbered(before: CurrentScore | None, scored: ScoredLead, decision: int | None) -> CurrentScore:
    """The score with its decision and since when it is so."""
    current = scored.current
    points = None if decision is None else current.points
    if decision is None and before is not None and scored.decide is not None:
        decision, points = before.decision_id, before.decided_points
    changed_at = current.as_of if before is None or _looks_different(before, current) else before.changed_at
    return current._replace(decision_id=decision, decided_points=points, changed_at=changed_at)


def _is_decision(before: CurrentScore | None, current: CurrentScore) -> bool:
    if before is None or before.decision_id is None:
        return True
    return (
        before.model_version != current.model_version
        or before.grade != current.grade
        or before.state != current.state
        or before.insufficient != current.insufficient
        or _has_stepped(before.decided_points, current)
    )


def _has_stepped(decided: int | None, current: CurrentScore) -> bool:
    """Whether the points are a step away from those of the last decision; without a number they never are."""
    if current.points is None:
        return False
    return decided is None or abs(current.points - decided) >= _STEPS.get(current.grade or "", _STEP)


def _looks_different(before: CurrentScore, current: CurrentScore) -> bool:
    """Whether people would see another score: another grade, other points, or another state."""
    return (before.grade, before.points, before.state, before.insufficient) != (
        current.grade,
        current.points,
        current.state,
        current.insufficient,
    )


def _has_moved(before: CurrentScore | None, current: CurrentScore) -> bool:
    return (
        before is None
        or _looks_different(before, current)
        or ((before.probability, before.model_version) != (current.probability, current.model_version))
    )


def _write(connection: Connection, changes: Sequence[tuple[CurrentScore | None, CurrentScore]]) -> None:
    rows = [current.values for _, current in changes]
    if rows:
        statement = _WRITE_NAMED if changes[0][1].model else _WRITE
        statement.execute_many(connection, rows)


def _remember(connection: Connection, changes: Iterable[tuple[CurrentScore | None, CurrentScore]]) -> None:
    rows = [
        (
            *(each.lead_id, each.tenant, each.model, each.as_of // HOUR, each.as_of),
            *(each.probability, each.points, each.grade, each.model_version),
        )
        for before, each in changes
        if each.probability is not None and _is_new_point(before, each)
    ]
    if rows:
        _REMEMBER.execute_many(connection, rows)


def _is_new_point(before: CurrentScore | None, current: CurrentScore) -> bool:
    return (
        before is None or before.model_version != current.model_version or _looks_different(before, current)
    )


def _remove(connection: Connection, gone: Iterable[tuple[str, str]]) -> None:
    if vanished := sorted(set(gone)):
        for statement in _REMOVE:
            statement.execute_many(connection, [(lead_id, tenant) for tenant, lead_id in vanished])


def _close(
    connection: Connection,
    changes: Iterable[tuple[CurrentScore | None, CurrentScore]],
    gone: Iterable[tuple[str, str]],
) -> None:
    """Take closed leads, and those that are gone, off the ranks of hand-overs; put opened ones back."""
    vanished = sorted(set(gone))
    closed = [(each.tenant, each.lead_id) for _, each in changes if each.state == "closed"]
    opened = [
        (each.tenant, each.lead_id)
        for before, each in changes
        if each.state != "closed" and (before is None or before.state == "closed")
    ]
    close_by_stage(connection, [*closed, *vanished], opened)
