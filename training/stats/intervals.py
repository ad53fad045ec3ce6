"""How many independent witnesses rows are: those of one lead share what became of it.

A lead that is looked at or scored ten times has one outcome. Whoever counts rows is ten times too sure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import gammaincinv

from models.metrics import Z_95, Interval

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Durations = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]


def effective_sample_size(lead_id: pl.Series) -> float:
    """As how many leads, each seen once, these rows count (Kish 1965): seen again, a lead says the same.

    >>> import polars as pl
    >>> effective_sample_size(pl.Series(["a", "b", "b"]))
    1.8
    """
    looks = lead_id.value_counts(name="looks")["looks"].to_numpy().astype(np.float64)
    return float(looks.sum() ** 2 / (looks @ looks)) if len(looks) else 0.0


def design_effect(off: NDArray[np.float64], unit: NDArray[np.integer], alone: float | None = None) -> float:
    """How many times more the sum of (n,) deviations varies than if rows of one ``unit`` were independent.

    Kish's design effect (1965; for rates Rao and Scott 1984), never below 1: 1 where each unit (n,), numbered
    from 0, has one row, near their size where the rows of a unit all deviate alike. ``alone`` is the variance
    of independent rows, if it is known otherwise than from their squares.

    >>> once = np.array([0.5, -0.5, 0.25])
    >>> design_effect(once, np.arange(3)), design_effect(np.repeat(once, 4), np.repeat(np.arange(3), 4))
    (1.0, 4.0)
    """
    together = np.bincount(unit, weights=off)
    apart = float(off @ off) if alone is None else alone
    return max(1.0, float(together @ together) / apart) if apart else 1.0


def wilson_interval(hits: float, rows: float) -> Interval:
    """A rate with its 95 % interval by Wilson, which stays within [0, 1] and holds for few rows.

    >>> wilson_interval(0, 10).high > 0.2
    True
    """
    rate, spread = hits / rows, Z_95 * Z_95 / rows
    centre = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def clustered_rate(
    y: NDArray[np.float64], unit: NDArray[np.integer], weight: NDArray[np.float64] | None = None
) -> Interval:
    """The rate of (n,) outcomes with a 95 % interval in which the rows of one ``unit`` are one witness.

    It is Wilson's, of as many rows as these are worth: their number by Kish's design effect (1965; Rao and
    Scott 1992), which says how much more the rate varies than that of as many independent rows. Where all
    rows came out alike nothing varies, and each unit is one witness whatever its number of rows.

    >>> once, thrice = np.array([1.0, 0, 0, 0]), np.repeat([1.0, 0, 0, 0], 3)
    >>> clustered_rate(thrice, np.repeat(np.arange(4), 3)) == wilson_interval(1, 4)
    True
    """
    w = np.ones(len(y)) if weight is None else weight
    rows, rate = float(w.sum()), float(np.average(y, weights=w))
    place, alone = np.unique(unit, return_inverse=True)[1], rows * rate * (1 - rate)
    # Of outcomes that are all alike the limit: units that each say one thing.
    effect = design_effect(w * (y - rate) if alone else w, place, alone or rows)
    return wilson_interval(rate * rows / effect, rows / effect)


def scale_to_effective_size(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights scaled to sum to as many rows as they are worth (Kish 1965), so that priors keep their say.

    >>> scale_to_effective_size(np.array([1.0, 1.0, 4.0])).tolist()
    [0.3333333333333333, 0.3333333333333333, 1.3333333333333333]
    """
    return np.asarray(weights * (weights.sum() / (weights @ weights)), dtype=np.float64)


def poisson_rate_interval(hits: int, weeks: float) -> Interval:
    """Events per week of watching, with the exact 95 % interval of a Poisson count (Garwood 1936).

    >>> rate = poisson_rate_interval(10, 1.0)
    >>> low, high = round(rate.low, 3), round(rate.high, 3)
    >>> low, high
    (4.795, 18.39)
    """
    low = float(gammaincinv(hits, 0.025)) if hits else 0.0
    return Interval(hits / weeks, low / weeks, float(gammaincinv(hits + 1, 0.975)) / weeks)
