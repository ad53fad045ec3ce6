"""What a company can learn from so many conversions: how much of what can be known its model captures.

    python tests/benchmarks/learning_curve.py [--outcomes N ...] [--seeds N] [--judges N]

From 40 conversions, where the simplest model that wins must do, to 100,000. Rows are counted until so many
snapshots have converted, the earliest first. Beside each size: which recipes were chosen, what the model says
about itself (half the width of its intervals, the share of scores that it calls insufficient), the worst
company, because with little to learn from luck decides much, what a plain logistic regression captures, and
what a company costs: minutes, from its history to both judgements, and the peak of memory until then.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from resource import RUSAGE_SELF, getrusage
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from interval_coverage import OTHERS, QUESTION, RULE, Judged, judge, matured

from training.backtesting.candidates import TrainingWindow
from training.backtesting.challengers import logistic_regression
from training.config.settings import TrainingConfig
from training.data.dataset import Dataset, compute_feature_rows, from_history
from training.data.training_rows import TrainingRows
from training.pipeline.fit_model import train_model
from training.simulation.ground_truth import bayes_probability, information_captured
from training.simulation.simulator import simulate

if TYPE_CHECKING:
    from features.history import LeadHistory

OUTCOMES = (40, 100, 400, 2_000, 10_000, 40_000, 100_000)
# A lead of the simulated world comes to about so many converted snapshots.
RATE = 0.23
# Large companies differ little from one to the next, and take their time.
FEWER = {10_000: 3, 40_000: 2, 100_000: 1}
_ROWS = ("rows", "label", "order", "weights", "matured", "settled_at", "accounts")


def with_outcomes(dataset: Dataset, outcomes: int) -> Dataset:
    """The rows of the leads that came first, until so many snapshots have converted.

    Leads are counted by their number, not by their time, so that the company is as old but smaller.
    """
    lead = dataset.rows["lead_id"].rank("dense").to_numpy()
    order = np.argsort(lead, kind="stable")
    enough = np.flatnonzero(np.cumsum(dataset.label[order].astype(np.int64)) >= outcomes)
    last = lead[order[enough[0]]] if len(enough) else lead.max()
    kept = np.flatnonzero(lead <= last)
    thin = {n: None if (whole := getattr(dataset, n)) is None else whole[kept] for n in _ROWS}
    return replace(dataset, **thin)  # type: ignore[arg-type]


def company(outcomes: int, seed: int) -> LeadHistory:
    """A history with at least so many outcomes: half as many again, less where chance matters less."""
    slack = 0.5 * min(1.0, (2_000 / outcomes) ** 0.5)
    return simulate(int((1 + slack) * outcomes / RATE) + 100, seed).history


def learned(outcomes: int, seed: int, judges: int) -> tuple[Judged, float]:
    """A model of so many conversions, judged, and what a logistic regression of the same rows captures."""
    dataset = with_outcomes(from_history(company(outcomes, seed), RULE, QUESTION), outcomes)
    return judge(train_model(dataset, TrainingConfig()).model, seed, judges), plain(dataset, seed, judges)


def plain(dataset: Dataset, seed: int, judges: int) -> float:
    """The share of what can be known that a logistic regression captures of other leads of the same world."""
    rows = TrainingRows(dataset.rows.select(dataset.features.names), dataset.label, order=dataset.order)
    past = TrainingWindow(rows, dataset.rows.select("lead_id", "as_of"), None, seed)
    (tell,) = logistic_regression().learn(past).values()
    others = simulate(judges, seed + OTHERS)
    asked, label = matured(others)
    said = np.clip(tell(compute_feature_rows(dataset.features, others.history, asked)), 1e-9, 1 - 1e-9)
    truth = bayes_probability(others, asked, QUESTION.horizon)
    return information_captured(label, said, truth, float(label.mean()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outcomes", type=int, nargs="+", default=OUTCOMES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--judges", type=int, default=10_000)
    asked = parser.parse_args()
    print("outcomes  captured (worst)   logistic (worst)   half width  insufficient  minutes    GB  recipes")
    for outcomes in asked.outcomes:
        seeds, began = min(asked.seeds, FEWER.get(outcomes, asked.seeds)), perf_counter()
        pairs = [learned(outcomes, seed, asked.judges) for seed in range(1, seeds + 1)]
        found, logistic = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        captured = [one.captured for one in found]
        recipes = ", ".join(f"{name} {n}x" for name, n in Counter(one.recipe for one in found).items())
        print(
            f"{outcomes:8,}  {np.mean(captured):7.1%} ({min(captured):6.1%})  "
            f"{np.mean(logistic):7.1%} ({min(logistic):6.1%})  "
            f"{np.mean([one.half_width for one in found]):10.2f}  "
            f"{np.mean([one.doubted for one in found]):12.1%}  {(perf_counter() - began) / 60 / seeds:7.1f}  "
            f"{getrusage(RUSAGE_SELF).ru_maxrss / 1e6:4.1f}  {recipes}",
            flush=True,
        )


if __name__ == "__main__":
    main()
