"""What became of every lead, as seen from its creation: the rates of whole companies and channels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from features.cohort import Snapshots
from features.labels import labels

if TYPE_CHECKING:
    from features.history import LeadHistory
    from features.labels import LabelSpec


def from_creation(history: LeadHistory, spec: LabelSpec) -> pl.DataFrame:
    """``labels`` of every lead at the second of its creation, as the funnel counts.

    A CRM that keeps the day of a stage and the minute of a creation dates an SQL of that day before the lead:
    an entry from before counts from the creation.
    """
    created = history.leads.select("lead_id", as_of=pl.col("created_at")).cast({"as_of": pl.Int64})
    moves = history.transitions.join(created, on="lead_id", how="left", maintain_order="left").with_columns(
        pl.max_horizontal("occurred_at", "as_of").alias("occurred_at"),
        pl.max_horizontal("known_at", "as_of").alias("known_at"),
    )
    return labels(replace(history, transitions=moves.drop("as_of")), Snapshots(created), spec)
