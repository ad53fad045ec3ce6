"""Whether probabilities mean what they say, and what a whole ranking is worth: NumPy alone.

Measures as in ``models.metrics``: (n,) labels of 0 and 1, (n,) probabilities, optional (n,) weights. Rows of
equal probability stay together, so the order of rows is irrelevant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from models.metrics import BINS, brier, gains
from models.ranking import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TINY = 1e-12
_ROUNDS, _SETTLED, _LONGEST = 50, 1e-9, 3.0


@dataclass(frozen=True)
class Murphy:
    """The Brier score taken apart (Murphy 1973): ``brier = reliability - resolution + uncertainty``.

    Reliability is how far forecasts are from what came (0 is best), resolution how far groups of forecasts
    are apart in what came, uncertainty what the base rate leaves open. Forecasts are grouped in ten; what
    they differ within a group counts as resolution (Stephenson et al. 2008), so the sum is exact.
    """

    reliability: float
    resolution: float
    uncertainty: float


def murphy(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> Murphy:
    """The decomposition of the Brier score.

    >>> murphy(np.array([0, 1]), np.array([0.0, 1.0]))
    Murphy(reliability=0.0, resolution=0.25, uncertainty=0.25)
    """
    return murphy_of(Ranking.of(y, p, weights), brier(y, p, weights))


def murphy_of(ranking: Ranking, brier: float) -> Murphy:
    """The decomposition of a Brier score, by the ranking that it is of."""
    share, said, came = _groups(ranking)
    rate = float(share @ came)
    reliability, uncertainty = float(share @ (said - came) ** 2), rate * (1 - rate)
    return Murphy(reliability, reliability + uncertainty - brier, uncertainty)


def calibration_slope(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """The slope of a logistic regression on the forecast log-odds (Cox 1958).

    1 is right, below 1 forecasts are too extreme, above 1 too cautious. NaN where forecasts are all alike.
    """
    return _recalibrated(y, p, weights)[1]


def calibration_intercept(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """By how much all forecast log-odds are too low, the slope being left at 1: calibration in the large."""
    return _logistic(np.ones((len(p), 1)), y, weights, log_odds(p))[0]


def _recalibrated(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None
) -> list[float]:
    """Intercept and slope of Cox's regression; NaN where forecasts are all alike."""
    f = log_odds(p)
    if np.ptp(f) < _TINY:
        return [float("nan")] * 2
    return _logistic(np.column_stack([np.ones_like(f), f]), y, weights, np.zeros_like(f))


def resampled_calibration(
    y: NDArray[np.number], p: NDArray[np.float64], block: NDArray[np.intp], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(r,) calibration slopes and (r,) intercepts of resamples, each a Newton step from those of all rows.

    ``weights`` (r, blocks) are those of the rows of each ``block`` (n,). What is summed within a block is
    summed once for all resamples (the one-step bootstrap: Shao and Tu 1995, section 2.2). The error is the
    square of the step, which is what chance does to the figure: the smaller, the more rows there are. NaN
    where a resample has one outcome only.
    """
    f = log_odds(p)
    line, level = np.array(_recalibrated(y, p, None)), calibration_intercept(y, p)

    def of_blocks(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(weights @ np.bincount(block, values, weights.shape[1]))

    won, rows = of_blocks(np.asarray(y, dtype=np.float64)), of_blocks(np.ones_like(f))
    both = np.where((won > 0) & (won < rows), 1.0, np.nan)
    said = expit(line[0] + line[1] * f)
    spread = said * (1 - said)
    zero, one, two = (of_blocks(spread * f**power) for power in range(3))
    off, tilt = of_blocks(y - said), of_blocks((y - said) * f)
    slopes = line[1] + (zero * tilt - one * off) / np.maximum(zero * two - one**2, _TINY)
    said = expit(level + f)
    levels = level + of_blocks(y - said) / np.maximum(of_blocks(said * (1 - said)), _TINY)
    return slopes * both, levels * both


def observed_to_expected(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Conversions that came for each that was forecast.

    >>> observed_to_expected(np.array([1, 0]), np.array([0.25, 0.25]))
    2.0
    """
    w = np.ones(len(p)) if weights is None else weights
    return float(w @ y) / max(float(w @ p), _TINY)


def alift(y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> float:
    """The area under the lift curve: the mean lift over every share s of leads that could be called.

    ``integral of capture(s) / s over 0 < s <= 1``, capture being straight between groups of equal forecasts.
    1 is what chance gives; a perfect ranking at a base rate r gives 1 - log(r).

    >>> alift(np.array([1, 0]), np.array([0.5, 0.5]))
    1.0
    """
    return area_under_lift(*gains(y, p, weights))


def area_under_lift(called: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """``alift`` of a gains curve."""
    step, rise = np.diff(called), np.diff(found)
    right, height = called[1:], found[1:]
    if not (keep := step > 0).all():
        step, rise, right, height = step[keep], rise[keep], right[keep], height[keep]
    slope = rise / step
    # Before the first point the curve is straight from 0, and what starts at 0 has no logarithm to add.
    logs = np.log(right)
    return float(rise.sum() + ((height - slope * right)[1:] * np.diff(logs)).sum())


def _groups(
    ranking: Ranking,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The share, mean forecast and rate of up to ten groups of equal size, equal forecasts kept together."""
    whole = ranking.total.sum()
    mass, won = ranking.total / whole, ranking.positive / whole
    middle = np.cumsum(mass) - mass / 2
    group = np.minimum((middle * BINS).astype(np.intp), BINS - 1)
    sums = (mass, mass * ranking.score, won)
    total, said, came = (np.bincount(group, part, BINS).astype(np.float64) for part in sums)
    filled = total > 0
    return total[filled], said[filled] / total[filled], came[filled] / total[filled]


def log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) finite log-odds of (n,) probabilities."""
    return np.asarray(logit(np.clip(p, _TINY, 1 - _TINY)), dtype=np.float64)


def _logistic(
    design: NDArray[np.float64],
    y: NDArray[np.number],
    weights: NDArray[np.float64] | None,
    offset: NDArray[np.float64],
) -> list[float]:
    """The coefficients of a logistic regression by Newton's method; NaN where the outcomes determine none."""
    w = np.ones(len(y)) if weights is None else weights
    if not 0 < w @ y < w.sum():
        return [float("nan")] * design.shape[1]
    at = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        p = expit(design @ at + offset)
        curvature = (design.T * (w * p * (1 - p))) @ design + _TINY * np.eye(len(at))
        step = np.linalg.solve(curvature, design.T @ (w * (y - p)))
        at = at + step / max(1.0, float(np.abs(step).max()) / _LONGEST)
        if np.abs(step).max() < _SETTLED:
            return [float(value) for value in at]
    return [float("nan")] * design.shape[1]
