"""Misfit: found where it lives, in leads and not in rows, and expected where outcomes cannot exclude it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from training.learner.fit import RecipeScore
from training.learner.misfit import (
    expected_misfit,
    interaction_evidence,
    level_drift,
    misfit_trees,
)

COMPANIES = 40


def company(seed, missed=0.0, leads=2000, snapshots=1):
    """Leads whose scores lack an effect of ``missed`` that only half of the leads of one word have."""
    random = np.random.default_rng(seed)
    word, number = random.integers(3, size=leads).astype(float), random.normal(size=leads)
    other = np.where(random.random(leads) < 0.1, np.nan, random.normal(size=leads))
    log_odds = 0.8 * number - 0.5
    is_missed = (word == 2.0) & (number > 0)
    y = (random.random(leads) < expit(log_odds + missed * is_missed)).astype(np.int8)
    matrix = np.column_stack([word, number, other])
    lead = np.repeat(np.arange(leads), snapshots)
    return matrix[lead], log_odds[lead], y[lead], lead, is_missed[lead]


def test_an_interaction_that_scores_lack_is_found_in_its_cell():
    found = 0
    for seed in range(10):
        matrix, log_odds, y, lead, is_missed = company(seed, missed=-1.5)
        squared = sum((tree.at(matrix) for tree in misfit_trees(matrix, log_odds, y, lead)), np.zeros(len(y)))
        found += squared[is_missed].mean() > 1.0 > 5 * squared[~is_missed].mean()
    assert found >= 9


@pytest.mark.parametrize(("leads", "snapshots"), [(2000, 1), (400, 8)])
def test_nothing_is_found_where_scores_are_right(leads, snapshots):
    found = [bool(misfit_trees(*company(s, 0.0, leads, snapshots)[:4])) for s in range(COMPANIES)]
    # Cochran's test is wrong in one of twenty; 6 of 40 or more have a probability of 1.4 %.
    assert sum(found) < 6


def test_a_row_alone_is_in_the_leaf_that_it_is_in_among_many():
    matrix, log_odds, y, lead, _ = company(0, missed=-2.0)
    trees = misfit_trees(matrix, log_odds, y, lead)
    assert len(trees) == 2
    for tree in trees:
        assert [tree.at_scalar(row) for row in matrix[:300].tolist()] == tree.at(matrix[:300]).tolist()


def test_too_few_leads_to_split_show_nothing():
    assert misfit_trees(*company(0, missed=-2.0, leads=20)[:4]) == ()


def scores(worse_by, name="additive"):
    return [RecipeScore("additive + trees", 0.4, 0.0, 0.0), RecipeScore(name, 0.4, worse_by, 0.01)]


def test_interactions_are_believed_as_far_as_held_out_leads_show_them():
    certainty = [interaction_evidence(scores(worse_by)) for worse_by in (-0.05, 0.0, 0.005, 0.01, 0.03)]
    assert certainty == pytest.approx([0.0, 0.0, 0.383, 0.683, 0.997], abs=1e-3)
    assert interaction_evidence(scores(0.0, name="a learner of their own")) == 1.0


def misfit(leads, evidence, log_odds=-2.0):
    at = np.array([log_odds])
    return expected_misfit(at, leads=leads, information=0.12, evidence=evidence)[0]


def test_more_leads_leave_less_to_be_missed():
    errors = [misfit(leads, evidence=0.8) for leads in (1_000, 4_000, 16_000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > 0


def test_no_interactions_are_believed_from_many_leads_only():
    assert misfit(200_000, evidence=0.0) < 0.01 * misfit(200_000, evidence=0.8)
    assert misfit(500, evidence=0.0) > misfit(500, evidence=0.8) / 2


def test_leads_whose_outcomes_tell_less_are_less_certain():
    assert misfit(4_000, 0.8, log_odds=-4.0) > misfit(4_000, 0.8, log_odds=-0.5)


def periods_of(levels, seed, leads=800, snapshots=1):
    """Scores of a model of steady levels, outcomes, leads and periods: log-odds are off by a level."""
    random = np.random.default_rng(seed)
    period = np.arange(len(levels)).repeat(leads)
    truth = random.normal(-1.2, 1.0, len(period))
    y = (random.random(len(period)) < expit(truth + np.asarray(levels)[period])).astype(float)
    of_a_lead = [np.repeat(each, snapshots) for each in (truth, y, np.arange(len(period)), period)]
    return tuple(of_a_lead)


@pytest.mark.parametrize("snapshots", [1, 6])
def test_levels_that_stay_widen_nothing(snapshots):
    found = [level_drift(*periods_of((0, 0, 0), seed, snapshots=snapshots)) for seed in range(200)]
    assert np.mean(np.array(found) > 0) <= 0.08
    assert np.mean(found) < 0.005


@pytest.mark.parametrize("spread", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("is_walk", [False, True])
def test_nine_in_ten_next_levels_are_within_what_past_ones_moved(spread, is_walk):
    held = []
    for seed in range(200):
        random = np.random.default_rng([seed, is_walk])
        level = random.normal(size=6) * spread
        level = np.cumsum(level) if is_walk else level
        # Each period is predicted from all before it, the last one from all that validated, too.
        moved = [level[k] - level[:k].mean() for k in (2, 3, 4)]
        error = level[5] - level[:5].mean() + random.normal() * 0.2
        half = 1.645 * np.sqrt(0.2**2 + level_drift(*periods_of(moved, seed)))
        held.append(abs(error) <= half)
    assert np.mean(held) >= 0.85


def test_a_single_period_shows_no_drift():
    assert level_drift(*periods_of((0.9,), 0)) == 0.0
