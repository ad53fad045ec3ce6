"""Which rows a backtest judges, and which a model may have learned from by then.

An origin is a day in the past on which a model could have been trained: it learns from rows whose outcome
was final by then and is judged by the rows that came until the next origin. Beside it stand the splits that
people use instead, so that what they flatter can be seen.
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

# Each origin judges a tenth of the rows, or less where many origins would leave too little to learn from.
TESTED, TESTED_BY_ALL = 0.1, 0.5
SHUFFLED_TEST = 0.2
FEWEST_BLOCKS = 8
_MIN_TRAINING, _MIN_TEST, _MIN_PER_CLASS = 40, 10, 3


@dataclass(frozen=True, eq=False)
class BacktestSplit:
    """Positions to train on and to test on; ``weights`` are those of the training rows, None if all alike.

    ``start`` (inclusive) and ``end`` (exclusive) bound the tested rows in the order of time; ``end`` is 0
    where the split does not go by time.
    """

    train: NDArray[np.intp]
    test: NDArray[np.intp]
    weights: NDArray[np.float64] | None = None
    start: int = 0
    end: int = 0


def learning_rows(dataset: Dataset, split: BacktestSplit) -> TrainingRows:
    """What a model learns from on one side of a split."""
    rows = dataset.to_learning_rows().take(split.train)
    return replace(
        rows,
        weights=split.weights,
        matured=None
        if split.weights is None or rows.order is None
        else rows.order + dataset.gap <= split.start,
    )


def rolling_origins(dataset: Dataset, count: int) -> tuple[BacktestSplit, ...]:
    """Up to ``count`` origins, the oldest first, walked back from the last matured row in equal steps.

    Fewer where the order is coarse, or where an origin would have too little to learn from or be judged by.
    Tested rows are matured; training rows end a gap earlier, or, where the dataset weights early outcomes,
    are all whose outcome was known on that day, weighted as that day would have.
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
    """Rows drawn at random, as many on each side as ``reference`` has, so that only the kind of split differs."""
    rows = _eligible_rows(dataset)
    shuffled = np.random.default_rng(seed).permutation(rows)
    train, test = _split_sizes(len(rows), reference)
    return BacktestSplit(shuffled[test : test + train], shuffled[:test])


def group_split(
    dataset: Dataset, accounts: NDArray[np.int64], reference: BacktestSplit | None, seed: int
) -> BacktestSplit:
    """Like ``random_split``, but no account is on both sides."""
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
    """Whether there is enough to learn from and to be judged by."""
    if len(split.train) < _MIN_TRAINING or len(split.test) < _MIN_TEST:
        return False
    positives = int(dataset.label[split.train].sum())
    return min(positives, len(split.train) - positives) >= _MIN_PER_CLASS and bool(
        dataset.label[split.test].any()
    )


def bootstrap_blocks(dataset: Dataset, rows: NDArray[np.intp]) -> tuple[str, NDArray[np.intp]]:
    """What is resampled together in an interval, and its number for each of ``rows``.

    Weeks where there are dates and enough of them, else days; a lead's snapshots where it has several; rows.
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
