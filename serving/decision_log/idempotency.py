"""Answers that are kept under the key of a request: asking again gives the same answer and no new record.

An answer is added in the transaction that adds its decisions: either both are there or neither, whatever
crashes, and of two workers that answer the same request at the same time one finds the other's answer.
It is kept for a day, and erased with any lead that it names.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from features.clock import DAY
from serving.decision_log.erasure import erased_since, lock_against_erasure
from serving.decision_log.records import KeptAnswer
from serving.decision_log.statements import add_decisions
from serving.decision_log.tables import IDEMPOTENT_ANSWER_LEADS, IDEMPOTENT_ANSWERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from serving.decision_log.records import IdempotencyKey, NewAnswer
    from serving.decision_log.statements import DecisionEntry

# Seconds for which an answer is kept.
KEEPS = DAY


def find_answer(connection: Connection, request: IdempotencyKey, now: int) -> KeptAnswer | None:
    """The answer that was given within the last day under a key; None where none was."""
    table = IDEMPOTENT_ANSWERS
    query = select(table.c.path, table.c.body_sha256, table.c.answer).where(
        table.c.caller == request.caller,
        table.c.idempotency_key == request.key,
        table.c.answered_at > now - KEEPS,
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    matches = (row.path, row.body_sha256) == (request.path, request.body_sha256)
    return KeptAnswer(zlib.decompress(row.answer) if matches else b"", matches)


def add_answer(
    connection: Connection, new: NewAnswer, entries: Sequence[DecisionEntry], now: int
) -> KeptAnswer | None:
    """Add an answer and its decisions.

    Args:
        connection: A connection in a transaction.
        new: The answer.
        entries: Its decisions.
        now: The time, in epoch seconds.

    Returns:
        None where they were added; else the answer that somebody else gave under the same key, and then
        nothing is added.
    """
    lock_against_erasure(connection)
    leads = {(new.request.tenant, lead_id) for lead_id in new.leads}
    # An answer that names somebody who was erased meanwhile is given, but not kept.
    if not erased_since(connection, leads, new.received_at):
        _remove_outdated(connection, new.request, now)
        number = _insert(connection, new, now)
        if number is None:
            return find_answer(connection, new.request, now)
        rows = [{"answer_id": number, "lead_id": lead_id} for lead_id in sorted(new.leads)]
        if rows:
            connection.execute(insert(IDEMPOTENT_ANSWER_LEADS), rows)
    add_decisions(connection, entries)
    return None


def _insert(connection: Connection, new: NewAnswer, now: int) -> int | None:
    """Add the answer; its number, or None where there is one already."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = (
        dialect.insert(IDEMPOTENT_ANSWERS)
        .values(
            caller=new.request.caller,
            idempotency_key=new.request.key,
            path=new.request.path,
            body_sha256=new.request.body_sha256,
            answered_at=now,
            answer=new.compressed,
            tenant=new.request.tenant,
        )
        .on_conflict_do_nothing(index_elements=["caller", "idempotency_key"])
        .returning(IDEMPOTENT_ANSWERS.c.id)
    )
    return connection.execute(statement).scalar_one_or_none()


def _remove_outdated(connection: Connection, request: IdempotencyKey, now: int) -> None:
    """Delete an answer under the same key that is older than a day and was not pruned yet."""
    table = IDEMPOTENT_ANSWERS
    outdated = select(table.c.id).where(
        table.c.caller == request.caller,
        table.c.idempotency_key == request.key,
        table.c.answered_at <= now - KEEPS,
    )
    numbers = connection.execute(outdated).scalars().all()
    if numbers:
        leads = IDEMPOTENT_ANSWER_LEADS.c.answer_id.in_(numbers)
        connection.execute(delete(IDEMPOTENT_ANSWER_LEADS).where(leads))
        connection.execute(delete(table).where(table.c.id.in_(numbers)))
