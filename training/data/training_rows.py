"""The rows that a model learns from: features, outcomes, and what is known about when and who."""

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


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows to learn from: features, outcomes, and what is known about when and who.

    ``frame`` holds feature columns only, Float64 or String, null being missing; ``y`` is 0 or 1. ``order``
    says which rows are later (equal values belong together), ``gap`` how much earlier than a judged slice the
    training rows must end, in the units of ``order``: the horizon of the label. ``groups`` number rows that
    share their luck, such as the snapshots of one lead: no shuffled split parts them, and together they tell
    less than as many single rows would.

    ``matured`` are the rows whose time is over, None if all are. Only these can judge: of the newest rows the
    fast outcomes alone are known, and weights make up for that over all rows, but not in a slice of time.
    ``monotone`` says of number columns that more may never lower a score (1), or never raise it (-1).
    """

    frame: pl.DataFrame
    y: NDArray[np.number]
    order: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    groups: NDArray[np.int64] | None = None
    gap: int = 0
    matured: NDArray[np.bool_] | None = None
    monotone: Mapping[str, int] = field(default_factory=dict)

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
        )

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
        """How many rows tell as much as a single one would that shared its luck with no other."""
        return design_effect(np.asarray(self.w * (self.y - self.rate), dtype=np.float64), self.group)

    @cached_property
    def effective_weights(self) -> NDArray[np.float64]:
        """(n,) weights that add up to what the rows tell, not to how many there are.

        A penalty or a prior is weighed against these: else a lead looked at nine times would be nine leads
        (Rao and Scott 1984).
        """
        return self.w / self.design_effect
