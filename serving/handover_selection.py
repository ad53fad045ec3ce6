"""Selects the leads to hand over on a day: the best, and on request some of the others at random.

Sales calls only leads that are handed over, so a model that selects alone learns only from its own selection.
A few leads drawn evenly from below the cut (exploration) avoid that. Each lead's propensity, its chance of
being handed over, is kept for inverse probability weighting (Horvitz and Thompson 1952).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TAIL = 0.05
# A prime whose products fit a 64-bit integer, in any database as well.
LOT_MODULUS = 2**31 - 1


class NoSuchValueError(ValueError):
    """No open lead has a number in the feature that the hand-over was to rank by."""


@dataclass(frozen=True, slots=True)
class HandoverRequest:
    """The parameters of a hand-over.

    Attributes:
        day: Epoch seconds of the day's midnight, UTC.
        capacity: How many leads are handed over.
        explore: The share of them that is drawn at random from below the cut, 0 to 1. Default: none.
        value: The feature with what a lead is worth; "" ranks by probability alone.
        tenant: The tenant whose leads are handed over; "" means those of all.
    """

    day: int
    capacity: int
    explore: float = 0.0
    value: str = ""
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class HandoverCandidate:
    """An open lead that may be handed over.

    Attributes:
        lead_id: The lead.
        decision_id: The number of its newest decision in the log.
        worth: What it is ranked by: its probability, times ``value`` where a hand-over ranks by one.
        value: The lead's own value, in the unit of the feature. Default: None, unknown or not asked for.
        tenant: The tenant that the lead belongs to. Default: "", none.
    """

    lead_id: str
    decision_id: int
    worth: float
    value: float | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class SelectedLead:
    """A lead that is handed over.

    Attributes:
        candidate: The lead.
        explored: Whether it was drawn at random from below the cut.
        propensity: Its chance of being selected, in (0, 1], before anything was drawn.
    """

    candidate: HandoverCandidate
    explored: bool
    propensity: float


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected leads, best first, those drawn at random last.

    Attributes:
        leads: The selected leads.
        open: How many candidates there were.
        tied: How many of them are worth as much as the last one above the cut, itself included.
        tied_taken: How many of these are above the cut; they were drawn at random.
    """

    leads: tuple[SelectedLead, ...]
    open: int
    tied: int
    tied_taken: int


def select_leads(candidates: Iterable[HandoverCandidate], request: HandoverRequest) -> Selection:
    """Select the leads of a hand-over.

    What is drawn depends on the day and the lead ids alone: the same candidates and request give the same
    selection on every machine.

    Args:
        candidates: The open leads.
        request: The parameters.

    Returns:
        At most ``request.capacity`` leads, each with its propensity.
    """
    ties, draw = DayLots.of(request.day, "tie"), DayLots.of(request.day, "explore")
    ranked = sorted(candidates, key=lambda each: (-each.worth, *ties.key(each)))
    lots = count_lots(len(ranked), request)
    above, below = ranked[: request.capacity - lots], ranked[request.capacity - lots :]
    sample = sorted(below, key=draw.key)[:lots]
    tied = sum(each.worth == above[-1].worth for each in ranked) if above else 0
    return compose_selection(above, sample, len(ranked), tied)


def compose_selection(
    above: Sequence[HandoverCandidate], sample: Sequence[HandoverCandidate], candidates: int, tied: int
) -> Selection:
    """The selection of leads above the cut and leads drawn from below it, with their propensities.

    Args:
        above: The leads above the cut, best first.
        sample: The leads that were drawn from below.
        candidates: How many leads there were, selected or not.
        tied: How many of them are worth as much as the last one above.
    """
    below = candidates - len(above)
    cut = above[-1].worth if above else np.inf
    tied_above = sum(each.worth == cut for each in above)
    by_lot = len(sample) / below if below else 0.0
    at_cut = tied_above / tied if tied else 0.0

    def selected_lead(candidate: HandoverCandidate, *, explored: bool) -> SelectedLead:
        above_cut = 1.0 if candidate.worth > cut else at_cut if candidate.worth == cut else 0.0
        return SelectedLead(candidate, explored, above_cut + (1 - above_cut) * by_lot)

    explored = sorted(sample, key=lambda each: -each.worth)
    leads = (
        *(selected_lead(each, explored=False) for each in above),
        *(selected_lead(each, explored=True) for each in explored),
    )
    return Selection(leads, candidates, tied, tied_above)


def count_lots(candidates: int, request: HandoverRequest) -> int:
    """How many leads are drawn at random: 0 where all are selected, at least 1 where a share is asked for."""
    if not request.explore or candidates <= request.capacity:
        return 0
    return min(request.capacity, max(1, round(request.explore * request.capacity)))


@dataclass(frozen=True, slots=True)
class DayLots:
    """The order in which leads are drawn on a day: by ``(multiplier * lot + offset) % LOT_MODULUS``.

    A universal hash (Carter and Wegman 1979) of each lead's own ``lot``, so that a database can sort by it.
    The few leads whose numbers are equal are ordered by a hash of their ids.
    """

    day: int
    purpose: str
    multiplier: int
    offset: int

    @classmethod
    def of(cls, day: int, purpose: str) -> DayLots:
        """The order of a day for one purpose, which every caller gets alike."""
        digest = hashlib.sha256(f"{day} {purpose}".encode()).digest()
        first, second = (int.from_bytes(half, "big") for half in (digest[:16], digest[16:]))
        return cls(day, purpose, 1 + first % (LOT_MODULUS - 1), second % LOT_MODULUS)

    def number(self, lot: int) -> int:
        """The number of a lead with this ``lead_lot``, in ``[0, LOT_MODULUS)``."""
        return (self.multiplier * lot + self.offset) % LOT_MODULUS

    def key(self, candidate: HandoverCandidate) -> tuple[int, bytes, str]:
        """What leads are sorted by; those with the smallest keys are drawn."""
        lead_id = candidate.lead_id
        tie = hashlib.sha256(f"{self.day} {self.purpose} {lead_id}".encode()).digest()
        return self.number(lead_lot(lead_id)), tie, candidate.tenant


def lead_lot(lead_id: str) -> int:
    """A number in ``[0, LOT_MODULUS)`` that a lead has on all days, from its id alone."""
    return int.from_bytes(hashlib.sha256(lead_id.encode()).digest()[:8], "big") % LOT_MODULUS


def conversion_interval(probabilities: Sequence[float]) -> tuple[int, int]:
    """A 90 % interval of the number of conversions among independent leads.

    From the exact distribution of a sum of unequal Bernoulli variables (Poisson-binomial), by convolution.

    Args:
        probabilities: One per lead.

    Returns:
        ``(low, high)``, both inclusive.

    >>> conversion_interval([0.5] * 10)
    (2, 8)
    """
    mass = np.ones(1)
    for p in probabilities:
        mass = np.append(mass * (1 - p), 0.0) + np.append(0.0, mass * p)
    # Rounding must not move an end that lies exactly on the tail.
    cumulative = np.cumsum(mass) + 1e-12
    return int(np.searchsorted(cumulative, _TAIL)), int(np.searchsorted(cumulative, 1 - _TAIL))
