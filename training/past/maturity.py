"""Labels that are not there yet: what the newest leads tell before their time is over.

The estimand is the cumulative incidence of the target: the share of snapshots that enter it within the
window, in the world as it is, where a disqualified lead can no longer convert. So a disqualification is a
competing event (Aalen and Johansen 1978), not a censored row: one minus Kaplan-Meier would answer for a world
in which nobody is ever disqualified, and overstate. Only the end of what was observed censors, whatever
becomes of a lead, and so its distribution can be estimated and divided out (Gerds and Schumacher 2006; Vock
et al. 2016). Both classes are treated alike: an outcome known after u counts 1 / P(observed for at least u),
be it a conversion, a disqualification or the end of the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Durations = NDArray[np.int64]
    Flags = NDArray[np.bool_]

Weights = Literal["matured", "ipcw"]


@dataclass(frozen=True, eq=False)
class Steps:
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


def kaplan_meier(duration: Durations, event: Flags) -> Steps:
    """The chance of being event-free after a time (Kaplan and Meier 1958); rows without event are censored.

    Of an event and a censoring at the same time the event came first.

    >>> curve = kaplan_meier(np.array([1, 2, 2, 3]), np.array([True, True, False, True]))
    >>> curve.at(np.array([0, 1, 2, 3])).tolist()
    [1.0, 0.75, 0.5, 0.0]
    """
    times, at_risk, (died,) = life_table(duration, event)
    return Steps(times, np.cumprod(1.0 - died / at_risk, dtype=np.float64), 1.0)


def incidence(duration: Durations, target: Flags, competing: Flags) -> Steps:
    """The share that has entered the target by a time, others having been lost to a competing event.

    Aalen and Johansen's estimator. With no competing events it is one minus Kaplan-Meier.
    """
    times, at_risk, (won, lost) = life_table(duration, target, competing)
    open_before = np.append(1.0, np.cumprod(1 - (won + lost) / at_risk))[:-1]
    return Steps(times, np.cumsum(open_before * won / at_risk), 0.0)


def observed_for(duration: Durations, settled: Flags) -> Steps:
    """The chance of being observed for longer than a time: Kaplan-Meier of the censoring, outcomes censored.

    Outcomes at the same time as a censoring came first, so they are no longer at risk of it.
    """
    times, at_risk, (done, cut) = life_table(duration, settled, ~settled)
    left = at_risk - done
    return Steps(times, np.cumprod(1 - np.divide(cut, left, out=np.zeros(len(cut)), where=left > 0)), 1.0)


def censoring_weights(duration: Durations, settled: Flags) -> NDArray[np.float64]:
    """(n,) 1 / P(observed until the outcome) for rows whose outcome is known, 0 for the others.

    ``duration`` is how long a row was watched until it ``settled``, or until today. Weighted by these, the
    share of converted rows is exactly that of ``incidence``.

    >>> censoring_weights(np.array([1, 2, 3]), np.array([True, False, True])).tolist()
    [1.0, 0.0, 2.0]
    """
    reached = observed_for(duration, settled).before(duration)
    return np.divide(1.0, reached, out=np.zeros(len(duration)), where=settled)


def weights_as_of(as_of: Durations, settled_at: Durations, today: int) -> NDArray[np.float64]:
    """(n,) censoring weights of snapshots as ``today`` would have given them; 0 for what was not yet known.

    ``settled_at`` is when each outcome was known; any moment after ``today`` stands for later. Snapshots that
    were not yet taken do not count.
    """
    taken = as_of < today
    settled = taken & (settled_at <= today)
    watched = np.maximum(np.minimum(settled_at, today) - as_of, 0)
    weights = np.zeros(len(as_of))
    weights[taken] = censoring_weights(watched[taken], settled[taken])
    return weights


def known_labels(labelled: pl.DataFrame, today: int, weights: Weights) -> pl.DataFrame:
    """The matured rows of ``labels``, or ("ipcw") all whose outcome is known, with a column ``weight``.

    It stands for the rows whose outcome is not; there are none before any window was over.
    """
    if weights == "matured" or not labelled["matured"].any():
        return labelled.filter("matured")
    settled_at = labelled["settled_at"].fill_null(today + 1).to_numpy()
    worth = weights_as_of(labelled["as_of"].to_numpy(), settled_at, today)
    known = labelled.with_columns(weight=pl.Series(worth)).filter(pl.col("label").is_not_null())
    return known.with_columns(weight=pl.Series(effective(known["weight"].to_numpy())))


def effective(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights scaled to sum to as many rows as they are worth (Kish 1965), so that priors keep their say.

    >>> effective(np.array([1.0, 1.0, 4.0])).tolist()
    [0.3333333333333333, 0.3333333333333333, 1.3333333333333333]
    """
    return np.asarray(weights * (weights.sum() / (weights @ weights)), dtype=np.float64)


def life_table(
    duration: Durations, *kinds: Flags
) -> tuple[Durations, NDArray[np.int64], list[NDArray[np.int64]]]:
    """The distinct times, how many rows were at risk just before each, how many of each kind ended there."""
    times, place = np.unique(duration, return_inverse=True)
    ended = np.bincount(place, minlength=len(times))
    at_risk = len(duration) - np.append(0, np.cumsum(ended))[:-1]
    return times, at_risk, [np.bincount(place[kind], minlength=len(times)) for kind in kinds]
