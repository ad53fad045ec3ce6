"""The regret of the default choice on the dated public sets, and what a random split flatters.

    python tests/benchmarks/backtest.py [--data DIR] [--sets NAME ...] [--origins N]

Regret is how far a candidate's log-loss lies above the best one's at the same origin, averaged over origins.
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
from training.backtesting.backtest import BacktestSettings, backtest_candidates
from training.data.dataset import FLAT_AS_OF, Dataset, flat_features

# In the units of each set's order: olist's label takes 90 days, and its order is counted in days.
GAPS = {"olist": 90}


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


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--origins", type=int, default=5)
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"{asked.data}: no such folder; name the one that holds the public sets with --data")
    for name in asked.sets:
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
