"""Which rows judge a model, and which it may have learned from by then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.training_rows import TrainingRows

# The later rows are judged in slices that begin after these shares of all rows.
ORIGINS = (0.4, 0.6, 0.8)
_FEWEST_TRAINING, _FEWEST_JUDGED, _FEWEST_OF_A_CLASS = 40, 10, 3


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions to train on and positions to judge on."""

    train: NDArray[np.intp]
    validate: NDArray[np.intp]


def make_folds(rows: TrainingRows, count: int, seed: int) -> tuple[tuple[Fold, ...], bool]:
    """How to judge recipes on ``rows``, and whether the folds respect time.

    Ordered rows are judged by rolling origins; where the order is too coarse for two of them, or there is
    none, by stratified shuffled folds.
    """
    rolled = () if rows.order is None else _rolling(rows, rows.order)
    return (rolled, True) if len(rolled) > 1 else (_shuffled(rows, count, seed), False)


def assign_folds(rows: TrainingRows, count: int, seed: int) -> NDArray[np.intp]:
    """(n,) the fold that each row is held out in: shuffled, equal shares of both classes, groups kept whole.

    Fewer folds than asked when a class has too few rows, but at least two.
    """
    random = np.random.default_rng(seed)
    positive = np.bincount(rows.group, weights=rows.y) > 0
    count = max(2, min(count, int(positive.sum()), int((~positive).sum())))
    held = np.empty(len(positive), dtype=np.intp)
    for one_class in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        held[random.permutation(one_class)] = (np.arange(len(one_class)) + random.integers(count)) % count
    return held[rows.group]


def _shuffled(rows: TrainingRows, count: int, seed: int) -> tuple[Fold, ...]:
    held = assign_folds(rows, count, seed)
    return tuple(Fold(np.flatnonzero(held != k), np.flatnonzero(held == k)) for k in range(held.max() + 1))


def _rolling(rows: TrainingRows, order: NDArray[np.int64]) -> tuple[Fold, ...]:
    """Train on what was known before each origin, judge on what came until the next."""
    origins = np.unique(np.quantile(order, ORIGINS, method="higher"))
    ends = np.append(origins[1:], order.max() + 1)
    made = (
        Fold(np.flatnonzero(order < start - rows.gap), np.flatnonzero((order >= start) & (order < end)))
        for start, end in zip(origins, ends, strict=True)
    )
    return tuple(fold for fold in made if _usable(rows.y, fold))


def _usable(y: NDArray[np.number], fold: Fold) -> bool:
    if len(fold.train) < _FEWEST_TRAINING or len(fold.validate) < _FEWEST_JUDGED:
        return False
    positives = int(y[fold.train].sum())
    return min(positives, len(fold.train) - positives) >= _FEWEST_OF_A_CLASS and bool(y[fold.validate].any())
