"""Which leads are to be scored although nothing became known of them: by a new model, or since they age."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from serving.decision_log.database import DriverStatement, ListStatement
from serving.decision_log.score_queue import queue_length

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Engine

# Each of these is a range of one index, however many leads there are.
_OF_OTHER_MODELS = (
    DriverStatement(
        "SELECT tenant, lead_id FROM current_scores WHERE state <> 'closed' AND model_version < ? "
        "ORDER BY model_version, scored_at LIMIT ?"
    ),
    DriverStatement(
        "SELECT tenant, lead_id FROM current_scores WHERE state <> 'closed' AND model_version > ? "
        "ORDER BY model_version, scored_at LIMIT ?"
    ),
)
_AGED = DriverStatement(
    "SELECT tenant, lead_id FROM current_scores WHERE state <> 'closed' AND model_version = ? "
    "AND scored_at < ? ORDER BY scored_at LIMIT ?"
)
_OPEN = text("SELECT COUNT(*) FROM current_scores WHERE state = 'open' AND probability IS NOT NULL")
_COLLEAGUES = ListStatement(
    "SELECT lead_id FROM current_scores WHERE tenant = ? AND state <> 'closed' "
    "AND (model_version <> ? OR scored_at < ?) AND account_id IN (SELECT account_id FROM current_scores "
    "WHERE account_id IS NOT NULL AND tenant = ? AND lead_id IN {values})"
)
# A person has accepted the lead: it goes on, and is still of interest.
_ENDED = ListStatement(
    "SELECT DISTINCT lead_id FROM outcomes WHERE tenant = ? AND outcome NOT IN ('accepted', 'withdrawn') "
    "AND lead_id IN {values} AND NOT EXISTS (SELECT 1 FROM outcomes AS later "
    "WHERE later.tenant = outcomes.tenant AND later.corrects = outcomes.key)"
)


def due_leads(connection: Connection, version: str, before: int, most: int) -> list[tuple[str, str]]:
    """Tenant and id of leads that are not closed and were scored by another model, or too long ago.

    Args:
        connection: A connection.
        version: The model in charge.
        before: What was scored before then (epoch seconds) is scored anew.
        most: How many at most; those that have waited longest.
    """
    leads: list[tuple[str, str]] = []
    for statement in _OF_OTHER_MODELS:
        if len(leads) < most:
            leads += map(_lead, statement.execute(connection, (version, most - len(leads))))
    if len(leads) < most:
        leads += map(_lead, _AGED.execute(connection, (version, before, most - len(leads))))
    return leads


def due_colleagues(
    connection: Connection, leads: Iterable[tuple[str, str]], version: str, before: int
) -> list[tuple[str, str]]:
    """Tenant and id of leads that are due, too, and of the same accounts as some of ``leads``.

    To score them at another time would read the events of these once more.
    """
    colleagues: list[tuple[str, str]] = []
    for tenant, own in groupby(sorted(leads), key=lambda lead: lead[0]):
        lead_ids = [lead_id for _, lead_id in own]
        found = _COLLEAGUES.rows(connection, tenant, version, before, tenant, among=lead_ids)
        colleagues += ((tenant, lead_id) for (lead_id,) in found)
    return colleagues


def _lead(row: Any) -> tuple[str, str]:
    return row[0], row[1]


def count_waiting(log: Engine) -> int:
    """How many leads and accounts of a store wait to be scored."""
    with log.connect() as connection:
        return queue_length(connection)[0]


def count_open(log: Engine) -> int:
    """How many leads of a store are open and have a score, whoever's they are."""
    with log.connect() as connection:
        return int(connection.execute(_OPEN).scalar_one())


def ended_leads(connection: Connection, lead_ids: Iterable[str], tenant: str) -> set[str]:
    """Those of some leads whose end was reported as an outcome: qualified, rejected, won, lost and so on."""
    return {row[0] for row in _ENDED.rows(connection, tenant, among=lead_ids)}
