"""Reads the current scores of accounts: what ranks all of them, and the leads of some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.current_scores.records import CurrentScore
from serving.decision_log.database import DriverStatement, ListStatement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_NAMES = CurrentScore._fields
_TABLES = ("current_scores", "named_scores")
# Without and with the name of a model.
_OPEN = tuple(
    DriverStatement(
        f"SELECT account_id, probability FROM {table} WHERE account_id IS NOT NULL AND tenant = ? "  # noqa: S608
        "AND model = ? AND state = 'open' AND probability IS NOT NULL ORDER BY account_id"
    )
    for table in _TABLES
)
_OF_ACCOUNTS = tuple(
    ListStatement(
        f"SELECT {', '.join(_NAMES)} FROM {table} "  # noqa: S608
        "WHERE tenant = ? AND model = ? AND account_id IN {values}"
    )
    for table in _TABLES
)


def read_open_probabilities(
    connection: Connection, tenant: str, model: str = ""
) -> Sequence[tuple[str, float]]:
    """The account and the probability of each open lead that has both, in the order of accounts."""
    rows = _OPEN[bool(model)].execute(connection, (tenant, model)).fetchall()
    return [tuple(row) for row in rows]


def read_scores_of_accounts(
    connection: Connection, account_ids: Iterable[str], tenant: str, model: str = ""
) -> dict[str, list[CurrentScore]]:
    """By account, the current scores of its leads by a model."""
    by_account: dict[str, list[CurrentScore]] = {each: [] for each in account_ids}
    rows = _OF_ACCOUNTS[bool(model)].rows(connection, tenant, model, among=by_account)
    for score in map(CurrentScore.from_values, rows):
        by_account[str(score.account_id)].append(score)
    return by_account
