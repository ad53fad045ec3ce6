"""The error of three estimators of a conversion rate on past days, when many labels had not matured yet.

Two things separate an estimated rate from the one that came. One is sampling: which leads came by, week by
week; whole weeks are resampled for it. The other is time: from one month to the next leads of the same age
convert at different rates. No method knows the hazard of a month to come, but the variance between past
months can be estimated and belongs into the error.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from features.clock import DAY
from features.cohort import Snapshots
from features.labels import compute_labels
from training.data.censoring import ipcw_weights_as_of
from training.stats.survival import StepFunction, life_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    from features.history import LeadHistory
    from features.labels import LabelSpec
    from training.stats.survival import Durations, Flags

RESAMPLES = 200
MONTH = 30 * DAY


@dataclass(frozen=True)
class RateEstimate:
    """A conversion rate as three estimators put it on a past day, and the rate that came.

    Attributes:
        today: The past day, in epoch seconds.
        horizon: In seconds.
        rows: Snapshots before that day.
        matured: Those of them whose window was over. Without any, ``matured_only`` and ``ipcw`` are NaN.
        naive: The rate if no further conversions came.
        matured_only: The rate among matured snapshots.
        ipcw: The rate weighted by the inverse probability of censoring.
        truth: The rate among all ``rows`` once all had matured.
        matured_error: Standard error of ``matured_only`` minus ``truth``.
        ipcw_error: Standard error of ``ipcw`` minus ``truth``.
        spread: Standard deviation, beyond chance, of the monthly hazard of leads of the same age.
    """

    today: int
    horizon: int
    rows: int
    matured: int
    naive: float
    matured_only: float
    ipcw: float
    truth: float
    matured_error: float
    ipcw_error: float
    spread: float

    @property
    def arrived_share(self) -> float:
        """The share of the conversions still expected by ``ipcw`` that came: 1 if nothing changed."""
        awaited = self.ipcw - self.naive
        return (self.truth - self.naive) / awaited if awaited > 0 else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return asdict(self) | {"pace": self.arrived_share}


def evaluate_rate_estimators(
    history: LeadHistory, snapshots: Snapshots, spec: LabelSpec, days: Sequence[int], horizons: Sequence[int]
) -> tuple[RateEstimate, ...]:
    """Compare estimators of the conversion rate on past days with what later happened.

    Args:
        history: The history, which ends after the last label of the last day has matured.
        snapshots: The snapshots whose labels are estimated.
        spec: The label; its horizon is replaced by each of ``horizons``.
        days: Past days, in epoch seconds.
        horizons: In seconds.

    Returns:
        An estimate for each day and horizon, day by day.

    Raises:
        ValueError: The history ends before the truth of the last day is known.
    """
    latest = max(days) + max(horizons) + spec.lead_time + spec.settle
    if latest > history.observed_until:
        msg = f"the history ends before {latest}: what became of the leads of the last day is not known yet"
        raise ValueError(msg)
    return tuple(
        _estimate_on_day(history, snapshots, replace(spec, horizon=horizon), today)
        for today in days
        for horizon in horizons
    )


def _estimate_on_day(history: LeadHistory, snapshots: Snapshots, spec: LabelSpec, today: int) -> RateEstimate:
    earlier = Snapshots(snapshots.frame.filter(snapshots.frame["as_of"] < today))
    labels = compute_labels(history.known_before(today), earlier, spec)
    as_of, settled_at = labels["as_of"].to_numpy(), _settled_at(labels, today)
    outcome = compute_labels(history, earlier, spec)["label"].to_numpy()
    observed = SnapshotsAsOf(as_of, settled_at, labels["matured"].to_numpy(), outcome, today)
    counts = labels.height, int(observed.matured.sum())
    return RateEstimate(
        today,
        spec.horizon,
        *counts,
        observed.naive,
        *observed.rates,
        _weighted_mean(outcome),
        *observed.errors(),
        observed.spread,
    )


@dataclass(frozen=True, eq=False)
class SnapshotsAsOf:
    """Snapshots with what was known of their labels on a past day.

    Attributes:
        as_of: (n,) moments of the snapshots, in epoch seconds.
        settled_at: (n,) when each label became known; after ``today`` where it was not known yet.
        matured: (n,) whether the window was over by ``today``.
        outcome: (n,) the final label.
        today: The past day, in epoch seconds.
    """

    as_of: Durations
    settled_at: Durations
    matured: Flags
    outcome: NDArray[np.number]
    today: int

    @property
    def naive(self) -> float:
        """The rate if no further conversions came."""
        return float(((self.settled_at <= self.today) & (self.outcome == 1)).mean())

    @property
    def rates(self) -> tuple[float, float]:
        """The rate among matured snapshots, and the IPCW rate; NaN where no snapshot is matured."""
        if not self.matured.any():
            return float("nan"), float("nan")
        weights = ipcw_weights_as_of(self.as_of, self.settled_at, self.today)
        return _weighted_mean(self.outcome[self.matured]), _weighted_mean(self.outcome, weights)

    def take(self, rows: NDArray[np.intp]) -> SnapshotsAsOf:
        """Select the snapshots at positions ``rows``."""
        return SnapshotsAsOf(
            self.as_of[rows], self.settled_at[rows], self.matured[rows], self.outcome[rows], self.today
        )

    def errors(self, resamples: int = RESAMPLES) -> tuple[float, float]:
        """Estimate the standard errors of both rates' distance from the truth.

        They combine a bootstrap over weeks with the variance of the hazard between months. The latter applies
        to what is extrapolated: the share of immature snapshots for the matured rate, the conversions still
        expected for IPCW.

        Args:
            resamples: Number of bootstrap resamples.

        Returns:
            The error of the matured rate, and that of the IPCW rate; NaN where the rates are.
        """
        matured, ipcw = self.rates
        extrapolated = matured * (1 - float(self.matured.mean())), ipcw - self.naive
        by_week = self._week_bootstrap_errors(resamples)
        return (
            float(np.hypot(by_week[0], self.spread * extrapolated[0])),
            float(np.hypot(by_week[1], self.spread * extrapolated[1])),
        )

    @property
    def spread(self) -> float:
        """The standard deviation of the hazard between months until ``today``."""
        settled = self.settled_at <= self.today
        watched = np.where(settled, self.settled_at, self.today) - self.as_of
        return between_month_variance(self.as_of, watched, settled & (self.outcome == 1), self.today)

    def _week_bootstrap_errors(self, resamples: int) -> tuple[float, float]:
        """The standard errors of both rates' distance from the truth, over resamples of whole weeks.

        Leads of one week share campaigns. The censoring weights are estimated anew in each resample, as
        estimated weights have a smaller variance than the true ones (Hirano, Imbens and Ridder 2003).
        """
        week, random = self.as_of // (7 * DAY), np.random.default_rng(0)
        rows = [np.flatnonzero(week == each) for each in np.unique(week)]
        draws = (random.integers(0, len(rows), len(rows)) for _ in range(resamples))
        replicates = [self.take(np.concatenate([rows[place] for place in places])) for places in draws]
        deviation = np.array([each.rates for each in replicates]) - np.array(
            [[each.outcome.mean()] for each in replicates]
        )
        finite = deviation[np.isfinite(deviation).all(axis=1)]
        if len(finite) < resamples / 2:
            return float("nan"), float("nan")
        matured, ipcw = finite.std(axis=0).tolist()
        return matured, ipcw


def _settled_at(labelled: pl.DataFrame, today: int) -> Durations:
    """When each label became known; a second after ``today`` for those that were not known yet."""
    return labelled["settled_at"].fill_null(today + 1).to_numpy()


def _weighted_mean(label: NDArray[np.number], weights: NDArray[np.float64] | None = None) -> float:
    """The weighted share of ones; NaN where all weights are 0."""
    total = len(label) if weights is None else float(weights.sum())
    return float(np.average(label, weights=weights)) if total > 0 else float("nan")


def between_month_variance(as_of: Durations, watched: Durations, won: Flags, today: int) -> float:
    """Estimate how much the hazard of leads of the same age varies between months, beyond chance.

    The conversions of each month are compared with those that the pooled hazard (Nelson and Aalen) expects of
    the leads under observation in it, as DerSimonian and Laird (1986) compare studies. Months have 30 days
    and are counted back from ``today``.

    Args:
        as_of: (n,) moments of the snapshots, in epoch seconds.
        watched: (n,) seconds under observation since then.
        won: (n,) whether the observation ended with a conversion.
        today: The end of the last month, in epoch seconds.

    Returns:
        The standard deviation of a factor on all hazards; 0 if chance explains the months.
    """
    times, at_risk, (ended,) = life_table(watched, won)
    hazard = StepFunction(times, np.cumsum(ended / at_risk), 0.0)
    bounds = np.arange(today, as_of.min() - MONTH, -MONTH)[:, None]
    exposure = np.clip(bounds - as_of, 0, watched)
    expected = -np.diff(hazard.at(exposure).sum(axis=1))
    converted = -np.diff((won & (exposure == watched)).sum(axis=1))
    return _excess_dispersion(converted[expected > 0], expected[expected > 0])


def _excess_dispersion(observed: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    """The standard deviation of the ratios ``observed / expected`` beyond that of Poisson counts."""
    excess = ((observed - expected) ** 2 / expected).sum() - (len(expected) - 1)
    scale = expected.sum() - (expected**2).sum() / expected.sum()
    return float(np.sqrt(max(excess, 0.0) / scale)) if scale > 0 else 0.0
