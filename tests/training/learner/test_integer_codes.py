"""Whole numbers that are codes are categories; amounts, counts and years stay numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models.encoding import FeatureEncoder
from training.data.training_rows import TrainingRows
from training.learner.encoders import fit_encoders
from training.learner.recipes import fit_additive_part


def leads(levels, effect, rows=6000, seed=0):
    """Numbers above 1000, each with the ``effect`` of its place on the log-odds."""
    random = np.random.default_rng(seed)
    place = random.integers(0, levels, rows)
    y = (random.random(rows) < 1 / (1 + np.exp(1 - np.asarray(effect)[place]))).astype(float)
    return TrainingRows(pl.DataFrame({"code": 1001.0 + place, "x": random.normal(size=rows)}), y)


def unordered(levels):
    return np.random.default_rng(levels).normal(0, 1.2, levels)


def kind(rows):
    return fit_encoders(rows, 0)[0].features[0].kind


@pytest.mark.parametrize("levels", [20, 30, 300])
def test_codes_whose_outcome_has_no_order_are_categories(levels):
    assert kind(leads(levels, unordered(levels))) == "category"


@pytest.mark.parametrize("levels", [20, 30, 300])
@pytest.mark.parametrize("shape", [lambda z: 2 * z, lambda z: 4 * (z - 0.5) ** 2, lambda z: 2.0 * (z > 0.7)])
def test_numbers_whose_outcome_goes_with_their_size_stay_numbers(levels, shape):
    assert kind(leads(levels, shape(np.linspace(0, 1, levels)))) == "number"


@pytest.mark.parametrize("seed", range(10))
def test_numbers_that_say_nothing_stay_numbers(seed):
    assert kind(leads(40, np.zeros(40), 2000, seed)) == "number"


@pytest.mark.parametrize("levels", [30, 300])
def test_other_numbers_for_the_same_codes_change_nothing(levels):
    """Renumbered at random, codes give each lead the score that it had."""
    rows = leads(levels, unordered(levels))
    names = np.random.default_rng(1).permutation(levels) + 500.0
    renamed = pl.Series("code", names[(rows.frame["code"].to_numpy() - 1001).astype(int)])
    scores = []
    for frame in (rows.frame, rows.frame.with_columns(renamed)):
        _, matrix, linear = fit_additive_part(TrainingRows(frame, rows.y), 0)
        scores.append(linear.log_odds(matrix))
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_a_code_has_the_same_bits_in_a_file_and_in_a_request_and_after_storage():
    encodings, _ = fit_encoders(leads(30, unordered(30)), 0)
    cells = [1001.0, 1030.0, 999.0, 1001.5, None, float("nan"), float("inf")]
    frame = pl.DataFrame(
        {"code": cells, "x": [0.0] * len(cells)}, schema=dict.fromkeys(("code", "x"), pl.Float64)
    )
    stored = FeatureEncoder.from_json(encodings.to_json())
    for each in (encodings, stored):
        many = each.encode(frame)
        single = np.vstack([each.encode_row(row) for row in frame.iter_rows(named=True)])
        assert np.array_equal(many, single, equal_nan=True)
    assert np.array_equal(stored.encode(frame), encodings.encode(frame), equal_nan=True)
