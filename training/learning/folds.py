"""Which rows judge a model, and which it may have learned from by then."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

# The later rows are judged in slices that begin after these shares of all rows.
ORIGINS = (0.4, 0.6, 0.8)
_FEWEST_TRAINING, _FEWEST_JUDGED, _FEWEST_OF_A_CLASS = 40, 10, 3


@dataclass(frozen=True, eq=False)
class LearningRows:
    """Rows to learn from: features, outcomes, and what is known about when and who.

    ``frame`` holds feature columns only, Float64 or String, null being missing; ``y`` is 0 or 1. ``order``
    says which rows are later (equal values belong together), ``gap`` how much earlier than a judged slice the
    training rows must end, in the units of ``order``: the horizon of the label. ``groups`` are rows that may
    not be on both sides of a shuffled split, such as the snapshots of one lead.

    ``matured`` are the rows whose time is over, None if all are. Only these can judge: of the newest rows the
    fast outcomes alone are known, and weights make up for that over all rows, but not in a slice of time.
    ``monotone`` says of number columns that more may never lower a score (1), or never raise it (-1).
    """

    frame: pl.DataFrame
    y: NDArray[np.number]
    order: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    groups: NDArray[np.int64] | None = None
    gap: int = 0
    matured: NDArray[np.bool_] | None = None
    monotone: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.y)

    def take(self, rows: NDArray[np.intp]) -> LearningRows:
        """The rows at these positions."""
        return LearningRows(
            frame=self.frame[rows],
            y=self.y[rows],
            order=None if self.order is None else self.order[rows],
            weights=None if self.weights is None else self.weights[rows],
            groups=None if self.groups is None else self.groups[rows],
            gap=self.gap,
            matured=None if self.matured is None else self.matured[rows],
            monotone=self.monotone,
        )

    @property
    def judges(self) -> NDArray[np.intp]:
        """The positions of the matured rows."""
        return np.arange(len(self)) if self.matured is None else np.flatnonzero(self.matured)

    @cached_property
    def w(self) -> NDArray[np.float64]:
        """(n,) weights, 1 where none are given."""
        return np.ones(len(self)) if self.weights is None else self.weights

    @cached_property
    def rate(self) -> float:
        """The weighted share of positives, kept off 0 and 1 by half a row."""
        return float((self.w @ self.y + 0.5) / (self.w.sum() + 1.0))


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions to train on and positions to judge on."""

    train: NDArray[np.intp]
    judge: NDArray[np.intp]


def folds(rows: LearningRows, count: int, seed: int) -> tuple[tuple[Fold, ...], bool]:
    """How to judge recipes on ``rows``, and whether the folds respect time.

    Ordered rows are judged by rolling origins; where the order is too coarse for two of them, or there is
    none, by stratified shuffled folds.
    """
    rolled = () if rows.order is None else _rolling(rows, rows.order)
    return (rolled, True) if len(rolled) > 1 else (_shuffled(rows, count, seed), False)


def fold_of(rows: LearningRows, count: int, seed: int) -> NDArray[np.intp]:
    """(n,) the fold that each row is held out in: shuffled, equal shares of both classes, groups kept whole.

    Fewer folds than asked when a class has too few rows, but at least two.
    """
    random = np.random.default_rng(seed)
    unit, place = np.unique(np.arange(len(rows)) if rows.groups is None else rows.groups, return_inverse=True)
    positive = np.bincount(place, weights=rows.y, minlength=len(unit)) > 0
    count = max(2, min(count, int(positive.sum()), int((~positive).sum())))
    held = np.empty(len(unit), dtype=np.intp)
    for one_class in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        held[random.permutation(one_class)] = (np.arange(len(one_class)) + random.integers(count)) % count
    return held[place]


def _shuffled(rows: LearningRows, count: int, seed: int) -> tuple[Fold, ...]:
    held = fold_of(rows, count, seed)
    return tuple(Fold(np.flatnonzero(held != k), np.flatnonzero(held == k)) for k in range(held.max() + 1))


def _rolling(rows: LearningRows, order: NDArray[np.int64]) -> tuple[Fold, ...]:
    """Train on what was known before each origin, judge on what came until the next."""
    origins = np.unique(np.quantile(order, ORIGINS, method="higher"))
    ends = np.append(origins[1:], order.max() + 1)
    made = (
        Fold(np.flatnonzero(order < start - rows.gap), np.flatnonzero((order >= start) & (order < end)))
        for start, end in zip(origins, ends, strict=True)
    )
    return tuple(fold for fold in made if _usable(rows.y, fold))


def _usable(y: NDArray[np.number], fold: Fold) -> bool:
    if len(fold.train) < _FEWEST_TRAINING or len(fold.judge) < _FEWEST_JUDGED:
        return False
    positives = int(y[fold.train].sum())
    return min(positives, len(fold.train) - positives) >= _FEWEST_OF_A_CLASS and bool(y[fold.judge].any())
