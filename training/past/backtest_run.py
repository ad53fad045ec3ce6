"""A backtest from sources to tracked run: reads, judges, writes down, tracks, in that order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from training.backtest import Settings, backtest
from training.past.backtest_record import track
from training.run import capacity_share
from training.workflow import read_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from training.config import Config
    from training.past.candidates import Candidate
    from training.past.verdict import Backtest
    from training.tracking import Tracking

RESULT, FINISHED = "backtest.json", "backtest"


def run(  # noqa: PLR0913 - each is an option of the command
    config: Config,
    out: Path,
    *,
    origins: int = 5,
    others: Sequence[Candidate] = (),
    tracking: Tracking | None = None,
    say: Callable[[str], None] = print,
) -> Backtest:
    """Backtest what ``config`` describes; finished origins and result go to ``out``, runs to ``tracking``.

    Called again after an interruption it goes on where it was. Without ``tracking`` no run is written.
    """
    dataset = read_dataset(config, out)
    for notice in dataset.notices:
        say(notice)
    settings = Settings(origins, config.training.seed, capacity_share(dataset, config.training))
    result = backtest(dataset, settings, others, out / FINISHED, say)
    fresh = out / f".{RESULT}.new"
    fresh.write_text(json.dumps(result.to_dict(), indent=1), encoding="utf-8")
    fresh.replace(out / RESULT)
    if tracking is not None:
        ref = track(result, tracking)
        say(f"run {ref.run_id} tracked in {ref.uri}")
    return result
