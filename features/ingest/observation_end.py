"""Up to when the tables of a history tell what happened: the end of observation, by table.

A call that is planned for next spring does not end it, and a table that stopped earlier than the others ends
it where it stopped: beyond that nobody knows what became of a lead. Both are found by the days on which a
table has rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from features.clock import DAY, to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A table that is silent for longer than thrice its longest silence so far has ended; with fewer days of rows
# than this, nobody can tell.
_FEWEST_DAYS, _SILENCE, _LEAST_GAP = 20, 3, 14
_LEAST_SLACK = 7


@dataclass(frozen=True)
class TableEnd:
    """When a table has rows.

    Attributes:
        kind: Which table of the contract it is.
        name: What messages call it.
        newest_by_day: By day (days since 1970), when the newest row of that day became known.
    """

    kind: str
    name: str
    newest_by_day: Mapping[int, int] = field(default_factory=dict)

    @property
    def newest(self) -> int | None:
        """When the newest row became known, in epoch seconds."""
        return max(self.newest_by_day.values(), default=None)

    def until(self, day: int) -> TableEnd:
        """The same without the days after ``day``."""
        days = {each: newest for each, newest in self.newest_by_day.items() if each <= day}
        return TableEnd(self.kind, self.name, days)

    @property
    def longest_silence(self) -> int:
        """The most days from one day with rows to the next."""
        days = sorted(self.newest_by_day)
        return max((later - day for day, later in pairwise(days)), default=0)


def find_observation_end(ends: Sequence[TableEnd]) -> tuple[int, tuple[str, ...]]:
    """The end of observation in epoch seconds (exclusive), with sentences on what moves it.

    Args:
        ends: The tables. Touchpoints that lie far beyond the newest lead, transition and attribute are
            planned for later and do not count; a table that fell silent before the others ends it.

    Returns:
        One second after the newest row that counts, or where the first table ended; 0 without any row.
    """
    past, planned = _leave_out_planned(ends)
    newest = max((end.newest for end in past if end.newest is not None), default=-1)
    early = [end for end in past if end.kind != "leads" and _ended_early(end, newest)]
    until = min((end.newest for end in early if end.newest is not None), default=newest) + 1
    return until, (*planned, *(_early_notice(end, newest) for end in early))


def _leave_out_planned(ends: Sequence[TableEnd]) -> tuple[list[TableEnd], list[str]]:
    anchors = [end for end in ends if end.kind != "touchpoints" and end.newest_by_day]
    stages = [end for end in anchors if end.kind != "leads"]
    if sum(len(end.newest_by_day) for end in stages) < _FEWEST_DAYS:
        return list(ends), []
    last = max(max(end.newest_by_day) for end in anchors)
    bound = last + max(_LEAST_SLACK, *(end.longest_silence for end in stages))
    past = [end if end in anchors else end.until(bound) for end in ends]
    notices = [
        f"{end.kind}: {end.name} goes on until {_date(end.newest)}, the leads and stages until "
        f"{_date(last * DAY)}: what lies later is taken as planned and does not move the end of observation"
        for end, cut in zip(ends, past, strict=True)
        if end.newest != cut.newest
    ]
    return past, notices


def _ended_early(end: TableEnd, newest: int) -> bool:
    if len(end.newest_by_day) < _FEWEST_DAYS or end.newest is None:
        return False
    silence = newest // DAY - max(end.newest_by_day)
    return silence > max(_LEAST_GAP, _SILENCE * end.longest_silence)


def _early_notice(end: TableEnd, newest: int) -> str:
    days = newest // DAY - max(end.newest_by_day)
    return (
        f"{end.kind}: {end.name} ends on {_date(end.newest)}, {days:,} days before the others: no outcome is "
        f"known after that; if nothing happened since, write observed_until = {_date(newest + DAY)} at the "
        "top of the file"
    )


def _date(moment: int | None) -> str:
    return f"{to_datetime(moment or 0):%Y-%m-%d}"
