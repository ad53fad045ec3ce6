"""What every block says in the same way: a rate with its interval, and that it has nothing to say."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.metrics import Interval


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """A block that these data cannot fill; the page says why by ``reason``, a name under "absent"."""

    reason: str


def wilson(hits: float, rows: float) -> Interval:
    """A rate with its 95 % interval by Wilson, which stays within [0, 1] and holds for few rows.

    >>> wilson(0, 10).high > 0.2
    True
    """
    z = 1.959963984540054
    rate, spread = hits / rows, z * z / rows
    centre = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))
