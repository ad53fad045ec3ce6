"""Reads a company's own tables into a LeadHistory.

Bad rows do not stop the reading: they are named in the quarantine, and the good rows go on, unless so many
are bad that the rest would mislead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import polars as pl

from features.history import LeadHistory
from features.ingest.availability import Availability, history_availability, static_availability
from features.ingest.entity_tables import CheckedTable, read_entity_table
from features.ingest.event_tables import (
    EVENT_SCHEMAS,
    EventSink,
    RowSink,
    read_events,
)
from features.ingest.history_extractions import extract_history, find_history_extractions, names_after
from features.ingest.lead_ids import further_ids
from features.ingest.notable_accounts import account_notices, notable_accounts
from features.ingest.observation_end import find_observation_end
from features.ingest.quarantine import Quarantine, SourceError
from features.ingest.schema import ValidationContext
from features.ingest.table_context import table_context
from features.ingest.table_reports import RowCounts, TableReport, enforce_limits, table_ends
from features.ingest.tables import open_table
from features.merges import MERGE_SCHEMA, PART, MergeCircleError, UnsharedMerges, chain_merges
from features.messages import Message
from features.parsing import parse_categories

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from features.extraction import ColumnExtraction
    from features.ingest.column_roles import ColumnRole
    from features.ingest.known_leads import HistoryCut
    from features.ingest.mapping import HistoryMapping, TableMapping
    from features.ingest.schema import TableName
    from features.number_marks import NumberMarks


@dataclass(frozen=True)
class IngestResult:
    """A history as read, and what there is to say about its sources.

    Attributes:
        history: The leads and their events.
        quarantine: The bad rows and cells of all tables.
        roles: What each free column was taken for.
        availability: When each column is known, and which are kept out.
        notices: Sentences about the tables as a whole.
        counts: By table, how many rows it had and how many of them go on.
        columns: All columns of the leads' own table, used or not, and of the accounts as ``account.*``.
        persons: ``lead_id`` and what points at persons, as ``features.ingest.identity_resolution`` numbers
            them.
        marks: What the marks in the numbers of each free column of numbers mean.
        tables: All that there is to say, by table, in the order of ``HistoryMapping.tables``.
    """

    history: LeadHistory
    quarantine: Quarantine
    roles: tuple[ColumnRole, ...]
    availability: tuple[Availability, ...]
    notices: tuple[str, ...]
    counts: tuple[RowCounts, ...]
    columns: tuple[str, ...] = ()
    persons: pl.DataFrame | None = None
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)
    tables: tuple[TableReport, ...] = ()


def read_history(mapping: HistoryMapping, now: int, quarantine_file: Path | None = None) -> IngestResult:
    """Read all tables of a history; bad rows go to the quarantine, the others go on.

    Args:
        mapping: Where the tables are and how they map onto the data contract.
        now: Epoch seconds; rows at or after ``mapping.observed_until``, or else ``now``, are in the future.
        quarantine_file: Where bad rows are written as CSV; None for nowhere.

    Returns:
        The history with its quarantine and notices.

    Raises:
        SourceError: a table or column is missing, or cannot be used at all.
        TooManyBadRowsError: more than ``mapping.max_share`` of all rows are bad.
    """
    batches = {name: [pl.DataFrame(schema=schema)] for name, schema in EVENT_SCHEMAS.items()}

    def collect(name: TableName, rows: pl.DataFrame) -> None:
        batches[name].append(rows.drop(PART))

    def forget(name: TableName, count: int) -> None:
        del batches[name][len(batches[name]) - count :]

    reading = read_history_in_batches(mapping, now, quarantine_file, sink=EventSink(collect, forget))
    events: dict[str, Any] = {name: pl.concat(frames) for name, frames in batches.items()}
    reading = replace(reading, history=replace(reading.history, **events))
    return reading if mapping.history_extractions is not None else _read_out_histories(reading, mapping)


@dataclass(frozen=True)
class UnmergedHistory:
    """A history in which nothing is shared between merged leads, and the merges.

    Attributes:
        reading: What was read. Its history has no attributes that are read out of others, and events of leads
            that are no rows of its leads, since they were merged.
        merges: ``lead_id``, ``merged_into`` and ``known_at`` of each merge.
    """

    reading: IngestResult
    merges: pl.DataFrame


def read_unmerged_history(
    mapping: HistoryMapping, now: int, quarantine_file: Path | None = None
) -> UnmergedHistory:
    """Read a history as ``read_history`` does, but leave to the reader what merges make of it.

    Args:
        mapping: As in ``read_history``.
        now: As in ``read_history``.
        quarantine_file: As in ``read_history``.

    Returns:
        The tables, in the columns of a history.

    Raises:
        SourceError: As in ``read_history``.
        TooManyBadRowsError: As in ``read_history``.
    """
    batches = {name: [pl.DataFrame(schema=schema)] for name, schema in EVENT_SCHEMAS.items()}
    merge_rows = [pl.DataFrame(schema=MERGE_SCHEMA)]

    def collect(name: TableName, rows: pl.DataFrame) -> None:
        if name == "merges":
            merge_rows.append(rows)
        else:
            batches[name].append(rows.drop(PART))

    def forget(name: TableName, count: int) -> None:
        del batches[name][len(batches[name]) - count :]

    sink = EventSink(collect, forget)
    reading = read_history_in_batches(mapping, now, quarantine_file, sink=sink, shares=False)
    events: dict[str, Any] = {name: pl.concat(frames) for name, frames in batches.items()}
    history = replace(reading.history, **events)
    return UnmergedHistory(replace(reading, history=history), pl.concat(merge_rows))


def _read_out_histories(reading: IngestResult, mapping: HistoryMapping) -> IngestResult:
    """The reading with what there is to read out of its overwritten attributes."""
    attributes = reading.history.attributes
    roles, notices = find_history_extractions(attributes, mapping.plain.extract)
    if not roles:
        return reading
    extractions = [role.extraction for role in roles if role.extraction is not None]
    names = names_after((a.column for a in reading.availability if a.known == "history"), extractions)
    plain = tuple(a for a in reading.availability if a.known != "history")
    return replace(
        reading,
        history=replace(reading.history, attributes=extract_history(attributes, extractions)),
        roles=(*reading.roles, *roles),
        availability=plain + history_availability(sorted(names)),
        notices=(*reading.notices, *notices),
    )


def read_history_in_batches(  # noqa: PLR0913  # what becomes of the rows is three things
    mapping: HistoryMapping,
    now: int,
    quarantine_file: Path | None = None,
    *,
    sink: EventSink,
    cut: HistoryCut | None = None,
    shares: bool = True,
) -> IngestResult:
    """Read as ``read_history`` does, but pass events to ``sink`` in batches: the history has none.

    Each event carries, as ``PART``, the number of the part that ``cut`` gives to its lead. Where there is a
    cut, leads and accounts go to ``sink``, too, each with its number in ``ROW`` and its bucket in ``PART``;
    if the mapping knows what their columns are, they are never in memory as a whole. Where merged leads do
    not share their events (``shares``), merges go to ``sink``, too.
    """
    if mapping.history_extractions is not None:
        sink = replace(sink, add=_reading_out(sink.add, mapping.history_extractions))
    until = now if mapping.observed_until is None else mapping.observed_until
    base = ValidationContext(until=until, stages=mapping.stages)
    accounts = None
    if mapping.accounts is not None:
        accounts = read_entity_table("accounts", mapping.accounts, base, mapping, sink, cut)
    merge_rows: list[pl.DataFrame] = []

    def collect(_: TableName, rows: pl.DataFrame) -> None:
        merge_rows.append(rows)

    merge_reports = [
        read_events("merges", table, table_context("merges", table, base, mapping), EventSink(collect))
        for table in mapping.merges
    ]
    try:
        merges = chain_merges(merge_rows)
    except MergeCircleError as error:
        raise SourceError(str(error)) from error
    if not shares:
        merges = UnsharedMerges(merges.pairs)
        for rows in merge_rows:
            sink.add("merges", rows)
    known_accounts = None if accounts is None else accounts.ids
    with_accounts = replace(base, accounts=known_accounts)
    leads = read_entity_table("leads", mapping.leads, with_accounts, mapping, sink, cut, merges)
    parts = leads.known
    context = replace(base, leads=parts, deleted=leads.deleted, emails=leads.emails)
    events = [
        read_events(
            name,
            table,
            replace(table_context(name, table, context, mapping), further_ids=_further_ids(table, leads)),
            sink,
            merges,
        )
        for name in EVENT_SCHEMAS
        for table in getattr(mapping, name)
    ]
    if merges and parts is not None:
        sink.add("transitions", merges.closings(parts.select(merges.ids)))
    frames = {"leads": leads.frame} | ({} if accounts is None else {"accounts": accounts.frame})
    sources = [*merge_reports, *(() if accounts is None else (accounts.source,)), leads.source, *events]
    quarantine = reduce(add, (source.quarantine for source in sources))
    hints = _other_ids(mapping, events)
    enforce_limits(sources, mapping, quarantine, quarantine_file, hints)
    result = _ingest_result(mapping, sources, frames, quarantine)
    sizes = notable_accounts(leads.frame["account_id"])
    notices = (*result.notices, *hints, *account_notices(sizes, leads.frame.height))
    return replace(result, persons=leads.persons, notices=notices)


def _reading_out(sink: RowSink, extractions: tuple[ColumnExtraction, ...]) -> RowSink:
    """The sink, which gets of attributes what a model reads out of them."""

    def read_out(name: TableName, rows: pl.DataFrame) -> None:
        sink(name, extract_history(rows, extractions) if name == "attributes" else rows)

    return read_out


def _other_ids(mapping: HistoryMapping, events: Sequence[TableReport]) -> tuple[str, ...]:
    """Sentences on ids that are no lead's own, but that stand in another column of ids of the leads."""
    unknown = {
        report.count: report.quarantine.frame.filter(
            pl.col("column").is_in(report.id_columns), pl.col("value").is_not_null()
        )["value"].unique()
        for report in events
    }
    unknown = {count: values for count, values in unknown.items() if len(values) >= _FEWEST_UNKNOWN}
    if not unknown:
        return ()
    table = open_table(mapping.leads, keeps_rows=True)
    columns = [name for name in table.columns if _ID_NAME.search(name)]
    ids = (
        {column.name: parse_categories(column).drop_nulls() for column in table.read(columns)}
        if columns
        else {}
    )
    return tuple(
        f"{count.table}: {known:,} of the {len(values):,} unknown ids of {count.file} stand in {name!r} of "
        f'the leads; if they are those leads\' events, write also = {{ leads = "{name}" }}'
        for count, values in unknown.items()
        for name, own in ids.items()
        for known in [int(values.is_in(own.implode()).sum())]
        if known >= _MOST * len(values) or _covers(own, known)
    )


def _covers(own: pl.Series, known: int) -> bool:
    """Whether most of the ids of a column are known elsewhere, as those of contacts that leads became.

    Ids that are small numbers are alike by chance.
    """
    numbers = own.cast(pl.Int64, strict=False).is_not_null().any()
    return known >= _FEWEST_UNKNOWN and known >= _MOST * own.n_unique() and not numbers


_ID_NAME = re.compile(r"(^|[_\s-])(id|uuid|guid|key)$|Id$|ID$")
_FEWEST_UNKNOWN, _MOST = 5, 0.5


def _ingest_result(
    mapping: HistoryMapping, sources: Sequence[TableReport], frames: dict[str, Any], quarantine: Quarantine
) -> IngestResult:
    end, end_notices = find_observation_end(table_ends(sources))
    until = end if mapping.observed_until is None else mapping.observed_until
    roles = tuple(role for source in sources for role in source.roles)
    excluded = dict.fromkeys(mapping.plain.exclude, Message("availability.excluded_by_configuration"))
    names = sorted(frozenset().union(*(source.names for source in sources)))
    return IngestResult(
        history=replace(LeadHistory.from_leads(frames["leads"], until), **frames),
        quarantine=quarantine,
        roles=roles,
        availability=static_availability((r for r in roles if r.column not in names), excluded)
        + history_availability(names),
        # A file that is read as two tables says what it has to say once.
        notices=tuple(
            dict.fromkeys(
                (
                    *(notice for source in sources for notice in source.notices),
                    *(end_notices if mapping.observed_until is None else ()),
                )
            )
        ),
        counts=tuple(source.count for source in sources),
        columns=tuple(column for source in sources for column in source.columns),
        marks={column: each for source in sources for column, each in source.marks.items()},
        tables=tuple(sources),
    )


def _further_ids(table: TableMapping, leads: CheckedTable) -> pl.DataFrame | None:
    """What else the leads are called in a table of events, as its ``also`` says."""
    columns = [str(column) for column in table.also.get("leads", ())]
    return further_ids(leads.further["lead_id"], leads.further, columns) if columns else None
