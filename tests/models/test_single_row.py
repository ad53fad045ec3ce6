"""A row scored alone by LightGBM's quick function has the bits of ``Booster.predict``."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest
from lightgbm import basic

from models.calibration import PlattCalibration
from models.encoding import FeatureEncoder, FeatureEncoding
from models.predictor import Predictor
from models.single_row import SingleRowBooster

COLUMNS = 4


@pytest.fixture(scope="module")
def booster():
    random = np.random.default_rng(0)
    matrix = rows(400)
    label = np.nan_to_num(matrix[:, 0]) + random.normal(size=400) > 0
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 7}
    return lgb.train(settings, lgb.Dataset(matrix, label), 25)


def rows(count):
    random = np.random.default_rng(1)
    matrix = random.normal(size=(count, COLUMNS))
    matrix[random.random(matrix.shape) < 0.3] = np.nan
    return matrix


@pytest.fixture
def predictor(booster):
    encodings = FeatureEncoder(tuple(FeatureEncoding(f"f{i}", "number") for i in range(COLUMNS)))
    return Predictor(encodings, PlattCalibration(), booster=booster)


def test_a_row_alone_has_the_bits_of_predict(booster):
    matrix, single = np.asfortranarray(rows(100)), SingleRowBooster(booster, COLUMNS)
    expected = booster.predict(matrix, raw_score=True, num_threads=1)
    assert [single.raw_score(row) for row in matrix] == expected.tolist()


def test_threads_share_it(booster):
    matrix, single = rows(400), SingleRowBooster(booster, COLUMNS)
    expected = booster.predict(matrix, raw_score=True, num_threads=1).tolist()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(single.raw_score, matrix)) == expected


def test_only_the_best_trees_count_as_in_predict(booster):
    early = copy.deepcopy(booster)
    early.best_iteration = 3
    matrix = rows(5)
    expected = early.predict(matrix, raw_score=True, num_threads=1).tolist()
    assert expected != booster.predict(matrix, raw_score=True, num_threads=1).tolist()
    assert [SingleRowBooster(early, COLUMNS).raw_score(row) for row in matrix] == expected


def test_a_row_of_another_width_is_refused(booster):
    with pytest.raises(ValueError, match="4 columns"):
        SingleRowBooster(booster, COLUMNS).raw_score(np.zeros(3))


def test_a_predictor_that_has_scored_a_row_can_be_copied(predictor):
    matrix = rows(1)
    expected = predictor.log_odds(matrix)
    assert pickle.loads(pickle.dumps(predictor)).log_odds(matrix) == expected  # noqa: S301 - our own
    assert copy.deepcopy(predictor).log_odds(matrix) == expected


def test_where_lightgbm_does_not_offer_it_predict_scores(predictor, monkeypatch):
    matrix = rows(1)
    expected = predictor.log_odds(matrix)
    assert predictor._single_row is not None
    monkeypatch.setattr(basic._LIB, "LGBM_BoosterPredictForMatSingleRowFastInit", lambda *_: -1)
    other = replace(predictor)
    assert other.log_odds(matrix) == expected
    assert other._single_row is None
