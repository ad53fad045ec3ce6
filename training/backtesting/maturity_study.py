"""How far each way of counting was, on past days, from what later happened, and what chance does to that.

Two things separate a rate foretold from the one that came. One is who came by, week by week: whole weeks are
drawn anew for it. The other is time: a campaign ends, a seller leaves, and from one month to the next leads
of every age convert at another pace. No method sees the pace of a month that has not come; how much paces
have differed so far can be seen, and belongs into the error.
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
    """The rate of one horizon as three ways would have put it on a past day, and what came of it.

    ``rows`` are the snapshots up to that day, ``matured`` those of them whose window was over: without any,
    neither ``matured_only`` nor ``ipcw`` can say how many convert late, and both are NaN. The errors are the
    standard errors of the distance of either from the truth. ``spread`` is the standard deviation, beyond
    chance, of the monthly pace at which leads of the same age had converted until that day.
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
        """Of the conversions that ``ipcw`` still awaited, the share that came: 1 if nothing changed."""
        awaited = self.ipcw - self.naive
        return (self.truth - self.naive) / awaited if awaited > 0 else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"pace": self.arrived_share}


def evaluate_rate_estimators(
    history: LeadHistory, snapshots: Snapshots, spec: LabelSpec, days: Sequence[int], horizons: Sequence[int]
) -> tuple[RateEstimate, ...]:
    """How far each way of counting was from what later happened, on past ``days`` and for ``horizons``.

    Raises ValueError where the history ends before the truth of the last day is known.
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
    """(n,) snapshots as ``today`` saw them, and what ``came`` of them later."""

    as_of: Durations
    settled_at: Durations
    matured: Flags
    outcome: NDArray[np.number]
    today: int

    @property
    def naive(self) -> float:
        """The rate if nothing more came."""
        return float(((self.settled_at <= self.today) & (self.outcome == 1)).mean())

    @property
    def rates(self) -> tuple[float, float]:
        """The rate among matured rows, and the weighted one; NaN where no row is matured."""
        if not self.matured.any():
            return float("nan"), float("nan")
        weights = ipcw_weights_as_of(self.as_of, self.settled_at, self.today)
        return _weighted_mean(self.outcome[self.matured]), _weighted_mean(self.outcome, weights)

    def take(self, rows: NDArray[np.intp]) -> SnapshotsAsOf:
        """The snapshots at these positions."""
        return SnapshotsAsOf(
            self.as_of[rows], self.settled_at[rows], self.matured[rows], self.outcome[rows], self.today
        )

    def errors(self, resamples: int = RESAMPLES) -> tuple[float, float]:
        """The standard errors of either rate's distance from the truth: who came by, and at what pace.

        The pace bears on what is guessed alone: all that matured rows say of the others, and of the weighted
        rate what had not come.
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
        """How much the pace of months differed until ``today``."""
        settled = self.settled_at <= self.today
        watched = np.where(settled, self.settled_at, self.today) - self.as_of
        return between_month_variance(self.as_of, watched, settled & (self.outcome == 1), self.today)

    def _week_bootstrap_errors(self, resamples: int) -> tuple[float, float]:
        """The standard errors of either rate's distance from the truth, over resamples of whole weeks.

        Leads of one week share a campaign and a mood, and the weights are worked out anew each time: they are
        estimates themselves, and the better for it (Hirano, Imbens and Ridder 2003).
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
    """When each label was known, and a second after ``today`` for those that were not."""
    return labelled["settled_at"].fill_null(today + 1).to_numpy()


def _weighted_mean(label: NDArray[np.number], weights: NDArray[np.float64] | None = None) -> float:
    """The weighted share of ones; NaN where nothing counts."""
    total = len(label) if weights is None else float(weights.sum())
    return float(np.average(label, weights=weights)) if total > 0 else float("nan")


def between_month_variance(as_of: Durations, watched: Durations, won: Flags, today: int) -> float:
    """How much months differ in the pace at which leads of the same age convert, beyond chance.

    The standard deviation of a factor on all hazards, 0 if chance explains the months: the conversions of
    each month against those that the pooled hazards (Nelson and Aalen) expect of the leads watched in it, as
    DerSimonian and Laird (1986) compare studies. Months are counted back from ``today``.
    """
    times, at_risk, (ended,) = life_table(watched, won)
    hazard = StepFunction(times, np.cumsum(ended / at_risk), 0.0)
    bounds = np.arange(today, as_of.min() - MONTH, -MONTH)[:, None]
    exposure = np.clip(bounds - as_of, 0, watched)
    expected = -np.diff(hazard.at(exposure).sum(axis=1))
    converted = -np.diff((won & (exposure == watched)).sum(axis=1))
    return _excess_dispersion(converted[expected > 0], expected[expected > 0])


def _excess_dispersion(observed: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    """The standard deviation of the rates ``came / expected`` that Poisson's does not explain."""
    excess = ((observed - expected) ** 2 / expected).sum() - (len(expected) - 1)
    scale = expected.sum() - (expected**2).sum() / expected.sum()
    return float(np.sqrt(max(excess, 0.0) / scale)) if scale > 0 else 0.0
