"""Each model has a history of scores, lists, hand-overs and outcomes of its own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_NUMBERED = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_SEARCH_TEXT = (
    """lower(name || '\n' || lead_id || '\n' || coalesce(account_id, '') || '\n' || coalesce(owner, ''))"""
)
_TRIGRAMS = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX named_scores_by_text ON named_scores USING gin (search_text gin_trgm_ops)",
)
_HISTORY = "lead_id, tenant, hour, as_of, probability, points, grade, model_version"


def upgrade() -> None:
    """Add the model to outcomes, hand-overs, overrides and histories, and index the lists of named models."""
    for table in ("outcomes", "handover_overrides"):
        op.add_column(table, _model())
    op.add_column("console_sessions", sa.Column("models", sa.Text, nullable=False, server_default=""))
    _rebuild_handovers()
    _rebuild_history()
    _begin_histories()
    _index_lists()


def _model(**options: Any) -> sa.Column[str]:
    return sa.Column("model", sa.Text, nullable=False, server_default="", **options)


def _tenant(**options: Any) -> sa.Column[str]:
    return sa.Column("tenant", sa.Text, nullable=False, server_default="", **options)


def _rebuild_handovers() -> None:
    """Whoever asks first decides for all who ask the same model. SQLite copies to change a constraint."""
    unique = ["tenant", "day", "capacity", "explore", "value", "owner", "dormant", "model"]
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("handovers", _model())
        op.drop_constraint("handovers_of_a_day", "handovers")
        op.create_unique_constraint("handovers_of_a_day", "handovers", unique)
        return
    op.create_table(
        "handovers_by_model",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("capacity", sa.BigInteger, nullable=False),
        sa.Column("explore", sa.Double, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("open", sa.BigInteger, nullable=False),
        sa.Column("tied", sa.BigInteger, nullable=False),
        sa.Column("tied_taken", sa.BigInteger, nullable=False),
        _tenant(),
        sa.Column("control_share", sa.Double, nullable=False, server_default="0"),
        sa.Column("owner", sa.Text, nullable=False, server_default=""),
        sa.Column("dormant", sa.SmallInteger, nullable=False, server_default="0"),
        _model(),
        sa.UniqueConstraint(*unique, name="handovers_of_a_day"),
        sqlite_autoincrement=True,
    )
    old = "id, day, capacity, explore, value, open, tied, tied_taken, tenant, control_share, owner, dormant"
    op.execute(f"INSERT INTO handovers_by_model ({old}) SELECT {old} FROM handovers")  # noqa: S608
    # A number that was given out is not given out again.
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'handovers_by_model'")
    op.execute(
        "INSERT INTO sqlite_sequence (name, seq) "
        "SELECT 'handovers_by_model', seq FROM sqlite_sequence WHERE name = 'handovers'"
    )
    op.drop_table("handovers")
    op.rename_table("handovers_by_model", "handovers")


def _rebuild_history() -> None:
    """Let a lead have a history by each model; SQLite changes a key by copying."""
    key = ["lead_id", "tenant", "model", "hour"]
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("score_history", _model())
        op.drop_constraint("score_history_pkey", "score_history", type_="primary")
        op.create_primary_key("score_history_pkey", "score_history", key)
        return
    op.drop_index("score_history_in_time", "score_history")
    op.rename_table("score_history", "earlier_score_history")
    op.create_table(
        "score_history",
        sa.Column("lead_id", sa.Text, primary_key=True),
        _tenant(primary_key=True),
        _model(primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.Column("grade", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
    )
    op.execute(f"INSERT INTO score_history ({_HISTORY}) SELECT {_HISTORY} FROM earlier_score_history")  # noqa: S608
    op.drop_table("earlier_score_history")
    op.create_index("score_history_in_time", "score_history", ["hour"])


def _begin_histories() -> None:
    """Begin the history by each named model with what is true now, or only a change would begin it."""
    op.execute(
        f"INSERT INTO score_history (model, {_HISTORY}) "  # noqa: S608
        "SELECT model, lead_id, tenant, as_of / 3600, as_of, probability, points, grade, model_version "
        "FROM named_scores WHERE probability IS NOT NULL AND points IS NOT NULL AND grade IS NOT NULL"
    )


def _index_lists() -> None:
    """Find the best leads, those of an owner and a word by an index, as of the default model."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    text = sa.Column("search_text", sa.Text, sa.Computed(_SEARCH_TEXT, persisted=is_postgresql))
    op.add_column("named_scores", text)
    # SQLite looks for a word through the index alone, in the order of the list.
    by_probability = ["tenant", "model", "state", "probability", "lead_id"]
    columns = by_probability if is_postgresql else [*by_probability, "search_text"]
    op.create_index("named_scores_by_probability", "named_scores", columns)
    op.create_index("named_scores_by_owner", "named_scores", ["tenant", "model", "state", "owner"])
    if is_postgresql:
        # No erasure reaches the planner's statistics: what is about a person stays out of them.
        op.execute("ALTER TABLE named_scores ALTER search_text SET STATISTICS 0")
        _index_trigrams()


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
