"""Which outcomes count for a model: those that stand and that answer its question.

An outcome stands unless it was corrected or withdrawn. It answers the question of the model that it names;
one that names none is the default model's. What sales has given up by the default model is given up for every
other model, too; what was won goes on, since a customer may renew.

To learn from and to monitor, outcomes that name no model stand in for those of a named model as long as the
log has none of its own: whoever reports outcomes without a model has no other. ``OutcomeCounts`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, exists, func, or_, select

from features.messages import Message
from serving.decision_log.records import GIVEN_UP, WITHDRAWN
from serving.decision_log.tables import OUTCOMES

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Engine, FromClause, Table


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """Of which outcomes those are that count for a named model.

    Attributes:
        model: The name of the model.
        own: Outcomes that name it.
        given_up: Outcomes that name no model, by which sales gave a lead up.
        others: All other outcomes that name no model.
    """

    model: str
    own: int
    given_up: int
    others: int

    @property
    def message(self) -> Message:
        """The sentence that says which outcomes count, and what changes that."""
        if self.own or not self.given_up + self.others:
            values = {"own": self.own, "given_up": self.given_up, "others": self.others}
            return Message("outcomes.own", model=self.model, **values)
        return Message("outcomes.stand_in", model=self.model, n=self.given_up + self.others)


def stands(outcome: FromClause = OUTCOMES) -> ColumnElement[bool]:
    """Whether an outcome was neither corrected nor withdrawn.

    Args:
        outcome: The outcomes, or an alias of them.
    """
    later = OUTCOMES.alias()
    same = [later.c[name] == outcome.c[name] for name in ("tenant", "lead_id")]
    corrected = exists(select(1).where(later.c.corrects == outcome.c.key, *same))
    return and_(~corrected, outcome.c.outcome != WITHDRAWN)


def answers(model: str | Column[str], outcome: FromClause = OUTCOMES) -> ColumnElement[bool]:
    """Whether an outcome answers the question of a model.

    Args:
        model: The name of the model, "" for the default one, or a column with names.
        outcome: The outcomes, or an alias of them.
    """
    own = outcome.c.model == model
    given_up = and_(outcome.c.model == "", outcome.c.outcome.in_(GIVEN_UP))
    return own if isinstance(model, str) and not model else or_(own, given_up)


def counts(model: str) -> ColumnElement[bool]:
    """Whether an outcome counts where one learns from a model's outcomes: it may stand in for one of its own.

    Args:
        model: The name of the model; "" for the default one.
    """
    if not model:
        return answers(model)
    named = OUTCOMES.alias()
    has_own = exists(select(1).where(named.c.model == model, stands(named)))
    return or_(answers(model), and_(OUTCOMES.c.model == "", ~has_own))


def count_outcomes(log: Engine, model: str) -> OutcomeCounts:
    """How many standing outcomes of a log name a model, and how many name none.

    Args:
        log: An open log.
        model: The name of the model, which is not the default one.
    """
    unnamed, is_given_up = OUTCOMES.c.model == "", OUTCOMES.c.outcome.in_(GIVEN_UP)
    kinds = (OUTCOMES.c.model == model, and_(unnamed, is_given_up), and_(unnamed, ~is_given_up))
    query = select(*(func.count(case((kind, 1))) for kind in kinds)).where(stands())
    with log.connect() as connection:
        counted = connection.execute(query).one()
    return OutcomeCounts(model, own=counted[0], given_up=counted[1], others=counted[2])


def is_decided_by_name(table: Table) -> ColumnElement[bool]:
    """Whether an outcome stands that decides about the lead of a row for the model of that row.

    Args:
        table: A table with the columns ``lead_id``, ``tenant`` and ``model``, of named models.
    """
    own = OUTCOMES.alias()
    same = (own.c[name] == table.c[name] for name in ("tenant", "lead_id"))
    return exists(select(1).where(*same, stands(own), answers(table.c.model, own)))
