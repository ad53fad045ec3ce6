"""Exact tests: whether an odds ratio or a rate lies beyond a bound, for few events and rare outcomes."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln
from scipy.stats import binom

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]


def odds_ratio_above(hits: Counts, rows: Counts, all_hits: Counts, all_rows: Counts, bound: float) -> float:
    """The exact p-value of the hypothesis that a group's odds are at most ``bound`` times the others'.

    Conditional on the margins of each stratum, the hits of a group follow Fisher's noncentral hypergeometric
    distribution; those of independent strata add up (Gart 1970). Without strata and with a bound of 1 this is
    Fisher's exact test.

    Args:
        hits: (strata,) hits in the group.
        rows: (strata,) rows of the group.
        all_hits: (strata,) hits in the group and outside of it.
        all_rows: (strata,) rows in the group and outside of it.
        bound: The greatest odds ratio of the hypothesis, above 0.

    Returns:
        How likely at least as many hits are in the group if its odds ratio is ``bound``.

    >>> one = [np.array([count]) for count in (9, 10, 10, 30)]
    >>> round(odds_ratio_above(*one, bound=1.0), 9)
    6.69e-06
    """
    strata = [
        _noncentral_hypergeometric(*margins, float(np.log(bound)))
        for margins in zip(rows.tolist(), all_hits.tolist(), all_rows.tolist(), strict=True)
    ]
    least = sum(start for start, _ in strata)
    total = reduce(np.convolve, [chances for _, chances in strata], np.ones(1))
    return float(min(1.0, total[max(int(hits.sum()) - least, 0) :].sum()))


def _noncentral_hypergeometric(
    rows: int, all_hits: int, all_rows: int, log_odds: float
) -> tuple[int, Floats]:
    """The least possible number of hits in a group, and the chance of it and of each greater one."""
    least, most = max(0, rows + all_hits - all_rows), min(rows, all_hits)
    x = np.arange(least, most + 1)
    log_chance = (
        x * log_odds
        - gammaln(x + 1)
        - gammaln(rows - x + 1)
        - gammaln(all_hits - x + 1)
        - gammaln(all_rows - all_hits - rows + x + 1)
    )
    chance = np.exp(log_chance - log_chance.max())
    return least, chance / chance.sum()


def rate_above(hits: int, rows: int, bound: float) -> float:
    """The exact p-value of the hypothesis that a rate is at most ``bound`` (Clopper and Pearson 1934).

    >>> rate_above(15, 15, 0.5) == 0.5**15
    True
    """
    return float(binom.sf(hits - 1, rows, bound))
