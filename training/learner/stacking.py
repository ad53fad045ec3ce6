"""Stacking: weights for the parts of a model, fitted to out-of-fold predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from models.metrics import log_loss_per_row
from training.learner.blas_threads import one_blas_thread

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
) -> StackingWeights:
    """Fit stacking weights and calibration in one penalised logistic regression on log-odds.

    Stacking (Wolpert 1992; Breiman 1996) with weights that are not negative, under a normal prior around
    equal weights. With ``period`` each period has an effect of its own: by how much the parts, trained on
    earlier rows, were off in it. Their common part becomes the intercept (``shrunken_intercept``); what
    differs between periods says little about the next one. So it is with the shares of the parts: where
    periods disagree, they are as many witnesses as there are, not as many as rows.

    Args:
        parts: (n, k) out-of-fold log-odds of the parts.
        y: (n,) outcomes, 0 or 1.
        w: (n,) weights of the rows.
        period: (n,) the fold of each row in time, numbered from 0; None without an order.

    Example:
        A part that knows the truth gets nearly all the weight, one of noise next to none:

        >>> random = np.random.default_rng(0)
        >>> truth, noise = random.normal(size=(2, 5000))
        >>> y = (random.random(5000) < expit(truth)).astype(float)
        >>> fitted = fit_stacking(np.column_stack([truth, noise]), y, np.ones(5000))
        >>> bool(fitted.weights[0] > 0.9), bool(fitted.weights[1] < 0.1)
        (True, True)
    """
    common = _fit_penalised(parts, y, w, period, DOUBT)
    if period is None or parts.shape[1] < 2 or int(period.max()) == 0 or common.slope == 0:  # noqa: PLR2004
        return common
    witnesses, disagreement = _shares_by_period(parts, y, w, period)
    if disagreement == 0:
        return common
    shares = (1 - disagreement) * common.weights / common.slope + disagreement * witnesses
    mixed = _fit_penalised((parts @ shares)[:, None], y, w, period, DOUBT)
    return StackingWeights(shares * mixed.slope, mixed.intercept)


def _fit_penalised(
    parts: NDArray[np.float64],
    y: NDArray[np.number],
    w: NDArray[np.float64],
    period: NDArray[np.intp] | None,
    doubt: float,
) -> StackingWeights:
    """The weights common to all rows, under a prior of precision ``doubt``, and the intercept."""
    period_design = np.ones((len(y), 1)) if period is None else np.eye(int(period.max()) + 1)[period]
    design, k = np.hstack([parts, period_design]), parts.shape[1]
    prior = np.append(np.full(k, 1 / max(1, k)), np.zeros(period_design.shape[1]))

    def cost(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_odds = design @ theta
        deviation = theta - prior
        loss = w @ log_loss_per_row(y, log_odds) + doubt / 2 * (deviation @ deviation)
        return float(loss), design.T @ (w * (expit(log_odds) - y)) + doubt * deviation

    bounds = [(0.0, None)] * k + [(None, None)] * period_design.shape[1]
    with one_blas_thread():  # idle threads that wait for so little work cost ten times the work
        theta = minimize(cost, prior, jac=True, method="L-BFGS-B", bounds=bounds).x
    p = expit(design @ theta)
    return StackingWeights(
        theta[:k],
        float(theta[-1])
        if period is None
        else shrunken_intercept(theta[k:], (w * p * (1 - p)) @ period_design),
    )


def _shares_by_period(
    parts: NDArray[np.float64], y: NDArray[np.number], w: NDArray[np.float64], period: NDArray[np.intp]
) -> tuple[NDArray[np.float64], float]:
    """(k,) shares of the parts by the periods, which sum to 1, and how far periods disagree, from 0 to 1.

    The shares are a random-effects mean (DerSimonian and Laird 1986) under a prior around equal ones; periods
    differ by ``STEADIEST_SHARE`` at least, so that one of many rows is a single witness, and one of few rows
    says little. They disagree by the share of the variance that chance does not explain (Higgins 2002).
    """
    k, periods = parts.shape[1], int(period.max()) + 1
    shares, variances = np.empty((periods, k)), np.empty(periods)
    for number in range(periods):
        rows = period == number
        # The prior counts once, not once a period.
        alone = _fit_penalised(parts[rows], y[rows], w[rows], None, DOUBT / periods)
        shares[number] = alone.weights / alone.slope if alone.slope > 0 else 1 / k
        p = expit(alone.apply(parts[rows]))
        information = w[rows] * p * (1 - p)
        difference = parts[rows, 0] - parts[rows, -1]
        difference = difference - information @ difference / information.sum()
        variances[number] = 1 / (max(alone.slope, 1 / k) ** 2 * information @ difference**2 + DOUBT / periods)
    fixed = 1 / variances
    deviation = shares - fixed @ shares / fixed.sum()
    spread = float((fixed @ deviation**2).mean())
    excess = spread - (periods - 1)
    between = excess / float(fixed.sum() - fixed @ fixed / fixed.sum())
    precision = 1 / (variances + max(STEADIEST_SHARE**2, between))
    prior = PRIOR_SHARE**-2
    mean = np.asarray((precision @ shares + prior / k) / (precision.sum() + prior))
    return mean, max(0.0, excess / spread) if spread > 0 else 0.0


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
