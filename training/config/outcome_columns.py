"""Columns of leads that the outcome itself fills or decides, whatever they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OWN_AUC = 0.9
_SAME = 0.95
_FEW = 30
_FEWEST_LEADS = 20


def own_auc(column: pl.Series, label: pl.Series) -> float:
    """ROC AUC of the outcome's mean per value: how far one column alone tells the outcome, in sample."""
    frame = pl.DataFrame({"value": column, "label": label}).drop_nulls("label")
    if frame["value"].n_unique() > max(_FEW, frame.height // 20):
        return 0.5
    rows = (
        frame.group_by("value")
        .agg(won=pl.col("label").sum(), all=pl.len())
        .with_columns(lost=pl.col("all") - pl.col("won"))
    )
    sorted_rows = rows.sort(pl.col("won") / pl.col("all"))
    won, lost = (sorted_rows[name].cast(pl.Float64).to_numpy() for name in ("won", "lost"))
    below = np.concatenate([[0.0], np.cumsum(lost)[:-1]])
    return float((won * (below + lost / 2)).sum() / max(won.sum() * lost.sum(), 1.0))


def auc_reason(auc: float) -> str:
    """Why a column is a late fact that tells the outcome with an AUC."""
    return f"it alone tells the outcome (ROC AUC {auc:.2f})"


def find_outcome_columns(
    leads: pl.DataFrame, moves: pl.DataFrame, target: str, closed: Sequence[str]
) -> Mapping[str, str]:
    """The columns of leads that are filled for just those that came to an end, or that tell it alone.

    Args:
        leads: ``lead_id`` and plain columns.
        moves: ``lead_id`` and ``stage`` of every entry into a stage.
        target: The stage that is predicted.
        closed: The other stages that end a lead's way.

    Returns:
        By column, why it is a late fact.

    >>> leads = pl.DataFrame({"lead_id": range(60), "deal": [1.5] * 30 + [None] * 30, "size": [1, 2] * 30})
    >>> moves = pl.DataFrame({"lead_id": range(30), "stage": ["sql"] * 30})
    >>> find_outcome_columns(leads, moves, "sql", [])
    {'deal': "it is filled for just the leads that entered 'sql'"}
    """
    entered = {
        stage: leads["lead_id"].is_in(moves.filter(pl.col("stage") == stage)["lead_id"].implode())
        for stage in (target, *closed)
    }
    ends = {
        **{repr(stage): is_in for stage, is_in in entered.items()},
        "an end": pl.select(pl.any_horizontal(*entered.values())).to_series(),
    }
    ends = {name: is_in for name, is_in in ends.items() if _FEWEST_LEADS < is_in.sum() < len(is_in)}
    reasons = {}
    for column in leads.drop("lead_id"):
        filled = column.is_not_null()
        same = next((n for n, is_in in ends.items() if _agree(filled, is_in)), None)
        if same is not None:
            reasons[column.name] = f"it is filled for just the leads that entered {same}"
        elif ends and (auc := own_auc(column, entered[target].cast(pl.Int8))) > OWN_AUC:
            reasons[column.name] = auc_reason(auc)
    return reasons


def _agree(filled: pl.Series, is_in: pl.Series) -> bool:
    """Whether a column is filled for nearly all of some leads, and for nearly no other."""
    return all(
        float(part.mean() or 0.0) >= _SAME  # type: ignore[arg-type]
        for part in (filled.filter(is_in), ~filled.filter(~is_in))
    )
