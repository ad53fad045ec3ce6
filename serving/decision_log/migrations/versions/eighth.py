"""The outbox: messages to webhooks that are to be delivered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make webhook_messages."""
    op.create_table(
        "webhook_messages",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
        ),
        sa.Column("subscription", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False, server_default=""),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("due_since", sa.BigInteger, nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("given_up", sa.SmallInteger, nullable=False),
        sa.Column("error", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "webhook_messages_of_a_lead", "webhook_messages", ["lead_id", "tenant", "subscription", "id"]
    )
    due = sa.text("given_up = 0")
    op.create_index(
        "webhook_messages_due",
        "webhook_messages",
        ["subscription", "next_at", "id"],
        sqlite_where=due,
        postgresql_where=due,
    )
    op.create_index("webhook_messages_in_time", "webhook_messages", ["created_at"])
    if op.get_bind().dialect.name == "postgresql":
        # No erasure reaches the planner's statistics: what is about a person stays out of them.
        for column in ("lead_id", "payload"):
            op.execute(f"ALTER TABLE webhook_messages ALTER {column} SET STATISTICS 0")
