"""Rehearsals: quantiles and the check against outcomes by hand, and coverage where the truth is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from training.data.training_rows import TrainingRows
from training.learner import score_intervals
from training.learner.fit import fit_learning_rows
from training.learner.score_intervals import (
    ENOUGH,
    SimulationErrors,
    conformal_curve,
    estimate_uncertainty,
    excess_squared_error,
    interpolate_scenarios,
)


def company(rows=1500, seed=0, signal=1.0, level=-1.5):
    """Leads of a company whose log-odds are known: a curve, a word, and noise columns."""
    random = np.random.default_rng(seed)
    x, noise = random.normal(size=rows), random.normal(size=(rows, 3))
    word = random.choice(["Ads", "Fair", "Web"], rows)
    truth = level + signal * (np.tanh(2 * x) + 0.8 * (word == "Fair") + 0.3 * x * (word == "Ads"))
    frame = pl.DataFrame({"x": x, "word": word, **{f"n{i}": noise[:, i] for i in range(3)}})
    y = (random.random(rows) < expit(truth)).astype(np.int8)
    return frame, y, truth


def uncertainty_of(frame, y, seed=0):
    rows = TrainingRows(frame, y)
    fitted = fit_learning_rows(rows, seed)
    return fitted.predictor, estimate_uncertainty(
        rows, fitted, pl.Series([str(n) for n in range(len(y))]), seed
    )


@pytest.fixture(scope="module")
def learned():
    return uncertainty_of(*company()[:2])


def test_nine_in_ten_simulated_intervals_hold_a_truth_that_the_model_can_say(monkeypatch):
    right, times, simulated = [], [], []
    simulate = score_intervals.interval_half_widths

    def spy(*arguments):
        simulated.append(simulate(*arguments))
        return simulated[-1]

    monkeypatch.setattr(score_intervals, "interval_half_widths", spy)
    for seed in range(3):
        predictor, result = uncertainty_of(*company(seed=seed)[:2])
        frame, _, truth = company(rows=4000, seed=100 + seed)
        log_odds = predictor.log_odds(predictor.encodings.encode(frame))
        right.append(np.abs(log_odds - truth) <= simulated[-1].at(log_odds))
        times.append(np.divide(result.half.values, simulated[-1].values))
    assert 0.82 < np.mean(right) < 0.98
    # Nothing tells that the model can say this truth, so intervals allow for more.
    assert np.all(np.concatenate(times) > 1)


def test_more_leads_are_surer(learned):
    _, more = uncertainty_of(*company(rows=6000)[:2])
    at = np.linspace(-2.5, 0.0, 20)
    assert more.half.at(at).mean() < 0.8 * learned[1].half.at(at).mean()


@pytest.mark.parametrize(
    ("real", "share"), [(1.0, 0.0), (1.2, 0.0), (1.3, 0.25), (1.5, 0.75), (1.6, 1.0), (2.0, 1.0)]
)
def test_the_truth_lies_between_the_acts_as_the_spread_of_scores_says(real, share):
    assert interpolate_scenarios(real, 1.2, 1.6) == pytest.approx(share)
    assert interpolate_scenarios(real, 1.6, 1.2) == 1.0


def test_the_sample_of_a_simulation_is_independent_of_its_outcomes(monkeypatch):
    """From the same uniforms, the sample would hold leads with small ones only, which all convert."""
    frame, y, _ = company(rows=4000)
    rows = TrainingRows(frame, y)
    fitted = fit_learning_rows(rows)
    trained_on, refit = [], type(fitted).refit
    monkeypatch.setattr(score_intervals, "MOST_ROWS", 1000)

    def spy(self, rows, seed):
        trained_on.append((len(rows), rows.y.mean()))
        return refit(self, rows, seed)

    monkeypatch.setattr(type(fitted), "refit", spy)
    score_intervals.interval_half_widths(rows, fitted, np.arange(4000))
    # Both scenarios of each simulation, and then the first one with half of the leads.
    sizes = [900] * 2 * score_intervals.TIMES + [450] * score_intervals.TIMES
    assert [size for size, _ in trained_on] == pytest.approx(sizes, rel=0.15)
    assert [rate for _, rate in trained_on] == pytest.approx([y.mean()] * len(trained_on), abs=0.06)


def test_the_same_seed_gives_the_same_uncertainty(learned):
    assert uncertainty_of(*company()[:2])[1] == learned[1]


def test_what_matters_is_watched_and_noise_is_not(learned):
    names = [watched.feature for watched in learned[1].watched]
    assert names[0] == "x"
    assert "word" in names
    x = company()[0]["x"]
    (watched,) = [item for item in learned[1].watched if item.feature == "x"]
    room = 0.1 * (x.max() - x.min())
    assert (watched.low, watched.high) == pytest.approx((x.min() - room, x.max() + room))
    assert watched.filled


def test_too_few_conversions_are_said_with_how_many_are_missing():
    frame, y, _ = company(rows=60, level=-4.0, seed=3)
    assert 0 < y.sum() < 10
    result = uncertainty_of(frame, y)[1]
    assert (result.lacking, result.missing) == ("too_few_outcomes", ENOUGH - y.sum())


def test_many_conversions_that_nothing_explains_are_no_signal():
    random = np.random.default_rng(5)
    frame = pl.DataFrame({"same": [1.0] * 600})
    y = (random.random(600) < 0.4).astype(np.int8)
    rows = TrainingRows(frame, y)
    fitted = fit_learning_rows(rows)
    assert fitted.recipe == "base rate"
    assert estimate_uncertainty(rows, fitted, pl.Series(map(str, range(600)))).lacking == "no_signal"


def test_twelve_converted_leads_are_twelve_with_any_number_of_snapshots():
    random = np.random.default_rng(5)
    frame = pl.DataFrame({"same": [1.0] * 1200})
    y = np.repeat(np.arange(120) < 12, 10).astype(np.int8)
    lead = np.repeat(np.arange(120), 10)[order := random.permutation(1200)]
    rows = TrainingRows(frame, y[order], groups=lead)
    result = estimate_uncertainty(rows, fit_learning_rows(rows), pl.Series(map(str, lead)))
    assert (result.lacking, result.missing) == ("too_few_outcomes", ENOUGH - 12)


def test_the_curve_is_the_conformal_quantile_of_each_part():
    predicted = np.arange(200.0)
    errors = np.where(predicted < 100, 1.0, 3.0) * (predicted % 100 + 1) * np.where(predicted % 2, 1, -1)
    result = conformal_curve(SimulationErrors(predicted, errors))
    # The 91st smallest of 1 to 100: ceil(101 * 0.9).
    assert result.values == (91.0, 273.0)
    assert result.knots == (49.5, 149.5)


def test_disagreement_is_what_chance_does_not_explain():
    predicted = np.repeat([-1.0, 1.0], 4000)
    random = np.random.default_rng(0)
    right = (random.random(8000) < expit(predicted)).astype(float)
    wrong = (random.random(8000) < expit(predicted + 0.3)).astype(float)
    at = np.array([-1.0, 1.0])
    assert excess_squared_error(predicted, right, np.arange(8000), at).mean() < 0.02
    # One Newton step towards a level that is 0.3 off, in log-odds, is about that long.
    assert np.sqrt(excess_squared_error(predicted, wrong, np.arange(8000), at).mean()) == pytest.approx(
        0.3, abs=0.12
    )


def test_the_snapshots_of_a_lead_are_one_cluster():
    """Calibrated predictions of 150 leads with ten snapshots each: as 1,500 leads they would seem far off."""
    random, at, result = np.random.default_rng(1), np.zeros(1), []
    for _ in range(200):
        predicted = np.repeat(random.normal(-1.5, 1.0, 150), 10)
        y = np.repeat(random.random(150) < expit(predicted[::10]), 10).astype(float)
        each = [
            excess_squared_error(predicted, y, lead, at)[0]
            for lead in (np.repeat(np.arange(150), 10), np.arange(1500))
        ]
        result.append(np.sqrt(each))
    together, singly = np.mean(result, axis=0)
    assert together < 0.6 * singly


def test_outcomes_as_expected_show_no_excess_error():
    predicted = np.zeros(1000)
    assert excess_squared_error(
        predicted, np.arange(1000) % 2, np.arange(1000), np.array([0.0, 5.0])
    ).tolist() == [
        0.0,
        0.0,
    ]


def test_ages_in_training_bound_who_is_dormant():
    random = np.random.default_rng(5)
    frame = pl.DataFrame({"age": random.uniform(0, 100, 600), "never": [None] * 600}).cast(pl.Float64)
    y = (random.random(600) < 0.05 + frame["age"].to_numpy() / 150).astype(np.int8)
    rows = TrainingRows(frame, y)
    result = estimate_uncertainty(
        rows, fit_learning_rows(rows), pl.Series(map(str, range(600))), aging={"age", "never"}
    )
    (support,) = result.aging
    assert support.feature == "age"
    assert support.high == pytest.approx(110, abs=2)
