"""Ways to calibrate the default learner, judged on later rows.

    python tests/benchmarks/calibration.py [--data DIR] [--leads N]

``affine`` is what leadloop ships: one slope and one intercept, learned with the weights of the blend;
``none`` leaves the slope away. The others are fitted to what the learner said of rows that it had not seen,
and come on top: ``again`` a second affine map, ``beta``, ``isotonic``, and ``update_intercept``, which moves
the intercept alone by the newest fifth of those rows. Every way uses the same trained parts, and the rows
after the origin judge.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from accuracy import DATA, SETS
from backtest import dataset
from scipy.special import expit, log_expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from models import metrics
from models.calibration import PlattCalibration, update_intercept
from training.backtesting.splits import bootstrap_blocks, learning_rows, rolling_origins
from training.data.dataset import from_history
from training.learner.fit import fit_every_recipe
from training.simulation.simulator import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from training.backtesting.splits import BacktestSplit
    from training.data.dataset import Dataset

    Floats = NDArray[np.float64]

NEWEST, ORIGINS = 0.2, 3
WAYS = ("affine", "none", "again", "beta", "isotonic", "shifted")


def affine(f: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """Platt's map with leadloop's prior."""
    fitted = PlattCalibration.fit(f, y)
    return lambda g: np.asarray(expit(fitted.apply(g)))


def beta(f: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """Kull et al. (2017): a logistic regression on log p and -log(1 - p), neither slope below 0."""

    def design(g: Floats) -> Floats:
        return np.column_stack([log_expit(g), -log_expit(-g)])

    kept = [0, 1]
    while kept:
        fitted = LogisticRegression(C=1e6, max_iter=1000).fit(design(f)[:, kept], y)
        if (fitted.coef_[0] >= 0).all():
            break
        kept.pop(int(np.argmin(fitted.coef_[0])))
    if not kept:
        return lambda g: np.full(len(g), y.mean())
    return lambda g: np.asarray(fitted.predict_proba(design(g)[:, kept])[:, 1])


def isotonic(f: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """The best monotone step function, kept off 0 and 1 by one row in the slice."""
    edge = 1 / (len(y) + 2)
    fitted = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(f, y)
    return lambda g: np.asarray(fitted.predict(g))


def newest(f: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """The intercept alone, from the newest rows."""
    late = slice(-round(NEWEST * len(y)), None)
    moved = update_intercept(PlattCalibration(), f[late], y[late])
    return lambda g: np.asarray(expit(moved.apply(g)))


FITTED = {"again": affine, "beta": beta, "isotonic": isotonic, "shifted": newest}


def judged(data: Dataset, split: BacktestSplit) -> tuple[Floats, dict[str, Floats]]:
    """The outcomes after an origin, and what each way says of them."""
    fitted, _ = fit_every_recipe(learning_rows(data, split))
    rows = split.train[fitted.held_out_rows]
    late = np.argsort(data.order[rows], kind="stable")  # type: ignore[index]
    f, y = fitted.log_odds[late], data.label[rows][late].astype(np.float64)
    p = fitted.predictor
    plain = replace(
        p, calibration=PlattCalibration(1.0, 0.0 if p.calibration.slope else p.calibration.intercept)
    )
    matrix = p.encodings.encode(data.rows[split.test])
    g, raw = p.log_odds(matrix), plain.log_odds(matrix)
    said = {"affine": np.asarray(expit(g)), "none": np.asarray(expit(raw))}
    said |= {way: fit(f, y)(g) for way, fit in FITTED.items()}
    return data.label[split.test].astype(np.float64), said


def sets(asked: argparse.Namespace) -> Iterator[tuple[str, Dataset]]:
    """The public sets, and a simulated company."""
    for name in asked.sets:
        yield name, dataset(name, SETS[name](asked.data))
    rule = CohortRule(on=("mql",), every=30 * DAY, until_age=60 * DAY, closed=("sql", "disqualified"))
    yield "simulator", from_history(simulate(asked.leads, seed=1).history, rule, LabelSpec("sql", 60 * DAY))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--leads", type=int, default=6000)
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"{asked.data}: no such folder; name the one that holds the public sets with --data")
    print("set         way       log-loss  off affine (95 %)              calibration error")
    for name, data in sets(asked):
        parts = [(split, *judged(data, split)) for split in rolling_origins(data, ORIGINS)]
        y = np.concatenate([part[1] for part in parts])
        block = bootstrap_blocks(data, np.concatenate([part[0].test for part in parts]))[1]
        weights = metrics.poisson_weight_matrix(int(block.max()) + 1, 500, 0)
        said = {way: np.concatenate([part[2][way] for part in parts]) for way in WAYS}
        losses = {way: metrics.log_loss_terms(y, p) for way, p in said.items()}
        for way in WAYS:
            off = metrics.mean_interval(losses[way] - losses["affine"], block, weights)
            ece = np.mean([metrics.expected_calibration_error(part[1], part[2][way]) for part in parts])
            print(
                f"{name:11} {way:9} {losses[way].mean():.4f}    {off.value:+.4f} ({off.low:+.4f} to "
                f"{off.high:+.4f})   {ece:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
