"""The rules of a points table, as marketing writes them: points for what a lead did and for who it is."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the types of the fields are read at run time
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

import numpy as np
import polars as pl
from numpy.typing import NDArray  # noqa: TC002  # the same

from features.nearest import nearest

NARROWED_BY = ("channel", "campaign", "offer", "offer_stage")
Seconds = NewType("Seconds", int)


class PointsTableError(ValueError):
    """A points table cannot be used, at all or on this history; the message says which rule and why."""


@dataclass(frozen=True)
class TouchpointRule:
    """Points for each touchpoint of a ``kind``; together they move a score by at most ``cap``.

    With a ``lifespan`` a touchpoint fades: it is worth ``points * (1 - age / lifespan)``, and nothing from
    then on. ``where`` narrows the rule to a channel, campaign, offer or offer stage.
    """

    kind: str
    points: float
    cap: float | None = None
    lifespan: Seconds | None = None
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for column in self.where:
            if column not in NARROWED_BY:
                msg = f"a rule cannot be narrowed by {column!r}{nearest(column, NARROWED_BY)}"
                raise PointsTableError(msg)
        if self.lifespan is not None and self.lifespan <= 0:
            msg = "a lifespan must be above 0; leave it out where points do not fade"
            raise PointsTableError(msg)
        if self.cap is not None and self.cap < 0:
            msg = (
                f"a cap is how far the rule may move a score, in either direction; it cannot be {self.cap:g}"
            )
            raise PointsTableError(msg)

    def left(self, age: int) -> int:
        """The seconds that a touchpoint of this age has left; 1 where the rule does not fade."""
        return 1 if self.lifespan is None else max(0, self.lifespan - age)

    def worth(self, left: NDArray[np.int64]) -> NDArray[np.float64]:
        """The (n,) points of leads whose touchpoints together have so many seconds left.

        Whole seconds are added up before they become points, so no order of touchpoints changes the last bit.
        """
        raw = self.points * left / (self.lifespan or 1)
        return raw if self.cap is None else np.clip(raw, -self.cap, self.cap)

    def matches(self, touchpoint: Mapping[str, Any]) -> bool:
        """Whether a touchpoint is one of those that the rule counts."""
        return touchpoint["kind"] == self.kind and all(
            touchpoint.get(column) == value for column, value in self.where.items()
        )

    @property
    def total_left(self) -> pl.Expr:
        """``left`` of a group of touchpoints that have an ``age``, summed over those that match."""
        counted = pl.col("kind") == self.kind
        for column, value in self.where.items():
            counted &= pl.col(column) == value
        left = pl.lit(1) if self.lifespan is None else pl.max_horizontal(0, self.lifespan - pl.col("age"))
        return pl.when(counted).then(left).otherwise(0).cast(pl.Int64).sum()


@dataclass(frozen=True)
class AttributeRule:
    """Points for leads whose ``column`` is ``value``, or a number in [at_least, below)."""

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
        """(n,) whether leads with these values get the points; those without a value never do."""
        if self.is_word:
            met = values == self.value
        else:
            met = values.is_not_null()
            met &= values >= self.at_least if self.at_least is not None else met
            met &= values < self.below if self.below is not None else met
        return met.fill_null(value=False).to_numpy()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From how many points on a lead is called marketing-qualified, and from how many sales-qualified."""

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
