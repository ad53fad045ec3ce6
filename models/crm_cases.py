"""Leads of a history as the frequency model sees them: what was known of each, as of a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from features import engine
from features.cohort import KEYS, Snapshots
from features.nearest import nearest
from features.spec import FeatureSet, FeatureSpec, Rows, Says, attribute, history_attribute, recency
from models.frequency import STAGE, TAG, Case, Frequencies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from features.history import LeadHistory

_SILENT = Says("{value}", "{value}")
_ENTERED = "entered:"


class UnknownFieldError(ValueError):
    """A field is neither a column of the leads nor one of their attributes."""


@dataclass(frozen=True)
class CrmFields:
    """Which columns a frequency model reads: what an Odoo administrator chooses in the settings.

    ``stages`` are those that an open lead can stand in, in order; entering ``target`` wins it, entering one
    of ``closed`` loses it. ``tags`` is a column of words separated by commas.
    """

    fields: tuple[str, ...]
    stages: tuple[str, ...] = ("open",)
    target: str = "sql"
    closed: tuple[str, ...] = ("disqualified",)
    team: str | None = None
    tags: str | None = None

    def __post_init__(self) -> None:
        for name in (STAGE, TAG):
            if name in self.fields:
                msg = f"{name!r} cannot be a field; it is what the model calls its stages or its tags"
                raise UnknownFieldError(msg)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read, none twice."""
        extra = (column for column in (self.team, self.tags) if column is not None)
        return tuple(dict.fromkeys((*self.fields, *extra)))


def learn_frequencies(history: LeadHistory, how: CrmFields) -> Frequencies:
    """Count every lead that was closed in ``history``, as it stood when the CRM learned of that."""
    return Frequencies.of(((case, won) for _, case, won in closed_cases(history, how)), how.stages)


def closed_cases(history: LeadHistory, how: CrmFields) -> Iterable[tuple[str, Case, bool]]:
    """Every lead that was closed in ``history``: its id, how it stood then, and whether it was won."""
    closed = _closed(history, how)
    stood = cases(history, Snapshots(closed.select(KEYS)), how)
    return zip(closed["lead_id"].to_list(), stood, closed["won"].to_list(), strict=True)


def cases(history: LeadHistory, snapshots: Snapshots, how: CrmFields) -> list[Case]:
    """What was visible of each lead at its snapshot, in the order of ``snapshots``."""
    features = FeatureSet((*(_field(history, column) for column in how.columns), *_entries(how)))
    rows: pl.LazyFrame = engine.compute(features, history, snapshots)
    ordered = snapshots.frame.join(rows.collect(), on=KEYS, how="left", maintain_order="left")
    return cases_of(ordered.with_columns(_stage(how).alias(STAGE)), how)


def cases_of(rows: pl.DataFrame, how: CrmFields) -> list[Case]:
    """Rows with the columns of ``how`` as cases; without a column ``stage_id`` all stand in the first one.

    >>> rows = pl.DataFrame({"source": ["ads", None], "vip": [1.0, 0.0]})
    >>> [case.values for case in cases_of(rows, CrmFields(("source", "vip")))]
    [{'source': 'ads', 'vip': '1'}, {'vip': '0'}]
    """
    return list(_cases(rows, how))


def _cases(rows: pl.DataFrame, how: CrmFields) -> Iterator[Case]:
    for row in rows.iter_rows(named=True):
        values = {name: _word(row[name]) for name in how.fields if row[name] is not None}
        tags = (row[how.tags] or "") if how.tags else ""
        yield Case(
            stage=row.get(STAGE) or how.stages[0],
            values=values,
            tags=tuple(dict.fromkeys(tag.strip() for tag in tags.split(",") if tag.strip())),
            team=row[how.team] if how.team else None,
        )


def _word(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _closed(history: LeadHistory, how: CrmFields) -> pl.DataFrame:
    """One row a closed lead: ``won``, and as_of the second in which the CRM knew; the first news counts."""
    ends = history.transitions.filter(
        pl.col("stage").is_in([how.target, *how.closed]), pl.col("known_at") < history.observed_until
    )
    told = ends.select(
        "lead_id", as_of=pl.max_horizontal("occurred_at", "known_at"), won=pl.col("stage") == how.target
    )
    return told.sort("as_of", ~pl.col("won"), "lead_id").unique("lead_id", keep="first", maintain_order=True)


def _field(history: LeadHistory, column: str) -> FeatureSpec:
    if column in history.lead_columns:
        return attribute(column, family="fit", says=_SILENT)
    overwritten = history.attributes["name"].unique().to_list()
    if column in overwritten:
        return history_attribute(column, family="fit", says=_SILENT)
    msg = f"no lead has a field {column!r}{nearest(column, [*history.lead_columns, *overwritten])}"
    raise UnknownFieldError(msg)


def _entries(how: CrmFields) -> Iterator[FeatureSpec]:
    for stage in how.stages:
        yield recency(Rows("qualification", "transitions", (stage,), label=_ENTERED + stage), _SILENT)


def _stage(how: CrmFields) -> pl.Expr:
    """The stage entered last; of two entered in the same second, the later in the funnel."""
    ages = {stage: pl.col(f"{_ENTERED}{stage}.recency") for stage in how.stages}
    latest = pl.min_horizontal(*ages.values())
    return pl.coalesce(pl.when(ages[stage] == latest).then(pl.lit(stage)) for stage in reversed(how.stages))
