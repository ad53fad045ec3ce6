"""Candidates beside the default: what others would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from training.past.candidates import Candidate

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from training.past.candidates import Past, Predict

ROUNDS = 100
RARE = 10


def plain_lightgbm() -> Candidate:
    """LightGBM at its defaults, categories native: what one gets without thinking."""

    def learn(past: Past) -> dict[str, Predict]:
        numbers, words = _columns(past.rows.frame)
        codes = {name: past.rows.frame[name].drop_nulls().unique().sort().to_list() for name in words}

        def matrix(frame: pl.DataFrame) -> NDArray[np.float64]:
            plain = [frame[name].to_numpy().astype(np.float64) for name in numbers]
            return np.column_stack([*plain, *(_coded(frame[name], seen) for name, seen in codes.items())])

        places = list(range(len(numbers), len(numbers) + len(words)))
        data = lgb.Dataset(
            matrix(past.rows.frame),
            past.rows.y,
            weight=past.rows.weights,
            categorical_feature=places,
            free_raw_data=False,
        )
        settings = {
            "objective": "binary",
            "verbosity": -1,
            "num_threads": 1,
            "seed": past.seed,
            "deterministic": True,
        }
        booster = lgb.train(settings, data, ROUNDS)
        return {"lightgbm": lambda frame: np.asarray(booster.predict(matrix(frame), num_threads=1))}

    return Candidate("lightgbm at its defaults", learn)


def logistic_regression() -> Candidate:
    """A logistic regression on scaled numbers and one-hot categories: the one to beat on later rows."""

    def learn(past: Past) -> dict[str, Predict]:
        numbers, words = _columns(past.rows.frame)
        scale = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
        spread = OneHotEncoder(min_frequency=RARE, handle_unknown="infrequent_if_exist", sparse_output=False)

        def parts(frame: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
            said = frame[words].fill_null("(missing)").to_numpy().astype(object)
            return frame[numbers].to_numpy().astype(np.float64), said

        steps = [(scale, 0)] * bool(numbers) + [(spread, 1)] * bool(words)
        learned = parts(past.rows.frame)
        seen = np.hstack([step.fit_transform(learned[place]) for step, place in steps])
        model = LogisticRegression(max_iter=2000).fit(seen, past.rows.y, sample_weight=past.rows.weights)

        def tell(frame: pl.DataFrame) -> NDArray[np.float64]:
            asked = parts(frame)
            columns = np.hstack([step.transform(asked[place]) for step, place in steps])
            return np.asarray(model.predict_proba(columns)[:, 1])

        return {"logistic regression": tell}

    return Candidate("logistic regression", learn)


def _columns(frame: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The names of numbers and of categories."""
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    return numbers, [name for name in frame.columns if name not in numbers]


def _coded(column: pl.Series, levels: list[str]) -> NDArray[np.float64]:
    """The place of each value among the levels seen in training; NaN for any other."""
    codes = {level: float(place) for place, level in enumerate(levels)}
    return np.array([codes.get(value, np.nan) for value in column.to_list()], dtype=np.float64)
