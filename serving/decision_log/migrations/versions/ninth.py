"""Each owner has a list of a day, with a reserve and exclusions; people decide beside the model."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_NUMBERED = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_PERSONAL = {
    "reserve_leads": ("lead_id",),
    "handover_overrides": ("lead_id", "reason", "decided_by"),
}


def upgrade() -> None:
    """Add owners to handovers, and make reserve_leads, handover_exclusions and handover_overrides."""
    _rebuild_handovers()
    op.create_table(
        "reserve_leads",
        sa.Column("handover_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("rank", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("decision_id", sa.BigInteger, nullable=False),
        sa.Column("worth", sa.Double, nullable=False),
        sa.Column("value", sa.Double),
        _tenant(),
    )
    op.create_index("reserve_leads_by_id", "reserve_leads", ["lead_id"])
    op.create_table(
        "handover_exclusions",
        sa.Column("handover_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("leads", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "handover_overrides",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decided_by", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        _tenant(),
        sqlite_autoincrement=True,
    )
    op.create_index("handover_overrides_of_a_lead", "handover_overrides", ["lead_id", "id"])
    if op.get_bind().dialect.name == "postgresql":
        # No erasure reaches the planner's statistics: what is about a person stays out of them.
        for table, columns in _PERSONAL.items():
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER {column} SET STATISTICS 0")


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.Text, nullable=False, server_default="")


def _rebuild_handovers() -> None:
    """Whoever asks first decides for all who ask the same. SQLite cannot change a constraint: it copies."""
    unique = ["tenant", "day", "capacity", "explore", "value", "owner", "dormant"]
    columns: list[sa.Column[Any]] = [
        sa.Column("owner", sa.Text, nullable=False, server_default=""),
        sa.Column("dormant", sa.SmallInteger, nullable=False, server_default="0"),
    ]
    if op.get_bind().dialect.name == "postgresql":
        for column in columns:
            op.add_column("handovers", column)
        op.drop_constraint("handovers_of_a_day", "handovers")
        op.create_unique_constraint("handovers_of_a_day", "handovers", unique)
        return
    op.create_table(
        "handovers_by_owner",
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
        *columns,
        sa.UniqueConstraint(*unique, name="handovers_of_a_day"),
        sqlite_autoincrement=True,
    )
    old = "id, day, capacity, explore, value, open, tied, tied_taken, tenant, control_share"
    op.execute(f"INSERT INTO handovers_by_owner ({old}) SELECT {old} FROM handovers")  # noqa: S608
    # A number that was given out is not given out again.
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'handovers_by_owner'")
    op.execute(
        "INSERT INTO sqlite_sequence (name, seq) "
        "SELECT 'handovers_by_owner', seq FROM sqlite_sequence WHERE name = 'handovers'"
    )
    op.drop_table("handovers")
    op.rename_table("handovers_by_owner", "handovers")
