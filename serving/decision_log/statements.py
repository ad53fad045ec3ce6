"""The statements that change the decision log; the transaction belongs to the caller."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from pydantic_core import to_json
from sqlalchemy import delete, insert, or_, select, text, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from features.clock import DAY, HOUR
from models.explanation import Reason
from serving.decision_log import lead_events, ranks
from serving.decision_log.database import DriverStatement, writing
from serving.decision_log.erasure import (
    erased_since,
    forget_erasures,
    lock_against_erasure,
    recent_erasures,
    refuse_late_record,
    register_erasure,
)
from serving.decision_log.overrides import prune_overrides
from serving.decision_log.records import WITHDRAWN, ErasedCounts
from serving.decision_log.retention import RetentionClock, trust
from serving.decision_log.score_queue import queue_scored_leads
from serving.decision_log.settings import LogError
from serving.decision_log.tables import (
    CONTROL_LEADS,
    CURRENT_SCORES,
    DECISIONS,
    ERASURES,
    HANDED_OVER,
    HANDOVER_EXCLUSIONS,
    HANDOVER_OVERRIDES,
    HANDOVERS,
    IDEMPOTENT_ANSWER_LEADS,
    IDEMPOTENT_ANSWERS,
    LEAD_RANKS,
    NAMED_SCORES,
    OUTCOMES,
    RESERVE_LEADS,
    SCORE_HISTORY,
    SCORE_QUEUE,
    WEBHOOK_MESSAGES,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any

    from sqlalchemy import Connection, Engine, Table

    from serving.decision_log.records import NewDecision, Outcome, OutcomeStatus, RequestInfo

_BATCH_ROWS = 1_000
# The leads of a hand-over: on its list, left out of it by chance, and next to it.
HANDOVER_TABLES = (HANDED_OVER, CONTROL_LEADS, RESERVE_LEADS)
# Knowing what it writes it takes half the time, and a hundred reasons cost more than the row.
_REASONS = TypeAdapter(tuple[Reason, ...])
_CONTENT = ("lead_id", "outcome", "reason", "occurred_at", "corrects", "model")
# What is written with every answer goes to the driver as it is: translating it takes longer than SQLite.
_COLUMNS = (
    *("id", "decided_at", "request_id", "lead_id", "as_of", "endpoint", "model_version", "probability"),
    *(
        "log_odds",
        "points",
        "grade",
        "row",
        "reasons",
        "key_id",
        "shadow",
        "explored",
        "insufficient",
        "tenant",
        "model",
    ),
)
_ADD = DriverStatement(
    "INSERT INTO decisions ("  # noqa: S608
    + ", ".join(f'"{name}"' for name in _COLUMNS)
    + f") VALUES ({', '.join('?' * len(_COLUMNS))})"
)
# The numbers of new decisions are taken before they are added: their leads' ranks are written with them.
_LAST_NUMBER = "(SELECT seq FROM sqlite_sequence WHERE name = 'decisions')"
_NEXT_NUMBERS = DriverStatement(
    "SELECT nextval(pg_get_serial_sequence('decisions', 'id')) FROM generate_series(1, ?)"
)
# What nearly always is nothing, in one question: the last number on SQLite, erasures, and values to rank by.
_STATE = "(SELECT count(*) FROM erased_leads), (SELECT count(*) FROM ranked_values)"
# Any two numbers that nobody else locks in the same database; these are "lead" and "fix" in ASCII.
_CORRECTING = text(f"SELECT pg_advisory_xact_lock({0x6C656164}, {0x666978})")


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """A decision on its way into the log: its columns but the id, and what they were made from."""

    columns: tuple[Any, ...]
    decision: NewDecision
    request: RequestInfo


def decision_rows(decisions: Iterable[NewDecision], request: RequestInfo, now: int) -> list[DecisionEntry]:
    """Decisions as entries; the feature row as JSON whose numbers read back to the same bits."""
    flags = (int(request.shadow), int(request.explored))
    return [
        DecisionEntry(_columns(decision, request, flags, now), decision, request) for decision in decisions
    ]


def _columns(
    decision: NewDecision, request: RequestInfo, flags: tuple[int, int], now: int
) -> tuple[Any, ...]:
    """The columns of a decision in the order of ``_COLUMNS``."""
    score = decision.score
    return (
        now,
        request.request_id,
        score.lead_id,
        score.as_of,
        request.endpoint,
        score.model_version,
        score.probability,
        score.log_odds,
        score.points,
        score.grade,
        to_json(decision.row).decode(),
        None if decision.reasons is None else _REASONS.dump_json(decision.reasons).decode(),
        request.key_id,
        *flags,
        score.insufficient and score.insufficient.code,
        request.tenant,
        request.model,
    )


def add_decisions(connection: Connection, entries: Sequence[DecisionEntry]) -> list[int | None]:
    """Add entries of ``decision_rows``, except of leads that were erased after their request came.

    Returns the number of each in the log; None of those that were left out.
    """
    if not entries:
        return []
    refuse_late_record(min(entry.request.received_at for entry in entries))
    lock_against_erasure(connection)
    number, erasures, values = _read_state(connection)
    remaining = _without_erased(connection, entries) if erasures else entries
    if not remaining:
        return [None] * len(entries)
    numbers = _new_numbers(connection, number, len(remaining))
    numbered = list(zip(numbers, remaining, strict=True))
    _ADD.execute_many(connection, [(number, *entry.columns) for number, entry in numbered])
    answered = (
        (_rank(number, entry), entry.decision.row)
        for number, entry in numbered
        if not entry.request.shadow and not entry.request.model
    )
    ranks.rank_leads(connection, answered, by_values=bool(values))
    if len(remaining) == len(entries):
        return list(numbers)
    by_entry = {id(entry): number for number, entry in numbered}
    return [by_entry.get(id(entry)) for entry in entries]


def _rank(number: int, entry: DecisionEntry) -> ranks.Rank:
    score = entry.decision.score
    why = None if score.insufficient is None else score.insufficient.code
    return ranks.Rank.of(
        {
            "tenant": entry.request.tenant,
            "lead_id": score.lead_id,
            "id": number,
            "probability": score.probability,
            "insufficient": why,
        }
    )


def _read_state(connection: Connection) -> tuple[int, int, int]:
    """The number of the last decision (on SQLite), and how many erasures and ranked values there are."""
    number = "0" if connection.dialect.name == "postgresql" else _LAST_NUMBER
    last, erasures, values = connection.exec_driver_sql(f"SELECT {number}, {_STATE}").one()
    return last or 0, erasures, values


def _without_erased(connection: Connection, entries: Sequence[DecisionEntry]) -> Sequence[DecisionEntry]:
    erasures = recent_erasures(connection)
    return [
        entry
        for entry in entries
        if erasures is None
        or not erasures.cover(entry.request.tenant, entry.decision.score.lead_id, entry.request.received_at)
    ]


def _new_numbers(connection: Connection, last: int, count: int) -> Sequence[int]:
    """Ids that no other row has had: on SQLite the write lock is held, PostgreSQL hands them out."""
    if connection.dialect.name == "postgresql":
        return sorted(number for (number,) in _NEXT_NUMBERS.execute(connection, (count,)))
    return range(last + 1, last + 1 + count)


def add_outcomes(
    connection: Connection, outcomes: Sequence[Outcome], now: int, received_at: float | None = None
) -> list[OutcomeStatus]:
    """Add outcomes that are not in the log yet, and close their leads; the status of each, in their order.

    Those of leads that were erased since ``received_at`` are as good as recorded and erased: they are left
    out.

    A key that is known to its tenant counts as repeated if all else is the same. An outcome may correct one
    that has not arrived yet, so that order never matters; one of another lead it may not, nor one that
    corrects it in turn.
    """
    if connection.dialect.name == "postgresql" and any(outcome.corrects for outcome in outcomes):
        # Of two workers each would add half of a circle.
        connection.execute(_CORRECTING)
    lock_against_erasure(connection)
    statuses, fresh = _judge_outcomes(connection, outcomes, now)
    if received_at is not None:
        leads = {(row["tenant"], row["lead_id"]) for row in fresh}
        erased = erased_since(connection, leads, received_at)
        fresh = [row for row in fresh if (row["tenant"], row["lead_id"]) not in erased]
    added = _insert_outcomes(connection, fresh)
    if len(added) < len(fresh):
        # Another worker was faster.
        again, _ = _judge_outcomes(connection, outcomes, now)
        late = {(row["tenant"], row["key"]) for row in fresh} - added
        statuses = [
            later if (outcome.tenant, outcome.key) in late else status
            for outcome, status, later in zip(outcomes, statuses, again, strict=True)
        ]
    reported = {(row["tenant"], row["lead_id"]) for row in fresh}
    # The ranks are those of the default model; a correction may take an outcome to another model, or back.
    ranks.close_leads(connection, {(row["tenant"], row["lead_id"]) for row in fresh if not row["model"]})
    ranks.reopen_leads(connection, _perhaps_open(connection, reported))
    queue_scored_leads(connection, sorted(reported))
    return statuses


def _perhaps_open(connection: Connection, leads: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of some leads that a withdrawal, or a correction of a named model, may have left open."""
    if not leads:
        return []
    columns = (OUTCOMES.c.tenant, OUTCOMES.c.lead_id)
    query = select(*columns).where(
        or_(OUTCOMES.c.outcome == WITHDRAWN, OUTCOMES.c.model != ""),
        OUTCOMES.c.lead_id.in_(sorted({lead_id for _, lead_id in leads})),
    )
    return [lead for row in connection.execute(query) if (lead := (row[0], row[1])) in leads]


def _judge_outcomes(
    connection: Connection, outcomes: Sequence[Outcome], now: int
) -> tuple[list[OutcomeStatus], list[dict[str, Any]]]:
    """The status of each outcome, and the rows of those that are to be added."""
    known = _known_outcomes(connection, outcomes)
    statuses: list[OutcomeStatus] = []
    fresh: list[dict[str, Any]] = []
    for outcome in outcomes:
        status = _outcome_status(outcome, known)
        if status == "recorded":
            columns = ("tenant", "key", *_CONTENT, "decided_by")
            fresh.append({name: getattr(outcome, name) for name in columns} | {"recorded_at": now})
            known[outcome.tenant, outcome.key] = fresh[-1]
        statuses.append(status)
    return statuses, fresh


def _known_outcomes(
    connection: Connection, outcomes: Sequence[Outcome]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The logged outcomes with the keys of ``outcomes``, and all that these correct in turn."""
    known: dict[tuple[str, str], Mapping[str, Any]] = {}
    for tenant in {outcome.tenant for outcome in outcomes}:
        own = [outcome for outcome in outcomes if outcome.tenant == tenant]
        keys = {outcome.key for outcome in own} | {
            outcome.corrects for outcome in own if outcome.corrects is not None
        }
        first = select(OUTCOMES).where(OUTCOMES.c.tenant == tenant, OUTCOMES.c.key.in_(sorted(keys)))
        chain = first.cte("chain", recursive=True)
        later = select(OUTCOMES).where(OUTCOMES.c.tenant == tenant, OUTCOMES.c.key == chain.c.corrects)
        rows = connection.execute(select(chain.union(later))).mappings()
        known |= {(tenant, row["key"]): dict(row) for row in rows}
    return known


def _outcome_status(outcome: Outcome, known: Mapping[tuple[str, str], Mapping[str, Any]]) -> OutcomeStatus:
    logged = known.get((outcome.tenant, outcome.key))
    if logged is not None:
        same = all(logged[name] == getattr(outcome, name) for name in _CONTENT)
        return "repeated" if same else "key_conflict"
    corrected = known.get((outcome.tenant, outcome.corrects or ""))
    if corrected is not None and corrected["lead_id"] != outcome.lead_id:
        return "other_lead"
    return "circle" if _closes_circle(outcome, known) else "recorded"


def _closes_circle(outcome: Outcome, known: Mapping[tuple[str, str], Mapping[str, Any]]) -> bool:
    """Whether an outcome corrects one that corrects it in turn, by however many steps."""
    key = outcome.corrects
    passed: set[str] = set()
    while key is not None and key != outcome.key and key not in passed:
        passed.add(key)
        corrected = known.get((outcome.tenant, key))
        key = None if corrected is None else corrected["corrects"]
    return key == outcome.key


def _insert_outcomes(connection: Connection, rows: Sequence[dict[str, Any]]) -> set[tuple[str, str]]:
    """Add rows in the order of their keys; the keys of those that no other worker has added meanwhile."""
    if not rows:
        return set()
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = (
        dialect.insert(OUTCOMES)
        .on_conflict_do_nothing(index_elements=["tenant", "key"])
        .returning(OUTCOMES.c.tenant, OUTCOMES.c.key)
    )
    ordered = sorted(rows, key=lambda row: (row["tenant"], row["key"]))
    return {(row.tenant, row.key) for row in connection.execute(statement, ordered)}


def erase(
    connection: Connection, lead_id: str, now: int, tenant: str = "", known_at: int | None = None
) -> ErasedCounts:
    """Delete all records of a lead and of those it was merged with; only the counts of the day remain.

    And a hash, by which events of it are refused from then on, unless it consents later than ``known_at``
    (default: ``now``).

    With a tenant only its own records of the lead, with "" those of all tenants. Decisions of requests that
    came before, which are still to be written, will be left out.
    """
    parts = [
        _erase_id(connection, each, now if known_at is None else known_at, label)
        for label, ids in sorted(lead_events.ids_of_person(connection, lead_id, tenant).items())
        for each in sorted(ids)
    ]
    erased = ErasedCounts(
        sum(part.decisions for part in parts),
        sum(part.outcomes for part in parts),
        sum(part.events for part in parts),
    )
    if erased.decisions or erased.outcomes:
        counts = {"decisions": erased.decisions, "outcomes": erased.outcomes}
        connection.execute(insert(ERASURES), [{"day": now - now % DAY} | counts])
    return erased


def _erase_id(connection: Connection, lead_id: str, known_at: int, tenant: str) -> ErasedCounts:
    """Delete all records under one id of a person; how many there were."""
    register_erasure(connection, lead_id, tenant)
    _erase_answers(connection, lead_id, tenant)
    decisions, outcomes, *_ = [
        connection.execute(delete(table).where(*_of_lead(table, lead_id, tenant))).rowcount
        for table in _TABLES_OF_LEADS
    ]
    events = lead_events.erase_lead_events(connection, lead_id, tenant, known_at)
    return ErasedCounts(decisions, outcomes, events)


_TABLES_OF_LEADS = (
    *(DECISIONS, OUTCOMES, *HANDOVER_TABLES, HANDOVER_OVERRIDES, LEAD_RANKS),
    *(CURRENT_SCORES, NAMED_SCORES, SCORE_HISTORY, SCORE_QUEUE, WEBHOOK_MESSAGES),
)


def _of_lead(table: Table, lead_id: str, tenant: str) -> list[Any]:
    own = [table.c.tenant == tenant] if tenant else []
    # An account may be called like a lead.
    leads = [table.c.is_account == 0] if table is SCORE_QUEUE else []
    return [table.c.lead_id == lead_id, *own, *leads]


def _erase_answers(connection: Connection, lead_id: str, tenant: str) -> None:
    """Delete the answers kept for their keys that hold the lead, with whoever else is in them."""
    leads, answers = IDEMPOTENT_ANSWER_LEADS, IDEMPOTENT_ANSWERS
    query = select(leads.c.answer_id).join(answers, answers.c.id == leads.c.answer_id)
    query = query.where(leads.c.lead_id == lead_id)
    numbers = connection.execute(query.where(answers.c.tenant == tenant) if tenant else query)
    _remove_answers(connection, numbers.scalars().all())


def _remove_answers(connection: Connection, numbers: Sequence[int]) -> None:
    if numbers:
        leads = IDEMPOTENT_ANSWER_LEADS.c.answer_id.in_(numbers)
        connection.execute(delete(IDEMPOTENT_ANSWER_LEADS).where(leads))
        connection.execute(delete(IDEMPOTENT_ANSWERS).where(IDEMPOTENT_ANSWERS.c.id.in_(numbers)))


def prune(connection: Connection, before: int, most: int) -> ErasedCounts:
    """Delete at most ``most`` decisions and ``most`` outcomes that were logged before ``before``.

    And as many leads of the store, with all that is known of them, of which nothing was received since.
    """
    lock_against_erasure(connection)
    _remove_handovers(connection, before)
    remove_answers_before(connection, before, most)
    connection.execute(delete(WEBHOOK_MESSAGES).where(WEBHOOK_MESSAGES.c.created_at < before))
    decisions = _oldest(connection, DECISIONS, "decided_at", before, most)
    outcomes = _oldest(connection, OUTCOMES, "recorded_at", before, most)
    for table, rows in ((DECISIONS, decisions), (OUTCOMES, outcomes)):
        connection.execute(delete(table).where(table.c.id.in_([row["id"] for row in rows])))
    ranks.unrank_decisions(connection, decisions)
    if decisions:
        for statement in _WITHOUT_DECISION:
            connection.execute(statement, decisions)
    reopened = [(row["tenant"], row["lead_id"]) for row in outcomes]
    ranks.reopen_leads(connection, reopened)
    queue_scored_leads(connection, reopened)
    silent = lead_events.prune_silent_leads(connection, before, most)
    ranks.forget_stages(connection, silent)
    _prune_history(connection, before, most)
    return ErasedCounts(len(decisions), len(outcomes), len(silent))


# The next time that the lead is scored the decision is logged anew.
_WITHOUT_DECISION = tuple(
    text(
        f"UPDATE {table} SET decision_id = NULL "  # noqa: S608
        "WHERE tenant = :tenant AND lead_id = :lead_id AND decision_id = :id"
    )
    for table in ("current_scores", "named_scores")
)


def _prune_history(connection: Connection, before: int, most: int) -> None:
    key = [SCORE_HISTORY.c[name] for name in ("lead_id", "tenant", "model", "hour")]
    old = select(*key).where(SCORE_HISTORY.c.hour < before // HOUR).order_by(SCORE_HISTORY.c.hour)
    connection.execute(delete(SCORE_HISTORY).where(tuple_(*key).in_(old.limit(most))))


def _oldest(
    connection: Connection, table: Table, time_column: str, before: int, most: int
) -> Sequence[Mapping[str, Any]]:
    """At most ``most`` rows of before: their id, tenant and lead_id. Nobody else deletes them meanwhile."""
    when = table.c[time_column]
    query = select(table.c.id, table.c.tenant, table.c.lead_id).where(when < before)
    locked = query.order_by(when).limit(most).with_for_update(skip_locked=True)
    return [dict(row) for row in connection.execute(locked).mappings()]


def forget(connection: Connection) -> None:
    """Delete what is remembered for an hour or a day only: erasures, and answers kept for their keys."""
    now = time.time()
    forget_erasures(connection, now)
    remove_answers_before(connection, int(now) - DAY, _BATCH_ROWS)


def remove_answers_before(connection: Connection, before: int, most: int) -> None:
    """Delete at most ``most`` answers kept for their keys that were given before ``before``."""
    query = select(IDEMPOTENT_ANSWERS.c.id).where(IDEMPOTENT_ANSWERS.c.answered_at < before)
    _remove_answers(connection, connection.execute(query.limit(most)).scalars().all())


def _remove_handovers(connection: Connection, before: int) -> None:
    """Delete the hand-overs of days that ended at or before ``before``."""
    old = HANDOVERS.c.day + DAY <= before
    for table in (*HANDOVER_TABLES, HANDOVER_EXCLUSIONS):
        leads = table.c.handover_id.in_(select(HANDOVERS.c.id).where(old))
        connection.execute(delete(table).where(leads))
    connection.execute(delete(HANDOVERS).where(old))
    prune_overrides(connection, before)


def prune_in_batches(log: Engine, keep_days: int, *, force: bool = False) -> ErasedCounts:
    """Delete all records older than ``keep_days``, in transactions of 1,000 between which others write.

    Args:
        log: An open log.
        keep_days: For how many days records are kept.
        force: Whether the computer's clock is to be believed, however far it is ahead of the log.

    Returns:
        How many records were deleted.

    Raises:
        LogError: The clock is far ahead of all that the log knows of.
    """
    clock = RetentionClock(keep_days * DAY)
    with writing(log).begin() as connection:
        if force:
            trust(connection, int(time.time()))
        before = clock.oldest_kept(connection)
    if clock.ahead:
        raise LogError(clock.in_words())
    batches = [ErasedCounts(_BATCH_ROWS, 0)]
    while max(batches[-1].decisions, batches[-1].outcomes, batches[-1].events) == _BATCH_ROWS:
        with writing(log).begin() as connection:
            batches.append(prune(connection, before, _BATCH_ROWS))
    return ErasedCounts(
        sum(counts.decisions for counts in batches[1:]),
        sum(counts.outcomes for counts in batches[1:]),
        sum(counts.events for counts in batches[1:]),
    )


def probe_writable(connection: Connection) -> None:
    """Insert a row and delete it: the log can be written if this can be committed."""
    nothing = [{"day": 0, "decisions": 0, "outcomes": 0}]
    connection.execute(insert(ERASURES), nothing)
    connection.execute(delete(ERASURES).where(ERASURES.c.decisions == 0, ERASURES.c.outcomes == 0))
