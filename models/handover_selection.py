"""Selects the leads to hand over on a day: the best, and on request some of the others at random.

Sales calls only leads that are handed over, so a model that selects alone learns only from its own selection.
A few leads drawn evenly from below the cut (exploration) avoid that. Each lead's propensity, its chance of
being handed over, is kept for inverse probability weighting (Horvitz and Thompson 1952).

On request a small share of all leads, the control group (hold-out), is on no list, so that what calls do
can be measured. Who belongs to it is decided once, by the lead's id: a lead that waited one day and was
called the next would measure nothing. Those of them who would have been selected are named beside the list.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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
        control_share: The share of all leads that are the control group and never handed over, 0 to 1.
            Default: none.
        owner: Whose leads the list is of, as ``models.handover_plan`` tells; "" means anybody's.
        dormant: Whether leads that are older than any in training are handed over as well. Default: no.
        reserve: How many leads are named beside the list, the next best ones. Default: none.
        model: The name of the model that ranks. Default: "", the default one.
    """

    day: int
    capacity: int
    explore: float = 0.0
    value: str = ""
    tenant: str = ""
    control_share: float = 0.0
    owner: str = ""
    dormant: bool = False
    reserve: int = 0
    model: str = ""


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
    """A lead that is handed over, or would be if it did not belong to the control group.

    Attributes:
        candidate: The lead.
        explored: Whether it was drawn at random from below the cut.
        propensity: Its chance of being handed over, in (0, 1], before anything was drawn, the control group
            included.
    """

    candidate: HandoverCandidate
    explored: bool
    propensity: float


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected leads, best first, those drawn at random last.

    Attributes:
        leads: The selected leads.
        open: How many candidates there were, without the control group.
        tied: How many of them are worth as much as the last one above the cut, itself included.
        tied_taken: How many of these are above the cut; they were drawn at random.
        control: The leads of the control group that would have been selected: each of them exactly if it
            would be among ``leads`` were it alone not in the group.
        reserve: The next leads below the cut that were not drawn, best first; they are handed over only
            where somebody says so.
    """

    leads: tuple[SelectedLead, ...]
    open: int
    tied: int
    tied_taken: int
    control: tuple[SelectedLead, ...] = ()
    reserve: tuple[HandoverCandidate, ...] = ()


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
    everybody = list(candidates)
    limit = control_limit(request.control_share)
    control = [each for each in everybody if control_number(lead_lot(each.lead_id)) < limit]
    others = [each for each in everybody if control_number(lead_lot(each.lead_id)) >= limit]
    ranked = sorted(others, key=lambda each: (-each.worth, *ties.key(each)))
    lots = count_lots(len(ranked), request)
    above, below = ranked[: request.capacity - lots], ranked[request.capacity - lots :]
    sample = sorted(below, key=draw.key)[:lots]
    tied = sum(each.worth == above[-1].worth for each in ranked) if above else 0
    reserve = tuple(_without(below, sample)[: request.reserve])
    return replace(
        compose_selection(request, SelectedParts(above, sample, control), len(ranked), tied), reserve=reserve
    )


def _without(
    candidates: Iterable[HandoverCandidate], others: Iterable[HandoverCandidate]
) -> list[HandoverCandidate]:
    left_out = set(others)
    return [each for each in candidates if each not in left_out]


class StreamedSelection:
    """Selects as ``select_leads`` does from leads that come one by one, in any order.

    It holds no more of them than may be selected, however many come.

    Args:
        request: The parameters.
    """

    def __init__(self, request: HandoverRequest) -> None:
        self._request = request
        self._ties, self._draw = DayLots.of(request.day, "tie"), DayLots.of(request.day, "explore")
        self._limit = control_limit(request.control_share)
        self._size = request.capacity + request.reserve
        self._lots = request.capacity if request.explore else 0
        # Both heaps have the lead first that would leave next.
        self._best: list[tuple[float, int, _Later]] = []
        self._drawn: list[tuple[int, _Later]] = []
        self._control: list[HandoverCandidate] = []
        self._open = 0
        # How many leads that left are worth as much as the last of the best.
        self._tied_outside = 0
        # Below the one, and above the other, no lead is taken any more: nearly all are left out by these.
        self._least_worth = -math.inf
        self._last_number = LOT_MODULUS if self._lots else -1

    def add(self, candidate: Callable[[], HandoverCandidate], worth: float, lot: int) -> None:
        """Take a lead into account.

        Args:
            candidate: Makes the lead, where it may be selected.
            worth: What it is ranked by.
            lot: Its ``lead_lot``.
        """
        number = self._draw.number(lot) if self._lots else 0
        is_drawn, is_best = number <= self._last_number, worth >= self._least_worth
        if self._limit and control_number(lot) < self._limit:
            if is_best or is_drawn:
                self._control.append(candidate())
            return
        self._open += 1
        if is_best:
            self._add_best(candidate(), -self._ties.number(lot))
        if is_drawn:
            self._add_drawn(candidate(), -number)

    def _add_best(self, candidate: HandoverCandidate, tie: int) -> None:
        entry = (candidate.worth, tie, _Later(candidate, self._ties))
        if len(self._best) < self._size:
            heapq.heappush(self._best, entry)
        else:
            gone, *_ = heapq.heappushpop(self._best, entry)
            self._tied_outside = self._tied_outside + 1 if gone == self._best[0][0] else 0
        if len(self._best) == self._size:
            self._least_worth = self._best[0][0]

    def _add_drawn(self, candidate: HandoverCandidate, number: int) -> None:
        entry = (number, _Later(candidate, self._draw))
        (heapq.heappushpop if len(self._drawn) >= self._lots else heapq.heappush)(self._drawn, entry)
        if len(self._drawn) == self._lots:
            self._last_number = -self._drawn[0][0]

    def finish(self) -> Selection:
        """The selection from all leads that were added."""
        request, count = self._request, self._open
        lots = count_lots(count, request)
        ranked = [entry[-1].candidate for entry in sorted(self._best, reverse=True)]
        above, below = ranked[: request.capacity - lots], ranked[request.capacity - lots :]
        sample_candidates = [entry[-1].candidate for entry in sorted(self._drawn, reverse=True)]
        sample = _without(sample_candidates, above)[:lots]
        tied = sum(each.worth == above[-1].worth for each in ranked) if above else 0
        if above and above[-1].worth == ranked[-1].worth:
            tied += self._tied_outside
        selection = compose_selection(request, SelectedParts(above, sample, self._control), count, tied)
        return replace(selection, reserve=tuple(_without(below, sample)[: request.reserve]))


@dataclass(frozen=True, slots=True)
class _Later:
    """Stands before another lead with the same number where the full key stands after it."""

    candidate: HandoverCandidate
    lots: DayLots

    def __lt__(self, other: _Later) -> bool:
        return self.lots.key(self.candidate) > self.lots.key(other.candidate)


@dataclass(frozen=True, slots=True)
class SelectedParts:
    """The leads above the cut, best first, those drawn from below, and leads of the control group."""

    above: Sequence[HandoverCandidate]
    sample: Sequence[HandoverCandidate]
    control: Sequence[HandoverCandidate] = ()


def compose_selection(
    request: HandoverRequest, parts: SelectedParts, candidates: int, tied: int
) -> Selection:
    """The selection of leads above the cut and leads drawn from below it, with their propensities.

    Args:
        request: The parameters.
        parts: The leads; of the control group those that may belong to the selection, in any order.
        candidates: How many leads there were, selected or not, without the control group.
        tied: How many of them are worth as much as the last one above.
    """
    above, sample = parts.above, parts.sample
    below = candidates - len(above)
    cut = above[-1].worth if above else np.inf
    tied_above = sum(each.worth == cut for each in above)
    by_lot = len(sample) / below if below else 0.0
    at_cut = tied_above / tied if tied else 0.0

    def selected_lead(candidate: HandoverCandidate, *, explored: bool) -> SelectedLead:
        above_cut = 1.0 if candidate.worth > cut else at_cut if candidate.worth == cut else 0.0
        chance = above_cut + (1 - above_cut) * by_lot
        # Where there was room for more nobody would have been left out.
        return SelectedLead(candidate, explored, (1 - request.control_share) * (chance or 1.0))

    explored = sorted(sample, key=lambda each: -each.worth)
    leads = (
        *(selected_lead(each, explored=False) for each in above),
        *(selected_lead(each, explored=True) for each in explored),
    )
    control_above, control_below = _would_be_selected(request, parts, full=candidates >= request.capacity)
    control = (
        *(selected_lead(each, explored=False) for each in control_above),
        *(selected_lead(each, explored=True) for each in control_below),
    )
    return Selection(leads, candidates, tied, tied_above, control)


def _would_be_selected(
    request: HandoverRequest, parts: SelectedParts, *, full: bool
) -> tuple[list[HandoverCandidate], list[HandoverCandidate]]:
    """The leads of the control group that would be above the cut, and that would be drawn from below it.

    One of them would take the place of the last one above, or of the last one drawn.
    """
    ties, draw = DayLots.of(request.day, "tie"), DayLots.of(request.day, "explore")

    def rank(each: HandoverCandidate) -> tuple[float, int, bytes, str]:
        return -each.worth, *ties.key(each)

    ordered = sorted(parts.control, key=rank)
    if not full:
        return ordered, []
    above = [each for each in ordered if parts.above and rank(each) < rank(parts.above[-1])]
    last = max(map(draw.key, parts.sample), default=None)
    rest = ordered[len(above) :]
    return above, [each for each in rest if last is not None and draw.key(each) < last]


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


def control_number(lot: Any) -> Any:
    """The number in ``[0, LOT_MODULUS)`` by which leads belong to the control group; of a column, too.

    It is the fifth power of the lead's lot. That moves every lot to another one, and in no line with the
    order of a day, so that who is drawn and who is in the control group have nothing to do with each other
    (Weil 1948: the sums over such a polynomial are as small as those over random numbers).
    """
    square = (lot * lot) % LOT_MODULUS
    return (square * square) % LOT_MODULUS * lot % LOT_MODULUS


def control_limit(share: float) -> int:
    """Leads whose ``control_number`` is below it are the control group."""
    return round(share * LOT_MODULUS)


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
