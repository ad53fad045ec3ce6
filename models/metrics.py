"""What predictions are worth, in NumPy alone: ranking, calibration, gains, each with an interval.

Every measure takes (n,) labels of 0 and 1, (n,) probabilities and optional (n,) weights, so that a bootstrap
resample is only another set of weights. Rows with equal predictions are never put in an arbitrary order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from models.ranking import Ranking, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

BINS = 10
RESAMPLES = 300
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
    likely = np.clip(np.where(y == 1, p, 1 - p), _TINY, 1.0)
    return float(-np.average(np.log(likely), weights=weights))


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
    drawn = _resamples(np.random.default_rng(seed), int(unit.max()) + 1)
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


def _resamples(random: np.random.Generator, units: int) -> Iterator[NDArray[np.float64]]:
    """One set of weights after the other: all at once would fill the memory."""
    for _ in range(RESAMPLES):
        weights = random.poisson(1.0, units).astype(np.float64)
        if weights.any():
            yield weights
