"""Folds of tables in memory have the values of the expressions, to the bit."""

from __future__ import annotations

from itertools import product

import narwhals.stable.v2 as nw
import polars as pl
import pytest
from hypothesis import given
from strategies import KINDS, histories, snapshots

from features import batch
from features.clock import DAY
from features.display_names import DisplayText
from features.memory_folds import SNAPSHOT, columns_read, fold_in_memory, is_folded_by_array
from features.spec import FeatureSpec

_SAYS = DisplayText("{value}", "{value}")


def _spec(reduce, kinds=(), within=None, of=None, where=(), unit="count"):
    name = f"{reduce}.{'-'.join(kinds)}.{within}.{of}.{len(where)}"
    return FeatureSpec(
        name, "intent", "touchpoints", reduce, _SAYS, unit, of=of, kind=kinds, where=where, within=within
    )


_KIND_CHOICES = ((), KINDS[:1], KINDS[:2], (KINDS[0], KINDS[0]), ("never",))
_WINDOWS = (None, DAY, 30 * DAY)
_BY_KIND = [
    _spec(reduce, kinds, within)
    for reduce, kinds, within in product(("count", "recency", "tenure", "span"), _KIND_CHOICES, _WINDOWS)
]
_BY_COLUMN = [
    *(_spec("count", kinds, where=(("offer_stage", "decision"),)) for kinds in _KIND_CHOICES),
    *(_spec("total", kinds, w, "seconds") for kinds, w in product(_KIND_CHOICES, _WINDOWS)),
    *(_spec("trend", kinds) for kinds in _KIND_CHOICES),
    *(
        _spec(reduce, KINDS[:1], w, of, unit="category" if of == "channel" else "count")
        for reduce, w, of in product(("latest", "earliest"), _WINDOWS, ("channel", "amount"))
    ),
]
_SPECS = [*_BY_KIND, *_BY_COLUMN]


def _visible(history, snaps):
    numbered = snaps.frame.with_row_index(SNAPSHOT)
    events = nw.from_native(history.touchpoints).lazy()
    return batch.join_visible_events(events, nw.from_native(numbered).lazy()).collect().to_native()


def _comparable(frame):
    numbers = pl.col(pl.Int64, pl.UInt32, pl.Int32, pl.UInt64).cast(pl.Int64)
    return frame.with_columns(numbers, pl.col(pl.Categorical).cast(pl.String)).sort(SNAPSHOT)


@given(histories(), snapshots())
def test_arrays_have_the_values_of_the_expressions(history, snaps):
    rows = _visible(history, snaps)
    assert all(map(is_folded_by_array, _SPECS))
    want = batch._aggregate(nw.from_native(rows).lazy(), _SPECS, (SNAPSHOT,)).collect().to_native()
    got = fold_in_memory(rows.select(SNAPSHOT, "age", *columns_read(_SPECS)), len(snaps), _SPECS)
    assert got[SNAPSHOT].to_list() == list(range(len(snaps)))
    seen = got.filter(pl.col(SNAPSHOT).is_in(want[SNAPSHOT].implode()))
    assert _comparable(seen).equals(_comparable(want), null_equal=True)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["visit", "download"])])
def test_a_kind_may_be_a_category_or_missing(dtype):
    rows = pl.DataFrame(
        {SNAPSHOT: [0, 0, 1, 1], "kind": ["visit", None, "download", "visit"], "age": [5, 1, 3, 9]},
        schema_overrides={"kind": dtype, SNAPSHOT: pl.UInt32},
    )
    specs = [_spec("count"), _spec("count", ("visit",)), _spec("recency", ("visit",)), _spec("tenure")]
    got = fold_in_memory(rows, 3, specs)
    assert got.rows() == [(0, 2, 1, 5, 5), (1, 2, 1, 9, 9), (2, 0, 0, None, None)]


def test_of_several_latest_events_the_greatest_value_counts():
    rows = pl.DataFrame(
        {
            SNAPSHOT: [0, 0, 0, 1],
            "kind": ["visit"] * 4,
            "age": [5, 5, 9, 1],
            "channel": ["ads", "web", "zoo", None],
        },
        schema_overrides={SNAPSHOT: pl.UInt32},
    )
    latest = _spec("latest", of="channel", unit="category")
    assert fold_in_memory(rows, 2, [latest]).rows() == [(0, "web"), (1, None)]


def test_different_values_are_counted_by_expressions():
    assert not is_folded_by_array(_spec("distinct", of="channel"))
    assert not is_folded_by_array(_spec("recency", where=(("offer", "x"),)))


def test_snapshots_that_see_nothing_have_features_too():
    schema = {SNAPSHOT: pl.UInt32, "kind": pl.String, "age": pl.Int64, "channel": pl.String}
    rows = pl.DataFrame(schema=schema)
    specs = [_spec("count"), _spec("recency"), _spec("latest", of="channel", unit="category")]
    assert fold_in_memory(rows, 2, specs).rows() == [(0, 0, None, None), (1, 0, None, None)]
