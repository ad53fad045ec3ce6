"""What a snapshot sees is what a plain loop over its lead's events finds, on Polars and pandas."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from strategies import histories, snapshots

from features.batch import visible_events
from features.cohort import Snapshots


def by_hand(history, pairs):
    return sorted(
        (row["lead_id"], as_of, as_of - row["occurred_at"], str(row["kind"]))
        for lead, as_of in pairs.frame.iter_rows()
        for row in history.touchpoints.iter_rows(named=True)
        if row["lead_id"] == lead and max(row["occurred_at"], row["known_at"]) < as_of
    )


@given(histories(), snapshots())
def test_a_snapshot_sees_what_was_known_strictly_before_it(history, pairs):
    result = visible_events(history, pairs)
    rows = result.select("lead_id", "as_of", "age", "kind").rows()
    assert sorted((lead, at, age, str(kind)) for lead, at, age, kind in rows) == by_hand(history, pairs)
    keys = result.select("lead_id", "as_of", "age").rows()
    assert keys == sorted(keys)
    pandas = visible_events(history.map_frames(pl.DataFrame.to_pandas), Snapshots(pairs.frame.to_pandas()))
    assert list(pandas[["lead_id", "as_of", "age"]].itertuples(index=False, name=None)) == keys
