"""What changed between two explanations, family sums, and the weightiest reasons for and against."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.explanation import Explanation, Reason, Score, explain_change, log_odds_to_points, top_reasons

WEIGHTS = st.lists(st.floats(-3, 3), min_size=4, max_size=4)
FAMILIES = ("fit", "email", "fit", "intent")


def explained(weights, as_of=9):
    reasons = tuple(
        Reason(f"f{i}", FAMILIES[i], float(i), weight, log_odds_to_points(weight), "text")
        for i, weight in enumerate(weights)
    )
    total = -1.0 + math.fsum(weights)
    score = Score("a", as_of, total, 1 / (1 + math.exp(-total)), 100, "B", "m")
    return Explanation(score, -1.0, tuple(sorted(reasons, key=lambda reason: -abs(reason.contribution))))


@given(WEIGHTS, WEIGHTS)
def test_the_shifts_add_up_to_the_change(now, then):
    result = explain_change(explained(now), explained(then, as_of=5))
    assert math.fsum(shift.contribution for shift in result.reasons) == pytest.approx(
        result.log_odds, abs=1e-9
    )
    assert result.since.as_of == 5
    assert result.since.log_odds + result.log_odds == pytest.approx(explained(now).score.log_odds, abs=1e-12)


def test_nothing_changed_is_no_reason():
    same = explained([1.0, -1.0, 0.5, 0.0])
    assert explain_change(same, same).reasons == ()


@given(WEIGHTS)
def test_families_add_up_to_all_contributions(weights):
    shares = explained(weights).families
    assert sorted(share.family for share in shares) == ["email", "fit", "intent"]
    assert math.fsum(share.contribution for share in shares) == pytest.approx(math.fsum(weights), abs=1e-12)
    by_name = {share.family: share.contribution for share in shares}
    assert by_name["fit"] == pytest.approx(weights[0] + weights[2], abs=1e-12)


def test_the_weightiest_for_and_against():
    reasons = explained([3.0, -0.1, 2.0, -0.5]).reasons
    assert [reason.feature for reason in top_reasons(reasons, each=1)] == ["f0", "f3"]
    assert [reason.feature for reason in top_reasons(reasons, top=2)] == ["f0", "f2"]
    assert [reason.feature for reason in top_reasons(reasons, top=1, each=1)] == ["f0"]
    assert top_reasons(reasons) == reasons
