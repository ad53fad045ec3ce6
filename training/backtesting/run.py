"""A backtest from sources to tracked run: reads, judges, writes down, tracks, in that order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.backtesting.backtest import BacktestSettings, backtest_candidates
from training.backtesting.challengers import logistic_regression, optuna_lightgbm, plain_lightgbm
from training.backtesting.incumbents import current_scores
from training.backtesting.plugin_candidates import plugin_candidates
from training.backtesting.reporting import log_backtest
from training.data.load import read_dataset, resolve_capacity
from training.file_output import write_text
from training.stats.plugin_metrics import plugin_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from models.points_table import PointsTable
    from training.backtesting.candidates import BacktestCandidate
    from training.backtesting.results import BacktestResult
    from training.config.settings import Config
    from training.data.dataset import Dataset
    from training.registry.tracking import Tracking

    Say = Callable[[str], None]

RESULT, FINISHED = "backtest.json", "backtest"


@dataclass(frozen=True)
class BacktestOptions:
    """What a user asks of a backtest: how many origins, and who is to take part.

    ``table`` is today's points table; ``tune`` is how many seconds LightGBM is tuned at each origin.
    """

    origins: int = 5
    table: PointsTable | None = None
    tune: float = 0.0


def run_backtest(
    config: Config,
    out: Path,
    wanted: BacktestOptions | None = None,
    tracking: Tracking | None = None,
    say: Say = print,
) -> BacktestResult:
    """Backtest what ``config`` describes; finished origins and result go to ``out``, runs to ``tracking``.

    Called again after an interruption it goes on where it was. Without ``tracking`` no run is written.
    """
    wanted = wanted or BacktestOptions()
    dataset = read_dataset(config, out)
    for notice in dataset.notices:
        say(notice)
    settings = BacktestSettings(
        wanted.origins,
        config.training.seed,
        resolve_capacity(dataset, config.training),
        plugin_metrics(config.plugins),
    )
    tuned = (optuna_lightgbm(wanted.tune, say),) if wanted.tune else ()
    others = (*_others(dataset, config, wanted.table), *tuned)
    result = backtest_candidates(dataset, settings, others, out / FINISHED, say)
    write_text(out / RESULT, json.dumps(result.to_dict(), indent=1))
    if tracking is not None:
        ref = log_backtest(result, tracking)
        say(f"run {ref.run_id} tracked in {ref.uri}")
    return result


def _others(dataset: Dataset, config: Config, table: PointsTable | None) -> Iterator[BacktestCandidate]:
    """Who takes part beside the default learner: what others would take, and what companies have today."""
    yield logistic_regression()
    yield plain_lightgbm()
    yield from current_scores(dataset, config, table)
    yield from plugin_candidates(config.plugins)
