"""Every figure of a report, counted again by other means."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input
from scipy.stats import binomtest
from sklearn import metrics as reference

from models import metrics
from models.metrics import Interval
from training.analysis.lift import lift_at_share
from training.report.report import Report, build_report
from training.stats.intervals import clustered_rate, wilson_interval


@pytest.fixture(scope="module")
def inputs():
    return report_input()


@pytest.fixture(scope="module")
def report(inputs):
    return build_report(inputs)


def test_the_summary_counts_the_held_out_rows(inputs, report):
    assert report.summary.rows == len(inputs.label)
    assert report.summary.positives == sum(inputs.label.tolist())
    assert report.summary.base_rate == pytest.approx(sum(inputs.label.tolist()) / len(inputs.label))


def test_a_lift_is_what_calling_the_best_leads_brings(inputs, report):
    best_first = sorted(
        zip(inputs.scores["probability"].to_list(), inputs.label.tolist(), strict=True), reverse=True
    )
    for changed in report.worth.lifts:
        called = [label for _, label in best_first[: changed.leads]]
        assert changed.leads == math.ceil(changed.share * len(best_first))
        assert changed.hits == pytest.approx(sum(called))
        assert changed.rate.value == pytest.approx(sum(called) / len(called))
        assert changed.captured == pytest.approx(sum(called) / sum(inputs.label))
        assert changed.lift == pytest.approx(changed.rate.value / report.summary.base_rate)


def test_the_lift_table_has_the_capacity_in_it():
    assert [lift.share for lift in build_report(report_input(600, capacity=0.05)).worth.lifts] == [
        0.05,
        0.1,
        0.2,
        0.3,
    ]


def test_gains_rise_to_everything(report):
    captured = [height for _, height in report.worth.gains]
    assert captured == sorted(captured)
    assert report.worth.gains[-1] == (1.0, pytest.approx(1.0))
    assert report.worth.gains[19][1] == pytest.approx(report.worth.lifts[0].captured)


def test_ranking_and_log_loss_are_those_of_scikit_learn(inputs, report):
    p = inputs.scores["probability"].to_numpy()
    assert report.worth.roc_auc.value == pytest.approx(reference.roc_auc_score(inputs.label, p))
    assert report.worth.average_precision.value == pytest.approx(
        reference.average_precision_score(inputs.label, p)
    )
    assert report.worth.log_loss.value == pytest.approx(reference.log_loss(inputs.label, p))
    base = np.full_like(p, inputs.label.mean())
    assert report.worth.constant == pytest.approx(reference.log_loss(inputs.label, base))
    assert report.calibration.brier.value == pytest.approx(reference.brier_score_loss(inputs.label, p))


@pytest.mark.parametrize("of", ["roc_auc", "average_precision", "log_loss"])
def test_a_figure_lies_in_its_interval(report, of):
    figure = getattr(report.worth, of)
    assert figure.low < figure.value < figure.high


def test_ten_groups_by_forecast_hold_every_lead_once(inputs, report):
    bins = report.calibration.bins
    ordered = inputs.scores.with_columns(label=pl.Series(inputs.label)).sort("probability")
    start = 0
    for group in bins:
        rows = ordered[start : start + group.rows]
        assert group.forecast == pytest.approx(rows["probability"].mean())
        assert group.observed.value == pytest.approx(rows["label"].mean())
        start += group.rows
    assert start == len(inputs.label)
    assert max(group.rows for group in bins) - min(group.rows for group in bins) <= 1


def test_the_calibration_error_is_the_mean_gap_of_the_groups(report):
    gaps = [group.rows * abs(group.forecast - group.observed.value) for group in report.calibration.bins]
    assert report.calibration.error.value == pytest.approx(sum(gaps) / report.summary.rows)


def test_grades_hold_every_lead_once_and_fall(inputs, report):
    grades = report.calibration.grades
    assert [group.name for group in grades] == ["A", "B", "C", "D"]
    assert sum(group.rows for group in grades) == len(inputs.label)
    assert [group.forecast for group in grades] == sorted((g.forecast for g in grades), reverse=True)
    for group in grades:
        mask = (inputs.scores["grade"] == group.name).to_numpy()
        assert group.observed.value == pytest.approx(inputs.label[mask].mean())


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (3, 10), (10, 10), (48, 300)])
def test_a_wilson_interval_is_that_of_scipy(hits, rows):
    expected = binomtest(hits, rows).proportion_ci(method="wilson")
    result = wilson_interval(hits, rows)
    assert (result.low, result.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_the_interval_with_repeated_snapshots_has_its_coverage():
    """Each lead has one to six snapshots with the same outcome."""
    random, held = np.random.default_rng(0), 0
    for _ in range(500):
        lead = np.repeat(np.arange(150), random.integers(1, 7, 150))
        won = (random.random(150) < 0.3).astype(np.float64)
        result = clustered_rate(won[lead], lead)
        held += result.low <= 0.3 <= result.high
    assert binomtest(held, 500, 0.95).pvalue > 0.001


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_leads_with_equal_outcomes_count_once_each_with_any_number_of_snapshots(outcome):
    lead = np.repeat(np.arange(20), 30)
    result, once = clustered_rate(np.full(600, outcome), lead), wilson_interval(20 * outcome, 20)
    assert (result.low, result.high) == (pytest.approx(once.low), pytest.approx(once.high))


def test_leads_that_tie_at_the_edge_are_called_in_part():
    y, p = np.array([1.0, 0, 1, 0, 0]), np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    result = lift_at_share(y, p, 0.4, np.arange(5))
    assert (result.leads, result.hits, result.rate.value) == (2, pytest.approx(4 / 3), pytest.approx(2 / 3))


def test_a_report_survives_json(report):
    assert Report.from_json(report.to_json()) == report
    assert json.loads(report.to_json())["summary"]["rows"] == report.summary.rows


def test_the_same_input_gives_the_same_report(inputs, report):
    assert build_report(inputs) == report


def codes(report):
    return [warn.code for warn in report.summary.warnings]


def test_a_flat_export_is_told_that_time_proves_nothing():
    assert codes(build_report(report_input(600, time_ordered=False)))[0] == "time_unproven"


def test_an_ordered_history_is_not_told_so(report):
    assert "time_unproven" not in codes(report)


def test_noise_is_called_noise():
    inputs = report_input(900)
    shuffled = np.random.default_rng(7).permutation(inputs.label)
    assert "little_signal" in codes(build_report(replace(inputs, label=shuffled)))


def test_forecasts_that_miss_are_called_out(inputs):
    doubled = inputs.scores.with_columns(pl.col("probability") * 2 / (1 + pl.col("probability")))
    assert "far_off" in codes(build_report(replace(inputs, scores=doubled)))


def test_few_conversions_are_called_few():
    assert "few_positives" in codes(build_report(report_input(400)))


def test_rows_that_do_not_belong_together_are_refused(inputs):
    with pytest.raises(ValueError, match="label has"):
        replace(inputs, label=inputs.label[1:])


def test_metrics_are_those_of_the_models(inputs, report):
    p = inputs.scores["probability"].to_numpy()
    assert report.calibration.error.value == metrics.expected_calibration_error(inputs.label, p)


def test_a_measure_on_the_card_is_not_measured_again(inputs):
    known = Interval(0.5, 0.4, 0.6)
    report = build_report(replace(inputs, card=replace(inputs.card, metrics={"roc_auc": known})))
    assert report.worth.roc_auc == known


def test_leads_of_one_outcome_measure_nothing(inputs):
    with pytest.raises(ValueError, match="the same outcome"):
        replace(inputs, label=np.zeros(len(inputs.label)))


def test_equal_forecasts_are_called_in_no_order(inputs):
    flat = inputs.scores.with_columns(probability=pl.lit(0.2))
    report = build_report(replace(inputs, scores=flat))
    assert [lift.lift for lift in report.worth.lifts] == pytest.approx([1.0, 1.0, 1.0])
    assert all(height == pytest.approx(share) for share, height in report.worth.gains)


def test_groups_of_equal_forecasts_do_not_differ_by_when_their_leads_came(inputs):
    late = np.sort(inputs.label)
    flat = inputs.scores.with_columns(probability=pl.lit(late.mean()))
    bins = build_report(replace(inputs, scores=flat, label=late)).calibration.bins
    assert sum(group.observed.low <= late.mean() <= group.observed.high for group in bins) >= len(bins) - 2


@pytest.mark.parametrize("rows", [11, 57, 603])
def test_the_groups_are_those_of_the_calibration_error(inputs, rows):
    label = inputs.label[:rows].copy()
    label[:2] = 0.0, 1.0
    few = replace(inputs, scores=inputs.scores[:rows], held_out_rows=inputs.held_out_rows[:rows], label=label)
    report = build_report(few)
    gaps = [group.rows * abs(group.forecast - group.observed.value) for group in report.calibration.bins]
    assert report.calibration.error.value == pytest.approx(sum(gaps) / rows)
