"""Checks the text of LightGBM's trees before LightGBM reads it.

LightGBM trusts its own files: a count that does not fit the arrays beside it, or a child that is its own
ancestor, ends the whole process or never ends at all. So whatever its parser and its predictions take for
granted is looked at here, with arrays over all trees at once.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_REQUIRED = ("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx")
_LISTS = ("feature_names", "feature_infos", "tree_sizes")
_HEADER = {"tree", *_REQUIRED, *_LISTS, "objective", "monotone_constraints"}
_SPLIT_INTEGERS = ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
_SPLIT_NUMBERS = ("split_gain", "threshold", "internal_value", "internal_weight")
_SCALARS = ("num_leaves", "num_cat", "is_linear", "shrinkage")
_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_TREE = {*_SPLIT_INTEGERS, *_SPLIT_NUMBERS, *_SCALARS, *_LEAVES}
# LightGBM's own limit on the leaves of a tree.
_MOST_LEAVES = 131_072
# LightGBM's numbers, without what only Python reads, such as 1_000.
_NUMBERS = re.compile(r"[0-9.eE+\-infa ]*")
_MISSING_AND_DEFAULT = range(0, 11, 2)
# The bits of LightGBM's ``decision_type``.
DEFAULT_LEFT, ZERO_IS_MISSING, NAN_IS_MISSING = 2, 4, 8
ZERO = float(np.float32(1e-35))
"""Up to here LightGBM takes a number for zero."""


@dataclass(frozen=True, slots=True, order=True)
class Split:
    """Whom a split lets pass to the left.

    Attributes:
        column: The matrix column that it reads.
        threshold: The number up to which rows go left.
        decision: LightGBM's ``decision_type``.
    """

    column: int
    threshold: float
    decision: int


class TreeStructureError(ValueError):
    """The text is not that of trees that LightGBM could have written; the message says where."""


def check_tree_structure(text: str, columns: int) -> None:
    """Check that LightGBM can read and walk the trees of a model.

    Args:
        text: The content of ``model.lgb``.
        columns: The columns of the matrix that the trees are to score.

    Raises:
        TreeStructureError: Sizes, counts, indices or values do not fit together.
    """
    head, _, rest = text.partition("\n\n")
    header = _fields(head.splitlines(), _HEADER, "the header")
    sizes = _header_sizes(header, columns)
    trees = list(_trees(rest, sizes))
    leaves = np.array([_leaves(tree, number) for number, tree in enumerate(trees)], dtype=np.int64)
    lines = {name: [tree[name] for tree in trees] for name in _SPLIT_INTEGERS + _SPLIT_NUMBERS + _LEAVES}
    _check_splits(lines, leaves, columns)
    _check_leaves(lines, leaves)
    if not np.isfinite(
        _numbers([tree["shrinkage"] for tree in trees], np.ones_like(leaves), "shrinkage")
    ).all():
        _refuse("shrinkage", "a value that is no finite number")


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree as LightGBM writes it: child ``c >= 0`` is a split, ``-1, -2, ...`` are leaves ``0, 1, ...``.

    Attributes:
        columns: The matrix column of each split.
        thresholds: The number up to which each split lets a row go left.
        decisions: How each split treats what is missing, as bits.
        left: The child to the left of each split.
        right: The child to the right of each split.
        values: The value of each leaf.
        split_rows: How many training rows came to each split.
        leaf_rows: How many came to each leaf.
    """

    columns: list[int]
    thresholds: list[float]
    decisions: list[int]
    left: list[int]
    right: list[int]
    values: list[float]
    split_rows: list[int]
    leaf_rows: list[int]

    @property
    def splits(self) -> list[Split]:
        """The splits, each with whom it lets pass to the left."""
        return list(map(Split, self.columns, self.thresholds, self.decisions))


def read_trees(text: str, columns: int) -> list[Tree]:
    """The trees in the text of a model that scores a matrix of so many ``columns``.

    Raises:
        TreeStructureError: It is no model that leadloop trains, such as one that splits by categories.
    """
    head, _, rest = text.partition("\n\n")
    sizes = _header_sizes(_fields(head.splitlines(), _HEADER, "the header"), columns)
    return [_tree(fields, number) for number, fields in enumerate(_trees(rest, sizes))]


def _tree(fields: Mapping[str, str], number: int) -> Tree:
    leaves = _leaves(fields, number)

    def line(name: str, count: int, kind: type[np.float64 | np.int64] = np.int64) -> list[Any]:
        numbers = _numbers([fields[name]], np.array([count]), f"{name} of tree {number}", kind)
        return [*numbers.tolist()]

    return Tree(
        columns=line("split_feature", leaves - 1),
        thresholds=line("threshold", leaves - 1, np.float64),
        decisions=line("decision_type", leaves - 1),
        left=line("left_child", leaves - 1),
        right=line("right_child", leaves - 1),
        values=line("leaf_value", leaves, np.float64),
        split_rows=line("internal_count", leaves - 1),
        leaf_rows=line("leaf_count", leaves),
    )


def _refuse(place: str, what: str) -> NoReturn:
    msg = f"{place}: {what}"
    raise TreeStructureError(msg)


def _fields(lines: Sequence[str], known: set[str], place: str) -> dict[str, str]:
    """The ``name=value`` lines by name; each name is known and stands once."""
    values: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        if name not in known or name in values:
            _refuse(place, f"the line {name[:40]!r} stands there twice or is unknown")
        values[name] = value
    return values


def _header_sizes(header: Mapping[str, str], columns: int) -> list[int]:
    """The size in bytes of each tree, if the rest of the header fits ``columns``."""
    if missing := [name for name in (*_REQUIRED, *_LISTS) if name not in header]:
        _refuse("the header", f"{', '.join(missing)} is missing")
    if (header["num_class"], header["num_tree_per_iteration"]) != ("1", "1"):
        _refuse("the header", "it is not a model of one outcome")
    counts = {
        "max_feature_idx": _integer(header["max_feature_idx"], "max_feature_idx") + 1,
        **{name: len(header[name].split()) for name in ("feature_names", "feature_infos")},
    }
    for name, count in counts.items():
        if count != columns:
            _refuse(name, f"{count:,} features, where the model has {columns:,} columns")
    return [_integer(size, "tree_sizes") for size in header["tree_sizes"].split()]


def _integer(text: str, place: str) -> int:
    # At most nine digits: int() would read a number of a million digits for minutes.
    if not (text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= 10):  # noqa: PLR2004
        _refuse(place, f"{text[:40]!r} is no whole number in range")
    return int(text)


def _trees(text: str, sizes: Sequence[int]) -> Iterator[dict[str, str]]:
    """The fields of each tree; together the trees are exactly what stands before the end of trees."""
    body, end, _ = text.partition("end of trees\n")
    raw, start = body.encode(), 0
    if not end or sum(sizes) != len(raw) or (sizes and min(sizes) < 1):
        _refuse("tree_sizes", f"{sum(sizes):,} bytes, where the trees have {len(raw):,}")
    for number, size in enumerate(sizes):
        first, *lines = raw[start : start + size].decode(errors="replace").rstrip("\n").splitlines() or [""]
        start += size
        if first != f"Tree={number}":
            _refuse("tree_sizes", f"tree {number} does not begin where its size says")
        fields = _fields(lines, _TREE, f"tree {number}")
        if len(fields) < len(_TREE):
            _refuse(f"tree {number}", f"{', '.join(sorted(_TREE - set(fields)))} is missing")
        yield fields


def _leaves(tree: Mapping[str, str], number: int) -> int:
    """The number of leaves of a tree, which has number splits only."""
    if (tree["num_cat"], tree["is_linear"]) != ("0", "0"):
        _refuse(f"tree {number}", "it splits by categories or has linear leaves, which no model here has")
    leaves = _integer(tree["num_leaves"], f"num_leaves of tree {number}")
    if not 1 <= leaves <= _MOST_LEAVES:
        _refuse(f"tree {number}", f"{leaves:,} leaves are not between 1 and {_MOST_LEAVES:,}")
    return leaves


def _numbers(
    lines: Sequence[str], counts: NDArray[np.int64], name: str, kind: type[np.float64 | np.int64] = np.float64
) -> NDArray[Any]:
    """The numbers of the same line of every tree, one after the other, if each has its count."""
    lengths = np.array([_count(line) for line in lines], dtype=np.int64)
    if (lengths != counts).any():
        number = int(np.argmax(lengths != counts))
        _refuse(f"{name} of tree {number}", f"{lengths[number]:,} values, not {counts[number]:,}")
    text = " ".join(filter(None, lines))
    if not _NUMBERS.fullmatch(text):
        _refuse(name, "a value that is no number")
    try:
        with warnings.catch_warnings():
            # Earlier releases of NumPy warn about what later ones refuse.
            warnings.simplefilter("error", DeprecationWarning)
            return np.fromstring(text, kind, sep=" ")
    except (ValueError, OverflowError, DeprecationWarning):
        _refuse(name, "a value that is no number in range")


def _count(line: str) -> int:
    return line.count(" ") + 1 if line else 0


def _check_splits(lines: Mapping[str, Sequence[str]], leaves: NDArray[np.int64], columns: int) -> None:
    splits = leaves - 1
    for name in _SPLIT_NUMBERS:
        values = _numbers(lines[name], splits, name)
        # A split between missing and known values has an infinite threshold.
        _require_finite(np.nan_to_num(values, nan=np.nan) if name == "threshold" else values, name)
    feature, decision, left, right, counts = (
        _numbers(lines[name], splits, name, np.int64) for name in _SPLIT_INTEGERS
    )
    if ((feature < 0) | (feature >= columns)).any():
        _refuse("split_feature", f"a split by a column that is none of the {columns:,}")
    if not np.isin(decision, list(_MISSING_AND_DEFAULT)).all():
        _refuse("decision_type", "a split of a kind that there is not")
    if (counts < 1).any():
        _refuse("internal_count", "a split of no rows")
    _check_children(left, right, splits)


def _check_children(left: NDArray[Any], right: NDArray[Any], splits: NDArray[np.int64]) -> None:
    """Every split but the first is the child of one split before it, and every leaf of one."""
    tree = np.repeat(np.arange(len(splits)), splits)
    # Splits of all trees in one numbering, and leaves (-1, -2, ...) in another.
    first_split = np.cumsum(splits) - splits
    first_leaf = first_split + np.arange(len(splits))
    own = np.arange(len(tree)) - first_split[tree]
    child = np.concatenate([left, right]).astype(np.int64)
    parent, within = np.tile(own, 2), np.tile(tree, 2)
    inner = child >= 0
    if ((child >= splits[within]) | (~child > splits[within])).any():
        _refuse("left_child, right_child", "a child that is not in its tree")
    if (child[inner] <= parent[inner]).any():
        _refuse("left_child, right_child", "a split below itself")
    reached = np.bincount((child + first_split[within])[inner], minlength=len(tree))
    reached[first_split[splits > 0]] += 1
    leaf = (~child + first_leaf[within])[~inner]
    single = first_leaf[splits == 0]
    reached_leaves = np.bincount(np.concatenate([leaf, single]), minlength=int((splits + 1).sum()))
    if (reached != 1).any() or (reached_leaves != 1).any():
        _refuse("left_child, right_child", "a split or leaf with several parents or none")


def _check_leaves(lines: Mapping[str, Sequence[str]], leaves: NDArray[np.int64]) -> None:
    _require_finite(_numbers(lines["leaf_value"], leaves, "leaf_value"), "leaf_value")
    # A tree of one leaf has no weight.
    weights = np.where(leaves == 1, [_count(line) for line in lines["leaf_weight"]], leaves)
    _require_finite(_numbers(lines["leaf_weight"], weights, "leaf_weight"), "leaf_weight")
    if (_numbers(lines["leaf_count"], leaves, "leaf_count", np.int64) < 1).any():
        _refuse("leaf_count", "a leaf of no rows")


def _require_finite(values: NDArray[Any], name: str) -> None:
    if not np.isfinite(values).all():
        _refuse(name, "a value that is no finite number")
