"""Several models in one service: which of them a decision was asked of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the model to decisions; all that are there were asked of the default one."""
    op.add_column("decisions", sa.Column("model", sa.Text, nullable=False, server_default=""))
