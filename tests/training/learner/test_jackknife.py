"""Models made like one model, each without a part of the leads."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from training.analysis.drivers import importance_intervals
from training.data.training_rows import TrainingRows
from training.learner import jackknife as module
from training.learner.fit import fit_learning_rows
from training.learner.jackknife import GROUPS, jackknife


def company(rows=900, seed=0, level=-1.0):
    """Leads whose log-odds go with ``x`` and not with ``noise``."""
    random = np.random.default_rng(seed)
    frame = pl.DataFrame({"x": random.normal(size=rows), "noise": random.normal(size=rows)})
    y = (random.random(rows) < expit(level + frame["x"].to_numpy())).astype(np.int8)
    return TrainingRows(frame, y)


@pytest.fixture(scope="module")
def fitted():
    return fit_learning_rows(company(), 0)


def contributed(predictor, rows):
    return predictor.contributions(predictor.encodings.encode(rows.frame))[1]


def jackknife_and_training_rows(monkeypatch, rows, fitted, lead):
    """Which rows each refit learned from, by the first column, which numbers them."""
    trained_on = []
    monkeypatch.setattr(
        type(fitted), "refit", lambda _, rows, _seed: trained_on.append(rows.frame["x"].to_list())
    )
    return jackknife(rows, fitted, lead), trained_on


def test_each_refit_does_without_one_group_and_a_lead_is_not_divided(monkeypatch, fitted):
    rows = company()
    numbered = TrainingRows(rows.frame.with_columns(x=pl.int_range(len(rows)).cast(pl.Float64)), rows.y)
    lead = np.arange(len(rows)) // 3
    models, trained_on = jackknife_and_training_rows(monkeypatch, numbered, fitted, lead)
    left_out = [set(range(len(rows))) - set(map(int, some)) for some in trained_on]
    assert len(models.predictors) == GROUPS
    assert sorted(row for some in left_out for row in some) == list(range(len(rows)))
    assert all(
        {*some} == {row for row in range(len(rows)) if row // 3 in {r // 3 for r in some}}
        for some in left_out
    )
    assert models.share == 1.0
    assert [set(each.tolist()) for each in models.omitted] == left_out


def test_of_many_rows_a_sample_is_dealt_and_says_which_share(monkeypatch, fitted):
    monkeypatch.setattr(module, "MOST_ROWS", 300)
    models, trained_on = jackknife_and_training_rows(monkeypatch, company(), fitted, np.arange(900))
    rows = sum(map(len, trained_on)) / (GROUPS - 1)
    assert models.share == pytest.approx(rows / 900)
    assert 0.2 < models.share < 0.5


def test_with_too_few_conversions_nothing_is_learned_anew(fitted):
    assert jackknife(company(60, level=-4.0), fitted, np.arange(60)) is None


def test_the_interval_is_as_wide_as_companies_differ(fitted):
    """Learned from twelve companies alike, a weight varies as much as each one's refits say it would."""
    new_rows, sizes, halves = company(400, seed=99), [], []
    for seed in range(12):
        rows = company(seed=seed)
        again = jackknife(rows, fitted, np.arange(len(rows)))
        points = contributed(fitted.refit(rows, 0), new_rows)
        [interval, _] = importance_intervals(
            points, [contributed(refit, new_rows) for refit in again.predictors], again.share
        )
        sizes.append(interval.value)
        halves.append((interval.high - interval.low) / 2)
    # 2.78 is Student's t for five groups; the interval is also one over the explained leads.
    assert 0.5 < np.mean(halves) / (2.78 * np.std(sizes, ddof=1)) < 2.0
