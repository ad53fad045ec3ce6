"""Calibration and lift against scikit-learn, closed forms and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from models import metrics
from models.calibration import PlattCalibration, update_intercept


def leads(rows=4000, seed=0, slope=1.0, intercept=0.0):
    """Outcomes whose log-odds are ``slope * forecast + intercept``; forecasts with some ties."""
    random = np.random.default_rng(seed)
    p = np.round(random.beta(2, 6, rows), 3).clip(0.001, 0.999)
    y = (random.random(rows) < expit(slope * logit(p) + intercept)).astype(np.int8)
    return y, p, random.poisson(1.0, rows).astype(float)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_brier_score_is_the_sum_of_its_parts(weighted):
    y, p, w = leads(slope=0.5)
    w = w if weighted else None
    parts = metrics.murphy(y, p, w)
    total = parts.reliability - parts.resolution + parts.uncertainty
    assert total == pytest.approx(metrics.brier_score(y, p, w), abs=1e-12)
    rate = np.average(y, weights=w)
    assert parts.uncertainty == pytest.approx(rate * (1 - rate))


def test_of_few_distinct_forecasts_the_parts_are_murphys():
    y, _, _ = leads()
    p = np.random.default_rng(1).choice([0.1, 0.3, 0.6], len(y))
    rate, groups = y.mean(), [(value, y[p == value]) for value in (0.1, 0.3, 0.6)]
    parts = metrics.murphy(y, p)
    assert parts.reliability == pytest.approx(sum(len(g) * (v - g.mean()) ** 2 for v, g in groups) / len(y))
    assert parts.resolution == pytest.approx(sum(len(g) * (g.mean() - rate) ** 2 for _, g in groups) / len(y))


def test_a_forecast_of_the_base_rate_is_reliable_and_resolves_nothing():
    y, _, _ = leads()
    parts = metrics.murphy(y, np.full(len(y), y.mean()))
    assert parts.reliability == pytest.approx(0, abs=1e-15)
    assert parts.resolution == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("weighted", [True, False])
def test_slope_and_intercept_are_those_of_a_logistic_regression(weighted):
    y, p, w = leads(slope=0.7, intercept=0.4)
    w = w if weighted else None
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        logit(p)[:, None], y, sample_weight=w
    )
    assert metrics.calibration_slope(y, p, w) == pytest.approx(reference.coef_[0, 0], abs=1e-5)
    assert metrics.calibration_slope(y, p, w) == pytest.approx(0.7, abs=0.12)
    moved = expit(logit(p) + metrics.calibration_intercept(y, p, w))
    assert np.average(moved, weights=w) == pytest.approx(np.average(y, weights=w), abs=1e-9)


def test_right_forecasts_have_slope_one_and_intercept_zero():
    y, p, _ = leads(rows=60_000)
    assert metrics.calibration_slope(y, p) == pytest.approx(1, abs=0.04)
    assert metrics.calibration_intercept(y, p) == pytest.approx(0, abs=0.04)
    assert metrics.observed_to_expected(y, p) == pytest.approx(1, abs=0.03)


def test_forecasts_all_alike_or_one_outcome_have_no_slope():
    y, p, _ = leads(rows=50)
    assert np.isnan(metrics.calibration_slope(y, np.full(50, 0.2)))
    assert np.isnan(metrics.calibration_slope(np.zeros(50), p))
    assert np.isnan(metrics.calibration_intercept(np.ones(50), p))


def test_perfectly_separated_outcomes_end_in_nan_not_in_a_loop():
    y = np.array([0, 0, 1, 1])
    slope = metrics.calibration_slope(y, np.array([0.1, 0.2, 0.8, 0.9]))
    assert np.isnan(slope) or slope > 10


@pytest.mark.parametrize("positives", [1, 50, 300])
def test_a_perfect_ranking_has_the_lift_area_of_the_closed_form(positives):
    y = (np.arange(1000) >= 1000 - positives).astype(int)
    assert metrics.alift(y, y.astype(float)) == pytest.approx(1 - np.log(positives / 1000))


def test_the_lift_area_is_the_mean_lift():
    y, p, _ = leads()
    shares = np.linspace(0, 1, 200_001)[1:]
    capture = np.interp(shares, *metrics.gains_curve(y, p))
    assert metrics.alift(y, p) == pytest.approx((capture / shares).mean(), abs=1e-4)


def test_a_resample_is_a_set_of_weights():
    y, p, w = leads(rows=500)
    copies = np.repeat(np.arange(500), w.astype(int))
    for measure in (
        metrics.alift,
        metrics.calibration_slope,
        metrics.calibration_intercept,
        metrics.observed_to_expected,
    ):
        assert measure(y, p, w) == pytest.approx(measure(y[copies], p[copies]), abs=1e-7)
    assert vars(metrics.murphy(y, p, w)) == pytest.approx(vars(metrics.murphy(y[copies], p[copies])))


def test_the_order_of_rows_is_irrelevant():
    y, p, _ = leads()
    p = np.round(p, 1).clip(0.01, 0.99)
    mixed = np.random.default_rng(1).permutation(len(y))
    assert vars(metrics.murphy(y, p)) == pytest.approx(vars(metrics.murphy(y[mixed], p[mixed])))
    assert metrics.alift(y, p) == pytest.approx(metrics.alift(y[mixed], p[mixed]))


def test_a_shifted_base_rate_is_repaired_by_the_intercept():
    y, p, _ = leads(rows=20_000, intercept=-0.8)
    calibration = PlattCalibration(1.3, 0.2)
    raw = (logit(p) - 0.2) / 1.3
    moved = update_intercept(calibration, calibration.apply(raw), y)
    assert moved.slope == 1.3
    assert moved.intercept == pytest.approx(0.2 - 0.8, abs=0.06)
    assert expit(moved.apply(raw)).mean() == pytest.approx(y.mean(), abs=1e-3)


def test_a_handful_of_outcomes_shifts_little():
    calibration = PlattCalibration(1.0, 0.0)
    moved = update_intercept(calibration, np.full(6, logit(0.3)), np.ones(6))
    assert 0 < moved.intercept < 0.7


def test_what_came_as_said_shifts_nothing():
    assert update_intercept(PlattCalibration(), np.zeros(10), np.arange(10) % 2).intercept == pytest.approx(
        0, abs=1e-12
    )


def refitted(y, p, block, weights):
    """Slope and intercept of each resample, fitted anew."""
    rows = [row[block] for row in weights]
    slopes = [metrics.calibration_slope(y, p, w) for w in rows]
    return np.array(slopes), np.array([metrics.calibration_intercept(y, p, w) for w in rows])


@pytest.mark.parametrize(("rows", "blocks", "near"), [(2000, 40, 0.1), (8000, 13, 0.1), (8000, 8000, 0.05)])
def test_a_newton_step_gives_the_intervals_of_full_refits(rows, blocks, near):
    y, p, _ = leads(rows, slope=0.8, intercept=0.2)
    random = np.random.default_rng(1)
    block = np.sort(random.integers(0, blocks, rows))
    weights = random.poisson(1.0, (200, blocks)).astype(float)
    for stepped, full in zip(
        metrics.bootstrap_calibration(y, p, block, weights), refitted(y, p, block, weights), strict=True
    ):
        wide = np.quantile(full, 0.975) - np.quantile(full, 0.025)
        ends = np.abs(np.quantile(stepped, [0.025, 0.975]) - np.quantile(full, [0.025, 0.975]))
        assert ends.max() < near * wide
        assert np.corrcoef(stepped, full)[0, 1] > 0.99


def test_the_error_of_a_newton_step_is_the_square_of_its_length():
    y, p, _ = leads(4000)
    block = np.arange(4000) % 50
    sample = np.random.default_rng(2).poisson(1.0, (40, 50)) - 1.0
    errors = []
    for part in (1.0, 0.5, 0.25):
        weights = 1.0 + part * sample
        stepped, full = (
            metrics.bootstrap_calibration(y, p, block, weights),
            refitted(y, p, block, weights),
        )
        errors.append(max(float(np.abs(a - b).mean()) for a, b in zip(stepped, full, strict=True)))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.4)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.4)


def test_a_resample_with_one_outcome_has_no_slope():
    y, p, _ = leads(200)
    order = np.argsort(y, kind="stable")
    block = (np.arange(200) >= (y == 0).sum()).astype(np.intp)
    slopes, levels = metrics.bootstrap_calibration(y[order], p[order], block, np.eye(2))
    assert np.isnan(slopes).all()
    assert np.isnan(levels).all()
