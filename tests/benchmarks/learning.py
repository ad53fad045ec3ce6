"""Learning: how much of the time is LightGBM's own fit, and how much is leadloop around it.

Run: python tests/benchmarks/learning.py [--snapshots N]
"""

from __future__ import annotations

import argparse
import time
from unittest.mock import patch

import lightgbm as lgb

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from training.config.settings import TrainingConfig
from training.data.dataset import from_history
from training.pipeline.fit_model import train_model
from training.simulation.simulator import simulate

RULE = CohortRule(on=("created", "mql"), every=14 * DAY, closed=("sql", "disqualified"))
LABEL = LabelSpec("sql", 60 * DAY, closed=("disqualified",))
# A lead is looked at about nine times.
PER_LEAD = 8


def dataset(snapshots):
    """So many snapshots of simulated leads, in the order of time."""
    return from_history(simulate(snapshots // PER_LEAD, seed=1).history, RULE, LABEL).subsample(snapshots)


def measured(snapshots):
    """Seconds: to compute the rows, to learn from them, and in LightGBM's binning and growing meanwhile."""
    start = time.perf_counter()
    data = dataset(snapshots)
    computed, spent = time.perf_counter(), []
    with (
        patch.object(lgb, "train", _timed(lgb.train, spent)),
        patch.object(lgb.Dataset, "construct", _timed(lgb.Dataset.construct, spent)),
    ):
        train_model(data, TrainingConfig())
    return computed - start, time.perf_counter() - computed, sum(spent)


def _timed(call, spent, inside=[]):  # noqa: B006 - shared on purpose: one call within another counts once
    def timed(*args, **more):
        if inside:
            return call(*args, **more)
        inside.append(call)
        begun = time.perf_counter()
        try:
            return call(*args, **more)
        finally:
            spent.append(time.perf_counter() - begun)
            inside.clear()

    return timed


def report(snapshots):
    """The table that docs/explanation/measured.md shows."""
    computing, learning, trees = measured(snapshots)
    print(f"\n| {snapshots:,} snapshots | seconds | share of learning |\n|---|---|---|")
    print(f"| simulate, label, compute features | {computing:.1f} | |")
    print(f"| learn, judge and grade | {learning:.1f} | 100 % |")
    print(f"| of it in LightGBM's own fit | {trees:.1f} | {trees / learning:.0%} |")
    print(f"| of it outside | {learning - trees:.1f} | {1 - trees / learning:.0%} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshots", type=int, default=200_000)
    report(parser.parse_args().snapshots)
