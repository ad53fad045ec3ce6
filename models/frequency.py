"""The frequency model of Odoo's CRM, the scoring that its users have today: naive Bayes on plain counts.

It is written as Odoo documents and computes it, oddities included, so that a company can see what it has now
beside what it could have. How it counts:

* one row a (variable, value) and team, which starts at 0.1 won and 0.1 lost when it is first needed;
* a won lead counts in every stage, a lost one in the stage it was in and all before it;
* so the first stage has seen every lead: its counts are W and L, and the totals of the stages are these.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from features.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

# As Odoo calls them, so that its own table can be put in.
STAGE, TAG = "stage_id", "tag_id"
AT_FIRST = 0.1
FEWEST_TAGGED = 50
LEAST, MOST = 0.01, 99.99

Key = tuple[str, str]
"""A variable and one of its values."""


class UnknownStageError(ValueError):
    """A lead stands in a stage that the funnel does not have."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many leads with something in common were won, and how many lost."""

    won: float
    lost: float

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.won + other.won, self.lost + other.lost)


NONE = Tally(0.0, 0.0)


@dataclass(frozen=True)
class Case:
    """A lead as the frequency model sees it; ``values`` maps fields to values, those not set left out."""

    stage: str
    values: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    team: str | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """What the lead is looked up by."""
        return (STAGE, self.stage), *self.traits

    @property
    def traits(self) -> tuple[Key, ...]:
        """The same without its stage."""
        return *self.values.items(), *((TAG, tag) for tag in self.tags)


@dataclass(frozen=True)
class Frequencies:
    """Won and lost counts by team (None: leads without one), from which any open lead gets a probability.

    Odoo's own table can be put in as it is, the 0.1 included.

    >>> countries = {("country", "BE"): Tally(2.1, 0.1), ("country", "FR"): Tally(1.1, 1.1)}
    >>> table = Frequencies("1", {None: {("stage_id", "1"): Tally(3.1, 1.1), **countries}})
    >>> [table.probability(Case("1", {"country": country})) for country in ("BE", "FR", "IT")]
    [95.69, 51.38, 73.81]
    """

    first_stage: str
    counts: Mapping[str | None, Mapping[Key, Tally]]

    @classmethod
    def of(cls, closed: Iterable[tuple[Case, bool]], stages: Sequence[str]) -> Frequencies:
        """Count leads that are won (True) or lost; ``stages`` are in the order of the funnel."""
        counts: dict[str | None, dict[Key, Tally]] = defaultdict(dict)
        for case, won in closed:
            one = Tally(1.0, 0.0) if won else Tally(0.0, 1.0)
            rows = counts[case.team]
            for key in (*_stages_of(case, stages, won=won), *case.traits):
                rows[key] = rows.get(key, Tally(AT_FIRST, AT_FIRST)) + one
        return cls(stages[0], dict(counts))

    def probability(self, case: Case) -> float | None:
        """The percent in [0.01, 99.99] that the lead is won; None as long as no lead was closed."""
        own = None if case.team is None else self._by_team.get(case.team)
        return (own or self._pooled).probability(case)

    def probabilities(self, cases: Iterable[Case]) -> NDArray[np.float64]:
        """(n,) probabilities in [0, 1], NaN where there is none, to be judged beside a model's."""
        percent = np.array([self.probability(case) for case in cases], dtype=np.float64)
        return percent / 100

    @cached_property
    def _by_team(self) -> dict[str | None, _Book]:
        return {team: _book(rows.items(), self.first_stage) for team, rows in self.counts.items()}

    @cached_property
    def _pooled(self) -> _Book:
        everything = [row for rows in self.counts.values() for row in rows.items()]
        return _book(everything, self.first_stage)


@dataclass(frozen=True)
class _Book:
    """The counts that a lead is looked up in, and the totals that they are shares of, by variable."""

    counts: Mapping[Key, Tally]
    totals: Mapping[str, Tally]

    def probability(self, case: Case) -> float | None:
        everyone = self.totals.get(STAGE, NONE)
        if not everyone.won or not everyone.lost:
            return None
        # Odds instead of the two scores, which some hundred fields would both bring to zero.
        against = everyone.lost / everyone.won
        for variable, value in case.keys:
            tally, total = self.counts.get((variable, value)), self.totals.get(variable, NONE)
            if tally is not None and total.won and total.lost:
                against *= (tally.lost / total.lost) / (tally.won / total.won)
        return float(np.clip(round(100 / (1 + against), 2), LEAST, MOST))


def _book(rows: Iterable[tuple[Key, Tally]], first_stage: str) -> _Book:
    """Rows as they count for scoring: a team's tag with too few leads counts nowhere, not even in totals."""
    counts: dict[Key, Tally] = {}
    totals: dict[str, Tally] = {}
    for key, tally in rows:
        if key[0] == TAG and tally.won + tally.lost < FEWEST_TAGGED:
            continue
        counts[key] = counts.get(key, NONE) + tally
        totals[key[0]] = totals.get(key[0], NONE) + tally
    return _Book(counts, totals | {STAGE: counts.get((STAGE, first_stage), NONE)})


def _stages_of(case: Case, stages: Sequence[str], *, won: bool) -> list[Key]:
    """The stages that a closed lead counts in."""
    if case.stage not in stages:
        msg = f"{case.stage!r} is none of the stages{nearest(case.stage, stages)}"
        raise UnknownStageError(msg)
    last = len(stages) if won else list(stages).index(case.stage) + 1
    return [(STAGE, stage) for stage in stages[:last]]
