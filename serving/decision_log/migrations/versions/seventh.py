"""What is true now of each lead of the store: its score, how it came there, and who is to be scored."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_PERSONAL = {
    "score_queue": ("lead_id",),
    "current_scores": ("lead_id", "account_id", "owner", "name", "attributes"),
    "score_history": ("lead_id",),
}


def upgrade() -> None:
    """Make score_queue, current_scores, score_history and leases; every lead of the store is to be scored."""
    op.create_table(
        "score_queue",
        sa.Column("lead_id", sa.Text, primary_key=True),
        _tenant(),
        sa.Column("is_account", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
    )
    op.create_index("score_queue_in_time", "score_queue", ["since"])
    _current_scores()
    _rank_by_state()
    op.create_table(
        "score_history",
        sa.Column("lead_id", sa.Text, primary_key=True),
        _tenant(),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.Column("grade", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
    )
    op.create_index("score_history_in_time", "score_history", ["hour"])
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.get_bind().execute(
        sa.text(
            "INSERT INTO score_queue (lead_id, tenant, is_account, since, token) "
            "SELECT DISTINCT subject, tenant, 0, :now, 0 FROM lead_events WHERE kind = 'lead'"
        ),
        {"now": int(time.time())},
    )
    if op.get_bind().dialect.name == "postgresql":
        # No erasure reaches the planner's statistics: what is about a person stays out of them.
        for table, columns in _PERSONAL.items():
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER {column} SET STATISTICS 0")


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.Text, primary_key=True, server_default="")


def _current_scores() -> None:
    op.create_table(
        "current_scores",
        sa.Column("lead_id", sa.Text, primary_key=True),
        _tenant(),
        sa.Column("decision_id", sa.BigInteger),
        sa.Column("model", sa.Text, nullable=False, server_default=""),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("scored_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("probability", sa.Double),
        sa.Column("points", sa.BigInteger),
        sa.Column("grade", sa.Text),
        sa.Column("interval_low", sa.Double),
        sa.Column("interval_high", sa.Double),
        sa.Column("insufficient", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("problem", sa.Text),
        sa.Column("fit", sa.SmallInteger),
        sa.Column("engagement", sa.SmallInteger),
        sa.Column("combined_grade", sa.Text),
        sa.Column("account_id", sa.Text),
        sa.Column("owner", sa.Text),
        sa.Column("channel", sa.Text),
        sa.Column("stage", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger),
        sa.Column("last_activity_at", sa.BigInteger),
        sa.Column("attributes", sa.Text, nullable=False),
    )
    by_probability = ["tenant", "state", "probability", "lead_id"]
    op.create_index("current_scores_by_probability", "current_scores", by_probability)
    partial = {
        "current_scores_of_account": (["account_id", "tenant"], "account_id IS NOT NULL"),
        "current_scores_in_time": (["model_version", "scored_at"], "state <> 'closed'"),
    }
    for name, (columns, condition) in partial.items():
        where = sa.text(condition)
        op.create_index(name, "current_scores", columns, sqlite_where=where, postgresql_where=where)


def _rank_by_state() -> None:
    """Hand-overs leave dormant leads out; the decisions of earlier releases call none so."""
    op.add_column("lead_ranks", sa.Column("dormant", sa.SmallInteger, nullable=False, server_default="0"))
    is_open = "closed = 0 AND withheld = 0"
    indexes = {
        "ranks_by_worth": (["tenant", "value_name", "known", "dormant", "worth", "lot"], is_open),
        "ranks_by_value": (["tenant", "value_name", "dormant", "value"], f"{is_open} AND value IS NOT NULL"),
    }
    for name, (columns, condition) in indexes.items():
        op.drop_index(name, "lead_ranks")
        where = sa.text(condition)
        op.create_index(name, "lead_ranks", columns, sqlite_where=where, postgresql_where=where)
