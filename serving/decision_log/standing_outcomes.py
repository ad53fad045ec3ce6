"""Whose question an outcome answers: that of the model it was reported of.

An outcome of the default model, where a report names none, answers that model's question. What sales has
given up by it is given up for every other model, too; what was won goes on, since a customer may renew. An
outcome of a named model is about that model's question alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, or_, select

from serving.decision_log.records import GIVEN_UP, WITHDRAWN
from serving.decision_log.tables import OUTCOMES

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table


def is_decided_by_name(table: Table) -> ColumnElement[bool]:
    """Whether an outcome stands that decides about the lead of a row for the model of that row.

    Args:
        table: A table with the columns ``lead_id``, ``tenant`` and ``model``, of named models.
    """
    own, later = OUTCOMES.alias(), OUTCOMES.alias()
    same = [later.c[name] == own.c[name] for name in ("tenant", "lead_id")]
    corrected = exists(select(1).where(later.c.corrects == own.c.key, *same))
    given_up = and_(own.c.model == "", own.c.outcome.in_(GIVEN_UP))
    return exists(
        select(1).where(
            *(own.c[name] == table.c[name] for name in ("tenant", "lead_id")),
            or_(and_(own.c.model == table.c.model, own.c.outcome != WITHDRAWN), given_up),
            ~corrected,
        )
    )
