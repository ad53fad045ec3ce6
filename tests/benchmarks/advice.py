"""How often a report advises what is not true, in null worlds of five kinds; and how often what is.

    nice python tests/benchmarks/advice.py [--worlds N] [--power N] [--leads N] [--learner] [--first SEED]

Each world is a company of ``advice_worlds`` with a whole report. Its score is no learned model of leadloop
but a logistic regression of seven features, out of sample by folds of leads: the analyses take scores as
input. With ``--learner`` each company has a model of leadloop's own learner and of all its features, as
``leadloop train`` would make it: half a minute each. A claim is an action of the report, or a channel, offer,
offer stage, path, week or segment that it names. It is false by the kind of world; that the model hands over
better than today's rule is false where it does not do so on the mean of all worlds of the kind. At most one
report in twenty may claim anything false.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field

import advice_worlds
import numpy as np
from advice_worlds import BEST_CHANNEL, BEST_OFFER, BEST_WEEK, CHANNELS, NULL_KINDS, OFFERS, POWER_KINDS

from training.analysis.channels import Channels
from training.analysis.mql_audit import HandoverAudit
from training.analysis.offers import Offers
from training.analysis.time_to_conversion import WEEK, TimeToConversion
from training.report.report import Report, build_report

# What a claim begins with where it is true in a kind of world that is none of power.
TRUE = {
    "nothing": (),
    "leads": ("calls",),
    "activity": ("calls", "path"),
    "mix": ("calls", "segments"),
    "seasons": ("calls", "segments"),
    "channel": ("calls", "segments", "channel"),  # beside one that is better the others are worse
    "offer": ("calls", "path", f"offer {OFFERS[BEST_OFFER]} more", "stage"),
    "week": ("calls", f"week {BEST_WEEK}"),
}
NAMED = {
    "channel": f"channel {CHANNELS[BEST_CHANNEL]} more",
    "offer": f"offer {OFFERS[BEST_OFFER]} more",
    "week": f"week {BEST_WEEK}",
}


def claims(report: Report) -> set[str]:
    """Everything that a report advises or names beyond chance."""
    actions, parts = report.actions, report.insights
    found = {"calls"} if actions.order == "model" else set()
    found |= {"hand_over"} if actions.hand_over else set()
    if isinstance(parts.channels, Channels):
        named = [channel for breakdown in parts.channels.dimensions for channel in breakdown.channels]
        found |= {f"channel {c.name} {c.verdict}" for c in named if c.verdict in ("more", "less")}
    if isinstance(parts.offers, Offers):
        for what, effects in (("offer", parts.offers.offers), ("stage", parts.offers.stages)):
            found |= {f"{what} {e.name} {e.verdict}" for e in effects if e.verdict in ("more", "less")}
        found |= {"path" for path in parts.offers.paths if path.verdict == "more"}
    if isinstance(parts.time_to_sql, TimeToConversion):
        best = parts.time_to_sql.hand_over.best
        found |= set() if best is None else {f"week {best.since // WEEK + 1}"}
        found |= {"segments"} if parts.time_to_sql.are_apart else set()
    return found


def false_claims(kind: str, found: set[str]) -> set[str]:
    """The claims that are not true in worlds of a kind; ``hand_over`` is decided by all worlds of it."""
    return {claim for claim in found if claim != "hand_over" and not claim.startswith(TRUE[kind])}


@dataclass
class Worlds:
    """The reports of all worlds of one kind."""

    kind: str
    found: list[set[str]] = field(default_factory=list)
    gained: list[float] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """Count one more report."""
        self.found.append(claims(report))
        audit = report.insights.mql_audit
        if isinstance(audit, HandoverAudit) and audit.same is not None:
            self.gained.append(audit.same.gained.value)

    @property
    def is_model_better(self) -> bool:
        """Whether the model gains on today's rule on the mean of these worlds, by two standard errors."""
        gained = np.array(self.gained)
        return len(gained) > 1 and bool(gained.mean() > 2 * gained.std() / np.sqrt(len(gained)))

    @property
    def false(self) -> list[set[str]]:
        """The false claims of each report."""
        wrong = set() if self.is_model_better else {"hand_over"}
        return [false_claims(self.kind, found) | (found & wrong) for found in self.found]

    def share(self, claim: str) -> float:
        """The share of reports with a claim."""
        return float(np.mean([claim in found for found in self.found]))


def measure(kind: str, worlds: int, leads: int, *, learner: bool = False, first: int = 0) -> Worlds:
    """Make the reports of so many companies of a kind."""
    result = Worlds(kind)
    inputs = advice_worlds.learned_report_inputs if learner else advice_worlds.report_inputs
    for seed in range(first, first + worlds):
        result.add(build_report(inputs(kind, seed, leads)))
    return result


def print_row(worlds: Worlds) -> None:
    """Print how many reports of a kind claim something false, and what."""
    wrong = Counter(" ".join(claim.split()[:1]) for found in worlds.false for claim in found)
    gain = f"{np.mean(worlds.gained):+8.1f}" if worlds.gained else "       -"
    claimed = ", ".join(f"{claim} {count}" for claim, count in wrong.most_common()) or "none"
    share = np.mean([bool(found) for found in worlds.false])
    print(f"{worlds.kind:9} {len(worlds.found):8} {share:10.1%} {gain:>22}  {claimed}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=40, help="null worlds of each kind")
    parser.add_argument("--power", type=int, default=40, help="power worlds of each kind")
    parser.add_argument("--leads", type=int, default=2000)
    parser.add_argument("--learner", action="store_true", help="leadloop's own learner makes the scores")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    asked = parser.parse_args(arguments)
    how = {"learner": asked.learner, "first": asked.first}
    print("world      reports  any false  mean gain on the rule  false claims (reports)")
    every: list[bool] = []
    for kind in NULL_KINDS if asked.worlds else ():
        worlds = measure(kind, asked.worlds, asked.leads, **how)
        every += [bool(found) for found in worlds.false]
        print_row(worlds)
    if every:
        print(f"null worlds: {np.mean(every):.1%} of {len(every)} reports claim anything false (at most 5 %)")
    for kind in POWER_KINDS if asked.power else ():
        worlds = measure(kind, asked.power, asked.leads, **how)
        print_row(worlds)
        print(f"power: {NAMED[kind]!r} in {worlds.share(NAMED[kind]):.0%} of reports (80 %)", flush=True)


if __name__ == "__main__":
    main()
