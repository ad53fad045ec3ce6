"""Intervals and verdicts against closed forms, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from models.metrics import Interval
from training.stats.intervals import wilson_interval
from training.stats.significance import (
    CLAIM_FAMILIES,
    FAMILY_ERROR_RATE,
    REPORT_ERROR_RATE,
    RatioTest,
    WeightedGroup,
    benjamini_hochberg,
    both_tests,
    observed_expected_ratio,
    rate_ratio,
    shift_to_total,
)


def group(lead, y, weight=None):
    y = np.array(y, float)
    return WeightedGroup(np.array(lead), y, np.ones(len(y)) if weight is None else np.array(weight, float))


@pytest.mark.parametrize(("won", "rows", "rate"), [(0, 40, 0.1), (7, 40, 0.1), (39, 40, 0.6), (40, 40, 0.9)])
def test_where_all_are_expected_alike_the_interval_is_wilsons(won, rows, rate):
    y = np.repeat([1.0, 0.0], [won, rows - won])
    interval, expected = observed_expected_ratio(y, np.full(rows, rate)).ratio, wilson_interval(won, rows)
    assert np.allclose(
        [interval.value, interval.low, interval.high],
        np.array([expected.value, expected.low, expected.high]) / rate,
        atol=1e-6,
    )


def test_the_ends_are_the_shifts_that_the_score_test_just_refuses():
    random = np.random.default_rng(3)
    p = random.beta(1, 6, 200)
    y = (random.random(200) < p).astype(float)
    accepted = []
    for shift in np.linspace(-2, 2, 4001):
        moved = expit(logit(p) + shift)
        if (y.sum() - moved.sum()) ** 2 <= 1.959964**2 * (moved * (1 - moved)).sum():
            accepted.append(moved.sum() / p.sum())
    interval = observed_expected_ratio(y, p).ratio
    assert interval.low == pytest.approx(min(accepted), abs=0.002)
    assert interval.high == pytest.approx(max(accepted), abs=0.002)


def test_nineteen_of_twenty_intervals_hold_what_was_right():
    random = np.random.default_rng(4)
    p = random.beta(1, 5, 80)
    ratios = [observed_expected_ratio((random.random(80) < p).astype(float), p).ratio for _ in range(600)]
    assert 0.92 < np.mean([ratio.low <= 1 <= ratio.high for ratio in ratios]) < 0.98


def test_levelled_probabilities_add_up_and_keep_their_odds_ratios():
    p = np.array([0.1, 0.5, 0.9])
    moved = shift_to_total(p, 2.0)
    assert moved.sum() == pytest.approx(2.0)
    assert np.ptp(logit(moved) - logit(p)) == pytest.approx(0.0, abs=1e-9)


def test_of_leads_that_stand_once_the_ratio_is_scipys():
    first, second = [1] * 30 + [0] * 70, [1] * 18 + [0] * 102
    test = rate_ratio(group(range(100), first), group(range(100, 220), second), 220)
    known = stats.contingency.relative_risk(30, 100, 18, 120)
    ends = known.confidence_interval(0.95)
    assert test.ratio.value == pytest.approx(known.relative_risk)
    assert (test.ratio.low, test.ratio.high) == pytest.approx((ends.low, ends.high))


def test_a_lead_that_stands_five_times_speaks_once():
    y = [1] * 10 + [0] * 20
    once = rate_ratio(group(range(30), y), group(range(30, 60), y[::-1]), 60)
    five = rate_ratio(
        group(range(30), y), group(np.repeat(range(30, 60), 5), np.repeat(y[::-1], 5), [0.2] * 150), 60
    )
    assert five.ratio.low == pytest.approx(once.ratio.low)
    assert five.p_value == pytest.approx(once.p_value)


def test_without_any_conversion_on_one_side_there_is_no_ratio():
    assert rate_ratio(group([0, 1], [0, 0]), group([2, 3], [1, 0]), 4) is None


def test_verdicts_are_those_of_benjamini_and_hochberg():
    random = np.random.default_rng(5)
    for _ in range(50):
        p = np.where(random.random(12) < 0.4, random.random(12) / 300, random.random(12))
        verdicts = benjamini_hochberg([RatioTest(Interval(2.0, 1.0, 4.0), float(each)) for each in p])
        discovered = stats.false_discovery_control(p) <= FAMILY_ERROR_RATE
        assert [each == "more" for each in verdicts] == discovered.tolist()


def test_a_ratio_below_one_is_less_and_a_missing_one_too_few():
    low = RatioTest(Interval(0.5, 0.4, 0.6), 1e-6)
    assert benjamini_hochberg([low, None]) == ("less", "few")


def test_all_families_of_claims_share_one_error_rate():
    assert len(CLAIM_FAMILIES) * FAMILY_ERROR_RATE == pytest.approx(REPORT_ERROR_RATE)


def test_both_tests_must_agree_and_the_weaker_one_counts():
    strong, weak = RatioTest(Interval(2.0, 1.5, 3.0), 1e-6), RatioTest(Interval(1.3, 0.9, 1.8), 0.2)
    below = RatioTest(Interval(0.5, 0.4, 0.6), 1e-6)
    assert both_tests(strong, weak) == RatioTest(strong.ratio, 0.2)
    assert both_tests(strong, below).p_value == 1.0
    assert both_tests(strong, None) is both_tests(None, strong) is None
