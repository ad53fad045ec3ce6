"""Trees that LightGBM could not read or walk are refused before it sees them: it would end the process."""

from __future__ import annotations

import re

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tree_structure import TreeStructureError, check_tree_structure

COLUMNS = 4


def grow(rounds=3, leaves=5, *, constant=False, missing=False):
    random = np.random.default_rng(0)
    matrix = random.normal(size=(600, COLUMNS))
    if missing:
        matrix[random.random(matrix.shape) < 0.4] = np.nan
    label = np.zeros(600) if constant else (np.nan_to_num(matrix[:, 0]) + random.normal(size=600) > 0)
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": leaves, "seed": 1}
    return lgb.train(settings, lgb.Dataset(matrix, label), rounds).model_to_string()


TREES = grow()
FIRST, LAST = TREES.index("Tree=0"), TREES.index("end of trees")


def resized(text):
    """The text with the sizes that its trees have now."""
    body = text[text.index("Tree=0") : text.index("end of trees")]
    sizes = " ".join(str(len(part.encode())) for part in re.split(r"(?=Tree=)", body) if part)
    return re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", text)


def with_line(name, value, tree=1):
    """The trees with another value of one line of one tree, and sizes that fit."""
    parts = re.split(r"(?=Tree=)", TREES)
    parts[tree + 1] = re.sub(rf"^{name}=.*$", f"{name}={value}", parts[tree + 1], flags=re.MULTILINE)
    return resized("".join(parts))


def values(name, tree=1):
    part = re.split(r"(?=Tree=)", TREES)[tree + 1]
    return re.search(rf"^{name}=(.*)$", part, re.MULTILINE)[1].split()


def with_value(name, index, value):
    changed = values(name)
    changed[index] = str(value)
    return with_line(name, " ".join(changed))


@pytest.mark.parametrize("text", [TREES, grow(1, 2), grow(2, constant=True), grow(40, 31, missing=True)])
def test_what_lightgbm_wrote_is_in_order(text):
    check_tree_structure(text, COLUMNS)


BROKEN = {
    "one changed num_leaves line": TREES.replace("num_leaves=5", "num_leaves=7", 1),
    "and sizes that fit": with_line("num_leaves", 500),
    "a gigantic num_leaves": with_line("num_leaves", 2_000_000_000),
    "a num_leaves of a million digits": with_line("num_leaves", "9" * 1_000_000),
    "no leaves": with_line("num_leaves", 0),
    "a negative number of leaves": with_line("num_leaves", -3),
    "an empty tree": resized(TREES[:FIRST] + "Tree=0\n\n\n" + TREES[TREES.index("Tree=1") :]),
    "a tree without its children": with_line("left_child", ""),
    "an array that was cut": with_line("leaf_value", " ".join(values("leaf_value")[:-1])),
    "an array with one value more": with_line("threshold", " ".join([*values("threshold"), "1"])),
    "a split that is its own child": with_value("left_child", 1, 1),
    "a cycle": with_value("right_child", 3, 0),
    "a child that two splits have": with_value("left_child", 0, values("right_child")[0]),
    "a child that is not there": with_value("left_child", 0, 99),
    "a leaf that is not there": with_value("left_child", 3, -99),
    "a huge index of a feature": with_value("split_feature", 0, 2_000_000_000),
    "the index of a feature beyond an integer": with_value("split_feature", 0, 2**70),
    "a feature that the model does not have": with_value("split_feature", 0, COLUMNS),
    "a negative feature": with_value("split_feature", 0, -1),
    "a split by half a feature": with_value("split_feature", 0, 1.5),
    "a split by category": with_value("decision_type", 0, 1),
    "categories": with_line("num_cat", 1),
    "linear leaves": with_line("is_linear", 1),
    "a leaf that is no number": with_value("leaf_value", 0, "nan"),
    "an infinite leaf": with_value("leaf_value", 0, "inf"),
    "a leaf in words": with_value("leaf_value", 0, "many"),
    "a number that only Python reads": with_value("leaf_value", 0, "1_0"),
    "a threshold that is no number": with_value("threshold", 0, "nan"),
    "a leaf of no rows": with_value("leaf_count", 0, 0),
    "a split of no rows": with_value("internal_count", 0, 0),
    "no shrinkage": with_line("shrinkage", ""),
    "a line that stands there twice": resized(TREES.replace("num_cat=0", "num_cat=0\nnum_leaves=9", 1)),
    "an unknown line": resized(TREES.replace("num_cat=0", "num_cat=0\ncat_boundaries=0 9", 1)),
    "sizes of other trees": re.sub(r"tree_sizes=(\d+) (\d+)", r"tree_sizes=1 \2", TREES),
    "a size too many": TREES.replace("tree_sizes=", "tree_sizes=9 "),
    "a negative size": re.sub(r"tree_sizes=(\d+)", "tree_sizes=-5", TREES),
    "no sizes": re.sub(r"tree_sizes=.*\n", "", TREES),
    "more features than columns": TREES.replace("max_feature_idx=3", "max_feature_idx=300"),
    "fewer names than columns": TREES.replace("Column_0 ", ""),
    "several outcomes": TREES.replace("num_class=1", "num_class=3"),
    "no end": TREES[:LAST],
    "nothing": "",
    "the half": TREES[: len(TREES) // 4],
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_trees_that_do_not_fit_together_are_refused_in_words(text):
    assert text != TREES
    with pytest.raises(TreeStructureError) as refused:
        check_tree_structure(text, COLUMNS)
    assert 10 < len(str(refused.value)) < 300


@given(st.integers(0, LAST - 1), st.integers(0, 200), st.binary(max_size=12))
def test_whatever_is_written_over_the_trees_is_refused_or_can_be_walked(at, length, put):
    changed = TREES[:at] + put.decode("latin-1") + TREES[at + length :]
    try:
        check_tree_structure(changed, COLUMNS)
    except TreeStructureError:
        return
    # It passed, so LightGBM reads it, or says that it does not, and ends.
    try:
        booster = lgb.Booster(model_str=changed)
    except lgb.basic.LightGBMError:
        return
    rows = np.random.default_rng(1).normal(size=(20, COLUMNS))
    assert np.isfinite(booster.predict(rows, raw_score=True, num_threads=1)).all()
    assert booster.predict(rows, pred_contrib=True, num_threads=1).shape == (20, COLUMNS + 1)
