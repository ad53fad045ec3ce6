"""Counts which offers leads took next, and how many of these converted: what ``models.next_offers`` holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.clock import DAY
from models.next_offers import NO_OFFER, NextOffer, NextOffers, OfferHistory
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import stage_entries_since
from training.stats.intervals import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.history import LeadHistory
    from training.analysis.inputs import ReportSettings
    from training.analysis.stage_entries import StageEntries

# Of fewer leads nothing is told: it would say little, and may point at persons.
FEWEST_TAKERS = 10
# Offers that leads took next, and last offers that these are told of: the most frequent ones.
_MOST_NEXT, _MOST_LAST = 5, 200


def count_next_offers(history: LeadHistory | None, company: ReportSettings) -> NextOffers | None:
    """Count the offers that leads took next while they were open.

    An offer taken again at once is no further one. A lead counts once for each pair of offers.

    Args:
        history: What the CRM knows.
        company: Stages, label and the start of complete outcomes.

    Returns:
        The counts; None without a history, a label or offers.
    """
    if history is None or company.label is None or history.touchpoints["offer"].is_null().all():
        return None
    entries = stage_entries_since(history, company.stages, company.label, company.since)
    if isinstance(entries, NotApplicable):
        return None
    steps = _steps(entries)
    of_offers = _histories(steps, "last_offer")
    of_stages = _histories(steps.filter(pl.col("last_stage") != NO_OFFER), "last_stage")
    return NextOffers(entries.spec.horizon / DAY, of_offers, of_stages) if of_offers else None


def _steps(entries: StageEntries) -> pl.DataFrame:
    """A row for each offer that a lead had taken last while it was open, with what it took next, if anything.

    ``last_offer`` and ``last_stage``, ``offer`` and ``offer_stage``, ``is_settled`` and ``is_converted``.
    """
    spec = entries.spec
    leads = pl.DataFrame(
        {
            "lead_id": entries.lead_id,
            "lead": np.arange(len(entries.lead_id)),
            "created_at": entries.created,
            "won_at": entries.entered[:, entries.target],
            "open_until": entries.resolved_at,
        }
    )
    takes = (
        entries.history.touchpoints.filter(pl.col("offer").is_not_null())
        .join(leads, on="lead_id")
        .with_columns(moment=pl.max_horizontal("occurred_at", "created_at"))
        .filter(pl.col("moment") < pl.col("open_until"))
        .select(*leads.columns, "moment", "offer", "offer_stage")
    )
    # Every lead begins without an offer, and ends without a further one.
    ends = leads.with_columns(
        moment=pl.col("open_until"), offer=pl.lit(None, pl.String), offer_stage=pl.lit(None, pl.String)
    )
    ordered = pl.concat([takes, ends]).sort("lead", "moment", "offer", nulls_last=True)
    changes = ordered.filter(pl.col("offer").ne_missing(pl.col("offer").shift().over("lead")))
    window = spec.lead_time + spec.horizon
    is_first = pl.int_range(pl.len()).over("lead") == 0
    return changes.with_columns(
        last_offer=pl.when(is_first).then(pl.lit(NO_OFFER)).otherwise(pl.col("offer").shift().over("lead")),
        last_stage=pl.when(is_first)
        .then(pl.lit(NO_OFFER))
        .otherwise(pl.col("offer_stage").shift().over("lead")),
        is_settled=pl.col("moment") + spec.gap <= entries.until,
        is_converted=pl.col("won_at") < pl.col("moment") + window,
    )


def _histories(steps: pl.DataFrame, state: str) -> Mapping[str, OfferHistory]:
    """What leads took next, by the values of the column ``state``."""
    known = steps.filter(pl.col(state).is_not_null())
    first = known.unique([state, "lead", "offer"], keep="first", maintain_order=True)
    totals = dict(known.group_by(state).agg(pl.col("lead").n_unique()).iter_rows())
    settled = pl.col("is_settled")
    counted = (
        first.filter(pl.col("offer").is_not_null())
        .group_by(state, "offer")
        .agg(
            leads=pl.len(),
            settled=settled.sum(),
            converted=(settled & pl.col("is_converted")).sum(),
            offer_stage=pl.col("offer_stage").drop_nulls().mode().sort().first(),
        )
        .filter(pl.col("settled") >= FEWEST_TAKERS)
        .sort([state, "leads", "offer"], descending=[False, True, False])
    )
    frequent = sorted(counted[state].unique(), key=lambda name: (-totals[name], name))[:_MOST_LAST]
    return {
        name: OfferHistory(
            totals[name],
            tuple(
                _next_offer(row)
                for row in counted.filter(pl.col(state) == name).head(_MOST_NEXT).iter_rows(named=True)
            ),
        )
        for name in frequent
    }


def _next_offer(row: Mapping[str, Any]) -> NextOffer:
    rate = wilson_interval(float(row["converted"]), float(row["settled"]))
    return NextOffer(
        offer=row["offer"],
        offer_stage=row["offer_stage"],
        leads=row["leads"],
        settled=row["settled"],
        converted=row["converted"],
        rate=rate.value,
        low=rate.low,
        high=rate.high,
    )
