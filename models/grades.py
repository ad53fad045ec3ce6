"""Grades A to D by the capacity of sales: an A is a lead that there is time to call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Grade = Literal["A", "B", "C", "D"]
LETTERS: tuple[Grade, ...] = ("A", "B", "C", "D")
_SHARE_MULTIPLES = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Grades:
    """The grades A to D by probability.

    Attributes:
        thresholds: Least probability of an A, a B and a C, falling; what is below the last is a D.

    Raises:
        ValueError: the thresholds do not fall.

    >>> Grades((0.5, 0.3, 0.1)).grade(0.3)
    'B'
    """

    thresholds: tuple[float, float, float]

    def __post_init__(self) -> None:
        if list(self.thresholds) != sorted(self.thresholds, reverse=True):
            msg = f"grade thresholds must fall from A to C, not {self.thresholds}"
            raise ValueError(msg)

    def grade(self, probability: float) -> Grade:
        """The letter of one ``probability``."""
        return LETTERS[sum(probability < threshold for threshold in self.thresholds)]

    def grade_all(self, probability: NDArray[np.float64]) -> NDArray[np.str_]:
        """The letters of an (n,) array of each ``probability``."""
        below = sum((probability < threshold).astype(np.intp) for threshold in self.thresholds)
        return np.array(LETTERS)[below]

    def leaves_open(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether leads whose probability lies within an interval may be an A and may be none.

        Args:
            low: (n,) lower ends.
            high: (n,) upper ends.

        Returns:
            (n,) True where the least probability of an A is above the lower and at most the upper end.

        >>> Grades((0.5, 0.3, 0.1)).leaves_open(np.array([0.4, 0.1]), np.array([0.6, 0.4])).tolist()
        [True, False]
        """
        return np.asarray((low < self.thresholds[0]) & (high >= self.thresholds[0]))


def from_capacity(probability: NDArray[np.float64], share: float) -> Grades:
    """Grade by what sales can do: an A is a lead that there is time to call.

    Args:
        probability: (n,) predictions of leads that the model was not fitted on.
        share: Share of new leads that sales has time to call, in (0, 1].

    Returns:
        Grades under which ``share`` of such leads get an A, twice as many A or B, four times as many A to C.

    Raises:
        ValueError: ``share`` is out of range.
    """
    if not 0 < share <= 1:
        msg = f"the share of leads that sales can call must be above 0 and at most 1, not {share}"
        raise ValueError(msg)
    return Grades(capacity_quantiles(probability, share))


def capacity_quantiles(values: NDArray[np.float64], share: float) -> tuple[float, float, float]:
    """The least of the (n,) ``values`` that belongs to the best ``share``, twice and four times as many."""
    first, second, third = (float(np.quantile(values, max(0.0, 1 - share * n))) for n in _SHARE_MULTIPLES)
    return first, second, third
