"""Metrics of plug-ins stand beside leadloop's own, with intervals from the same resamples."""

from __future__ import annotations

import numpy as np
import pytest

from models.metrics import brier_score
from training.backtesting import evaluation
from training.pipeline.fit_model import evaluate
from training.plugins import Plugin, PluginError
from training.stats.plugin_metrics import PluginMetric, plugin_metrics

RANDOM = np.random.default_rng(1)
P = RANDOM.random(200)
Y = (RANDOM.random(200) < P).astype(float)


def metric(function, name="mine"):
    return {name: PluginMetric(Plugin(name, "leadloop.metrics", "mine.leadloop_metrics", function))}


def brier_by_hand(y, p, weights):
    return np.average((p - y) ** 2, weights=weights)


def test_it_has_a_bootstrap_interval_like_the_others():
    figures = evaluate(Y, P, extra_metrics=metric(brier_by_hand))
    assert list(figures)[-1] == "mine"
    assert figures["mine"].value == pytest.approx(figures["brier"].value)
    assert figures["mine"].low == pytest.approx(figures["brier"].low)
    assert figures["mine"].high == pytest.approx(figures["brier"].high)
    assert {name: figure for name, figure in figures.items() if name != "mine"} == evaluate(Y, P)


def test_it_is_a_figure_of_the_backtest():
    judges = evaluation.TestRows(Y, np.arange(len(Y)) // 4, "week")
    (plain,) = evaluation.evaluate_candidates(judges, {"default": P}, 0.1, 0).values()
    (more,) = evaluation.evaluate_candidates(judges, {"default": P}, 0.1, 0, metric(brier_by_hand)).values()
    assert more.figures["mine"].value == pytest.approx(brier_score(Y, P))
    assert more.to_dict()["mine"]["low"] < more.to_dict()["mine"]["value"] < more.to_dict()["mine"]["high"]
    assert {name: value for name, value in more.to_dict().items() if name != "mine"} == plain.to_dict()


@pytest.mark.usefixtures("acme")
def test_an_installed_one_is_found():
    assert 0 < plugin_metrics()["top_tenth"](Y, P) <= 1


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda *_: None, "returned NoneType None; this should be a number"),
        (lambda *_: True, "this should be a number"),
        (lambda *given: given[0], "returned ndarray .*; this should be a number"),
        (lambda *_: float("nan"), "this should be a finite number, of 200 rows"),
        (lambda: 0.0, "it raised TypeError"),
        (0.5, "this should be a function or class, not float 0.5"),
    ],
)
def test_what_gives_no_number_is_refused(function, says):
    with pytest.raises(PluginError, match=says):
        evaluate(Y, P, extra_metrics=metric(function))


@pytest.mark.parametrize("name", ["roc_auc", "brier"])
def test_a_name_of_leadloop_is_refused(name):
    with pytest.raises(PluginError, match="has a figure of this name"):
        evaluate(Y, P, extra_metrics=metric(brier_by_hand, name))
    judges = evaluation.TestRows(Y, np.arange(len(Y)), "lead")
    for taken in (name, "log_loss", "lift_at_10", "gains"):
        with pytest.raises(PluginError, match="has a figure of this name"):
            evaluation.evaluate_candidates(judges, {"default": P}, 0.1, 0, metric(brier_by_hand, taken))
