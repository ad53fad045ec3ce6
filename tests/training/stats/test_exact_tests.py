"""Exact tests of odds and rates against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact, nchypergeom_fisher

from training.stats.exact_tests import odds_ratio_above, rate_above

TABLES = [(3, 10, 30, 200), (0, 12, 40, 90), (12, 12, 20, 400), (40, 60, 100, 5_000)]


def counts(*numbers):
    return [np.array([number]) for number in numbers]


@pytest.mark.parametrize("table", TABLES)
def test_without_strata_and_bound_it_is_fishers_exact_test(table):
    hits, rows, all_hits, all_rows = table
    cells = [[hits, rows - hits], [all_hits - hits, all_rows - rows - all_hits + hits]]
    expected = fisher_exact(cells, alternative="greater").pvalue
    assert odds_ratio_above(*counts(*table), bound=1.0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bound", [0.125, 4.0, 30.0])
@pytest.mark.parametrize("table", TABLES)
def test_with_a_bound_it_is_the_noncentral_hypergeometric_distribution(table, bound):
    hits, rows, all_hits, all_rows = table
    expected = nchypergeom_fisher(all_rows, all_hits, rows, bound).sf(hits - 1)
    assert odds_ratio_above(*counts(*table), bound=bound) == pytest.approx(expected, rel=1e-6, abs=1e-11)


def test_strata_are_not_pooled():
    # Within each age the value says nothing; the young convert, and the young have it.
    young, old = (45, 90, 50, 100), (0, 10, 1, 100)
    pooled = odds_ratio_above(*counts(*np.add(young, old)), bound=1.0)
    apart = odds_ratio_above(*(np.array(pair) for pair in zip(young, old, strict=True)), bound=1.0)
    assert (pooled < 1e-6, apart > 0.3) == (True, True)


def test_p_values_of_the_bound_itself_are_not_too_small():
    random = np.random.default_rng(5)
    group = np.arange(400) < 80
    p_values = []
    for _ in range(400):
        won = random.random(400) < np.where(group, 0.3077, 0.1)  # odds 4 times as high
        numbers = ((won & group).sum(), group.sum(), won.sum(), len(won))
        p_values.append(odds_ratio_above(*counts(*numbers), bound=4.0))
    assert np.mean(np.array(p_values) <= 0.05) <= 0.07


def test_a_rate_is_tested_as_scipys_binomial_test_does():
    expected = binomtest(18, 20, 0.6, alternative="greater").pvalue
    assert rate_above(18, 20, 0.6) == pytest.approx(expected)
