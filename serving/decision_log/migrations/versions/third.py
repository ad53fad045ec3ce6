"""Hand-overs: what was asked for on a day, and which leads it came to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NUMBERED = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make handovers and handed_over."""
    op.create_table(
        "handovers",
        sa.Column("id", _NUMBERED, primary_key=True),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("capacity", sa.BigInteger, nullable=False),
        sa.Column("explore", sa.Double, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("open", sa.BigInteger, nullable=False),
        sa.Column("tied", sa.BigInteger, nullable=False),
        sa.Column("tied_taken", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("day", "capacity", "explore", "value", name="handovers_of_a_day"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "handed_over",
        sa.Column("handover_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("rank", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("decision_id", sa.BigInteger, nullable=False),
        sa.Column("worth", sa.Double, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("explored", sa.SmallInteger, nullable=False),
        sa.Column("propensity", sa.Double, nullable=False),
    )
    op.create_index("handed_over_leads", "handed_over", ["lead_id"])
