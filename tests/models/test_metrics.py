"""The measures against scikit-learn, and their intervals against what they should cover."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from models import metrics


def _leads(rows=3000, seed=0, *, ties=True):
    random = np.random.default_rng(seed)
    p = random.beta(1, 4, rows)
    p = np.round(p, 2) if ties else p
    return (random.random(rows) < p).astype(np.int8), p, random.poisson(1.0, rows).astype(float)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (metrics.roc_auc, sk.roc_auc_score),
        (metrics.average_precision, sk.average_precision_score),
        (
            metrics.log_loss,
            lambda y, p, sample_weight: sk.log_loss(
                y, np.clip(p, 1e-15, 1 - 1e-15), sample_weight=sample_weight
            ),
        ),
        (metrics.brier_score, sk.brier_score_loss),
    ],
)
def test_measures_agree_with_scikit_learn(ours, reference, ties):
    y, p, w = _leads(ties=ties)
    assert ours(y, p) == pytest.approx(reference(y, p, sample_weight=None), abs=1e-12)
    assert ours(y, p, w) == pytest.approx(reference(y, p, sample_weight=w), abs=1e-12)


def test_calibration_error_is_that_of_ten_equal_bins():
    y, p, _ = _leads(ties=False)
    bins = np.array_split(np.argsort(p), 10)
    expected = sum(abs(p[b].sum() - y[b].sum()) for b in bins) / len(p)
    assert metrics.expected_calibration_error(y, p) == pytest.approx(expected, abs=1e-12)


def test_a_resample_is_a_set_of_weights():
    y, p, w = _leads(rows=500)
    copies = np.repeat(np.arange(500), w.astype(int))
    for metric in (metrics.roc_auc, metrics.average_precision, metrics.log_loss, metrics.brier_score):
        assert metric(y, p, w) == pytest.approx(metric(y[copies], p[copies]), abs=1e-12)


def test_gains_start_at_nobody_and_end_at_everybody():
    y, p, _ = _leads()
    called, result = metrics.gains_curve(y, p)
    assert (called[0], result[0], called[-1], result[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert (np.diff(called) > 0).all()
    assert (np.diff(result) >= 0).all()


def test_a_score_that_says_nothing_lifts_nothing():
    y, _, _ = _leads()
    assert metrics.lift(y, np.full(len(y), 0.3), 0.1) == pytest.approx(1.0)
    assert metrics.roc_auc(y, np.full(len(y), 0.3)) == 0.5


def test_the_order_of_tied_rows_is_irrelevant():
    y, p, _ = _leads()
    shuffled = np.random.default_rng(1).permutation(len(y))
    for metric in (metrics.roc_auc, metrics.average_precision):
        assert metric(y, p) == pytest.approx(metric(y[shuffled], p[shuffled]), abs=1e-12)
    assert metrics.capture_rate(y, p, 0.1) == pytest.approx(
        metrics.capture_rate(y[shuffled], p[shuffled], 0.1)
    )


def test_an_interval_holds_its_value_and_is_as_wide_as_theory_says():
    y, p, _ = _leads(rows=2000)
    interval = metrics.bootstrap_interval(metrics.brier_score, y, p, seed=1)
    width = 2 * 1.96 * np.std((p - y) ** 2) / np.sqrt(len(y))
    assert interval.low < interval.value < interval.high
    assert interval.high - interval.low == pytest.approx(width, rel=0.2)


def test_an_interval_is_the_same_for_the_same_seed():
    y, p, _ = _leads(rows=300)
    assert metrics.bootstrap_interval(metrics.roc_auc, y, p, seed=3) == metrics.bootstrap_interval(
        metrics.roc_auc, y, p, seed=3
    )


def test_one_class_has_no_ranking():
    assert np.isnan(metrics.roc_auc(np.zeros(5), np.linspace(0, 1, 5)))
    assert np.isnan(metrics.average_precision(np.zeros(5), np.linspace(0, 1, 5)))


def test_rows_that_are_there_thrice_make_no_interval_narrower():
    y, p, _ = _leads(rows=400)
    once = metrics.bootstrap_interval(metrics.brier_score, y, p, seed=1)
    lead = np.repeat(np.arange(400), 3)
    thrice = metrics.bootstrap_interval(metrics.brier_score, y[lead], p[lead], lead, seed=1)
    as_if_many = metrics.bootstrap_interval(metrics.brier_score, y[lead], p[lead], seed=1)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.1)
    assert as_if_many.high - as_if_many.low < 0.7 * (once.high - once.low)


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_holds_the_figure_it_is_of_even_where_noise_only_adds(seed):
    random = np.random.default_rng(seed)
    p = random.uniform(0.2, 0.8, 300)
    y = (random.random(300) < p).astype(np.int8)
    for metric in (
        metrics.expected_calibration_error,
        metrics.roc_auc,
        metrics.log_loss,
        metrics.brier_score,
    ):
        figure = metrics.bootstrap_interval(metric, y, p)
        assert 0 <= figure.low <= figure.value <= figure.high


def test_an_interval_of_a_figure_below_zero_holds_it():
    y, p, _ = _leads(rows=500)

    def skill(y, p, weights=None):
        base = np.full_like(p, np.average(y, weights=weights))
        return 1 - metrics.brier_score(y, p, weights) / metrics.brier_score(y, base, weights)

    figure = metrics.bootstrap_interval(skill, y, 1 - p)
    assert figure.low < figure.value < figure.high < 0


def test_the_calibration_error_of_one_constant_is_its_distance_from_the_rate():
    y = np.repeat([1, 0], [300, 700])
    assert metrics.expected_calibration_error(y, np.full(1000, 0.25)) == pytest.approx(0.05)


def test_the_order_of_rows_is_irrelevant_to_the_calibration_error():
    random = np.random.default_rng(0)
    p = random.integers(1, 6, 500) / 10
    y = (random.random(500) < p).astype(int)
    shuffled = random.permutation(500)
    assert metrics.expected_calibration_error(y, p) == pytest.approx(
        metrics.expected_calibration_error(y[shuffled], p[shuffled])
    )


def test_poisson_weights_are_the_same_one_by_one_and_at_once():
    at_once = np.random.default_rng(7).poisson(1.0, (50, 30)).astype(np.float64)
    assert np.array_equal(list(metrics.poisson_weights(30, 50, 7)), at_once)
    assert np.array_equal(metrics.poisson_weight_matrix(30, 50, 7), at_once)


def test_a_resample_that_drew_no_unit_holds_each_once():
    sample = np.array(list(metrics.poisson_weights(1, 40, 0)))
    weights = metrics.poisson_weight_matrix(1, 40, 0)
    assert (sample == 0).any()
    assert np.array_equal(weights, np.where(sample == 0, 1.0, sample))


def test_a_mean_lies_in_its_interval_and_rows_of_a_unit_are_drawn_together():
    values = np.random.default_rng(1).normal(size=400)
    alone = metrics.mean_interval(values, np.arange(400), metrics.poisson_weight_matrix(400, 300, 0))
    thrice = np.repeat(np.arange(400), 3)
    together = metrics.mean_interval(np.repeat(values, 3), thrice, metrics.poisson_weight_matrix(400, 300, 0))
    assert alone.low <= alone.value <= alone.high
    assert vars(together) == pytest.approx(vars(alone))


def test_the_mean_of_its_terms_is_the_log_loss():
    y, p = np.array([1, 0, 1]), np.array([0.9, 0.2, 1.0])
    assert metrics.log_loss(y, p) == pytest.approx(metrics.log_loss_terms(y, p).mean())
