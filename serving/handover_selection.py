"""Which leads to hand over on a day: the best, and, if wanted, some of the others by lot.

Sales work on what they are given, so a model that chooses alone sees only its own choices confirmed. A few
leads drawn evenly from those below the cut keep its evidence open; each lead's chance of being handed over is
kept, so that whoever learns from them can weight them (Horvitz and Thompson 1952).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TAIL = 0.05


class NoSuchValueError(ValueError):
    """No open lead has a number in the feature that was to say what it is worth."""


@dataclass(frozen=True, slots=True)
class HandoverRequest:
    """What was asked for: so many leads on a ``day`` (epoch seconds of its midnight, UTC).

    The share ``explore`` of them by lot; ``value`` is the feature with what a lead is worth, "" for none.
    """

    day: int
    capacity: int
    explore: float = 0.0
    value: str = ""


@dataclass(frozen=True, slots=True)
class HandoverCandidate:
    """An open lead: the decision about it, and the ``worth`` by which it is ranked."""

    lead_id: str
    decision_id: int
    worth: float
    value: float | None = None


@dataclass(frozen=True, slots=True)
class SelectedLead:
    """A lead that is handed over; ``propensity`` is the chance that it had before any lot was cast."""

    candidate: HandoverCandidate
    explored: bool
    propensity: float


@dataclass(frozen=True, slots=True)
class Selection:
    """The leads of a day, best first, those by lot last.

    Of ``open`` leads, ``tied`` are worth as much as the last one above the cut; ``tied_taken`` of them, drawn
    by lot, were handed over as being above it.
    """

    leads: tuple[SelectedLead, ...]
    open: int
    tied: int
    tied_taken: int


def select_leads(candidates: Iterable[HandoverCandidate], wish: HandoverRequest) -> Selection:
    """The same candidates and wish give the same choice, on whatever machine; another day another lot."""
    ranked = sorted(candidates, key=lambda one: (-one.worth, _lot(wish.day, "tie", one.lead_id)))
    lots = _lots(len(ranked), wish)
    above, below = ranked[: wish.capacity - lots], ranked[wish.capacity - lots :]
    drawn = sorted(below, key=lambda one: _lot(wish.day, "explore", one.lead_id))[:lots]
    cut = above[-1].worth if above else np.inf
    tied = sum(one.worth == cut for one in ranked)
    taken = sum(one.worth == cut for one in above)
    by_lot = lots / len(below) if below else 0.0
    at_cut = taken / tied if tied else 0.0

    def chosen(one: HandoverCandidate, *, explored: bool) -> SelectedLead:
        above_cut = 1.0 if one.worth > cut else at_cut if one.worth == cut else 0.0
        return SelectedLead(one, explored, above_cut + (1 - above_cut) * by_lot)

    explored = sorted(drawn, key=lambda one: -one.worth)
    leads = (
        *(chosen(one, explored=False) for one in above),
        *(chosen(one, explored=True) for one in explored),
    )
    return Selection(leads, len(ranked), tied, taken)


def _lots(candidates: int, wish: HandoverRequest) -> int:
    """How many leads are drawn by lot: none if all are handed over anyway, at least one if any are wanted."""
    if not wish.explore or candidates <= wish.capacity:
        return 0
    return min(wish.capacity, max(1, round(wish.explore * wish.capacity)))


def _lot(day: int, purpose: str, lead_id: str) -> bytes:
    """A number that looks drawn, and is the same for everyone who asks on that day."""
    return hashlib.sha256(f"{day} {purpose} {lead_id}".encode()).digest()


def conversion_interval(probabilities: Sequence[float]) -> tuple[int, int]:
    """Where the number of conversions is, nine times in ten, if they are independent: ``[low, high]``.

    The exact distribution of a sum of unequal chances (Poisson-binomial), one lead added after the other.

    >>> conversion_interval([0.5] * 10)
    (2, 8)
    """
    mass = np.ones(1)
    for p in probabilities:
        mass = np.append(mass * (1 - p), 0.0) + np.append(0.0, mass * p)
    # Rounding must not move an end that lies exactly on the tail.
    reached = np.cumsum(mass) + 1e-12
    return int(np.searchsorted(reached, _TAIL)), int(np.searchsorted(reached, 1 - _TAIL))
