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
def given():
    return report_input()


@pytest.fixture(scope="module")
def made(given):
    return build_report(given)


def test_the_summary_counts_the_judged_leads(given, made):
    assert made.summary.rows == len(given.label)
    assert made.summary.positives == sum(given.label.tolist())
    assert made.summary.base_rate == pytest.approx(sum(given.label.tolist()) / len(given.label))


def test_a_lift_is_what_calling_the_best_leads_brings(given, made):
    best_first = sorted(
        zip(given.scores["probability"].to_list(), given.label.tolist(), strict=True), reverse=True
    )
    for told in made.worth.lifts:
        called = [label for _, label in best_first[: told.leads]]
        assert told.leads == math.ceil(told.share * len(best_first))
        assert told.hits == pytest.approx(sum(called))
        assert told.rate.value == pytest.approx(sum(called) / len(called))
        assert told.captured == pytest.approx(sum(called) / sum(given.label))
        assert told.lift == pytest.approx(told.rate.value / made.summary.base_rate)


def test_the_lift_table_has_the_capacity_in_it():
    assert [lift.share for lift in build_report(report_input(600, capacity=0.05)).worth.lifts] == [
        0.05,
        0.1,
        0.2,
        0.3,
    ]


def test_gains_rise_to_everything(made):
    captured = [height for _, height in made.worth.gains]
    assert captured == sorted(captured)
    assert made.worth.gains[-1] == (1.0, pytest.approx(1.0))
    assert made.worth.gains[19][1] == pytest.approx(made.worth.lifts[0].captured)


def test_ranking_and_log_loss_are_those_of_scikit_learn(given, made):
    p = given.scores["probability"].to_numpy()
    assert made.worth.roc_auc.value == pytest.approx(reference.roc_auc_score(given.label, p))
    assert made.worth.average_precision.value == pytest.approx(
        reference.average_precision_score(given.label, p)
    )
    assert made.worth.log_loss.value == pytest.approx(reference.log_loss(given.label, p))
    base = np.full_like(p, given.label.mean())
    assert made.worth.constant == pytest.approx(reference.log_loss(given.label, base))
    assert made.calibration.brier.value == pytest.approx(reference.brier_score_loss(given.label, p))


@pytest.mark.parametrize("of", ["roc_auc", "average_precision", "log_loss"])
def test_a_figure_lies_in_its_interval(made, of):
    figure = getattr(made.worth, of)
    assert figure.low < figure.value < figure.high


def test_ten_groups_by_forecast_hold_every_lead_once(given, made):
    bins = made.calibration.bins
    ordered = given.scores.with_columns(label=pl.Series(given.label)).sort("probability")
    start = 0
    for group in bins:
        rows = ordered[start : start + group.rows]
        assert group.forecast == pytest.approx(rows["probability"].mean())
        assert group.observed.value == pytest.approx(rows["label"].mean())
        start += group.rows
    assert start == len(given.label)
    assert max(group.rows for group in bins) - min(group.rows for group in bins) <= 1


def test_the_calibration_error_is_the_mean_gap_of_the_groups(made):
    gaps = [group.rows * abs(group.forecast - group.observed.value) for group in made.calibration.bins]
    assert made.calibration.error.value == pytest.approx(sum(gaps) / made.summary.rows)


def test_grades_hold_every_lead_once_and_fall(given, made):
    grades = made.calibration.grades
    assert [group.name for group in grades] == ["A", "B", "C", "D"]
    assert sum(group.rows for group in grades) == len(given.label)
    assert [group.forecast for group in grades] == sorted((g.forecast for g in grades), reverse=True)
    for group in grades:
        mask = (given.scores["grade"] == group.name).to_numpy()
        assert group.observed.value == pytest.approx(given.label[mask].mean())


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (3, 10), (10, 10), (48, 300)])
def test_a_wilson_interval_is_that_of_scipy(hits, rows):
    expected = binomtest(hits, rows).proportion_ci(method="wilson")
    found = wilson_interval(hits, rows)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_the_interval_of_leads_that_were_looked_at_again_holds_the_true_rate_as_often_as_it_says():
    """Each lead is looked at one to six times; its outcome is the same at each."""
    random, held = np.random.default_rng(0), 0
    for _ in range(500):
        lead = np.repeat(np.arange(150), random.integers(1, 7, 150))
        won = (random.random(150) < 0.3).astype(np.float64)
        found = clustered_rate(won[lead], lead)
        held += found.low <= 0.3 <= found.high
    assert binomtest(held, 500, 0.95).pvalue > 0.001


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_leads_that_all_came_to_the_same_are_one_witness_each_however_often_they_were_looked_at(outcome):
    lead = np.repeat(np.arange(20), 30)
    found, once = clustered_rate(np.full(600, outcome), lead), wilson_interval(20 * outcome, 20)
    assert (found.low, found.high) == (pytest.approx(once.low), pytest.approx(once.high))


def test_leads_that_tie_at_the_edge_are_called_in_part():
    y, p = np.array([1.0, 0, 1, 0, 0]), np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    found = lift_at_share(y, p, 0.4, np.arange(5))
    assert (found.leads, found.hits, found.rate.value) == (2, pytest.approx(4 / 3), pytest.approx(2 / 3))


def test_a_report_survives_json(made):
    assert Report.from_json(made.to_json()) == made
    assert json.loads(made.to_json())["summary"]["rows"] == made.summary.rows


def test_the_same_input_gives_the_same_report(given, made):
    assert build_report(given) == made


def codes(made):
    return [warn.code for warn in made.summary.warnings]


def test_a_flat_export_is_told_that_time_proves_nothing():
    assert codes(build_report(report_input(600, time_ordered=False)))[0] == "time_unproven"


def test_an_ordered_history_is_not_told_so(made):
    assert "time_unproven" not in codes(made)


def test_noise_is_called_noise():
    given = report_input(900)
    shuffled = np.random.default_rng(7).permutation(given.label)
    assert "little_signal" in codes(build_report(replace(given, label=shuffled)))


def test_forecasts_that_miss_are_called_out(given):
    doubled = given.scores.with_columns(pl.col("probability") * 2 / (1 + pl.col("probability")))
    assert "far_off" in codes(build_report(replace(given, scores=doubled)))


def test_few_conversions_are_called_few():
    assert "few_positives" in codes(build_report(report_input(400)))


def test_rows_that_do_not_belong_together_are_refused(given):
    with pytest.raises(ValueError, match="label has"):
        replace(given, label=given.label[1:])


def test_metrics_are_those_of_the_models(given, made):
    p = given.scores["probability"].to_numpy()
    assert made.calibration.error.value == metrics.expected_calibration_error(given.label, p)


def test_a_measure_on_the_card_is_not_measured_again(given):
    known = Interval(0.5, 0.4, 0.6)
    made = build_report(replace(given, card=replace(given.card, metrics={"roc_auc": known})))
    assert made.worth.roc_auc == known


def test_leads_of_one_outcome_measure_nothing(given):
    with pytest.raises(ValueError, match="the same outcome"):
        replace(given, label=np.zeros(len(given.label)))


def test_equal_forecasts_are_called_in_no_order(given):
    flat = given.scores.with_columns(probability=pl.lit(0.2))
    made = build_report(replace(given, scores=flat))
    assert [lift.lift for lift in made.worth.lifts] == pytest.approx([1.0, 1.0, 1.0])
    assert all(height == pytest.approx(share) for share, height in made.worth.gains)


def test_groups_of_equal_forecasts_do_not_differ_by_when_their_leads_came(given):
    late = np.sort(given.label)
    flat = given.scores.with_columns(probability=pl.lit(late.mean()))
    bins = build_report(replace(given, scores=flat, label=late)).calibration.bins
    assert sum(group.observed.low <= late.mean() <= group.observed.high for group in bins) >= len(bins) - 2


@pytest.mark.parametrize("rows", [11, 57, 603])
def test_the_groups_are_those_of_the_calibration_error(given, rows):
    label = given.label[:rows].copy()
    label[:2] = 0.0, 1.0
    few = replace(given, scores=given.scores[:rows], judged=given.judged[:rows], label=label)
    made = build_report(few)
    gaps = [group.rows * abs(group.forecast - group.observed.value) for group in made.calibration.bins]
    assert made.calibration.error.value == pytest.approx(sum(gaps) / rows)
