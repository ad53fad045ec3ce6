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
    given = pairs(MOST)
    expected = (rankdata(given["value"]) - 1) / (len(given) - 1)
    want = sorted(zip(given["points"].round(2), expected.round(3), strict=True))
    found = sorted((dot.points, dot.height) for dot in beeswarm_points(given))
    assert np.array(found) == pytest.approx(np.array(want))


def test_of_many_leads_the_dots_lie_as_densely_as_the_leads():
    given = pairs(5000)
    shown = [dot.points for dot in beeswarm_points(given)]
    assert len(shown) == MOST
    assert ks_2samp(shown, given["points"]).statistic < 1.5 / MOST
    assert (min(shown), max(shown)) == pytest.approx((given["points"].min(), given["points"].max()), abs=0.01)


def test_without_a_value_or_an_order_a_dot_has_no_height():
    missing = pl.DataFrame({"value": [None, 1.0, 2.0], "points": [0.0, 1.0, 2.0]})
    assert [dot.height for dot in beeswarm_points(missing)] == [None, 0.0, 1.0]
    words = pl.DataFrame({"value": ["a", "b", None], "points": [0.0, 1.0, 2.0]})
    assert [dot.height for dot in beeswarm_points(words)] == [None, None, None]


def test_the_same_leads_give_the_same_dots_in_any_order():
    given = pairs(700)
    assert beeswarm_points(given) == beeswarm_points(given.sample(fraction=1.0, shuffle=True, seed=5))
