"""What periods say of the weights of the parts: as many witnesses as there are periods, not as rows."""

from __future__ import annotations

import numpy as np
import pytest

from training.learner.boosting import SMALL
from training.learner.fit import RecipeScore, _choose_recipe
from training.learner.model_selection import OutOfFold
from training.learner.recipes import BASE_RATE, BLEND, RECIPES
from training.learner.stacking import fit_stacking


def two_parts(sizes, first_is_right, seed=0):
    """Two independent parts, of which in each period one knows the truth, and periods of these sizes."""
    random = np.random.default_rng(seed)
    period = np.repeat(np.arange(len(sizes)), sizes)
    parts = random.normal(0, 1.5, (len(period), 2))
    truth = np.where(np.array(first_is_right)[period], parts[:, 0], parts[:, 1])
    y = (random.random(len(period)) < 1 / (1 + np.exp(-truth))).astype(float)
    return parts, y, np.ones(len(period)), period


def share_of_first(*data):
    weights = fit_stacking(*data).weights
    return weights[0] / weights.sum()


def test_periods_that_agree_decide_the_weights():
    assert share_of_first(*two_parts([3000] * 3, [True] * 3)) > 0.9
    assert share_of_first(*two_parts([3000] * 3, [False] * 3)) < 0.1


def test_a_period_of_many_rows_is_one_witness():
    """Two periods of three speak for the first part; the third, ten times as long, must not outvote them."""
    data = two_parts([2000, 2000, 20_000], [True, True, False])
    assert share_of_first(*data[:3]) < 0.25
    assert share_of_first(*data) > 0.4


@pytest.mark.parametrize("rows", [1000, 10_000])
def test_where_periods_disagree_the_prior_stays_however_many_rows_they_have(rows):
    assert share_of_first(*two_parts([rows, rows], [True, False])) == pytest.approx(0.5, abs=0.1)


def test_few_rows_of_a_period_are_a_weak_witness():
    data = two_parts([5000, 5000, 30], [True, True, False])
    assert share_of_first(*data) > 0.7


def test_one_part_alone_is_only_made_steeper_or_flatter():
    parts, y, w, period = two_parts([3000] * 3, [True] * 3)
    assert fit_stacking(parts[:, :1] / 2, y, w, period).weights == pytest.approx([2.0], abs=0.2)


def recipe_scores(*, periods_agree, base_rate=0.6):
    """The additive recipe is better by four standard errors, as the rows of one period can make it."""
    losses = {
        "additive + trees": (0.50, 0.0),
        "additive": (0.48, -0.02),
        "trees": (0.52, 0.02),
        "base rate": (base_rate, base_rate - 0.5),
    }
    return tuple(RecipeScore(name, *loss, 0.005, periods_agree) for name, loss in losses.items())


def test_the_preferred_recipe_stays_unless_every_period_says_otherwise():
    assert _choose_recipe(recipe_scores(periods_agree=True)).name == "additive"
    assert _choose_recipe(recipe_scores(periods_agree=False)) == BLEND
    assert {recipe.name for recipe in (*RECIPES, BASE_RATE)} == {
        score.name for score in recipe_scores(periods_agree=True)
    }


def test_what_beats_the_base_rate_is_taken_where_the_preferred_recipe_does_not():
    assert _choose_recipe(recipe_scores(periods_agree=False, base_rate=0.49)).name == "additive"
    assert _choose_recipe(recipe_scores(periods_agree=False, base_rate=0.47)) == BASE_RATE
    assert _choose_recipe(recipe_scores(periods_agree=True, base_rate=0.47)) == BASE_RATE


@pytest.mark.parametrize(
    ("time_ordered", "gains", "agreed"),
    [
        (True, [0.30, 0.31, 0.29], True),
        (True, [3.0, 0.1, 0.1], False),
        (True, [0.30, 0.31, -0.29], False),
        (True, [-0.30, -0.31, -0.29], False),
        (False, [0.30, 0.31, -0.29], True),
    ],
)
def test_three_periods_are_three_witnesses(time_ordered, gains, agreed):
    y, fold = np.ones(90), np.repeat([0, 1, 2], 30)
    held_out = OutOfFold(
        np.arange(90), y, y, np.arange(90), fold, 0.0, y, y[:, None], (5,), SMALL, time_ordered=time_ordered
    )
    reference, candidate = np.zeros(90), np.array(gains)[fold]
    assert held_out.periods_agree(candidate, reference) is agreed
