"""The lead store: what is known of leads, an event a row, and who is not taken in again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make lead_events and forgotten_leads."""
    op.create_table(
        "lead_events",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("other", sa.Text),
        sa.Column("occurred_at", sa.BigInteger),
        sa.Column("known_at", sa.BigInteger, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("origin", sa.SmallInteger, nullable=False),
        sa.Column("removed_at", sa.BigInteger),
    )
    op.create_index("events_of_a_subject", "lead_events", ["subject", "tenant", "received_at"])
    has_other = sa.text("other IS NOT NULL")
    op.create_index(
        "events_by_other",
        "lead_events",
        ["other", "tenant"],
        sqlite_where=has_other,
        postgresql_where=has_other,
    )
    op.create_table(
        "forgotten_leads",
        sa.Column("lead_hash", sa.Text, primary_key=True),
        sa.Column("known_at", sa.BigInteger, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # No erasure reaches the planner's statistics: what is about a person stays out of them.
        for column in ("event_id", "subject", "other", "content"):
            op.execute(f"ALTER TABLE lead_events ALTER {column} SET STATISTICS 0")
