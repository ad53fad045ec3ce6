"""Calibration: one affine map of log-odds, so that contributions scale with it and stay exact."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_ITERATIONS = 50
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class PlattCalibration:
    """Platt scaling on log-odds (Platt 1999): ``logit p = slope * f + intercept``.

    Attributes:
        slope: Factor on raw log-odds. Default 1.
        intercept: Added to them, in log-odds. Default 0.

    >>> PlattCalibration(2.0, -1.0).apply(np.array([0.5]))
    array([0.])
    """

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) calibrated log-odds of (n,) ``raw`` log-odds."""
        return self.slope * raw + self.intercept

    def to_json(self) -> str:
        """As JSON text; ``from_json`` gives back an equal calibration."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PlattCalibration:
        """The calibration that ``to_json`` wrote."""
        return cls(**json.loads(text))

    @classmethod
    def fit(
        cls,
        raw: NDArray[np.float64],
        y: NDArray[np.number],
        weights: NDArray[np.float64] | None = None,
        prior_precision: float = 5.0,
    ) -> PlattCalibration:
        """Fit slope and intercept: the posterior mode under a normal prior around (1, 0), "change nothing".

        Some tens of positives outweigh the prior; with fewer the result stays near the identity, because two
        numbers from a handful of outcomes would be noise.

        Args:
            raw: (n,) raw log-odds of rows that the model was not fitted on.
            y: (n,) outcomes, 1 or 0.
            weights: (n,) weights of the rows. Default 1 each.
            prior_precision: Inverse variance of the prior of both numbers. Default 5.

        Returns:
            The calibration.
        """
        design = np.column_stack([raw, np.ones_like(raw)])
        w = np.ones_like(raw) if weights is None else weights
        parameters = np.array([1.0, 0.0])
        for _ in range(_MAX_ITERATIONS):
            p = expit(design @ parameters)
            gradient = design.T @ (w * (p - y)) + prior_precision * (parameters - np.array([1.0, 0.0]))
            curvature = (design.T * (w * p * (1 - p))) @ design + prior_precision * np.eye(2)
            step = np.linalg.solve(curvature, gradient)
            # A long step can overshoot where the sigmoid is flat; a bounded one cannot.
            parameters = parameters - step / max(1.0, float(np.abs(step).max()))
            if np.abs(step).max() < _TOLERANCE:
                break
        return cls(float(parameters[0]), float(parameters[1]))


def update_intercept(
    calibration: PlattCalibration,
    log_odds: NDArray[np.float64],
    y: NDArray[np.number],
    prior_precision: float = 5.0,
) -> PlattCalibration:
    """Fit only the intercept anew, for a base rate that has moved.

    Args:
        calibration: The calibration in use.
        log_odds: (n,) calibrated log-odds of recent leads. Matured ones only, or leads that convert fast are
            over-represented.
        y: (n,) their outcomes, 1 or 0.
        prior_precision: Inverse variance of the prior that nothing moved. Default 5.

    Returns:
        ``calibration`` with the same slope and a new intercept.

    >>> round(update_intercept(PlattCalibration(), np.zeros(900), np.arange(900) % 3 == 0).intercept, 2)
    -0.68
    """
    shift = 0.0
    for _ in range(_MAX_ITERATIONS):
        p = expit(log_odds + shift)
        step = (float((p - y).sum()) + prior_precision * shift) / (
            float((p * (1 - p)).sum()) + prior_precision
        )
        shift -= step / max(1.0, abs(step))
        if abs(step) < _TOLERANCE:
            break
    return PlattCalibration(calibration.slope, calibration.intercept + shift)
