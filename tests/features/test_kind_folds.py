"""What goes by kind is the same out of a table of kinds by snapshots as out of expressions."""

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
from features.kind_folds import SNAPSHOT, fold_kinds, is_by_kind
from features.spec import FeatureSpec

_SAYS = DisplayText("{value}", "{value}")
_SPECS = [
    FeatureSpec(
        f"{reduce}.{'-'.join(kinds)}.{within}",
        "intent",
        "touchpoints",
        reduce,
        _SAYS,
        kind=kinds,
        within=within,
    )
    for reduce, kinds, within in product(
        ("count", "recency", "tenure"),
        ((), KINDS[:1], KINDS[:2], (KINDS[0], KINDS[0]), ("never",)),
        (None, DAY, 30 * DAY),
    )
]


def _visible(history, snaps):
    numbered = snaps.frame.with_row_index(SNAPSHOT)
    events = nw.from_native(history.touchpoints).lazy()
    return batch.join_visible_events(events, nw.from_native(numbered).lazy()).collect().to_native()


@given(histories(), snapshots())
def test_a_table_of_kinds_has_the_values_of_the_expressions(history, snaps):
    rows = _visible(history, snaps)
    want = batch._aggregate(nw.from_native(rows).lazy(), _SPECS).collect().to_native()
    got = fold_kinds(rows, snaps.frame, _SPECS)
    columns = pl.exclude("lead_id").cast(pl.Int64)
    assert (
        got.with_columns(columns)
        .sort("lead_id", "as_of")
        .equals(want.with_columns(columns).sort("lead_id", "as_of"), null_equal=True)
    )


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["visit", "download"])])
def test_a_kind_may_be_a_category_or_missing(dtype):
    rows = pl.DataFrame(
        {SNAPSHOT: [0, 0, 1, 1], "kind": ["visit", None, "download", "visit"], "age": [5, 1, 3, 9]},
        schema_overrides={"kind": dtype},
    )
    keys = pl.DataFrame({"lead_id": ["a", "b", "c"], "as_of": [10, 10, 10]})
    specs = [spec for spec in _SPECS if not spec.kind and spec.within is None]
    got = fold_kinds(rows, keys, specs)
    assert got["lead_id"].to_list() == ["a", "b"]
    assert got.select(pl.nth(range(2, 5))).rows() == [(2, 1, 5), (2, 3, 9)]


def test_what_reads_a_column_is_not_folded_by_kind():
    total = FeatureSpec("t", "intent", "touchpoints", "total", _SAYS, of="seconds")
    of_offers = FeatureSpec("o", "intent", "touchpoints", "count", _SAYS, where=(("offer", "x"),))
    assert not is_by_kind(total)
    assert not is_by_kind(of_offers)
