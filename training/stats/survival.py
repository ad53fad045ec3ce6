"""Shares and rates that time is part of, with intervals that hold for few events.

The share that has entered the target by a time is Aalen and Johansen's cumulative incidence (see
``training.data.censoring``): leads that are still open count for as long as they were watched, and a lead
that was closed can no longer enter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.stats.intervals import wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.metrics import Interval

    Floats = NDArray[np.float64]
    Durations = NDArray[np.int64]
    Flags = NDArray[np.bool_]


_NOTHING = 1e-9


def cumulative_incidence_intervals(
    watched: Durations, won: Flags, lost: Flags, times: Durations
) -> tuple[Interval, ...]:
    """The share that was won before each of ``times`` (exclusive), each with its 95 % interval.

    The interval is Wilson's for as many rows as the estimate's variance is worth (Dorey and Korn 1987), so it
    stays within [0, 1], and without censored rows it is Wilson's own.

    >>> everyone = np.ones(4, dtype=bool)
    >>> watched, times = np.array([1, 2, 3, 4]), np.array([3, 9])
    >>> [one.value for one in cumulative_incidence_intervals(watched, everyone, ~everyone, times)]
    [0.5, 1.0]
    """
    share, variance = _incidence(watched, won, lost, times)
    cut = ~won & ~lost
    known = len(watched) - np.searchsorted(np.sort(watched[cut]), times, side="left")
    spread = share * (1 - share)
    some = (spread > _NOTHING) & (variance > 0)
    worth = np.divide(spread, variance, out=known.astype(np.float64), where=some)
    return tuple(wilson_interval(float(x * n), float(n)) for x, n in zip(share, worth, strict=True))


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


@dataclass(frozen=True, eq=False)
class StepFunction:
    """A step function of time that starts at ``first`` and takes ``values[i]`` from ``times[i]`` on."""

    times: Durations
    values: NDArray[np.float64]
    first: float

    def at(self, time: Durations | int) -> NDArray[np.float64]:
        """The value at ``time``, a step at that very time included."""
        return self._after(np.searchsorted(self.times, time, side="right"))

    def before(self, time: Durations | int) -> NDArray[np.float64]:
        """The value just before ``time``."""
        return self._after(np.searchsorted(self.times, time, side="left"))

    def _after(self, steps: NDArray[np.intp] | np.intp) -> NDArray[np.float64]:
        return np.append(self.first, self.values)[steps]


def kaplan_meier(duration: Durations, event: Flags) -> StepFunction:
    """The chance of being event-free after a time (Kaplan and Meier 1958); rows without event are censored.

    Of an event and a censoring at the same time the event came first.

    >>> curve = kaplan_meier(np.array([1, 2, 2, 3]), np.array([True, True, False, True]))
    >>> curve.at(np.array([0, 1, 2, 3])).tolist()
    [1.0, 0.75, 0.5, 0.0]
    """
    times, at_risk, (died,) = life_table(duration, event)
    return StepFunction(times, np.cumprod(1.0 - died / at_risk, dtype=np.float64), 1.0)


def aalen_johansen(duration: Durations, target: Flags, competing: Flags) -> StepFunction:
    """The share that has entered the target by a time, others having been lost to a competing event.

    Aalen and Johansen's estimator. With no competing events it is one minus Kaplan-Meier.
    """
    times, at_risk, (won, lost) = life_table(duration, target, competing)
    open_before = np.append(1.0, np.cumprod(1 - (won + lost) / at_risk))[:-1]
    return StepFunction(times, np.cumsum(open_before * won / at_risk), 0.0)


def censoring_survival(duration: Durations, settled: Flags) -> StepFunction:
    """The chance of being observed for longer than a time: Kaplan-Meier of the censoring, outcomes censored.

    Outcomes at the same time as a censoring came first, so they are no longer at risk of it.
    """
    times, at_risk, (done, cut) = life_table(duration, settled, ~settled)
    left = at_risk - done
    return StepFunction(
        times, np.cumprod(1 - np.divide(cut, left, out=np.zeros(len(cut)), where=left > 0)), 1.0
    )


def ipcw_weights(duration: Durations, settled: Flags) -> NDArray[np.float64]:
    """(n,) 1 / P(observed until the outcome) for rows whose outcome is known, 0 for the others.

    ``duration`` is how long a row was watched until it ``settled``, or until today. Weighted by these, the
    share of converted rows is exactly that of ``aalen_johansen``.

    >>> ipcw_weights(np.array([1, 2, 3]), np.array([True, False, True])).tolist()
    [1.0, 0.0, 2.0]
    """
    reached = censoring_survival(duration, settled).before(duration)
    return np.divide(1.0, reached, out=np.zeros(len(duration)), where=settled)


def life_table(
    duration: Durations, *kinds: Flags
) -> tuple[Durations, NDArray[np.int64], list[NDArray[np.int64]]]:
    """The distinct times, how many rows were at risk just before each, how many of each kind ended there."""
    times, place = np.unique(duration, return_inverse=True)
    ended = np.bincount(place, minlength=len(times))
    at_risk = len(duration) - np.append(0, np.cumsum(ended))[:-1]
    return times, at_risk, [np.bincount(place[kind], minlength=len(times)) for kind in kinds]
