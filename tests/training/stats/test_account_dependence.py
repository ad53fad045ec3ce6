"""The dependence of colleagues, measured in simulated accounts whose dependence is known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import norm

from features.clock import DAY
from models.account_chance import chance_of_any
from training.stats.account_dependence import FEWEST_ACCOUNTS, measure_account_dependence

WINDOW = 60 * DAY


class Rows(NamedTuple):
    """Snapshots with what was predicted and what became of them."""

    account: np.ndarray
    lead: np.ndarray
    as_of: np.ndarray
    probability: np.ndarray
    label: np.ndarray


def simulated_accounts(correlation, accounts=1500, seed=0, *, shared=None):
    """Accounts of two to five leads; what they share is a normal factor, or what ``shared`` draws.

    Each lead has up to three snapshots with one outcome, within the same window.
    """
    random = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), random.integers(2, 6, accounts))
    n = len(account)
    probability = random.beta(1.2, 8, n).clip(0.002, 0.9)
    if shared is None:
        factor = random.normal(size=accounts)[account]
        latent = np.sqrt(correlation) * factor + np.sqrt(1 - correlation) * random.normal(size=n)
        label = (latent < norm.ppf(probability)).astype(float)
    else:
        label = shared(random, account, probability)
    looks = random.integers(1, 4, n)
    lead = np.repeat(np.arange(n), looks)
    starts = random.integers(0, 100, accounts)[account] * DAY
    as_of = starts[lead] + random.integers(0, 20, len(lead)) * DAY
    return Rows(account[lead], lead, as_of, probability[lead], label[lead])


@pytest.mark.parametrize("correlation", [0.0, 0.2, 0.5])
def test_a_known_correlation_is_found_within_its_interval(correlation):
    measured = measure_account_dependence(simulated_accounts(correlation), WINDOW)
    assert measured.correlation == pytest.approx(correlation, abs=0.08)
    assert measured.low - 0.02 <= correlation <= measured.high + 0.02


def any_of(rows):
    """By account, the probabilities of its leads, and whether any converted."""
    _, first = np.unique(rows.lead, return_index=True)
    account, probability, label = rows.account[first], rows.probability[first], rows.label[first]
    ends = np.flatnonzero(np.diff(account)) + 1
    converted = np.array([each.max() for each in np.split(label, ends)])
    return np.split(probability, ends), converted


def factors_of_a_half(random, account, probability):
    """In half of the accounts nobody converts, in the others twice as many: a world of no normal factor."""
    alive = (random.random(account[-1] + 1) < 0.5)[account]
    return (random.random(len(account)) < np.minimum(1, 2 * probability) * alive).astype(float)


@pytest.mark.parametrize("shared", [None, factors_of_a_half])
def test_the_chance_of_an_account_is_right_where_independence_promises_too_much(shared):
    rows = simulated_accounts(0.5, accounts=3000, seed=3, shared=shared)
    measured = measure_account_dependence(rows, WINDOW)
    probabilities, converted = any_of(simulated_accounts(0.5, accounts=3000, seed=4, shared=shared))
    predicted = np.mean([chance_of_any(each, measured.correlation) for each in probabilities])
    independent = np.mean([1 - np.prod(1 - each) for each in probabilities])
    error = 3 * np.sqrt(converted.mean() * (1 - converted.mean()) / len(converted))
    assert abs(predicted - converted.mean()) < error
    assert independent > converted.mean() + error


def test_leads_of_an_account_at_other_times_are_no_colleagues():
    rows = simulated_accounts(0.5)
    apart = rows._replace(as_of=rows.as_of + rows.lead * 2 * WINDOW)
    assert measure_account_dependence(apart, WINDOW) is None


def test_of_too_few_accounts_nothing_is_said():
    assert measure_account_dependence(simulated_accounts(0.3, accounts=FEWEST_ACCOUNTS - 1), WINDOW) is None


def test_nothing_is_said_where_no_account_has_a_conversion():
    rows = simulated_accounts(0.3)
    assert measure_account_dependence(rows._replace(label=np.zeros(len(rows.label))), WINDOW) is None


def test_snapshots_of_one_lead_are_no_colleagues_of_each_other():
    rows = simulated_accounts(0.5)
    alone = rows._replace(account=rows.lead)
    assert measure_account_dependence(alone, WINDOW) is None


def test_a_huge_account_does_not_drown_the_others():
    rows = simulated_accounts(0.2)
    random = np.random.default_rng(9)
    huge = 4000
    probability = np.full(huge, 0.1)
    added = Rows(
        np.full(huge, rows.account.max() + 1),
        rows.lead.max() + 1 + np.arange(huge),
        np.zeros(huge, np.int64),
        probability,
        (random.random(huge) < 0.9).astype(float),
    )
    both = Rows(*map(np.concatenate, zip(rows, added, strict=True)))
    measured = measure_account_dependence(both, WINDOW)
    assert measured.correlation == pytest.approx(0.2, abs=0.1)
