"""A hand-over has a control group: leads that would have been handed over, and are not.

An outcome says whether a person decided it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the share of the control group, who decided an outcome, and the table control_leads."""
    op.add_column("handovers", sa.Column("control_share", sa.Double, nullable=False, server_default="0"))
    op.add_column("outcomes", sa.Column("decided_by", sa.Text))
    op.create_table(
        "control_leads",
        sa.Column("handover_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("rank", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("lead_id", sa.Text, nullable=False),
        sa.Column("decision_id", sa.BigInteger, nullable=False),
        sa.Column("worth", sa.Double, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("explored", sa.SmallInteger, nullable=False),
        sa.Column("propensity", sa.Double, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("control_leads_by_id", "control_leads", ["lead_id"])
    if op.get_bind().dialect.name == "postgresql":
        # ANALYZE takes no samples of ids, so that no erasure reaches the planner's statistics.
        op.execute("ALTER TABLE control_leads ALTER lead_id SET STATISTICS 0")
