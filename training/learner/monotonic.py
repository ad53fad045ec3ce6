"""Effects and trees that keep to monotone constraints (``training.data.monotone_constraints``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

from models.additive import PiecewiseLinearTerm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.additive import CategoryTerm
    from models.encoding import FeatureEncoder


def lightgbm_constraints(encodings: FeatureEncoder, signs: Mapping[str, int]) -> tuple[int, ...]:
    """One sign for each column that the trees see; none at all where nothing is constrained."""
    if not signs:
        return ()
    return tuple(signs.get(encodings.feature_names[owner], 0) for owner in encodings.owner)


def isotonic_effect(
    effect: PiecewiseLinearTerm | CategoryTerm, sign: int
) -> PiecewiseLinearTerm | CategoryTerm:
    """The nearest effect that only rises (1) or falls (-1): isotonic regression over the knots.

    >>> isotonic_effect(PiecewiseLinearTerm((0.0, 1.0, 2.0), (0.0, 2.0, 1.0), 0.0), 1).values
    (0.0, 1.5, 1.5)
    """
    if not sign or not isinstance(effect, PiecewiseLinearTerm):
        return effect
    nearest_ = isotonic_regression(np.array(effect.values), increasing=sign > 0).x
    return replace(effect, values=tuple(nearest_.tolist()))
