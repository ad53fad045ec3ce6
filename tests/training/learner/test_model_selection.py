"""Which trees the rows argue for, and what a difference between two models is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.metrics import log_loss_per_row
from training.data.training_rows import TrainingRows
from training.learner.fit import fit_learning_rows
from training.learner.model_selection import cross_validate


def rows(score, count=3000, seed=0):
    """Leads whose outcome is decided by ``score`` of eight columns and a random draw."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 8))
    y = (random.random(count) < 1 / (1 + np.exp(-score(x)))).astype(np.int8)
    return TrainingRows(pl.DataFrame({f"x{i}": x[:, i] for i in range(8)}), y)


def three_at_once(x):
    """Only three columns together mean anything, and then nearly everything."""
    return 4.0 * np.sign(x[:, 0] * x[:, 1] * x[:, 2])


def each_a_little(x):
    return x[:, 0] - x[:, 1] + 0.5 * x[:, 2] - 1.5


def chosen(learning):
    messages = []
    return cross_validate(learning, 0, messages.append), messages


def test_what_only_many_conditions_together_tell_is_learned_by_large_trees():
    out_of_fold, messages = chosen(rows(three_at_once))
    assert out_of_fold.bag.name == "large"
    assert "larger trees are better on the last fold; trying them on all folds" in messages


def test_what_each_column_tells_is_learned_by_small_trees():
    assert chosen(rows(each_a_little))[0].bag.name == "small"


def test_noise_does_not_earn_large_trees():
    names = [chosen(rows(lambda x: 0 * x[:, 0] - 1, 600, seed))[0].bag.name for seed in range(5)]
    assert names == ["small"] * 5


def test_a_refit_on_the_same_rows_is_the_same():
    """The trees of the choice go into the model and into all that is made like it."""
    learning = rows(three_at_once, 1500)
    fitted = fit_learning_rows(learning, 0)
    assert fitted.bag.name == "large"
    assert fitted.refit(learning, 0).to_files() == fitted.predictor.to_files()


def test_the_rows_of_a_lead_are_one_cluster():
    """The standard error of a paired difference over leads, as of the means of independent leads."""
    learning = rows(each_a_little, 400)
    repeated = TrainingRows(
        pl.concat([learning.frame] * 3), np.tile(learning.y, 3), groups=np.tile(np.arange(400), 3)
    )
    out_of_fold = cross_validate(repeated, 0, lambda _: None)
    item = np.random.default_rng(0).normal(size=400)[out_of_fold.group]
    other = np.zeros(len(item))
    mean, error = out_of_fold.paired_difference(item, other)
    paired = log_loss_per_row(out_of_fold.y, item) - log_loss_per_row(out_of_fold.y, other)
    leads = np.array([paired[out_of_fold.group == unit].mean() for unit in range(400)])
    assert mean == pytest.approx(leads.mean())
    assert error == pytest.approx(leads.std() / 400**0.5)
    assert error > 1.5 * replace(out_of_fold, group=np.arange(len(item))).paired_difference(item, other)[1]
