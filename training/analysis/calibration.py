"""Whether probabilities can be taken at their word: what was forecast beside what came, group by group."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations
from models import metrics
from models.grades import LETTERS
from models.metrics import Interval  # noqa: TC001
from training.stats.intervals import clustered_rate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from training.analysis.drivers import Drivers
    from training.analysis.inputs import ReportInput

    Floats = NDArray[np.float64]

MOST_SEGMENTS = 8
MOST_MONTHS = 18
_OTHERS = "others"
_ONE_IN_TWENTY = 1.645


@dataclass(frozen=True, slots=True)
class CalibrationGroup:
    """Leads that are alike in something: what was forecast on average, and what came, with its interval.

    In the interval (95 %) a lead that was looked at twice is one witness.
    """

    name: str
    rows: int
    forecast: float
    observed: Interval


@dataclass(frozen=True, slots=True)
class Segments:
    """The most frequent values of one feature; ``others`` are all other leads, those without a value too."""

    by: FeatureSpec
    groups: tuple[CalibrationGroup, ...]
    others: CalibrationGroup | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """Forecast and outcome by probability, by grade, by month (named by its first day) and by segment.

    ``calibration_error_by_chance`` is the calibration error that forecasts show one time in twenty although
    each is true.
    """

    brier: Interval
    error: Interval
    total: CalibrationGroup
    bins: tuple[CalibrationGroup, ...]
    grades: tuple[CalibrationGroup, ...]
    months: tuple[CalibrationGroup, ...]
    segments: Segments | None
    by_chance: float = 0.0


def reliability(given: ReportInput, figures: Mapping[str, Interval], found: Drivers) -> Reliability:
    """Forecasts of ``given`` beside outcomes."""
    y, p = given.label, given.scores["probability"].to_numpy()
    grade = given.scores["grade"].to_numpy()
    return Reliability(
        brier=figures["brier"],
        error=figures["calibration_error"],
        total=_group("all", y, p, given.lead),
        bins=tuple(_group(str(i), y[rows], p[rows], given.lead[rows]) for i, rows in enumerate(_bins(p), 1)),
        grades=_groups(grade, [letter for letter in LETTERS if (grade == letter).any()], given),
        months=_months(given),
        segments=_segments(given, found),
        by_chance=calibration_error_by_chance(p, given.lead),
    )


def calibration_error_by_chance(p: Floats, lead: NDArray[np.int64]) -> float:
    """The 95 % quantile of the calibration error of true forecasts.

    The gap of each bin is then nearly normal around 0, so its size is half-normal, and so many of them add up
    to nearly a normal. All looks at a lead share an outcome: their deviations add up as if they were one.
    """
    spread = np.array([_spread(p[rows], lead[rows]) for rows in _bins(p)]) / len(p)
    mean, variance = np.sqrt(2 / np.pi) * spread.sum(), (1 - 2 / np.pi) * (spread**2).sum()
    return float(mean + _ONE_IN_TWENTY * np.sqrt(variance))


def _spread(p: Floats, lead: NDArray[np.int64]) -> float:
    """The standard deviation of a sum of outcomes of true forecasts ``p``."""
    _, place = np.unique(lead, return_inverse=True)
    return float(np.linalg.norm(np.bincount(place, weights=np.sqrt(p * (1 - p)))))


def is_miscalibrated(group: CalibrationGroup) -> bool:
    """Whether a group's forecast lies outside the interval of what came."""
    return not group.observed.low <= group.forecast <= group.observed.high


def _bins(p: Floats) -> list[NDArray[np.intp]]:
    """The positions of ten groups of equally many leads by probability, cut as the calibration error is.

    Lots part leads of equal probability: in the order of the rows the groups would differ by when leads came.
    """
    order = np.lexsort((np.random.default_rng(0).permutation(len(p)), p))
    bins = ((np.arange(len(p)) + 0.5) / len(p) * metrics.BINS).astype(np.intp)
    return np.split(order, np.flatnonzero(np.diff(bins)) + 1)


def _months(given: ReportInput) -> tuple[CalibrationGroup, ...]:
    """The last months in which leads were looked at; none where nobody knows when that was."""
    if given.card.window is None or "as_of" not in given.scores.columns:
        return ()
    first = pl.from_epoch("as_of").dt.truncate("1mo").dt.strftime("%Y-%m-%d")
    month = given.scores.select(first).to_series().to_numpy()
    return _groups(month, np.unique(month)[-MOST_MONTHS:].tolist(), given)


def _segments(given: ReportInput, found: Drivers) -> Segments | None:
    """By the channel that leads came through, else by the category that moves scores most."""
    told = [driver.spec for driver in found.features if driver.spec.is_category]
    first = [spec for spec in given.features.specs if spec in told and spec.family == "channel"]
    by = next(iter([*first, *told]), None)
    if by is None:
        return None
    value = given.judged[by.name].to_numpy()
    counts = Counter(given.judged[by.name].drop_nulls().to_list())
    names = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_SEGMENTS]
    rest = ~given.judged[by.name].is_in(names).fill_null(value=False).to_numpy()
    others = _groups(np.where(rest, _OTHERS, ""), [_OTHERS], given)[0] if rest.any() else None
    return Segments(by, _groups(value, names, given), others)


def _groups(key: NDArray[np.str_], names: Sequence[str], given: ReportInput) -> tuple[CalibrationGroup, ...]:
    y, p = given.label, given.scores["probability"].to_numpy()
    return tuple(_group(name, y[mine], p[mine], given.lead[mine]) for name in names for mine in [key == name])


def _group(name: str, y: Floats, p: Floats, lead: NDArray[np.int64]) -> CalibrationGroup:
    return CalibrationGroup(name, len(y), float(p.mean()), clustered_rate(y, lead))
