"""Challengers and incumbents learn from the past alone and answer in probabilities."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from models import metrics
from training.backtesting.candidates import TrainingWindow
from training.backtesting.challengers import logistic_regression, plain_lightgbm
from training.data.training_rows import TrainingRows


def leads(rows, seed=0):
    random = np.random.default_rng(seed)
    x, source = random.normal(size=rows), random.choice(["ads", "fair", "web"], rows)
    odds = x + np.where(source == "ads", 1.5, -0.5) - 1
    y = (random.random(rows) < expit(odds)).astype(np.int8)
    gaps = np.where(random.random(rows) < 0.1, None, x)
    columns = {"x": pl.Series(gaps.tolist(), dtype=pl.Float64), "source": source, "void": [None] * rows}
    frame = pl.DataFrame(columns, schema_overrides={"void": pl.Float64})
    keys = pl.DataFrame({"lead_id": [f"{seed}-{i}" for i in range(rows)], "as_of": [1] * rows})
    return frame, y, keys, expit(odds)


def past(rows=3000):
    frame, y, keys, _ = leads(rows)
    return TrainingWindow(TrainingRows(frame, y), keys, None, 0)


@pytest.mark.parametrize("candidate", [plain_lightgbm(), logistic_regression()])
def test_challengers_learn_what_there_is(candidate):
    (predict,) = candidate.learn(past()).values()
    frame, y, keys, best = leads(4000, seed=1)
    p = predict(pl.concat([keys, frame], how="horizontal"))
    assert metrics.log_loss(y, p) < metrics.log_loss(y, best) + 0.05


@pytest.mark.parametrize("candidate", [plain_lightgbm(), logistic_regression()])
def test_values_never_seen_and_single_kinds_of_columns_are_no_error(candidate):
    frame, y, keys, _ = leads(300)
    for columns in (["x"], ["source"], ["x", "source", "void"]):
        chosen = frame.select(columns)
        (predict,) = candidate.learn(TrainingWindow(TrainingRows(chosen, y), keys, None, 0)).values()
        strange = chosen.head(2).with_columns(pl.lit("new").alias(c) for c in columns if c == "source")
        assert np.isfinite(predict(strange)).all()
