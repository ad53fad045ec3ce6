"""Which leads today's rule gives to sales: by the points table, if one was named, or by their stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.cohort import Snapshots
from features.engine import known
from models.points_table import points

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from features.history import LeadHistory
    from training.insight.given import ReportInput

    Flags = NDArray[np.bool_]


def handed_over(given: ReportInput) -> Flags | None:
    """(n,) whether today's rule had handed over each judged lead by its as_of; None without a rule."""
    table, stage = given.company.points, given.company.hand_over
    if given.history is None:
        return None
    drawn = given.scores.select("lead_id", "as_of")
    if table is not None:
        total = points(table, given.history, Snapshots(drawn))["points"]
        return (total >= table.thresholds.mql).to_numpy()
    return None if stage is None else _entered(given.history, stage, drawn)


def _entered(history: LeadHistory, stage: str, drawn: pl.DataFrame) -> Flags:
    """(n,) whether the CRM knew at each snapshot that the lead had entered ``stage``."""
    entries = history.transitions.filter(pl.col("stage") == stage)
    rows = drawn.with_row_index("row")
    seen = rows.join(entries, on="lead_id").filter(
        known(pl.col("occurred_at"), pl.col("known_at"), pl.col("as_of"))
    )
    return rows["row"].is_in(seen["row"].unique().implode()).to_numpy()
