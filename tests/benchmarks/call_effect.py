"""Does calling help? Coverage, false claims and power of the answer on companies whose effect is known.

    python tests/benchmarks/call_effect.py [--companies N]

Leads have a score, something that nobody sees, and a region; a control group is left off the lists, as the
service leaves it. Outcomes come after weeks, a third of them after the horizon. In null companies a call
changes nothing, whether leads differ or not.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import polars as pl
from scipy.special import expit

from features.clock import DAY
from training.analysis.call_effect import CallEffect, estimate_call_effect
from training.data.log_dataset import outcome_definition

HORIZON = 60 * DAY
FIRST = 20_000 * DAY
DEFINITION = outcome_definition(SimpleNamespace(label="sql within 60 days"))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kind:
    """How a company's leads convert: log-odds, how much the score tells, and what a call adds.

    ``by_score`` is what it adds more to leads with a better score, ``south`` what it adds in the south alone.
    """

    base: float = -1.5
    slope: float = 1.0
    effect: float = 0.0
    by_score: float = 0.0
    south: float = 0.0
    control_share: float = 0.2
    explore: float = 0.1


NULL = {
    "nothing foretells": Kind(slope=0.0),
    "leads differ": Kind(slope=1.5),
    "rare outcomes": Kind(base=-3.5),
    "small control group": Kind(control_share=0.05),
}
REAL = {
    "calls help all": Kind(effect=0.6),
    "calls help good leads": Kind(by_score=0.5, effect=0.2, control_share=0.5),
    "calls help in the south": Kind(south=1.0, control_share=0.5),
}


@dataclass(frozen=True)
class Company:
    """The lists of a company, its outcomes, and what a call changes in truth: of all, and by region."""

    listed: pl.DataFrame
    outcomes: pl.DataFrame
    truth: float
    by_region: dict[str, float]

    def effect(self, **options: object) -> CallEffect:
        """What leadloop says of it."""
        return estimate_call_effect(self.listed, self.outcomes, DEFINITION, **options)  # type: ignore[arg-type]


def draw_company(seed: int, leads: int, kind: Kind) -> Company:
    """Draw a company with so many leads on its lists and in its control group."""
    random = np.random.default_rng(seed)
    score, hidden = random.normal(size=(2, leads))
    region = random.choice(["north", "south"], leads)
    odds = kind.base + kind.slope * score + 0.5 * hidden
    alone = expit(odds)
    called = expit(odds + kind.effect + kind.by_score * score + kind.south * (region == "south"))
    handed = random.random(leads) >= kind.control_share
    converts = random.random(leads) < np.where(handed, called, alone)
    day = FIRST + random.integers(0, 100, leads) * DAY
    # A third of the conversions come too late to count, with a call or without one.
    late = random.random(leads) < 1 / 3
    after = np.where(late, random.uniform(61, 200, leads), random.uniform(0, 60, leads)) * DAY
    ids = np.array([f"{number}" for number in range(leads)])
    outcomes = pl.DataFrame(
        {
            "lead_id": [*ids, *ids[handed], "nobody"],
            "outcome": [*np.where(converts, "won", "lost"), *["accepted"] * int(handed.sum()), "accepted"],
            "occurred_at": [*(day + after).astype(int), *(day[handed] + 3_600), FIRST + 400 * DAY],
        },
        schema_overrides={"occurred_at": pl.Int64},
    )
    listed = pl.DataFrame(
        {
            "lead_id": ids,
            "day": day,
            "handed_over": handed,
            "explored": random.random(leads) < kind.explore,
            "control_share": np.full(leads, kind.control_share),
            "log_odds": odds - 0.5 * hidden,
            "grade": np.array(["D", "C", "B", "A"])[np.digitize(odds - 0.5 * hidden, [-2.5, -1.5, -0.5])],
            "called_by_hand": np.zeros(leads, bool),
            "region": region,
        }
    )
    gain = (called - alone) * 2 / 3
    return Company(
        listed,
        outcomes,
        float(gain.mean()),
        {name: float(gain[region == name].mean()) for name in ("north", "south")},
    )


def claims(effect: CallEffect) -> set[str]:
    """What is said to be beyond chance."""
    found = {group.name for group in (effect.overall, *effect.groups) if group.is_clear}
    return found | ({"order"} if effect.qini.is_clear else set())


def measure(kind: Kind, leads: int, companies: int) -> dict[str, float]:
    """Shares of companies: the interval holds, and the whole, anything, the south, the order is claimed."""
    held, whole, anything, south, order, width = [], [], [], [], [], []
    for seed in range(companies):
        company = draw_company(seed, leads, kind)
        effect = company.effect(by=["region"])
        interval, found = effect.overall.effect, claims(effect)
        assert interval is not None
        held.append(interval.low <= company.truth <= interval.high)
        width.append(interval.high - interval.low)
        whole.append("all" in found)
        anything.append(bool(found))
        south.append("south" in found)
        order.append("order" in found)
    figures = {"held": held, "whole": whole, "any": anything, "south": south, "order": order, "width": width}
    return {name: float(np.mean(values)) for name, values in figures.items()}


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--companies", type=int, default=400, help="of each kind and size")
    asked = parser.parse_args(arguments)
    print(
        "company                   leads  control  interval holds  width  claims: whole   any  south  order"
    )
    for name, kind in (NULL | REAL).items():
        for leads in (1_000, 5_000):
            found = measure(kind, leads, asked.companies)
            print(
                f"{name:24} {leads:6,} {kind.control_share:8.0%} {found['held']:15.1%} {found['width']:6.1%} "
                f"{found['whole']:14.1%} {found['any']:5.1%} {found['south']:6.1%} {found['order']:6.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
