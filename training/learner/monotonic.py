"""Monotone constraints on effects and trees (declared in ``training.data.monotone_constraints``)."""

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
    """Expand constraints by feature to LightGBM's constraints by column.

    Args:
        encodings: The encodings, which know the feature of each column.
        signs: 1 or -1 by the name of the feature.

    Returns:
        A sign per column that the trees use, or an empty tuple where nothing is constrained.
    """
    if not signs:
        return ()
    return tuple(signs.get(encodings.feature_names[owner], 0) for owner in encodings.owner)


def isotonic_effect(
    effect: PiecewiseLinearTerm | CategoryTerm, sign: int
) -> PiecewiseLinearTerm | CategoryTerm:
    """Project an effect onto the monotone ones by isotonic regression over its knots.

    Args:
        effect: A curve; a category is returned as it is.
        sign: 1 for non-decreasing, -1 for non-increasing, 0 for no constraint.

    Example:
        >>> isotonic_effect(PiecewiseLinearTerm((0.0, 1.0, 2.0), (0.0, 2.0, 1.0), 0.0), 1).values
        (0.0, 1.5, 1.5)
    """
    if not sign or not isinstance(effect, PiecewiseLinearTerm):
        return effect
    nearest_ = isotonic_regression(np.array(effect.values), increasing=sign > 0).x
    return replace(effect, values=tuple(nearest_.tolist()))
