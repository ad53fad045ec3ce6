"""Accounts by current scores: against counting by hand, and many at once against one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.clock import DAY
from models.account_chance import AccountDependence, chance_of_any
from serving.account_scores import AccountChance, AccountSummary, rank_accounts
from serving.current_scores.records import CurrentScore

NOW = 1_777_000_000
MEASURED = AccountDependence(0.3, 0.1, 0.6, 200, 300)
ACCOUNTS = st.dictionaries(
    st.text(min_size=1, max_size=4),
    st.lists(st.floats(0.001, 0.99), min_size=1, max_size=5),
    max_size=12,
)


def score(lead_id, probability, state="open", days=3, **more):
    return CurrentScore(
        lead_id,
        "",
        "v1",
        NOW,
        NOW,
        NOW,
        state,
        lead_id,
        probability=probability,
        last_activity_at=None if days is None else NOW - days * DAY,
        **more,
    )


@given(ACCOUNTS)
@pytest.mark.parametrize("dependence", [None, MEASURED, AccountDependence(0.0, 0.0, 0.2, 60, 80)])
def test_many_accounts_are_ranked_as_one_by_one(dependence, accounts):
    rows = [(name, chance) for name in sorted(accounts) for chance in accounts[name]]
    correlation = 1.0 if dependence is None else dependence.correlation
    expected = {name: chance_of_any(chances, correlation) for name, chances in accounts.items()}
    ranked = rank_accounts(rows, dependence)
    assert {each.account_id: pytest.approx(each.chance, abs=1e-9) for each in ranked} == expected
    assert ranked == sorted(ranked, key=lambda each: (-each.chance, each.account_id))


def test_an_account_is_summed_up_by_hand():
    leads = [
        score("a", 0.2),
        score("b", 0.5, days=40),
        score("won", 0.9, "closed"),
        score("old", 0.6, "dormant"),
        score("withheld", None),
        score("silent", 0.1, days=None),
    ]
    summary = AccountSummary.of("acme", leads, MEASURED, NOW)
    assert summary.best.lead_id == "b"
    assert (summary.count("open"), summary.active) == (4, 2)
    assert (summary.count("dormant"), summary.count("closed")) == (1, 1)
    assert summary.chance.value == chance_of_any([0.5, 0.2, 0.1], 0.3)
    assert summary.chance.low == chance_of_any([0.5, 0.2, 0.1], 0.6)
    assert summary.chance.high == chance_of_any([0.5, 0.2, 0.1], 0.1)
    assert [lead.lead_id for lead in summary.leads] == ["won", "old", "b", "a", "silent", "withheld"]


def test_where_no_dependence_was_measured_there_are_bounds_and_no_value():
    chance = AccountChance.of([0.2, 0.5], None)
    assert (chance.value, chance.low, chance.high, chance.correlation) == (None, 0.5, 0.6, None)


def test_a_lead_alone_has_its_own_chance_whatever_colleagues_are_like():
    for dependence in (None, MEASURED):
        assert AccountChance.of([0.2], dependence) == AccountChance(0.2, 0.2, 0.2, None)
    assert AccountChance.of([], MEASURED) == AccountChance(0.0, 0.0, 0.0, None)
    assert np.isfinite(AccountChance.of([1.0, 0.3], MEASURED).value)
