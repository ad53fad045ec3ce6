"""Scores by bits are those of LightGBM, to the bit, whatever trees and whatever rows."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_trees import COLUMNS, QUIET, grow, probes

from models import tree_scores
from models.calibration import PlattCalibration
from models.encoding import FeatureEncoder, FeatureEncoding
from models.predictor import Predictor
from models.tree_scores import FEWEST_ROWS, build_tree_scores


def by_lightgbm(booster, rows):
    return booster.predict(rows, raw_score=True, num_threads=1)


def assert_same_bits(got, want):
    assert got.view(np.int64).tolist() == want.view(np.int64).tolist()


@given(
    seed=st.integers(0, 10_000),
    rounds=st.integers(1, 6),
    leaves=st.sampled_from([2, 8, 9, 16, 17, 32, 33, 64]),
    depth=st.sampled_from([1, 4, -1]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
)
@example(seed=1, rounds=6, leaves=64, depth=-1, use_missing=True, zero_as_missing=True)
@example(seed=1, rounds=6, leaves=64, depth=-1, use_missing=True, zero_as_missing=False)
@example(seed=1, rounds=6, leaves=64, depth=-1, use_missing=False, zero_as_missing=False)
@settings(max_examples=60, deadline=None)
def test_bits_lead_to_the_scores_of_lightgbm(seed, rounds, leaves, depth, use_missing, zero_as_missing):
    missing = {"use_missing": use_missing, "zero_as_missing": zero_as_missing}
    booster, matrix = grow(seed, rounds, rows=400, spread=40, num_leaves=leaves, max_depth=depth, **missing)
    rows = probes(matrix, seed)
    assert_same_bits(build_tree_scores(booster, COLUMNS).log_odds(rows), by_lightgbm(booster, rows))


@pytest.mark.parametrize("size", [1, 7, 160])
def test_a_row_has_the_same_bits_in_any_block(monkeypatch, size):
    booster, matrix = grow(2, 20, num_leaves=15)
    rows = probes(matrix)
    monkeypatch.setattr(tree_scores, "_ROWS", size)
    assert_same_bits(build_tree_scores(booster, COLUMNS).log_odds(rows), by_lightgbm(booster, rows))


def test_rows_may_lie_in_memory_column_by_column():
    booster, matrix = grow(3, 20, num_leaves=15)
    rows = np.asfortranarray(probes(matrix))
    assert_same_bits(build_tree_scores(booster, COLUMNS).log_odds(rows), by_lightgbm(booster, rows))


def test_trees_without_splits_are_added_up_too():
    booster, matrix = grow(0, label=np.zeros(120))
    assert_same_bits(build_tree_scores(booster, COLUMNS).log_odds(matrix), by_lightgbm(booster, matrix))


def test_a_booster_that_stopped_early_scores_by_its_best_trees():
    booster, matrix = grow(5, 12, num_leaves=7)
    booster.best_iteration = 4
    assert_same_bits(build_tree_scores(booster, COLUMNS).log_odds(matrix), by_lightgbm(booster, matrix))


def test_trees_that_have_no_bits_are_left_to_lightgbm():
    random = np.random.default_rng(0)
    matrix = random.integers(0, 4, size=(200, COLUMNS)).astype(float)
    data = lgb.Dataset(matrix, matrix[:, 0] % 2, categorical_feature=[0])
    options = {"num_leaves": 4, "min_data_per_group": 1, "cat_smooth": 1}
    assert build_tree_scores(lgb.train(QUIET | options, data, 2), COLUMNS) is None
    wide, _ = grow(1, rows=2_000, spread=40, num_leaves=80)
    assert build_tree_scores(wide, COLUMNS) is None


def test_a_predictor_has_the_same_bits_for_few_rows_and_for_many():
    booster, matrix = grow(4, 30, num_leaves=15)
    encodings = FeatureEncoder(tuple(FeatureEncoding(f"f{i}", "number") for i in range(COLUMNS)))
    predictor = Predictor(encodings, PlattCalibration(slope=1.0, intercept=0.0), booster=booster)
    rows = np.tile(matrix, (FEWEST_ROWS // len(matrix) + 1, 1))
    assert predictor._tree_scores is not None
    assert_same_bits(predictor.log_odds(rows)[:50], predictor.log_odds(rows[:50]))
