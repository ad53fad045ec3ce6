"""How sure the size of a driver is: over the leads that were looked at, and over models learned anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

from models.metrics import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 200
_LEVEL = 0.975


def likely(points: Floats, refitted: Sequence[Floats] = (), share: float = 1.0) -> list[Interval]:
    """The mean size of each column of ``points`` (n, k) with its 95 % interval.

    ``refitted`` are the same for models that each did without one of as many groups of leads, which were
    ``share`` of all; without them the interval says only what depends on which rows these are.
    """
    size = np.abs(points).mean(axis=0)
    low, high = _over_rows(points)
    if refitted:
        wide = np.hypot(_over_refits([np.abs(one).mean(axis=0) for one in refitted], share), (high - low) / 2)
        low, high = np.maximum(size - wide, 0.0), size + wide
    return [Interval(*map(float, ends)) for ends in zip(size, low, high, strict=True)]


def _over_rows(points: Floats) -> Floats:
    """The ends of the interval over rows, by a bootstrap (Efron 1979)."""
    size, n = np.abs(points), len(points)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES) @ size / n
    return np.asarray(np.quantile(drawn, (1 - _LEVEL, _LEVEL), axis=0))


def _over_refits(figures: Sequence[Floats], share: float) -> Floats:
    """Half the width of the interval of each figure, by the delete-a-group jackknife.

    A sample of ``share`` of the rows varies by 1/share as much as all of them would.
    """
    groups = len(figures)
    variance = (groups - 1) * np.var(np.stack(figures), axis=0) * share
    return np.asarray(student.ppf(_LEVEL, groups - 1) * np.sqrt(variance))
