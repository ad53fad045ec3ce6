"""Splits of a backtest: rolling origins, and the random and grouped splits to compare them with.

An origin is a day in the past on which a model could have been trained: the training rows are those whose
outcome was final by then, the test rows those up to the next origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from features.clock import DAY
from training.data.censoring import ipcw_weights_as_of
from training.stats.intervals import scale_to_effective_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.data.dataset import Dataset
    from training.data.training_rows import TrainingRows

# Share of the rows that each origin tests on: a tenth, or less where many origins would leave too little for
# training.
TESTED, TESTED_BY_ALL = 0.1, 0.5
SHUFFLED_TEST = 0.2
FEWEST_BLOCKS = 8
_MIN_TRAINING, _MIN_TEST, _MIN_PER_CLASS = 40, 10, 3


@dataclass(frozen=True, eq=False)
class BacktestSplit:
    """Positions of training and test rows.

    Attributes:
        train: Positions of the training rows.
        test: Positions of the test rows.
        weights: (train,) weights of the training rows; None if all count alike.
        start: Where test rows begin (inclusive) in the order of time.
        end: Where they end (exclusive); 0 where the split does not go by time.
    """

    train: NDArray[np.intp]
    test: NDArray[np.intp]
    weights: NDArray[np.float64] | None = None
    start: int = 0
    end: int = 0


def learning_rows(dataset: Dataset, split: BacktestSplit) -> TrainingRows:
    """The training rows of a split, with its weights."""
    rows = dataset.to_learning_rows().take(split.train)
    return replace(
        rows,
        weights=split.weights,
        matured=None
        if split.weights is None or rows.order is None
        else rows.order + dataset.gap <= split.start,
    )


def rolling_origins(dataset: Dataset, count: int) -> tuple[BacktestSplit, ...]:
    """Split by up to ``count`` origins, walking back from the last matured row in equal shares of the rows.

    Test rows are matured. Training rows end a gap before the origin; where the dataset weights early
    outcomes, they are all rows whose outcome was known on that day, with inverse probability of censoring
    weights as of it.

    Args:
        dataset: The rows; without an order there are no origins.
        count: Most origins.

    Returns:
        The splits, the oldest first; fewer where the order is coarse or a split has too few rows.
    """
    if dataset.order is None or count < 1:
        return ()
    order = dataset.order
    eligible = np.ones(len(order), dtype=np.bool_) if dataset.matured is None else dataset.matured
    share = min(TESTED, TESTED_BY_ALL / count)
    shares = 1 - share * np.arange(count, 0, -1)
    starts = np.unique(np.quantile(order[eligible], shares, method="higher"))
    ends = np.append(starts[1:], order[eligible].max() + 1)
    splits = (
        _origin_split(dataset, eligible, int(start), int(end))
        for start, end in zip(starts, ends, strict=True)
    )
    return tuple(split for split in splits if is_usable(dataset, split))


def _origin_split(dataset: Dataset, eligible: NDArray[np.bool_], start: int, end: int) -> BacktestSplit:
    order = dataset.order
    assert order is not None  # noqa: S101 - only ordered rows have origins
    test = np.flatnonzero(eligible & (order >= start) & (order < end))
    if dataset.weights is None or dataset.settled_at is None:
        return BacktestSplit(np.flatnonzero(order < start - dataset.gap), test, None, start, end)
    weights = ipcw_weights_as_of(order, dataset.settled_at, start)
    train = np.flatnonzero(weights)
    return BacktestSplit(
        train, test, scale_to_effective_size(weights[train]) if len(train) else None, start, end
    )


def random_split(dataset: Dataset, reference: BacktestSplit | None, seed: int) -> BacktestSplit:
    """Split matured rows at random.

    Args:
        dataset: The rows.
        reference: A split whose numbers of rows to match; None tests on a fifth.
        seed: Seed of the shuffling.
    """
    rows = _eligible_rows(dataset)
    shuffled = np.random.default_rng(seed).permutation(rows)
    train, test = _split_sizes(len(rows), reference)
    return BacktestSplit(shuffled[test : test + train], shuffled[:test])


def group_split(
    dataset: Dataset, accounts: NDArray[np.int64], reference: BacktestSplit | None, seed: int
) -> BacktestSplit:
    """Split matured rows at random, with every account on one side only.

    Args:
        dataset: The rows.
        accounts: (n,) number of each row's account.
        reference: A split whose numbers of rows to match; None tests on a fifth.
        seed: Seed of the shuffling.
    """
    rows = _eligible_rows(dataset)
    train, test = _split_sizes(len(rows), reference)
    names, place = np.unique(accounts[rows], return_inverse=True)
    rank = np.random.default_rng(seed).permutation(len(names))[place]
    shuffled = rows[np.argsort(rank, kind="stable")]
    edge = int(np.searchsorted(np.sort(rank), np.sort(rank)[test - 1], side="right"))
    return BacktestSplit(shuffled[edge : edge + train], shuffled[:edge])


def _eligible_rows(dataset: Dataset) -> NDArray[np.intp]:
    return np.arange(len(dataset)) if dataset.matured is None else np.flatnonzero(dataset.matured)


def _split_sizes(rows: int, reference: BacktestSplit | None) -> tuple[int, int]:
    if reference is None:
        test = max(1, round(SHUFFLED_TEST * rows))
        return rows - test, test
    return min(len(reference.train), rows - len(reference.test)), len(reference.test)


def is_usable(dataset: Dataset, split: BacktestSplit) -> bool:
    """Whether the training rows have enough of both outcomes, and the test rows at least one conversion."""
    if len(split.train) < _MIN_TRAINING or len(split.test) < _MIN_TEST:
        return False
    positives = int(dataset.label[split.train].sum())
    return min(positives, len(split.train) - positives) >= _MIN_PER_CLASS and bool(
        dataset.label[split.test].any()
    )


def bootstrap_blocks(dataset: Dataset, rows: NDArray[np.intp]) -> tuple[str, NDArray[np.intp]]:
    """Choose what a block bootstrap resamples as a whole.

    Weeks where there are dates and at least ``FEWEST_BLOCKS`` of them, else days, else the snapshots of a
    lead where it has several, else rows.

    Args:
        dataset: The rows.
        rows: (n,) positions of the rows to resample.

    Returns:
        The name of the blocks, and the (n,) number of each row's block, from 0.
    """
    for name, key in _block_keys(dataset, rows):
        number = np.unique(key, return_inverse=True)[1]
        if number.max() + 1 >= FEWEST_BLOCKS:
            return name, number
    return "row", np.arange(len(rows))


def _block_keys(dataset: Dataset, rows: NDArray[np.intp]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    if dataset.has_dates and dataset.order is not None:
        yield "week", dataset.order[rows] // (7 * DAY)
        yield "day", dataset.order[rows] // DAY
    leads = dataset.rows["lead_id"][rows].to_numpy()
    if len(np.unique(leads)) < len(leads):
        yield "lead", leads
