"""Contributions of trees by look-up: what LightGBM's ``pred_contrib`` computes, in a tenth of its time.

Path-dependent TreeSHAP (Lundberg et al. 2020) is a sum over leaves, and what a leaf contributes depends only
on which splits on the way to it let a lead pass. So leaves with few splits above them share a table that has
a row for each pattern of passing: to explain a lead is to look up one row of each table and to add them up.

The weights of a Shapley value are an integral (Owen 1972), here of a polynomial, which Gauss-Legendre
quadrature computes exactly; all its terms have one sign, so no digits are lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

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
    from collections.abc import Iterator, Mapping, Sequence

    import lightgbm as lgb
    from numpy.typing import NDArray

    from models.tree_structure import Tree

# Splits that a table is about: a bit each, so a pattern is a byte.
_BITS = 8
# Numbers in all tables of a model: 64 MB. The models of ``train`` have some 300,000.
_MOST_NUMBERS = 1 << 23
# Leads that are explained together: what they look up stays in the processor's cache.
_ROWS = 32
# Leaves whose tables are computed together.
_LEAVES = 256


@dataclass(frozen=True, slots=True)
class _Step:
    """One split on the way to a leaf: the way it goes there, and the share of its training rows that do."""

    split: int
    is_left: bool
    column: int
    share: float


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A leaf: how a lead comes to it, and what it adds to the log-odds."""

    path: tuple[_Step, ...]
    value: float

    def shares(self) -> dict[int, float]:
        """Of each column on the path, the share of training rows that its splits let through."""
        shares: dict[int, float] = {}
        for step in self.path:
            shares[step.column] = shares.get(step.column, 1.0) * step.share
        return shares

    def conditions(self, place: Mapping[int, int]) -> Iterator[tuple[int, int]]:
        """Of each column the bits that its splits look at, and what these must be; -1 where nothing will do.

        Args:
            place: The bit of each split.
        """
        bits: dict[int, tuple[int, int]] = {}
        for step in self.path:
            bit = 1 << place[step.split]
            mask, value = bits.get(step.column, (0, 0))
            # The same split twice, once to each side, lets nobody through.
            is_contradiction = value < 0 or (mask & bit and bool(value & bit) != step.is_left)
            bits[step.column] = mask | bit, -1 if is_contradiction else value | bit * step.is_left
        yield from bits.values()


@dataclass(frozen=True, slots=True)
class _LeafGroup:
    """Leaves of one tree with at most eight different splits above them, which share a table."""

    splits: tuple[int, ...]
    leaves: list[_Leaf]


@dataclass(frozen=True, eq=False)
class TreeShapTables:
    """The contributions of a booster's trees as tables.

    A row explained alone has the same bits as among a million.

    Attributes:
        splits: What the bits of the patterns are about.
        patterns: (tables, 8) the splits of each table; one more than there are where it has fewer.
        first_rows: (tables,) the row of each table's first pattern.
        table: (rows, most features) contributions of all tables, filled up with zeros.
        owners: (tables, most features) the feature of each column, ``features`` where it is filled up.
        features: How many features contributions are of.
    """

    splits: tuple[Split, ...]
    patterns: NDArray[np.intp]
    first_rows: NDArray[np.intp]
    table: NDArray[np.float64]
    owners: NDArray[np.intp]
    features: int

    def contributions(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, features) contributions to the raw log-odds of the rows of a ``matrix`` of n rows."""
        result = np.empty((len(matrix), self.features))
        for start in range(0, len(matrix), _ROWS):
            rows = matrix[start : start + _ROWS]
            result[start : start + _ROWS] = self._contributions(rows)
        return result

    def _contributions(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        count, width = len(rows), self.features + 1
        passing = self._passing(rows).take(self._bits, axis=1)
        pattern = np.packbits(passing, bitorder="little").reshape(count, len(self.first_rows))
        values = self.table.take(self.first_rows + pattern, axis=0)
        # It adds one value after the other, in the order of the tables, however many rows there are.
        sums: NDArray[np.float64] = np.bincount(
            self._targets[: values.size], values.ravel(), minlength=count * width
        ).astype(np.float64, copy=False)
        return sums.reshape(count, width)[:, : self.features]

    def _passing(self, rows: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n, splits + 1) whether each split lets each row pass to the left; the last one lets nobody."""
        known = rows[:, self._columns]
        is_nan = np.isnan(known)
        known = np.where(is_nan | (np.abs(known) <= ZERO), 0.0, known)
        passing = np.zeros((len(rows), len(self.splits) + 1), dtype=np.bool_)
        np.less_equal(known.take(self._column_places, axis=1), self._thresholds, out=passing[:, :-1])
        for missing, (splits, is_left) in ((is_nan, self._nan_splits), (known == 0, self._zero_splits)):
            if len(splits):
                is_missing = missing.take(self._column_places[splits], axis=1)
                passing[:, splits] = np.where(is_missing, is_left, passing[:, splits])
        return passing

    @cached_property
    def _columns(self) -> NDArray[np.intp]:
        """The columns that any split reads."""
        return np.array(sorted({split.column for split in self.splits}), dtype=np.intp)

    @cached_property
    def _column_places(self) -> NDArray[np.intp]:
        """The place of each split's column among ``_columns``."""
        return np.searchsorted(self._columns, [split.column for split in self.splits])

    @cached_property
    def _thresholds(self) -> NDArray[np.float64]:
        return np.array([split.threshold for split in self.splits])

    @cached_property
    def _nan_splits(self) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        return self._splits_with_missing(NAN_IS_MISSING)

    @cached_property
    def _zero_splits(self) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        return self._splits_with_missing(ZERO_IS_MISSING)

    def _splits_with_missing(self, kind: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The splits that send a missing value its own way, and whether that is to the left."""
        decisions = np.array([split.decision for split in self.splits], dtype=np.int64)
        places = np.flatnonzero(decisions & kind)
        return places, (decisions[places] & DEFAULT_LEFT) > 0

    @cached_property
    def _bits(self) -> NDArray[np.intp]:
        return self.patterns.ravel()

    @cached_property
    def _targets(self) -> NDArray[np.intp]:
        """Where the values that ``_ROWS`` rows look up are added."""
        rows = np.arange(_ROWS, dtype=np.intp) * (self.features + 1)
        return (rows[:, None] + self.owners.ravel()).ravel()


def build_tables(booster: lgb.Booster, owner: Sequence[int], features: int) -> TreeShapTables | None:
    """Compute the tables of a booster.

    Args:
        booster: The trees.
        owner: The feature that each matrix column belongs to.
        features: How many features there are.

    Returns:
        The tables; None where trees are too deep for them or of a kind that leadloop does not train.
    """
    try:
        trees = read_trees(booster.model_to_string(), len(owner))
    except TreeStructureError:
        return None
    splits: dict[Split, int] = {}
    groups: list[_LeafGroup] = []
    for tree in trees:
        if (leaf_groups := _group_leaves(tree, splits)) is None:
            return None
        groups += leaf_groups
    own = [_features(group, owner) for group in groups]
    width = max(map(len, own), default=1)
    sizes = [1 << len(group.splits) for group in groups]
    if width * sum(sizes) > _MOST_NUMBERS:
        return None
    first_rows = np.cumsum([0, *sizes], dtype=np.intp)[:-1]
    return TreeShapTables(
        splits=tuple(splits),
        patterns=_filled([group.splits for group in groups], _BITS, len(splits)),
        first_rows=first_rows,
        table=_table(groups, own, owner, first_rows, np.zeros((sum(sizes), width))),
        owners=_filled(own, width, features),
        features=features,
    )


def _filled(rows: Sequence[Sequence[int]], width: int, fill: int) -> NDArray[np.intp]:
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], dtype=np.intp).reshape(-1, width)


def _features(group: _LeafGroup, owner: Sequence[int]) -> list[int]:
    """The features that the leaves of a group contribute to."""
    return sorted({owner[step.column] for leaf in group.leaves for step in leaf.path})


def _group_leaves(tree: Tree, splits: dict[Split, int]) -> list[_LeafGroup] | None:
    """The leaves of a tree in groups, its splits being added to ``splits``; None where tables cannot do."""
    if 0 in tree.split_rows or 0 in tree.leaf_rows:
        return None
    own = [splits.setdefault(split, len(splits)) for split in tree.splits]
    below = _splits_below(tree, own)
    groups: list[_LeafGroup] = []
    # Each node with the path to it and the group that it is in, if it is in one already.
    nodes: list[tuple[int, tuple[_Step, ...], _LeafGroup | None]] = [(0, (), None)] if own else []
    while nodes:
        node, path, group = nodes.pop()
        together = {step.split for step in path}.union(() if node < 0 else below[node])
        if group is None and len(together) <= _BITS:
            groups.append(group := _LeafGroup(tuple(sorted(together)), []))
        if node >= 0:
            nodes += [(child, (*path, step), group) for child, step in _steps(tree, node, own[node])]
        elif group is not None:
            group.leaves.append(_Leaf(path, tree.values[~node]))
        else:
            return None
    return groups


def _steps(tree: Tree, node: int, split: int) -> Iterator[tuple[int, _Step]]:
    """The children of a split, each with the step to it."""
    for child, is_left in ((tree.left[node], True), (tree.right[node], False)):
        rows = tree.split_rows[child] if child >= 0 else tree.leaf_rows[~child]
        yield child, _Step(split, is_left, tree.columns[node], rows / tree.split_rows[node])


def _splits_below(tree: Tree, own: Sequence[int]) -> list[frozenset[int]]:
    """The splits at and below each split; of many, one more than a table can have."""
    below: list[frozenset[int]] = [frozenset()] * len(own)
    # A child has a larger number than its parent.
    for node in reversed(range(len(own))):
        children = [below[child] for child in (tree.left[node], tree.right[node]) if child >= 0]
        together = frozenset({own[node]}).union(*children)
        below[node] = frozenset(islice(together, _BITS + 1))
    return below


def _table(
    groups: Sequence[_LeafGroup],
    own: Sequence[list[int]],
    owner: Sequence[int],
    first_rows: NDArray[np.intp],
    table: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Add what each leaf contributes under each pattern to a ``table`` of zeros, similar leaves at once."""
    alike: dict[tuple[int, int], list[tuple[int, _Leaf]]] = {}
    for number, group in enumerate(groups):
        for leaf in group.leaves:
            alike.setdefault((len(group.splits), len(leaf.shares())), []).append((number, leaf))
    flat, width = table.ravel(), table.shape[1]
    for (bits, columns), members in alike.items():
        patterns, powers = np.arange(1 << bits), 1 << np.arange(columns)
        for start in range(0, len(members), _LEAVES):
            some = members[start : start + _LEAVES]
            shapley = _shapley_values([leaf for _, leaf in some])
            places = [{split: bit for bit, split in enumerate(groups[number].splits)} for number, _ in some]
            looks = np.array([[*leaf.conditions(at)] for (_, leaf), at in zip(some, places, strict=True)])
            open_ways = (patterns[:, None] & looks[:, None, :, 0]) == looks[:, None, :, 1]
            values = np.take_along_axis(shapley, (open_ways @ powers)[:, :, None], axis=1)
            cells = np.array([[own[n].index(owner[column]) for column in leaf.shares()] for n, leaf in some])
            rows = first_rows[[number for number, _ in some]][:, None] + patterns
            np.add.at(flat, (rows[:, :, None] * width + cells[:, None, :]).ravel(), values.ravel())
    return table


def _shapley_values(leaves: Sequence[_Leaf]) -> NDArray[np.float64]:
    """(leaves, 2 ** columns, columns) contributions of leaves that have the same number of columns each.

    Row ``i`` is for leads that pass the splits of column ``j`` exactly if bit ``j`` of ``i`` is 1.
    """
    shares = np.array([[*leaf.shares().values()] for leaf in leaves])[:, None, :]
    values = np.array([leaf.value for leaf in leaves])[:, None, None]
    columns = shares.shape[2]
    passing = (np.arange(1 << columns)[:, None] >> np.arange(columns) & 1).astype(np.float64)
    total = np.zeros((len(leaves), *passing.shape))
    for node, weight in zip(*np.polynomial.legendre.leggauss((columns + 1) // 2), strict=True):
        # Each other column is known with this probability; unknown, it lets its share of rows pass.
        probability = (node + 1) / 2
        factors = (1 - probability) * shares + probability * passing
        total += weight / 2 * np.prod(factors, axis=2, keepdims=True) / factors
    return np.asarray(values * (passing - shares) * total)
