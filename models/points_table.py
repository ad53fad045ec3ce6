"""A points table as a company has it today, at work on a history: it must be judged as a model is.

The points of all rules add up. A table sees what a snapshot sees and no more, like every feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from scipy.special import logit

from features import engine
from features.catalogue import KINDS
from features.cohort import KEYS
from features.history import ACCOUNT_PREFIX
from features.nearest import nearest
from features.online import Plan
from features.spec import FeatureSet, Says, attribute, history_attribute
from models.calibration import Calibration
from models.points_rules import AttributeRule, PointsTableError, Thresholds, TouchpointRule

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from numpy.typing import NDArray

    from features.cohort import Snapshots
    from features.history import LeadHistory
    from features.record import LeadRecord

_SILENT = Says("{value}", "{value}")


@dataclass(frozen=True)
class PointsTable:
    """The rules of a company, and from how many points on it calls a lead qualified."""

    thresholds: Thresholds
    touchpoints: tuple[TouchpointRule, ...] = ()
    attributes: tuple[AttributeRule, ...] = ()

    def __post_init__(self) -> None:
        if not self.touchpoints and not self.attributes:
            msg = "a points table needs at least one rule, in [[touchpoints]] or in [[attributes]]"
            raise PointsTableError(msg)
        words = {rule.column for rule in self.attributes if rule.is_word}
        for rule in self.attributes:
            if rule.column in words and not rule.is_word:
                msg = f"{rule.column!r} cannot be both a word (value) and a number (at_least, below)"
                raise PointsTableError(msg)

    def features(self, overwritten: Container[str] = ()) -> FeatureSet:
        """The attributes that the rules read, those ``overwritten`` as they stood at the snapshot."""
        units: dict[str, Any] = {r.column: "category" if r.is_word else "number" for r in self.attributes}
        specs = (
            (history_attribute if column in overwritten else attribute)(
                column, family="fit", says=_SILENT, unit=unit
            )
            for column, unit in units.items()
        )
        return FeatureSet(tuple(specs))

    def total(self, left: NDArray[np.int64], columns: Mapping[str, pl.Series]) -> NDArray[np.float64]:
        """(n,) points from what (n, touchpoint rules) touchpoints have left, and the attributes."""
        points = np.zeros(len(left))
        for place, rule in enumerate(self.touchpoints):
            points += rule.worth(left[:, place])
        for wanted in self.attributes:
            points += wanted.points * wanted.applies(columns[wanted.column])
        return points


def points(table: PointsTable, history: LeadHistory, snapshots: Snapshots) -> pl.DataFrame:
    """``lead_id``, ``as_of``, ``points`` and ``stage`` ("mql", "sql" or null), in the order of ``snapshots``.

    Raises PointsTableError where a rule names a kind or a column that the history does not have.
    """
    check(table, history)
    overwritten = set(history.attributes["name"].unique()) - set(history.lead_columns)
    features = engine.compute(table.features(overwritten), history, snapshots).collect()
    rows = snapshots.frame.join(features, on=KEYS, how="left", maintain_order="left")
    left = rows.select(KEYS).join(
        _left(table, history, snapshots), on=KEYS, how="left", maintain_order="left"
    )
    seconds = left.select(pl.exclude(KEYS).fill_null(0)).to_numpy()
    total = table.total(seconds.reshape(len(rows), -1), rows.to_dict())
    stages = [table.thresholds.stage(value) for value in total.tolist()]
    return rows.select(KEYS).with_columns(points=pl.Series(total), stage=pl.Series(stages, dtype=pl.String))


def points_of_one(table: PointsTable, lead: LeadRecord, as_of: int) -> float:
    """The points of one lead at ``as_of``: what ``points`` gives it, to the bit."""
    seen = [
        (as_of - event["occurred_at"], event)
        for event in lead.events.get("touchpoints", ())
        if engine.known(event["occurred_at"], event["known_at"], as_of)
    ]
    left = [sum(rule.left(age) for age, event in seen if rule.matches(event)) for rule in table.touchpoints]
    overwritten = {event["name"] for event in lead.events.get("attributes", ())} - set(lead.attributes)
    features = table.features(overwritten)
    row = Plan(features)(lead, as_of)
    columns = {
        spec.name: pl.Series([row[spec.name]], dtype=pl.String if spec.is_category else pl.Float64)
        for spec in features.specs
    }
    return float(table.total(np.array([left], dtype=np.int64), columns)[0])


def check(table: PointsTable, history: LeadHistory) -> None:
    """Raise PointsTableError where a rule asks for what ``history`` does not have."""
    kinds = {*history.touchpoints["kind"].drop_nulls().unique(), *KINDS}
    for rule in table.touchpoints:
        if rule.kind not in kinds:
            msg = f"no touchpoint is of the kind {rule.kind!r}{nearest(rule.kind, sorted(kinds))}"
            raise PointsTableError(msg)
    types = _types(history)
    for wanted in table.attributes:
        if wanted.column not in types:
            msg = f"no lead has a column {wanted.column!r}{nearest(wanted.column, types)}"
            raise PointsTableError(msg)
        if types[wanted.column] is not None and (types[wanted.column] == pl.String) != wanted.is_word:
            msg = f"{wanted.column!r} holds " + (
                "numbers; ask with at_least or below" if wanted.is_word else "words; ask with value"
            )
            raise PointsTableError(msg)


def calibrated(score: NDArray[np.float64], label: NDArray[np.number]) -> Calibration:
    """What turns points into log-odds, as matured rows have it, so that any table has a probability.

    Points have a scale of their own, so the fit starts from scores of unit spread around the base rate.
    """
    rate = logit((label.sum() + 0.5) / (len(label) + 1))
    spread = float(np.std(score))
    if not spread:
        return Calibration(0.0, float(rate))
    fitted = Calibration.fit((score - score.mean()) / spread + rate, label)
    slope = fitted.slope / spread
    return Calibration(slope, float(fitted.slope * rate + fitted.intercept - slope * score.mean()))


def _left(table: PointsTable, history: LeadHistory, snapshots: Snapshots) -> pl.DataFrame:
    """What the visible touchpoints of each snapshot have left, one column a rule."""
    events, snaps = (nw.from_native(frame).lazy() for frame in (history.touchpoints, snapshots.frame))
    seen: pl.LazyFrame = engine.visible(events, snaps).to_native()
    folded = (rule.total_left.alias(f"rule {place}") for place, rule in enumerate(table.touchpoints))
    return seen.group_by(KEYS).agg(*folded).collect()


def _types(history: LeadHistory) -> dict[str, pl.DataType | None]:
    """What each attribute holds; None where that is not a matter of the column."""
    accounts = {ACCOUNT_PREFIX + name: dtype for name, dtype in history.accounts.schema.items()}
    plain = {**history.leads.schema, **accounts}
    overwritten: dict[str, pl.DataType | None] = dict.fromkeys(history.attributes["name"].unique())
    return overwritten | {name: plain[name] for name in history.lead_columns}
