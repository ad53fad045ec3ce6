"""The contract of time, as laws. Each name is the sentence that must hold."""

from __future__ import annotations

import polars as pl
import pytest
from full_history import ONE_PER_SHAPE
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import feature_rows
from strategies import END, attributes, histories, snapshots, touchpoints, transitions

from features.clock import DAY
from features.cohort import Snapshots
from features.online import OnlineFeatures
from features.point_in_time import is_visible
from features.record import from_records, to_records

PLAN = OnlineFeatures(ONE_PER_SHAPE)


@given(histories(), snapshots())
def test_every_engine_agrees_with_the_plain_python_definition_to_the_bit(compute, history, snaps):
    assert compute(ONE_PER_SHAPE, history, snaps).equals(feature_rows(ONE_PER_SHAPE, history, snaps))


@given(histories(), snapshots())
def test_one_lead_at_a_time_equals_all_at_once(history, snaps):
    want = feature_rows(ONE_PER_SHAPE, history, snaps)
    leads = {record.lead_id: record for record in to_records(history)}
    alone = [
        {"lead_id": lead, "as_of": as_of} | PLAN(leads[lead], as_of)
        for lead, as_of in snaps.frame.iter_rows()
    ]
    assert pl.DataFrame(alone, schema=want.schema).sort("lead_id", "as_of").equals(want)


@given(histories(), snapshots())
def test_records_scored_together_equal_the_history_they_came_from(history, snaps):
    leads = {record.lead_id: record for record in to_records(history)}
    keys = snaps.frame.rows()
    together = Snapshots(
        pl.DataFrame(
            {"lead_id": [str(i) for i in range(len(keys))], "as_of": [as_of for _, as_of in keys]},
            schema_overrides={"as_of": pl.Int64},
        )
    )
    rows = [PLAN(leads[lead], as_of) for lead, as_of in keys]
    want = pl.DataFrame(rows, schema={s.name: _dtype(s) for s in ONE_PER_SHAPE.specs})
    got = feature_rows(
        ONE_PER_SHAPE, from_records([leads[lead] for lead, _ in keys], ONE_PER_SHAPE), together
    )
    got = got.with_columns(position=pl.col("lead_id").cast(pl.Int64)).sort("position")
    assert got.select(want.columns).equals(want)


def _dtype(spec):
    return pl.String if spec.is_category else pl.Float64


@settings(max_examples=15)
@given(histories(), snapshots(), touchpoints(), transitions(), attributes())
def test_the_future_cannot_change_the_past(compute, history, snaps, touches, moves, changes):
    end = snaps.frame["as_of"].max()
    late = {
        "touchpoints": touches.with_columns(known_at=pl.col("known_at") + end),
        "transitions": moves.with_columns(known_at=pl.col("known_at") + end),
        "attributes": changes.with_columns(known_at=pl.col("known_at") + end),
    }
    grown = {name: pl.concat([getattr(history, name), more]) for name, more in late.items()}
    longer = type(history)(history.leads, observed_until=END, accounts=history.accounts, **grown)
    assert compute(ONE_PER_SHAPE, history, snaps).equals(compute(ONE_PER_SHAPE, longer, snaps))


@settings(max_examples=15)
@given(histories(), snapshots(), st.integers(-50 * DAY, 50 * DAY))
def test_only_ages_matter(compute, history, snaps, shift):
    times = pl.selectors.by_name("occurred_at", "known_at", "created_at", "as_of", require_all=False)
    moved = history.map_frames(lambda frame: frame.with_columns(times + shift))
    later = Snapshots(snaps.frame.with_columns(times + shift))
    rows = compute(ONE_PER_SHAPE, moved, later).with_columns(as_of=pl.col("as_of") - shift)
    assert rows.equals(compute(ONE_PER_SHAPE, history, snaps))


@settings(max_examples=15)
@given(histories(), snapshots(), st.integers(0, 9))
def test_row_order_is_irrelevant(compute, history, snaps, seed):
    shuffled = history.map_frames(lambda frame: frame.sample(fraction=1, shuffle=True, seed=seed))
    assert compute(ONE_PER_SHAPE, shuffled, snaps).equals(compute(ONE_PER_SHAPE, history, snaps))


@pytest.mark.parametrize(
    ("occurred", "heard", "visible"),
    [
        (99, 99, True),
        (100, 100, False),
        (101, 101, False),
        (99, 100, False),
        (99, 101, False),
        (98, 99, True),
    ],
)
def test_an_event_counts_only_if_it_happened_and_was_known_before(occurred, heard, visible):
    assert is_visible(occurred, heard, 100) is visible
