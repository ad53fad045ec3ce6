"""A level that moved is repaired by one number: exactly explained, judged by rows that had no say in it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from small_export import leads, write

from features.clock import DAY
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping
from models.artifact import load, save
from models.calibration import PlattCalibration, update_intercept
from training.config.settings import TrainingConfig
from training.data.dataset import from_flat_export
from training.monitoring.recalibration import (
    TooFewOutcomesError,
    estimate_intercept_update,
    intercept_shift,
    recalibrate,
    shift_intercept,
)
from training.pipeline.fit_model import train_model
from training.registry.promotion import PromotionRefusedError, promote_model
from training.registry.tracking import tracking


def known(rows=3000, seed=0, shift=-0.8, *, dated=True):
    """Scored leads with outcomes of a base rate that moved."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(-1.5, 1.2, rows)
    frame = pl.DataFrame(
        {
            "lead_id": [f"{n}" for n in range(rows)],
            "log_odds": log_odds,
            "label": (random.random(rows) < expit(log_odds + shift)).astype(float),
        }
    )
    return frame.with_columns(at=pl.int_range(pl.len()) * DAY) if dated else frame


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    mapping = FlatMapping(id="Id", label="Converted", time="No")
    data = from_flat_export(read_flat(write(folder, leads(1500)), mapping), mapping)
    return save(train_model(data, TrainingConfig()).model, folder / "model")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    mapping = FlatMapping(id="Id", label="Converted", time="No")
    frame = leads(400, seed=7)
    return from_flat_export(read_flat(write(tmp_path_factory.mktemp("rows"), frame), mapping), mapping).rows


def test_the_level_is_that_of_a_logistic_regression_with_an_offset():
    frame = known()
    y, f = frame["label"].to_numpy(), frame["log_odds"].to_numpy()
    # An offset is a column whose slope is held at 1: search the intercept by the score equation.
    grid = np.linspace(-2, 1, 30001)
    exact = grid[np.argmin([abs((expit(f + b) - y).sum() + b) for b in grid])]
    assert intercept_shift(f, y) == pytest.approx(exact, abs=2e-4)
    alone = LogisticRegression(C=1e9).fit(np.zeros((len(y), 1)), y).intercept_[0]
    assert intercept_shift(np.zeros(len(y)), y) == pytest.approx(alone, abs=0.02)


@pytest.mark.parametrize("shift", [-1.2, -0.4, 0.0, 0.7])
def test_a_shift_is_found_within_its_standard_error(shift):
    errors = [
        (update.moved - shift) / update.standard_error
        for seed in range(40)
        for update in [estimate_intercept_update(known(1500, seed, shift))]
    ]
    assert abs(np.mean(errors)) < 0.5
    assert np.std(errors) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("shift", [-0.4, 0.7])
def test_its_standard_error_counts_a_lead_once_however_often_it_was_scored(shift):
    errors = [
        (update.moved - shift) / update.standard_error
        for seed in range(40)
        for update in [estimate_intercept_update(pl.concat([known(150, seed, shift)] * 10))]
    ]
    assert np.std(errors) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("dated", [True, False])
def test_a_lead_has_no_say_in_the_level_that_it_is_judged_under(dated):
    """Scored ten times over the same days, what came of a lead stands on both sides of any day."""
    frames = [pl.concat([known(150, seed, 0.0, dated=False)] * 10) for seed in range(30)]
    at = pl.int_range(pl.len()) * DAY
    gains = [estimate_intercept_update(f.with_columns(at=at) if dated else f).gain.value for f in frames]
    assert np.mean(gains) < 0


def test_ten_looks_at_a_lead_that_converted_are_no_ten_conversions():
    frame = known(200).with_columns(label=(pl.int_range(pl.len()) < 3).cast(pl.Float64))
    assert estimate_intercept_update(pl.concat([frame] * 10)) is None


@pytest.mark.parametrize("dated", [True, False])
def test_a_repair_gains_where_the_level_moved_and_costs_next_to_nothing_where_it_did_not(dated):
    assert estimate_intercept_update(known(shift=-0.8, dated=dated)).gain.low > 0.01
    idle = [
        estimate_intercept_update(known(seed=seed, shift=0.0, dated=dated)).gain.value for seed in range(20)
    ]
    assert abs(np.mean(idle)) < 0.001


def test_what_judges_a_level_had_no_say_in_it():
    frame = known(1000)
    last = frame.with_columns(label=pl.when(pl.int_range(pl.len()) < 800).then("label").otherwise(1.0))
    turned = frame.with_columns(label=pl.when(pl.int_range(pl.len()) < 800).then("label").otherwise(0.0))
    # The newest fifth came to the opposite: what was said of it is the same, so the gains mirror each other.
    assert (
        estimate_intercept_update(last).gain.value
        < estimate_intercept_update(frame).gain.value
        < estimate_intercept_update(turned).gain.value
    )


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_outcomes_of_one_kind_tell_no_level(label, model, tmp_path):
    frame = known(200).with_columns(label=pl.lit(label))
    assert estimate_intercept_update(frame) is None
    with pytest.raises(TooFewOutcomesError, match="200 outcomes"):
        recalibrate(model, frame, tmp_path)


def test_reasons_stay_and_add_up_and_only_the_base_moves(model, rows):
    moved = shift_intercept(model, -0.7, "note")
    (base, parts), (other, same) = model.contributions(rows), moved.contributions(rows)
    assert np.array_equal(parts, same)
    assert other - base == pytest.approx(-0.7, abs=1e-12)
    log_odds = moved.score_frame(rows)["log_odds"].to_numpy()
    assert np.abs(other + same.sum(axis=1) - log_odds).max() < 1e-9
    assert log_odds == pytest.approx(model.score_frame(rows)["log_odds"].to_numpy() - 0.7, abs=1e-12)


def test_grades_widths_and_the_score_profile_move_along(model, rows):
    moved = shift_intercept(model, 1.1, "note")
    old, new = model.score_frame_with_intervals(rows), moved.score_frame_with_intervals(rows)
    assert old["grade"].to_list() == new["grade"].to_list()
    before, after = ([logit(scores[end].to_numpy()) for end in ("low", "high")] for scores in (old, new))
    # Widths stay; their centres move a little more, away from where most leads were.
    assert after[1] - after[0] == pytest.approx(before[1] - before[0], abs=1e-6)
    assert np.add(*after) / 2 - np.add(*before) / 2 == pytest.approx(1.1, abs=0.3)
    assert old["insufficient"].to_list() == new["insufficient"].to_list()
    drift = moved.card.profiles["log_odds"].drift(new["log_odds"])
    assert drift == model.card.profiles["log_odds"].drift(old["log_odds"])


def test_a_repaired_model_is_a_folder_like_any_other_and_says_what_it_is(model, rows, tmp_path):
    log_odds = model.score_frame(rows)["log_odds"]
    frame = known(len(log_odds)).with_columns(log_odds=log_odds)
    update = recalibrate(model, frame, tmp_path / "out")
    saved = load(tmp_path / "out" / "model")
    assert saved.version != model.version
    assert saved.score_frame(rows)["log_odds"].to_numpy() == pytest.approx(
        log_odds.to_numpy() + update.moved, abs=1e-12
    )
    assert model.version in saved.card.notes[-1]
    assert saved.card.judged_rows == update.rows == 320
    again = recalibrate(model, frame, tmp_path / "again")
    assert again == update


def shifted_company(shift, seed=3, count=2500):
    """Later leads of the company after its base rate moved: what the model says of them, and what came."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(-0.8, 1.3, count)
    return pl.DataFrame(
        {
            "lead_id": [f"later{n}" for n in range(count)],
            "as_of": np.arange(count) * DAY,
            "at": np.arange(count) * DAY,
            "log_odds": log_odds,
            "label": (random.random(count) < expit(log_odds + shift)).astype(float),
        }
    )


@pytest.mark.slow
def test_the_gate_lets_a_repair_in_charge_after_a_shift_and_keeps_out_one_of_old_outcomes(model, tmp_path):
    store = tracking(tmp_path)
    promote_model(model_folder(model, tmp_path / "first"), tracking=store, force="the first one")
    recalibrate(model, shifted_company(-0.9), tmp_path / "repaired")
    result = promote_model(tmp_path / "repaired" / "model", tracking=store)
    assert result.forced is None
    assert result.promotion.replaced is not None
    # Half of the outcomes say one level and the newest half another: what they decided fails on the newest.
    torn = shifted_company(-0.9).with_columns(
        label=pl.when(pl.int_range(pl.len()) < 1250).then("label").otherwise(1 - pl.col("label"))
    )
    recalibrate(load(tmp_path / "repaired" / "model"), torn, tmp_path / "torn")
    with pytest.raises(PromotionRefusedError):
        promote_model(tmp_path / "torn" / "model", tracking=store)


def model_folder(model, folder):
    save(model, folder / "model")
    return folder / "model"


def test_the_prior_of_a_repair_is_weaker_than_that_of_learning():
    frame = known(200)
    y, f = frame["label"].to_numpy(), frame["log_odds"].to_numpy()
    assert abs(intercept_shift(f, y)) > abs(update_intercept(PlattCalibration(), f, y).intercept)
