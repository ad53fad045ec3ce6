"""A score in two parts: how well a lead fits, and how much it engages.

The contributions of all features are exact, so those of the families that say who a lead is and where it
came from (fit) and those of the families that say what it and its colleagues do (engagement) add up, with
the base, to the log-odds of the score. A part is told as its percentile among leads and as a grade, A to D
for fit and 1 to 4 for engagement, so that "B1" is a lead of fair fit that engages like the best.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from models.explanation import ScorePart, log_odds_to_points
from models.grades import LETTERS, capacity_quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PartName = Literal["fit", "engagement"]
PARTS: tuple[PartName, ...] = ("fit", "engagement")
FIT_FAMILIES = frozenset({"fit", "qualification", "channel"})
"""Families that say who a lead is and where it came from; all others say what it and its colleagues do."""
PART_COLUMNS: dict[str, Any] = {
    "fit": pl.Int64,
    "fit_grade": pl.String,
    "engagement": pl.Int64,
    "engagement_grade": pl.String,
    "combined_grade": pl.String,
}
_GRADES: dict[PartName, tuple[str, ...]] = {"fit": LETTERS, "engagement": ("1", "2", "3", "4")}
_PERCENTILES = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class PartScale:
    """How one part is spread among leads.

    Attributes:
        quantiles: The part's contributions, in log-odds, at 0, 1, ... 100 % of the leads; rising.
        thresholds: Least contribution of the best, the second and the third grade; falling.
    """

    quantiles: tuple[float, ...]
    thresholds: tuple[float, float, float]

    @classmethod
    def of(cls, contributions: NDArray[np.float64], share: float) -> PartScale:
        """The scale of (n,) ``contributions``; a ``share`` of leads, in (0, 1], gets the best grade."""
        quantiles = np.quantile(contributions, _PERCENTILES)
        return cls(tuple(quantiles.tolist()), capacity_quantiles(contributions, share))

    def percentile(self, contribution: float) -> int:
        """The share of leads with less than ``contribution``, equal ones counted by half: 0 to 100.

        >>> PartScale(tuple(range(101)), (90, 80, 60)).percentile(42.0)
        42
        """
        below, up_to = bisect_left(self.quantiles, contribution), bisect_right(self.quantiles, contribution)
        return min(100, max(0, (below + up_to - 1) // 2))

    def percentiles(self, contributions: NDArray[np.float64]) -> NDArray[np.int64]:
        """What ``percentile`` gives of each of (n,) ``contributions``."""
        below, up_to = (np.searchsorted(self.quantiles, contributions, side) for side in ("left", "right"))
        ranks: NDArray[np.int64] = np.clip((below + up_to - 1) // 2, 0, 100)
        return ranks

    def rank(self, contribution: float) -> int:
        """The number of grades above that of ``contribution``: 0 to 3."""
        return sum(contribution < threshold for threshold in self.thresholds)

    def ranks(self, contributions: NDArray[np.float64]) -> NDArray[np.int64]:
        """What ``rank`` gives of each of (n,) ``contributions``."""
        thresholds = np.asarray(self.thresholds)
        above: NDArray[np.int64] = (contributions[:, np.newaxis] < thresholds).sum(axis=1)
        return above


@dataclass(frozen=True, slots=True)
class PartScales:
    """The scales of both parts; a part of which the model knows no feature, or that is all alike, has none.

    Attributes:
        fit: Of who a lead is and where it came from.
        engagement: Of what a lead and its colleagues do.
    """

    fit: PartScale | None
    engagement: PartScale | None

    @classmethod
    def of(cls, contributions: NDArray[np.float64], families: Sequence[str], share: float) -> PartScales:
        """Learn the scales from leads.

        Args:
            contributions: (n, k) contributions to calibrated log-odds.
            families: The family of each of the k features.
            share: Share of leads that sales can call, in (0, 1]: so many get the best grade of a part.

        Returns:
            The scales.
        """
        sums = sum_by_part(contributions, families)
        scales = {name: PartScale.of(sums[name], share) if np.ptp(sums[name]) else None for name in PARTS}
        return cls(**scales)

    def parts(
        self, contributions: NDArray[np.float64], families: Sequence[str]
    ) -> list[tuple[ScorePart, ...]]:
        """The parts of n leads, those that have a scale.

        Args:
            contributions: (n, k) contributions to calibrated log-odds.
            families: The family of each of the k features.

        Returns:
            The parts of each lead, fit before engagement.
        """
        sums = sum_by_part(contributions, families)
        scales = [(name, scale) for name in PARTS for scale in [getattr(self, name)] if scale is not None]
        if len(contributions) == 1:  # as in ``sum_by_part``
            return [tuple(_part(name, scale, float(sums[name][0])) for name, scale in scales)]
        columns = [_parts(name, scale, sums[name]) for name, scale in scales]
        return list(zip(*columns, strict=True)) if columns else [()] * len(contributions)

    def to_json(self) -> str:
        """The scales as the text of a file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PartScales:
        """The scales that ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: It did not write ``text``.
        """
        record = json.loads(text)
        return cls(**{name: _scale(record[name]) for name in PARTS})


def sum_by_part(
    contributions: NDArray[np.float64], families: Sequence[str]
) -> dict[PartName, NDArray[np.float64]]:
    """Add up (n, k) ``contributions`` to (n,) a part, by the family of each of the k features.

    Columns are added in their order, so that a lead has the same bits alone and among others.
    """
    if len(contributions) == 1:  # arrays of one number would cost twenty times as much
        totals: dict[PartName, float] = dict.fromkeys(PARTS, 0.0)
        for family, contribution in zip(families, contributions[0].tolist(), strict=True):
            totals[_part_of(family)] += contribution
        return {name: np.array([total]) for name, total in totals.items()}
    sums: dict[PartName, NDArray[np.float64]] = {name: np.zeros(len(contributions)) for name in PARTS}
    for family, column in zip(families, contributions.T, strict=True):
        sums[_part_of(family)] += column
    return sums


def _part_of(family: str) -> PartName:
    return "fit" if family in FIT_FAMILIES else "engagement"


def combine_grades(parts: Sequence[ScorePart]) -> str | None:
    """The grades of both parts in one word, such as "B1"; None where one is missing."""
    return "".join(part.grade for part in parts) if len(parts) == len(PARTS) else None


def parts_to_frame(parts: Sequence[tuple[ScorePart, ...]]) -> pl.DataFrame:
    """The parts of n leads as a frame of n rows with the columns ``PART_COLUMNS``."""
    return pl.DataFrame([_part_values(each) for each in parts], PART_COLUMNS)


def _part_values(parts: tuple[ScorePart, ...]) -> dict[str, int | str | None]:
    values: dict[str, int | str | None] = {"combined_grade": combine_grades(parts)}
    for part in parts:
        values |= {part.part: part.percentile, f"{part.part}_grade": part.grade}
    return values


def _part(name: PartName, scale: PartScale, contribution: float) -> ScorePart:
    grade = _GRADES[name][scale.rank(contribution)]
    return ScorePart(
        name, contribution, log_odds_to_points(contribution), scale.percentile(contribution), grade
    )


def _parts(name: PartName, scale: PartScale, contributions: NDArray[np.float64]) -> list[ScorePart]:
    """What ``_part`` gives of each of (n,) ``contributions``."""
    percentiles, ranks = scale.percentiles(contributions).tolist(), scale.ranks(contributions).tolist()
    grades = _GRADES[name]
    return [
        ScorePart(name, contribution, log_odds_to_points(contribution), percentile, grades[rank])
        for contribution, percentile, rank in zip(contributions.tolist(), percentiles, ranks, strict=True)
    ]


def _scale(record: dict[str, Any] | None) -> PartScale | None:
    if record is None:
        return None
    quantiles, (best, second, third) = record["quantiles"], record["thresholds"]
    return PartScale(tuple(map(float, quantiles)), (float(best), float(second), float(third)))
