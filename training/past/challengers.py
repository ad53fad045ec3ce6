"""Candidates beside the default: what others would take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from training.past.candidates import Candidate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from training.learning_rows import LearningRows
    from training.past.candidates import Past, Predict

ROUNDS = 100
RARE = 10


def plain_lightgbm() -> Candidate:
    """LightGBM at its defaults, categories native: what one gets without thinking."""

    def learn(past: Past) -> dict[str, Predict]:
        native = Native.of(past.rows)
        booster = lgb.train(native.settings(past.seed), native.dataset(past.rows), ROUNDS)
        return {"lightgbm": native.predict(booster)}

    return Candidate("lightgbm at its defaults", learn)


@dataclass(frozen=True)
class Native:
    """Columns as LightGBM takes them: numbers as they are, categories as the places of their levels."""

    numbers: tuple[str, ...]
    levels: Mapping[str, Sequence[str]]
    signs: tuple[int, ...]

    @classmethod
    def of(cls, rows: LearningRows) -> Native:
        """The columns of ``rows``, and what their company says of them."""
        numbers, words = _columns(rows.frame)
        levels = {name: rows.frame[name].drop_nulls().unique().sort().to_list() for name in words}
        signs = (rows.monotone.get(name, 0) for name in (*numbers, *words))
        return cls(tuple(numbers), levels, tuple(signs))

    def settings(self, seed: int) -> dict[str, Any]:
        """What LightGBM must be told besides how to learn."""
        return {
            "objective": "binary",
            "verbosity": -1,
            "num_threads": 1,
            "seed": seed,
            "deterministic": True,
            **({"monotone_constraints": list(self.signs)} if any(self.signs) else {}),
        }

    def matrix(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """(n, columns); a level that was not seen is missing."""
        plain = [frame[name].to_numpy().astype(np.float64) for name in self.numbers]
        coded = [_coded(frame[name], seen) for name, seen in self.levels.items()]
        return np.column_stack([*plain, *coded])

    def dataset(self, rows: LearningRows, reference: lgb.Dataset | None = None) -> lgb.Dataset:
        """Rows in LightGBM's own form; binned like ``reference`` if given."""
        places = list(range(len(self.numbers), len(self.numbers) + len(self.levels)))
        return lgb.Dataset(
            self.matrix(rows.frame),
            rows.y,
            weight=rows.weights,
            reference=reference,
            categorical_feature=places,
            params={"feature_pre_filter": False, "verbosity": -1},
            free_raw_data=False,
        )

    def predict(self, booster: lgb.Booster) -> Predict:
        """What ``booster`` says of rows."""
        return lambda frame: np.asarray(booster.predict(self.matrix(frame), num_threads=1))


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


def _coded(column: pl.Series, levels: Sequence[str]) -> NDArray[np.float64]:
    """The place of each value among the levels seen in training; NaN for any other."""
    codes = {level: float(place) for place, level in enumerate(levels)}
    return np.array([codes.get(value, np.nan) for value in column.to_list()], dtype=np.float64)
