"""Leads in the order of their scores: what every figure of a ranking is made from, sorted once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TINY = 1e-15


def in_order(p: NDArray[np.float64]) -> NDArray[np.intp] | slice:
    """What puts scores in order, the lowest first and equal ones as they stand; no copy where they are.

    A bootstrap asks hundreds of times about the same rows, and sorts them once.
    """
    return slice(None) if bool((p[1:] >= p[:-1]).all()) else np.argsort(p, kind="stable")


@dataclass(frozen=True, eq=False)
class Ranking:
    """(g,) distinct scores, the lowest first; the weight of converted leads and of all leads at each."""

    score: NDArray[np.float64]
    positive: NDArray[np.float64]
    total: NDArray[np.float64]

    @classmethod
    def of(
        cls, y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
    ) -> Self:
        """The ranking of (n,) outcomes by (n,) scores; (n,) weights are 1 where there are none."""
        order = in_order(p)
        p, w = p[order], np.ones(len(p)) if weights is None else weights[order]
        starts = np.flatnonzero(np.diff(p, prepend=-np.inf))
        won = w * (y[order] == 1)
        return cls(p[starts], np.add.reduceat(won, starts), np.add.reduceat(w, starts))

    @property
    def roc_auc(self) -> float:
        """The chance that a converted lead is ranked above another one, ties counting half."""
        negative = self.total - self.positive
        below = np.cumsum(negative) - negative
        pairs = self.positive.sum() * negative.sum()
        return float((self.positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")

    @property
    def average_precision(self) -> float:
        """The precision at each converted lead's rank, averaged."""
        positive, total = self.positive[::-1], self.total[::-1]
        if not positive.sum():
            return float("nan")
        with np.errstate(invalid="ignore"):  # leading groups that a resample left out are 0 of 0
            precision = np.nan_to_num(np.cumsum(positive) / np.cumsum(total))
        return float((positive * precision).sum() / positive.sum())

    @property
    def gains(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The share of leads called, best first, and the share of conversions among them."""
        positive, total = self.positive[::-1], self.total[::-1]
        called = np.append(0.0, np.cumsum(total)) / total.sum()
        found = np.append(0.0, np.cumsum(positive)) / max(positive.sum(), _TINY)
        return called, found
