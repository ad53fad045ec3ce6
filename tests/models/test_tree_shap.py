"""Contributions by look-up are those of LightGBM, whatever trees and whatever rows."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_trees import COLUMNS, QUIET, grow, probes

from models.tree_shap import build_tables


def by_lightgbm(booster, rows, owner, features):
    """``pred_contrib`` without its last column, added up by feature."""
    columns = np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1))
    result = np.zeros((len(rows), features))
    for column, feature in enumerate(owner):
        result[:, feature] += columns[:, column]
    return result


@given(
    seed=st.integers(0, 10_000),
    rounds=st.integers(1, 4),
    leaves=st.integers(2, 20),
    depth=st.integers(1, 6),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    owner=st.lists(st.integers(0, 2), min_size=COLUMNS, max_size=COLUMNS),
)
@example(seed=1, rounds=4, leaves=20, depth=6, use_missing=True, zero_as_missing=True, owner=[0, 1, 2])
@example(seed=1, rounds=4, leaves=20, depth=6, use_missing=False, zero_as_missing=False, owner=[0, 0, 0])
@settings(max_examples=60, deadline=None)
def test_tables_contribute_what_lightgbm_says(
    seed, rounds, leaves, depth, use_missing, zero_as_missing, owner
):
    missing = {"use_missing": use_missing, "zero_as_missing": zero_as_missing}
    booster, matrix = grow(seed, rounds, num_leaves=leaves, max_depth=depth, **missing)
    rows, tables = probes(matrix, seed), build_tables(booster, owner, COLUMNS)
    expected = by_lightgbm(booster, rows, owner, COLUMNS)
    np.testing.assert_allclose(tables.contributions(rows), expected, rtol=0, atol=1e-12)


def test_columns_that_come_again_on_a_path_count_once():
    booster, matrix = grow(3, num_leaves=9, max_depth=-1, spread=40)
    one = booster.trees_to_dataframe().query("left_child.notna()").groupby("tree_index")["split_feature"]
    assert one.size().max() > one.nunique().max()
    expected = by_lightgbm(booster, matrix, range(COLUMNS), COLUMNS)
    tables = build_tables(booster, range(COLUMNS), COLUMNS)
    np.testing.assert_allclose(tables.contributions(matrix), expected, rtol=0, atol=1e-12)


def test_trees_without_splits_contribute_nothing():
    booster, matrix = grow(0, label=np.zeros(120))
    tables = build_tables(booster, range(COLUMNS), COLUMNS)
    assert (tables.contributions(matrix) == 0).all()
    assert tables.contributions(matrix[:0]).shape == (0, COLUMNS)


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 80])
def test_how_many_rows_are_explained_at_once_is_irrelevant(rows):
    booster, matrix = grow(5, 20, num_leaves=15, max_depth=5)
    tables, all_rows = build_tables(booster, range(COLUMNS), COLUMNS), np.asfortranarray(probes(matrix))
    np.testing.assert_array_equal(
        tables.contributions(all_rows[:rows]), tables.contributions(all_rows)[:rows]
    )


def test_trees_too_deep_or_of_another_kind_are_left_to_lightgbm():
    deep, matrix = grow(2, 2, rows=600, spread=80, num_leaves=60, max_depth=-1)
    assert build_tables(deep, range(COLUMNS), COLUMNS) is None
    codes = np.nan_to_num(matrix).astype(int) % 7
    categories = lgb.Dataset(codes, codes[:, 0] % 3 == 0, categorical_feature=[0])
    by_category = lgb.train({**QUIET, "min_data_per_group": 1, "cat_smooth": 0}, categories, 2)
    assert "num_cat=1" in by_category.model_to_string()
    assert build_tables(by_category, range(COLUMNS), COLUMNS) is None
    forest, _ = grow(0, boosting="rf", bagging_fraction=0.5, bagging_freq=1)
    assert build_tables(forest, range(COLUMNS), COLUMNS) is None
