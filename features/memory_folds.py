"""Folds of events in memory: by array, where an expression looks at every event for each feature.

What goes by kind has a cell in a table of kinds by snapshots, so an event is looked at once for each window.
Everything is an integer or taken as it is, so the values are those of the expressions, to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl

from features.event_masks import PICKS, column_of, mask_rows, trend_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from features.spec import FeatureSpec, Reduce

SNAPSHOT = "leadloop.snapshot"
"""The column with the number of the snapshot that sees an event."""

_BY_KIND = frozenset({"count", "recency", "tenure", "span"})
_SUMS = frozenset({"count", "total", "trend"})
# What no age is: recencies are the least ages, tenures the greatest.
_NO_RECENCY, _NO_TENURE = np.iinfo(np.int64).max, -1


def is_folded_by_array(spec: FeatureSpec) -> bool:
    """Whether ``fold_in_memory`` folds it; what counts different values goes by expressions."""
    return _is_by_kind(spec) or spec.reduce in _SUMS or spec.reduce in PICKS


def _is_by_kind(spec: FeatureSpec) -> bool:
    """Whether it reads nothing of an event but its kind and its age."""
    return spec.reduce in _BY_KIND and not spec.where


def columns_read(specs: Iterable[FeatureSpec]) -> tuple[str, ...]:
    """The columns of events that specs fold, beside their times.

    Args:
        specs: What is folded of one source.

    Returns:
        The names, each once.
    """
    return tuple(dict.fromkeys(("kind", *_further_columns(specs))))


def _further_columns(specs: Iterable[FeatureSpec]) -> Iterator[str]:
    for spec in specs:
        yield from (column for column, _ in spec.where)
        if spec.of is not None:
            yield spec.of


def fold_in_memory(rows: pl.DataFrame, snapshots: int, specs: Sequence[FeatureSpec]) -> pl.DataFrame:
    """Fold the visible events of snapshots.

    Args:
        rows: Pairs of a snapshot and an event that it sees: ``SNAPSHOT``, ``age`` in seconds, and the columns
            that the specs read.
        snapshots: How many snapshots there are; they are numbered from 0.
        specs: What to fold; ``is_folded_by_array`` holds for each.

    Returns:
        One row a snapshot in their order: ``SNAPSHOT`` and a column a spec, whole numbers or words.
    """
    columns = dict(_fold_kinds(rows, snapshots, [spec for spec in specs if _is_by_kind(spec)]))
    for spec in specs:
        if not _is_by_kind(spec):
            fold = _pick if spec.reduce in PICKS else _add_up
            columns[column_of(spec)] = fold(rows, snapshots, spec)
    own = [columns[column_of(spec)].alias(column_of(spec)) for spec in specs]
    return pl.DataFrame([number_snapshots(snapshots), *own])


def number_snapshots(count: int) -> pl.Series:
    """The numbers of so many snapshots, as the column ``SNAPSHOT``."""
    return pl.int_range(count, dtype=pl.UInt32, eager=True).alias(SNAPSHOT)


def _fold_kinds(
    rows: pl.DataFrame, snapshots: int, specs: Sequence[FeatureSpec]
) -> Iterator[tuple[str, pl.Series]]:
    """The column of each of the specs that go by kind."""
    if not specs:
        return
    kinds = sorted({kind for spec in specs for kind in spec.kind})
    # Behind the kinds that are asked for comes one for all others.
    shape = (len(kinds) + 1, snapshots)
    codes = rows["kind"].cast(pl.Enum(kinds), strict=False).to_physical().fill_null(len(kinds))
    cells = codes.to_numpy().astype(np.int64) * snapshots + rows[SNAPSHOT].to_numpy()
    ages = rows["age"].to_numpy()
    for within in dict.fromkeys(spec.within for spec in specs):
        chosen = slice(None) if within is None else ages < within
        of_window = [spec for spec in specs if spec.within == within]
        tables = {
            reduce: _tabulate(reduce, cells[chosen], ages[chosen], shape)
            for reduce in dict.fromkeys(each for spec in of_window for each in _tables_of(spec))
        }
        for spec in of_window:
            own = [place for place, kind in enumerate(kinds) if kind in spec.kind] if spec.kind else None
            parts = [_join_kinds(each, tables[each], own) for each in _tables_of(spec)]
            yield column_of(spec), parts[0] if len(parts) == 1 else parts[0] - parts[1]


def _tables_of(spec: FeatureSpec) -> tuple[Reduce, ...]:
    return ("tenure", "recency") if spec.reduce == "span" else (spec.reduce,)


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


def _join_kinds(reduce: Reduce, table: NDArray[np.int64], own: list[int] | None) -> pl.Series:
    """The value of each snapshot out of the rows of its kinds; null where there is no event."""
    alone = own is not None and len(own) == 1
    of_kinds = table if own is None else table[own[0]] if alone else table[own]
    if reduce == "count":
        return pl.Series(of_kinds if alone else of_kinds.sum(axis=0))
    least = reduce == "recency"
    values = of_kinds if alone else of_kinds.min(axis=0) if least else of_kinds.max(axis=0)
    return _null_at(values, _NO_RECENCY if least else _NO_TENURE)


def _null_at(values: NDArray[np.int64], nothing: int) -> pl.Series:
    return pl.Series(values).set(pl.Series(values == nothing), None)


def _evaluate(rows: pl.DataFrame, expression: nw.Expr) -> pl.Series:
    series: pl.Series = nw.from_native(rows).select(value=expression).to_native()["value"]
    return series


def _mask(rows: pl.DataFrame, spec: FeatureSpec) -> pl.Series:
    return _evaluate(rows, mask_rows(spec)).fill_null(value=False)


def _add_up(rows: pl.DataFrame, snapshots: int, spec: FeatureSpec) -> pl.Series:
    """How many rows a spec folds, or what they add up to."""
    numbers = rows[SNAPSHOT]
    if spec.reduce == "count":
        return pl.Series(np.bincount(numbers.filter(_mask(rows, spec)).to_numpy(), minlength=snapshots))
    value = trend_values(mask_rows(spec)) if spec.reduce == "trend" else nw.col(str(spec.of))
    values = _evaluate(rows, value)
    counts = values.is_not_null()
    if spec.reduce == "total":
        counts &= _mask(rows, spec)
    total = np.zeros(snapshots, np.int64)
    np.add.at(total, numbers.filter(counts).to_numpy(), values.filter(counts).cast(pl.Int64).to_numpy())
    return pl.Series(total)


def _pick(rows: pl.DataFrame, snapshots: int, spec: FeatureSpec) -> pl.Series:
    """What the latest or the earliest row says; of several at once the greatest."""
    chosen = rows.select(SNAPSHOT, "age", value=str(spec.of)).filter(_mask(rows, spec))
    numbers, ages = chosen[SNAPSHOT].to_numpy(), chosen["age"].to_numpy()
    if spec.reduce == "latest":
        edges = np.full(snapshots, _NO_RECENCY)
        np.minimum.at(edges, numbers, ages)
    else:
        edges = np.full(snapshots, _NO_TENURE)
        np.maximum.at(edges, numbers, ages)
    at_edge = chosen.filter(pl.Series(ages == edges[numbers])).group_by(SNAPSHOT).agg(pl.col("value").max())
    everyone = number_snapshots(snapshots).to_frame()
    return everyone.join(at_edge, on=SNAPSHOT, how="left", maintain_order="left")["value"]
