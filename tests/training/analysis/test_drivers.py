"""What goes along with high scores, summed up again by other means."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input, specs
from scipy.stats import spearmanr

from features.spec import DisplayText, FeatureSet, attribute
from training.analysis.drivers import BINS, LEVELS, feature_importance

POINTS = 20 / math.log(2)


@pytest.fixture(scope="module")
def given():
    return report_input()


@pytest.fixture(scope="module")
def made(given):
    return feature_importance(given.features, given.explained, given.contributions)


def named(made, name):
    return next(driver for driver in made.features if driver.spec.name == name)


def one(values, contributions, unit="number"):
    """The driver of a single feature."""
    spec = attribute("x", family="fit", says=DisplayText("X: {value}", "X: {value}"), unit=unit)
    dtype = pl.String if unit == "category" else pl.Float64
    rows = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    return feature_importance(
        FeatureSet((spec,)), rows, np.array(contributions, dtype=float)[:, None]
    ).features[0]


def test_importance_is_the_mean_size_of_a_contribution_in_points(given, made):
    for i, spec in enumerate(given.features.specs):
        sizes = [abs(row[i]) * POINTS for row in given.contributions.tolist()]
        assert named(made, spec.name).importance == pytest.approx(sum(sizes) / len(sizes))


def test_the_weightiest_comes_first(made):
    assert [d.importance for d in made.features] == sorted(
        (d.importance for d in made.features), reverse=True
    )
    assert len(made.features) == len(specs())


def test_a_family_weighs_what_its_features_together_move(given, made):
    email = [i for i, spec in enumerate(given.features.specs) if spec.family == "email"]
    together = [abs(sum(row[i] for i in email)) * POINTS for row in given.contributions.tolist()]
    family = next(family for family in made.families if family.name == "email")
    assert family.importance == pytest.approx(sum(together) / len(together))
    assert family.features == 2


@pytest.mark.parametrize(
    ("feature", "direction"),
    [
        ("demo_request.count.30d", "raises"),
        ("demo_request.recency", "lowers"),
        ("industry", "levels"),
        ("timezone", "none"),
    ],
)
def test_direction_follows_how_contributions_were_written(made, feature, direction):
    assert named(made, feature).direction == direction


def test_what_falls_and_rises_is_mixed():
    values = list(range(-50, 51))
    assert one(values, [value * value / 500 for value in values]).direction == "mixed"


def test_the_correlation_is_that_of_scipy(given, made):
    i = given.features.names.index("employees")
    pairs = [
        (value, row[i])
        for value, row in zip(given.explained["employees"].to_list(), given.contributions, strict=True)
        if value is not None
    ]
    assert named(made, "employees").correlation == pytest.approx(spearmanr(pairs).statistic)


def test_every_lead_is_in_one_part_of_a_numbers_shape(given, made):
    for driver in made.features:
        if not driver.spec.is_category:
            assert sum(part.rows for part in driver.shape) == len(given.explained)
            assert len(driver.shape) <= BINS + 1


def test_a_part_holds_the_mean_points_of_its_values(given, made):
    i = given.features.names.index("employees")
    values, points = given.explained["employees"].to_list(), (given.contributions[:, i] * POINTS).tolist()
    for part in named(made, "employees").shape:
        within = [
            point
            for value, point in zip(values, points, strict=True)
            if (value is None and part.is_missing)
            or (value is not None and not part.is_missing and part.low <= value <= part.high)
        ]
        assert (part.rows, part.points) == (len(within), pytest.approx(sum(within) / len(within)))


def test_few_values_are_shown_one_by_one():
    shape = one([0, 0, 1, 2, None], [1, 1, 2, 3, 4]).shape
    assert [(part.low, part.high, part.rows) for part in shape] == [
        (0, 0, 2),
        (1, 1, 1),
        (2, 2, 1),
        (None, None, 1),
    ]


def test_levels_run_from_the_most_points_to_the_least_and_missing_is_last():
    shape = one(["b", "a", "a", None], [-1, 2, 4, 9], unit="category").shape
    assert [(part.level, part.rows) for part in shape] == [("a", 2), ("b", 1), (None, 1)]
    assert shape[0].points == pytest.approx(3 * POINTS)


def test_ten_thousand_levels_are_cut_to_the_frequent_ones():
    values = [f"level {i}" for i in range(10_000)] + ["frequent"] * 3
    shape = one(values, [1.0] * len(values), unit="category").shape
    assert len(shape) == LEVELS
    assert "frequent" in [part.level for part in shape]


def test_examples_are_values_that_leads_had(given, made):
    for driver in made.features:
        for example in driver.examples:
            assert example.value in given.explained[driver.spec.name].to_list()


def test_a_column_without_any_value_has_one_part_and_no_example():
    driver = one([None, None], [0.5, 0.5])
    assert [part.is_missing for part in driver.shape] == [True]
    assert driver.examples == ()
    assert driver.direction == "mixed"


def test_one_value_is_one_example():
    assert [example.value for example in one([7, 7], [0.1, 0.2]).examples] == [7]
