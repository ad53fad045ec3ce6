"""Pairs of codes that decide only together, and null worlds in which no pair does.

    python tests/benchmarks/combinations.py [--seeds N] [--null N]

The world of codes: two columns, of 5,000 and 20 codes, each of which tells next to nothing; what decides is
the pair. Of each first code two of the second ones are seen, with effects that cancel. Beside the learner
stand the smoothed rate of each column and of the pair, LightGBM and the true probability, on 10,000 later
leads. In null worlds no pair has an effect of its own: the share of them in which one is chosen is the error
rate.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
import polars as pl

from models import metrics
from training.data.training_rows import TrainingRows
from training.learner.fit import fit
from training.learner.recipes import fit_additive_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CODES = ("account", "product")
LEARNED, JUDGED = 30_000, 10_000


def world_of_codes(
    rows: int, seed: int, levels: int = 5_000, few: int = 20
) -> tuple[pl.DataFrame, NDArray[np.float64], NDArray[np.float64]]:
    """Columns with whole numbers as codes, outcomes, and the true probabilities."""
    random = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, levels + 1) ** 0.7
    account = random.choice(levels, rows, p=popularity / popularity.sum())
    products = np.array([random.choice(few, 2, replace=False) for _ in range(levels)])
    side = random.integers(0, 2, rows)
    effect = np.abs(random.normal(0, 1.6, levels)) * random.choice([-1, 1], levels)
    visits = random.normal(size=rows)
    p = 1 / (1 + np.exp(1.2 - np.where(side == 0, 1, -1) * effect[account] - 0.3 * visits))
    frame = pl.DataFrame(
        {
            "account": random.permutation(90_000)[:levels][account] + 10_000.0,
            "product": random.permutation(900)[:few][products[account, side]] + 100.0,
            "visits": visits,
        }
    )
    return frame, (random.random(rows) < p).astype(float), p


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The codes as text, as a CRM exports them that calls them names."""
    return frame.with_columns(pl.col(*CODES).cast(pl.Int64).cast(pl.String))


def smoothed_rates(columns: list[str], frame: pl.DataFrame, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rate of the later rows' values among the first ones, with ten rows at the rate of all."""
    known, later = frame[:LEARNED].with_columns(y=y[:LEARNED]), frame[LEARNED:]
    table = known.group_by(columns).agg(pl.col("y").sum().alias("won"), pl.len().alias("rows"))
    joined = later.join(table, on=columns, how="left", maintain_order="left").fill_null(0)
    rates = (joined["won"] + 10 * y[:LEARNED].mean()) / (joined["rows"] + 10)
    return np.asarray(rates.to_numpy())


def lightgbm_rates(frame: pl.DataFrame, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """LightGBM with its defaults, the codes as categories."""
    matrix = np.column_stack(
        [frame[name].rank("dense").to_numpy() if name in CODES else frame[name] for name in frame.columns]
    )
    places = [frame.columns.index(name) for name in CODES]
    data = lgb.Dataset(matrix[:LEARNED], y[:LEARNED], categorical_feature=places)
    booster = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 0}, data)
    return np.asarray(booster.predict(matrix[LEARNED:], num_threads=1))


def learned_rates(frame: pl.DataFrame, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The default learner."""
    predictor = fit(frame[:LEARNED], y[:LEARNED]).predictor
    return predictor.probability(predictor.log_odds(predictor.encodings.encode(frame[LEARNED:])))


def compare(seed: int) -> dict[str, tuple[float, float]]:
    """ROC AUC and log-loss of each way to foretell the later leads."""
    frame, y, p = world_of_codes(LEARNED + JUDGED, seed)
    predictions = {
        "rate of the account": smoothed_rates(["account"], frame, y),
        "rate of the product": smoothed_rates(["product"], frame, y),
        "rate of the pair": smoothed_rates([*CODES], frame, y),
        "LightGBM": lightgbm_rates(frame, y),
        "default learner, codes as text": learned_rates(as_text(frame), y),
        "default learner, codes as numbers": learned_rates(frame, y),
        "true probability": p[LEARNED:],
    }
    later = y[LEARNED:]
    return {name: (metrics.roc_auc(later, q), metrics.log_loss(later, q)) for name, q in predictions.items()}


def _columns(random: np.random.Generator, rows: int) -> tuple[NDArray[np.int64], pl.DataFrame]:
    """(rows, 4) codes of categories of 200, 30, 8 and 3 levels, the second one hanging on the first."""
    codes = random.integers(0, (200, 30, 8, 3), size=(rows, 4))
    codes[:, 1] = (codes[:, 0] + random.integers(0, 3, rows)) % 30
    frame = pl.DataFrame({f"c{place}": codes[:, place] for place in range(4)}).cast(pl.String)
    return codes, frame.with_columns(
        visits=random.poisson(3.0, rows) + 1.0, size=random.lognormal(3, 1, rows)
    )


def nothing_predicts(random: np.random.Generator, rows: int) -> TrainingRows:
    """Outcomes by lot."""
    return TrainingRows(_columns(random, rows)[1], (random.random(rows) < 0.2).astype(float))


def parts_add_up(random: np.random.Generator, rows: int) -> TrainingRows:
    """Each column has effects of its own, which add up."""
    codes, frame = _columns(random, rows)
    effects = sum(random.normal(0, 0.8, int(column.max()) + 1)[column] for column in codes.T)
    log_odds = effects - 1.5 + 0.2 * frame["visits"].to_numpy()
    return TrainingRows(frame, (random.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(float))


def leads_differ(random: np.random.Generator, rows: int) -> TrainingRows:
    """Leads differ in what no column tells, and each has eight snapshots with the same outcome."""
    few = max(50, rows // 8)
    frame = _columns(random, few)[1]
    y = (random.random(few) < 1 / (1 + np.exp(1.5 - random.normal(0, 1.5, few)))).astype(float)
    lead = np.repeat(np.arange(few), 8)
    return replace(TrainingRows(frame, y).take(lead), groups=lead)


def level_drifts(random: np.random.Generator, rows: int) -> TrainingRows:
    """The rate swings with time, and so does how common each value is."""
    codes, frame = _columns(random, rows)
    time = np.arange(rows) / rows
    frame = frame.with_columns(c2=pl.Series((codes[:, 2] * time).astype(int)).cast(pl.String))
    y = (random.random(rows) < 1 / (1 + np.exp(1.5 - np.sin(9 * time)))).astype(float)
    return TrainingRows(frame, y, order=np.arange(rows))


NULL_WORLDS: dict[str, Callable[[np.random.Generator, int], TrainingRows]] = {
    "nothing predicts": nothing_predicts,
    "parts add up": parts_add_up,
    "leads differ, snapshots repeat": leads_differ,
    "the level drifts": level_drifts,
}


def false_choices(name: str, worlds: int, rows: int) -> int:
    """In how many null worlds a combination is chosen."""
    return sum(
        bool(fit_additive_part(NULL_WORLDS[name](np.random.default_rng(seed), rows), 0)[0].combinations)
        for seed in range(worlds)
    )


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--null", type=int, default=100)
    parser.add_argument("--rows", type=int, default=3_000)
    options = parser.parse_args(arguments)
    results = [compare(seed) for seed in range(1, options.seeds + 1)]
    for name in results[0] if results else ():
        auc, loss = np.mean([result[name] for result in results], axis=0)
        print(f"{name:34} {auc:.3f}  {loss:.4f}", flush=True)
    for name in NULL_WORLDS:
        found = false_choices(name, options.null, options.rows)
        print(f"{name:34} a combination in {found} of {options.null} worlds", flush=True)


if __name__ == "__main__":
    main()
