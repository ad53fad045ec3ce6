# ruff: noqa: ARG002 - classifiers are called with all that scikit-learn's are
"""Learners of plug-ins are tried in the backtest; one that says what it does is saved, any other refused."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.special import logit
from small_export import leads

from models import artifact
from serving.scorer import Scorer
from training.backtesting.backtest import BacktestSettings, backtest_candidates
from training.backtesting.plugin_candidates import plugin_candidates
from training.backtesting.results import BacktestResult
from training.config.settings import Config, FlatConfig, TrainingConfig
from training.data.load import read_dataset
from training.data.training_rows import TrainingRows
from training.learner.plugin_learner import PluginLearner, fit_plugin_learner, savable_learner
from training.pipeline.fit_model import train_model
from training.plugins import Plugin, PluginError, PluginModule


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("company")
    leads(500).write_csv(folder / "leads.csv")
    return read_dataset(
        Config(flat=FlatConfig(folder / "leads.csv", "Converted", id="Id", time="No")), folder
    )


@pytest.fixture
def rows(dataset):
    return dataset.to_learning_rows()


def learner(value, package="acme-leads 1.2"):
    return PluginLearner(Plugin("mine", "leadloop.learners", "acme_leads:mine", value, package))


@pytest.mark.usefixtures("acme")
def test_every_learner_of_a_package_is_a_candidate_of_the_backtest(dataset):
    candidates = list(plugin_candidates())
    forest = (
        "acme-forest acme-leads 1.2 Pipeline("
        "steps=[('simpleimputer', SimpleImputer(keep_empty_features=True)), "
        "('randomforestclassifier', RandomForestClassifier(min_samples_leaf=20, n_estimators=20))])"
    )
    assert [candidate.key for candidate in candidates] == [forest, "acme-logit acme-leads 1.2 Logit()"]
    result = backtest_candidates(dataset, BacktestSettings(origins=1), candidates)
    assert isinstance(result, BacktestResult)
    losses = {name: one.figures["log_loss"].value for name, one in result.origins[0].candidates.items()}
    assert {"default", "acme-forest", "acme-logit"} <= set(losses)
    assert losses["acme-logit"] < losses["base rate"]


@pytest.mark.usefixtures("acme")
def test_the_same_seed_gives_the_same_forest(rows):
    forest = PluginLearner(savable_learner("acme-forest").plugin)
    columns = np.nan_to_num(forest.fit(rows, 3)[0].encode(rows.frame))
    columns = columns[:, : forest.fit(rows, 3)[0].tree_width]
    first, again, other = (forest.probability(forest.fit(rows, seed)[1], columns) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.usefixtures("site")
def test_a_name_of_a_candidate_of_leadloop_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("leadloop_learners = {'default': object}")
    with pytest.raises(PluginError, match="has a candidate of this name"):
        list(plugin_candidates([PluginModule("mine", tmp_path)]))


@pytest.fixture
def trained(acme, dataset):  # noqa: ARG001 - it is installed while the model is made
    return train_model(dataset, TrainingConfig(learner="acme-logit"))


@pytest.mark.slow
def test_the_model_of_a_learner_is_saved_without_pickle_and_keeps_every_promise(trained, dataset, tmp_path):
    model = artifact.save(trained.model, tmp_path / "model")
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"learner.json", "learner-coefficients.json"} <= files
    assert "model.lgb" not in files
    assert json.loads((tmp_path / "model" / "learner.json").read_text()) == {
        "name": "acme-logit",
        "package": "acme-leads 1.2",
        "files": ["learner-coefficients.json"],
    }
    assert json.loads((tmp_path / "model" / "format.json").read_text())["format"] == artifact.PLUGIN_FORMAT
    loaded = artifact.load(tmp_path / "model")
    assert loaded.version == model.version
    sample = dataset.rows.head(40)
    scores = loaded.score_frame(sample)
    assert scores.equals(model.score_frame(sample))
    # Rows alone and together have the same bits, and reasons add up to the score.
    for row, score in zip(sample.iter_rows(named=True), scores.iter_rows(named=True), strict=True):
        explanation = loaded.explain(row, row["lead_id"], row["as_of"])
        assert explanation.score.log_odds == score["log_odds"]
        total = explanation.base + sum(reason.contribution for reason in explanation.reasons)
        assert total == pytest.approx(score["log_odds"], abs=1e-9)
    # The service says the same of them.
    answers = Scorer(loaded).score(
        [
            {"lead_id": row["lead_id"], "attributes": {name: row[name] for name in loaded.features.names}}
            for row in sample.iter_rows(named=True)
        ]
    )
    assert [answer.probability for answer in answers] == scores["probability"].to_list()
    # Intervals come from the same parametric bootstrap as the default learner's.
    intervals = loaded.score_frame_with_intervals(sample)
    assert (intervals["low"] < intervals["probability"]).all()
    assert (intervals["probability"] < intervals["high"]).all()
    assert trained.refits is not None
    card = loaded.card
    assert (card.recipe, card.trees) == ("acme-logit", "none")
    assert set(card.candidates) == {"acme-logit", "base rate"}
    assert card.metrics["roc_auc"].value > 0.65


@pytest.mark.slow
def test_a_model_whose_package_is_missing_or_other_is_refused(trained, acme, tmp_path):
    artifact.save(trained.model, tmp_path / "model")
    module = importlib.import_module("acme_leads")
    module.Logit.from_files = classmethod(lambda _, files: files["weights.json"])
    with pytest.raises(
        artifact.ArtifactError, match=r"cannot read its files, KeyError: 'weights.json'; install"
    ):
        artifact.load(tmp_path / "model")
    acme.remove()
    says = r"learner 'acme-logit' of acme-leads 1.2, which is not installed here"
    with pytest.raises(artifact.ArtifactError, match=says):
        artifact.load(tmp_path / "model")


@pytest.mark.usefixtures("acme")
def test_the_level_of_such_a_model_can_be_moved(rows):
    fitted = fit_plugin_learner(rows, savable_learner("acme-logit"))
    calibration = fitted.predictor.calibration
    moved = replace(fitted.predictor, calibration=replace(calibration, intercept=calibration.intercept + 1))
    matrix = moved.encodings.encode(rows.frame)
    assert np.allclose(moved.log_odds(matrix), fitted.predictor.log_odds(matrix) + 1)


@pytest.mark.usefixtures("acme")
def test_where_nothing_can_be_learned_the_base_rate_is_the_model():
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"noise": random.normal(size=400)})
    rows = TrainingRows(frame, (random.random(400) < 0.3).astype(float))
    fitted = fit_plugin_learner(rows, savable_learner("acme-logit"), seed=1)
    if fitted.recipe != "base rate":
        pytest.skip("this draw has a pattern by chance")
    p = fitted.predictor.probability(fitted.predictor.log_odds(fitted.predictor.encodings.encode(frame)))
    assert np.allclose(p, rows.rate)
    assert np.allclose(fitted.refit(rows, 0).log_odds(np.zeros((3, 1))), logit(rows.rate))


class Good:
    """The smallest learner that can be saved: one weight for the first column."""

    weight = 0.5

    def fit(self, matrix, y, sample_weight=None):
        return self

    def contributions(self, matrix):
        shares = np.zeros(matrix.shape)
        shares[:, 0] = self.weight * np.nan_to_num(matrix[:, 0])
        return -2.0, shares

    def predict_proba(self, matrix):
        base, shares = self.contributions(matrix)
        p = 1 / (1 + np.exp(-(base + shares.sum(axis=1))))
        return np.column_stack([1 - p, p])

    def to_files(self):
        return {"weight.txt": str(self.weight)}

    def from_files(self, files):
        self.weight = float(files["weight.txt"])
        return self


class NoContributions(Good):
    contributions = None


class NotExact(Good):
    def predict_proba(self, matrix):
        return np.clip(super().predict_proba(matrix) + 1e-6, 0, 1)


class DependsOnOthers(Good):
    def contributions(self, matrix):
        base, shares = super().contributions(matrix)
        return base, shares - shares.mean(axis=0)


class WrongShape(Good):
    def contributions(self, matrix):
        return -2.0, np.zeros((len(matrix), 1))


class Pickles(Good):
    def to_files(self):
        return {"model.pkl": b"\x80\x04"}


class Climbs(Good):
    def to_files(self):
        return {"../weight.txt": "0.5"}


class Forgets(Good):
    weight = 0.25

    def fit(self, matrix, y):
        self.weight = 1.0
        return self

    def to_files(self):
        return {"weight.txt": "0.25"}


class NoProbabilities(Good):
    def predict_proba(self, matrix):
        return np.full((len(matrix), 2), 2.0)


class OneColumn(Good):
    def predict_proba(self, matrix):
        return np.full(len(matrix), 0.5)


class FailsToFit(Good):
    def fit(self, matrix, y):
        message = "Input X contains NaN"
        raise ValueError(message)


def test_the_smallest_one_will_do(rows):
    assert fit_plugin_learner(rows, learner(Good)).predictor.plugin.package == "acme-leads 1.2"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (NoContributions, "without pickle.* this one lacks contributions. Add it, or keep it a candidate"),
        (NotExact, "of another probability than .*, by up to 1e-06; reasons must add up"),
        (DependsOnOthers, "of one row alone differ|come to another probability"),
        (WrongShape, r"gave the shape \(500, 1\) for a matrix of"),
        (Pickles, "dictionary of plain file names and texts"),
        (Climbs, "dictionary of plain file names and texts"),
        (Forgets, "predicts something else than before"),
        (NoProbabilities, "no probabilities between 0 and 1"),
        (OneColumn, r"gave the shape \(500,\) for 500 rows; it should be \(500, 2\)"),
        (FailsToFit, "it raised ValueError: Input X contains NaN"),
        (lambda: 7, "returned int 7; this should be an unfitted classifier"),
        (Good(), "this should be a function or class, not Good"),
    ],
)
def test_what_cannot_be_saved_or_explained_is_refused_with_what_to_do(rows, value, says):
    with pytest.raises(PluginError, match=says) as error:
        fit_plugin_learner(rows, learner(value))
    assert str(error.value).startswith("plug-in 'mine' (leadloop.learners, acme_leads:mine): ")


def test_a_learner_of_a_module_can_be_a_candidate_but_not_be_saved(rows):
    with pytest.raises(PluginError, match="register it in the pyproject"):
        fit_plugin_learner(rows, learner(Good, package=None))


def test_weights_are_given_to_a_learner_that_takes_them_and_missed_by_one_that_does_not(rows):
    got = []

    class Weighted(Good):
        def fit(self, matrix, y, sample_weight=None):
            got.append(sample_weight)
            return self

    class Plain(Good):
        def fit(self, matrix, y):
            return self

    weighted = replace(rows, weights=np.full(len(rows), 2.0))
    learner(Weighted).fit(weighted, 0)
    assert np.array_equal(got[0], weighted.weights)
    with pytest.raises(PluginError, match="takes no sample_weight"):
        learner(Plain).fit(weighted, 0)
