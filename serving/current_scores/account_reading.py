"""Reads the current scores of accounts: what ranks all of them, and the leads of some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.current_scores.records import CurrentScore
from serving.decision_log.database import DriverStatement, ListStatement
from serving.decision_log.tables import CURRENT_SCORES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_NAMES = tuple(column.name for column in CURRENT_SCORES.columns)
_OPEN = DriverStatement(
    "SELECT account_id, probability FROM current_scores WHERE account_id IS NOT NULL AND tenant = ? "
    "AND state = 'open' AND probability IS NOT NULL ORDER BY account_id"
)
_OF_ACCOUNTS = ListStatement(
    f"SELECT {', '.join(_NAMES)} FROM current_scores WHERE tenant = ? AND account_id IN {{values}}"  # noqa: S608
)


def read_open_probabilities(connection: Connection, tenant: str) -> Sequence[tuple[str, float]]:
    """The account and the probability of each open lead that has both, in the order of accounts."""
    return [tuple(row) for row in _OPEN.execute(connection, (tenant,)).fetchall()]


def read_scores_of_accounts(
    connection: Connection, account_ids: Iterable[str], tenant: str
) -> dict[str, list[CurrentScore]]:
    """By account, the current scores of its leads."""
    by_account: dict[str, list[CurrentScore]] = {each: [] for each in account_ids}
    for row in _OF_ACCOUNTS.rows(connection, tenant, among=by_account):
        values: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
        by_account[values["account_id"]].append(CurrentScore.from_row(values))
    return by_account
