"""Shares and rates that time is part of, with intervals that hold for few events.

The share that has entered the target by a time is Aalen and Johansen's cumulative incidence (see
``training.past.maturity``): leads that are still open count for as long as they were watched, and a lead that
was closed can no longer enter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv

from models.metrics import Interval
from training.insight.rates import wilson
from training.past.maturity import life_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.past.maturity import Durations, Flags

    Floats = NDArray[np.float64]

_NOTHING = 1e-9


def shares_before(watched: Durations, won: Flags, lost: Flags, times: Durations) -> tuple[Interval, ...]:
    """The share that was won before each of ``times`` (exclusive), each with its 95 % interval.

    The interval is Wilson's for as many rows as the estimate's variance is worth (Dorey and Korn 1987), so it
    stays within [0, 1], and without censored rows it is Wilson's own.

    >>> everyone = np.ones(4, dtype=bool)
    >>> [one.value for one in shares_before(np.array([1, 2, 3, 4]), everyone, ~everyone, np.array([3, 9]))]
    [0.5, 1.0]
    """
    share, variance = _incidence(watched, won, lost, times)
    cut = ~won & ~lost
    known = len(watched) - np.searchsorted(np.sort(watched[cut]), times, side="left")
    spread = share * (1 - share)
    some = (spread > _NOTHING) & (variance > 0)
    worth = np.divide(spread, variance, out=known.astype(np.float64), where=some)
    return tuple(wilson(float(x * n), float(n)) for x, n in zip(share, worth, strict=True))


def per_week(hits: int, weeks: float) -> Interval:
    """Events per week of watching, with the exact 95 % interval of a Poisson count (Garwood 1936).

    >>> low, high = (round(bound, 3) for bound in (per_week(10, 1.0).low, per_week(10, 1.0).high))
    >>> low, high
    (4.795, 18.39)
    """
    low = float(gammaincinv(hits, 0.025)) if hits else 0.0
    return Interval(hits / weeks, low / weeks, float(gammaincinv(hits + 1, 0.975)) / weeks)


def _incidence(watched: Durations, won: Flags, lost: Flags, times: Durations) -> tuple[Floats, Floats]:
    """The cumulative incidence just before ``times`` and its variance by the delta method.

    Of the variance's three sums over the steps up to t (Marubini and Valsecchi 1995, eq. 10.12), the terms
    that do not depend on t are summed up once; what is left is a look-up.
    """
    steps, at_risk, (hits, ends) = life_table(watched, won, lost)
    left = at_risk - hits - ends
    before = np.append(1.0, np.cumprod(left / at_risk))[:-1]
    share = np.cumsum(before * hits / at_risk)
    spread = np.divide(hits + ends, at_risk * left, out=np.zeros(len(steps)), where=left > 0)
    own = before**2 * (at_risk - hits) * hits / at_risk**3
    shared = before * hits / at_risk**2
    terms = (spread, share * spread, share**2 * spread, own, shared, share * shared)
    place = np.searchsorted(steps, times, side="left")
    a, af, aff, b, c, cf = (np.append(0.0, np.cumsum(term))[place] for term in terms)
    f = np.append(0.0, share)[place]
    return f, f**2 * a - 2 * f * af + aff + b - 2 * f * c + 2 * cf
