"""What the default learner promises on any data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models import metrics
from training.data.training_rows import TrainingRows
from training.learner.additive import fit_additive
from training.learner.cross_validation import assign_folds, make_folds
from training.learner.encoders import fit_encoders
from training.learner.fit import fit, fit_learning_rows
from training.learner.stacking import fit_stacking, shrunken_intercept


def linear_leads(rows, seed=0, features=5):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, features))
    y = (random.random(rows) < 1 / (1 + np.exp(-(x[:, 0] - x[:, 1] - 1)))).astype(np.int8)
    return pl.DataFrame({f"x{i}": x[:, i] for i in range(features)}), y


def predicted(fitted, frame):
    return fitted.predictor.log_odds(fitted.predictor.encodings.encode(frame))


def test_the_same_rows_and_seed_give_the_same_predictor():
    frame, y = linear_leads(400)
    assert fit(frame, y).predictor.to_files() == fit(frame, y).predictor.to_files()


def test_it_learns_what_there_is_to_learn():
    frame, y = linear_leads(4000)
    fresh, outcome = linear_leads(4000, seed=1)
    p = fit(frame, y).predictor.probability(predicted(fit(frame, y), fresh))
    best = 1 / (1 + np.exp(-(fresh["x0"].to_numpy() - fresh["x1"].to_numpy() - 1)))
    assert metrics.log_loss(outcome, p) < metrics.log_loss(outcome, best) + 0.01
    assert metrics.expected_calibration_error(outcome, p) < 0.03


def test_noise_is_not_learned():
    frame, _ = linear_leads(1500)
    y = (np.random.default_rng(3).random(1500) < 0.3).astype(np.int8)
    p = fit(frame, y).predictor.probability(predicted(fit(frame, y), frame))
    assert p.std() < 0.05


def test_the_held_out_predictions_are_honest():
    frame, y = linear_leads(600, features=30)
    fitted = fit(frame, y)
    fresh, outcome = linear_leads(5000, seed=2, features=30)
    held_out_loss = metrics.log_loss(y[fitted.held_out_rows], fitted.predictor.probability(fitted.log_odds))
    unseen = metrics.log_loss(outcome, fitted.predictor.probability(predicted(fitted, fresh)))
    assert held_out_loss > unseen - 0.05


def test_without_an_order_every_row_validates_once():
    frame, y = linear_leads(500)
    assert sorted(fit(frame, y).held_out_rows.tolist()) == list(range(500))


def test_with_an_order_only_later_rows_validate():
    frame, y = linear_leads(1000)
    order = np.random.default_rng(0).permutation(1000)
    fitted = fit(frame, y, order=order)
    assert fitted.time_ordered
    assert order[fitted.held_out_rows].min() >= 400


def test_no_fold_trains_on_what_came_after_or_within_the_gap():
    frame, y = linear_leads(1000)
    order = np.random.default_rng(0).integers(0, 50, 1000)
    folds, time_ordered = make_folds(TrainingRows(frame, y, order, gap=3), 5, 0)
    assert time_ordered
    assert len(folds) == 3
    for fold in folds:
        assert order[fold.train].max() < order[fold.validate].min() - 3


def test_an_order_of_one_value_is_no_order():
    frame, y = linear_leads(300)
    assert not fit(frame, y, order=np.ones(300, dtype=np.int64)).time_ordered


def test_groups_stay_together():
    frame, y = linear_leads(600)
    groups = np.repeat(np.arange(200), 3)
    held = assign_folds(TrainingRows(frame, y, groups=groups), 5, 0)
    assert all(len(set(held[groups == group])) == 1 for group in range(200))


def test_the_design_effect_is_how_often_an_outcome_is_repeated():
    """Its closed form: 1 + (size - 1) * correlation within groups, here 1 and then none."""
    frame, y = linear_leads(20_000)
    groups = np.repeat(np.arange(5000), 4)
    assert TrainingRows(frame, np.repeat(y[:5000], 4), groups=groups).design_effect == pytest.approx(4)
    assert TrainingRows(frame, y, groups=groups).design_effect == pytest.approx(1, abs=0.05)
    assert TrainingRows(frame, y).design_effect == 1


def test_five_snapshots_of_a_lead_weigh_as_much_as_one():
    """Each row five times over gives the same additive part as once."""
    frame, y = linear_leads(300, features=8)
    frame = frame.select(pl.all().round(0))
    often = pl.concat([frame] * 5)
    repeated = TrainingRows(often, np.tile(y, 5), groups=np.tile(np.arange(300), 5))
    taken_singly = replace(repeated, groups=None)
    once, five, naive = (_additive(rows, frame) for rows in (TrainingRows(frame, y), repeated, taken_singly))
    assert five == pytest.approx(once, abs=0.01)
    assert np.abs(naive - once).max() > 0.3


def _additive(rows, frame):
    encodings, matrix = fit_encoders(rows, 0)
    return fit_additive(rows, encodings, matrix, 0).log_odds(encodings.encode(frame))


def test_no_rate_knows_its_own_outcome():
    """Each row a category shared with nine others: their outcomes may be seen, its own may not."""
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"who": [f"w{i // 10}" for i in range(2000)]})
    y = (random.random(2000) < 0.5).astype(np.int8)
    encodings, matrix = fit_encoders(TrainingRows(frame, y), 0)
    assert abs(np.corrcoef(matrix[:, 0], y)[0, 1]) < 0.15
    assert np.corrcoef(encodings.encode(frame)[:, 0], y)[0, 1] > 0.25


def test_no_value_of_a_single_lead_is_in_the_encodings():
    """Whatever snapshots the lead has: a model folder must not tell where its one lead from a village is."""
    lead = np.repeat(np.arange(100), 4)
    town = np.where(lead == 7, "Hinterobernau", np.where(lead < 50, "Graz", "Linz"))
    people = np.where(lead == 7, 29.0, 1.0 + lead % 5)
    frame = pl.DataFrame({"town": town, "people": people})
    encodings, _ = fit_encoders(TrainingRows(frame, (lead % 3 == 0).astype(float), groups=lead), 0)
    assert [each.levels for each in encodings.features] == [("Graz", "Linz"), (1.0, 2.0, 3.0, 4.0, 5.0)]


@pytest.mark.parametrize("value", ["never seen", None])
def test_a_value_never_seen_changes_little(value):
    random = np.random.default_rng(0)
    source = random.choice(["a", "b", "c"], 900)
    y = (random.random(900) < np.where(source == "a", 0.6, 0.2)).astype(np.int8)
    fitted = fit(pl.DataFrame({"source": source}), y)
    unknown = predicted(fitted, pl.DataFrame({"source": [value]}, schema={"source": pl.String}))
    known = predicted(fitted, pl.DataFrame({"source": ["a", "b"]}))
    assert known[1] - 0.3 < unknown[0] < known[0] + 0.3


def test_forty_conversions_of_three_hundred_leads_are_enough():
    random = np.random.default_rng(1)
    x = random.normal(size=(300, 8))
    y = np.zeros(300, dtype=np.int8)
    y[np.argsort(-(x[:, 0] + random.normal(size=300)))[:40]] = 1
    fresh = random.normal(size=(4000, 8))
    converted = fresh[:, 0] + random.normal(size=4000) > 1.6
    names = [f"x{i}" for i in range(8)]
    fitted = fit(pl.DataFrame(x, schema=names), y)
    p = fitted.predictor.probability(predicted(fitted, pl.DataFrame(fresh, schema=names)))
    assert metrics.roc_auc(converted, p) > 0.75
    assert metrics.log_loss(converted, p) < metrics.log_loss(converted, np.full(4000, converted.mean()))


@pytest.mark.parametrize(("rows", "positives"), [(12, 3), (12, 1), (5, 4), (30, 29)])
def test_a_handful_of_rows_gives_a_cautious_answer(rows, positives):
    frame = pl.DataFrame({"x": np.arange(rows, dtype=float), "c": [str(i) for i in range(rows)]})
    y = (np.arange(rows) < positives).astype(np.int8)
    p = fit(frame, y).predictor.probability(predicted(fit(frame, y), frame))
    assert np.isfinite(p).all()
    assert ((p > 0.001) & (p < 0.999)).all()


def test_one_outcome_is_refused():
    frame, y = linear_leads(50)
    with pytest.raises(ValueError, match="only one outcome"):
        fit(frame, np.zeros_like(y))


def test_one_useless_feature_is_no_error():
    y = (np.arange(200) % 3 == 0).astype(np.int8)
    for column in (pl.Series([1.0] * 200), pl.Series([None] * 200, dtype=pl.String), pl.Series(["a"] * 200)):
        fitted = fit(pl.DataFrame({"only": column}), y)
        assert fitted.recipe == "base rate"
        p = fitted.predictor.probability(predicted(fitted, pl.DataFrame({"only": column})))
        np.testing.assert_allclose(p, y.mean(), atol=0.01)


def test_ten_thousand_categories_are_no_trouble():
    random = np.random.default_rng(0)
    code = random.integers(0, 10_000, 12_000)
    effect = random.normal(size=10_000)
    x = random.normal(size=12_000)
    y = (random.random(12_000) < 1 / (1 + np.exp(-(x + effect[code])))).astype(np.int8)
    frame = pl.DataFrame({"code": [f"c{i}" for i in code], "x": x})
    fitted = fit(frame, y)
    assert metrics.roc_auc(y[fitted.held_out_rows], fitted.log_odds) > 0.69


def test_weights_count_as_copies_do():
    frame, y = linear_leads(3000)
    weights = np.where(y == 1, 3.0, 1.0)
    weighted = fit(frame, y, weights=weights)
    p = weighted.predictor.probability(predicted(weighted, frame))
    assert np.average(p, weights=weights) == pytest.approx((weights @ y) / weights.sum(), abs=0.02)


def test_weights_of_a_blend_are_never_negative():
    random = np.random.default_rng(0)
    f = random.normal(size=1000)
    y = (random.random(1000) < 1 / (1 + np.exp(-f))).astype(float)
    blend = fit_stacking(np.column_stack([f, -f]), y, np.ones(1000))
    assert (blend.weights >= 0).all()
    assert blend.weights[0] == pytest.approx(1, abs=0.2)


def test_the_level_of_the_next_period_by_a_worked_example():
    """By hand: Q = 16.4286 and c = 200, so .0721 between; the mean of random effects is .4831 +- .1667."""
    assert shrunken_intercept(np.array([0.2, 0.4, 0.9]), np.array([100.0, 200.0, 50.0])) == pytest.approx(
        0.483123 * (1 - (0.027786 + 0.072143 + 0.25**2) / 0.233408), abs=1e-5
    )


@pytest.mark.parametrize("levels", [[0.8, -0.7, 0.1], [-0.3, 0.4, -0.2], [0.2, 0.2, 0.2], [0.0, 0.0], [2.0]])
def test_levels_that_swing_or_are_small_say_nothing_of_the_next(levels):
    assert shrunken_intercept(np.array(levels), np.full(len(levels), 200.0)) == 0


def test_a_level_that_every_period_was_off_by_is_mended():
    """Weights below 1 draw log-odds to even odds; with one conversion in ten that is a level too high."""
    random = np.random.default_rng(0)
    f = random.normal(-3, 0.7, size=30_000)
    y = (random.random(30_000) < 1 / (1 + np.exp(1.5 - 0.5 * f))).astype(float)
    blend = fit_stacking(f[:, None], y, np.ones(30_000), np.arange(30_000) // 10_000)
    assert blend.slope == pytest.approx(0.5, abs=0.1)
    p = 1 / (1 + np.exp(-blend.apply(f[:, None])))
    assert p.mean() == pytest.approx(y.mean(), rel=0.1)


def test_progress_is_told():
    frame, y = linear_leads(200)
    heard = []
    fit(frame, y, progress=heard.append)
    assert heard[0] == "fold 1 of 5"
    assert "learning from all rows" in heard[-1]


def test_a_code_without_signal_costs_little_with_three_snapshots_per_lead():
    """Else a lead's own other snapshots say, by way of the code's rate, what became of it."""
    frame, y = linear_leads(600)
    thrice, coded = np.repeat(np.arange(600), 3), np.random.default_rng(5).integers(200, size=600)
    code = pl.Series("code", [f"c{value}" for value in coded[thrice]])
    snapshots = TrainingRows(frame[thrice].with_columns(code), y[thrice], groups=thrice)
    fresh, outcome = linear_leads(5000, seed=6)
    other = np.random.default_rng(7).integers(200, size=5000)
    new_rows = fresh.with_columns(pl.Series("code", [f"c{value}" for value in other]))
    with_code, without = (
        fit_learning_rows(snapshots),
        fit_learning_rows(replace(snapshots, frame=frame[thrice])),
    )
    losses = [
        metrics.log_loss(outcome, fitted.predictor.probability(predicted(fitted, rows)))
        for fitted, rows in ((with_code, new_rows), (without, fresh))
    ]
    assert losses[0] < losses[1] + 0.015
