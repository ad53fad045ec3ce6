"""Shares and rates against closed forms, a bootstrap, and what SciPy says of a Poisson count."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from training.stats.intervals import poisson_rate_interval, wilson_interval
from training.stats.survival import cumulative_incidence_intervals


def censored(size, seed):
    """Leads that are won or lost at random, and watched for at most a random time."""
    random = np.random.default_rng(seed)
    ends, cut = random.exponential(30, size), random.uniform(5, 60, size)
    won = random.random(size) < 0.4
    watched = np.ceil(np.minimum(ends, cut)).astype(np.int64)
    return watched, won & (ends <= cut), ~won & (ends <= cut)


def test_without_censoring_it_is_wilsons_interval():
    watched = np.arange(1, 41)
    won = watched % 3 == 0
    for days, share in zip(
        (10, 25, 41), cumulative_incidence_intervals(watched, won, ~won, np.array([10, 25, 41])), strict=True
    ):
        expected = wilson_interval(int(won[watched < days].sum()), 40)
        assert (share.value, share.low, share.high) == pytest.approx(
            (expected.value, expected.low, expected.high), abs=1e-9
        )


def test_a_share_is_worked_out_by_hand():
    """Five leads: won after 1, lost after 2, cut off after 3, won after 4, open at 5."""
    watched = np.array([1, 2, 3, 4, 5])
    won, lost = np.array([1, 0, 0, 1, 0], dtype=bool), np.array([0, 1, 0, 0, 0], dtype=bool)
    intervals = cumulative_incidence_intervals(watched, won, lost, np.array([1, 2, 4, 5]))
    assert [interval.value for interval in intervals] == pytest.approx([0, 1 / 5, 1 / 5, 1 / 5 + 3 / 5 / 2])


def test_what_happens_at_the_very_time_is_not_before_it():
    everyone = np.ones(3, dtype=bool)
    intervals = cumulative_incidence_intervals(
        np.array([30, 30, 31]), everyone, ~everyone, np.array([30, 31])
    )
    assert [interval.value for interval in intervals] == pytest.approx([0, 2 / 3])


def test_the_interval_is_as_wide_as_resamples_spread():
    watched, won, lost = censored(400, seed=1)
    random = np.random.default_rng(2)
    times = np.array([15, 30, 45])
    draws = [
        [
            interval.value
            for interval in cumulative_incidence_intervals(watched[rows], won[rows], lost[rows], times)
        ]
        for rows in random.integers(0, 400, (600, 400))
    ]
    for interval, spread in zip(
        cumulative_incidence_intervals(watched, won, lost, times), np.std(draws, axis=0), strict=True
    ):
        assert (interval.high - interval.low) / (2 * 1.96) == pytest.approx(spread, rel=0.12)


def test_an_interval_stays_within_nothing_and_all():
    watched, none = np.full(50, 7), np.zeros(50, dtype=bool)
    (nobody,) = cumulative_incidence_intervals(watched, none, none, np.array([7]))
    assert (nobody.value, nobody.low) == (0, 0)
    assert 0 < nobody.high < 0.1
    (everybody,) = cumulative_incidence_intervals(watched, ~none, none, np.array([8]))
    assert (everybody.value, everybody.high) == (1, 1)


@pytest.mark.parametrize("hits", [0, 1, 7, 250])
def test_a_rates_interval_is_where_a_poisson_count_would_be_odd(hits):
    interval = poisson_rate_interval(hits, 2.0)
    assert interval.value == hits / 2
    assert poisson.cdf(hits, 2 * interval.high) == pytest.approx(0.025)
    assert hits == 0 or poisson.sf(hits - 1, 2 * interval.low) == pytest.approx(0.025)
