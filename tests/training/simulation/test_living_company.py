"""The demo's company as if it lived now: the same leads, only later, and people with names."""

from __future__ import annotations

import polars as pl
import pytest

from features.clock import DAY
from training.simulation.living_company import OWNERS, move_to_present, name_people, recent_leads
from training.simulation.simulator import simulate

NOW = 1_800_000_000


@pytest.fixture(scope="module")
def history():
    world = simulate(600, 1)
    end = world.world.start + int(0.7 * (world.world.end - world.world.start))
    return world.history.known_before(end)


def test_moved_to_the_present_all_is_as_it_was_only_later(history):
    moved = move_to_present(history, NOW)
    assert NOW - DAY < moved.observed_until <= NOW
    shift = moved.observed_until - history.observed_until
    assert shift % DAY == 0
    for name in ("leads", "touchpoints", "transitions", "attributes"):
        before, after = getattr(history, name), getattr(moved, name)
        times = [column for column in ("created_at", "occurred_at", "known_at") if column in before.columns]
        assert times
        assert after.with_columns(pl.col(column) - shift for column in times).equals(before)


def test_recent_leads_come_with_their_colleagues_and_nobody_else(history):
    recent = recent_leads(history, 60 * DAY)
    young = history.leads.filter(pl.col("created_at") >= history.observed_until - 60 * DAY)
    accounts = set(young["account_id"].drop_nulls())
    expected = {
        lead_id
        for lead_id, account in history.leads.select("lead_id", "account_id").iter_rows()
        if lead_id in set(young["lead_id"]) or account in accounts
    }
    assert set(recent.leads["lead_id"]) == expected
    assert 0 < len(expected) < history.leads.height
    for frame in (recent.touchpoints, recent.transitions, recent.attributes):
        assert set(frame["lead_id"]) <= expected
    assert set(recent.accounts["account_id"]) == accounts


def test_everybody_has_a_name_and_colleagues_one_owner_and_the_seed_decides(history):
    named = name_people(history, 1)
    assert named.leads["name"].null_count() == named.leads["owner"].null_count() == 0
    assert set(named.leads["owner"]) <= set(OWNERS)
    together = named.leads.drop_nulls("account_id").group_by("account_id").agg(pl.col("owner").n_unique())
    assert together["owner"].max() == 1
    assert named.accounts["account_id"].n_unique() == history.accounts.height
    assert named.leads["account_id"].is_null().equals(history.leads["account_id"].is_null())
    assert named.leads.drop("name", "owner", "account_id").equals(history.leads.drop("account_id"))
    assert name_people(history, 1).leads.equals(named.leads)
    assert not name_people(history, 2).leads.equals(named.leads)
