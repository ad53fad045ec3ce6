"""Which leads are to be scored although nothing became known of them: by a new model, or since they age."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from serving.decision_log.database import DriverStatement, ListStatement, listed
from serving.decision_log.records import ACCEPTED
from serving.decision_log.score_queue import queue_length
from serving.decision_log.standing_outcomes import answers, stands
from serving.decision_log.tables import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Engine


class _DueLeads:
    """The statements that find due leads in a table; each is a range of one index, however many there are."""

    def __init__(self, table: str) -> None:
        own = f"SELECT tenant, lead_id FROM {table} WHERE model = ? AND state <> 'closed' "  # noqa: S608
        self.of_other_models = tuple(
            DriverStatement(f"{own}AND model_version {order} ? ORDER BY model_version, scored_at LIMIT ?")
            for order in "<>"
        )
        self.aged = DriverStatement(
            f"{own}AND model_version = ? AND scored_at < ? ORDER BY scored_at LIMIT ?"
        )
        self.colleagues = ListStatement(
            f"SELECT lead_id FROM {table} WHERE tenant = ? AND model = ? AND state <> 'closed' "  # noqa: S608
            "AND (model_version <> ? OR scored_at < ?) AND account_id IN (SELECT account_id "
            f"FROM {table} WHERE account_id IS NOT NULL AND tenant = ? AND model = ? "
            "AND lead_id IN {values})"
        )


_DUE, _DUE_NAMED = _DueLeads("current_scores"), _DueLeads("named_scores")
_MISSING = DriverStatement(
    "SELECT tenant, lead_id FROM current_scores WHERE (lead_id, tenant) > (?, ?) "
    "AND NOT EXISTS (SELECT 1 FROM named_scores WHERE named_scores.lead_id = current_scores.lead_id "
    "AND named_scores.tenant = current_scores.tenant AND named_scores.model = ?) "
    "ORDER BY lead_id, tenant LIMIT ?"
)
_OPEN = text("SELECT COUNT(*) FROM current_scores WHERE state = 'open' AND probability IS NOT NULL")
_HAS_LEADS = text("SELECT EXISTS (SELECT 1 FROM score_queue) OR EXISTS (SELECT 1 FROM current_scores)")


def has_leads(connection: Connection) -> bool:
    """Whether a store has any leads: some that wait to be scored, or some that were."""
    return bool(connection.execute(_HAS_LEADS).scalar_one())


def due_leads(
    connection: Connection, version: str, before: int, most: int, model: str = ""
) -> list[tuple[str, str]]:
    """Tenant and id of leads that are not closed and were scored by another model, or too long ago.

    Args:
        connection: A connection.
        version: The model in charge.
        before: What was scored before then (epoch seconds) is scored anew.
        most: How many at most; those that have waited longest.
        model: The name of the model; "" for the default one.
    """
    due = _DUE_NAMED if model else _DUE
    leads: list[tuple[str, str]] = []
    for statement in due.of_other_models:
        if len(leads) < most:
            leads += map(_lead, statement.execute(connection, (model, version, most - len(leads))))
    if len(leads) < most:
        leads += map(_lead, due.aged.execute(connection, (model, version, before, most - len(leads))))
    return leads


def leads_without_score(
    connection: Connection, model: str, after: tuple[str, str], most: int
) -> list[tuple[str, str]]:
    """Tenant and id of leads that a named model has not scored yet, also of those closed for the default one.

    Who was won is at its end for the one model, and is whom another one is asked about.

    Args:
        connection: A connection.
        model: The name of the model.
        after: Tenant and id of the last lead of the page before; ("", "") for the first.
        most: How many at most, in the order of their ids.
    """
    tenant, lead_id = after
    return list(map(_lead, _MISSING.execute(connection, (lead_id, tenant, model, most))))


def due_colleagues(
    connection: Connection, leads: Iterable[tuple[str, str]], version: str, before: int, model: str = ""
) -> list[tuple[str, str]]:
    """Tenant and id of leads that are due, too, and of the same accounts as some of ``leads``.

    To score them at another time would read the events of these once more.
    """
    colleagues: list[tuple[str, str]] = []
    for tenant, own in groupby(sorted(leads), key=lambda lead: lead[0]):
        lead_ids = [lead_id for _, lead_id in own]
        values = (tenant, model, version, before, tenant, model)
        due = (_DUE_NAMED if model else _DUE).colleagues.rows(connection, *values, among=lead_ids)
        colleagues += ((tenant, lead_id) for (lead_id,) in due)
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


def ended_leads(connection: Connection, lead_ids: Iterable[str], tenant: str, model: str = "") -> set[str]:
    """Those of some leads whose end for a model was reported as an outcome.

    A lead that a person has accepted goes on, and is still of interest.
    """
    query = select(OUTCOMES.c.lead_id).where(
        OUTCOMES.c.tenant == tenant,
        OUTCOMES.c.outcome != ACCEPTED,
        OUTCOMES.c.lead_id.in_(listed(connection, lead_ids)),
        stands(),
        answers(model),
    )
    return set(connection.execute(query).scalars())
