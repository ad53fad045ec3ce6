"""The additive part of a model: one curve or one table of effects a feature.

It is a generalised additive model (Hastie and Tibshirani 1986) with piecewise linear curves. Only additions,
multiplications and comparisons, in a fixed order: one lead scored alone gets the same bits as among many.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PiecewiseLinearTerm:
    """The effect of a number: linear between knots, constant outside of them.

    Constant outside is a choice: a value larger than any in training is treated as the largest, not
    extrapolated.

    Attributes:
        knots: Values of the feature, rising.
        values: The effect at each knot, in log-odds.
        missing: The effect of a missing value. Default 0.

    >>> PiecewiseLinearTerm((0.0, 10.0), (-1.0, 1.0), missing=0.25).at(np.array([-5.0, 5.0, np.nan]))
    array([-1.  ,  0.  ,  0.25])
    """

    knots: tuple[float, ...]
    values: tuple[float, ...]
    missing: float = 0.0

    @cached_property
    def _slopes(self) -> NDArray[np.float64]:
        """The slope from each knot to the next, and 0 after the last."""
        return np.append(np.diff(self.values) / np.diff(self.knots), 0.0)

    @cached_property
    def _ends_and_slopes(self) -> tuple[float, float, list[float]]:
        return self.knots[0], self.knots[-1], self._slopes.tolist()

    def at(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) effects of the (n,) numbers ``x``, NaN being missing."""
        knots, values = np.array(self.knots), np.array(self.values)
        inside = np.minimum(np.maximum(np.where(np.isnan(x), knots[0], x), knots[0]), knots[-1])
        left = np.searchsorted(knots, inside, side="right") - 1
        effect = values[left] + self._slopes[left] * (inside - knots[left])
        return np.where(np.isnan(x), self.missing, effect)

    def at_scalar(self, x: float) -> float:
        """The effect of the single number ``x``: the same bits as ``at``, without the cost of arrays."""
        if x != x:  # noqa: PLR0124
            return self.missing
        first, last, slopes = self._ends_and_slopes
        inside = first if x < first else min(x, last)
        left = bisect_right(self.knots, inside) - 1
        return self.values[left] + slopes[left] * (inside - self.knots[left])


@dataclass(frozen=True)
class CategoryTerm:
    """The effect of a category.

    Attributes:
        values: The effect of each code, in log-odds; the last two codes are an unknown and a missing value.
    """

    values: tuple[float, ...]

    @cached_property
    def _array(self) -> NDArray[np.float64]:
        return np.array(self.values)

    def at(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) effects of (n,) codes."""
        return self._array[codes.astype(np.int64)]

    def at_scalar(self, code: float) -> float:
        """The effect of one code."""
        return self.values[int(code)]


@dataclass(frozen=True)
class AdditiveModel:
    """A generalised additive model (Hastie, Tibshirani 1986): one effect a feature, in raw log-odds.

    Attributes:
        intercept: Raw log-odds before any effect.
        effects: One term a feature.
        sources: For each term the matrix column that it reads: a number's value or a category's code.
    """

    intercept: float
    effects: tuple[PiecewiseLinearTerm | CategoryTerm, ...]
    sources: tuple[int, ...]

    def contributions(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, features) effects of each feature of each row of an encoded ``matrix``, in raw log-odds."""
        if len(matrix) == 1:
            row = matrix[0].tolist()
            pairs = zip(self.effects, self.sources, strict=True)
            return np.array([[effect.at_scalar(row[source]) for effect, source in pairs]])
        result = np.empty((len(matrix), len(self.effects)))
        for place, (effect, source) in enumerate(zip(self.effects, self.sources, strict=True)):
            result[:, place] = effect.at(matrix[:, source])
        return result

    def log_odds(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) raw log-odds, summed feature by feature.

        A sum over an axis would do it at once, but its order, and so its last bits, may depend on n.
        """
        if len(matrix) == 1:
            row, total = matrix[0].tolist(), self.intercept
            for effect, source in zip(self.effects, self.sources, strict=True):
                total += effect.at_scalar(row[source])
            return np.array([total])
        sums = np.full(len(matrix), self.intercept)
        for effect, source in zip(self.effects, self.sources, strict=True):
            sums += effect.at(matrix[:, source])
        return sums

    def add_up(self, contributions: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) raw log-odds of (n, features) ``contributions``: to the bit those of ``log_odds``."""
        if len(contributions) == 1:
            total = self.intercept
            for contribution in contributions[0].tolist():
                total += contribution
            return np.array([total])
        sums = np.full(len(contributions), self.intercept)
        for column in contributions.T:
            sums += column
        return sums

    def scale(self, factor: float) -> AdditiveModel:
        """The model with the intercept and every effect times ``factor``."""
        return AdditiveModel(
            factor * self.intercept,
            tuple(_scale_effect(effect, factor) for effect in self.effects),
            self.sources,
        )

    def to_record(self) -> dict[str, Any]:
        """As plain data for JSON; ``from_record`` gives back an equal part."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> AdditiveModel:
        """The part that ``to_record`` wrote, or JSON made of it."""
        effects = tuple(_effect_from_record(effect) for effect in record["effects"])
        return cls(record["intercept"], effects, tuple(record["sources"]))

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(self.to_record())

    @classmethod
    def from_json(cls, text: str) -> AdditiveModel:
        """The part that ``to_json`` wrote."""
        return cls.from_record(json.loads(text))


def _effect_from_record(record: dict[str, Any]) -> PiecewiseLinearTerm | CategoryTerm:
    if "knots" not in record:
        return CategoryTerm(tuple(record["values"]))
    return PiecewiseLinearTerm(tuple(record["knots"]), tuple(record["values"]), record["missing"])


def _scale_effect(
    effect: PiecewiseLinearTerm | CategoryTerm, factor: float
) -> PiecewiseLinearTerm | CategoryTerm:
    values = tuple(factor * value for value in effect.values)
    if isinstance(effect, CategoryTerm):
        return CategoryTerm(values)
    return PiecewiseLinearTerm(effect.knots, values, factor * effect.missing)
