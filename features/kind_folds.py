"""Counts, recencies and tenures by kind of event, of tables in memory.

As an expression each feature looks at every event. Here an event is looked at once for each window, whatever
the number of kinds: it has a cell in a table of kinds by snapshots. All are integers, so the values are
those of the expressions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.cohort import KEYS
from features.event_masks import column_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from features.spec import FeatureSpec, Reduce

SNAPSHOT = "leadloop.snapshot"
"""The column with the number of the snapshot that sees an event."""

_REDUCTIONS = frozenset({"count", "recency", "tenure"})
# What no age is: recencies are the least ages, tenures the greatest.
_NO_RECENCY, _NO_TENURE = np.iinfo(np.int64).max, -1


def is_by_kind(spec: FeatureSpec) -> bool:
    """Whether ``fold_kinds`` folds it: it reads nothing of an event but its kind and its age."""
    return spec.reduce in _REDUCTIONS and not spec.where


def fold_kinds(rows: pl.DataFrame, snapshots: pl.DataFrame, specs: Sequence[FeatureSpec]) -> pl.DataFrame:
    """Fold the visible events of snapshots by their kind.

    Args:
        rows: Pairs of a snapshot and an event that it sees: ``SNAPSHOT``, ``kind`` and ``age`` in seconds.
        snapshots: ``lead_id`` and ``as_of`` of each snapshot, the one with the number 0 first.
        specs: What to fold; ``is_by_kind`` holds for each.

    Returns:
        One row a snapshot that sees any event: its keys and a column a spec, integers.
    """
    kinds = sorted({kind for spec in specs for kind in spec.kind})
    # Behind the kinds that are asked for comes one for all others.
    shape = (len(kinds) + 1, snapshots.height)
    kind_codes = rows["kind"].cast(pl.Enum(kinds), strict=False).to_physical().fill_null(len(kinds))
    numbers = rows[SNAPSHOT].to_numpy()
    cells = kind_codes.to_numpy().astype(np.int64) * snapshots.height + numbers
    ages = rows["age"].to_numpy()
    columns: dict[str, pl.Series] = {}
    for reduce, within in dict.fromkeys((spec.reduce, spec.within) for spec in specs):
        chosen = slice(None) if within is None else ages < within
        table = _tabulate(reduce, cells[chosen], ages[chosen], shape)
        for spec in specs:
            if (spec.reduce, spec.within) == (reduce, within):
                own = [place for place, kind in enumerate(kinds) if kind in spec.kind]
                columns[column_of(spec)] = _join_kinds(reduce, table[own] if spec.kind else table)
    sees_any = pl.Series(np.bincount(numbers, minlength=snapshots.height) > 0)
    return snapshots.select(
        *KEYS, *(columns[column_of(spec)].alias(column_of(spec)) for spec in specs)
    ).filter(sees_any)


def _tabulate(
    reduce: Reduce, cells: NDArray[np.int64], ages: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """(kinds, snapshots): the number of events, the least or the greatest of their ages."""
    size = shape[0] * shape[1]
    if reduce == "count":
        return np.bincount(cells, minlength=size).reshape(shape)
    if reduce == "recency":
        table = np.full(size, _NO_RECENCY)
        np.minimum.at(table, cells, ages)
    else:
        table = np.full(size, _NO_TENURE)
        np.maximum.at(table, cells, ages)
    return table.reshape(shape)


def _join_kinds(reduce: Reduce, table: NDArray[np.int64]) -> pl.Series:
    """The value of each snapshot out of the rows of its kinds; null where there is no event."""
    if reduce == "count":
        return pl.Series(table.sum(axis=0))
    values, empty = (
        (table.min(axis=0), _NO_RECENCY) if reduce == "recency" else (table.max(axis=0), _NO_TENURE)
    )
    return pl.Series(values).set(pl.Series(values == empty), None)
