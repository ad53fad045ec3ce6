"""The chance that any lead of an account converts, against worlds whose dependence is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from models.account_chance import AccountDependence, chance_of_any

PROBABILITIES = st.lists(st.floats(0.0005, 0.95), min_size=1, max_size=8)


@given(PROBABILITIES, st.floats(0, 1))
def test_the_chance_lies_between_the_largest_and_that_of_independent_leads(probabilities, correlation):
    value = chance_of_any(probabilities, correlation)
    independent = 1 - np.prod(1 - np.array(probabilities))
    assert max(probabilities) <= value <= independent + 1e-12


@given(PROBABILITIES)
def test_without_dependence_it_is_that_of_independent_leads_and_with_full_dependence_the_largest(
    probabilities,
):
    assert chance_of_any(probabilities, 0.0) == pytest.approx(1 - np.prod(1 - np.array(probabilities)))
    assert chance_of_any(probabilities, 1.0) == max(probabilities)


@given(PROBABILITIES, st.floats(0, 0.9), st.floats(0, 0.9))
def test_more_dependence_never_raises_the_chance(probabilities, one, other):
    low, high = sorted((one, other))
    assert chance_of_any(probabilities, high) <= chance_of_any(probabilities, low) + 1e-9


@pytest.mark.parametrize(
    ("first", "second", "correlation"), [*product((0.01, 0.1, 0.5), (0.02, 0.3), (0.1, 0.5, 0.9))]
)
def test_two_leads_agree_with_the_bivariate_normal_distribution(first, second, correlation):
    matrix = [[1, correlation], [correlation, 1]]
    none = multivariate_normal(cov=matrix).cdf(norm.ppf([1 - first, 1 - second]))
    assert chance_of_any([first, second], correlation) == pytest.approx(1 - none, abs=2e-6)


def test_a_lead_alone_has_its_own_chance():
    assert chance_of_any([0.3], 0.7) == 0.3
    assert chance_of_any([], 0.7) == 0.0


def test_what_was_measured_is_read_back():
    measured = AccountDependence(0.25, 0.1, 0.4, 120, 300)
    assert AccountDependence.from_json(measured.to_json()) == measured
