"""The command line and the Python interface share their defaults: same data, same model."""

from __future__ import annotations

import inspect

import numpy as np
import polars as pl
from scipy.special import expit

from training.backtesting.backtest import BacktestSettings
from training.config.settings import Config, FlatConfig, TrainingConfig
from training.data.load import read_dataset
from training.estimator import LeadClassifier, LeadModel
from training.learner.fit import fit
from training.pipeline.fit_model import train_model
from training.points.distillation import distil_points


def default(function, name):
    return inspect.signature(function).parameters[name].default


def test_every_way_to_train_has_the_same_seed():
    seeds = {
        TrainingConfig().seed,
        BacktestSettings().seed,
        LeadClassifier().seed,
        LeadModel().seed,
        default(fit, "seed"),
        default(distil_points, "seed"),
    }
    assert len(seeds) == 1


def test_the_rest_of_the_learners_options_is_nothing_on_both_ways():
    unset = {"order": None, "weights": None, "groups": None, "gap": 0, "matured": None}
    assert {name: default(fit, name) for name in unset} == unset
    assert TrainingConfig().weights == "matured"  # no weights
    assert (TrainingConfig().monotone, TrainingConfig().exclude, TrainingConfig().learner) == ((), (), None)


def test_the_same_data_give_the_same_model_to_the_byte(tmp_path):
    random = np.random.default_rng(3)
    visits, channel = random.poisson(3, 300), random.choice(["ads", "talk", "fair"], 300)
    budget = np.where(random.random(300) < 0.2, np.nan, random.lognormal(8, 1, 300).round(2))
    converted = (random.random(300) < expit(visits - 4.0 + (channel == "talk"))).astype(int)
    columns = {"visits": visits, "channel": channel, "budget": budget, "converted": converted}
    frame = pl.DataFrame(columns, nan_to_null=True).with_row_index("id")
    frame.write_csv(tmp_path / "leads.csv")
    config = Config(flat=FlatConfig(tmp_path / "leads.csv", "converted", id="id"))
    model = train_model(read_dataset(config, tmp_path), config.training).model
    classifier = LeadClassifier().fit(frame.drop("id", "converted"), frame["converted"])
    assert classifier.fitted_.predictor.to_files() == model.predictor.to_files()
