"""Reads a company's own tables into a LeadHistory: the rim between its files or databases and the rest.

Bad rows do not stop the reading: they are named in the quarantine, and the good rows go on, unless so many
are bad that the rest would mislead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from features.availability import Availability, overwritten, plain
from features.history import ACCOUNT_PREFIX, LeadHistory
from features.messages import Message
from features.reading.attributes import Attributes, attributes, found_roles
from features.reading.events import (
    EVENT_SCHEMAS,
    Keep,
    Source,
    TableCount,
    mapped,
    names_in,
    read_events,
    remarks,
)
from features.reading.flat import FlatBatch, FlatColumns, FlatExport, flat_batches, read_flat
from features.reading.limit import settle
from features.reading.persons import persons
from features.reading.sieve import ROW, Sieve
from features.reading.tables import Batch, Table, open_table
from features.schema import PART, Context, check, columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from features.reading.mapping import HistoryMapping, Place, TableMapping
    from features.reading.quarantine import Quarantine
    from features.reading.roles import ColumnRole
    from features.schema import TableName

__all__ = [
    "FlatBatch",
    "FlatColumns",
    "FlatExport",
    "Reading",
    "TableCount",
    "flat_batches",
    "read",
    "read_flat",
]


@dataclass(frozen=True)
class Reading:
    """A history as read, and what there is to say about its sources.

    ``columns`` are all that the leads' own table has, used or not, and its account's as ``account.*``;
    ``persons`` has ``lead_id`` and what points at persons, as ``features.reading.persons`` numbers them.
    """

    history: LeadHistory
    quarantine: Quarantine
    roles: tuple[ColumnRole, ...]
    availability: tuple[Availability, ...]
    notices: tuple[str, ...]
    counts: tuple[TableCount, ...]
    columns: tuple[str, ...] = ()
    persons: pl.DataFrame | None = None


def _one_part(leads: pl.DataFrame) -> pl.Series:
    return pl.Series([0]).new_from_index(0, leads.height)


def read(mapping: HistoryMapping, now: int, quarantine_file: Path | None = None) -> Reading:
    """Read all tables of a history; rows at or after ``observed_until``, or else ``now``, are in the future.

    Raises:
        SourceError: a table or column is missing, or cannot be used at all.
        TooManyBadRowsError: more than ``mapping.max_share`` of all rows are bad.
    """
    found = {name: [pl.DataFrame(schema=schema)] for name, schema in EVENT_SCHEMAS.items()}

    def keep(name: TableName, rows: pl.DataFrame) -> None:
        found[name].append(rows.drop(PART))

    reading = read_apart(mapping, now, quarantine_file, keep=keep)
    events: dict[str, Any] = {name: pl.concat(frames) for name, frames in found.items()}
    return replace(reading, history=replace(reading.history, **events))


def read_apart(
    mapping: HistoryMapping,
    now: int,
    quarantine_file: Path | None = None,
    *,
    keep: Keep,
    part_of: Callable[[pl.DataFrame], pl.Series] = _one_part,
) -> Reading:
    """Read as ``read``, but give the events to ``keep`` a batch at a time: the history is without them.

    Each event carries, as ``PART``, the number that ``part_of`` has for its row of leads.
    """
    until = now if mapping.observed_until is None else mapping.observed_until
    base = Context(until=until, stages=mapping.stages)
    accounts = None if mapping.accounts is None else _table("accounts", mapping.accounts, base, mapping)
    known = None if accounts is None else accounts.frame["account_id"]
    leads = _table("leads", mapping.leads, replace(base, accounts=known), mapping)
    parts = leads.frame.select("lead_id", part_of(leads.frame).alias(PART))
    context = replace(base, leads=parts)
    events = [
        read_events(name, table, _context(name, table, context, mapping), keep)
        for name in EVENT_SCHEMAS
        for table in getattr(mapping, name)
    ]
    frames = {"leads": leads.frame} | ({} if accounts is None else {"accounts": accounts.frame})
    sources = [*(() if accounts is None else (accounts.source,)), leads.source, *events]
    quarantine = reduce(add, (source.quarantine for source in sources))
    settle(quarantine, sum(source.count.rows for source in sources), mapping.max_share, quarantine_file)
    return replace(_reading(mapping, sources, frames, quarantine), persons=leads.persons)


def _reading(
    mapping: HistoryMapping, sources: Sequence[Source], frames: dict[str, Any], quarantine: Quarantine
) -> Reading:
    newest = max((s.newest for s in sources if s.newest is not None), default=0)
    until = newest + 1 if mapping.observed_until is None else mapping.observed_until
    roles = tuple(role for source in sources for role in source.roles)
    excluded = dict.fromkeys(mapping.plain.exclude, Message("availability.excluded_by_configuration"))
    names = sorted(frozenset().union(*(source.names for source in sources)))
    return Reading(
        history=replace(LeadHistory.of_leads(frames["leads"], until), **frames),
        quarantine=quarantine,
        roles=roles,
        availability=plain((r for r in roles if r.column not in names), excluded) + overwritten(names),
        notices=tuple(notice for source in sources for notice in source.notices),
        counts=tuple(source.count for source in sources),
        columns=tuple(column for source in sources for column in source.columns),
    )


@dataclass(frozen=True)
class _Table:
    """The leads or accounts, read and checked."""

    frame: pl.DataFrame
    source: Source
    persons: pl.DataFrame | None = None


def _table(name: TableName, mapping: TableMapping, context: Context, whole: HistoryMapping) -> _Table:
    table = open_table(mapping)
    names = names_in(name, mapping, table)
    free = tuple(c for c in table.columns if c not in {*names.values(), *columns_of(name)})
    raw = table.read(sorted({*names.values(), *free}))
    context = replace(_context(name, mapping, context, whole), decimal=table.decimal)
    checked = check(name, mapped(Batch(raw), names, free, mapping), context)
    found = _free(name, checked, table, whole)
    frame = checked.frame.select(*columns_of(name)).hstack(list(found.columns))
    source = Source(
        count=TableCount(name, mapping.name, raw.height + len(table.rejects), frame.height),
        quarantine=found.sieve.quarantine(table, name, rejects=True),
        notices=(*table.notices, *remarks(name, mapping, checked)),
        newest=cast("int | None", frame["created_at"].max()) if name == "leads" else None,
        roles=tuple(replace(role, column=_called(name, role.column)) for role in found.roles),
        columns=tuple(_called(name, column) for column in table.columns),
    )
    if name != "leads":
        return _Table(frame, source)
    return _Table(frame, source, persons(frame["lead_id"], checked.frame.select(free)))


def _context(name: TableName, mapping: TableMapping, context: Context, whole: HistoryMapping) -> Context:
    own_file = mapping is not whole.leads and _address(mapping) == _address(whole.leads)
    sparse = own_file or _EVENT.get(name) in mapping.constants
    return replace(context, times=mapping.times, money=mapping.money, sparse=sparse)


def _called(name: TableName, column: str) -> str:
    return column if name == "leads" else ACCOUNT_PREFIX + column


_EVENT: dict[TableName, str] = {"touchpoints": "kind", "transitions": "stage"}


def _free(name: TableName, rows: Sieve, table: Table, whole: HistoryMapping) -> Attributes:
    """The free columns of leads or accounts as attributes; dates that feed transitions are none."""
    prefix = "" if name == "leads" else ACCOUNT_PREFIX
    taken = _elsewhere(whole) if name == "leads" else frozenset()
    left_out = {*columns_of(name), ROW, *taken}
    names = [c for c in rows.frame.columns if c not in left_out and _wanted(prefix + c, whole)]
    said = {column.removeprefix(prefix): role for column, role in whole.plain.roles.items()}
    roles = found_roles(rows.frame.select(names), said, table.decimal)
    return attributes(rows, roles, table.decimal)


def _wanted(column: str, whole: HistoryMapping) -> bool:
    chosen = not whole.plain.only or column in whole.plain.only
    return chosen and column not in whole.plain.exclude


def _elsewhere(whole: HistoryMapping) -> frozenset[str]:
    """Columns of the leads' own table from which events are read."""
    events = (*whole.touchpoints, *whole.transitions, *whole.attributes)
    return frozenset(
        column
        for event in events
        if _address(event) == _address(whole.leads)
        for column in event.columns.values()
    )


def _address(place: Place) -> tuple[Any, ...]:
    return place.file, place.database, place.table, place.query
