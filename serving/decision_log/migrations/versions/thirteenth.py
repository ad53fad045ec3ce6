"""What people choose lists of leads by is read from an index, however many leads have scores."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Index current scores by owner, channel and stage."""
    op.create_index(
        "current_scores_by_owner", "current_scores", ["tenant", "state", "owner", "channel", "stage"]
    )
