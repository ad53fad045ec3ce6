"""What the lists of the console are made of, beside current scores: choices, histories and decisions."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from serving.current_scores.reading import read_score_history, scores_of
from serving.decision_log.standing_outcomes import stands
from serving.decision_log.tables import CURRENT_SCORES, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine

    from serving.current_scores.records import ScorePoint
    from serving.decision_log.async_log import DecisionLog

# A list to choose from is no longer than somebody reads; what is rarer is found by the search.
_MOST_CHOICES = 200
# The values of so many leads, the best ones, are offered: to read those of a million takes seconds.
_CHOSEN_FROM = 20_000
_CHOICES_SECONDS = 60.0
_BY = ("owner", "channel", "stage")


@dataclass(frozen=True, slots=True)
class PersonalOutcome:
    """What a person decided about a lead, and has not taken back.

    Attributes:
        key: The key of the outcome, by which it can be taken back.
        lead_id: The lead.
        name: What a person calls it.
        outcome: What was decided.
        reason: Why, in the words of who decided; None where nobody said.
        recorded_at: When, in epoch seconds.
    """

    key: str
    lead_id: str
    name: str
    outcome: str
    reason: str | None
    recorded_at: int


class LeadLists:
    """Asynchronous access to what lists need. Every method raises LogUnavailable without the database."""

    def __init__(self, journal: DecisionLog) -> None:
        self._journal = journal
        self._choices: dict[tuple[str, str], tuple[float, dict[str, list[str]]]] = {}

    async def choices(self, tenant: str, model: str = "") -> dict[str, list[str]]:
        """The owners, channels and stages of a tenant's best open leads, as of a minute ago at the latest."""
        read_at, choices = self._choices.get((tenant, model), (-_CHOICES_SECONDS, {}))
        if time.monotonic() - read_at < _CHOICES_SECONDS and any(choices.values()):
            return choices
        fresh = await self._journal.read(lambda: _read_choices(self._journal.writer.log, tenant, model))
        self._choices[tenant, model] = (time.monotonic(), fresh)
        return fresh

    async def grades(self, tenant: str, model: str = "") -> dict[str, int]:
        """How many open leads of a tenant have each grade by a model."""

        def read() -> dict[str, int]:
            grade = scores_of(model).c.grade
            query = select(grade, func.count()).where(*_open(tenant, model)).group_by(grade)
            with self._journal.writer.log.connect() as connection:
                return {grade: count for grade, count in connection.execute(query) if grade is not None}

        return await self._journal.read(read)

    async def histories(
        self, lead_ids: Sequence[str], tenant: str, model: str = ""
    ) -> Mapping[str, tuple[ScorePoint, ...]]:
        """The scores that some leads had by a model, by lead, the oldest first."""

        def read() -> dict[str, tuple[ScorePoint, ...]]:
            with self._journal.writer.log.connect() as connection:
                return {
                    lead_id: read_score_history(connection, lead_id, tenant, model) for lead_id in lead_ids
                }

        return await self._journal.read(read)

    async def decided(
        self, tenant: str, model: str = "", lead_id: str | None = None, most: int = 50
    ) -> list[PersonalOutcome]:
        """What people decided about leads in a model's lists, or about one lead, the newest first."""

        def read() -> list[PersonalOutcome]:
            with self._journal.writer.log.connect() as connection:
                return _read_decided(connection, tenant, model, lead_id, most)

        return await self._journal.read(read)


def _open(tenant: str, model: str) -> list[ColumnElement[bool]]:
    """The open leads of a tenant by a model."""
    score = scores_of(model).c
    return [score.tenant == tenant, score.state == "open", *([score.model == model] if model else [])]


def _read_choices(log: Engine, tenant: str, model: str) -> dict[str, list[str]]:
    """The commonest values of each column among a tenant's best open leads, in their order."""
    score = scores_of(model).c
    query = select(*(score[name] for name in _BY)).where(*_open(tenant, model))
    best = query.order_by(score.probability.desc()).limit(_CHOSEN_FROM)
    with log.connect() as connection:
        columns = zip(*connection.execute(best), strict=True)
    counts = [Counter(value for value in column if value is not None) for column in columns]
    return {
        name: sorted((value for value, _ in each.most_common(_MOST_CHOICES)), key=str.casefold)
        for name, each in zip(_BY, counts or [Counter[str]()] * len(_BY), strict=True)
    }


def _read_decided(
    connection: Connection, tenant: str, model: str, lead_id: str | None, most: int
) -> list[PersonalOutcome]:
    names = (OUTCOMES.c[name] for name in ("key", "lead_id", "outcome", "reason", "recorded_at"))
    conditions: list[Any] = [
        OUTCOMES.c.tenant == tenant,
        OUTCOMES.c.model == model,
        OUTCOMES.c.decided_by == "person",
        stands(),
    ]
    if lead_id is not None:
        conditions.append(OUTCOMES.c.lead_id == lead_id)
    score = scores_of(model).c
    same_lead = and_(*(score[name] == OUTCOMES.c[name] for name in ("lead_id", "tenant", "model")))
    # Whom the model has no score of has a name all the same, which the default one's score has.
    default = CURRENT_SCORES.alias()
    same_by_default = and_(*(default.c[name] == OUTCOMES.c[name] for name in ("lead_id", "tenant")))
    query = (
        select(*names, func.coalesce(score.name, default.c.name, OUTCOMES.c.lead_id).label("name"))
        .outerjoin(scores_of(model), same_lead)
        .outerjoin(default, same_by_default)
        .where(*conditions)
        .order_by(OUTCOMES.c.id.desc())
        .limit(most)
    )
    return [PersonalOutcome(**row) for row in connection.execute(query).mappings()]
