"""Selects few conditions by forward selection, and rounds their weights to small integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from models import metrics
from models.points_table import calibrate_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RIDGE = 1.0
LEAST_GAIN = 2.0
# Points are as small as they can be without losing more than this of the log-loss.
LARGEST = (5, 10, 15, 20, 30, 50)
TOLERATED = 0.0005
_STEPS, _SETTLED = 25, 1e-6


def forward_selection(holds: NDArray[np.bool_], y: NDArray[np.float64], most: int) -> tuple[int, ...]:
    """Forward selection of the columns of a logistic regression by score tests (Rao 1948).

    After each refit the column with the largest score statistic is added, while that exceeds 2, as under AIC.

    Args:
        holds: (n, conditions) which rows meet which conditions.
        y: (n,) targets in [0, 1], outcomes or probabilities.
        most: The largest number of columns.

    Returns:
        The selected columns, in the order of selection.
    """
    columns = holds.astype(np.float32)
    selected: list[int] = []
    at = np.zeros(1)
    while len(selected) < most:
        at = fitted_weights(holds[:, selected], y, at)
        gains = _gains(columns, y, at[0] + holds[:, selected] @ at[1:])
        gains[selected] = 0.0
        if gains.max(initial=0.0) <= LEAST_GAIN:
            break
        selected.append(int(np.argmax(gains)))
        at = np.append(at, 0.0)
    return tuple(selected)


def fitted_weights(
    holds: NDArray[np.bool_], y: NDArray[np.float64], start: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Fit a ridge logistic regression by Newton's method.

    Args:
        holds: (n, conditions) which rows meet which conditions.
        y: (n,) targets in [0, 1].
        start: (1 + conditions,) where to start. Default: 0.

    Returns:
        (1 + conditions,) the intercept, which is not penalised, and the weights.
    """
    design = np.column_stack([np.ones(len(y)), holds])
    ridge = np.full(design.shape[1], RIDGE)
    ridge[0] = 0.0
    at = np.zeros(design.shape[1]) if start is None else start
    for _ in range(_STEPS):
        p = expit(design @ at)
        curvature = (design.T * (p * (1 - p))) @ design + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curvature, design.T @ (y - p) - ridge * at)
        # A long step can overshoot where the sigmoid is flat; a bounded one cannot.
        at = at + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < _SETTLED:
            break
    return at


def round_to_integers(
    holds: NDArray[np.bool_], weights: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Round weights to the smallest integers that lose at most 0.05 % of the log-loss.

    Args:
        holds: (n, conditions) which rows meet which conditions.
        weights: (conditions,) the weights.
        y: (n,) outcomes, 0 or 1.

    Returns:
        (conditions,) points; the largest is one of ``LARGEST`` in absolute value.
    """
    if not len(weights):
        return np.zeros(0, dtype=np.int64)
    scaled = [_scaled(weights, largest) for largest in LARGEST]
    losses = [calibrated_loss(holds @ points, y) for points in scaled]
    exact = calibrated_loss(holds @ weights, y)
    good = (p for p, loss in zip(scaled, losses, strict=True) if loss <= exact * (1 + TOLERATED))
    return next(good, scaled[int(np.argmin(losses))])


def calibrated_loss(score: NDArray[np.number], y: NDArray[np.float64]) -> float:
    """The log-loss of scores after Platt calibration on the same rows."""
    points = np.asarray(score, dtype=np.float64)
    return metrics.log_loss(y, expit(calibrate_points(points, y).apply(points)))


def threshold_points(points: NDArray[np.int64], shares: Sequence[float]) -> tuple[int, ...]:
    """The thresholds at which at most a share of the leads is taken.

    Leads with equal points are taken together; where those with the most points are too many, they are taken.

    Args:
        points: (n,) the points of the leads.
        shares: Shares of the leads in (0, 1].

    Returns:
        For each share, the least number of points that is taken.

    >>> threshold_points(np.array([9, 5, 5, 1]), (0.25, 0.5, 0.75))
    (9, 9, 5)
    """
    values, counts = np.unique(points, return_counts=True)
    above = np.cumsum(counts[::-1])[::-1] / len(points)
    return tuple(int(values[above <= share].min(initial=values[-1])) for share in shares)


def _scaled(weights: NDArray[np.float64], largest: int) -> NDArray[np.int64]:
    return np.asarray(np.rint(weights * (largest / np.abs(weights).max())), dtype=np.int64)


def _gains(
    columns: NDArray[np.float32], y: NDArray[np.float64], log_odds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(conditions,) the score statistic of each column: about twice the gain in log-likelihood."""
    p = expit(log_odds)
    w = p * (1 - p)
    gradient = ((y - p).astype(np.float32) @ columns).astype(np.float64)
    weight = (w.astype(np.float32) @ columns).astype(np.float64)
    information = weight - weight**2 / w.sum()
    return np.asarray(np.where(information > 1.0, gradient**2 / np.maximum(information, 1.0), 0.0))
