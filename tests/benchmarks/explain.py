"""What the contributions of trees cost by look-up and by LightGBM, and one lead in process.

Run: python tests/benchmarks/explain.py MODEL [--leads N ...]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import polars as pl
from online import lead

from features.cohort import Snapshots
from models import artifact
from models.tree_shap import build_tables
from serving.scorer import Scorer
from training.data.dataset import compute_feature_rows
from training.simulation.simulator import simulate

SIZES = (1, 100, 2_000, 50_000)
# LightGBM explains this many at most: a lead costs it the same among many.
MOST_BY_LIGHTGBM = 2_000


def cpu(call, calls):
    """CPU microseconds of a call, the best of three means, after one that does not count."""
    call()
    means = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(calls):
            call()
        means.append((time.process_time() - start) / calls)
    return 1e6 * min(means)


def median(call, times):
    """The median wall time of a call in microseconds, after one that does not count."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e6 * statistics.median(taken)


def matrix_of(model, leads):
    """The encoded matrix of so many leads of a simulated company, at most 3,000 of them different."""
    history = simulate(min(leads, 3_000), seed=5).history
    moments = history.leads.select("lead_id", as_of=pl.lit(history.observed_until, pl.Int64))
    matrix = model.predictor.encodings.encode(
        compute_feature_rows(model.features, history, Snapshots(moments))
    )
    return np.asfortranarray(np.tile(matrix, (-(-leads // len(matrix)), 1))[:leads])


def contributions(model, sizes):
    """Rows (leads, microseconds a lead by tables, by LightGBM, of all), and the largest difference."""
    predictor = model.predictor
    booster, width = predictor.booster, predictor.encodings.tree_width
    tables, largest = predictor._tree_shap_tables, 0.0
    every = matrix_of(model, max(sizes))
    rows = []
    for size in sizes:
        matrix = every[:size]
        few = np.ascontiguousarray(matrix[:MOST_BY_LIGHTGBM, :width])
        expected = np.zeros((len(few), tables.features))
        for owner, column in zip(
            predictor.encodings.owner, booster.predict(few, pred_contrib=True).T, strict=False
        ):
            expected[:, owner] += column
        largest = max(largest, np.abs(tables.contributions(few) - expected).max())
        calls = max(1, 300 // size)
        rows.append(
            (
                size,
                cpu(lambda m=matrix: tables.contributions(m[:, :width]), calls) / size,
                cpu(lambda m=few: booster.predict(m, pred_contrib=True, num_threads=1), calls) / len(few),
                cpu(lambda m=matrix: predictor.contributions(m), calls) / size,
            )
        )
    return rows, largest


def one_lead(model, times=1_000):
    """Rows (what, microseconds) of one lead with forty touchpoints, from the request to the answer."""
    scorer, request = Scorer(model), lead()
    ways = {
        "score": lambda: scorer.score([request]),
        "score with parts": lambda: scorer.score([request], with_parts=True),
        "explain, five reasons": lambda: scorer.explain([request], top=5),
        "explain, all reasons": lambda: scorer.explain([request]),
    }
    return [(what, median(way, times)) for what, way in ways.items()]


def report(model, sizes):
    """Everything, as the tables that docs/explanation/measured.md shows."""
    predictor = model.predictor
    built = cpu(
        lambda: build_tables(predictor.booster, predictor.encodings.owner, len(predictor.feature_names)), 2
    )
    rows, largest = contributions(model, sizes)
    print(f"{predictor.booster.num_trees()} trees: tables in {built / 1e3:.0f} ms, ", end="")
    print(f"{predictor._tree_shap_tables.table.nbytes / 1e6:.1f} MB; largest difference {largest:.1g}\n")
    print("| contributions, CPU microseconds a lead | of trees by tables | by `pred_contrib` | of all |")
    print("|---|---|---|---|")
    for size, *ways in rows:
        print(f"| {size:,} | " + " | ".join(f"{way:,.0f}" for way in ways) + " |")
    print("\n| one lead, 40 touchpoints, in process | microseconds |\n|---|---|")
    for what, took in one_lead(model):
        print(f"| {what} | {took:,.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a model of the simulated company")
    parser.add_argument("--leads", type=int, nargs="+", default=SIZES)
    options = parser.parse_args()
    report(artifact.load(options.model), options.leads)
