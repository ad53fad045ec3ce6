"""Weeks that stand out: mixtures are fitted, leads that merely differ name none, a fast week is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from training.stats.frailty import constant_rate_test

WEEKS = 13


def weekly_conversions(random, rate, closing, fast=None):
    """Conversions by week of leads with constant rates of conversion and closing; ``fast`` doubles a week."""
    hits, is_open = np.zeros(WEEKS), np.ones(len(rate), dtype=bool)
    for week in range(WEEKS):
        own = rate * (2.0 if week == fast else 1.0)
        leaves = is_open & (random.random(len(rate)) < -np.expm1(-own - closing))
        hits[week] = (leaves & (random.random(len(rate)) < own / (own + closing))).sum()
        is_open &= ~leaves
    return hits


def frailty(random, name, leads):
    z = {
        "alike": np.ones(leads),
        "gamma": random.gamma(0.5, 2, leads),
        "two kinds": np.where(random.random(leads) < 0.08, 9.0, 0.4),
        "some at once": np.where(random.random(leads) < 0.05, 200.0, 0.5),
    }[name]
    # Sales closes the poor ones sooner.
    return 0.02 * z, np.where(z < 1, 0.06, 0.01)


def test_what_is_a_mixture_is_expected_as_it_is():
    week = np.arange(WEEKS)
    hits = 400 * np.exp(-0.5 * week) + 50 * np.exp(-0.05 * week)
    effect = constant_rate_test(hits, np.full(WEEKS, 2000.0))
    assert effect.expected == pytest.approx(hits, rel=0.03)


def test_a_season_in_the_exposure_is_no_effect_of_age():
    season = np.where(np.arange(WEEKS) == 5, 3.0, 1.0)
    effect = constant_rate_test(30 * season, 1000 * season)
    assert effect.expected == pytest.approx(30 * season, rel=0.01)
    assert effect.p_value.min() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alike", "gamma", "two kinds", "some at once"])
def test_where_leads_merely_differ_any_week_stands_out_as_often_as_it_may(name):
    random = np.random.default_rng(1)
    wrong = sum(
        constant_rate_test(
            weekly_conversions(random, *frailty(random, name, 2000)), np.full(WEEKS, 2000.0)
        ).p_value.min()
        <= 0.05
        for _ in range(100)
    )
    assert binomtest(wrong, 100, 0.05, "greater").pvalue > 0.005


@pytest.mark.parametrize("week", [2, 5])
def test_a_week_that_is_twice_as_fast_is_found(week):
    random = np.random.default_rng(2)
    found = []
    for _ in range(10):
        hits = weekly_conversions(random, *frailty(random, "gamma", 2000), fast=week)
        found.append(constant_rate_test(hits, np.full(WEEKS, 2000.0)).p_value[week] < 0.01)
    assert sum(found) >= 8
