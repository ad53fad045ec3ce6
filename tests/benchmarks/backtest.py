"""The regret of the default choice on the dated public sets, and what a random split flatters.

    python tests/benchmarks/backtest.py [--data DIR] [--sets NAME ...] [--origins N] [--parts]

Regret is how far a candidate's log-loss lies above the best one's at the same origin, averaged over origins.

``--parts`` prints instead what a regret consists of. The best one is known in hindsight only, so that even
who always took the best recipe on average would regret something. Printed are the regrets of the default; of
the recipe that is best on the mean of all origins; of whichever won at the origin before; of equal shares of
additive part and trees in log-odds, without a choice; and what recipes that are equally good would be made
to regret by chance (test rows drawn anew, mean differences taken out). Then the default's loss above that of
each recipe by origin, and of how many standard errors.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
from accuracy import DATA, SETS, Leads

from features.clock import DAY
from models.metrics import log_loss_per_row
from training.backtesting.backtest import BacktestSettings, backtest_candidates
from training.backtesting.candidates import DEFAULT
from training.backtesting.splits import learning_rows, rolling_origins
from training.data.dataset import FLAT_AS_OF, Dataset, flat_features
from training.learner.fit import fit_every_recipe

# In the units of each set's order: olist's label takes 90 days, and its order is counted in days.
GAPS = {"olist": 90}
DRAWN = 200


def dataset(name: str, leads: Leads) -> Dataset:
    """A public set as the backtest takes it, without the columns that tell the time."""
    frame = leads.frame.drop(leads.clock)
    rows = frame.with_columns(
        lead_id=pl.int_range(pl.len()).cast(pl.String), as_of=pl.lit(FLAT_AS_OF, pl.Int64)
    )
    features = flat_features(rows.drop("as_of"), ())
    renamed = {str(spec.of): spec.name for spec in features.specs}
    dated = name in {"olist", "crm"}
    return Dataset(
        features=features,
        rows=rows.rename(renamed),
        label=leads.y.astype(np.int8),
        question=name,
        order=leads.order * (DAY if dated else 1),
        gap=GAPS.get(name, 0) * DAY,
        has_dates=dated,
    )


def _regret(losses: np.ndarray, best: np.ndarray) -> float:
    return float(np.mean(losses / np.minimum(best, losses) - 1))


def regret_parts(data: Dataset, origins: int, seed: int = 0) -> None:
    """Print what the regret of the default consists of."""
    losses: list[dict[str, np.ndarray]] = []
    for split in rolling_origins(data, origins):
        chosen, by_recipe = fit_every_recipe(learning_rows(data, split), seed)
        frame, y = data.rows[split.test], data.label[split.test].astype(float)
        log_odds = {
            name: fitted.predictor.log_odds(fitted.predictor.encodings.encode(frame))
            for name, fitted in (by_recipe | {DEFAULT: chosen}).items()
        }
        log_odds["equal shares"] = (log_odds["additive"] + log_odds["trees"]) / 2
        losses.append({name: log_loss_per_row(y, each) for name, each in log_odds.items()})
        weights = "" if chosen.blend is None else chosen.blend.weights.round(2).tolist()
        print(f"  origin of {len(split.train):,} rows: {chosen.recipe} {weights}", flush=True)
    recipes = [name for name in losses[0] if name not in {DEFAULT, "equal shares"}]
    means = np.array([[each[name].mean() for name in recipes] for each in losses])
    best, overall = means.min(axis=1), int(means.mean(axis=0).argmin())
    default, equal = (np.array([each[name].mean() for each in losses]) for name in (DEFAULT, "equal shares"))
    before = np.array([means[k, means[k - 1].argmin()] for k in range(1, len(means))])
    random, by_chance = np.random.default_rng(seed), []
    for each in losses:
        rows = np.column_stack([each[name] for name in recipes if name != "base rate"])
        rows = rows - rows.mean(axis=0) + rows.mean()
        for _ in range(DRAWN):
            drawn = rows[random.integers(len(rows), size=len(rows))].mean(axis=0)
            by_chance.append(drawn.mean() / drawn.min() - 1)
    shown = {
        "default": _regret(default, best),
        f"best on average ({recipes[overall]})": _regret(means[:, overall], best),
        "winner of the origin before": _regret(before, best[1:]),
        "default at these": _regret(default[1:], best[1:]),
        "equal shares": _regret(equal, best),
        "by chance": float(np.mean(by_chance)),
    }
    print("  regret:", ", ".join(f"{name} {value:.2%}" for name, value in shown.items()))
    for name in (*recipes, "equal shares"):
        paired = [each[DEFAULT] - each[name] for each in losses]
        cells = [f"{d.mean():+.4f} ({d.mean() / max(d.std() / np.sqrt(len(d)), 1e-12):+.1f})" for d in paired]
        print(f"  {name:17} {' '.join(cells)}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--origins", type=int, default=5)
    parser.add_argument("--parts", action="store_true", help="print what the regret consists of instead")
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"{asked.data}: no such folder; name the one that holds the public sets with --data")
    for name in asked.sets:
        if asked.parts:
            print(name)
            regret_parts(dataset(name, SETS[name](asked.data)), asked.origins)
            continue
        start = time.perf_counter()
        result = backtest_candidates(dataset(name, SETS[name](asked.data)), BacktestSettings(asked.origins))
        print(f"{name}: {len(result.origins)} origins, {time.perf_counter() - start:.0f} s; {result.notes}")
        print(f"  chosen {result.chosen}, regret {result.regret:.2%}")
        for candidate, regret in result.regrets.items():
            off = result.differences[candidate]
            by_origin = " ".join(
                f"{origin.candidates[candidate].figures['log_loss'].value:.4f}" for origin in result.origins
            )
            static = [
                origin.static[candidate].figures["log_loss"].value
                for origin in result.origins
                if origin.static
            ]
            frozen = f"{np.mean(static):.4f}" if static else "-"
            worse = f"{off.value:+.4f} ({off.low:+.4f} to {off.high:+.4f})"
            level = f"{result.levelled[candidate]:.2%} once levelled"
            print(f"  {candidate:17} regret {regret:7.2%}, {level:20}  off {worse}")
            print(f"  {'':17} by origin {by_origin}  static {frozen}")
        for kind, split in result.splits.items():
            if split.candidates:
                figures = split.candidates["default"].figures
                print(f"  {kind:9} {figures['roc_auc'].value:.4f} {figures['log_loss'].value:.4f}")


if __name__ == "__main__":
    main()
