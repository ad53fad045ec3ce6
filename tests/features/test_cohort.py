"""Snapshots of a grid are of leads of any age, as those that are scored are."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.clock import DAY
from features.cohort import CohortRule, draw_snapshots, first_grid_distance
from features.history import LEAD_SCHEMA, TRANSITION_SCHEMA, LeadHistory

USUAL = (1, 7, 10, 14, 28, 30, 60, 90, 180, 365)
TODAY = 20_000 * DAY


def history(created, closed=()):
    """Leads that were created at so many seconds; the first ones were closed at those of ``closed``."""
    names = [f"{number:05d}" for number in range(len(created))]
    leads = pl.DataFrame({"lead_id": names, "created_at": created, "account_id": None}, schema=LEAD_SCHEMA)
    rows = [
        {"lead_id": name, "occurred_at": at, "known_at": at, "stage": "lost", "reason": None}
        for name, at in zip(names, closed, strict=False)
    ]
    return LeadHistory(
        leads=leads,
        touchpoints=LeadHistory.from_leads(leads, 0).touchpoints,
        transitions=pl.DataFrame(rows, TRANSITION_SCHEMA),
        observed_until=TODAY,
    )


@given(st.integers(-(10**10), 10**10), st.integers(1, 10**8))
def test_the_first_moment_of_a_grid_is_at_most_its_distance_away(created_at, every):
    assert 1 <= first_grid_distance(created_at, every) <= every


@given(st.integers(-(10**10), 10**10), st.integers(1, 10**8))
def test_the_first_moment_is_the_same_whichever_sign_an_engine_gives_a_remainder(created_at, every):
    frame = pl.DataFrame({"created_at": [created_at]})
    drawn = frame.select(first_grid_distance(pl.col("created_at"), every)).item()
    # Truncated, as in C and in the standard of SQL, where Python's remainder is never negative.
    truncated = int(np.fmod(created_at, every))
    assert drawn == first_grid_distance(created_at, every) == first_grid_distance(truncated, every)


@pytest.mark.parametrize("days", USUAL)
def test_leads_of_consecutive_days_have_each_distance_once(days):
    """Also where a CRM keeps no time of day."""
    distances = [first_grid_distance(day * DAY, days * DAY) for day in range(20_000, 20_000 + days)]
    assert sorted(distances) == [day * DAY for day in range(1, days + 1)]


@pytest.mark.parametrize("days", USUAL)
def test_leads_of_consecutive_seconds_have_distances_all_over_the_grid(days):
    distances = np.array([first_grid_distance(TODAY + second, days * DAY) for second in range(10_000)])
    counts, _ = np.histogram(distances, bins=10, range=(0, days * DAY))
    assert counts == pytest.approx(np.full(10, 1_000), abs=50)


def test_snapshots_are_of_the_ages_that_leads_have_on_any_day():
    random = np.random.default_rng(3)
    created = random.integers(TODAY - 400 * DAY, TODAY - 200 * DAY, 4_000)
    closed = created + (random.exponential(40, 4_000) * DAY).astype(int) + 1
    rule = CohortRule(on=(), every=60 * DAY, closed=("lost",))
    drawn = draw_snapshots(history(created, closed), rule).frame["lead_id", "as_of"]
    ages = drawn.with_columns(age=pl.col("as_of") - pl.Series(created)[drawn["lead_id"].cast(pl.Int64)])
    # Ages of open leads are distributed as their lives are left: exponentially, with the same mean.
    for day in (10, 30, 60, 90):
        share = (ages["age"] <= day * DAY).mean()
        assert share == pytest.approx(1 - np.exp(-day / 40), abs=0.03)
    # A day of open leads is a snapshot with one chance in sixty.
    assert ages.height == pytest.approx((closed - created).sum() / (60 * DAY), rel=0.05)


def test_a_lead_is_looked_at_again_at_the_same_distance():
    drawn = draw_snapshots(history([TODAY - 100 * DAY]), CohortRule(every=14 * DAY)).frame["as_of"]
    assert drawn[0] == TODAY - 100 * DAY + 1
    assert drawn[1:].diff().drop_nulls().unique().to_list() == [14 * DAY]
    assert drawn[1] == TODAY - 100 * DAY + first_grid_distance(TODAY - 100 * DAY, 14 * DAY)
    assert TODAY - drawn[-1] < 14 * DAY
