"""Points tables as marketing writes them: points for what a lead did and for who it is, scored on a history.

The points of all rules add up. A table sees what a snapshot sees and no more, like every feature, so that it
is evaluated as a model is.
"""

from __future__ import annotations

from collections.abc import Mapping  # the types of the fields are read at run time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NewType

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray  # the same
from scipy.special import logit

from features import batch, point_in_time
from features.catalogue import KINDS
from features.cohort import KEYS
from features.history import ACCOUNT_PREFIX
from features.online import OnlineFeatures
from features.spec import DisplayText, FeatureSet, attribute, history_attribute
from features.suggestions import suggest
from models.calibration import PlattCalibration

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from numpy.typing import NDArray

    from features.cohort import Snapshots
    from features.history import LeadHistory
    from features.record import LeadRecord


NARROWED_BY = ("channel", "campaign", "offer", "offer_stage")

Seconds = NewType("Seconds", int)


class PointsTableError(ValueError):
    """A points table cannot be used, at all or on this history; the message says which rule and why."""


@dataclass(frozen=True)
class TouchpointRule:
    """Points for each touchpoint of a kind.

    Attributes:
        kind: The kind of touchpoint.
        points: Points for each; below 0 takes points off.
        cap: The most that all of them together move a score, in either direction; None for no limit.
        lifespan: Seconds after which a touchpoint is worth nothing; until then it is worth ``points * (1 -
            age / lifespan)``. None for points that do not fade.
        where: Further conditions by column: channel, campaign, offer or offer_stage.

    Raises:
        PointsTableError: a condition, the lifespan or the cap is not possible.
    """

    kind: str
    points: float
    cap: float | None = None
    lifespan: Seconds | None = None
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for column in self.where:
            if column not in NARROWED_BY:
                msg = f"a rule cannot be narrowed by {column!r}{suggest(column, NARROWED_BY)}"
                raise PointsTableError(msg)
        if self.lifespan is not None and self.lifespan <= 0:
            msg = "a lifespan must be above 0; leave it out where points do not fade"
            raise PointsTableError(msg)
        if self.cap is not None and self.cap < 0:
            msg = (
                f"a cap is how far the rule may move a score, in either direction; it cannot be {self.cap:g}"
            )
            raise PointsTableError(msg)

    def remaining_points(self, age: int) -> int:
        """The seconds that a touchpoint of this ``age`` has left; 1 where the rule does not fade."""
        return 1 if self.lifespan is None else max(0, self.lifespan - age)

    def capped_points(self, remaining: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) points of leads whose touchpoints together have (n,) ``remaining`` seconds left.

        Whole seconds are added up before they become points, so no order of touchpoints changes the last bit.
        """
        raw = self.points * remaining / (self.lifespan or 1)
        return raw if self.cap is None else np.clip(raw, -self.cap, self.cap)

    def matches(self, touchpoint: Mapping[str, Any]) -> bool:
        """Whether a ``touchpoint`` is one of those that the rule counts."""
        return touchpoint["kind"] == self.kind and all(
            touchpoint.get(column) == value for column, value in self.where.items()
        )

    @property
    def total_left(self) -> pl.Expr:
        """The sum of ``remaining_points`` over matching touchpoints, an expression on their ``age``."""
        matches = pl.col("kind") == self.kind
        for column, value in self.where.items():
            matches &= pl.col(column) == value
        remaining = (
            pl.lit(1) if self.lifespan is None else pl.max_horizontal(0, self.lifespan - pl.col("age"))
        )
        return pl.when(matches).then(remaining).otherwise(0).cast(pl.Int64).sum()


@dataclass(frozen=True)
class AttributeRule:
    """Points for leads whose attribute is one value, or a number in ``[at_least, below)``.

    Attributes:
        column: The attribute.
        points: Points of such a lead.
        value: The word that earns them; None for a rule on a number.
        at_least: Least number that earns them; None for no bound.
        below: The number from which on they are not earned; None for no bound.

    Raises:
        PointsTableError: neither or both of a value and a bound are named.
    """

    column: str
    points: float
    value: str | None = None
    at_least: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        bounded = self.at_least is not None or self.below is not None
        if self.is_word == bounded:
            msg = f"{self.column!r}: name the value that earns the points, or at_least and below of a number"
            raise PointsTableError(msg)

    @property
    def is_word(self) -> bool:
        """Whether the rule asks for a word rather than for a number."""
        return self.value is not None

    def applies(self, values: pl.Series) -> NDArray[np.bool_]:
        """(n,) whether leads with these ``values`` get the points; those without a value never do."""
        if self.is_word:
            mask = values == self.value
        else:
            mask = values.is_not_null()
            mask &= values >= self.at_least if self.at_least is not None else mask
            mask &= values < self.below if self.below is not None else mask
        return mask.fill_null(value=False).to_numpy()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many points on a lead is qualified.

    Attributes:
        mql: Points of a marketing-qualified lead.
        sql: Points of a sales-qualified lead, at least ``mql``.

    Raises:
        PointsTableError: ``sql`` is below ``mql``.
    """

    mql: float
    sql: float

    def __post_init__(self) -> None:
        if self.sql < self.mql:
            msg = f"the threshold of sql ({self.sql:g}) lies below that of mql ({self.mql:g})"
            raise PointsTableError(msg)

    def stage(self, points: float) -> Literal["mql", "sql"] | None:
        """What a lead with so many points is called.

        >>> [Thresholds(30, 60).stage(points) for points in (29.9, 30, 60)]
        [None, 'mql', 'sql']
        """
        if points >= self.sql:
            return "sql"
        return "mql" if points >= self.mql else None


_NO_TEXT = DisplayText("{value}", "{value}")


@dataclass(frozen=True)
class PointsTable:
    """A points table as a company uses it today. The points of all rules add up.

    A table sees what a snapshot sees and no more, like every feature.

    Attributes:
        thresholds: From how many points on a lead is qualified.
        touchpoints: Points for what a lead did.
        attributes: Points for who it is.

    Raises:
        PointsTableError: there is no rule, or an attribute is both a word and a number.
    """

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
        """The features that the attribute rules read, those ``overwritten`` as they stood at the snapshot."""
        units: dict[str, Any] = {r.column: "category" if r.is_word else "number" for r in self.attributes}
        specs = (
            (history_attribute if column in overwritten else attribute)(
                column, family="fit", says=_NO_TEXT, unit=unit
            )
            for column, unit in units.items()
        )
        return FeatureSet(tuple(specs))

    def total(self, remaining: NDArray[np.int64], columns: Mapping[str, pl.Series]) -> NDArray[np.float64]:
        """Add up the points of all rules.

        Args:
            remaining: (n, touchpoint rules) what the visible touchpoints of each rule have left, in seconds.
            columns: By attribute, its (n,) values.

        Returns:
            (n,) points.
        """
        points = np.zeros(len(remaining))
        for place, rule in enumerate(self.touchpoints):
            points += rule.capped_points(remaining[:, place])
        for attribute_rule in self.attributes:
            points += attribute_rule.points * attribute_rule.applies(columns[attribute_rule.column])
        return points


def score_points(table: PointsTable, history: LeadHistory, snapshots: Snapshots) -> pl.DataFrame:
    """Score snapshots by a points table.

    Args:
        table: The points table.
        history: What the CRM knows.
        snapshots: The snapshots to score.

    Returns:
        ``lead_id``, ``as_of``, ``points`` and ``stage`` (``"mql"``, ``"sql"`` or null), in the order of
        ``snapshots``.

    Raises:
        PointsTableError: a rule names a kind or a column that the history does not have.
    """
    validate_points_table(table, history)
    overwritten = set(history.attributes["name"].unique()) - set(history.lead_columns)
    features = batch.compute_features(table.features(overwritten), history, snapshots).collect()
    rows = snapshots.frame.join(features, on=KEYS, how="left", maintain_order="left")
    remaining = rows.select(KEYS).join(
        _remaining_by_rule(table, history, snapshots), on=KEYS, how="left", maintain_order="left"
    )
    seconds = remaining.select(pl.exclude(KEYS).fill_null(0)).to_numpy()
    total = table.total(seconds.reshape(len(rows), -1), rows.to_dict())
    stages = [table.thresholds.stage(value) for value in total.tolist()]
    return rows.select(KEYS).with_columns(points=pl.Series(total), stage=pl.Series(stages, dtype=pl.String))


def points_of_one(table: PointsTable, lead: LeadRecord, as_of: int) -> float:
    """Score one lead by a points table: what ``score_points`` gives it, to the bit.

    Args:
        table: The points table.
        lead: The lead with its events.
        as_of: Epoch seconds.

    Returns:
        The points.
    """
    visible = [
        (as_of - event["occurred_at"], event)
        for event in lead.events.get("touchpoints", ())
        if point_in_time.is_visible(event["occurred_at"], event["known_at"], as_of)
    ]
    remaining = [
        sum(rule.remaining_points(age) for age, event in visible if rule.matches(event))
        for rule in table.touchpoints
    ]
    overwritten = {event["name"] for event in lead.events.get("attributes", ())} - set(lead.attributes)
    features = table.features(overwritten)
    row = OnlineFeatures(features)(lead, as_of)
    columns = {
        spec.name: pl.Series([row[spec.name]], dtype=pl.String if spec.is_category else pl.Float64)
        for spec in features.specs
    }
    return float(table.total(np.array([remaining], dtype=np.int64), columns)[0])


def validate_points_table(table: PointsTable, history: LeadHistory) -> None:
    """Raise PointsTableError where a rule names a kind or a column that ``history`` does not have."""
    kinds = {*history.touchpoints["kind"].drop_nulls().unique(), *KINDS}
    for rule in table.touchpoints:
        if rule.kind not in kinds:
            msg = f"no touchpoint is of the kind {rule.kind!r}{suggest(rule.kind, sorted(kinds))}"
            raise PointsTableError(msg)
    types = _column_types(history)
    for attribute_rule in table.attributes:
        if attribute_rule.column not in types:
            msg = f"no lead has a column {attribute_rule.column!r}{suggest(attribute_rule.column, types)}"
            raise PointsTableError(msg)
        if (
            types[attribute_rule.column] is not None
            and (types[attribute_rule.column] == pl.String) != attribute_rule.is_word
        ):
            msg = f"{attribute_rule.column!r} holds " + (
                "numbers; ask with at_least or below" if attribute_rule.is_word else "words; ask with value"
            )
            raise PointsTableError(msg)


def calibrate_points(score: NDArray[np.float64], label: NDArray[np.number]) -> PlattCalibration:
    """Fit what turns points into log-odds, so that any table gives a probability.

    Points have a scale of their own, so the fit starts from scores of unit variance around the base rate.

    Args:
        score: (n,) points of matured rows.
        label: (n,) their outcomes, 1 or 0.

    Returns:
        Platt scaling of points; its slope is 0 where all points are equal.
    """
    rate = logit((label.sum() + 0.5) / (len(label) + 1))
    spread = float(np.std(score))
    if not spread:
        return PlattCalibration(0.0, float(rate))
    calibration = PlattCalibration.fit((score - score.mean()) / spread + rate, label)
    slope = calibration.slope / spread
    return PlattCalibration(
        slope, float(calibration.slope * rate + calibration.intercept - slope * score.mean())
    )


def _remaining_by_rule(table: PointsTable, history: LeadHistory, snapshots: Snapshots) -> pl.DataFrame:
    """What the visible touchpoints of each snapshot have left, one column a rule."""
    events, snaps = (nw.from_native(frame).lazy() for frame in (history.touchpoints, snapshots.frame))
    visible: pl.LazyFrame = batch.join_visible_events(events, snaps).to_native()
    sums = (rule.total_left.alias(f"rule {place}") for place, rule in enumerate(table.touchpoints))
    return visible.group_by(KEYS).agg(*sums).collect()


def _column_types(history: LeadHistory) -> dict[str, pl.DataType | None]:
    """The type of each attribute; None for overwritten ones, whose values say it."""
    accounts = {ACCOUNT_PREFIX + name: dtype for name, dtype in history.accounts.schema.items()}
    plain = {**history.leads.schema, **accounts}
    overwritten: dict[str, pl.DataType | None] = dict.fromkeys(history.attributes["name"].unique())
    return overwritten | {name: plain[name] for name in history.lead_columns}
