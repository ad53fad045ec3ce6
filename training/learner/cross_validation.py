"""Cross-validation folds: rolling origins where rows have an order, else stratified and shuffled ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.training_rows import TrainingRows

# Shares of all rows, in order, at which the validation slices begin.
ORIGINS = (0.4, 0.6, 0.8)
_MIN_TRAINING, _MIN_VALIDATION, _MIN_PER_CLASS = 40, 10, 3


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions of the rows to train on, and of those to validate on."""

    train: NDArray[np.intp]
    validate: NDArray[np.intp]


def make_folds(rows: TrainingRows, count: int, seed: int) -> tuple[tuple[Fold, ...], bool]:
    """Split rows into folds for choosing between recipes.

    Rows with an order get rolling origins: train on what was known before each origin, validate on the rows
    up to the next one. Where the order is too coarse for two origins, or there is none, folds are shuffled,
    stratified by outcome, and keep the rows of a group together.

    Args:
        rows: The rows to split.
        count: Number of shuffled folds.
        seed: Seed of the shuffling.

    Returns:
        The folds, and whether they respect time.
    """
    rolled = () if rows.order is None else _rolling_origin_folds(rows, rows.order)
    return (rolled, True) if len(rolled) > 1 else (_stratified_folds(rows, count, seed), False)


def assign_folds(rows: TrainingRows, count: int, seed: int) -> NDArray[np.intp]:
    """Assign each row to a shuffled fold, stratified by outcome, with groups kept together.

    Args:
        rows: The rows; a group counts as positive if any of its rows is.
        count: Wanted number of folds; fewer where a class has fewer groups, but at least two.
        seed: Seed of the shuffling.

    Returns:
        (n,) fold numbers from 0.
    """
    random = np.random.default_rng(seed)
    positive = np.bincount(rows.group, weights=rows.y) > 0
    count = max(2, min(count, int(positive.sum()), int((~positive).sum())))
    fold = np.empty(len(positive), dtype=np.intp)
    for class_groups in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        fold[random.permutation(class_groups)] = (
            np.arange(len(class_groups)) + random.integers(count)
        ) % count
    return fold[rows.group]


def _stratified_folds(rows: TrainingRows, count: int, seed: int) -> tuple[Fold, ...]:
    fold = assign_folds(rows, count, seed)
    return tuple(Fold(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(fold.max() + 1))


def _rolling_origin_folds(rows: TrainingRows, order: NDArray[np.int64]) -> tuple[Fold, ...]:
    """Train on the rows that end a gap before each origin, validate on [origin, next origin)."""
    origins = np.unique(np.quantile(order, ORIGINS, method="higher"))
    ends = np.append(origins[1:], order.max() + 1)
    folds = (
        Fold(np.flatnonzero(order < start - rows.gap), np.flatnonzero((order >= start) & (order < end)))
        for start, end in zip(origins, ends, strict=True)
    )
    return tuple(fold for fold in folds if _is_usable(rows.y, fold))


def _is_usable(y: NDArray[np.number], fold: Fold) -> bool:
    if len(fold.train) < _MIN_TRAINING or len(fold.validate) < _MIN_VALIDATION:
        return False
    positives = int(y[fold.train].sum())
    return min(positives, len(fold.train) - positives) >= _MIN_PER_CLASS and bool(y[fold.validate].any())
