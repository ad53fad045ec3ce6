"""How the default learner does on public sets of leads, beside the best of four well-known learners.

    python tests/benchmarks/accuracy.py [--data DIR] [--sets NAME ...] [--recipes SEEDS]

Two protocols: ``cv``, five shuffled folds, and ``time``, later rows after earlier ones. The anchors are the
best of a logistic regression, LightGBM, CatBoost (all at their defaults) and FLAML (60 s a fit), each figure
the best of its own column. Behind the AUC stands half its 95 % bootstrap interval over the rows judged: what
other leads of the same kind would have done to it. ``--recipes`` prints what so many seeds choose of
the earlier rows instead. The sets are not part of leadloop.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from sklearn.model_selection import StratifiedKFold

from models import metrics
from training.learner.fit import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Leads:
    """A set as both protocols need it; ``later`` rows are judged by time, ``clock`` columns tell it."""

    frame: pl.DataFrame
    y: NDArray[np.int64]
    order: NDArray[np.int64]
    later: NDArray[np.bool_]
    clock: tuple[str, ...] = ()


def xeducation(data: Path) -> Leads:
    """One flat row a lead; the lead number orders them."""
    table = pl.read_csv(data / "xeducation" / "Leads.csv", infer_schema_length=None)
    afterwards = ["Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable Activity"]
    afterwards += [name for name in table.columns if name.startswith("Asymmetrique")]
    order = table["Lead Number"].to_numpy()
    newest = np.argsort(np.argsort(order)) >= round(0.8 * len(order))
    frame = _typed(table.drop("Prospect ID", "Lead Number", "Converted", *afterwards))
    return Leads(frame, table["Converted"].to_numpy(), order, newest)


def olist(data: Path) -> Leads:
    """Won within 90 days of first contact."""
    folder = data / "olist_funnel"
    leads = pl.read_csv(folder / "olist_marketing_qualified_leads_dataset.csv", try_parse_dates=True)
    deals = pl.read_csv(folder / "olist_closed_deals_dataset.csv", try_parse_dates=True)
    leads = leads.join(deals.select("mql_id", pl.col("won_date").cast(pl.Date)), on="mql_id", how="left")
    leads = leads.filter(pl.col("first_contact_date") >= dt.date(2018, 1, 1)).sort("first_contact_date")
    contact = leads["first_contact_date"]
    days = (leads["won_date"] - contact).dt.total_days()
    frame = leads.select("origin", "landing_page_id").with_columns(
        weekday=contact.dt.weekday().cast(pl.Float64), day=contact.dt.day().cast(pl.Float64)
    )
    won = days.is_between(0, 89).fill_null(value=False)
    later = (contact >= dt.date(2018, 5, 1)).to_numpy()
    return Leads(frame, won.cast(pl.Int64).to_numpy(), contact.to_physical().cast(pl.Int64).to_numpy(), later)


def shoppers(data: Path) -> Leads:
    """Web sessions; the month orders them and is then no feature."""
    table = pl.read_csv(data / "online_shoppers" / "online_shoppers_intention.csv", infer_schema_length=None)
    months = ["Jan", "Feb", "Mar", "Apr", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    order = table["Month"].replace_strict(months, range(12), return_dtype=pl.Int64).to_numpy()
    bought = table["Revenue"].cast(pl.String).str.to_lowercase() == "true"
    frame = _typed(table.drop("PageValues", "Revenue"))
    return Leads(frame, bought.cast(pl.Int64).to_numpy(), order, order >= months.index("Nov"), ("Month",))


def crm(data: Path) -> Leads:
    """Closed opportunities of a made-up pipeline: a control, in which there is next to nothing to learn."""
    folder = data / "crm_opportunities"
    table = pl.read_csv(folder / "sales_pipeline.csv", try_parse_dates=True)
    table = table.filter(pl.col("deal_stage").is_in(["Won", "Lost"])).sort("engage_date")
    for name, key in (("sales_teams", "sales_agent"), ("accounts", "account"), ("products", "product")):
        table = table.join(pl.read_csv(folder / f"{name}.csv"), on=key, how="left", maintain_order="left")
    order = table["engage_date"].to_physical().cast(pl.Int64).to_numpy()
    known = table.drop("opportunity_id", "deal_stage", "engage_date", "close_date", "close_value")
    won = (table["deal_stage"] == "Won").cast(pl.Int64).to_numpy()
    return Leads(_typed(known), won, order, order >= np.quantile(order, 0.8))


SETS: dict[str, Callable[[Path], Leads]] = {
    "xeducation": xeducation,
    "olist": olist,
    "shoppers": shoppers,
    "crm": crm,
}
MEASURES = (metrics.roc_auc, metrics.log_loss, metrics.expected_calibration_error)
# (set, protocol): ROC AUC, log-loss, calibration error of the best anchor; none for the control.
ANCHORS = {
    ("xeducation", "cv"): (0.8809, 0.4163, 0.021),
    ("xeducation", "time"): (0.8981, 0.3892, 0.027),
    ("olist", "cv"): (0.6794, 0.3333, 0.020),
    ("olist", "time"): (0.7264, 0.2697, 0.033),
    ("shoppers", "cv"): (0.7841, 0.3597, 0.016),
    ("shoppers", "time"): (0.6864, 0.4822, 0.052),
}


@dataclass(frozen=True)
class Measured:
    """Figures averaged over folds; ``half`` is that of the AUC's interval, ``seconds`` are those of a fit."""

    auc: float
    half: float
    log_loss: float
    error: float
    base_rate: float
    seconds: float
    recipes: str


def measured(leads: Leads, protocol: str) -> Measured:
    """The default learner under a protocol."""
    figures, recipes, start = [], [], time.perf_counter()
    for train, test in _splits(leads, protocol):
        by_time = protocol == "time"
        frame = leads.frame.drop(leads.clock) if by_time else leads.frame
        fitted = fit(frame[train], leads.y[train], order=leads.order[train] if by_time else None)
        predictor, y = fitted.predictor, leads.y[test]
        p = predictor.probability(predictor.log_odds(predictor.encodings.encode(frame[test])))
        base = np.full(len(test), leads.y[train].mean())
        figures.append([_squared(y, p), *(measure(y, p) for measure in MEASURES), metrics.log_loss(y, base)])
        recipes.append(fitted.recipe)
    seconds = (time.perf_counter() - start) / len(figures)
    squared, auc, loss, error, base_rate = np.mean(figures, axis=0)
    half = float(np.sqrt(squared / len(figures)))
    return Measured(auc, half, loss, error, base_rate, seconds, ", ".join(sorted(set(recipes))))


def print_recipes(name: str, leads: Leads, seeds: int) -> None:
    """One line: what the learner chooses of the earlier rows of a set under each seed, with the weights."""
    train = ~leads.later
    frame = leads.frame.drop(leads.clock).filter(train)
    y = leads.y[train].astype(np.float64)
    for seed in range(seeds):
        fitted = fit(frame, y, order=leads.order[train], seed=seed)
        weights = () if fitted.blend is None else fitted.blend.weights.round(2).tolist()
        print(
            f"{name:11} seed {seed}  {fitted.recipe}, {fitted.bag.name} trees, weights {weights}", flush=True
        )


def _squared(y: NDArray[np.int64], p: NDArray[np.float64]) -> float:
    """The square of half the interval of a fold's AUC: a variance, but for a factor."""
    found = metrics.bootstrap_intervals({"roc_auc": metrics.roc_auc}, y, p)["roc_auc"]
    return ((found.high - found.low) / 2) ** 2


def _splits(leads: Leads, protocol: str) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    if protocol == "cv":
        yield from StratifiedKFold(5, shuffle=True, random_state=42).split(leads.y, leads.y)
        return
    yield np.flatnonzero(~leads.later), np.flatnonzero(leads.later)


def _typed(table: pl.DataFrame) -> pl.DataFrame:
    """Numbers as Float64, all else as String."""
    return table.select(
        pl.col(name).cast(pl.Float64 if dtype.is_numeric() else pl.String)
        for name, dtype in table.schema.items()
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument(
        "--recipes", type=int, metavar="SEEDS", help="print what so many seeds choose instead"
    )
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"{asked.data}: no such folder; name the one that holds the public sets with --data")
    if asked.recipes:
        for name in asked.sets:
            print_recipes(name, SETS[name](asked.data), asked.recipes)
        return
    print(
        "set         protocol  AUC    half    (anchor)  log-loss (anchor)  ece   (anchor)  base  s/fit recipe"
    )
    for name in asked.sets:
        leads = SETS[name](asked.data)
        for protocol in ("cv", "time"):
            one = measured(leads, protocol)
            auc, loss, error = ANCHORS.get((name, protocol), (float("nan"),) * 3)
            print(
                f"{name:11} {protocol:8}  {one.auc:.4f} {one.half:.4f}  ({auc:.4f})  {one.log_loss:.4f}   "
                f"({loss:.4f})  {one.error:.3f} ({error:.3f})  {one.base_rate:.4f}  {one.seconds:5.1f}  "
                f"{one.recipes}",
                flush=True,
            )


if __name__ == "__main__":
    main()
