"""Stacking: weights for the parts of a model, fitted to out-of-fold predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # comes with scikit-learn

from models.metrics import log_loss_per_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The prior's precision: some tens of positives outweigh it, fewer leave the parts at equal weights.
DOUBT = 5.0
# Levels of periods move by at least so much (a standard deviation, in log-odds): three of them cannot show
# less, and those of most histories move by .1 to .5.
STEADIEST = 0.25
# The best share of a part differs between periods by at least so much (a standard deviation), and how far
# from equal shares they may be expected.
STEADIEST_SHARE, PRIOR_SHARE = 0.1, 0.4


@dataclass(frozen=True, eq=False)
class StackingWeights:
    """Stacking weights and calibration: ``log-odds = parts @ weights + intercept``.

    Attributes:
        weights: (parts,) weights, none negative; their sum is the slope of the calibration.
        intercept: In log-odds.
    """

    weights: NDArray[np.float64]
    intercept: float

    @property
    def slope(self) -> float:
        """The slope of the calibration: the sum of the weights."""
        return float(self.weights.sum())

    def apply(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute (n,) calibrated log-odds from the (n, parts) raw ones."""
        return np.asarray(parts @ self.weights + self.intercept, dtype=np.float64)


def fit_stacking(
    parts: NDArray[np.float64],
    y: NDArray[np.number],
    w: NDArray[np.float64],
    period: NDArray[np.intp] | None = None,
    doubt: float = DOUBT,
) -> StackingWeights:
    """Fit stacking weights and calibration in one penalised logistic regression on log-odds.

    Stacking (Wolpert 1992; Breiman 1996) with weights that are not negative, under a normal prior around
    equal weights. With ``period`` each period has an effect of its own: by how much the parts, trained on
    earlier rows, were off in it. Their common part becomes the intercept (``shrunken_intercept``); what
    differs between periods says little about the next one. So it is with the shares of the parts: periods
    are as many witnesses as there are, not as many as rows, and where they disagree the prior counts.

    Args:
        parts: (n, k) out-of-fold log-odds of the parts.
        y: (n,) outcomes, 0 or 1.
        w: (n,) weights of the rows.
        period: (n,) the fold of each row in time, numbered from 0; None without an order.
        doubt: The prior's precision. Default ``DOUBT``.

    Example:
        A part that knows the truth gets nearly all the weight, one of noise next to none:

        >>> random = np.random.default_rng(0)
        >>> truth, noise = random.normal(size=(2, 5000))
        >>> y = (random.random(5000) < expit(truth)).astype(float)
        >>> fitted = fit_stacking(np.column_stack([truth, noise]), y, np.ones(5000))
        >>> bool(fitted.weights[0] > 0.9), bool(fitted.weights[1] < 0.1)
        (True, True)
    """
    if period is not None and parts.shape[1] > 1 and int(period.max()) > 0:
        shares = _share_of_parts(parts, y, w, period)
        mixed = fit_stacking((parts @ shares)[:, None], y, w, period)
        return StackingWeights(shares * mixed.slope, mixed.intercept)
    period_design = np.ones((len(y), 1)) if period is None else np.eye(int(period.max()) + 1)[period]
    design, k = np.hstack([parts, period_design]), parts.shape[1]
    prior = np.append(np.full(k, 1 / max(1, k)), np.zeros(period_design.shape[1]))

    def cost(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_odds = design @ theta
        deviation = theta - prior
        loss = w @ log_loss_per_row(y, log_odds) + doubt / 2 * (deviation @ deviation)
        return float(loss), design.T @ (w * (expit(log_odds) - y)) + doubt * deviation

    bounds = [(0.0, None)] * k + [(None, None)] * period_design.shape[1]
    with threadpool_limits(1, "blas"):  # idle threads that wait for so little work cost ten times the work
        theta = minimize(cost, prior, jac=True, method="L-BFGS-B", bounds=bounds).x
    p = expit(design @ theta)
    return StackingWeights(
        theta[:k],
        float(theta[-1])
        if period is None
        else shrunken_intercept(theta[k:], (w * p * (1 - p)) @ period_design),
    )


def _share_of_parts(
    parts: NDArray[np.float64], y: NDArray[np.number], w: NDArray[np.float64], period: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(k,) shares of the parts, which sum to 1: a random-effects mean of those of the periods and the prior.

    Periods differ by ``STEADIEST_SHARE`` at least, so that one of many rows is a single witness; one of few
    rows says little at all.
    """
    k, periods = parts.shape[1], int(period.max()) + 1
    shares, variances = np.empty((periods, k)), np.empty(periods)
    for number in range(periods):
        rows = period == number
        # The prior counts once, not once a period.
        alone = fit_stacking(parts[rows], y[rows], w[rows], doubt=DOUBT / periods)
        shares[number] = alone.weights / alone.slope if alone.slope > 0 else 1 / k
        p = expit(alone.apply(parts[rows]))
        information = w[rows] * p * (1 - p)
        difference = parts[rows, 0] - parts[rows, -1]
        difference = difference - information @ difference / information.sum()
        variances[number] = 1 / (max(alone.slope, 1 / k) ** 2 * information @ difference**2 + DOUBT / periods)
    fixed = 1 / variances
    deviation = shares - fixed @ shares / fixed.sum()
    excess = float((fixed @ deviation**2).mean()) - (periods - 1)
    between = excess / float(fixed.sum() - fixed @ fixed / fixed.sum())
    precision = 1 / (variances + max(STEADIEST_SHARE**2, between))
    prior = PRIOR_SHARE**-2
    return np.asarray((precision @ shares + prior / k) / (precision.sum() + prior))


def shrunken_intercept(period_effects: NDArray[np.float64], information: NDArray[np.float64]) -> float:
    """Estimate the effect of the next period from those of past ones.

    The random-effects mean of the past periods (DerSimonian and Laird 1986), shrunk to 0 by the positive part
    of James and Stein (1961): periods that swing give 0.

    Args:
        period_effects: (k,) effect of each period, in log-odds.
        information: (k,) inverse of each effect's variance.

    Returns:
        The intercept in log-odds; 0 for a single period.

    Example:
        >>> shrunken_intercept(np.array([1.0, 1.0, 1.0]), np.full(3, 100.0)) > 0.9
        True
        >>> shrunken_intercept(np.array([-1.0, 1.0, 0.1]), np.full(3, 100.0))
        0.0
    """
    if len(period_effects) == 1:
        return 0.0
    fixed_effect = information @ period_effects / information.sum()
    excess = information @ (period_effects - fixed_effect) ** 2 - (len(period_effects) - 1)
    between = max(0.0, float(excess / (information.sum() - information @ information / information.sum())))
    weight = 1 / (1 / information + between)
    mean, variance = float(weight @ period_effects / weight.sum()), float(1 / weight.sum())
    total_variance = variance + between + STEADIEST**2
    return mean * max(0.0, 1 - total_variance / mean**2) if mean else 0.0
