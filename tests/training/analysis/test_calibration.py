"""What calibration error is worth a warning: more than forecasts show by chance that are each true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from report_inputs import report_input

from models import metrics
from training.analysis.calibration import calibration_error_by_chance
from training.report.report import build_report

REPEATS = 2000


@pytest.mark.parametrize(("rows", "snapshots"), [(400, 1), (5000, 1), (3000, 3)])
def test_true_forecasts_exceed_what_chance_gives_one_time_in_twenty(rows, snapshots):
    dice = np.random.default_rng(rows)
    lead = np.repeat(np.arange(rows // snapshots), snapshots)
    p = np.repeat(dice.beta(2, 5, rows // snapshots), snapshots)
    won = dice.random((REPEATS, rows // snapshots)).repeat(snapshots, axis=1) < p
    errors = np.array([metrics.expected_calibration_error(y.astype(float), p) for y in won])
    assert np.mean(errors > calibration_error_by_chance(p, lead)) == pytest.approx(0.05, abs=0.02)


def codes(inputs):
    return {warn.code for warn in build_report(inputs).summary.warnings}


def test_only_an_error_beyond_chance_is_warned_of():
    inputs = report_input(1200)
    y = inputs.label.astype(float)
    miscalibrated = replace(inputs, card=replace(inputs.card, metrics={}), label=1 - y)
    assert "far_off" in codes(miscalibrated)
    few = report_input(120)
    truth = np.random.default_rng(3).random(120) < few.scores["probability"].to_numpy()
    honest = replace(few, card=replace(few.card, metrics={}), label=truth.astype(np.int8))
    error = build_report(honest).calibration.error.value
    assert error > 0.05
    assert "far_off" not in codes(honest)


@pytest.mark.parametrize(("bad", "warned"), [(4, False), (6, True)])
def test_rows_that_could_not_be_read_are_worth_a_warning_from_half_a_percent_on(bad, warned):
    inputs = report_input(200)
    intake = replace(inputs.intake, rows_read=1000, quarantined={"no id": bad, "no outcome": 400})
    assert ("quarantined" in codes(replace(inputs, intake=intake))) is warned
