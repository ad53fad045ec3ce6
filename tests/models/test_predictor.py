"""Laws of the predictor: it adds up, one row is like many, and text is all it needs."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.additive import AdditiveModel, CategoryTerm, PiecewiseLinearTerm
from models.calibration import PlattCalibration
from models.encoding import FeatureEncoder
from models.predictor import Predictor
from training.data.training_rows import TrainingRows
from training.learner.fit import fit
from training.learner.recipes import fit_parts


def leads(rows, seed=0):
    """Numbers, codes, rare and missing values, and an outcome that depends on some of them together."""
    random = np.random.default_rng(seed)
    visits, days = random.poisson(4, rows).astype(float), random.exponential(30, rows)
    days[random.random(rows) < 0.3] = np.nan
    source = random.choice(["web", "event", "referral", "mail"], rows, p=[0.5, 0.3, 0.15, 0.05])
    region = np.char.add("r", random.zipf(1.3, rows).clip(max=5000).astype(str))
    raw = 0.3 * visits - 0.02 * np.nan_to_num(days, nan=40) + 1.5 * (source == "referral") * (visits > 4) - 2
    y = (random.random(rows) < 1 / (1 + np.exp(-raw))).astype(np.int8)
    frame = pl.DataFrame(
        {"visits": visits, "days": days, "source": source, "region": region}, nan_to_null=True
    )
    missing = pl.Series(random.random(rows) < 0.1)
    frame = frame.with_columns(
        source=pl.when(missing).then(None).otherwise(pl.col("source")), constant=pl.lit(1.0)
    )
    return frame.with_columns(empty=pl.lit(None, dtype=pl.Float64), blank=pl.lit(None, dtype=pl.String)), y


@pytest.fixture(scope="module")
def predictor():
    frame, y = leads(2000)
    return fit(frame, y).predictor


@pytest.fixture(scope="module")
def fresh():
    """Leads of another day, with sources and regions never seen."""
    return leads(1000, seed=9)[0].with_columns(
        source=pl.when(pl.col("visits") > 7).then(pl.lit("never seen")).otherwise(pl.col("source"))
    )


def test_the_blend_has_both_parts(predictor):
    assert predictor.linear is not None
    assert predictor.booster is not None


def test_one_row_alone_scores_like_all_at_once(predictor, fresh):
    matrix = predictor.encodings.encode(fresh)
    together, (base, shares) = predictor.log_odds(matrix), predictor.contributions(matrix)
    for place, row in enumerate(fresh.to_dicts()):
        alone = predictor.encodings.encode_row(row)
        np.testing.assert_array_equal(alone[0], matrix[place])
        assert predictor.log_odds(alone)[0] == together[place]
        assert predictor.probability(predictor.log_odds(alone))[0] == predictor.probability(together)[place]
        own_base, own = predictor.contributions(alone)
        assert own_base == base
        np.testing.assert_array_equal(own[0], shares[place])


@pytest.mark.parametrize("rows", [2, 3, 7, 64, 513])
def test_how_many_rows_are_scored_at_once_is_irrelevant(predictor, fresh, rows):
    matrix = predictor.encodings.encode(fresh)
    np.testing.assert_array_equal(predictor.log_odds(matrix[:rows]), predictor.log_odds(matrix)[:rows])


def test_base_plus_contributions_is_the_log_odds(predictor, fresh):
    matrix = predictor.encodings.encode(fresh)
    base, shares = predictor.contributions(matrix)
    assert shares.shape == (fresh.height, len(predictor.feature_names))
    np.testing.assert_allclose(base + shares.sum(axis=1), predictor.log_odds(matrix), atol=1e-9, rtol=0)


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_a_score_with_its_contributions_has_the_bits_of_either_alone(predictor, fresh, rows):
    matrix = predictor.encodings.encode(fresh.head(rows))
    for part in (predictor, replace(predictor, linear=None), replace(predictor, booster=None)):
        log_odds, base, contributions = part.log_odds_and_contributions(matrix)
        assert log_odds.tobytes() == part.log_odds(matrix).tobytes()
        assert base == part.contributions(matrix)[0]
        assert contributions.tobytes() == part.contributions(matrix)[1].tobytes()


def test_the_trees_share_is_what_shap_says(predictor, fresh):
    matrix = predictor.encodings.encode(fresh)[:50]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap's plots, imported with it, use what matplotlib will remove
        import shap  # noqa: PLC0415

        visible = matrix[:, : predictor.encodings.tree_width]
        expected = shap.TreeExplainer(predictor.booster).shap_values(visible) * predictor.tree_weight
    only_trees = Predictor(
        predictor.encodings, PlattCalibration(), booster=predictor.booster, tree_weight=predictor.tree_weight
    )
    _, shares = only_trees.contributions(matrix)
    for place, name in enumerate(predictor.feature_names):
        own = [column for column, owner in enumerate(predictor.encodings.owner) if owner == place]
        np.testing.assert_allclose(shares[:, place], expected[:, own].sum(axis=1), atol=1e-9, err_msg=name)


def test_a_predictor_survives_as_text(predictor, fresh):
    parts = predictor.to_files()
    again = Predictor.from_files(parts)
    matrix = again.encodings.encode(fresh)
    np.testing.assert_array_equal(again.log_odds(matrix), predictor.log_odds(matrix))
    assert again.to_files() == parts
    assert all(json.loads(text) for name, text in parts.items() if name.endswith(".json"))


def test_encodings_survive_as_text(predictor):
    assert FeatureEncoder.from_json(predictor.encodings.to_json()) == predictor.encodings


def test_a_feature_without_information_contributes_nothing(predictor, fresh):
    _, shares = predictor.contributions(predictor.encodings.encode(fresh))
    for name in ("constant", "empty", "blank"):
        assert np.abs(shares[:, predictor.feature_names.index(name)]).max() < 1e-9, name


def test_the_averaged_booster_is_the_mean_of_the_bag():
    frame, y = leads(500)
    rows = TrainingRows(frame, y)
    parts = fit_parts(rows, 20, 0)
    _, trees = parts.staged_log_odds(rows, (5, 20))
    blend = type("Even", (), {"weights": np.array([0.5, 0.5]), "slope": 1.0, "intercept": 0.0})()
    recipe = type("Both", (), {"linear": True, "trees": True})()
    built = parts.predictor(recipe, blend)
    matrix = built.encodings.encode(frame)[:, : built.encodings.tree_width]
    mean = built.booster.predict(matrix, raw_score=True, num_threads=1) / len(parts.boosters)
    np.testing.assert_allclose(mean, trees[:, -1], atol=1e-9)


def test_a_row_is_encoded_in_microseconds(predictor):
    row = leads(1)[0].to_dicts()[0]
    predictor.encodings.encode_row(row)
    start = time.perf_counter()
    for _ in range(200):
        predictor.encodings.encode_row(row)
    assert (time.perf_counter() - start) / 200 < 500e-6


def test_a_curve_alone_and_in_a_table_agree_to_the_bit():
    random = np.random.default_rng(0)
    curve = PiecewiseLinearTerm(
        tuple(np.sort(random.normal(size=9)).tolist()), tuple(random.normal(size=9).tolist()), 0.1
    )
    x = np.append(random.normal(scale=2, size=1000), [*curve.knots, np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(curve.at(x), [curve.at_scalar(value) for value in x.tolist()])


def test_scaling_a_linear_part_scales_what_it_says():
    part = AdditiveModel(
        0.5, (PiecewiseLinearTerm((0.0, 1.0), (0.0, 2.0), 1.0), CategoryTerm((1.0, -1.0, 0.0))), (0, 1)
    )
    matrix = np.array([[0.25, 1.0], [np.nan, 0.0]])
    np.testing.assert_allclose(part.scale(0.5).log_odds(matrix), part.log_odds(matrix) / 2)
    assert AdditiveModel.from_json(part.to_json()) == part


def test_calibration_finds_slope_and_intercept_of_many_rows():
    random = np.random.default_rng(0)
    raw = random.normal(size=50_000)
    y = random.random(50_000) < 1 / (1 + np.exp(-(0.5 * raw - 1)))
    result = PlattCalibration.fit(raw, y.astype(float))
    assert result.slope == pytest.approx(0.5, abs=0.03)
    assert result.intercept == pytest.approx(-1, abs=0.03)
    assert PlattCalibration.from_json(result.to_json()) == result


def test_calibration_changes_little_on_a_handful_of_rows():
    result = PlattCalibration.fit(np.array([-1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    assert result.slope == pytest.approx(1, abs=0.4)
    assert result.intercept == pytest.approx(0, abs=0.2)
