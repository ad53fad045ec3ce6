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

from features.attributes import Attributes, attributes, found_roles
from features.availability import Availability, overwritten, plain
from features.history import (
    ACCOUNT_PREFIX,
    ATTRIBUTE_SCHEMA,
    TOUCHPOINT_SCHEMA,
    TRANSITION_SCHEMA,
    LeadHistory,
)
from features.parsing import cleaned
from features.schema import FREE_COLUMNS, Context, attribute_numbers, check, columns_of, refuse_unknown
from features.sieve import ROW, Sieve
from features.sources_flat import FlatBatch, FlatColumns, FlatExport, flat_batches, read_flat
from features.sources_quarantine import settle
from features.tables import Table, open_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from features.mapping import HistoryMapping, Place, TableMapping
    from features.quarantine import Quarantine
    from features.roles import ColumnRole
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


@dataclass(frozen=True, slots=True)
class TableCount:
    """How many rows a source had, and how many of them go on."""

    table: str
    file: str
    rows: int
    kept: int


@dataclass(frozen=True)
class Reading:
    """A history as read, and what there is to say about its sources.

    ``columns`` are all that the leads' own table has, used or not, and its account's as ``account.*``.
    """

    history: LeadHistory
    quarantine: Quarantine
    roles: tuple[ColumnRole, ...]
    availability: tuple[Availability, ...]
    notices: tuple[str, ...]
    counts: tuple[TableCount, ...]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Part:
    """One source, read and checked."""

    frame: pl.DataFrame
    count: TableCount
    quarantine: Quarantine
    notices: tuple[str, ...]
    roles: tuple[ColumnRole, ...] = ()
    columns: tuple[str, ...] = ()


def read(mapping: HistoryMapping, now: int, quarantine_file: Path | None = None) -> Reading:
    """Read all tables of a history; rows at or after ``observed_until``, or else ``now``, are in the future.

    Raises:
        SourceError: a table or column is missing, or cannot be used at all.
        TooManyBadRowsError: more than ``mapping.max_share`` of all rows are bad.
    """
    until = now if mapping.observed_until is None else mapping.observed_until
    base = Context(until=until, stages=mapping.stages)
    accounts = [] if mapping.accounts is None else [_part("accounts", mapping.accounts, base, mapping)]
    known = accounts[0].frame["account_id"] if accounts else None
    leads = _part("leads", mapping.leads, replace(base, accounts=known), mapping)
    context = replace(base, leads=leads.frame["lead_id"])
    events: dict[TableName, list[_Part]] = {
        "touchpoints": [_part("touchpoints", table, context, mapping) for table in mapping.touchpoints],
        "transitions": [_part("transitions", table, context, mapping) for table in mapping.transitions],
        "attributes": [_part("attributes", table, context, mapping) for table in mapping.attributes],
    }
    parts = [*accounts, leads, *(part for found in events.values() for part in found)]
    quarantine = reduce(add, (part.quarantine for part in parts))
    settle(quarantine, sum(part.count.rows for part in parts), mapping.max_share, quarantine_file)
    return _reading(mapping, parts, _history(mapping, leads, accounts, events), quarantine)


def _history(
    mapping: HistoryMapping, leads: _Part, accounts: Sequence[_Part], events: dict[TableName, list[_Part]]
) -> LeadHistory:
    history = LeadHistory(
        leads=leads.frame,
        touchpoints=_together(events["touchpoints"], TOUCHPOINT_SCHEMA),
        transitions=_together(events["transitions"], TRANSITION_SCHEMA),
        attributes=_together(events["attributes"], ATTRIBUTE_SCHEMA),
        observed_until=0,
        **({"accounts": accounts[0].frame} if accounts else {}),
    )
    until = mapping.observed_until
    return replace(history, observed_until=_newest(history) + 1 if until is None else until)


def _together(parts: Iterable[_Part], schema: dict[str, Any]) -> pl.DataFrame:
    typed = [pl.col(name).cast(dtype) for name, dtype in schema.items()]
    return pl.concat([pl.DataFrame(schema=schema), *(part.frame.select(typed) for part in parts)])


def _newest(history: LeadHistory) -> int:
    events = (history.touchpoints, history.transitions, history.attributes)
    newest = [history.leads["created_at"].max(), *(frame["known_at"].max() for frame in events)]
    return max((cast("int", second) for second in newest if second is not None), default=0)


def _reading(
    mapping: HistoryMapping, parts: Sequence[_Part], history: LeadHistory, quarantine: Quarantine
) -> Reading:
    roles = tuple(role for part in parts for role in part.roles)
    excluded = dict.fromkeys(mapping.plain.exclude, "the configuration excludes it")
    names = history.attributes["name"].unique().sort()
    return Reading(
        history=history,
        quarantine=quarantine,
        roles=roles,
        availability=plain(roles, excluded) + overwritten(names),
        notices=tuple(notice for part in parts for notice in part.notices),
        counts=tuple(part.count for part in parts),
        columns=tuple(column for part in parts for column in part.columns),
    )


def _part(name: TableName, mapping: TableMapping, context: Context, whole: HistoryMapping) -> _Part:
    table = open_table(mapping)
    mapped = _mapped(name, mapping, table)
    own_file = mapping is not whole.leads and _address(mapping) == _address(whole.leads)
    sparse = own_file or _EVENT.get(name) in mapping.constants
    written = replace(context, times=mapping.times, decimal=table.decimal, money=mapping.money, sparse=sparse)
    checked = check(name, mapped, written)
    free = _free(name, checked, table, whole)
    frame = checked.frame.select(*columns_of(name)).hstack(list(free.columns))
    if name == "attributes":
        frame = frame.with_columns(attribute_numbers(frame["value"], table.decimal).alias("number"))
    rows = mapped.frame.height + len(table.rejects)
    notices = (f"{name}: {mapping.name}: {remark}" for remark in checked.remarks)
    return _Part(
        frame=frame,
        count=TableCount(name, mapping.name, rows, frame.height),
        quarantine=free.sieve.quarantine(table, name, rejects=True),
        notices=(*table.notices, *notices),
        roles=tuple(replace(role, column=_called(name, role.column)) for role in free.roles),
        columns=tuple(_called(name, column) for column in table.columns if name in FREE_COLUMNS),
    )


def _called(name: TableName, column: str) -> str:
    return column if name == "leads" else ACCOUNT_PREFIX + column


_EVENT: dict[TableName, str] = {"touchpoints": "kind", "transitions": "stage"}


def _mapped(name: TableName, mapping: TableMapping, table: Table) -> Sieve:
    """The table with the contract's columns under the contract's names, its cells cleaned and translated."""
    refuse_unknown(name, mapping)
    table.require(mapping.columns.values())
    same = (c for c in columns_of(name) if c in table.columns and c not in mapping.constants)
    named = {column: column for column in same} | dict(mapping.columns)
    free = [c for c in table.columns if c not in {*named.values(), *columns_of(name)}]
    raw = table.read(sorted({*named.values(), *(free if name in FREE_COLUMNS else ())}))
    cells = {column.name: cleaned(column, mapping.missing) for column in raw}
    columns = [_translated(cells[own].alias(column), mapping) for column, own in named.items()]
    columns += [cells[column] for column in free if column in cells]
    constants = [pl.lit(value).alias(column) for column, value in mapping.constants.items()]
    return replace(Sieve.of(pl.DataFrame(columns).with_columns(constants)), names=named)


def _translated(column: pl.Series, mapping: TableMapping) -> pl.Series:
    words = mapping.values.get(column.name)
    return column if words is None else column.cast(pl.String).replace(dict(words))


def _free(name: TableName, rows: Sieve, table: Table, whole: HistoryMapping) -> Attributes:
    """The free columns of leads and accounts as attributes; dates that feed transitions are none."""
    if name not in FREE_COLUMNS:
        return Attributes(rows, (), ())
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
