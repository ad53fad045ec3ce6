"""Accounts of many leads: what the features of colleagues cost, and how that grows with an account.

Run: python tests/benchmarks/accounts.py [--leads N ...]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time

import numpy as np
import polars as pl

from features.catalogue import build_feature_set
from features.clock import DAY
from features.cohort import Snapshots
from features.spec import FeatureSet
from training.data.dataset import compute_feature_rows
from training.simulation.simulator import simulate

SIZES = (2_000, 20_000)
MOMENTS = (1, 5)
SMALL = 25_000, 3


def account(leads, moments, size=None):
    """Leads in accounts of one size (default: one account), features of colleagues, moments of each lead."""
    history = simulate(leads, seed=1).history
    history.leads.replace_column(
        history.leads.get_column_index("account_id"),
        pl.Series("account_id", np.arange(history.leads.height) // (size or leads)).cast(pl.String),
    )
    every = build_feature_set(history)
    features = FeatureSet(tuple(spec for spec in every.specs if spec.source.startswith("account_")))
    earlier = np.random.default_rng(1).integers(0, 400 * DAY, (moments, leads)) * (moments > 1)
    keys = [
        history.leads.select("lead_id", as_of=history.observed_until - pl.Series(ages)) for ages in earlier
    ]
    return history, features, Snapshots(pl.concat(keys).unique())


def cost(leads, moments, size=None):
    """(snapshots, CPU seconds, peak GB) of the features of colleagues of accounts."""
    history, features, snapshots = account(leads, moments, size)
    start = time.process_time()
    compute_feature_rows(features, history, snapshots)
    seconds = time.process_time() - start
    unit = 1e-9 if sys.platform == "darwin" else 1.024e-6
    return len(snapshots), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def report(sizes):
    """Everything, as the table that docs/explanation/measured.md shows."""
    print("| leads | in accounts of | snapshots | CPU s | peak GB |\n|---|---|---|---|---|")
    for leads, size in [*((leads, leads) for leads in sizes), SMALL]:
        for moments in MOMENTS:
            # A process each, whose peak is its own.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                snapshots, seconds, peak = pool.apply(cost, (leads, moments, size))
            print(f"| {leads:,} | {size:,} | {snapshots:,} | {seconds:.2f} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, nargs="+", default=SIZES)
    report(parser.parse_args().leads)
