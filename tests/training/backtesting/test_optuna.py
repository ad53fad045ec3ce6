"""Tuning helps, keeps to its time, and does not use the test rows."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from models import metrics
from training.backtesting import challengers
from training.backtesting.candidates import TrainingWindow
from training.backtesting.challengers import TUNED, optuna_lightgbm, plain_lightgbm
from training.data.training_rows import TrainingRows
from training.learner.cross_validation import make_folds


def past(rows=900, seed=0, **more):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 4))
    source = random.choice(["ads", "fair", "web"], rows)
    odds = x[:, 0] + np.where(source == "ads", 1.0, -0.5)
    y = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    frame = pl.DataFrame(x, schema=["a", "b", "c", "d"]).with_columns(source=source)
    keys = pl.DataFrame({"lead_id": map(str, range(rows)), "as_of": [1] * rows})
    return TrainingWindow(TrainingRows(frame, y, np.arange(rows), **more), keys, None, seed)


@pytest.fixture(autouse=True)
def few_trials(monkeypatch):
    monkeypatch.setattr(challengers, "MOST_TRIALS", 12)


def tuned_model(seconds=60.0, learned=None):
    heard = []
    (predict,) = optuna_lightgbm(seconds, heard.append).learn(learned or past()).values()
    return predict, heard[0]


def test_tuned_beats_untuned_where_the_defaults_overfit():
    later = past(3000, seed=1)
    predict, messages = tuned_model()
    (plain,) = plain_lightgbm().learn(past()).values()
    y, frame = later.rows.y, later.rows.frame
    assert metrics.log_loss(y, predict(frame)) < metrics.log_loss(y, plain(frame)) - 0.02
    best, first = map(float, re.findall(r"0\.\d{4}", messages))
    assert best <= first
    assert messages.startswith(f"{TUNED}: 12 trials")


def test_the_same_seed_and_trials_give_the_same_model():
    new_rows = past(50, seed=2).rows.frame
    (first_model, messages), (second_model, again) = tuned_model(), tuned_model()
    assert np.array_equal(first_model(new_rows), second_model(new_rows))
    assert messages == again


def test_however_short_the_time_one_trial_is_made():
    predict, messages = tuned_model(0.01)
    assert messages.startswith(f"{TUNED}: 1 trial, 0 of them")
    assert np.isfinite(predict(past(5).rows.frame)).all()


def test_inner_folds_leave_the_gap_and_take_matured_rows_alone(monkeypatch):
    calls = []

    def spied(rows, count, seed):
        folds = make_folds(rows, count, seed)
        calls.append((rows, folds))
        return folds

    monkeypatch.setattr(challengers, "make_folds", spied)
    matured = np.arange(900) < 600
    tuned_model(0.01, past(gap=50, matured=matured, weights=np.ones(900)))
    ((rows, (folds, in_time)),) = calls
    assert in_time
    assert rows.order.max() == 599
    assert rows.weights is None
    for fold in folds:
        assert rows.order[fold.train].max() + 50 < rows.order[fold.validate].min()


def test_constraints_bind_the_tuned_one_too():
    predict, _ = tuned_model(learned=past(monotone={"a": -1}))
    leads = pl.DataFrame({"a": np.linspace(-2, 2, 9), "b": 0.0, "c": 0.0, "d": 0.0, "source": "ads"})
    assert (np.diff(predict(leads)) <= 0).all()
