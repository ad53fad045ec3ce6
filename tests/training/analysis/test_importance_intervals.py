"""How sure the size of a driver is: over rows, and over models learned anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report_inputs import report_input
from scipy.stats import t as student

from training.analysis.drivers import feature_importance, importance_intervals
from training.report.report import Report, build_report

GROUPS = 5


def test_refits_of_a_mean_have_the_interval_that_a_textbook_gives_to_group_means():
    """Leaving out a group of a mean is a t-interval over the means of groups (Kott 2001)."""
    groups = np.random.default_rng(3).normal(6.0, 1.0, (GROUPS, 40))
    without = [np.delete(groups, item, axis=0).mean() for item in range(GROUPS)]
    # A column of one size has no interval over rows, so what is left is that over refits.
    [intervals] = importance_intervals(
        np.full((50, 1), groups.mean()), [np.full((50, 1), mean) for mean in without]
    )
    means = groups.mean(axis=1)
    half = student.ppf(0.975, GROUPS - 1) * means.std(ddof=1) / np.sqrt(GROUPS)
    assert intervals.value == pytest.approx(groups.mean())
    assert (intervals.low, intervals.high) == pytest.approx((intervals.value - half, intervals.value + half))


def test_refits_of_a_sample_vary_more_than_those_of_all_rows():
    points, again = np.full((50, 1), 5.0), [np.full((50, 1), 5.0 + item / 10) for item in range(GROUPS)]
    [all_rows], [a_quarter] = (
        importance_intervals(points, again),
        importance_intervals(points, again, share=0.25),
    )
    assert a_quarter.high - 5.0 == pytest.approx((all_rows.high - 5.0) / 2)


def test_the_interval_holds_the_truth_in_nineteen_of_twenty_companies():
    """Of a linear model learned by least squares from each company's leads, whose true weight is known."""
    random, held, companies, weight = np.random.default_rng(0), 0, 200, 2.0
    sample = np.random.default_rng(1).normal(size=(400, 1))
    truth = np.abs(weight * sample).mean()
    for _ in range(companies):
        x = random.normal(size=200)
        y = weight * x + random.normal(scale=3.0, size=200)
        slopes = [(x[keep] @ y[keep]) / (x[keep] @ x[keep]) for keep in _without(len(x))]
        whole = (x @ y) / (x @ x)
        # The explained rows are the same for all, so only the trained models differ.
        [intervals] = importance_intervals(
            np.full((9, 1), whole * np.abs(sample).mean()), [_flat(s, sample) for s in slopes]
        )
        held += intervals.low <= truth <= intervals.high
    assert 0.91 <= held / companies <= 0.99


def _without(rows):
    return [np.arange(rows) % GROUPS != group for group in range(GROUPS)]


def _flat(slope, sample):
    return np.full((9, 1), slope * np.abs(sample).mean())


def test_a_size_is_never_below_nothing_and_lies_in_its_interval():
    inputs = report_input(400)
    noise = np.random.default_rng(2).normal(scale=2.0, size=(GROUPS, *inputs.contributions.shape))
    drivers = feature_importance(inputs.features, inputs.explained_rows, inputs.contributions, [*noise])
    assert all(0 <= item.likely.low <= item.importance <= item.likely.high for item in drivers.features)
    assert all(0 <= item.likely.low <= item.importance <= item.likely.high for item in drivers.families)


def test_a_direction_is_steady_where_every_refit_goes_the_same_way():
    inputs = report_input(400)
    same = feature_importance(
        inputs.features, inputs.explained_rows, inputs.contributions, [inputs.contributions] * GROUPS
    )
    other = [inputs.contributions] * (GROUPS - 1) + [-inputs.contributions]
    turned = feature_importance(inputs.features, inputs.explained_rows, inputs.contributions, other)
    ways = [item.direction in ("raises", "lowers") for item in same.features]
    assert any(ways)
    assert [item.steady for item in same.features] == [True if way else None for way in ways]
    assert [item.steady for item in turned.features] == [False if way else None for way in ways]


def test_refits_reach_the_report_and_are_read_back():
    inputs = report_input(400)
    report = build_report(replace(inputs, refit_contributions=(inputs.contributions,) * GROUPS))
    assert report.drivers.refits == GROUPS
    assert Report.from_json(report.to_json()) == report


def test_refits_of_some_rows_are_compared_with_the_values_of_these_rows():
    inputs = report_input(400)
    places = np.arange(1, len(inputs.contributions), 3)
    some = [inputs.contributions[places]] * GROUPS
    drivers = feature_importance(
        inputs.features, inputs.explained_rows, inputs.contributions, some, refit_places=places
    )
    ways = [item.direction in ("raises", "lowers") for item in drivers.features]
    assert any(ways)
    assert [item.steady for item in drivers.features] == [True if way else None for way in ways]
    assert all(0 <= item.likely.low <= item.importance <= item.likely.high for item in drivers.features)
