"""Decisions say why a score was not to be relied on, and with it whether its number was withheld."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the code; earlier decisions have none."""
    op.add_column("decisions", sa.Column("insufficient", sa.Text))
