"""Reads current scores: one, a page of the best, those of an account, and how one came there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import JSON, Text, and_, exists, func, literal, or_, select

from serving.current_scores.records import MOST_COUNTED, CurrentScore, PageEnd, ScoreFilter, ScorePoint
from serving.decision_log.standing_outcomes import is_decided_by_name
from serving.decision_log.tables import CURRENT_SCORES, LEAD_RANKS, NAMED_SCORES, SCORE_HISTORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Column, ColumnElement, Connection, Select, Table

    from serving.decision_log.async_log import DecisionLog

T = TypeVar("T")
# A page is for people to look at, or for a program to go on from.
MOST_OF_A_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class ScorePage:
    """Some current scores, best first.

    Attributes:
        scores: The scores.
        next: Where the next page begins; None on the last one.
    """

    scores: tuple[CurrentScore, ...]
    next: PageEnd | None


class CurrentScores:
    """Asynchronous access to the current scores in the database of a decision log.

    Every method raises LogUnavailable while the database cannot be reached. ``tenant`` is whose leads these
    are: a lead of one tenant is none of another, nor of a key without a tenant.
    """

    def __init__(self, journal: DecisionLog) -> None:
        self._journal = journal

    async def find(self, lead_id: str, tenant: str = "", model: str = "") -> CurrentScore | None:
        """The current score of a lead by a model; None where the store has none of it."""
        return await self._read(lambda connection: find_score(connection, lead_id, tenant, model))

    async def by_models(self, lead_id: str, tenant: str = "") -> tuple[CurrentScore, ...]:
        """The current scores of a lead by all models, the default one's first, then by the models' names."""
        own = (NAMED_SCORES.c.lead_id == lead_id, NAMED_SCORES.c.tenant == tenant)
        query = select(*_columns(NAMED_SCORES)).where(*own).order_by(NAMED_SCORES.c.model)

        def read(connection: Connection) -> tuple[CurrentScore, ...]:
            default = find_score(connection, lead_id, tenant)
            return (*([] if default is None else [default]), *_scores(connection, query))

        return await self._read(read)

    async def page(
        self,
        wanted: ScoreFilter | None = None,
        tenant: str = "",
        after: PageEnd | None = None,
        limit: int = 50,
        model: str = "",
    ) -> ScorePage:
        """The best scores that a filter lets through.

        Args:
            wanted: The filter. Default: all open leads.
            tenant: Whose leads.
            after: Where the page before ended. Default: the first page.
            limit: How many, ``MOST_OF_A_PAGE`` at most.
            model: The model whose scores these are. Default: the default one.

        Returns:
            The page, best first; of equal leads the one with the lower id first.
        """
        chosen = ScoreFilter() if wanted is None else wanted
        return await self._read(lambda connection: read_page(connection, chosen, tenant, after, limit, model))

    async def count(self, wanted: ScoreFilter | None = None, tenant: str = "", model: str = "") -> int:
        """How many leads a filter lets through, at most ``MOST_COUNTED``. Default: how many are open."""
        chosen = ScoreFilter() if wanted is None else wanted

        return await self._read(lambda connection: count_scores(connection, chosen, tenant, model))

    async def history(self, lead_id: str, tenant: str = "", model: str = "") -> tuple[ScorePoint, ...]:
        """The scores that a lead had by a model, the oldest first: one whenever it changed.

        That is whenever grade, points or the version of the model did.
        """
        return await self._read(lambda connection: read_score_history(connection, lead_id, tenant, model))

    async def of_account(
        self, account_id: str, tenant: str = "", model: str = ""
    ) -> tuple[CurrentScore, ...]:
        """The current scores of an account's leads by a model, best first, closed ones included."""
        score = scores_of(model).c
        own = (score.account_id == account_id, score.tenant == tenant, score.model == model)
        query = select(*_columns(scores_of(model))).where(*own)
        ordered = query.order_by(func.coalesce(score.probability, -1.0).desc(), score.lead_id)
        return await self._read(lambda connection: _scores(connection, ordered))

    async def _read(self, query: Callable[[Connection], T]) -> T:
        def read() -> T:
            with self._journal.writer.log.connect() as connection:
                return query(connection)

        return await self._journal.read(read)


def scores_of(model: str) -> Table:
    """The table with the current scores of a model, "" for the default one."""
    return NAMED_SCORES if model else CURRENT_SCORES


def _columns(table: Table) -> list[Column[Any]]:
    return [table.c[name] for name in CurrentScore._fields]


def find_score(connection: Connection, lead_id: str, tenant: str, model: str = "") -> CurrentScore | None:
    """The current score of a lead by a model; None where there is none of it."""
    score = scores_of(model).c
    own = (score.lead_id == lead_id, score.tenant == tenant, score.model == model)
    query = select(*_columns(scores_of(model))).where(*own)
    return next(iter(_scores(connection, query)), None)


def count_scores(connection: Connection, wanted: ScoreFilter, tenant: str, model: str = "") -> int:
    """How many leads a filter lets through; ``MOST_COUNTED`` where they are so many or more."""
    conditions = _conditions(wanted, tenant, model, connection.dialect.name)
    source = select(literal(1)).select_from(scores_of(model))
    leads = source.where(*conditions).limit(MOST_COUNTED).subquery()
    return int(connection.execute(select(func.count()).select_from(leads)).scalar_one())


def read_page(  # noqa: PLR0913, PLR0917  # a page of whose scores, by whom, from where on
    connection: Connection,
    wanted: ScoreFilter,
    tenant: str,
    after: PageEnd | None,
    limit: int,
    model: str = "",
) -> ScorePage:
    """The best scores that a filter lets through, see ``CurrentScores.page``."""
    most = max(1, min(limit, MOST_OF_A_PAGE)) + 1
    table = scores_of(model)
    query = select(*_columns(table)).where(*_conditions(wanted, tenant, model, connection.dialect.name))
    scores: list[CurrentScore] = []
    # Two queries, since databases do not agree on where null is in an order that an index has.
    if after is None or after.probability is not None:
        scores += _scores(connection, _by_probability(query, table, after).limit(most))
    if len(scores) < most:
        last = after.lead_id if after is not None and after.probability is None else ""
        unscored = query.where(table.c.probability.is_(None), table.c.lead_id > last)
        scores += _scores(connection, unscored.order_by(table.c.lead_id).limit(most - len(scores)))
    page_scores = tuple(scores[: most - 1])
    return ScorePage(page_scores, PageEnd.of(page_scores[-1]) if len(scores) == most else None)


def _by_probability(query: Select[Any], table: Table, after: PageEnd | None) -> Select[Any]:
    """The leads of a query that have a probability, best first, after the end of a page."""
    score = table.c
    scored = query.where(score.probability.is_not(None))
    if after is not None:
        lower = score.probability < after.probability
        same = and_(score.probability == after.probability, score.lead_id > after.lead_id)
        # Said once more in a way that an index can begin at.
        scored = scored.where(score.probability <= after.probability, or_(lower, same))
    return scored.order_by(score.probability.desc(), score.lead_id)


def read_score_history(
    connection: Connection, lead_id: str, tenant: str, model: str = ""
) -> tuple[ScorePoint, ...]:
    """The scores that a lead had by a model, the oldest first."""
    columns = (SCORE_HISTORY.c[name] for name in ScorePoint.__dataclass_fields__)
    own = {"lead_id": lead_id, "tenant": tenant, "model": model}
    query = select(*columns).where(*(SCORE_HISTORY.c[name] == value for name, value in own.items()))
    return tuple(ScorePoint(*row) for row in connection.execute(query.order_by(SCORE_HISTORY.c.as_of)))


def _scores(connection: Connection, query: Select[Any]) -> tuple[CurrentScore, ...]:
    return tuple(CurrentScore.from_row(row) for row in connection.execute(query).mappings())


def _conditions(wanted: ScoreFilter, tenant: str, model: str, dialect: str) -> list[ColumnElement[bool]]:
    table = scores_of(model)
    score = table.c
    conditions = _of_model(table, tenant, model)
    for column, values in ((score.state, wanted.states), (score.grade, wanted.grades)):
        if values:
            conditions.append(column.in_(values))
    for name in ("channel", "owner", "account_id", "stage"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(score[name] == value)
    if wanted.attribute is not None:
        conditions.append(_has_attribute(score.attributes, *wanted.attribute, dialect))
    if wanted.undecided:
        conditions.append(~_is_decided(model))
    if wanted.text:
        escaped = re.sub("[%_/]", r"/\g<0>", wanted.text)
        # The database's own small letters, on both sides.
        conditions.append(score.search_text.like(func.lower(f"%{escaped}%"), escape="/"))
    return conditions


def _of_model(table: Table, tenant: str, model: str) -> list[ColumnElement[bool]]:
    """Whose scores they are; to ask the model of those by the default one would leave the index."""
    return [table.c.tenant == tenant, *([table.c.model == model] if model else [])]


def _is_decided(model: str) -> ColumnElement[bool]:
    """Whether an outcome stands that answers the model's question; of the default one as the rank says."""
    if model:
        return is_decided_by_name(NAMED_SCORES)
    rank, score = LEAD_RANKS.c, CURRENT_SCORES.c
    same = (rank.tenant == score.tenant, rank.lead_id == score.lead_id, rank.value_name == "")
    return exists(select(1).where(*same, rank.closed.bitwise_and(1) == 1))


def _has_attribute(attributes: Column[Any], name: str, value: str, dialect: str) -> ColumnElement[bool]:
    """Whether an attribute has a value, compared as text."""
    if dialect == "postgresql":
        return func.json_extract_path_text(attributes.cast(JSON), name) == value
    # In SQLite's paths a quotation mark ends a name, and there is no way to write one.
    path = '$."' + name.replace('"', "") + '"'
    number_or_text = func.json_extract(attributes, path)
    is_flag = func.json_type(attributes, path).in_(("true", "false"))
    return or_(
        and_(is_flag, func.json_type(attributes, path) == value),
        and_(~is_flag, number_or_text.cast(Text) == value),
    )
