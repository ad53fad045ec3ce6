"""From a file to a tracked backtest, and on again after an interruption."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import polars as pl
import pytest
import small_export

from training.backtesting.run import BacktestOptions, run_backtest
from training.config.settings import Config, FlatConfig
from training.registry.tracking import mlflow_client


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr("training.backtesting.evaluation.RESAMPLES", 8)
    return Config(
        flat=FlatConfig(
            small_export.write(tmp_path, small_export.leads(300)), "Converted", id="Id", time="No"
        )
    )


def test_the_origins_of_dated_rows_are_days(config, tmp_path):
    day = pl.date(2025, 1, 1) + pl.duration(days=pl.col("No"))
    path = small_export.write(tmp_path, small_export.leads(300).with_columns(No=day))
    heard = []
    result = run_backtest(
        replace(config, flat=replace(config.flat, leads=path)), tmp_path, BacktestOptions(2), say=heard.append
    )
    days = [result.when(origin.start) for origin in result.origins]
    assert all(re.fullmatch(r"2025-\d\d-\d\d", day) for day in days)
    assert [f", before {day}:" in line for line, day in zip(heard, days, strict=False)] == [True, True]


def test_a_flat_export_is_backtested_and_tracked_and_the_result_is_reused(config, tmp_path, tracked):
    heard = []
    result = run_backtest(config, tmp_path, BacktestOptions(2), tracked, heard.append)
    assert [line for line in heard if line.startswith("origin")]
    assert json.loads((tmp_path / "backtest.json").read_text())["regret"] == result.regret
    assert len(result.origins) == 2
    with mlflow_client(tracked) as client:
        experiment = client.get_experiment_by_name("leadloop").experiment_id
        assert len(client.search_runs([experiment])) == 3
    again = []
    assert run_backtest(config, tmp_path, BacktestOptions(2), say=again.append).to_dict() == result.to_dict()
    assert not [line for line in again if line.startswith(("origin", "random"))]


@pytest.mark.parametrize(("rows", "warned"), [(80, True), (600, False)])
def test_few_positive_test_rows_are_warned_of(config, tmp_path, rows, warned):
    path = small_export.write(tmp_path, small_export.leads(rows))
    result = run_backtest(
        replace(config, flat=replace(config.flat, leads=path, time=None)), tmp_path, say=print
    )
    assert any(note.startswith("only ") and "by chance" in note for note in result.notes) is warned
