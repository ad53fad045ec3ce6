"""The events of a lead lie together, to read many at once; a word is looked for in one text of a lead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

# Computed by the database, so that it is in step whoever writes or erases a row.
_SEARCH_TEXT = (
    """lower(name || '\n' || lead_id || '\n' || coalesce(account_id, '') || '\n' || coalesce(owner, ''))"""
)
_TRIGRAMS = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX current_scores_by_text ON current_scores USING gin (search_text gin_trgm_ops)",
)
_KEY = ["subject", "tenant", "kind", "event_id"]


def upgrade() -> None:
    """Order events by lead and kind, and index the text that lists are searched by."""
    _order_events()
    _index_texts()


def _order_events() -> None:
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


def _index_texts() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.add_column(
        "current_scores",
        sa.Column("search_text", sa.Text, sa.Computed(_SEARCH_TEXT, persisted=is_postgresql)),
    )
    if is_postgresql:
        op.execute("ALTER TABLE current_scores ALTER search_text SET STATISTICS 0")
        _index_trigrams()
        return
    # SQLite looks through the index alone, in the order of the list.
    op.drop_index("current_scores_by_probability", "current_scores")
    columns = ["tenant", "state", "probability", "lead_id", "search_text"]
    op.create_index("current_scores_by_probability", "current_scores", columns)


def _index_trigrams() -> None:
    """Index the texts by trigrams where PostgreSQL has them; without, each row is looked at."""
    connection = op.get_bind()
    try:
        with connection.begin_nested():
            for statement in _TRIGRAMS:
                connection.execute(sa.text(statement))
    except sa.exc.DBAPIError:
        # Not installed, or not for this user: docs/how-to/postgresql.md says how an administrator adds it.
        return
