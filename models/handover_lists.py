"""The lists of several owners, selected in one pass over the open leads.

Who takes which lead, and who is left out, is decided by each combination of attributes once. The service
brings the leads from its store, the offline call list from a file or a history: both lists are these.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.handover_plan import NO_OWNER
from models.handover_selection import StreamedSelection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from models.handover_plan import HandoverPlan, Takers
    from models.handover_selection import HandoverCandidate, HandoverRequest, Selection

    NamedValues = Callable[[Sequence[str], Sequence[str | None]], Mapping[str, str | None]]


@dataclass(frozen=True, slots=True)
class ListWish:
    """Which lists are asked for.

    Attributes:
        request: The parameters that all of them share; ``capacity`` counts where ``by_owner`` is false.
        plan: Who takes which leads, and who is left out.
        by_owner: Whether each owner has a list; else there is one of all leads.
        owners: Whose lists alone. Default: those of all owners.
    """

    request: HandoverRequest
    plan: HandoverPlan
    by_owner: bool
    owners: frozenset[str] = frozenset()

    def request_of(self, owner: str) -> HandoverRequest:
        """The parameters of the list of an owner."""
        if not self.by_owner:
            return self.request
        capacity = self.plan.capacity_of(owner) or self.request.capacity
        return replace(self.request, owner=owner, capacity=capacity)

    @property
    def listed(self) -> Collection[str]:
        """The owners who have a list whether or not a lead is theirs."""
        if not self.by_owner:
            return ("",)
        return self.owners or tuple(self.plan.owners)

    def missing(self, owners: Collection[str]) -> Collection[str]:
        """Owners whose lists are asked for and are not among these; with a plan for anybody, none of them."""
        return set(self.listed).difference(owners) if self.listed or owners else {""}

    def covers(self, owner: str) -> bool:
        """Whether the list of an owner is asked for; leads that are nobody's are counted beside any."""
        return not self.owners or owner in self.owners or not owner


@dataclass(frozen=True, slots=True)
class OwnerList:
    """The list of an owner, or of nobody in particular.

    Attributes:
        request: The parameters, with the owner and its capacity.
        selection: The selected leads.
        excluded: By reason, how many leads are on no list that would have been candidates of this one.
        nobodys: By reason, how many leads are on no list and no owner's.
    """

    request: HandoverRequest
    selection: Selection
    excluded: Mapping[str, int]
    nobodys: Mapping[str, int]


def name_values(names: Sequence[str], values: Sequence[str | None]) -> Mapping[str, str | None]:
    """Values that are texts to compare with already, by the names of their attributes."""
    return dict(zip(names, values, strict=True))


class LeadPlacer:
    """Says of each lead whose it is and why it is on no list, from its attributes alone.

    Args:
        wish: Which lists.
        read: Makes texts to compare with of the attributes of these names. Default: they are texts already.
    """

    def __init__(self, wish: ListWish, read: NamedValues = name_values) -> None:
        self._plan, self._read = wish.plan, read
        self.owner_names = wish.plan.owner_attributes if wish.by_owner else ()
        self.excluding_names = wish.plan.excluding_attributes
        self._takers: dict[Sequence[str | None], Takers] = {}
        self._reasons: dict[Sequence[str | None], str] = {}

    def place(self, whose: Sequence[str | None], why: Sequence[str | None], lot: int) -> tuple[str, str]:
        """The owner of a lead and why it is left out.

        Args:
            whose: Its values of ``owner_names``.
            why: Its values of ``excluding_names``.
            lot: Its ``lead_lot``.

        Returns:
            The owner, "" without one or where one list is of all leads, and the reason, "" without one.
        """
        if (reason := self._reasons.get(why)) is None:
            reason = self._reasons[why] = self._plan.reason(self._read(self.excluding_names, why))
        if not self.owner_names:
            return "", reason
        if (takers := self._takers.get(whose)) is None:
            takers = self._takers[whose] = self._plan.takers(self._read(self.owner_names, whose))
        owner = takers.owner_of(lot)
        return owner, reason or ("" if owner else NO_OWNER)


class ListBuilder:
    """Makes the lists from leads that come one by one, in any order.

    Args:
        wish: Which lists.
    """

    def __init__(self, wish: ListWish) -> None:
        self._wish = wish
        self._lists = {owner: StreamedSelection(wish.request_of(owner)) for owner in wish.listed}
        self._excluded: dict[str, Counter[str]] = defaultdict(Counter)

    def add(
        self, candidate: Callable[[], HandoverCandidate], worth: float, lot: int, place: tuple[str, str]
    ) -> None:
        """Take a lead into account.

        Args:
            candidate: Makes the lead, where it may be selected.
            worth: What it is ranked by.
            lot: Its ``lead_lot``.
            place: Its owner and why it is left out, as ``LeadPlacer.place`` says.
        """
        owner, reason = place
        if not self._wish.covers(owner):
            return
        if reason:
            self._excluded[owner][reason] += 1
            return
        if owner not in self._lists:
            self._lists[owner] = StreamedSelection(self._wish.request_of(owner))
        self._lists[owner].add(candidate, worth, lot)

    @property
    def excluded(self) -> Counter[str]:
        """By reason, how many of the leads so far are on no list."""
        return sum(self._excluded.values(), Counter[str]())

    def finish(self) -> list[OwnerList]:
        """The lists of all leads so far by the names of their owners, also empty ones of owners of the plan.

        Each is what ``models.handover_selection.select_leads`` selects from the leads that are its owner's.
        """
        excluded = self._excluded
        nobodys = dict(excluded.get("", {})) if self._wish.by_owner else {}
        return [
            OwnerList(
                self._wish.request_of(owner), selection.finish(), dict(excluded.get(owner, {})), nobodys
            )
            for owner, selection in sorted(self._lists.items())
        ]
