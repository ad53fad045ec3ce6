"""What a grid of snapshots that begins at another moment for each lead brings, against one of fixed ages.

    python tests/benchmarks/snapshot_grid.py [--seeds N] [--leads N] [--data DIR]

A company learns from what its CRM knew on a day, once from snapshots at 0, 60, 120, ... days of age and once
from those of ``CohortRule``, which are as many and of any age. Both models then score all leads that are open
on days to come, as in use, and the outcomes judge. Companies: the simulator's, the same converting faster and
slower, one in which leads decide within days, and the public funnel of olist.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from maturity import olist
from sklearn.metrics import log_loss, roc_auc_score

from features import cohort
from features.clock import DAY
from features.cohort import SNAPSHOT_SCHEMA, CohortRule, Snapshots, open_lead_snapshots
from features.labels import LabelSpec, compute_labels
from training.config.settings import TrainingConfig
from training.data.dataset import compute_feature_rows, from_history
from training.pipeline.fit_model import train_model
from training.simulation.default_world import DEFAULT_WORLD
from training.simulation.simulator import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.history import LeadHistory

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CLOSED = ("sql", "disqualified")
YOUNG = 60 * DAY
DAYS = 8


@dataclass(frozen=True)
class Company:
    """A history, the day on which it learns, the days on which it scores, and what it asks."""

    name: str
    history: LeadHistory
    today: int
    days: tuple[int, ...]
    label: LabelSpec
    every: int


def simulated(name: str, slowness: float, horizon: int, every: int, leads: int, seed: int) -> Company:
    """A company of the simulator whose leads convert faster or more slowly."""
    intents = tuple(
        replace(intent, days_to_sql=slowness * intent.days_to_sql) for intent in DEFAULT_WORLD.intents
    )
    crm = simulate(leads, seed=seed, world=replace(DEFAULT_WORLD, intents=intents))
    end = crm.history.observed_until
    length = end - int(crm.history.leads["created_at"].min())
    today, last = end - length // 3, end - horizon * DAY
    days = tuple(int(day) for day in np.linspace(today, last, DAYS))
    label = LabelSpec("sql", horizon * DAY, closed=("disqualified",))
    return Company(name, crm.history, today, days, label, every * DAY)


def companies(leads: int, seed: int) -> Iterator[Company]:
    """The companies of one seed."""
    yield simulated("simulator", 1.0, 60, 60, leads, seed)
    yield simulated("simulator, grid of 30 days", 1.0, 60, 30, leads, seed)
    yield simulated("three times as fast", 0.3, 30, 60, leads, seed)
    yield simulated("within days", 0.1, 14, 30, leads, seed)
    yield simulated("four times as slow", 4.0, 90, 90, leads, seed)


def public(data: Path) -> Company:
    """Olist's funnel, of which a third of the days judge."""
    case = olist(data)
    first, end = int(case.history.leads["created_at"].min()), case.history.observed_until
    today, last = end - (end - first) // 2, end - 60 * DAY
    days = tuple(int(day) for day in np.linspace(today, last, DAYS))
    return Company("olist", case.history, today, days, LabelSpec("customer", 60 * DAY), 60 * DAY)


def _fixed_ages(history, rule):
    """The grid counted from creation, which leadloop had before."""
    ends = cohort._grid_end(history, rule)
    grid = ends.select("lead_id", as_of=pl.int_ranges(pl.col("created_at") + rule.every, "end", rule.every))
    return [grid.explode("as_of").drop_nulls().cast(SNAPSHOT_SCHEMA)]


def scored(company: Company, *, fixed: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, float]:
    """Outcomes, probabilities, ages and number of training rows, and the share of scores in doubt."""
    rule = CohortRule(every=company.every, closed=(company.label.stage, *company.label.closed))
    usual = cohort._grid_moments
    if fixed:
        cohort._grid_moments = _fixed_ages
    try:
        dataset = from_history(company.history.known_before(company.today), rule, company.label)
    finally:
        cohort._grid_moments = usual
    model = train_model(dataset, TrainingConfig()).model
    outcomes, scores, ages, doubts = [], [], [], []
    for day in company.days:
        asked = open_lead_snapshots(company.history.known_before(day), rule)
        known = compute_labels(company.history, asked, company.label).filter("matured")
        rows = compute_feature_rows(
            dataset.features, company.history, Snapshots(known.select("lead_id", "as_of"))
        )
        answers = rows.select("lead_id", "as_of").hstack(
            model.score_frame_with_intervals(rows).select("probability", "insufficient")
        )
        joined = known.join(answers, on=["lead_id", "as_of"]).join(
            company.history.leads.select("lead_id", "created_at"), on="lead_id"
        )
        outcomes.append(joined["label"].to_numpy())
        scores.append(joined["probability"].to_numpy())
        ages.append((joined["as_of"] - joined["created_at"]).to_numpy())
        doubts.append((joined["insufficient"] == "outside_range").fill_null(value=False).to_numpy())
    y, age = np.concatenate(outcomes).astype(float), np.concatenate(ages)
    return y, np.concatenate(scores), age, len(dataset), float(np.concatenate(doubts)[age < YOUNG].mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--leads", type=int, default=4_000)
    parser.add_argument("--data", type=Path, default=DATA)
    asked = parser.parse_args()
    cases = [company for seed in range(1, asked.seeds + 1) for company in companies(asked.leads, seed)]
    cases += [public(asked.data)] if asked.data.exists() else []
    print("| company | rows | scored | log-loss, all | younger than 60 days | ROC AUC, younger | predicted /")
    print("| | | | | | | observed, younger | outside_range, younger |\n|---|---|---|---|---|---|---|---|")
    for company in sorted(cases, key=lambda each: each.name):
        for fixed in (True, False):
            y, p, age, rows, doubt = scored(company, fixed=fixed)
            young = age < YOUNG
            words = (
                f"{company.name}, {'fixed ages' if fixed else 'any age'}",
                f"{rows:,}",
                f"{len(y):,}",
                f"{log_loss(y, p):.4f}",
                f"{log_loss(y[young], p[young]):.4f}",
                f"{roc_auc_score(y[young], p[young]):.3f}",
                f"{p[young].mean() / y[young].mean():.2f}",
                f"{doubt:.0%}",
            )
            print("| " + " | ".join(words) + " |", flush=True)


if __name__ == "__main__":
    main()
