"""Check of events, LC017: touchpoints that leave a lead, or come to it, with its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.messages import Message
from training.leakage.column_checks import CERTAIN, NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.history import LeadHistory
    from training.data.dataset import Dataset
    from training.leakage.column_checks import FindingRows

# A true signal is more frequent on one side; rows that move with the outcome are on one side alone.
PRACTICALLY_NONE = 0.02


def events_move_with_outcome(dataset: Dataset) -> FindingRows:
    """Kinds of touchpoint that hardly a converted lead has, before or after, or hardly any other lead.

    Some CRMs move the activities of a lead to another id once it converts. What is left then tells the
    outcome, and no open lead can show it. The share of leads with any touchpoint of the kind is compared by
    outcome, for converted leads before and after it; ten leads more or fewer must have been expected.
    """
    if dataset.history is None:
        raise NotApplicableError(Message("not_applicable.flat"))
    if dataset.history.touchpoints.is_empty():
        raise NotApplicableError(Message("not_applicable.no_touchpoints"))
    outcomes = _outcomes(dataset)
    won, others = (outcomes.filter(pl.col("won") == side).height for side in (True, False))
    for kind, before, after, ever, other in _shares(dataset.history, outcomes, won, others):
        shares: dict[str, str | float] = {
            "kind": repr(kind),
            "before": before,
            "after": after,
            "others": other,
        }
        if won * other >= CERTAIN and ever <= PRACTICALLY_NONE * other:
            yield "medium", "", Message("findings.events_leave", **shares)
        elif others * before >= CERTAIN and other <= PRACTICALLY_NONE * before:
            yield "medium", "", Message("findings.events_arrive", **shares)


def _outcomes(dataset: Dataset) -> pl.DataFrame:
    """One row a lead: whether it converted, and when that, or that it did not, was known."""
    settled = pl.lit(None, pl.Int64) if dataset.settled_at is None else pl.Series(dataset.settled_at)
    rows = dataset.rows.select("lead_id", won=pl.Series(dataset.label == 1), settled=settled)
    return rows.group_by("lead_id").agg(
        pl.col("won").any(),
        pl.coalesce(pl.col("settled").filter(pl.col("won")).min(), pl.col("settled").max()).alias("settled"),
    )


def _shares(
    history: LeadHistory, outcomes: pl.DataFrame, won: int, others: int
) -> Iterator[tuple[str, float, float, float, float]]:
    """By kind: the shares of converted leads with any before, after and at any time, and of the others."""
    by_lead = (
        history.touchpoints.select("lead_id", pl.col("kind").cast(pl.String), "occurred_at")
        .join(outcomes, on="lead_id")
        .group_by("kind", "lead_id")
        .agg(
            pl.col("won").first(),
            before=(pl.col("occurred_at") < pl.col("settled") - 1).any(),
            after=(pl.col("occurred_at") >= pl.col("settled") - 1).any(),
        )
    )
    counts = by_lead.group_by("kind").agg(
        before=(pl.col("won") & pl.col("before")).sum(),
        after=(pl.col("won") & pl.col("after")).sum(),
        ever=pl.col("won").sum(),
        others=(~pl.col("won") & pl.col("before")).sum(),
    )
    for kind, before, after, ever, other in counts.sort("kind").iter_rows():
        yield kind, before / max(won, 1), after / max(won, 1), ever / max(won, 1), other / max(others, 1)
