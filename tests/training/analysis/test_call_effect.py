"""Does calling help? Said of companies whose effect is known, and refused where a log cannot tell."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from benchmarks.call_effect import FIRST, NULL, REAL, Kind, claims, draw_company, measure

from features.clock import DAY
from training.analysis.call_effect import UnidentifiedEffectError


def test_no_effect_is_claimed_where_there_is_none():
    """Of the whole, of a grade, a list or a region, or of the order of calls: in one company of twenty."""
    for kind in (NULL["leads differ"], NULL["rare outcomes"]):
        figures = measure(kind, 1_500, companies=40)
        assert figures["any"] <= 0.1
        assert figures["held"] >= 0.88


def test_an_effect_is_seen_and_its_interval_holds():
    figures = measure(REAL["calls help all"], 3_000, companies=25)
    assert figures["whole"] >= 0.9
    assert figures["held"] >= 0.85


def test_where_calls_help_in_the_south_alone_the_south_is_named():
    figures = measure(REAL["calls help in the south"], 5_000, companies=12)
    assert figures["south"] >= 0.8
    company = draw_company(3, 20_000, REAL["calls help in the south"])
    effect = company.effect(by=["region"])
    assert effect.differences["region"] < 0.001
    for group in effect.groups:
        if group.kind == "region":
            assert group.effect.low < company.by_region[group.name] < group.effect.high


def test_where_calls_help_good_leads_the_order_of_scores_gains():
    effect = draw_company(1, 20_000, REAL["calls help good leads"]).effect()
    assert effect.qini.is_clear
    assert effect.qini.coefficient.low > 0
    assert effect.qini.curve["0.5"].value > 0.6 * effect.qini.curve["1"].value


@pytest.fixture(scope="module")
def company():
    return draw_company(2, 1_200, Kind(effect=1.0))


def test_it_is_said_in_words_in_both_languages(company):
    effect = company.effect(by=["region"])
    english, german = list(effect.in_words()), list(effect.in_words("de"))
    assert english[0].startswith("Handing leads over helps:")
    assert german[0].startswith("Leads zu übergeben hilft:")
    assert len(english) == len(german)
    assert any("region: south" in line for line in english)
    assert "(power 80%) takes" in " ".join(english)
    assert json.loads(json.dumps(effect.to_dict()))["overall"]["is_clear"]


def test_who_was_called_by_hand_stays_as_drawn_and_makes_each_call_worth_more(company):
    by_hand = pl.int_range(pl.len()).mod(5) == 0
    listed = company.listed.with_columns(called_by_hand=by_hand)
    before, after = company.effect(), replace(company, listed=listed).effect()
    assert after.overall == before.overall
    assert after.by_hand == listed.filter(~pl.col("handed_over") & pl.col("called_by_hand")).height > 50
    # Of the leads handed over all are called here, and of the others one in five.
    assert before.per_call is None
    assert after.per_call.value == pytest.approx(after.overall.effect.value / 0.8, rel=0.1)
    assert "handed over by hand" in " ".join(after.in_words())


def test_conversions_after_the_horizon_do_not_count(company):
    late = company.outcomes.with_columns(
        pl.when(pl.col("outcome") == "won")
        .then(pl.col("occurred_at") + 70 * DAY)
        .otherwise("occurred_at")
        .alias("occurred_at")
    )
    with pytest.raises(UnidentifiedEffectError, match="0 of them converted"):
        replace(company, outcomes=late).effect()


def test_leads_whose_time_is_not_over_wait(company):
    early = company.outcomes.filter(pl.col("occurred_at") < FIRST + 100 * DAY)
    effect = replace(company, outcomes=early).effect()
    on_time = company.listed.filter(pl.col("day") + 60 * DAY < FIRST + 99 * DAY).height
    assert abs(effect.overall.handed_over + effect.overall.control - on_time) <= 0.05 * on_time
    assert (
        effect.left_out["waiting"]
        == company.listed.height - effect.overall.handed_over - effect.overall.control
    )


def test_who_was_first_handed_over_without_a_control_group_does_not_count(company):
    before = company.listed.with_columns(
        control_share=pl.when(pl.col("handed_over") & (pl.col("day") < FIRST + 10 * DAY))
        .then(0.0)
        .otherwise("control_share")
    )
    effect = replace(company, listed=before).effect()
    assert effect.left_out["no_control"] == before.filter(control_share=0.0).height > 50


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_a_control_group_it_is_refused_with_what_it_takes(company, share):
    none = company.listed.filter(pl.col("handed_over") == (share == 0)).with_columns(
        control_share=pl.lit(share)
    )
    with pytest.raises(
        UnidentifiedEffectError, match=r"none was left out by chance.*--control 0\.1"
    ) as refused:
        replace(company, listed=none).effect()
    assert "1,169 in each at --control 0.5" in str(refused.value)


def test_too_few_leads_are_refused_with_what_it_takes(company):
    with pytest.raises(UnidentifiedEffectError, match=r"too few outcomes.*leads in the control group"):
        replace(company, listed=company.listed.head(60)).effect()


def test_outcomes_of_called_leads_alone_are_refused(company):
    control = company.listed.filter(~pl.col("handed_over"))["lead_id"]
    silent = company.outcomes.filter(~pl.col("lead_id").is_in(control.implode()))
    with pytest.raises(UnidentifiedEffectError, match="Without outcomes of leads that are not called"):
        replace(company, outcomes=silent).effect()
    effect = replace(company, outcomes=silent).effect(all_reported=True)
    assert effect.rates[1] == 0


def test_a_feature_that_is_none_is_refused(company):
    with pytest.raises(UnidentifiedEffectError, match="the model has no feature called 'regoin'"):
        company.effect(by=["regoin"])


def test_small_groups_are_said_not_to_be_judged(company):
    few = company.listed.with_columns(
        region=pl.when(pl.int_range(pl.len()) < 40).then(pl.lit("west")).otherwise("region")
    )
    effect = replace(company, listed=few).effect(by=["region"])
    (west,) = [group for group in effect.groups if group.name == "west"]
    assert (west.effect, west.is_clear) == (None, False)
    assert any("west: too few leads for a statement" in line for line in effect.in_words())


def test_numbers_are_grouped_in_thirds(company):
    sized = company.listed.with_columns(size=pl.Series(np.arange(company.listed.height, dtype=float)))
    groups = [
        group for group in replace(company, listed=sized).effect(by=["size"]).groups if group.kind == "size"
    ]
    assert [group.handed_over + group.control for group in groups] == [400, 400, 400]


def test_what_is_said_to_be_beyond_chance_is_named_as_such(company):
    effect = company.effect()
    assert "all" in claims(effect)
    assert sum("beyond chance" in line for line in effect.in_words()) == sum(
        g.is_clear for g in effect.groups
    )
