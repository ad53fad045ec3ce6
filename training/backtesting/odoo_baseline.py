"""The predictive lead scoring of Odoo's CRM: naive Bayes on counts of won and lost leads.

It is implemented as Odoo documents and computes it, oddities included, so that a company can compare what it
has now. How it counts:

* one row per (variable, value) and team, which starts at 0.1 won and 0.1 lost when it is first needed;
* a won lead counts in every stage, a lost one in the stage it was in and all before it;
* so every lead was in the first stage: its counts are those of all won and lost leads, and are the totals
  that the counts of stages are divided by.

Leads come from a history, as known at a moment, or from feature rows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features import batch
from features.closings import standing_transitions
from features.cohort import KEYS, Snapshots
from features.spec import (
    DisplayText,
    EventSelection,
    FeatureSet,
    FeatureSpec,
    attribute,
    history_attribute,
    recency,
)
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from features.history import LeadHistory

# As Odoo calls them, so that its own table can be put in.
STAGE, TAG = "stage_id", "tag_id"
# What a new row of counts starts at, leads that a tag needs, and the bounds of a probability in percent.
AT_FIRST = 0.1
FEWEST_TAGGED = 50
LEAST, MOST = 0.01, 99.99

Key = tuple[str, str]
"""A variable and one of its values."""

_NO_TEXT = DisplayText("{value}", "{value}")
_ENTERED = "entered:"


class UnknownStageError(ValueError):
    """A lead is in a stage that the funnel does not have."""


@dataclass(frozen=True, slots=True)
class WinLossCounts:
    """How many leads with a value were won, and how many lost."""

    won: float
    lost: float

    def __add__(self, other: WinLossCounts) -> WinLossCounts:
        return WinLossCounts(self.won + other.won, self.lost + other.lost)


NONE = WinLossCounts(0.0, 0.0)


@dataclass(frozen=True)
class LeadCase:
    """A lead as the frequency model sees it.

    Attributes:
        stage: The stage it is in.
        values: Field to value; fields that are not set are left out.
        tags: Its tags.
        team: Its sales team, if any.
    """

    stage: str
    values: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    team: str | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """The (variable, value) pairs that the lead is looked up by."""
        return (STAGE, self.stage), *self.traits

    @property
    def traits(self) -> tuple[Key, ...]:
        """The same without its stage."""
        return *self.values.items(), *((TAG, tag) for tag in self.tags)


@dataclass(frozen=True)
class FrequencyModel:
    """Counts of won and lost leads, from which any open lead gets a probability.

    Odoo's own table can be used as it is, the 0.1 included.

    Attributes:
        first_stage: The first stage of the funnel.
        counts: By team (None: leads without one) and (variable, value).

    Example:
        >>> table = FrequencyModel(
        ...     "1",
        ...     {
        ...         None: {
        ...             ("stage_id", "1"): WinLossCounts(3.1, 1.1),
        ...             ("country", "BE"): WinLossCounts(2.1, 0.1),
        ...             ("country", "FR"): WinLossCounts(1.1, 1.1),
        ...         }
        ...     },
        ... )
        >>> [table.probability(LeadCase("1", {"country": country})) for country in ("BE", "FR", "IT")]
        [95.69, 51.38, 73.81]
    """

    first_stage: str
    counts: Mapping[str | None, Mapping[Key, WinLossCounts]]

    @classmethod
    def of(cls, closed: Iterable[tuple[LeadCase, bool]], stages: Sequence[str]) -> FrequencyModel:
        """Count closed leads.

        Args:
            closed: Leads with True if won, False if lost.
            stages: The stages in the order of the funnel.

        Raises:
            UnknownStageError: A lead is in none of the stages.
        """
        counts: dict[str | None, dict[Key, WinLossCounts]] = defaultdict(dict)
        for case, won in closed:
            unit = WinLossCounts(1.0, 0.0) if won else WinLossCounts(0.0, 1.0)
            rows = counts[case.team]
            for key in (*_counted_stages(case, stages, won=won), *case.traits):
                rows[key] = rows.get(key, WinLossCounts(AT_FIRST, AT_FIRST)) + unit
        return cls(stages[0], dict(counts))

    def probability(self, case: LeadCase) -> float | None:
        """The percent in [0.01, 99.99] that the lead is won; None until leads were won and lost."""
        own = None if case.team is None else self._by_team.get(case.team)
        return (own or self._pooled).probability(case)

    def probabilities(self, cases: Iterable[LeadCase]) -> NDArray[np.float64]:
        """Compute (n,) probabilities in [0, 1], NaN where there is none."""
        percent = np.array([self.probability(case) for case in cases], dtype=np.float64)
        return percent / 100

    @cached_property
    def _by_team(self) -> dict[str | None, _CountTable]:
        return {team: _make_table(rows.items(), self.first_stage) for team, rows in self.counts.items()}

    @cached_property
    def _pooled(self) -> _CountTable:
        everything = [row for rows in self.counts.values() for row in rows.items()]
        return _make_table(everything, self.first_stage)


@dataclass(frozen=True)
class _CountTable:
    """The counts that a lead is looked up in, and by variable the totals that they are divided by."""

    counts: Mapping[Key, WinLossCounts]
    totals: Mapping[str, WinLossCounts]

    def probability(self, case: LeadCase) -> float | None:
        stage_total = self.totals.get(STAGE, NONE)
        if not stage_total.won or not stage_total.lost:
            return None
        # Odds instead of the two scores, which some hundred fields would both bring to zero.
        odds_lost = stage_total.lost / stage_total.won
        for variable, value in case.keys:
            tally, total = self.counts.get((variable, value)), self.totals.get(variable, NONE)
            if tally is not None and total.won and total.lost:
                odds_lost *= (tally.lost / total.lost) / (tally.won / total.won)
        return float(np.clip(round(100 / (1 + odds_lost), 2), LEAST, MOST))


class UnknownFieldError(ValueError):
    """A field is neither a column of the leads nor one of their attributes."""


@dataclass(frozen=True)
class OdooFields:
    """Which columns a frequency model counts: what an Odoo administrator chooses in the settings.

    Attributes:
        fields: Columns of the leads.
        stages: Those that an open lead can be in, in order.
        target: Entering it wins the lead.
        closed: Entering one of them loses it.
        team: The column of the sales team, if any.
        tags: A column of tags separated by commas, if any.
        reopen: Entering one of them opens a lost lead again.

    Raises:
        UnknownFieldError: A field is named like the model's own variables, ``stage_id`` or ``tag_id``.
    """

    fields: tuple[str, ...]
    stages: tuple[str, ...] = ("open",)
    target: str = "sql"
    closed: tuple[str, ...] = ("disqualified",)
    team: str | None = None
    tags: str | None = None
    reopen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (STAGE, TAG):
            if name in self.fields:
                msg = f"{name!r} cannot be a field; it is what the model calls its stages or its tags"
                raise UnknownFieldError(msg)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read, each once."""
        extra = (column for column in (self.team, self.tags) if column is not None)
        return tuple(dict.fromkeys((*self.fields, *extra)))


def _make_table(rows: Iterable[tuple[Key, WinLossCounts]], first_stage: str) -> _CountTable:
    """Sum the rows by key; a team's tag with fewer than ``FEWEST_TAGGED`` leads counts nowhere."""
    counts: dict[Key, WinLossCounts] = {}
    totals: dict[str, WinLossCounts] = {}
    for key, tally in rows:
        if key[0] == TAG and tally.won + tally.lost < FEWEST_TAGGED:
            continue
        counts[key] = counts.get(key, NONE) + tally
        totals[key[0]] = totals.get(key[0], NONE) + tally
    return _CountTable(counts, totals | {STAGE: counts.get((STAGE, first_stage), NONE)})


def _counted_stages(case: LeadCase, stages: Sequence[str], *, won: bool) -> list[Key]:
    """The stages that a closed lead counts in."""
    if case.stage not in stages:
        msg = f"{case.stage!r} is none of the stages{suggest(case.stage, stages)}"
        raise UnknownStageError(msg)
    last = len(stages) if won else list(stages).index(case.stage) + 1
    return [(STAGE, stage) for stage in stages[:last]]


def learn_frequencies(history: LeadHistory, fields: OdooFields) -> FrequencyModel:
    """Count every lead closed in ``history``, with its values when the CRM learned of that."""
    return FrequencyModel.of(((case, won) for _, case, won in closed_cases(history, fields)), fields.stages)


def closed_cases(history: LeadHistory, fields: OdooFields) -> Iterable[tuple[str, LeadCase, bool]]:
    """List the closed leads of ``history``: id, values when the CRM learned of it, and whether it was won."""
    closed = _closed_leads(history, fields)
    cases = open_cases(history, Snapshots(closed.select(KEYS)), fields)
    return zip(closed["lead_id"].to_list(), cases, closed["won"].to_list(), strict=True)


def open_cases(history: LeadHistory, snapshots: Snapshots, fields: OdooFields) -> list[LeadCase]:
    """Read what was visible of each lead at its snapshot, in the order of ``snapshots``."""
    features = FeatureSet(
        (*(_field_spec(history, column) for column in fields.columns), *_stage_recency_specs(fields))
    )
    rows: pl.LazyFrame = batch.compute_features(features, history, snapshots)
    ordered = snapshots.frame.join(rows.collect(), on=KEYS, how="left", maintain_order="left")
    return cases_from_rows(ordered.with_columns(_latest_stage(fields).alias(STAGE)), fields)


def cases_from_rows(rows: pl.DataFrame, fields: OdooFields) -> list[LeadCase]:
    """Convert rows with the columns of ``fields`` to cases.

    Without a column ``stage_id`` all leads are in the first stage.

    Example:
        >>> rows = pl.DataFrame({"source": ["ads", None], "vip": [1.0, 0.0]})
        >>> [case.values for case in cases_from_rows(rows, OdooFields(("source", "vip")))]
        [{'source': 'ads', 'vip': '1'}, {'vip': '0'}]
    """
    return list(_iter_cases(rows, fields))


def _iter_cases(rows: pl.DataFrame, fields: OdooFields) -> Iterator[LeadCase]:
    for row in rows.iter_rows(named=True):
        values = {name: _format_value(row[name]) for name in fields.fields if row[name] is not None}
        tags = (row[fields.tags] or "") if fields.tags else ""
        yield LeadCase(
            stage=row.get(STAGE) or fields.stages[0],
            values=values,
            tags=tuple(dict.fromkeys(tag.strip() for tag in tags.split(",") if tag.strip())),
            team=row[fields.team] if fields.team else None,
        )


def _format_value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _closed_leads(history: LeadHistory, fields: OdooFields) -> pl.DataFrame:
    """One row per closed lead by the first news: ``won``, and ``as_of``, the second in which the CRM knew."""
    standing = standing_transitions(history, fields.closed, fields.reopen)
    ends = standing.filter(pl.col("stage").is_in([fields.target, *fields.closed]))
    outcomes = ends.select(
        "lead_id", as_of=pl.max_horizontal("occurred_at", "known_at"), won=pl.col("stage") == fields.target
    )
    return outcomes.sort("as_of", ~pl.col("won"), "lead_id").unique(
        "lead_id", keep="first", maintain_order=True
    )


def _field_spec(history: LeadHistory, column: str) -> FeatureSpec:
    if column in history.lead_columns:
        return attribute(column, family="fit", says=_NO_TEXT)
    overwritten = history.attributes["name"].unique().to_list()
    if column in overwritten:
        return history_attribute(column, family="fit", says=_NO_TEXT)
    msg = f"no lead has a field {column!r}{suggest(column, [*history.lead_columns, *overwritten])}"
    raise UnknownFieldError(msg)


def _stage_recency_specs(fields: OdooFields) -> Iterator[FeatureSpec]:
    for stage in fields.stages:
        yield recency(
            EventSelection("qualification", "transitions", (stage,), label=_ENTERED + stage), _NO_TEXT
        )


def _latest_stage(fields: OdooFields) -> pl.Expr:
    """The stage entered last; of two entered in the same second, the later in the funnel."""
    ages = {stage: pl.col(f"{_ENTERED}{stage}.recency") for stage in fields.stages}
    latest = pl.min_horizontal(*ages.values())
    return pl.coalesce(
        pl.when(ages[stage] == latest).then(pl.lit(stage)) for stage in reversed(fields.stages)
    )
