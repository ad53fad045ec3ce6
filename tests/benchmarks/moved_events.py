"""LC017 on histories whose activities move with the outcome, and on honest ones.

    python tests/benchmarks/moved_events.py [--leads N] [--seeds N]

Honest are the company of the simulator and drawn ones: of these the intents differ, each kind of touchpoint
has rates of its own by intent (many of them are a sign against a conversion, up to five times), and of some
kinds nothing is recorded any more once a lead converted, or of all. Then three kinds become activities of a
CRM: those of converted leads move away, all of them, a part by lot, those of a part of the leads, or those of
conversions since the middle of the time; of what moved nothing is recorded after the conversion.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from training.data.dataset import from_history
from training.leakage.event_checks import events_move_with_outcome
from training.simulation.default_world import DEFAULT_WORLD
from training.simulation.simulator import simulate
from training.simulation.world import Stream

if TYPE_CHECKING:
    from features.history import LeadHistory
    from training.simulation.world import World

RULE = CohortRule(on=("created",), every=30 * DAY, closed=("sql", "disqualified"), until_age=60 * DAY)
QUESTION = LabelSpec("sql", 60 * DAY, closed=("disqualified",))
ACTIVITIES = ("activity 0", "activity 1", "activity 2")
MOVES = ("all", "half of the rows", "half of the leads", "since a day")


def drawn_world(seed: int) -> World:
    """A company with kinds of touchpoint, and intents, of its own."""
    random = np.random.default_rng([17, seed])
    slowness = random.uniform(0.3, 2)
    intents = tuple(replace(each, days_to_sql=each.days_to_sql * slowness) for each in DEFAULT_WORLD.intents)
    level = np.linspace(1, -1, len(intents))
    kinds = [f"kind {i}" for i in range(12)] + list(ACTIVITIES)
    # Of the activities of sales a neutral one, a sign for a conversion and one against it.
    slopes = [*random.uniform(-0.8, 1.2, 12), 0.0, 0.5, -0.3]
    streams = tuple(
        Stream(kind, tuple(random.uniform(0.2, 2.5) * np.exp(slope * level)))
        for kind, slope in zip(kinds, slopes, strict=True)
    )
    offers = tuple(stream for stream in DEFAULT_WORLD.streams if stream.offer is not None)
    return replace(DEFAULT_WORLD, intents=intents, streams=(*streams, *offers))


def conversions(history: LeadHistory) -> pl.DataFrame:
    """When each lead converted that did."""
    entered = history.transitions.filter(pl.col("stage") == "sql")
    return entered.group_by("lead_id", maintain_order=True).agg(converted=pl.col("occurred_at").min())


def stop(history: LeadHistory, kinds: list[str] | None = None) -> LeadHistory:
    """The history without rows of some kinds, or of all, after the conversion of a lead."""
    rows = history.touchpoints.join(conversions(history), on="lead_id", how="left", maintain_order="left")
    named = pl.lit(value=True) if kinds is None else pl.col("kind").is_in(kinds)
    late = named & (pl.col("occurred_at") >= pl.col("converted")).fill_null(value=False)
    return replace(history, touchpoints=rows.filter(~late).drop("converted"))


def move(history: LeadHistory, how: str, seed: int) -> LeadHistory:
    """The history without the activities that moved away on conversion."""
    random, stopped = np.random.default_rng(seed), stop(history, list(ACTIVITIES))
    when = conversions(history)
    middle = when["converted"].median()
    chosen = {
        "half of the leads": pl.Series(random.random(when.height) < 0.5),
        "since a day": when["converted"] >= middle,
    }.get(how, pl.Series(np.ones(when.height, bool)))
    rows = stopped.touchpoints
    moved = pl.col("kind").is_in(ACTIVITIES) & pl.col("lead_id").is_in(
        when["lead_id"].filter(chosen).implode()
    )
    if how == "half of the rows":
        moved &= pl.Series(random.random(rows.height) < 0.5)
    return replace(stopped, touchpoints=rows.filter(~moved))


def named(history: LeadHistory) -> list[str]:
    """The kinds that LC017 names."""
    found = events_move_with_outcome(from_history(history, RULE, QUESTION))
    return [str(message.values["kind"]).strip("'") for _, _, message in found]


def honest(seed: int, leads: int) -> dict[str, LeadHistory]:
    """Honest histories by what is special about them."""
    drawn = simulate(leads, seed, world=drawn_world(seed)).history
    random = np.random.default_rng(seed)
    some = [str(kind) for kind in random.choice(sorted(drawn.touchpoints["kind"].unique()), 5, replace=False)]
    simulated = simulate(leads, seed).history
    return {
        "simulator": simulated,
        "simulator, all stops": stop(simulated),
        "drawn": drawn,
        "drawn, five kinds stop": stop(drawn, some),
        "drawn, all stops": stop(drawn),
    }


def main() -> None:
    """Print false alarms and what is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, default=1_500)
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    alarms, kinds, found = Counter[str](), Counter[str](), Counter[str]()
    for seed in range(1, arguments.seeds + 1):
        for name, history in honest(seed, arguments.leads).items():
            alarms[name] += len(named(history))
            kinds[name] += history.touchpoints["kind"].n_unique()
        drawn = simulate(arguments.leads, seed, world=drawn_world(seed)).history
        for how in MOVES:
            found.update(f"{how}: {kind}" for kind in set(named(move(drawn, how, seed))) & set(ACTIVITIES))
    for name, count in kinds.items():
        print(f"honest, {name:24} {alarms[name]:3} of {count:5,} kinds named")
    for how in MOVES:
        shares = ", ".join(f"{found[f'{how}: {kind}'] / arguments.seeds:4.0%}" for kind in ACTIVITIES)
        print(f"moved, {how:24} neutral, for, against a conversion: {shares} named")


if __name__ == "__main__":
    main()
