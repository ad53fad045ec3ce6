"""Survival analysis: Kaplan-Meier, Aalen-Johansen, inverse probability of censoring weights, life table.

Durations are whole seconds (any whole unit will do). A row is the time for which a lead was observed and what
ended it: the target, a competing event, or the end of observation, which censors. The share that has entered
the target by a time is the cumulative incidence of Aalen and Johansen: a lead that was disqualified can no
longer enter, so it is a competing event and not a censored row (see ``training.data.censoring``).
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
    """The cumulative incidence of the target before each of ``times``, with 95 % intervals.

    The interval is Wilson's for as many rows as the variance of the estimate is worth (Dorey and Korn 1987):
    it stays within [0, 1], and without censored rows it is Wilson's own.

    Args:
        watched: (n,) how long each row was observed.
        won: (n,) whether the target ended it.
        lost: (n,) whether a competing event ended it; rows with neither are censored.
        times: (k,) times; events at a time itself do not count.

    Returns:
        k intervals.

    >>> everyone = np.ones(4, dtype=bool)
    >>> watched, times = np.array([1, 2, 3, 4]), np.array([3, 9])
    >>> [one.value for one in cumulative_incidence_intervals(watched, everyone, ~everyone, times)]
    [0.5, 1.0]
    """
    share, variance = _incidence(watched, won, lost, times)
    censored = ~won & ~lost
    known = len(watched) - np.searchsorted(np.sort(watched[censored]), times, side="left")
    spread = share * (1 - share)
    estimable = (spread > _NOTHING) & (variance > 0)
    worth = np.divide(spread, variance, out=known.astype(np.float64), where=estimable)
    return tuple(wilson_interval(float(x * n), float(n)) for x, n in zip(share, worth, strict=True))


def _incidence(watched: Durations, won: Flags, lost: Flags, times: Durations) -> tuple[Floats, Floats]:
    """The cumulative incidence just before ``times`` and its variance by the delta method.

    Of the variance's three sums over the steps up to t (Marubini and Valsecchi 1995, eq. 10.12), the terms
    that do not depend on t are summed up once; what is left is a look-up.
    """
    steps, at_risk, (hits, ends) = life_table(watched, won, lost)
    survivors = at_risk - hits - ends
    before = np.append(1.0, np.cumprod(survivors / at_risk))[:-1]
    share = np.cumsum(before * hits / at_risk)
    spread = np.divide(hits + ends, at_risk * survivors, out=np.zeros(len(steps)), where=survivors > 0)
    own = before**2 * (at_risk - hits) * hits / at_risk**3
    shared = before * hits / at_risk**2
    terms = (spread, share * spread, share**2 * spread, own, shared, share * shared)
    place = np.searchsorted(steps, times, side="left")
    a, af, aff, b, c, cf = (np.append(0.0, np.cumsum(term))[place] for term in terms)
    f = np.append(0.0, share)[place]
    return f, f**2 * a - 2 * f * af + aff + b - 2 * f * c + 2 * cf


@dataclass(frozen=True, eq=False)
class StepFunction:
    """A step function of time that starts at ``first`` and takes ``values[i]`` from ``times[i]`` on.

    Attributes:
        times: (k,) the times of the steps, ascending.
        values: (k,) the values after each step.
        first: The value before the first step.
    """

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
    """The product-limit estimate of the chance of being event-free after a time (Kaplan and Meier 1958).

    Of an event and a censoring at the same time the event came first.

    Args:
        duration: (n,) how long each row was observed.
        event: (n,) whether the event ended it; the other rows are censored.

    Returns:
        The survival curve, 1 before the first step.

    >>> curve = kaplan_meier(np.array([1, 2, 2, 3]), np.array([True, True, False, True]))
    >>> curve.at(np.array([0, 1, 2, 3])).tolist()
    [1.0, 0.75, 0.5, 0.0]
    """
    times, at_risk, (events,) = life_table(duration, event)
    return StepFunction(times, np.cumprod(1.0 - events / at_risk, dtype=np.float64), 1.0)


def aalen_johansen(duration: Durations, target: Flags, competing: Flags) -> StepFunction:
    """The cumulative incidence of the target under competing events (Aalen and Johansen 1978).

    Without competing events it is one minus Kaplan-Meier.

    Args:
        duration: (n,) how long each row was observed.
        target: (n,) whether the target ended it.
        competing: (n,) whether a competing event ended it; rows with neither are censored.

    Returns:
        The cumulative incidence, 0 before the first step.

    >>> target = np.array([True, False, True])
    >>> aalen_johansen(np.array([1, 2, 3]), target, ~target).at(np.array([1, 3])).round(3).tolist()
    [0.333, 0.667]
    """
    times, at_risk, (won, lost) = life_table(duration, target, competing)
    open_before = np.append(1.0, np.cumprod(1 - (won + lost) / at_risk))[:-1]
    return StepFunction(times, np.cumsum(open_before * won / at_risk), 0.0)


def censoring_survival(duration: Durations, settled: Flags) -> StepFunction:
    """The chance of still being observed after a time: Kaplan-Meier with events and censorings swapped.

    An outcome at the same time as a censoring came first, so it is no longer at risk of it.

    Args:
        duration: (n,) how long each row was observed.
        settled: (n,) whether its outcome became known; the other rows were censored.

    Returns:
        The survival curve of the censoring time, 1 before the first step.
    """
    times, at_risk, (outcomes, cut) = life_table(duration, settled, ~settled)
    exposed = at_risk - outcomes
    return StepFunction(
        times, np.cumprod(1 - np.divide(cut, exposed, out=np.zeros(len(cut)), where=exposed > 0)), 1.0
    )


def ipcw_weights(duration: Durations, settled: Flags) -> NDArray[np.float64]:
    """Inverse probability of censoring weights (Robins and Rotnitzky 1992).

    Weighted by these, the share of converted rows is exactly that of ``aalen_johansen``.

    Args:
        duration: (n,) how long each row was observed: until its outcome, or until today.
        settled: (n,) whether its outcome is known.

    Returns:
        (n,) one over the chance of being observed until the outcome; 0 for rows whose outcome is not known.

    >>> ipcw_weights(np.array([1, 2, 3]), np.array([True, False, True])).tolist()
    [1.0, 0.0, 2.0]
    """
    reached = censoring_survival(duration, settled).before(duration)
    return np.divide(1.0, reached, out=np.zeros(len(duration)), where=settled)


def life_table(
    duration: Durations, *kinds: Flags
) -> tuple[Durations, NDArray[np.int64], list[NDArray[np.int64]]]:
    """The counts that survival estimates are made of.

    Args:
        duration: (n,) how long each row was observed.
        kinds: Arrays (n,) of flags, one for each kind of end.

    Returns:
        (k,) the distinct durations, ascending; (k,) how many rows were at risk just before each; for each
        kind (k,) how many rows ended so at each.
    """
    times, place = np.unique(duration, return_inverse=True)
    ends = np.bincount(place, minlength=len(times))
    at_risk = len(duration) - np.append(0, np.cumsum(ends))[:-1]
    return times, at_risk, [np.bincount(place[kind], minlength=len(times)) for kind in kinds]
