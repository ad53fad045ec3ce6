"""A backtest from sources to tracked run: reads, judges, writes down, tracks, in that order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.backtest import Settings, backtest
from training.past.backtest_record import track
from training.past.challengers import logistic_regression, plain_lightgbm
from training.past.incumbents import incumbents
from training.past.tuned import tuned_lightgbm
from training.run import capacity_share
from training.sink import write_text
from training.workflow import read_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from models.points_table import PointsTable
    from training.config import Config
    from training.dataset import Dataset
    from training.past.candidates import Candidate
    from training.past.verdict import Backtest
    from training.tracking import Tracking

    Say = Callable[[str], None]

RESULT, FINISHED = "backtest.json", "backtest"


@dataclass(frozen=True)
class Wanted:
    """What a user asks of a backtest: how many origins, and who is to take part.

    ``table`` is today's points table; ``tune`` is how many seconds LightGBM is tuned at each origin.
    """

    origins: int = 5
    table: PointsTable | None = None
    tune: float = 0.0


def run(
    config: Config,
    out: Path,
    wanted: Wanted | None = None,
    tracking: Tracking | None = None,
    say: Say = print,
) -> Backtest:
    """Backtest what ``config`` describes; finished origins and result go to ``out``, runs to ``tracking``.

    Called again after an interruption it goes on where it was. Without ``tracking`` no run is written.
    """
    wanted = wanted or Wanted()
    dataset = read_dataset(config, out)
    for notice in dataset.notices:
        say(notice)
    settings = Settings(wanted.origins, config.training.seed, capacity_share(dataset, config.training))
    tuned = (tuned_lightgbm(wanted.tune, say),) if wanted.tune else ()
    others = (*_others(dataset, config, wanted.table), *tuned)
    result = backtest(dataset, settings, others, out / FINISHED, say)
    write_text(out / RESULT, json.dumps(result.to_dict(), indent=1))
    if tracking is not None:
        ref = track(result, tracking)
        say(f"run {ref.run_id} tracked in {ref.uri}")
    return result


def _others(dataset: Dataset, config: Config, table: PointsTable | None) -> Iterator[Candidate]:
    """Who takes part beside the default learner: what others would take, and what companies have today."""
    yield logistic_regression()
    yield plain_lightgbm()
    yield from incumbents(dataset, config, table)
