"""A backtest from the sources: read, evaluate, write ``backtest.json``, track in MLflow."""

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
    """The options of a backtest.

    Attributes:
        origins: Most origins.
        table: Today's points table, as a further candidate.
        tune: Seconds in which LightGBM is tuned at each origin; 0 leaves it out.
    """

    origins: int = 5
    table: PointsTable | None = None
    tune: float = 0.0


def run_backtest(
    config: Config,
    out: Path,
    options: BacktestOptions | None = None,
    tracking: Tracking | None = None,
    say: Say = print,
) -> BacktestResult:
    """Backtest what ``config`` describes.

    Called again after an interruption, it resumes.

    Args:
        config: Sources, label and training settings.
        out: Folder for ``backtest.json`` and the finished origins.
        options: Default five origins without points table and tuning.
        tracking: Where runs are logged; None logs none.
        say: Called with a line of text at each step.

    Returns:
        The result, as ``backtest.json`` has it.

    Raises:
        BacktestError: The rows allow neither an origin nor a random split.
    """
    options = options or BacktestOptions()
    dataset = read_dataset(config, out)
    for notice in dataset.notices:
        say(notice)
    settings = BacktestSettings(
        options.origins,
        config.training.seed,
        resolve_capacity(dataset, config.training),
        plugin_metrics(config.plugins),
    )
    tuned = (optuna_lightgbm(options.tune, say),) if options.tune else ()
    others = (*_challengers(dataset, config, options.table), *tuned)
    result = backtest_candidates(dataset, settings, others, out / FINISHED, say)
    write_text(out / RESULT, json.dumps(result.to_dict(), indent=1))
    if tracking is not None:
        ref = log_backtest(result, tracking)
        say(f"run {ref.run_id} tracked in {ref.address}")
    return result


def _challengers(dataset: Dataset, config: Config, table: PointsTable | None) -> Iterator[BacktestCandidate]:
    """The candidates beside the default learner: common alternatives, and the scores companies use today."""
    yield logistic_regression()
    yield plain_lightgbm()
    yield from current_scores(dataset, config, table)
    yield from plugin_candidates(config.plugins)
