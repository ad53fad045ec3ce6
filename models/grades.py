"""Grades A to D from what sales can do, not from quartiles: A is whom there is time to call."""

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
    """The least probability of an A, a B and a C, in falling order; below the last is a D.

    >>> Grades((0.5, 0.3, 0.1)).grade(0.3)
    'B'
    """

    thresholds: tuple[float, float, float]

    def __post_init__(self) -> None:
        if list(self.thresholds) != sorted(self.thresholds, reverse=True):
            msg = f"grade thresholds must fall from A to C, not {self.thresholds}"
            raise ValueError(msg)

    def grade(self, probability: float) -> Grade:
        """The letter of one probability."""
        return LETTERS[sum(probability < threshold for threshold in self.thresholds)]

    def grade_all(self, probability: NDArray[np.float64]) -> NDArray[np.str_]:
        """The letters of an (n,) array of probabilities."""
        below = sum((probability < threshold).astype(np.intp) for threshold in self.thresholds)
        return np.array(LETTERS)[below]


def from_capacity(probability: NDArray[np.float64], share: float) -> Grades:
    """Grades under which ``share`` of leads like these get an A, twice as many A or B, four times A to C.

    ``probability`` are honest predictions, of leads that the model did not learn from; ``share`` is the part
    of all new leads, in (0, 1], that sales has time to call.
    """
    if not 0 < share <= 1:
        msg = f"the share of leads that sales can call must be above 0 and at most 1, not {share}"
        raise ValueError(msg)
    thresholds = [
        float(np.quantile(probability, max(0.0, 1 - share * multiple))) for multiple in _SHARE_MULTIPLES
    ]
    return Grades((thresholds[0], thresholds[1], thresholds[2]))
