"""What every block says in the same way: a rate with its interval, and that it has nothing to say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.metrics import Z_95, Interval
from models.witnesses import design_effect

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """A block that these data cannot fill; the page says why by ``reason``, a name under "absent"."""

    reason: str


def wilson(hits: float, rows: float) -> Interval:
    """A rate with its 95 % interval by Wilson, which stays within [0, 1] and holds for few rows.

    >>> wilson(0, 10).high > 0.2
    True
    """
    rate, spread = hits / rows, Z_95 * Z_95 / rows
    centre = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def shared_rate(
    y: NDArray[np.float64], unit: NDArray[np.integer], weight: NDArray[np.float64] | None = None
) -> Interval:
    """The rate of (n,) outcomes with a 95 % interval in which the rows of one ``unit`` are one witness.

    It is Wilson's, of as many rows as these are worth: their number by Kish's design effect (1965; Rao and
    Scott 1992), which says how much more the rate varies than that of as many independent rows. Where all
    rows came out alike nothing varies, and each unit is one witness whatever its number of rows.

    >>> once, thrice = np.array([1.0, 0, 0, 0]), np.repeat([1.0, 0, 0, 0], 3)
    >>> shared_rate(thrice, np.repeat(np.arange(4), 3)) == wilson(1, 4)
    True
    """
    w = np.ones(len(y)) if weight is None else weight
    rows, rate = float(w.sum()), float(np.average(y, weights=w))
    place, alone = np.unique(unit, return_inverse=True)[1], rows * rate * (1 - rate)
    # Of outcomes that are all alike the limit: units that each say one thing.
    effect = design_effect(w * (y - rate) if alone else w, place, alone or rows)
    return wilson(rate * rows / effect, rows / effect)
