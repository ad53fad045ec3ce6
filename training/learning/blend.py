"""Weights for the parts of a model, learned from predictions of rows that the parts had not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The prior's precision: some tens of positives outweigh it, fewer leave the parts at equal weights.
DOUBT = 5.0


@dataclass(frozen=True, eq=False)
class Blend:
    """``log-odds = parts @ weights + intercept``; the weights are not negative and sum to the slope."""

    weights: NDArray[np.float64]
    intercept: float

    @property
    def slope(self) -> float:
        """What calibration multiplies by: the sum of the weights."""
        return float(self.weights.sum())

    def apply(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) calibrated log-odds of (n, parts) raw ones."""
        return np.asarray(parts @ self.weights + self.intercept, dtype=np.float64)


def fit_blend(
    parts: NDArray[np.float64],
    y: NDArray[np.number],
    w: NDArray[np.float64],
    period: NDArray[np.intp] | None = None,
) -> Blend:
    """Stacking (Wolpert 1992; Breiman 1996) and calibration in one logistic regression on log-odds.

    With ``period`` (n,), the fold of each row in time, every period gets a level of its own and the blend's
    intercept is 0: how the level moved between past periods says little about where it goes next, and the
    model that is served has learned from the newest rows, which these parts had not.
    """
    levels = np.ones((len(y), 1)) if period is None else np.eye(int(period.max()) + 1)[period]
    design, k = np.hstack([parts, levels]), parts.shape[1]
    prior = np.append(np.full(k, 1 / max(1, k)), np.zeros(levels.shape[1]))

    def cost(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        f = design @ at
        off = at - prior
        loss = w @ (np.logaddexp(0, f) - y * f) + DOUBT / 2 * (off @ off)
        return float(loss), design.T @ (w * (expit(f) - y)) + DOUBT * off

    bounds = [(0.0, None)] * k + [(None, None)] * levels.shape[1]
    at = minimize(cost, prior, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Blend(at[:k], float(at[-1]) if period is None else 0.0)
