"""The dots of a beeswarm are leads."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import ks_2samp, rankdata

from training.analysis.drivers import MOST, beeswarm_points


def pairs(rows, seed=0):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {"value": random.integers(0, 9, rows).astype(float), "points": random.gamma(2.0, 3.0, rows)}
    )


def test_few_leads_are_all_shown_with_the_rank_that_scipy_gives_them():
    value_points = pairs(MOST)
    expected = (rankdata(value_points["value"]) - 1) / (len(value_points) - 1)
    want = sorted(zip(value_points["points"].round(2), expected.round(3), strict=True))
    points = sorted((dot.points, dot.height) for dot in beeswarm_points(value_points))
    assert np.array(points) == pytest.approx(np.array(want))


def test_of_many_leads_the_dots_lie_as_densely_as_the_leads():
    value_points = pairs(5000)
    shown_points = [dot.points for dot in beeswarm_points(value_points)]
    assert len(shown_points) == MOST
    assert ks_2samp(shown_points, value_points["points"]).statistic < 1.5 / MOST
    assert (min(shown_points), max(shown_points)) == pytest.approx(
        (value_points["points"].min(), value_points["points"].max()), abs=0.01
    )


def test_without_a_value_or_an_order_a_dot_has_no_height():
    missing = pl.DataFrame({"value": [None, 1.0, 2.0], "points": [0.0, 1.0, 2.0]})
    assert [dot.height for dot in beeswarm_points(missing)] == [None, 0.0, 1.0]
    words = pl.DataFrame({"value": ["a", "b", None], "points": [0.0, 1.0, 2.0]})
    assert [dot.height for dot in beeswarm_points(words)] == [None, None, None]


def test_the_same_leads_give_the_same_dots_in_any_order():
    value_points = pairs(700)
    assert beeswarm_points(value_points) == beeswarm_points(
        value_points.sample(fraction=1.0, shuffle=True, seed=5)
    )
