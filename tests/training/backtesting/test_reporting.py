"""A backtest is written down: in words, in MLflow with a run for each origin, and as a figure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.metrics import Interval
from training.backtesting.evaluation import CandidateMetrics
from training.backtesting.reporting import difference_plot, format_backtest, log_backtest
from training.backtesting.results import BacktestResult, OriginResult, SplitResult
from training.registry.tracking import mlflow_client

DAY = 86_400
NAN = float("nan")
FIGURES = ("log_loss", "roc_auc", "average_precision", "brier")


def candidate_metrics(loss):
    figures = {name: Interval(loss, loss - 0.01, loss + 0.01) for name in FIGURES}
    figures["calibration_slope"] = Interval(NAN, NAN, NAN)
    return CandidateMetrics(figures, Interval(loss - 0.3, loss - 0.31, loss - 0.29), ((1.0, 1.0),))


@pytest.fixture
def result():
    named = {"default": candidate_metrics(0.3), "additive + trees": candidate_metrics(0.32)}
    origins = tuple(
        OriginResult(i * 90 * DAY, (i + 1) * 90 * DAY, 100, 50, 9, "week", named, named if i else {})
        for i in (0, 1)
    )
    return BacktestResult(
        question="sql within 60 days",
        time_ordered=True,
        origins=origins,
        splits={"temporal": SplitResult("", 100, 50, named), "grouped": SplitResult("no accounts")},
        chosen="default",
        regrets={"default": 0.0, "additive + trees": 0.06},
        differences={name: metrics.against_default for name, metrics in named.items()},
        has_dates=True,
    )


def test_it_is_a_run_with_one_nested_in_it_for_each_origin(result, tracked):
    parent = log_backtest(result, tracked)
    with mlflow_client(tracked) as client:
        nested = client.search_runs([parent.experiment_id], f"tags.mlflow.parentRunId = '{parent.run_id}'")
        whole = client.get_run(parent.run_id)
        files = {file.path for file in client.list_artifacts(parent.run_id)}
    assert {run.info.run_name for run in nested} == {"origin 1970-01-01", "origin 1970-04-01"}
    assert whole.data.metrics["regret"] == 0
    assert files == {"backtest.json", "against_default.svg"}
    assert nested[0].data.metrics["default/log_loss_low"] == pytest.approx(0.29)
    assert not any("calibration_slope" in name for name in nested[0].data.metrics)


def test_the_figure_names_every_origin_and_candidate(result):
    svg = difference_plot(result)
    assert svg.startswith("<svg")
    for text in ("1970-04-01", "additive + trees"):
        assert text in svg


def test_the_words_say_what_was_chosen_and_why_a_split_is_missing(result):
    lines = list(format_backtest(result))
    assert "grouped split: no accounts" in lines
    assert lines[-1] == "chosen: default"
    assert any("never refitted" in line for line in lines)


def test_why_there_is_no_origin_is_said_once(result):
    untimed = replace(result, splits={"temporal": SplitResult("no day")}, notes=("no day", "another"))
    lines = list(format_backtest(untimed))
    assert "temporal split: no day" in lines
    assert "another" in lines
    assert "no day" not in lines


def test_it_is_a_frame_with_a_row_for_each_origin_and_candidate(result):
    frame = result.to_frame()
    assert frame.select("origin", "candidate").rows() == [
        (f"from {day}", name)
        for day in ("1970-01-01", "1970-04-01")
        for name in ("default", "additive + trees")
    ]
    assert frame.filter(candidate="additive + trees")["log_loss"].to_list() == [0.32, 0.32]
    assert frame["log_loss_low"][0] == pytest.approx(0.29)
    assert frame["against_default"][1] == pytest.approx(0.02)


def test_in_a_notebook_the_best_of_an_origin_is_bold_and_the_least_regret_first(result):
    html = result._repr_html_()
    assert html.index("default</strong>") < html.index("additive + trees")
    assert html.count("<strong>0.3000</strong>") == len(result.origins)
    assert "<strong>0.3200" not in html
    assert repr(result) == "Backtest(sql within 60 days: 2 origins, chosen default)"


def test_without_an_origin_the_random_split_is_shown(result):
    named = {"default": candidate_metrics(0.3), "additive + trees": candidate_metrics(0.32)}
    untimed = replace(result, origins=(), splits={"random": SplitResult("", 100, 50, named)}, has_dates=False)
    assert untimed.to_frame()["origin"].unique().to_list() == ["random split"]
    assert "random split" in untimed._repr_html_()
