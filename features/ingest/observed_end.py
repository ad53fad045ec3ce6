"""Up to when the tables of a history are complete: planned activities do not move the end of observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.clock import DAY, to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

    from features.ingest.event_tables import TableReport

_LEAST_GAP, _TYPICAL_GAPS = 7 * DAY, 20
_MOST_PLANNED = 0.2


@dataclass(frozen=True, slots=True)
class ObservedEnd:
    """The end of observation in epoch seconds, exclusive, and what there is to say about it."""

    until: int
    notices: tuple[str, ...] = ()


def find_observed_end(sources: Iterable[TableReport], created_at: pl.Series) -> ObservedEnd:
    """One second after the newest row, touchpoints long after all leads and stages left out.

    Leads and stages are entered when they come to be, and a call is entered when it is planned: where leads
    and stages end and a few touchpoints go on, these have not happened yet when the tables were written.
    """
    reports = list(sources)
    others = [each for each in reports if each.count.table != "touchpoints"]
    newest = max((each.newest for each in reports if each.newest is not None), default=0)
    entered = max((each.newest for each in others if each.newest is not None), default=0)
    rows = sum(each.count.accepted for each in others)
    typical = (entered - int(created_at.min() or 0)) / max(rows, 1)  # type: ignore[arg-type]
    edge = entered + max(_LEAST_GAP, int(_TYPICAL_GAPS * typical))
    days = [each for report in reports for each in report.days.values()]
    planned = sum(count for count, last in days if last > edge)
    touchpoints = sum(each.count.accepted for each in reports if each.count.table == "touchpoints")
    if not planned or planned > _MOST_PLANNED * touchpoints:
        return ObservedEnd(newest + 1)
    until = max([entered, *(last for _, last in days if last <= edge)]) + 1
    notice = (
        f"touchpoints: {planned:,} are dated until {to_datetime(newest):%Y-%m-%d}, long after the last lead "
        f"and stage of {to_datetime(entered):%Y-%m-%d}: they are taken as planned, and what is observed ends "
        f"on {to_datetime(until):%Y-%m-%d}; if they did happen, name the end of the data (observed_until)"
    )
    return ObservedEnd(until, (notice,))
