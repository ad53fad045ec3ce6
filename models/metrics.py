"""What predictions are worth, in NumPy alone: ranking, calibration, gains, each with an interval.

Every measure takes (n,) labels of 0 and 1, (n,) probabilities and optional (n,) weights, so that a bootstrap
resample is only another set of weights. Rows with equal predictions are never put in an arbitrary order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.special import ndtri

from models.ranking import Ranking, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

BINS = 10
RESAMPLES = 300
# How many standard errors of a normal distribution to either side hold 90 % and 95 % of it.
Z_90, Z_95 = float(ndtri(0.95)), float(ndtri(0.975))
_TINY = 1e-15


class Metric(Protocol):
    """A figure of labels, probabilities and weights."""

    def __call__(
        self, y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
    ) -> float:
        """The figure; NaN where it is undefined."""
        ...


@dataclass(frozen=True)
class Interval:
    """A figure and the 95 % interval around it."""

    value: float
    low: float
    high: float


def roc_auc(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """The chance that a converted lead is ranked above another one, ties counting half.

    >>> roc_auc(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.9]))
    0.75
    """
    return Ranking.of(y, p, weights).roc_auc


def average_precision(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """The precision at each converted lead's rank, averaged: the area under precision over recall."""
    return Ranking.of(y, p, weights).average_precision


def log_losses(y: NDArray[np.number], log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) what each row loses by its log-odds: exact however large these are."""
    return np.asarray(np.logaddexp(0, log_odds) - y * log_odds, dtype=np.float64)


def log_loss(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """The mean of -log(probability given to what happened), in nats."""
    return float(np.average(log_loss_terms(y, p), weights=weights))


def log_loss_terms(y: NDArray[np.number], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) what each row adds to ``log_loss`` by its probability, which is kept 1e-15 off impossible.

    >>> log_loss_terms(np.array([1, 0]), np.array([0.5, 0.75])).round(3).tolist()
    [0.693, 1.386]
    """
    likely = np.clip(np.where(y == 1, p, 1 - p), _TINY, 1.0)
    return np.asarray(-np.log(likely), dtype=np.float64)


def brier(y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> float:
    """The mean squared distance of probability and outcome."""
    return float(np.average((p - y) ** 2, weights=weights))


def calibration_error(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Expected calibration error: |mean probability - rate| over ten bins of equal weight, averaged.

    Rows of equal probability share their rate before an edge cuts them apart, so their order is irrelevant.
    """
    order = in_order(p)
    p, w = p[order], np.ones(len(p)) if weights is None else weights[order]
    y = _shared(y[order], p, w)
    place = np.cumsum(w) - w / 2
    bins = np.minimum((place / w.sum() * BINS).astype(np.intp), BINS - 1)
    gaps = np.bincount(bins, weights=w * (p - y), minlength=BINS)
    return float(np.abs(gaps).sum() / w.sum())


def _shared(y: NDArray[np.number], p: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each outcome replaced by the mean of those with the same probability; rows are sorted by it."""
    tied = np.cumsum(np.diff(p, prepend=p[:1]) > 0)
    weight = np.maximum(np.bincount(tied, weights=w), _TINY)
    return np.asarray((np.bincount(tied, weights=w * y) / weight)[tied])


def gains(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The share of leads called, best first, and the share of conversions among them: the gains curve.

    One point after each group of equal predictions; between them the curve is straight, which is what
    calling a tied group in random order finds.
    """
    return Ranking.of(y, p, weights).gains


def capture(y: NDArray[np.number], p: NDArray[np.float64], share: float) -> float:
    """The share of conversions among the best ``share`` of leads.

    >>> capture(np.array([1, 0, 0, 1]), np.array([0.9, 0.1, 0.2, 0.1]), 0.25)
    0.5
    """
    called, found = gains(y, p)
    return float(np.interp(share, called, found))


def lift(y: NDArray[np.number], p: NDArray[np.float64], share: float) -> float:
    """How many times more conversions the best ``share`` of leads holds than as many leads at random."""
    return capture(y, p, share) / share


def with_interval(
    metric: Metric,
    y: NDArray[np.number],
    p: NDArray[np.float64],
    units: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> Interval:
    """``metric`` with its 95 % interval; see ``with_intervals``."""
    return with_intervals({"": metric}, y, p, units, seed)[""]


def with_intervals(
    measures: Mapping[str, Metric],
    y: NDArray[np.number],
    p: NDArray[np.float64],
    units: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each metric with the 2.5 % and 97.5 % quantiles of Poisson bootstrap resamples (Efron; Chamandy 2012).

    A resample gives each unit a Poisson(1) weight, the same for every metric; ``units`` (n,) number what
    rows belong to, such as a lead that was looked at several times and had one outcome. Rows are sorted
    once, so that each resample finds them in order.
    """
    order = np.argsort(p, kind="stable")
    y, p = y[order], p[order]
    unit = np.arange(len(p)) if units is None else np.unique(units, return_inverse=True)[1][order]
    drawn = (w for w in poisson_weights(int(unit.max()) + 1, RESAMPLES, seed) if w.any())
    draws = [[metric(y, p, w[unit]) for metric in measures.values()] for w in drawn]
    columns = zip(measures, zip(*draws, strict=True), strict=True)
    return {name: _interval(measures[name](y, p), column) for name, column in columns}


def _interval(value: float, draws: Sequence[float]) -> Interval:
    """The quantiles of ``draws``, moved by what resampling itself adds.

    A calibration error grows with noise, and its interval would else lie above the error that was measured.
    """
    known = [draw for draw in draws if np.isfinite(draw)]
    if not known:
        return Interval(value, np.nan, np.nan)
    moved = np.quantile(known, [0.025, 0.975]) - (np.mean(known) - value)
    low, high = np.clip(moved, 0.0, max(*known, value))
    return Interval(value, float(low), float(high))


def mean_interval(
    values: NDArray[np.float64], unit: NDArray[np.integer], weights: NDArray[np.float64]
) -> Interval:
    """The mean of (n,) values and its 95 % interval by resamples of units (a Poisson block bootstrap).

    Args:
        values: (n,) one value a row.
        unit: (n,) the unit of each row, numbered from 0; rows of a unit are drawn together.
        weights: (r, units) from ``poisson_weight_matrix``.

    Returns:
        The mean with the 2.5 % and 97.5 % quantiles of its resamples.
    """
    totals, sizes = np.bincount(unit, weights=values), np.bincount(unit)
    return quantile_interval(float(values.mean()), (weights @ totals) / (weights @ sizes))


def quantile_interval(value: float, resampled: NDArray[np.float64]) -> Interval:
    """The value with the 2.5 % and 97.5 % quantiles of its resamples, which it is never outside of.

    Resamples in which it is undefined are left out; where it or all of them are, both ends are NaN.
    """
    known = resampled[np.isfinite(resampled)]
    if not len(known) or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def poisson_weights(units: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """The (units,) weights of one resample after the other: Poisson(1), drawn apart (Chamandy et al. 2012).

    All at once would fill the memory. In a resample of very few units all weights may be 0.

    Args:
        units: How many units are drawn: rows, or what rows belong to.
        resamples: How many resamples are drawn.
        seed: The same seed gives the same weights.

    Yields:
        The weights of a resample.

    >>> [weights.tolist() for weights in poisson_weights(3, 2, 0)]
    [[1.0, 0.0, 0.0], [3.0, 3.0, 1.0]]
    """
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield random.poisson(1.0, units).astype(np.float64)


def poisson_weight_matrix(units: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """(resamples, units) the same weights at once; a resample that drew no unit holds each unit once."""
    weights = np.empty((resamples, units))
    for row, drawn in zip(weights, poisson_weights(units, resamples, seed), strict=True):
        row[:] = drawn if drawn.any() else 1.0
    return weights
