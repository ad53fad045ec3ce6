"""What is true now of each lead by other models than the default one, and the points last logged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_PERSONAL = ("lead_id", "account_id", "owner", "name", "attributes")


def upgrade() -> None:
    """Make named_scores; a step of a current score is counted from the points that it has now."""
    op.add_column("current_scores", sa.Column("decided_points", sa.BigInteger))
    op.execute("UPDATE current_scores SET decided_points = points WHERE decision_id IS NOT NULL")
    op.create_table(
        "named_scores",
        sa.Column("lead_id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, primary_key=True, server_default=""),
        sa.Column("decision_id", sa.BigInteger),
        sa.Column("model", sa.Text, primary_key=True, server_default=""),
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
        sa.Column("decided_points", sa.BigInteger),
    )
    indexes = {
        "named_scores_of_account": (["account_id", "tenant", "model"], "account_id IS NOT NULL"),
        "named_scores_in_time": (["model", "model_version", "scored_at"], "state <> 'closed'"),
    }
    for name, (columns, condition) in indexes.items():
        where = sa.text(condition)
        op.create_index(name, "named_scores", columns, sqlite_where=where, postgresql_where=where)
    if op.get_bind().dialect.name == "postgresql":
        # No erasure reaches the planner's statistics: what is about a person stays out of them.
        for column in _PERSONAL:
            op.execute(f"ALTER TABLE named_scores ALTER {column} SET STATISTICS 0")
