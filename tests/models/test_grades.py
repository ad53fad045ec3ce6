from __future__ import annotations

import numpy as np
import pytest

from models.grades import Grades, from_capacity


def test_grades_hold_as_many_leads_as_sales_can_call():
    probability = np.random.default_rng(0).random(10_000)
    letters = from_capacity(probability, 0.1).grade_all(probability)
    shares = [float((letters == letter).mean()) for letter in "ABCD"]
    assert shares == pytest.approx([0.1, 0.1, 0.2, 0.6], abs=0.001)


def test_one_lead_gets_the_letter_it_gets_among_many():
    grades = Grades((0.5, 0.3, 0.1))
    probability = np.array([0.0, 0.1, 0.2999, 0.3, 0.5, 1.0])
    assert grades.grade_all(probability).tolist() == [grades.grade(p) for p in probability.tolist()]


def test_when_all_can_be_called_all_are_a():
    probability = np.linspace(0, 1, 50)
    assert set(from_capacity(probability, 1.0).grade_all(probability)) == {"A"}


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01])
def test_an_impossible_capacity_is_refused(share):
    with pytest.raises(ValueError, match="share of leads"):
        from_capacity(np.array([0.5]), share)


def test_thresholds_must_fall():
    with pytest.raises(ValueError, match="must fall"):
        Grades((0.1, 0.2, 0.3))
