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
# Touchpoints this long after the last lead and stage have not happened yet, if they are few.
_LEAST_SLACK, _TYPICAL_GAPS, _MOST_PLANNED = 7, 20, 0.2


@dataclass(frozen=True)
class TableEnd:
    """When a table has rows.

    Attributes:
        kind: Which table of the contract it is.
        name: What messages call it.
        days: By day since 1970, how many rows became known on it, and when the newest of them did.
    """

    kind: str
    name: str
    days: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def newest(self) -> int | None:
        """When the newest row became known, in epoch seconds."""
        return max((newest for _, newest in self.days.values()), default=None)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(count for count, _ in self.days.values())

    def until(self, day: int) -> TableEnd:
        """The same without the days after ``day``."""
        return TableEnd(self.kind, self.name, {each: rows for each, rows in self.days.items() if each <= day})

    def __add__(self, other: TableEnd) -> TableEnd:
        days = dict(self.days)
        for day, (count, newest) in other.days.items():
            before = days.get(day, (0, newest))
            days[day] = (before[0] + count, max(before[1], newest))
        return TableEnd(self.kind, self.name, days)

    @property
    def longest_silence(self) -> int:
        """The most days from one day with rows to the next."""
        days = sorted(self.days)
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
    tables = _join_parts([end for end in past if end.kind != "leads"])
    early = [end for end in tables if _ended_early(end, newest)]
    until = min((end.newest for end in early if end.newest is not None), default=newest) + 1
    return until, (*planned, *(_early_notice(end, newest) for end in early))


def _leave_out_planned(ends: Sequence[TableEnd]) -> tuple[list[TableEnd], list[str]]:
    """The tables without touchpoints that are planned, and sentences on those.

    Leads and stages are entered when they come to be, a call when it is planned: where leads and stages end
    and a few touchpoints go on, these had not happened when the tables were written.
    """
    entered = [end for end in ends if end.kind != "touchpoints" and end.days]
    if not entered:
        return list(ends), []
    first, last = min(min(end.days) for end in entered), max(max(end.days) for end in entered)
    typical = (last - first) / sum(end.rows for end in entered)
    bound = last + max(_LEAST_SLACK, int(_TYPICAL_GAPS * typical))
    past = [end.until(bound) if end.kind == "touchpoints" else end for end in ends]
    touchpoints = sum(end.rows for end in ends if end.kind == "touchpoints")
    if sum(end.rows for end in ends) - sum(end.rows for end in past) > _MOST_PLANNED * touchpoints:
        return list(ends), []
    notices = [
        f"{end.kind}: {end.name} has {end.rows - cut.rows:,} rows until {_date(end.newest)}, long after the "
        f"last lead and stage of {_date(last * DAY)}: they are taken as planned and do not move the end of "
        "observation; if they did happen, name the end of the data (observed_until)"
        for end, cut in zip(ends, past, strict=True)
        if end.rows != cut.rows
    ]
    return past, notices


def _join_parts(ends: Sequence[TableEnd]) -> list[TableEnd]:
    """One end a table, where several sections read it: an audit of all fields ends with the last of them."""
    tables: dict[str, TableEnd] = {}
    for end in ends:
        tables[end.name] = tables.get(end.name, TableEnd(end.kind, end.name)) + end
    return list(tables.values())


def _ended_early(end: TableEnd, newest: int) -> bool:
    if len(end.days) < _FEWEST_DAYS or end.newest is None:
        return False
    silence = newest // DAY - max(end.days)
    return silence > max(_LEAST_GAP, _SILENCE * end.longest_silence)


def _early_notice(end: TableEnd, newest: int) -> str:
    days = newest // DAY - max(end.days)
    return (
        f"{end.kind}: {end.name} ends on {_date(end.newest)}, {days:,} days before the others: no outcome is "
        f"known after that; if nothing happened since, write observed_until = {_date(newest + DAY)} at the "
        "top of the file"
    )


def _date(moment: int | None) -> str:
    return f"{to_datetime(moment or 0):%Y-%m-%d}"
