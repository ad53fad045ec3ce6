"""A company that calls the leads of daily lists, as the frames of its decision log; the truth is known.

Leads arrive daily and wait until they are called. Only called leads can convert, by a chance that depends on
their features and on something hidden. They are ranked by an old model of the features alone, or by people
who see what is hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit

from features.clock import DAY
from features.spec import DisplayText, FeatureSet, attribute
from training.data.log_dataset import DecisionLogFrames

FIRST, LATER = 20_000 * DAY, 400 * DAY
NAMES = ("size", "visits", "noise")
FEATURES = FeatureSet(
    tuple(
        attribute(name, family="fit", says=DisplayText("{value}", "{value}"), unit="number") for name in NAMES
    )
)


@dataclass(frozen=True)
class Company:
    """How a company calls."""

    days: int = 60
    arrivals: int = 50
    capacity: int = 25
    explore: float = 0.4
    hidden_rank: bool = False
    hidden_effect: float = 1.2
    ignored: float = 0.0


@dataclass(frozen=True)
class Loop:
    """The log of a company, and the truth of its leads."""

    frames: DecisionLogFrames
    everybody: DecisionLogFrames
    features: np.ndarray
    chance: np.ndarray
    worth: np.ndarray
    lists: np.ndarray


def run_loop(company: Company, seed: int) -> Loop:
    """Let a company call for its days."""
    random = np.random.default_rng(seed)
    n = company.days * company.arrivals
    features, hidden = random.normal(size=(n, len(NAMES))), random.normal(size=n)
    visible = features @ [0.8, -0.5, 0.0] + 0.6 * features[:, 0] * features[:, 1]
    chance = expit(-1.5 + visible + company.hidden_effect * hidden)
    # The old model knows the first feature only a little and the product not at all.
    old = expit(-1.5 + 0.3 * features[:, 0] - 0.6 * features[:, 1])
    worth = expit(-1.5 + 0.5 * visible + hidden) if company.hidden_rank else old
    called_on, rows, lists = np.full(n, -1), [], []
    for day in range(company.days):
        waiting = np.flatnonzero((called_on < 0) & (np.arange(n) < (day + 1) * company.arrivals))
        lots = round(company.explore * company.capacity)
        ranked = waiting[np.argsort(-worth[waiting])]
        above, below = ranked[: company.capacity - lots], ranked[company.capacity - lots :]
        drawn = random.choice(below, lots, replace=False)
        by_lot = lots / len(below)
        lists.append((day + 1, FIRST + day * DAY, "", by_lot, worth[above[-1]], 1.0))
        rows += [(lead, day, 1.0, False) for lead in above] + [(lead, day, by_lot, True) for lead in drawn]
        called_on[above], called_on[drawn] = day, day
    return _as_logged(company, random, (features, chance, worth), called_on, (rows, lists))


def _as_logged(company, random, truth, called_on, logged):
    (features, chance, worth), (rows, lists) = truth, logged
    n, arrived = len(chance), FIRST + np.arange(len(chance)) // company.arrivals * DAY
    values = pl.DataFrame({name: features[:, place] for place, name in enumerate(NAMES)})
    decisions = pl.DataFrame(
        {"lead_id": [str(lead) for lead in range(n)], "as_of": arrived, "decided_at": arrived}
    ).with_columns(values.to_struct("features"), complete=True)
    leads = np.array([lead for lead, *_ in rows])
    handed_over = decisions[leads].with_columns(
        pl.Series("propensity", [chance_ for *_, chance_, _ in rows]),
        pl.Series("by_lot", [by_lot for *_, by_lot in rows]),
        pl.Series("worth", worth[leads]),
        pl.Series("handover_id", [day + 1 for _, day, *_ in rows]),
        first_decided_at="as_of",
        tenant=pl.lit(""),
    )
    ids = np.array([str(lead) for lead in leads])
    at = FIRST + called_on[leads] * DAY
    is_taken_up = random.random(len(leads)) >= company.ignored
    won = random.random(len(leads)) < chance[leads]
    outcomes = pl.DataFrame(
        {
            "lead_id": [*ids[is_taken_up], *ids[is_taken_up], "nobody"],
            "outcome": [
                *["accepted"] * is_taken_up.sum(),
                *np.where(won, "qualified", "rejected")[is_taken_up],
                "accepted",
            ],
            "occurred_at": [*at[is_taken_up], *(at[is_taken_up] + DAY), FIRST + LATER],
        }
    ).sort("occurred_at")
    names = ("handover_id", "day", "tenant", "by_lot", "cut", "at_cut")
    table = pl.DataFrame(lists, schema=names, orient="row")
    return Loop(
        DecisionLogFrames(handed_over, outcomes, FEATURES, table),
        DecisionLogFrames(decisions, outcomes, FEATURES),
        features,
        chance,
        worth,
        called_on,
    )
