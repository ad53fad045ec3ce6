"""What a backtest costs beside the bare fits of its candidates, in time and memory.

    python tests/benchmarks/backtest_cost.py [--snapshots N] [--features N] [--origins N]

The fits are timed inside the backtest itself, so that a busy machine slows both alike; the memory of the bare
fits is that of a process of its own, which makes those of the newest origin alone.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from training.backtesting.backtest import BacktestSettings, backtest_candidates
from training.backtesting.candidates import BacktestCandidate, TrainingWindow, default_learner
from training.backtesting.challengers import logistic_regression, plain_lightgbm
from training.backtesting.splits import learning_rows, rolling_origins
from training.data.dataset import Dataset, from_history
from training.simulation.simulator import simulate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.backtesting.candidates import Predict

CLOSED = ("sql", "disqualified")
RULE = CohortRule(on=("created", "mql"), every=7 * DAY, until_age=60 * DAY, closed=CLOSED)
GB = 1024**2


def snapshots(count: int, features: int) -> Dataset:
    """So many snapshots of a simulated company, with so many features."""
    whole = from_history(
        simulate(max(500, count // 5), 1).history, RULE, LabelSpec("sql", 60 * DAY, settle=DAY)
    )
    kept = replace(whole.features, specs=whole.features.specs[:features])
    return replace(whole.subsample(count), features=kept, history=None)


class Timed:
    """The seconds that candidates spend on learning."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, candidate: BacktestCandidate) -> BacktestCandidate:
        """The same candidate under a clock."""

        def learn(past: TrainingWindow) -> Mapping[str, Predict]:
            start = time.perf_counter()
            learned = candidate.learn(past)
            self.seconds += time.perf_counter() - start
            return learned

        return BacktestCandidate(candidate.key, learn)


def peak() -> float:
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GB


def bare(data: Dataset, count: int) -> None:
    """The fits of the newest origin, and nothing else."""
    split = rolling_origins(data, count)[-1]
    keys = data.rows[split.train].select("lead_id", "as_of")
    past = TrainingWindow(learning_rows(data, split), keys, split.start, 0)
    for candidate in (default_learner(), logistic_regression(), plain_lightgbm()):
        candidate.learn(past)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshots", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=40)
    parser.add_argument("--origins", type=int, default=5)
    parser.add_argument("--bare", action="store_true", help="The fits of the newest origin alone.")
    asked = parser.parse_args()
    data = snapshots(asked.snapshots, asked.features)
    if asked.bare:
        bare(data, asked.origins)
        print(peak())
        return
    clock, start = Timed(), time.perf_counter()
    others = [clock(logistic_regression()), clock(plain_lightgbm())]
    with patch("training.backtesting.backtest.default_learner", lambda: clock(default_learner())):
        result = backtest_candidates(data, BacktestSettings(asked.origins), others, say=print)
    wall, most = time.perf_counter() - start, peak()
    alone = subprocess.run([sys.executable, *sys.argv, "--bare"], check=True, capture_output=True, text=True)
    print(f"{len(data):,} snapshots, {len(data.features)} features, {len(result.origins)} origins")
    print(f"wall {wall:.0f} s, {wall / clock.seconds:.2f} x the fits ({clock.seconds:.0f} s)")
    fits = float(alone.stdout)
    print(f"peak {most:.2f} GB, {most / fits:.2f} x the fits of the newest origin alone ({fits:.2f} GB)")


if __name__ == "__main__":
    main()
