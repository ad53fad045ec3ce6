"""Rows have a tenant, a log has a project, and each lead a row that it is ranked by.

The rows of ``lead_ranks`` are made from an old log's decisions and outcomes in batches of leads, so that the
memory it takes does not grow with the log.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

revision = "0004"
down_revision = "0003"

_NUMBERED = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_BATCH_LEADS = 5_000
# The codes under which answers of that time withheld their number.
_WITHHELD = frozenset({"too_few_outcomes"})

_CORRECTED_CORRECTIONS = (
    "SELECT key, lead_id, corrects FROM outcomes WHERE corrects IS NOT NULL AND EXISTS (SELECT 1 FROM "
    "outcomes AS later WHERE later.corrects = outcomes.key AND later.lead_id = outcomes.lead_id) ORDER BY id"
)
_CORRECT_NOTHING = "UPDATE outcomes SET corrects = NULL WHERE key = :key AND lead_id = :lead_id"
_PERSONAL = {
    "decisions": {"lead_id": "text", "row": "text", "reasons": "text", "request_id": "text"},
    "outcomes": {"lead_id": "text", "key": "text", "reason": "text", "corrects": "text"},
    "handed_over": {"lead_id": "text"},
    "lead_ranks": {"lead_id": "text"},
    "idempotent_answers": {"idempotency_key": "text", "answer": "bytea"},
    "idempotent_answer_leads": {"lead_id": "text"},
}


def upgrade() -> None:
    """Add tenants, the state of the log, ranks, answers that are kept for their keys, and erased leads."""
    for table in ("decisions", "handed_over"):
        op.add_column(table, _tenant())
    _rebuild_outcomes()
    _rebuild_handovers()
    _log_state()
    _lead_ranks()
    _idempotent_answers()
    op.create_table(
        "erased_leads",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("lead_hash", sa.Text, nullable=False),
        sa.Column("erased_at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        _keep_out_of_statistics()
    _break_circles(op.get_bind())
    _rank_decided(op.get_bind())
    _rank_reported(op.get_bind())


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.Text, nullable=False, server_default="")


def _rebuild_outcomes() -> None:
    """A key is a tenant's own. SQLite cannot change a constraint: the table is copied."""
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("outcomes", _tenant())
        op.drop_constraint("outcomes_key_key", "outcomes")
        op.create_unique_constraint("outcome_keys", "outcomes", ["tenant", "key"])
        return
    op.create_table(
        "outcomes_by_tenant",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("corrects", sa.Text),
        _tenant(),
        sa.UniqueConstraint("tenant", "key", name="outcome_keys"),
        sqlite_autoincrement=True,
    )
    _replace_table("outcomes", "id, key, lead_id, outcome, reason, occurred_at, recorded_at, corrects")
    op.create_index("outcomes_of_a_lead", "outcomes", ["lead_id", "id"])
    op.create_index("outcomes_in_time", "outcomes", ["recorded_at"])
    op.create_index("corrections", "outcomes", ["corrects"])


def _rebuild_handovers() -> None:
    """Whoever asks first on a day decides for all of the same tenant who ask the same."""
    unique = ["tenant", "day", "capacity", "explore", "value"]
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("handovers", _tenant())
        op.drop_constraint("handovers_of_a_day", "handovers")
        op.create_unique_constraint("handovers_of_a_day", "handovers", unique)
        return
    op.create_table(
        "handovers_by_tenant",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("capacity", sa.BigInteger, nullable=False),
        sa.Column("explore", sa.Double, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("open", sa.BigInteger, nullable=False),
        sa.Column("tied", sa.BigInteger, nullable=False),
        sa.Column("tied_taken", sa.BigInteger, nullable=False),
        _tenant(),
        sa.UniqueConstraint(*unique, name="handovers_of_a_day"),
        sqlite_autoincrement=True,
    )
    _replace_table("handovers", "id, day, capacity, explore, value, open, tied, tied_taken")


def _replace_table(name: str, columns: str) -> None:
    """Move the rows of a SQLite table to its new form; a number that it gave out is not given out again."""
    op.execute(f"INSERT INTO {name}_by_tenant ({columns}) SELECT {columns} FROM {name}")  # noqa: S608
    last = f"SELECT seq FROM sqlite_sequence WHERE name = '{name}'"  # noqa: S608
    count = f"DELETE FROM sqlite_sequence WHERE name = '{name}_by_tenant'"  # noqa: S608
    op.execute(count)
    op.execute(f"INSERT INTO sqlite_sequence (name, seq) SELECT '{name}_by_tenant', seq FROM ({last})")  # noqa: S608
    op.drop_table(name)
    op.rename_table(f"{name}_by_tenant", name)


def _log_state() -> None:
    state = op.create_table(
        "log_state",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("hash_key", sa.Text, nullable=False),
        sa.Column("trusted_at", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(state, [{"id": 1, "project": "", "hash_key": secrets.token_hex(32), "trusted_at": 0}])


def _lead_ranks() -> None:
    op.create_table(
        "lead_ranks",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("lead_id", sa.Text, primary_key=True),
        sa.Column("value_name", sa.Text, primary_key=True),
        sa.Column("decision_id", sa.BigInteger, nullable=False),
        sa.Column("worth", sa.Double, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("known", sa.SmallInteger, nullable=False),
        sa.Column("lot", sa.BigInteger, nullable=False),
        sa.Column("withheld", sa.SmallInteger, nullable=False),
        sa.Column("closed", sa.SmallInteger, nullable=False),
    )
    op.create_table(
        "ranked_values",
        sa.Column("value_name", sa.Text, primary_key=True),
        sa.Column("complete", sa.SmallInteger, nullable=False),
    )
    is_open = "closed = 0 AND withheld = 0"
    _partial_index("ranks_by_worth", ["tenant", "value_name", "known", "worth", "lot"], is_open)
    _partial_index("ranks_by_value", ["tenant", "value_name", "value"], f"{is_open} AND value IS NOT NULL")


def _partial_index(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "lead_ranks", columns, sqlite_where=condition, postgresql_where=condition)


def _idempotent_answers() -> None:
    op.create_table(
        "idempotent_answers",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("body_sha256", sa.Text, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        _tenant(),
        sa.UniqueConstraint("caller", "idempotency_key", name="idempotency_keys"),
        sqlite_autoincrement=True,
    )
    op.create_index("idempotent_answers_in_time", "idempotent_answers", ["answered_at"])
    op.create_table(
        "idempotent_answer_leads",
        sa.Column("answer_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("lead_id", sa.Text, primary_key=True),
    )
    op.create_index("idempotent_answers_of_a_lead", "idempotent_answer_leads", ["lead_id"])


def _keep_out_of_statistics() -> None:
    """Let ANALYZE take no samples of what is about a person: no erasure reaches the planner's statistics.

    Changing a column to its own type drops the samples that there are.
    """
    for table, columns in _PERSONAL.items():
        actions = (
            f"ALTER {column} TYPE {kind}, ALTER {column} SET STATISTICS 0" for column, kind in columns.items()
        )
        op.execute(f"ALTER TABLE {table} {', '.join(actions)}")


def _break_circles(connection: Connection) -> None:
    """Let the newest of outcomes that correct each other in a circle stand: nothing corrects it any more."""
    corrections: dict[tuple[str, str], str] = {}
    for key, lead_id, corrects in connection.execute(sa.text(_CORRECTED_CORRECTIONS)).all():
        corrections[lead_id, key] = corrects
        last, following = key, corrects
        while following is not None and following != key:
            last, following = following, corrections.get((lead_id, following))
        if following == key:
            corrections.pop((lead_id, last))
            connection.execute(sa.text(_CORRECT_NOTHING), {"key": last, "lead_id": lead_id})


def _rank_decided(connection: Connection) -> None:
    """A row for each lead that was answered about, from its newest answered decision."""
    newest = (
        "SELECT lead_id, max(id) FROM decisions WHERE shadow = 0 AND lead_id > :after "
        "GROUP BY lead_id ORDER BY lead_id LIMIT :most"
    )
    for batch in _batches_of_leads(connection, newest):
        rows = connection.execute(
            sa.text(
                "SELECT id, lead_id, probability, insufficient FROM decisions WHERE id IN :ids"
            ).bindparams(sa.bindparam("ids", [number for _, number in batch], expanding=True))
        )
        _insert_ranks(
            connection,
            [_rank(row.lead_id, row.id, row.probability, int(row.insufficient in _WITHHELD)) for row in rows],
        )
    connection.execute(
        sa.text(
            "UPDATE lead_ranks SET closed = 1 "
            "WHERE EXISTS (SELECT 1 FROM outcomes WHERE outcomes.lead_id = lead_ranks.lead_id)"
        )
    )


def _rank_reported(connection: Connection) -> None:
    """A row for each lead that has outcomes only: it is closed before it is ever scored."""
    reported = (
        "SELECT lead_id, max(id) FROM outcomes WHERE lead_id > :after AND NOT EXISTS "
        "(SELECT 1 FROM lead_ranks WHERE lead_ranks.lead_id = outcomes.lead_id) "
        "GROUP BY lead_id ORDER BY lead_id LIMIT :most"
    )
    for batch in _batches_of_leads(connection, reported):
        _insert_ranks(connection, [_rank(lead_id, 0, 0.0, 1) | {"closed": 1} for lead_id, _ in batch])


def _batches_of_leads(connection: Connection, query: str) -> Iterator[list[tuple[str, int]]]:
    after = ""
    while batch := connection.execute(sa.text(query), {"after": after, "most": _BATCH_LEADS}).all():
        yield [(lead_id, number) for lead_id, number in batch]
        after = batch[-1][0]


def _insert_ranks(connection: Connection, rows: list[dict[str, Any]]) -> None:
    columns = (
        "tenant",
        "lead_id",
        "value_name",
        "decision_id",
        "worth",
        "known",
        "lot",
        "withheld",
        "closed",
    )
    table = sa.table("lead_ranks", *(sa.column(name) for name in columns))
    connection.execute(sa.insert(table), rows)


def _rank(lead_id: str, decision_id: int, probability: float, withheld: int) -> dict[str, Any]:
    digest = hashlib.sha256(lead_id.encode()).digest()
    return {
        "tenant": "",
        "lead_id": lead_id,
        "value_name": "",
        "decision_id": decision_id,
        "worth": probability,
        "known": 1,
        "lot": int.from_bytes(digest[:8], "big") % (2**31 - 1),
        "withheld": withheld,
        "closed": 0,
    }
