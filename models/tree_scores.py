"""Scores of many rows by bits: what LightGBM's ``predict`` adds up, to the bit, in half of its time.

LightGBM walks each row down each tree, and the processor guesses wrongly where to go next. Here each split is
asked of thousands of rows at once: one that a row does not pass to the left rules out the leaves to its left,
and the first leaf that is left over is the one that the row comes to (QuickScorer, Lucchese et al. 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from models.tree_structure import (
    DEFAULT_LEFT,
    NAN_IS_MISSING,
    ZERO,
    ZERO_IS_MISSING,
    Split,
    TreeStructureError,
    read_trees,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lightgbm as lgb
    from numpy.typing import NDArray

    from models.tree_structure import Tree

FEWEST_ROWS = 1_000
"""Of fewer rows LightGBM is as fast."""

# Rows that are scored together, if a model has up to 2,000 different splits: 8 MB of answers.
_ROWS = 4_096
_MOST_ANSWERS = _ROWS * 2_000
# A leaf is a bit.
_WIDTHS = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


@dataclass(frozen=True, eq=False)
class TreeScores:
    """The trees of a booster, as bits.

    Attributes:
        splits: The different splits of all trees, by column.
        places: (most splits, trees) the splits of each tree; one more than there are where it has fewer.
        left: (most splits, trees) the leaves to the left of each, a bit each.
        values: (trees, most leaves) what each leaf adds to the log-odds, from left to right.
    """

    splits: tuple[Split, ...]
    places: NDArray[np.intp]
    left: NDArray[Any]
    values: NDArray[np.float64]

    def log_odds(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) raw log-odds of the rows of a ``matrix`` of n rows: ``predict`` with ``raw_score``."""
        result = np.zeros(len(matrix))
        size = min(_ROWS, max(_MOST_ANSWERS // (len(self.splits) + 1), 1))
        for start in range(0, len(matrix), size):
            rows = matrix[start : start + size]
            # In the order of the trees, as LightGBM adds them.
            for values in self._leaf_values(rows):
                result[start : start + size] += values
        return result

    def _leaf_values(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(trees, n) the value of the leaf that each row comes to."""
        turned = self._turned(rows)
        ruled_out = np.zeros((len(self.values), len(rows)), self.left.dtype)
        answers = np.empty_like(ruled_out)
        for places, left in zip(self.places, self.left, strict=True):
            np.take(turned, places, axis=0, out=answers, mode="clip")
            answers &= left[:, None]
            ruled_out |= answers
        # The leaves that are ruled out before the first one that is not.
        leaf = np.bitwise_count(ruled_out & ~(ruled_out + ruled_out.dtype.type(1)))
        first = np.arange(len(self.values), dtype=np.intp)[:, None] * self.values.shape[1]
        values: NDArray[np.float64] = self.values.ravel().take(first + leaf)
        return values

    def _turned(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        """(splits + 1, n) all bits where a split turns a row to the right; the last one turns nobody."""
        answers = np.zeros((len(self.splits) + 1, len(rows)), np.bool_)
        unanswered = iter(answers)
        for column, splits in groupby(self.splits, lambda split: split.column):
            cells = rows[:, column]
            is_nan = np.isnan(cells)
            numbers = np.where(np.abs(cells) <= ZERO, 0.0, cells)
            no_nan = np.where(is_nan, 0.0, numbers)
            for split in splits:
                goes_left, is_right = split.decision & DEFAULT_LEFT, next(unanswered)
                if not split.decision & NAN_IS_MISSING:
                    np.greater(no_nan, split.threshold, out=is_right)
                    if split.decision & ZERO_IS_MISSING:
                        is_right[no_nan == 0] = not goes_left
                elif goes_left:  # NaN is not greater than a number, and neither less
                    np.greater(numbers, split.threshold, out=is_right)
                else:
                    np.less_equal(numbers, split.threshold, out=is_right)
                    np.logical_not(is_right, out=is_right)
        all_bits = np.negative(answers.view(np.int8), out=answers.view(np.int8))
        # A negative number keeps its ones in front when it becomes wider.
        return all_bits.astype(f"i{self.left.itemsize}").view(self.left.dtype)


def build_tree_scores(booster: lgb.Booster, columns: int) -> TreeScores | None:
    """Read the trees of a booster.

    Args:
        booster: The trees.
        columns: How many columns their matrix has.

    Returns:
        The trees; None where one has more than 64 leaves or is of a kind that leadloop does not train.
    """
    try:
        trees = read_trees(booster.model_to_string(), columns)
    except TreeStructureError:
        return None
    leaves = max((len(tree.values) for tree in trees), default=1)
    width = next((width for width in _WIDTHS if leaves <= width), None)
    if width is None:
        return None
    splits = sorted({split for tree in trees for split in tree.splits})
    place = {split: number for number, split in enumerate(splits)}
    shape = (leaves - 1, len(trees))
    places, left = np.full(shape, len(splits), np.intp), np.zeros(shape, _WIDTHS[width])
    values = np.zeros((len(trees), leaves))
    for number, tree in enumerate(trees):
        order, bits = _leaves_in_order(tree)
        places[: len(bits), number] = [place[split] for split in tree.splits]
        left[: len(bits), number] = bits
        values[number, : len(order)] = [tree.values[leaf] for leaf in order]
    return TreeScores(tuple(splits), places, left, values)


def _leaves_in_order(tree: Tree) -> tuple[Sequence[int], Sequence[int]]:
    """The leaves of a tree from left to right, and of each split a bit for each leaf to its left."""
    splits = len(tree.left)
    sizes = [0] * splits
    # A child has a larger number than its parent.
    for node in reversed(range(splits)):
        sizes[node] = sum(sizes[child] if child >= 0 else 1 for child in (tree.left[node], tree.right[node]))
    order, bits = [0] * (splits + 1), [0] * splits
    first = [0] * splits
    for node in range(splits):
        left, right = tree.left[node], tree.right[node]
        count = sizes[left] if left >= 0 else 1
        bits[node] = ((1 << count) - 1) << first[node]
        for child, begin in ((left, first[node]), (right, first[node] + count)):
            if child >= 0:
                first[child] = begin
            else:
                order[begin] = ~child
    return order, bits
