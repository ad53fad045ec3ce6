"""MLflow can serve a logged model: the same scores, from a plain DataFrame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest

from features.spec import DisplayText, FeatureSet, attribute
from models import artifact
from models.conversion import ConversionModel
from models.grades import Grades
from models.model_card import ModelCard
from training.pyfunc import ScoringModel
from training.registry.tracking import Model, log, mlflow_client

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
]
SAYS = DisplayText("{value}", "{value}")
FEATURES = FeatureSet(
    (
        attribute("size", family="fit", says=SAYS, unit="number"),
        attribute("city", family="fit", says=SAYS),
    )
)


@dataclass(frozen=True)
class Adding:
    """A predictor that can be done in the head: size, and one more for Ulm; nothing for what is missing."""

    encodings = SimpleNamespace(
        encode=lambda rows: rows.select(
            pl.col("size").fill_null(0.0), (pl.col("city") == "Ulm").fill_null(value=False).cast(pl.Float64)
        ).to_numpy()
    )

    def log_odds(self, matrix):
        return matrix.sum(axis=1)

    def probability(self, log_odds):
        return 1 / (1 + np.exp(-log_odds))


@pytest.fixture
def model():
    card = ModelCard("Converted", "2026-11-21", rows=10, positives=5, time_ordered=False, recipe="adding")
    return ConversionModel(FEATURES, Adding(), Grades((0.9, 0.5, 0.1)), card)


ROWS = pd.DataFrame({"city": ["Ulm", None, "Bonn"], "size": [1.0, float("nan"), 0.0], "more": [1, 2, 3]})


def test_scores_are_those_of_the_model_in_order(model):
    scores = ScoringModel(model).predict(ROWS)
    assert list(scores.columns) == ["probability", "log_odds", "points", "grade"]
    assert scores["log_odds"].tolist() == [2.0, 0.0, 0.0]
    assert scores["probability"].tolist() == pytest.approx([1 / (1 + math.exp(-2)), 0.5, 0.5])
    assert scores["grade"].tolist() == ["B", "B", "B"]


def test_whole_numbers_and_polars_are_understood_too(model):
    rows = pl.DataFrame({"size": [1, 2], "city": ["Ulm", "Ulm"]})
    assert ScoringModel(model).predict(rows)["log_odds"].tolist() == [2.0, 3.0]


def test_a_missing_column_is_named(model):
    with pytest.raises(ValueError, match="no column 'city'"):
        ScoringModel(model).predict(ROWS.drop(columns="city"))


def test_an_export_as_the_crm_writes_it_is_read_as_a_file_would_be(model):
    rows = pd.DataFrame(
        {"city": ["Ulm", " ulm ", ""], "size": ["12.5", "n/a", "3"], "owner": ["a", "b", "c"]}
    )
    flat = replace(model, card=replace(model.card, flat=True))
    scores = ScoringModel(flat).predict(rows)
    assert scores["log_odds"].tolist()[0] == 13.5
    assert len(scores) == 3
    with pytest.raises(ValueError, match="no column 'size' with the feature"):
        ScoringModel(model).predict(rows)


def test_a_missing_column_of_an_export_is_named_with_the_nearest(model):
    flat = replace(model, card=replace(model.card, flat=True))
    with pytest.raises(ValueError, match=r"no column 'city' .* did you mean 'citi'"):
        ScoringModel(flat).predict(pd.DataFrame({"citi": ["Ulm"], "size": ["1"]}))


def test_parameters_are_refused(model):
    with pytest.raises(ValueError, match="threshold"):
        ScoringModel(model).predict(ROWS, {"threshold": 0.5})


def test_mlflow_loads_what_was_logged(model, tracked, make_folder, monkeypatch):
    monkeypatch.setattr(artifact, "load", lambda _: model)
    ref = log([Model(make_folder("model"), "abc")], tracking=tracked)
    with mlflow_client(tracked):
        import mlflow.pyfunc  # noqa: PLC0415  # seconds, and warnings about itself

        served = mlflow.pyfunc.load_model(ref.model_uri)
        assert served.predict(ROWS)["log_odds"].tolist() == [2.0, 0.0, 0.0]
