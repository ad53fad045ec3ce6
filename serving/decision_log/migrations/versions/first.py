"""The tables as they were first published."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBERED = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make decisions, outcomes and erasures."""
    _decisions()
    _outcomes()
    op.create_table(
        "erasures",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("decisions", sa.BigInteger, nullable=False),
        sa.Column("outcomes", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("decided_at", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("log_odds", sa.Double, nullable=False),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.Column("grade", sa.Text, nullable=False),
        sa.Column("row", sa.Text, nullable=False),
        sa.Column("reasons", sa.Text),
        sa.Column("key_id", sa.Text),
        sa.Column("shadow", sa.SmallInteger, nullable=False),
        sa.Column("explored", sa.SmallInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("decisions_of_a_lead", "decisions", ["lead_id", "id"])
    op.create_index("decisions_in_time", "decisions", ["decided_at"])


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("occurred_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("corrects", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("outcomes_of_a_lead", "outcomes", ["lead_id", "id"])
    op.create_index("outcomes_in_time", "outcomes", ["recorded_at"])
    op.create_index("corrections", "outcomes", ["corrects"])
