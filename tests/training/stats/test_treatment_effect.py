"""The effect of a treatment: held to closed forms, and to experiments whose effect is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from training.stats.treatment_effect import (
    Experiment,
    aipw_scores,
    average_effect,
    effect_ratio,
    holm,
    leads_needed,
    qini_coefficient,
    qini_curve,
    randomisation_p_values,
)


def experiment(seed, leads, *, base=-1.5, slope=1.0, effect=0.0, chance=0.5, by_score=0.0):
    """Leads whose outcome depends on the score, one of them hidden, and by ``effect`` (log-odds) on calls."""
    random = np.random.default_rng(seed)
    score, hidden = random.normal(size=(2, leads))
    treated = random.random(leads) < chance
    odds = base + slope * score + 0.5 * hidden
    called, alone = expit(odds + effect + by_score * score), expit(odds)
    y = (random.random(leads) < np.where(treated, called, alone)).astype(float)
    rows = Experiment(np.arange(leads), treated, np.full(leads, chance), y, odds - 0.5 * hidden)
    return rows, float((called - alone).mean())


def test_without_anything_that_foretells_it_is_the_difference_in_means():
    """Up to what cross-fitting differs by: each fold's rates are those of the others."""
    rows, _ = experiment(1, 20_000, slope=0.0, effect=0.5)
    rows = replace(rows, score=np.zeros(20_000))
    estimate = average_effect(rows, aipw_scores(rows))
    called, alone = rows.y[rows.treated], rows.y[~rows.treated]
    error = np.sqrt(called.var() / len(called) + alone.var() / len(alone))
    assert estimate.effect.value == pytest.approx(called.mean() - alone.mean(), abs=0.02 * error)
    assert estimate.error == pytest.approx(error, rel=0.01)


@pytest.mark.parametrize(("leads", "effect", "chance"), [(600, 0.0, 0.9), (1_500, 0.8, 0.8), (400, 1.5, 0.5)])
def test_intervals_hold_the_effect_as_often_as_they_promise(leads, effect, chance):
    held = []
    for seed in range(200):
        rows, truth = experiment(seed, leads, effect=effect, chance=chance)
        interval = average_effect(rows, aipw_scores(rows)).effect
        held.append(interval.low <= truth <= interval.high)
    assert 0.915 <= np.mean(held) <= 0.99


def test_rare_outcomes_are_not_taken_for_certain():
    """Of 60 leads of the control group hardly one converts: seeing none proves nothing."""
    claimed = []
    for seed in range(200):
        rows, _ = experiment(seed, 600, base=-5.0, chance=0.9)
        claimed.append(average_effect(rows, aipw_scores(rows)).p_value < 0.05)
    assert np.mean(claimed) <= 0.07


def test_drawn_anew_no_effect_is_claimed_however_rare_outcomes_are():
    claimed = []
    for seed in range(150):
        rows, _ = experiment(seed, 400, base=-4.0, chance=0.9)
        everybody, some = np.ones(400, bool), rows.score > np.median(rows.score)
        claimed.append([p <= 0.05 for p in randomisation_p_values(rows, [everybody, some])])
    assert np.mean(claimed, axis=0).max() <= 0.08
    rows, _ = experiment(1, 4_000, effect=0.6, chance=0.8)
    (p_value,) = randomisation_p_values(rows, [np.ones(4_000, bool)])
    assert p_value < 0.001


def test_what_foretells_makes_it_more_precise_and_wrong_predictions_do_no_harm():
    rows, truth = experiment(3, 8_000, slope=2.0, effect=0.8, chance=0.7)
    blind = replace(rows, score=np.zeros(8_000))
    wrong = replace(rows, score=-(rows.score**3))
    estimates = [average_effect(each, aipw_scores(each)) for each in (rows, blind, wrong)]
    assert estimates[0].error < 0.85 * estimates[1].error
    for estimate in estimates:
        assert abs(estimate.effect.value - truth) < 3 * estimate.error


def test_chances_that_differ_are_accounted_for():
    """Good leads are called more often: the plain difference is far off, the weighted one is not."""
    random = np.random.default_rng(5)
    rows, truth = experiment(5, 20_000, slope=1.5, effect=0.4)
    chance = expit(1.5 * rows.score + 2.0).clip(0.1, 0.9)
    treated = random.random(20_000) < chance
    y = (random.random(20_000) < expit(rows.score + 0.4 * treated)).astype(float)
    own = replace(rows, treated=treated, propensity=chance, y=y)
    truth = (expit(rows.score + 0.4) - expit(rows.score)).mean()
    estimate = average_effect(own, aipw_scores(own))
    assert y[treated].mean() - y[~treated].mean() > truth + 10 * estimate.error
    assert abs(estimate.effect.value - truth) < 3 * estimate.error


def test_rows_of_a_lead_are_one_observation():
    rows, _ = experiment(7, 2_000, effect=0.5)
    thrice = Experiment(
        *(np.repeat(getattr(rows, name), 3) for name in ("lead", "treated", "propensity", "y", "score"))
    )
    once, often = (average_effect(each, aipw_scores(each)) for each in (rows, thrice))
    assert often.error == pytest.approx(once.error, rel=0.05)
    assert often.effect.value == pytest.approx(once.effect.value, abs=0.1 * once.error)


def test_the_promised_number_of_leads_sees_the_effect():
    needed = leads_needed(0.2, 0.05, 0.1)
    seen = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        treated = np.arange(needed.control + needed.treated) < needed.treated
        y = (random.random(len(treated)) < np.where(treated, 0.25, 0.2)).astype(float)
        rows = Experiment(np.arange(len(y)), treated, np.full(len(y), 0.9), y, random.normal(size=len(y)))
        seen.append(average_effect(rows, aipw_scores(rows)).p_value < 0.04)
    assert 0.72 <= np.mean(seen) <= 0.88


def test_an_effect_that_grows_with_the_score_has_a_qini_curve_above_the_line():
    rows, _ = experiment(11, 20_000, base=-2.0, effect=0.3, by_score=0.5)
    scores = aipw_scores(rows)
    assert qini_coefficient(rows, scores, rows.score).effect.low > 0
    assert qini_coefficient(rows, scores, -rows.score).effect.high < 0
    half, whole = qini_curve(rows, scores, rows.score, (0.5, 1.0))
    assert half.value > 0.6 * whole.value
    assert whole.value == pytest.approx(scores.mean())


def test_an_order_at_random_has_no_qini_coefficient():
    found = []
    for seed in range(200):
        rows, _ = experiment(seed, 800, effect=0.6)
        order = np.random.default_rng(seed + 10_000).normal(size=800)
        found.append(qini_coefficient(rows, aipw_scores(rows), order).p_value < 0.05)
    assert np.mean(found) < 0.08


def test_where_half_of_those_handed_over_are_called_a_call_does_twice_as_much():
    rows, _ = experiment(13, 40_000, slope=0.0)
    random = np.random.default_rng(13)
    called = rows.treated & (random.random(40_000) < 0.5)
    y = (random.random(40_000) < np.where(called, 0.3, 0.2)).astype(float)
    own = replace(rows, y=y)
    received = aipw_scores(replace(own, y=called.astype(float)))
    ratio = effect_ratio(own, aipw_scores(own), received)
    assert ratio.effect.low < 0.1 < ratio.effect.high
    assert ratio.error == pytest.approx(2 * average_effect(own, aipw_scores(own)).error, rel=0.15)
    nobody = aipw_scores(replace(own, y=np.zeros(40_000)))
    assert effect_ratio(own, nobody, nobody) is None


def test_holm_names_a_true_null_hypothesis_in_one_family_of_twenty():
    random = np.random.default_rng(0)
    families = 2 * norm.sf(np.abs(random.normal(size=(4_000, 5))))
    assert np.mean([any(holm(list(family))) for family in families]) == pytest.approx(0.05, abs=0.012)
