"""How leads converted by their grades of fit and engagement: A1 to D4, among leads that were held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.analysis.not_applicable import NotApplicable
from training.stats.intervals import clustered_rate

if TYPE_CHECKING:
    from training.analysis.inputs import ReportInput

# In a cell of fewer leads a rate says little.
FEWEST_IN_CELL = 10


@dataclass(frozen=True, slots=True)
class PartCell:
    """The leads of one grade of fit and one of engagement.

    Attributes:
        grade: Both grades in one word, such as "B1".
        leads: How many leads had it at any time; each snapshot is graded.
        rows: How many snapshots.
        converted: How many of these led to a conversion.
        rate: ``converted / rows`` with its 95 % interval, clustered by lead; None without leads.
    """

    grade: str
    leads: int
    rows: int
    converted: int
    rate: Interval | None


@dataclass(frozen=True, slots=True)
class PartMatrix:
    """Conversions by the grades of fit and engagement.

    Attributes:
        fits: The grades of fit, the best first.
        engagements: The grades of engagement, the best first.
        cells: One for each pair, those of the best fit first.
        rows: Snapshots in all cells.
        rate: The share of all of them that led to a conversion.
    """

    fits: tuple[str, ...]
    engagements: tuple[str, ...]
    cells: tuple[PartCell, ...]
    rows: int
    rate: float

    def cell(self, fit: str, engagement: str) -> PartCell:
        """The cell of a grade of fit and one of engagement."""
        return next(each for each in self.cells if each.grade == f"{fit}{engagement}")


FITS, ENGAGEMENTS = ("A", "B", "C", "D"), ("1", "2", "3", "4")


def part_matrix(inputs: ReportInput) -> PartMatrix | NotApplicable:
    """Count conversions by the grades of fit and engagement of held-out leads."""
    graded = inputs.part_grades
    if graded is None or graded.is_empty():
        return NotApplicable("no_model")
    place = graded["place"].to_numpy()
    y, lead, grade = inputs.label[place], inputs.lead[place], graded["combined_grade"].to_numpy()
    cells = []
    for name in (f"{fit}{engagement}" for fit in FITS for engagement in ENGAGEMENTS):
        chosen = grade == name
        rows = int(chosen.sum())
        cells.append(
            PartCell(
                grade=name,
                leads=len(np.unique(lead[chosen])),
                rows=rows,
                converted=int(y[chosen].sum()),
                rate=clustered_rate(y[chosen], lead[chosen]) if rows else None,
            )
        )
    return PartMatrix(FITS, ENGAGEMENTS, tuple(cells), len(y), float(y.mean()))
