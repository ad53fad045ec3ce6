"""The default learner on made-up companies of very different shape, beside what others would take.

    python tests/benchmarks/worlds.py [--seeds N] [--origins N]

Companies differ in their leads and in how slowly these convert, so that many or hardly any of their snapshots
do. Each lead is looked at several times: the rows are many, what they tell is less. Beside each candidate
stands its regret, how far its log-loss lies above that of the best one at the same origin, averaged over
origins and companies.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from training.backtesting.backtest import BacktestSettings, backtest_candidates
from training.backtesting.challengers import logistic_regression, plain_lightgbm
from training.data.dataset import Dataset, from_history
from training.simulation.default_world import DEFAULT_WORLD
from training.simulation.simulator import simulate

RULE = CohortRule(on=("created", "mql"), every=14 * DAY, closed=("sql", "disqualified"))
QUESTION = LabelSpec("sql", 60 * DAY, closed=("disqualified",))


@dataclass(frozen=True)
class Shape:
    """How many leads a company has, how slowly they convert, and how many of its snapshots are kept."""

    leads: int
    slowness: float
    snapshots: int

    def rows(self, seed: int) -> Dataset:
        """The company's snapshots, the same for the same seed."""
        intents = tuple(
            replace(intent, days_to_sql=self.slowness * intent.days_to_sql)
            for intent in DEFAULT_WORLD.intents
        )
        world = replace(DEFAULT_WORLD, intents=intents)
        return from_history(simulate(self.leads, seed, world=world).history, RULE, QUESTION).subsample(
            self.snapshots
        )


SHAPES = (
    Shape(80, 0.3, 400),
    Shape(150, 1.0, 1_000),
    Shape(400, 0.3, 3_000),
    Shape(700, 4.0, 4_000),
    Shape(900, 1.0, 6_000),
    Shape(1_500, 25.0, 8_000),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--origins", type=int, default=3)
    asked = parser.parse_args()
    for shape in SHAPES:
        found = []
        for seed in range(1, asked.seeds + 1):
            dataset = shape.rows(seed)
            others = (logistic_regression(), plain_lightgbm())
            found.append(backtest_candidates(dataset, BacktestSettings(asked.origins), others).regrets)
        says = ", ".join(f"{name} {np.mean([one[name] for one in found]):.1%}" for name in found[0])
        print(
            f"{len(dataset):6,} snapshots, {dataset.label.mean():5.1%} converted; regrets: {says}", flush=True
        )


if __name__ == "__main__":
    main()
