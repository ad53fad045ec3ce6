"""The events of a lead lie together, so that many leads are read at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_KEY = ["subject", "tenant", "kind", "event_id"]


def upgrade() -> None:
    """Order events by lead and kind; whatever the way, an event's id is one of a kind for its tenant."""
    op.drop_index("events_of_a_subject", "lead_events")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("lead_events_pkey", "lead_events", type_="primary")
        op.create_primary_key("lead_events_pkey", "lead_events", _KEY)
        op.create_unique_constraint("event_ids", "lead_events", ["tenant", "event_id"])
        return
    # SQLite orders a table by its key only when it is made.
    op.drop_index("events_by_other", "lead_events")
    op.rename_table("lead_events", "earlier_lead_events")
    op.create_table(
        "lead_events",
        *(sa.Column(name, sa.Text, primary_key=True) for name in _KEY),
        sa.Column("other", sa.Text),
        sa.Column("occurred_at", sa.BigInteger),
        sa.Column("known_at", sa.BigInteger, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("origin", sa.SmallInteger, nullable=False),
        sa.Column("removed_at", sa.BigInteger),
        sa.UniqueConstraint("tenant", "event_id", name="event_ids"),
        sqlite_with_rowid=False,
    )
    order = ", ".join(_KEY)
    names = f"{order}, other, occurred_at, known_at, content, received_at, origin, removed_at"
    op.execute(
        f"INSERT INTO lead_events ({names}) SELECT {names} FROM earlier_lead_events ORDER BY {order}"  # noqa: S608
    )
    op.drop_table("earlier_lead_events")
    has_other = sa.text("other IS NOT NULL")
    op.create_index("events_by_other", "lead_events", ["other", "tenant"], sqlite_where=has_other)
