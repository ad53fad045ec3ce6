"""The rows that a learner takes: features, outcomes, weights, order and groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from training.stats.intervals import design_effect

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

    from features.extraction import ColumnExtraction


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows to learn from.

    Attributes:
        frame: (n, features) Float64 or String columns; null is missing.
        y: (n,) outcomes, 0 or 1.
        order: (n,) the order in time, larger is later; rows with equal values stay together.
        weights: (n,) weights. Default: 1 each.
        groups: (n,) the group of each row, such as its lead. Rows of a group share their outcome: no split
            parts them, and together they count less than as many independent rows.
        gap: How much earlier than a validation slice the training rows must end, in the units of ``order``.
        matured: (n,) whether a row's window is over; None where that holds for all. Only these can be held
            out: of the newest rows only fast outcomes are known, which weights repair over all rows, but not
            within a slice of time.
        monotone: By number column, 1 where more may never lower a score, -1 where it may never raise it.
        extractions: By column that was read out of another one, how.
    """

    frame: pl.DataFrame
    y: NDArray[np.number]
    order: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    groups: NDArray[np.int64] | None = None
    gap: int = 0
    matured: NDArray[np.bool_] | None = None
    monotone: Mapping[str, int] = field(default_factory=dict)
    extractions: Mapping[str, ColumnExtraction] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.y)

    def take(self, rows: NDArray[np.intp]) -> TrainingRows:
        """The rows at these positions."""
        return TrainingRows(
            frame=self.frame[rows],
            y=self.y[rows],
            order=None if self.order is None else self.order[rows],
            weights=None if self.weights is None else self.weights[rows],
            groups=None if self.groups is None else self.groups[rows],
            gap=self.gap,
            matured=None if self.matured is None else self.matured[rows],
            monotone=self.monotone,
            extractions=self.extractions,
        )

    @cached_property
    def texts(self) -> frozenset[str]:
        """The String columns that hold words with blanks between them, and are no categories."""
        return frozenset(name for name, each in self.extractions.items() if each.part == "words")

    @property
    def validation_rows(self) -> NDArray[np.intp]:
        """The positions of the matured rows."""
        return np.arange(len(self)) if self.matured is None else np.flatnonzero(self.matured)

    @cached_property
    def w(self) -> NDArray[np.float64]:
        """(n,) weights, 1 where none are given."""
        return np.ones(len(self)) if self.weights is None else self.weights

    @cached_property
    def rate(self) -> float:
        """The weighted share of positives, kept off 0 and 1 by half a row."""
        return float((self.w @ self.y + 0.5) / (self.w.sum() + 1.0))

    @cached_property
    def group(self) -> NDArray[np.intp]:
        """(n,) the number of the group of each row, or of the row where there are no groups."""
        if self.groups is None:
            return np.arange(len(self))
        return np.unique(self.groups, return_inverse=True)[1]

    @property
    def design_effect(self) -> float:
        """The design effect of the groups (Kish 1965): how many rows count as one independent row."""
        return design_effect(np.asarray(self.w * (self.y - self.rate), dtype=np.float64), self.group)

    @cached_property
    def effective_weights(self) -> NDArray[np.float64]:
        """(n,) weights divided by the design effect, for penalties and priors (Rao and Scott 1984).

        Without that a lead with nine snapshots would count as nine leads.
        """
        return self.w / self.design_effect
