"""Which leads are closed: those whose closing was not undone by opening them again.

Everything that asks whether a lead was closed, or why, goes by ``standing_transitions``; only a label, which
looks at one window, asks for the reopenings of that window itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Collection

    from features.history import LeadHistory


def standing_transitions(
    history: LeadHistory, closed: Collection[str], reopen: Collection[str]
) -> pl.DataFrame:
    """The transitions that the CRM knew of, without closings after which the lead was opened again.

    Args:
        history: What the CRM knows.
        closed: The stages that close a lead.
        reopen: The stages that open a closed lead again. A closing of the same second as a reopening stands.

    Returns:
        Rows of ``history.transitions`` known before ``history.observed_until``, in their order.
    """
    known = history.transitions.filter(pl.col("known_at") < history.observed_until)
    reopenings = known.filter(pl.col("stage").is_in(reopen))
    if reopenings.is_empty():
        return known
    last = reopenings.group_by("lead_id").agg(pl.col("occurred_at").max().alias(_REOPENED))
    joined = known.join(last, on="lead_id", how="left", maintain_order="left")
    undone = pl.col("stage").is_in(closed) & (pl.col("occurred_at") < pl.col(_REOPENED)).fill_null(
        value=False
    )
    return joined.filter(~undone).drop(_REOPENED)


_REOPENED = "leadloop.reopened_at"
