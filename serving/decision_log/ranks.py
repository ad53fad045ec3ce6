"""Keeps ``lead_ranks`` true: the row of each lead that hand-overs are ranked by.

The row is written in the transaction that adds the decision or the outcome. Rows are written in the order of
their keys, so that two workers never wait for each other in a circle.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Text, bindparam, exists, func, literal, select, text, tuple_, update

from models.handover_selection import lead_lot
from models.uncertainty import DORMANT, WITHHELD
from serving.decision_log.database import DriverStatement
from serving.decision_log.standing_outcomes import answers, stands
from serving.decision_log.tables import DECISIONS, LEAD_RANKS, OUTCOMES, RANKED_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from features.record import Value

Lead = tuple[str, str]
_KEY = "tenant = :tenant AND lead_id = :lead_id"
# A decision that another worker has overtaken changes nothing.
_RANK = DriverStatement(
    "INSERT INTO lead_ranks (tenant, lead_id, value_name, decision_id, worth, known, lot, withheld, dormant, "
    "closed) VALUES (?, ?, '', ?, ?, 1, ?, ?, ?, 0) "
    "ON CONFLICT (tenant, lead_id, value_name) DO UPDATE SET decision_id = excluded.decision_id, "
    "worth = excluded.worth, withheld = excluded.withheld, dormant = excluded.dormant "
    "WHERE excluded.decision_id > lead_ranks.decision_id"
)
# Whether the lead is closed is told by its first row, which the transaction has locked.
_RANK_BY_VALUE = text(
    "INSERT INTO lead_ranks (tenant, lead_id, value_name, decision_id, worth, value, known, lot, withheld, "  # noqa: S608
    "dormant, closed) VALUES (:tenant, :lead_id, :value_name, :decision_id, :worth, :value, :known, :lot, "
    ":withheld, :dormant, "
    f"(SELECT closed FROM lead_ranks WHERE {_KEY} AND value_name = '')) "
    "ON CONFLICT (tenant, lead_id, value_name) DO UPDATE SET decision_id = excluded.decision_id, "
    "worth = excluded.worth, value = excluded.value, known = excluded.known, withheld = excluded.withheld, "
    "dormant = excluded.dormant "
    "WHERE excluded.decision_id > lead_ranks.decision_id"
)
_CLOSE = text(
    "INSERT INTO lead_ranks (tenant, lead_id, value_name, decision_id, worth, known, lot, withheld, closed) "
    "VALUES (:tenant, :lead_id, '', 0, 0.0, 1, :lot, 1, 1) "
    "ON CONFLICT (tenant, lead_id, value_name) DO UPDATE SET closed = lead_ranks.closed | 1 "
    "WHERE lead_ranks.closed & 1 = 0"
)
_CLOSE_VALUES = text(
    f"UPDATE lead_ranks SET closed = closed | 1 WHERE {_KEY} AND value_name <> '' AND closed & 1 = 0"  # noqa: S608
)
_OF_TENANT, _OF_LEAD = bindparam("of_tenant", type_=Text), bindparam("of_lead", type_=Text)
_REOPEN = (
    update(LEAD_RANKS)
    .where(
        LEAD_RANKS.c.tenant == _OF_TENANT,
        LEAD_RANKS.c.lead_id == _OF_LEAD,
        LEAD_RANKS.c.closed.bitwise_and(1) == 1,
        ~exists(
            select(1).where(
                OUTCOMES.c.tenant == _OF_TENANT, OUTCOMES.c.lead_id == _OF_LEAD, stands(), answers("")
            )
        ),
    )
    .values(closed=LEAD_RANKS.c.closed.bitwise_and(2))
)
_CLOSE_BY_STAGE = DriverStatement(
    "INSERT INTO lead_ranks (tenant, lead_id, value_name, decision_id, worth, known, lot, withheld, closed) "
    "VALUES (?, ?, '', 0, 0.0, 1, ?, 1, 2) "
    "ON CONFLICT (tenant, lead_id, value_name) DO UPDATE SET closed = lead_ranks.closed | 2 "
    "WHERE lead_ranks.closed & 2 = 0"
)
_CLOSE_VALUES_BY_STAGE = DriverStatement(
    "UPDATE lead_ranks SET closed = closed | 2 "
    "WHERE tenant = ? AND lead_id = ? AND value_name <> '' AND closed & 2 = 0"
)
_OPEN_BY_STAGE = DriverStatement(
    "UPDATE lead_ranks SET closed = closed & 1 WHERE tenant = ? AND lead_id = ? AND closed & 2 = 2"
)
_UNRANK = text(
    "UPDATE lead_ranks SET decision_id = 0, worth = 0.0, value = NULL, known = 1, withheld = 1 "  # noqa: S608
    f"WHERE {_KEY} AND decision_id = :id"
)
_NAMES = select(RANKED_VALUES.c.value_name)
_FORGET = text(f"DELETE FROM lead_ranks WHERE {_KEY} AND decision_id = 0 AND closed = 0")  # noqa: S608


class Rank(NamedTuple):
    """What a lead is ranked by: the columns of ``_RANK``, in their order."""

    tenant: str
    lead_id: str
    decision_id: int
    worth: float
    lot: int
    withheld: int
    dormant: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Rank:
        """The rank by a row of ``decisions``."""
        lead_id, why = row["lead_id"], row["insufficient"]
        flags = int(why in WITHHELD), int(why == DORMANT)
        return cls(row["tenant"], lead_id, row["id"], row["probability"], lead_lot(lead_id), *flags)


def rank_leads(
    connection: Connection, ranks: Iterable[tuple[Rank, Mapping[str, Value]]], *, by_values: bool = True
) -> None:
    """Rank leads by decisions in the order of their ids, each with its feature row.

    Without ``by_values`` nobody has asked yet for a hand-over by a feature.
    """
    newest = {rank[:2]: (rank, values) for rank, values in ranks}
    if not newest:
        return
    ordered = [newest[lead] for lead in sorted(newest)]
    _RANK.execute_many(connection, [rank for rank, _ in ordered])
    names = connection.execute(_NAMES).scalars().all() if by_values else ()
    if names:
        _rank_by_values(connection, ordered, sorted(names))


def register_value(connection: Connection, name: str) -> None:
    """Let decisions that are added from now on rank their leads by a feature as well."""
    statement = "INSERT INTO ranked_values (value_name, complete) VALUES (:name, 0) ON CONFLICT DO NOTHING"
    connection.execute(text(statement), {"name": name})


def rank_next_by_value(connection: Connection, name: str, after: Lead, most: int) -> Lead | None:
    """Rank the next leads after one by a registered feature; the last of them, or None where all are."""
    ranked = (LEAD_RANKS.c.tenant, LEAD_RANKS.c.lead_id)
    query = (
        select(DECISIONS)
        .join(LEAD_RANKS, LEAD_RANKS.c.decision_id == DECISIONS.c.id)
        .where(LEAD_RANKS.c.value_name == "", tuple_(*ranked) > tuple_(*map(literal, after)))
        .order_by(*ranked)
        .limit(most)
    )
    rows = connection.execute(query).mappings().all()
    if not rows:
        complete = update(RANKED_VALUES).where(RANKED_VALUES.c.value_name == name)
        connection.execute(complete.values(complete=1))
        return None
    _rank_by_values(connection, [(Rank.of(dict(row)), json.loads(row["row"])) for row in rows], [name])
    return rows[-1]["tenant"], rows[-1]["lead_id"]


def _rank_by_values(
    connection: Connection,
    ranks: Sequence[tuple[Rank, Mapping[str, Value]]],
    names: Sequence[str],
) -> None:
    rows = [_value_rank(rank, name, values.get(name)) for rank, values in ranks for name in names]
    connection.execute(_RANK_BY_VALUE, rows)


def _value_rank(rank: Rank, name: str, value: Value) -> dict[str, Any]:
    number = float(value) if isinstance(value, int | float) else math.nan
    worth, columns = rank.worth * number, rank._asdict() | {"value_name": name}
    if not math.isfinite(worth):
        return columns | {"value": None, "known": 0}
    return columns | {"value": number, "worth": worth, "known": 1}


def close_leads(connection: Connection, leads: Iterable[Lead]) -> None:
    """Take leads that have an outcome off the ranks, also those that are yet to be scored."""
    keys = _keys(leads)
    if keys:
        connection.execute(_CLOSE, [key | {"lot": lead_lot(key["lead_id"])} for key in keys])
        connection.execute(_CLOSE_VALUES, keys)


def close_by_stage(connection: Connection, closed: Iterable[Lead], opened: Iterable[Lead]) -> None:
    """Take leads off the ranks that the lead store knows to be closed, and put back those it does not."""
    if ends := sorted(set(closed)):
        _CLOSE_BY_STAGE.execute_many(connection, [(*lead, lead_lot(lead[1])) for lead in ends])
        _CLOSE_VALUES_BY_STAGE.execute_many(connection, list(ends))
    if begins := sorted(set(opened)):
        _OPEN_BY_STAGE.execute_many(connection, list(begins))


def forget_stages(connection: Connection, leads: Iterable[Lead]) -> None:
    """Forget that the lead store knew leads to be closed, which it knows no more."""
    keys = sorted(set(leads))
    if keys:
        _OPEN_BY_STAGE.execute_many(connection, list(keys))
        connection.execute(_FORGET, _keys(keys))


def unrank_decisions(connection: Connection, decisions: Sequence[Mapping[str, Any]]) -> None:
    """Take deleted decisions (id, tenant and lead_id of each) off the ranks; an older one may be left."""
    if not decisions:
        return
    keys = sorted(decisions, key=lambda row: (row["tenant"], row["lead_id"], row["id"]))
    connection.execute(_UNRANK, list(map(dict, keys)))
    leads = sorted({row["lead_id"] for row in decisions})
    newest = (
        select(func.max(DECISIONS.c.id))
        .where(DECISIONS.c.lead_id.in_(leads), DECISIONS.c.shadow == 0, DECISIONS.c.model == "")
        .group_by(DECISIONS.c.tenant, DECISIONS.c.lead_id)
    )
    left = connection.execute(select(DECISIONS).where(DECISIONS.c.id.in_(newest))).mappings().all()
    rank_leads(connection, ((Rank.of(dict(row)), json.loads(row["row"])) for row in left))
    connection.execute(_FORGET, _keys((row["tenant"], row["lead_id"]) for row in keys))


def reopen_leads(connection: Connection, leads: Iterable[Lead]) -> None:
    """Put leads whose outcomes were all deleted or withdrawn back, and forget those never scored."""
    keys = _keys(leads)
    if keys:
        own = [{"of_tenant": key["tenant"], "of_lead": key["lead_id"]} for key in keys]
        connection.execute(_REOPEN, own)
        connection.execute(_FORGET, keys)


def _keys(leads: Iterable[Lead]) -> list[dict[str, Any]]:
    return [{"tenant": tenant, "lead_id": lead_id} for tenant, lead_id in sorted(set(leads))]
