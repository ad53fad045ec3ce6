"""How often the intervals of scores hold the truth, on companies whose truth is known.

    python tests/benchmarks/interval_coverage.py [--leads N ...] [--seeds N] [--judges N]

Each company is drawn and learned from; then leads of another draw of the same world are scored. Their exact
probability, given all that is visible of them, is known by Bayes' rule: an interval is right if it holds it.
Coverage is of leads and companies together: what all leads of one company have in common, such as an effect
that its few outcomes got wrong, they share, so that of one company more or fewer are right than of ten.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import logit

from features.clock import DAY
from features.cohort import CohortRule, Snapshots, draw_snapshots
from features.labels import LabelSpec, compute_labels
from training.config.settings import TrainingConfig
from training.data.dataset import compute_feature_rows, from_history
from training.pipeline.fit_model import train_model
from training.simulation.ground_truth import bayes_probability, information_captured
from training.simulation.simulator import simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.conversion import ConversionModel
    from training.simulation.simulator import SimulatedCrm

    Floats = NDArray[np.float64]

SIZES = (300, 1_000, 3_000, 10_000, 40_000)
QUESTION = LabelSpec("sql", 60 * DAY)
RULE = CohortRule(on=("mql",), every=30 * DAY, until_age=60 * DAY, closed=("sql", "disqualified"))
OTHERS = 1_000


@dataclass(frozen=True, eq=False)
class Judged:
    """A model of so many ``outcomes`` and what it said of other leads, beside their (n,) true probabilities.

    ``captured`` is the share of what can be known.
    """

    outcomes: int
    recipe: str
    scores: pl.DataFrame
    truth: Floats
    captured: float

    @property
    def right(self) -> NDArray[np.bool_]:
        """(n,) whether each interval holds the truth; no interval does not."""
        low, high = (self.scores[name].fill_null(float("nan")).to_numpy() for name in ("low", "high"))
        return np.asarray((low <= self.truth) & (self.truth <= high))

    @property
    def doubted(self) -> float:
        """The share of scores that are called insufficient."""
        return 1 - float(self.scores["sufficient"].cast(pl.Float64).to_numpy().mean())

    @property
    def by_decile(self) -> list[float]:
        """The coverage in each tenth of the scores, the lowest first."""
        order = np.argsort(self.scores["log_odds"].to_numpy(), kind="stable")
        return [float(self.right[part].mean()) for part in np.array_split(order, 10)]

    @property
    def half_width(self) -> float:
        """The mean of half the widths, in log-odds; NaN where there are no intervals."""
        low, high = (logit(self.scores[name].fill_null(float("nan")).to_numpy()) for name in ("low", "high"))
        return float(np.mean(high - low) / 2)


def matured(world: SimulatedCrm) -> tuple[Snapshots, NDArray[np.int64]]:
    """The snapshots of a company whose time is over, and what became of them."""
    drawn = draw_snapshots(world.history, RULE)
    known = compute_labels(world.history, drawn, QUESTION).filter("matured").sort("as_of", "lead_id")
    return Snapshots(known.select("lead_id", "as_of")), known["label"].cast(pl.Int64).to_numpy()


def judged(leads: int, seed: int, judges: int) -> Judged:
    """A company's model on other leads of the same world."""
    dataset = from_history(simulate(leads, seed).history, RULE, QUESTION)
    return judge(train_model(dataset, TrainingConfig()).model, seed, judges)


def judge(model: ConversionModel, seed: int, judges: int) -> Judged:
    """A model on other leads of the simulated world."""
    others = simulate(judges, seed + OTHERS)
    asked, label = matured(others)
    scores = model.score_frame_with_intervals(compute_feature_rows(model.features, others.history, asked))
    truth = bayes_probability(others, asked, QUESTION.horizon)
    said = 1 / (1 + np.exp(-scores["log_odds"].to_numpy()))
    captured = information_captured(label, said, truth, float(label.mean()))
    return Judged(model.card.positives, model.card.recipe, scores, truth, captured)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--judges", type=int, default=10_000)
    asked = parser.parse_args()
    print("leads   outcomes  coverage +-s.e. (each company)       half  insufficient  by decile of score")
    for leads in asked.leads:
        found = [judged(leads, seed, asked.judges) for seed in range(1, asked.seeds + 1)]
        each = [float(one.right.mean()) for one in found]
        deciles = np.mean([one.by_decile for one in found], axis=0)
        print(
            f"{leads:6,}  {np.mean([one.outcomes for one in found]):8,.0f}  {np.mean(each):8.1%} "
            f"{np.std(each, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan:+6.1%}  "
            f"({' '.join(f'{share:.0%}' for share in each)})  {np.mean([o.half_width for o in found]):.2f}  "
            f"{np.mean([one.doubted for one in found]):.1%}  {' '.join(f'{share:.0%}' for share in deciles)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
