"""How far three ways of counting conversions were, on past days, from what later happened.

    python tests/benchmarks/maturity.py [--data DIR] [--leads N] [--seeds N]

``naive`` counts leads whose time is not over as not converted, ``matured`` leaves them out, ``ipcw`` weights
the outcomes that are known early (equal to Aalen and Johansen's estimator). Beside the distance of the last
two from the truth stands what chance does to it, leads of one week being drawn together and months differing
as much as they did until that day. ``pace since`` is what explains the rest: of the conversions that ipcw
still awaited, the share that came, 1 where leads went on converting as they had. Measured on a simulated
company, on one whose leads grow tenfold within its history, and on the public funnel of olist.
Then, for each of so many seeds, a company whose leads grow tenfold in half a year learns either way, and
later leads judge.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY, to_datetime
from features.cohort import CohortRule, Snapshots, draw_snapshots
from features.history import LEAD_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.labels import LabelSpec, compute_labels
from models import metrics
from training.backtesting.maturity_study import evaluate_rate_estimators
from training.config.settings import TrainingConfig
from training.data.dataset import compute_feature_rows, from_history
from training.pipeline.fit_model import train_model
from training.simulation.ground_truth import bayes_probability, information_captured
from training.simulation.simulator import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.data.censoring import Weights
    from training.simulation.simulator import SimulatedCrm

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HORIZONS = (30 * DAY, 60 * DAY, 90 * DAY)
WAYS: tuple[Weights, ...] = ("matured", "ipcw")
CLOSED = ("sql", "disqualified")
Z = 1.96
QUESTION = LabelSpec("sql", 60 * DAY)
RULE = CohortRule(on=("mql",), every=30 * DAY, until_age=60 * DAY, closed=CLOSED)


@dataclass(frozen=True)
class Case:
    """A history with its snapshots, the question, and the past days on which it is asked."""

    name: str
    history: LeadHistory
    drawn: Snapshots
    label: LabelSpec
    days: tuple[int, ...]


def simulated(leads: int) -> Iterator[Case]:
    """A company of the simulator, and the same with ten times as many leads at the end as at the start."""
    world = simulate(leads, seed=1)
    label = LabelSpec("sql", HORIZONS[-1])
    drawn = draw_snapshots(world.history, CohortRule(closed=CLOSED))
    start, length = world.world.start, world.world.end - world.world.start
    days = tuple(start + int(share * length) for share in (0.4, 0.55, 0.7))
    yield Case("simulator", world.history, drawn, label, days)
    age = ((drawn.frame["as_of"] - start) / length).clip(0, 1).to_numpy()
    kept = np.random.default_rng(2024).random(len(drawn)) < 10.0 ** (age - 1)
    yield Case("growing", world.history, Snapshots(drawn.frame.filter(pl.Series(kept))), label, days)


def olist(data: Path) -> Case:
    """Leads of 2018 from their first contact; a won deal is the target, and no lead is ever closed."""
    folder = data / "olist_funnel"
    leads = pl.read_csv(folder / "olist_marketing_qualified_leads_dataset.csv", try_parse_dates=True)
    deals = pl.read_csv(folder / "olist_closed_deals_dataset.csv", try_parse_dates=True)
    seconds = pl.col("first_contact_date").cast(pl.Datetime("us")).dt.epoch("s")
    known = leads.filter(pl.col("first_contact_date") >= dt.date(2018, 1, 1)).select(
        lead_id="mql_id", created_at=seconds, account_id=pl.lit(None, pl.String)
    )
    won = deals.select(
        lead_id="mql_id",
        occurred_at=pl.col("won_date").dt.epoch("s"),
        known_at=pl.col("won_date").dt.epoch("s"),
        stage=pl.lit("customer"),
        reason=pl.lit(None, pl.String),
    )
    until = int(won["known_at"].max()) + 1  # type: ignore[arg-type]
    empty = LeadHistory.from_leads(known.cast(LEAD_SCHEMA), until)
    won = won.cast(TRANSITION_SCHEMA).join(known, on="lead_id", how="semi")
    history = replace(empty, transitions=won)
    days = tuple(
        int(dt.datetime(2018, *day, tzinfo=dt.UTC).timestamp()) for day in ((4, 15), (5, 1), (5, 31))
    )
    return Case(
        "olist", history, draw_snapshots(history, CohortRule()), LabelSpec("customer", HORIZONS[-1]), days
    )


def young(world: SimulatedCrm, seed: int, today: int) -> LeadHistory:
    """What the CRM knows ``today`` of leads that grew tenfold within the last 180 days."""
    leads = world.history.leads
    age = ((today - leads["created_at"]) / (180 * DAY)).to_numpy()
    kept = np.random.default_rng(2024 + seed).random(len(age)) < 10.0 ** -np.maximum(age, 0)
    ids = leads.filter(pl.Series(kept)).select("lead_id")
    known = world.history.known_before(today)
    tables = ("leads", "touchpoints", "transitions", "attributes")
    return replace(
        known, **{name: getattr(known, name).join(ids, on="lead_id", how="semi") for name in tables}
    )


def learned(leads: int, seed: int) -> dict[str, tuple[int, float, float]]:
    """Rows, ROC AUC and information captured of each way to learn while growing fast."""
    world = simulate(leads, seed)
    today = (world.world.start + world.world.end) // 2
    later = world.history.leads.filter(pl.col("created_at") >= today).select("lead_id")
    drawn = draw_snapshots(world.history, replace(RULE, start=today)).frame.join(
        later, on="lead_id", how="semi"
    )
    known = (
        compute_labels(world.history, Snapshots(drawn), QUESTION).filter("matured").sort("as_of", "lead_id")
    )
    asked, y = Snapshots(known.select("lead_id", "as_of")), known["label"].to_numpy()
    bayes, past = bayes_probability(world, asked, QUESTION.horizon), young(world, seed, today)
    told = {}
    for way in WAYS:
        dataset = from_history(past, RULE, QUESTION, weights=way)
        model = train_model(dataset, TrainingConfig()).model
        p = model.score_frame(compute_feature_rows(dataset.features, world.history, asked))[
            "probability"
        ].to_numpy()
        captured = information_captured(y, p, bayes, float(y.mean()))
        told[way] = (len(dataset), metrics.roc_auc(y, p), captured)
    return told


def print_rates(cases: Iterator[Case]) -> None:
    """A line for each history, past day and horizon."""
    print(
        "set        as of       days  rows    matured  truth   naive           matured (+-95 %)         ",
        end="",
    )
    print("ipcw                    months +-  pace since")
    for case in cases:
        for one in evaluate_rate_estimators(case.history, case.drawn, case.label, case.days, HORIZONS):
            ways = ((one.matured_only, one.matured_error), (one.ipcw, one.ipcw_error))
            off = [f"{way:6.1%} ({way - one.truth:+5.1%} +-{Z * error:4.1%})" for way, error in ways]
            print(
                f"{case.name:10} {to_datetime(one.today):%Y-%m-%d}  {one.horizon // DAY:3}  {one.rows:6,}  "
                f"{one.matured:6,}  {one.truth:6.1%}  {one.naive:6.1%} ({one.naive - one.truth:+5.1%})  "
                f"{'  '.join(off)}  {one.spread:8.0%}  {one.arrived_share:9.2f}",
                flush=True,
            )


def print_learning(leads: int, seeds: int) -> None:
    """A line for each company that grows, then what ipcw is worth on average."""
    print("\nseed  rows          ROC AUC           information captured   (matured, ipcw)")
    gains = []
    for seed in range(1, seeds + 1):
        rows, auc, captured = zip(*learned(leads, seed).values(), strict=True)
        gains.append(captured[1] - captured[0])
        print(
            f"{seed:4}  {rows[0]:5,} {rows[1]:5,}   {auc[0]:.4f} {auc[1]:.4f}     {captured[0]:.1%} "
            f"{captured[1]:.1%}",
            flush=True,
        )
    if seeds > 1:
        error = np.std(gains, ddof=1) / np.sqrt(seeds)
        print(f"ipcw captures {np.mean(gains):+.2%} +-{error:.2%} (s.e.) more than matured rows alone")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--leads", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"{asked.data}: no such folder; name the one that holds the public sets with --data")
    print_rates(itertools.chain(simulated(asked.leads), [olist(asked.data)]))
    print_learning(asked.leads // 2, asked.seeds)


if __name__ == "__main__":
    main()
