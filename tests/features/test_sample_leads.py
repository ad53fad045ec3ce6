"""The sample of leads to learn from: whole leads, the same ones whatever else there is."""

from __future__ import annotations

import hashlib

import polars as pl
import pytest

from features.cohort import sample_leads

SNAPSHOTS = pl.DataFrame(
    {"lead_id": [f"l{n % 50}" for n in range(300)], "as_of": list(range(300)), "label": [0] * 300}
)


@pytest.mark.parametrize("most", [1, 40, 299])
def test_a_sample_has_all_snapshots_of_its_leads_and_no_more_than_asked_for(most):
    drawn = sample_leads(SNAPSHOTS, most)
    assert most - 6 < drawn.height <= most
    whole = SNAPSHOTS.filter(pl.col("lead_id").is_in(drawn["lead_id"].implode()))
    assert drawn.equals(whole)


def test_a_larger_sample_holds_the_smaller_one_in_whatever_order_rows_come():
    small = set(sample_leads(SNAPSHOTS, 60)["lead_id"])
    assert small < set(sample_leads(SNAPSHOTS.sample(fraction=1, shuffle=True, seed=1), 120)["lead_id"])


def test_any_database_draws_the_same_leads():
    digest = {lead: hashlib.md5(lead.encode()).hexdigest() for lead in SNAPSHOTS["lead_id"]}  # noqa: S324
    leads = sorted(digest, key=lambda lead: digest[lead])
    assert set(sample_leads(SNAPSHOTS, 60)["lead_id"]) == set(leads[:10])


def test_nothing_is_drawn_where_there_is_room_for_all():
    assert sample_leads(SNAPSHOTS, 300).equals(SNAPSHOTS)
