from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.clock import DAY
from features.history import ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA
from training.simulation.default_world import DEFAULT_WORLD
from training.simulation.simulator import BLOCK, LEAK, UNASKED, simulate

TABLES = ("leads", "touchpoints", "transitions", "attributes", "accounts")


@pytest.fixture(scope="module")
def crm():
    return simulate(20_000, seed=3)


@pytest.fixture(scope="module")
def history(crm):
    return crm.history


def entries(history, stage):
    return history.transitions.filter(pl.col("stage") == stage).select("lead_id", at="occurred_at")


def test_the_same_seed_draws_the_same_history_and_another_seed_another():
    first, again, other = simulate(500, seed=1), simulate(500, seed=1), simulate(500, seed=2)
    for table in TABLES:
        assert_frame_equal(getattr(first.history, table), getattr(again.history, table))
    assert not first.history.touchpoints.equals(other.history.touchpoints)
    assert not first.history.accounts.equals(other.history.accounts)


def test_a_history_of_several_blocks_is_one_history():
    crm = simulate(BLOCK + 10, seed=1)
    assert crm.history.leads["lead_id"].n_unique() == BLOCK + 10 == len(crm.intents)
    tail = crm.history.leads.tail(10)
    assert crm.history.touchpoints.filter(pl.col("lead_id").is_in(tail["lead_id"].implode())).height > 0


def test_the_tables_keep_the_contract(history):
    assert dict(history.touchpoints.schema) == TOUCHPOINT_SCHEMA
    assert dict(history.transitions.schema) == TRANSITION_SCHEMA
    assert dict(history.attributes.schema) == ATTRIBUTE_SCHEMA
    plain = history.leads.select(history.leads.columns[3:])
    assert set(plain.dtypes) <= {pl.Float64(), pl.String()}
    for table in (history.touchpoints, history.transitions):
        assert (table["known_at"] >= table["occurred_at"]).all()


def test_nothing_is_known_at_the_end_that_came_later(history):
    for table in ("touchpoints", "transitions", "attributes"):
        assert getattr(history, table)["known_at"].max() < history.observed_until
    assert history.leads["created_at"].max() < history.observed_until


def test_a_lead_begins_with_its_first_conversion_and_nothing_before(history):
    born = history.touchpoints.join(history.leads, on="lead_id").sort("lead_id", "occurred_at")
    assert (born["occurred_at"] >= born["created_at"]).all()
    first = born.filter(pl.col("occurred_at") == pl.col("created_at"))
    assert first.height == history.leads.height
    assert (first["offer"] == first["first_conversion"]).all()


def test_an_end_is_the_only_end(history):
    ends = history.transitions.filter(pl.col("stage").is_in(["sql", "disqualified"]))
    assert ends["lead_id"].is_unique().all()
    reasons = history.transitions.group_by("stage").agg(pl.col("reason").count())
    assert set(reasons.filter(pl.col("reason") > 0)["stage"]) == {"disqualified"}


def test_the_old_rule_makes_an_mql_of_whoever_has_enough_visible_points(crm):
    """Recomputed the slow way for some leads, one touchpoint at a time."""
    points = {(stream.kind, stream.offer): stream.points for stream in crm.world.streams}
    history = crm.history
    mql_times = dict(entries(history, "mql").iter_rows())
    ends = dict(
        history.transitions.filter(pl.col("stage").is_in(["sql", "disqualified"]))
        .select("lead_id", "occurred_at")
        .iter_rows()
    )
    for lead_id in history.leads["lead_id"].head(200):
        total, expected = 0, None
        for row in history.touchpoints.filter(pl.col("lead_id") == lead_id).sort("known_at").to_dicts():
            total += points[row["kind"], row["offer"]]
            if total >= crm.world.mql_points:
                expected = row["known_at"]
                break
        open_then = expected is not None and expected < ends.get(lead_id, history.observed_until)
        assert mql_times.get(lead_id) == (expected if open_then else None)


def test_sales_accepts_only_open_mqls_and_after_they_became_one(history):
    stages = entries(history, "sal").join(entries(history, "mql"), on="lead_id", how="left", suffix="_mql")
    assert (stages["at"] > stages["at_mql"]).all()
    ends = history.transitions.filter(pl.col("stage").is_in(["sql", "disqualified"]))
    ended = stages.join(ends.select("lead_id", end="occurred_at"), on="lead_id")
    assert (ended["at"] < ended["end"]).all()


def test_most_mqls_never_become_an_sql(history):
    mqls, sqls = entries(history, "mql")["lead_id"], entries(history, "sql")["lead_id"]
    assert mqls.is_in(sqls.implode()).mean() < 0.5


def test_an_asked_attribute_is_learned_after_creation_and_written_over(crm):
    timeline = crm.history.attributes.filter(pl.col("name") == "timeline")
    timeline = timeline.join(crm.history.leads.select("lead_id", "created_at"), on="lead_id")
    at_once = pl.col("known_at") == pl.col("created_at")
    assert set(timeline.filter(at_once)["value"]) == {UNASKED}
    assert set(timeline.filter(~at_once)["value"]) == set(crm.world.attribute("timeline").levels)
    assert "timeline" not in crm.history.leads.columns


def test_attributes_follow_the_shares_of_their_intent(crm):
    for attribute in (crm.world.attribute("seniority"), crm.world.attribute("first_conversion")):
        for intent, chances in enumerate(attribute.chances):
            values = crm.history.leads[attribute.name].filter(pl.Series(crm.intents == intent)).drop_nulls()
            shares = [(values == level).mean() for level in attribute.levels]
            np.testing.assert_allclose(shares, chances, atol=4 * np.sqrt(0.25 / len(values)))


def test_blanks_are_as_frequent_as_the_world_says(history):
    missing = {row.name: row.missing for row in DEFAULT_WORLD.attributes if row.days_to_answer is None}
    for name, share in missing.items():
        assert history.leads[name].is_null().mean() == pytest.approx(share, abs=0.012)


def test_trade_fairs_have_their_season(history):
    month = pl.from_epoch("created_at").dt.month().alias("month")
    fair = (pl.col("first_channel") == "trade_fair").mean().alias("fair")
    by_month = dict(history.leads.drop_nulls("first_channel").group_by(month).agg(fair).iter_rows())
    assert by_month[9] == pytest.approx(0.3, abs=0.04)
    assert by_month[7] == 0


def test_some_touchpoints_reach_the_crm_two_days_late(history):
    late = pl.col("known_at") - pl.col("occurred_at")
    webinars = history.touchpoints.filter(
        pl.col("kind") == "webinar", pl.col("occurred_at") < history.observed_until - 3 * DAY
    ).join(history.leads, on="lead_id")
    webinars = webinars.filter(pl.col("occurred_at") > pl.col("created_at")).with_columns(late=late)
    assert set(webinars["late"]) == {0, 2 * DAY}
    assert (webinars["late"] > 0).mean() == pytest.approx(0.5, abs=0.03)


def test_the_leak_is_there_only_when_asked_and_changes_nothing_else():
    plain, leaky = simulate(2_000, seed=5), simulate(2_000, seed=5, leak=True)
    assert LEAK not in plain.history.leads.columns
    assert_frame_equal(leaky.history.leads.drop(LEAK), plain.history.leads)
    for table in TABLES[1:]:
        assert_frame_equal(getattr(leaky.history, table), getattr(plain.history, table))


def test_the_leak_tells_who_converted():
    history = simulate(5_000, seed=5, leak=True).history
    sqls = entries(history, "sql")["lead_id"]
    lead_ids = history.leads.filter(pl.col(LEAK) == "meeting held")["lead_id"]
    assert lead_ids.is_in(sqls.implode()).all()
    assert len(lead_ids) == pytest.approx(0.9 * len(sqls), rel=0.05)


def test_accounts_are_assigned_by_chance(crm):
    leads = crm.history.leads.with_columns(intent=pl.Series(crm.intents))
    joined = leads.join(crm.history.accounts, on="account_id")
    assert joined.height == leads["account_id"].count() > 0
    shares = joined.group_by("territory").agg((pl.col("intent") == 0).mean())["intent"]
    assert max(shares) - min(shares) < 0.03


def test_a_world_with_a_figure_missing_is_refused():
    broken = replace(DEFAULT_WORLD.streams[0], rates=(1.0, 2.0))
    with pytest.raises(ValueError, match="one entry for each of the 4 intents"):
        replace(DEFAULT_WORLD, streams=(broken, *DEFAULT_WORLD.streams[1:]))


def test_a_world_whose_first_conversions_nobody_offers_is_refused():
    with pytest.raises(ValueError, match="no stream has"):
        replace(DEFAULT_WORLD, first="industry")


def test_exposure_and_age_are_inverse():
    world = DEFAULT_WORLD
    ages = np.array([0.0, 5.0, DAY, 400.0 * DAY])
    np.testing.assert_allclose(world.age_at(world.exposure(ages)), ages, rtol=1e-9)
