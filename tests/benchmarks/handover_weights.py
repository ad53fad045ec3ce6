"""Learning from hand-overs alone: how near a model comes to the truth under different weights.

    python tests/benchmarks/handover_weights.py [--seeds N]

Companies call the leads of daily lists, of which some are drawn by lot; the others wait, and can be drawn on
any later day. Only called leads can convert. Where the list is an old model's, the choice tells nothing
beyond the features; where people see more than the features, it does. Each model ranks leads of a company
that it has not seen.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).parents[1]))

from handover_loop import FEATURES, Company, run_loop

from models.metrics import log_loss_per_row
from models.model_card import ModelCard
from training.data.log_dataset import dataset_from_log, outcome_definition
from training.learner.fit import fit_learning_rows
from training.learner.selection_test import selection_p_value

CARD = ModelCard("sql within 30 days", "2026-01-01", rows=9, positives=3, time_ordered=True, recipe="r")
WORLDS = {"an old model of the features": False, "people who see more": True}


def datasets(loop):
    """The rows to learn from, by what weighs them."""
    ways = {
        "everybody, uncalled as failures": (loop.everybody, None),
        "hand-overs, one day's chance": (replace(loop.frames, lists=None), None),
        "hand-overs, all alike": (loop.frames, lambda *_: 1.0),
        "hand-overs, cumulative chance": (loop.frames, None),
        "**what `--handed-over` does**": (loop.frames, selection_p_value),
    }
    definition = outcome_definition(CARD)
    return {
        name: dataset_from_log(frames, definition, CARD, selection_test=test)
        for name, (frames, test) in ways.items()
    }


def quality(dataset, fresh):
    """What the rows are worth, and a model of them on fresh leads: rank correlation, mean, log-loss."""
    predictor = fit_learning_rows(dataset.to_learning_rows()).predictor
    frame = pl.DataFrame(fresh.features, schema=list(FEATURES.names))
    log_odds = predictor.log_odds(predictor.encodings.encode(frame))
    rank = spearmanr(log_odds, fresh.chance)[0] if np.ptp(log_odds) else 0.0
    worth = len(dataset) if dataset.weights is None else dataset.weights.sum()
    mean = predictor.probability(log_odds).mean() / fresh.chance.mean()
    return worth, rank, mean, log_loss_per_row(fresh.chance, log_odds).mean()


def main(seeds):
    """Print the table."""
    for world, hidden_rank in WORLDS.items():
        print(f"\n| listed by {world} | worth rows | rank correlation | mean / truth | log-loss |")
        print("|---|---|---|---|---|")
        results, company = {}, Company(hidden_rank=hidden_rank)
        for seed in range(seeds):
            loop, fresh = run_loop(company, seed), run_loop(company, 1000 + seed)
            for name, dataset in datasets(loop).items():
                results.setdefault(name, []).append(quality(dataset, fresh))
        for name, rows in results.items():
            worth, rank, mean, loss = np.mean(rows, axis=0)
            print(f"| {name} | {worth:,.0f} | {rank:.3f} | {mean:.2f} | {loss:.4f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    main(parser.parse_args().seeds)
