"""The chance that a lead is handed over while it waits, from the lists of a decision log, and its weight.

A lead that is not drawn today waits for tomorrow's lot. One over a single day's chance would count it as
often as it had chances to be missed, so what counts is its chance to be on any list: one minus the product of
its chances to miss each of them.

Weights are stabilised (Robins, Hernan and Brumback 2000) by the chance that a lead of the same first day
would have by lots alone: leads of days with few lots count less, instead of a few of them counting for
hundreds. So no weight is above 1 as far as the chances are right; any that is far larger than the others is
truncated (Ionides 2008, Journal of Computational and Graphical Statistics 17), which is a bias that has to be
said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CumulativePropensities:
    """Chances of leads over all lists of a log.

    Attributes:
        handed_over: (n,) to be on any list, in (0, 1].
        by_lot: (n,) to be on any list for a lead that was first scored on the same day and is never above a
            cut, in [0, 1].
    """

    handed_over: Floats
    by_lot: Floats

    @property
    def weights(self) -> Floats:
        """(n,) stabilised weights; where there were no lots at all, one over ``handed_over``."""
        return (self.by_lot if self.by_lot.any() else np.ones(len(self.by_lot))) / self.handed_over


def cumulative_propensities(
    handed_over: pl.DataFrame, lists: pl.DataFrame, until: int
) -> CumulativePropensities:
    """Compute each lead's chance to be on a list of the log by a day, given when it began to wait.

    Before its hand-over a lead was below the cut of every list, so that only lots could take it. Had it not
    been taken, it would have gone on waiting with the worth that it had: that is an assumption. A lead is on
    no list of the day on which it was first scored, except on its own. A list of an owner has this owner's
    leads alone, and a lead is taken to have had the owner of its own list all along.

    Args:
        handed_over: A row per lead with ``tenant``, ``handover_id``, ``propensity`` and ``worth`` of its
            hand-over, ``first_decided_at``, the time of its first score, and maybe ``owner`` ("": anybody's).
        lists: A row per list with ``handover_id``, ``day``, ``tenant`` ("": all), ``by_lot``, the chance of a
            lead below the cut, ``cut``, the worth of the last lead above it, and ``at_cut``, the chance of a
            lead of just this worth to be above; maybe ``owner``, whose leads alone it has ("": those of all).
        until: Lists of later days do not count, in epoch seconds.

    Returns:
        The chances of the leads.

    >>> import polars as pl
    >>> lists = pl.DataFrame({"handover_id": [1, 2], "day": [0, 86400], "tenant": "", "by_lot": [0.5, 0.5]})
    >>> lists = lists.with_columns(cut=pl.lit(0.9), at_cut=pl.lit(1.0))
    >>> lead = pl.DataFrame({"tenant": [""], "handover_id": [2], "propensity": [0.5], "worth": [0.1]})
    >>> chances = cumulative_propensities(lead.with_columns(first_decided_at=0), lists, 86400)
    >>> chances.handed_over.tolist(), chances.weights.tolist()
    ([0.75], [1.0])
    """
    own_id, worth, own_chance, since = (
        handed_over[name].to_numpy() for name in ("handover_id", "worth", "propensity", "first_decided_at")
    )
    tenant = handed_over["tenant"].to_numpy()
    owner = handed_over["owner"].to_numpy() if "owner" in handed_over.columns else None
    missed, missed_by_lots = np.ones(handed_over.height), np.ones(handed_over.height)
    is_past = np.ones(handed_over.height, dtype=np.bool_)
    for each in lists.sort("day", "handover_id").iter_rows(named=True):
        is_own = own_id == each["handover_id"]
        is_candidate = (since <= each["day"]) & (each["day"] <= until)
        if each["tenant"]:
            is_candidate &= tenant == each["tenant"]
        if owner is not None and each.get("owner"):
            is_candidate &= owner == each["owner"]
        above = np.where(worth > each["cut"], 1.0, np.where(worth == each["cut"], each["at_cut"], 0.0))
        chance = np.where(is_past, each["by_lot"], above + (1 - above) * each["by_lot"])
        missed *= np.where(is_own, 1 - own_chance, np.where(is_candidate, 1 - chance, 1.0))
        missed_by_lots *= np.where(is_own | is_candidate, 1 - each["by_lot"], 1.0)
        is_past &= ~is_own
    # A list that the log holds no longer: its own chance is all there is to know.
    is_unlisted = ~np.isin(own_id, lists["handover_id"].to_numpy())
    chances = np.where(is_unlisted, own_chance, 1 - missed)
    return CumulativePropensities(chances, 1 - missed_by_lots)


@dataclass(frozen=True, slots=True)
class TruncatedWeights:
    """Weights of which none is above ``limit``.

    Attributes:
        weights: (n,) the weights.
        limit: The largest that is left.
        truncated: How many were larger.
        share_before: The share of all weight that these had.
        share_after: The share that they have now: the bias is that these leads count for so much less.
    """

    weights: Floats
    limit: float
    truncated: int
    share_before: float
    share_after: float


def truncate_weights(weights: Floats) -> TruncatedWeights:
    """Truncate weights at their mean times the square root of their number (Ionides 2008).

    >>> result = truncate_weights(np.array([1.0] * 99 + [301.0]))
    >>> result.limit, result.truncated, round(result.share_before, 2), round(result.share_after, 2)
    (40.0, 1, 0.75, 0.29)
    """
    limit = float(weights.mean() * np.sqrt(len(weights)))
    result, is_larger = np.minimum(weights, limit), weights > limit
    return TruncatedWeights(
        result,
        limit,
        int(is_larger.sum()),
        float(weights[is_larger].sum() / weights.sum()),
        float(result[is_larger].sum() / result.sum()),
    )
