"""Calibration: predicted probabilities beside observed rates, by probability, grade, month and segment."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import expit

from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations
from models import metrics
from models.grades import LETTERS
from models.metrics import Interval  # noqa: TC001
from training.stats.intervals import clustered_rate, intracluster_correlation, jackknife_half_width

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from training.analysis.drivers import Drivers
    from training.analysis.inputs import ReportInput

    Floats = NDArray[np.float64]

MOST_SEGMENTS = 8
MOST_MONTHS = 18
_OTHERS = "others"
# Rows of a group that refits must predict.
_FEWEST_REFITTED = 10


@dataclass(frozen=True, slots=True)
class CalibrationGroup:
    """The mean prediction and the observed rate of a group of rows.

    Attributes:
        name: The group: a bin, a grade, the first day of a month, a value.
        rows: Number of rows.
        forecast: Mean predicted probability.
        observed: Observed rate with its 95 % interval, clustered by lead.
        forecast_half: Half-width of the 95 % interval of the mean prediction: how much it varies as the model
            is learned anew; 0 where that is not known.
    """

    name: str
    rows: int
    forecast: float
    observed: Interval
    forecast_half: float = 0.0


@dataclass(frozen=True, slots=True)
class Segments:
    """The most frequent values of one feature; ``others`` are all other rows, missing values included."""

    by: FeatureSpec
    groups: tuple[CalibrationGroup, ...]
    others: CalibrationGroup | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """The calibration of held-out predictions.

    Attributes:
        brier: Brier score.
        error: Expected calibration error over ten bins of equal size.
        total: All rows.
        bins: The ten bins by probability.
        grades: By grade, the best first.
        months: By month of the snapshot, at most ``MOST_MONTHS``.
        segments: By channel, or by the most important category.
        by_chance: The calibration error that perfectly calibrated predictions exceed one time in twenty.
    """

    brier: Interval
    error: Interval
    total: CalibrationGroup
    bins: tuple[CalibrationGroup, ...]
    grades: tuple[CalibrationGroup, ...]
    months: tuple[CalibrationGroup, ...]
    segments: Segments | None
    by_chance: float = 0.0


def reliability(inputs: ReportInput, figures: Mapping[str, Interval], drivers: Drivers) -> Reliability:
    """Measure the calibration of held-out predictions.

    Args:
        inputs: The held-out rows of a report.
        figures: Metrics of the run by name, with "brier" and "calibration_error".
        drivers: Feature importances, which the segments are chosen by.
    """
    y, p = inputs.label, inputs.scores["probability"].to_numpy()
    grade = inputs.scores["grade"].to_numpy()
    groups = _Groups.of(inputs)
    return Reliability(
        brier=figures["brier"],
        error=figures["calibration_error"],
        total=groups.make("all", np.ones(len(y), dtype=bool)),
        bins=tuple(groups.make(str(i), rows) for i, rows in enumerate(equal_bins(p), 1)),
        grades=groups.by(grade, [letter for letter in LETTERS if (grade == letter).any()]),
        months=_monthly_groups(inputs, groups),
        segments=_segment_groups(inputs, drivers, groups),
        by_chance=calibration_error_by_chance(p, inputs.lead),
    )


def calibration_error_by_chance(p: Floats, lead: NDArray[np.int64]) -> float:
    """Compute the 95 % quantile of the calibration error of perfectly calibrated predictions.

    The gap of each bin is then nearly normal around 0, its size half-normal, and their sum nearly normal. The
    snapshots of a lead share an outcome, so within a lead standard deviations add up, not variances.

    Args:
        p: (n,) predicted probabilities.
        lead: (n,) number of each row's lead.
    """
    spread = np.array([_outcome_deviation(p[rows], lead[rows]) for rows in equal_bins(p)]) / len(p)
    mean, variance = np.sqrt(2 / np.pi) * spread.sum(), (1 - 2 / np.pi) * (spread**2).sum()
    # Exceeded one time in twenty, which is where the two-sided 90 % interval ends.
    return float(mean + metrics.Z_90 * np.sqrt(variance))


def _outcome_deviation(p: Floats, lead: NDArray[np.int64]) -> float:
    """The standard deviation of the sum of outcomes whose probabilities are ``p``."""
    _, place = np.unique(lead, return_inverse=True)
    return float(np.linalg.norm(np.bincount(place, weights=np.sqrt(p * (1 - p)))))


def is_miscalibrated(group: CalibrationGroup) -> bool:
    """Whether mean prediction and observed rate differ beyond what both vary by: one group of 20 by chance.

    The half-widths of both intervals are squared and added (Newcombe 1998): the model that predicts was
    learned from a sample, too.
    """
    observed, gap = group.observed, group.forecast - group.observed.value
    half = observed.high - observed.value if gap > 0 else observed.value - observed.low
    return abs(gap) > math.hypot(half, group.forecast_half)


def equal_bins(p: Floats) -> list[NDArray[np.intp]]:
    """The positions of the rows in each of ten equal bins by probability, cut as for the calibration error.

    Ties are broken at random: in the order of the rows, bins would differ by time.
    """
    order = np.lexsort((np.random.default_rng(0).permutation(len(p)), p))
    bins = ((np.arange(len(p)) + 0.5) / len(p) * metrics.BINS).astype(np.intp)
    return np.split(order, np.flatnonzero(np.diff(bins)) + 1)


def _monthly_groups(inputs: ReportInput, groups: _Groups) -> tuple[CalibrationGroup, ...]:
    """The last months of snapshots; none where rows have no dates."""
    if inputs.card.window is None or "as_of" not in inputs.scores.columns:
        return ()
    first = pl.from_epoch("as_of").dt.truncate("1mo").dt.strftime("%Y-%m-%d")
    month = inputs.scores.select(first).to_series().to_numpy()
    return groups.by(month, np.unique(month)[-MOST_MONTHS:].tolist())


def _segment_groups(inputs: ReportInput, drivers: Drivers, groups: _Groups) -> Segments | None:
    """Groups by the leads' channel, else by the most important category; None where there is no category."""
    categories = [driver.spec for driver in drivers.features if driver.spec.unit == "category"]
    first = [spec for spec in inputs.features.specs if spec in categories and spec.family == "channel"]
    feature = next(iter([*first, *categories]), None)
    if feature is None:
        return None
    value = inputs.held_out_rows[feature.name].to_numpy()
    counts = Counter(inputs.held_out_rows[feature.name].drop_nulls().to_list())
    names = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_SEGMENTS]
    is_other = ~inputs.held_out_rows[feature.name].is_in(names).fill_null(value=False).to_numpy()
    others = groups.make(_OTHERS, is_other) if is_other.any() else None
    return Segments(feature, groups.by(value, names), others)


@dataclass(frozen=True, eq=False)
class _Groups:
    """Makes groups of held-out rows.

    Attributes:
        y: (n,) outcomes.
        p: (n,) predictions.
        lead: (n,) number of each row's lead.
        correlation: How alike the outcomes of a lead are, over all rows.
        place: (m,) the places of the rows that refits predict.
        refitted: (m,) their probabilities by each refit.
        share: The share of the leads that ``p`` was learned from, relative to those of the refits.
    """

    y: Floats
    p: Floats
    lead: NDArray[np.int64]
    correlation: float
    place: NDArray[np.intp]
    refitted: tuple[Floats, ...]
    share: float

    @classmethod
    def of(cls, inputs: ReportInput) -> _Groups:
        """Read the held-out rows of a report; the model that predicts them learned from the earlier rows."""
        y, p = inputs.label, inputs.scores["probability"].to_numpy()
        known = inputs.explained_places is not None
        learned, held_out = inputs.learned_rows, len(inputs.held_out_rows)
        return cls(
            y=y,
            p=p,
            lead=inputs.lead,
            correlation=intracluster_correlation(y - p, inputs.lead),
            place=np.zeros(0, dtype=np.intp) if inputs.explained_places is None else inputs.explained_places,
            refitted=tuple(expit(refit) for refit in inputs.refit_log_odds) if known else (),
            share=inputs.refit_share * (learned + held_out) / max(learned, 1),
        )

    def by(self, key: NDArray[np.str_], names: Sequence[str]) -> tuple[CalibrationGroup, ...]:
        """A group for each of ``names`` in ``key``."""
        return tuple(self.make(name, key == name) for name in names)

    def make(self, name: str, rows: NDArray[np.bool_] | NDArray[np.intp]) -> CalibrationGroup:
        """The group of ``rows``, which are flags or places."""
        y, p, lead = self.y[rows], self.p[rows], self.lead[rows]
        observed = clustered_rate(y, lead, correlation=self.correlation)
        return CalibrationGroup(name, len(y), float(p.mean()), observed, self._forecast_half(rows))

    def _forecast_half(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> float:
        """The half-width of the mean prediction's interval, of all rows where few of these were refitted."""
        if not self.refitted:
            return 0.0
        inside = np.zeros(len(self.y), dtype=bool)
        inside[rows] = True
        some = inside[self.place]
        some = some if some.sum() >= _FEWEST_REFITTED else np.ones_like(some)
        means = [np.array(refit[some].mean()) for refit in self.refitted]
        return float(jackknife_half_width(means, self.share))
