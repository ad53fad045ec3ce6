"""What goes along with high scores, summed up again by other means."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input, specs
from scipy.stats import spearmanr

from features.spec import DisplayText, EventSelection, FeatureSet, attribute, lead_age, recency
from training.analysis.drivers import BINS, LEVELS, feature_importance

POINTS = 20 / math.log(2)


@pytest.fixture(scope="module")
def inputs():
    return report_input()


@pytest.fixture(scope="module")
def drivers(inputs):
    return feature_importance(inputs.features, inputs.explained_rows, inputs.contributions)


def named(drivers, name):
    return next(driver for driver in drivers.features if driver.spec.name == name)


def one(values, contributions, unit="number"):
    """The driver of a single feature."""
    spec = attribute("x", family="fit", says=DisplayText("X: {value}", "X: {value}"), unit=unit)
    dtype = pl.String if unit == "category" else pl.Float64
    rows = pl.DataFrame({"x": pl.Series(values, dtype=dtype)})
    return feature_importance(
        FeatureSet((spec,)), rows, np.array(contributions, dtype=float)[:, None]
    ).features[0]


def test_importance_is_the_mean_size_of_a_contribution_in_points(inputs, drivers):
    for i, spec in enumerate(inputs.features.specs):
        sizes = [abs(row[i]) * POINTS for row in inputs.contributions.tolist()]
        assert named(drivers, spec.name).importance == pytest.approx(sum(sizes) / len(sizes))


def test_the_weightiest_comes_first(drivers):
    assert [d.importance for d in drivers.features] == sorted(
        (d.importance for d in drivers.features), reverse=True
    )
    assert len(drivers.features) == len(specs())


def test_a_family_weighs_what_its_features_together_move(inputs, drivers):
    email = [i for i, spec in enumerate(inputs.features.specs) if spec.family == "email"]
    together = [abs(sum(row[i] for i in email)) * POINTS for row in inputs.contributions.tolist()]
    family = next(family for family in drivers.families if family.name == "email")
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
def test_direction_follows_how_contributions_were_written(drivers, feature, direction):
    assert named(drivers, feature).direction == direction


def test_what_falls_and_rises_is_mixed():
    values = list(range(-50, 51))
    assert one(values, [value * value / 500 for value in values]).direction == "mixed"


def test_the_correlation_is_that_of_scipy(inputs, drivers):
    i = inputs.features.names.index("employees")
    pairs = [
        (value, row[i])
        for value, row in zip(inputs.explained_rows["employees"].to_list(), inputs.contributions, strict=True)
        if value is not None
    ]
    assert named(drivers, "employees").correlation == pytest.approx(spearmanr(pairs).statistic)


def test_every_lead_is_in_one_part_of_a_numbers_shape(inputs, drivers):
    for driver in drivers.features:
        if not driver.spec.is_category:
            assert sum(part.rows for part in driver.shape) == len(inputs.explained_rows)
            assert len(driver.shape) <= BINS + 1


def test_a_part_holds_the_mean_points_of_its_values(inputs, drivers):
    i = inputs.features.names.index("employees")
    values, points = (
        inputs.explained_rows["employees"].to_list(),
        (inputs.contributions[:, i] * POINTS).tolist(),
    )
    for part in named(drivers, "employees").shape:
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


def test_examples_are_values_that_leads_had(inputs, drivers):
    for driver in drivers.features:
        for example in driver.examples:
            assert example.value in inputs.explained_rows[driver.spec.name].to_list()


def test_a_column_without_any_value_has_one_part_and_no_example():
    driver = one([None, None], [0.5, 0.5])
    assert [part.is_missing for part in driver.shape] == [True]
    assert driver.examples == ()
    assert driver.direction == "mixed"


def test_one_value_is_one_example():
    assert [example.value for example in one([7, 7], [0.1, 0.2]).examples] == [7]


def test_a_driver_that_is_only_the_age_of_the_snapshot_is_known_to_be_that():
    """Time in the first stage is the age again; time since a visit that half of them made is not."""
    random = np.random.default_rng(0)
    age, text = random.uniform(0, 90, 400), DisplayText("{value}", "{value}")
    stage = EventSelection("qualification", "transitions", ("lead",), label="stage_lead")
    visit = EventSelection("behaviour", "touchpoints", ("visit",))
    features = FeatureSet(
        (
            lead_age(text),
            recency(stage, text),
            recency(visit, text),
            attribute("size", family="fit", says=text),
        )
    )
    columns = [age, age + random.uniform(0, 1, 400), np.where(age < 45, age, np.nan)]
    rows = pl.DataFrame(
        [
            pl.Series(spec.name, values, nan_to_null=True)
            for spec, values in zip(features.specs, columns, strict=False)
        ]
        + [pl.Series("size", ["a", "b"] * 200)]
    )
    result = feature_importance(features, rows, random.normal(size=(400, 4)))
    assert [named(result, spec.name).is_age for spec in features.specs] == [True, True, False, False]
