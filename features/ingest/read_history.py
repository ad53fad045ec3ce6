"""Reads a company's own tables, or frames in memory, into a LeadHistory.

Bad rows do not stop the reading: they are named in the quarantine, and the good rows go on, unless so many
are bad that the rest would mislead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as nw
import polars as pl

from features.clock import to_datetime
from features.history import ACCOUNT_PREFIX, LeadHistory
from features.ingest.attribute_columns import AttributeColumns, AttributeReading, read_attributes
from features.ingest.availability import Availability, history_availability, static_availability
from features.ingest.event_tables import (
    EVENT_SCHEMAS,
    EventSink,
    RowCounts,
    RowSink,
    TableReport,
    apply_mapping,
    map_column_names,
    read_events,
    rows_by_day,
    table_notices,
)
from features.ingest.flat_export import (
    FlatBatch,
    FlatColumns,
    FlatExport,
    id_notices,
    iter_flat_batches,
    read_flat,
)
from features.ingest.history_extractions import extract_history, find_history_extractions, names_after
from features.ingest.identity_resolution import resolve_identities
from features.ingest.lead_ids import ACCOUNT, ambiguous_addresses, further_ids, leave_out_deleted
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.missing_words import MissingWords
from features.ingest.near_misses import near_miss_reasons
from features.ingest.observation_end import TableEnd, find_observation_end
from features.ingest.quarantine import Quarantine, SourceError, raise_above_limit, write_quarantine
from features.ingest.row_validation import ROW, ValidatedRows
from features.ingest.schema import CREATED, ValidationContext, column_names, validate_table
from features.ingest.tables import TableReader, open_table
from features.ingest.timestamps import has_days
from features.merges import MERGE_SCHEMA, PART, MergeCircleError, Merges, UnsharedMerges, chain_merges
from features.messages import Message
from features.parsing import parse_categories
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from features.extraction import ColumnExtraction
    from features.ingest.column_roles import ColumnRole
    from features.ingest.mapping import TableSource
    from features.ingest.schema import TableName
    from features.number_marks import NumberMarks


__all__ = [
    "FlatBatch",
    "FlatColumns",
    "FlatExport",
    "IngestResult",
    "RowCounts",
    "iter_flat_batches",
    "read_flat",
    "read_history",
]


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


def _single_part(leads: pl.DataFrame) -> pl.Series:
    return pl.Series([0]).new_from_index(0, leads.height)


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
    part_of: Callable[[pl.DataFrame], pl.Series] = _single_part,
    shares: bool = True,
) -> IngestResult:
    """Read as ``read_history`` does, but pass events to ``sink`` in batches: the history has none.

    Each event carries, as ``PART``, the number that ``part_of`` gives to its row of leads. Where merged leads
    do not share their events (``shares``), merges go to ``sink``, too.
    """
    if mapping.history_extractions is not None:
        sink = replace(sink, add=_reading_out(sink.add, mapping.history_extractions))
    until = now if mapping.observed_until is None else mapping.observed_until
    base = ValidationContext(until=until, stages=mapping.stages)
    accounts = None if mapping.accounts is None else _read_table("accounts", mapping.accounts, base, mapping)
    account_ids = None if accounts is None else accounts.frame["account_id"]
    merge_rows: list[pl.DataFrame] = []

    def collect(_: TableName, rows: pl.DataFrame) -> None:
        merge_rows.append(rows)

    merge_reports = [
        read_events("merges", table, _table_context("merges", table, base, mapping), EventSink(collect))
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
    leads = _read_table("leads", mapping.leads, replace(base, accounts=account_ids), mapping, merges)
    created = pl.col("created_at").alias(CREATED)
    account = pl.col("account_id").alias(ACCOUNT)
    parts = leads.frame.select("lead_id", part_of(leads.frame).alias(PART), created, account)
    parts = merges.add_vanished(parts)
    emails = bool(parts["lead_id"].str.contains("@", literal=True).any())
    context = replace(base, leads=parts, deleted=leads.deleted, emails=emails)
    events = [
        read_events(
            name,
            table,
            replace(_table_context(name, table, context, mapping), further_ids=_further_ids(table, leads)),
            sink,
            merges,
        )
        for name in EVENT_SCHEMAS
        for table in getattr(mapping, name)
    ]
    if merges:
        sink.add("transitions", merges.closings(parts))
    frames = {"leads": leads.frame} | ({} if accounts is None else {"accounts": accounts.frame})
    sources = [*merge_reports, *(() if accounts is None else (accounts.source,)), leads.source, *events]
    quarantine = reduce(add, (source.quarantine for source in sources))
    hints = _other_ids(mapping, events)
    _enforce_limits(sources, mapping, quarantine, quarantine_file, hints)
    result = _ingest_result(mapping, sources, frames, quarantine)
    notices = (*result.notices, *hints, *_account_notices(leads.frame))
    return replace(result, persons=leads.persons, notices=notices)


def _account_notices(leads: pl.DataFrame) -> tuple[str, ...]:
    """Sentences on accounts that are no companies: by their name, or by how many leads they have."""
    sizes = (
        leads.drop_nulls("account_id")
        .group_by(pl.col("account_id").cast(pl.String))
        .len()
        .filter(pl.col("len") > 1)
        .sort("len", "account_id", descending=True)
    )
    is_word = pl.col("account_id").str.strip_chars().str.to_lowercase().is_in(NO_COMPANIES)
    words = sizes.filter(is_word)
    notices = [_large_account(sizes.filter(~is_word, pl.col("len") > LARGE_ACCOUNT), leads.height)]
    if words.height:
        named = ", ".join(f"{name!r} ({size:,} leads)" for name, size in words.head(_MOST_NAMED).rows())
        others = f" and {words.height - _MOST_NAMED:,} more" if words.height > _MOST_NAMED else ""
        notices.insert(
            0,
            f"leads: accounts that are no companies: {named}{others}; leave the account of these leads "
            "empty: now each of them counts as a colleague of all others with the same word",
        )
    return tuple(notice for notice in notices if notice)


def _large_account(large: pl.DataFrame, leads: int) -> str | None:
    """A sentence on the largest account where it has more leads than a company is likely to have."""
    if large.is_empty():
        return None
    name, size = large.row(0)
    others = f", and {large.height - 1:,} more accounts are as large" if large.height > 1 else ""
    return (
        f"leads: account {name!r} has {size:,} of the {leads:,} leads{others}; if that is no company "
        "but a word for unknown or a mail provider, leave the account of these leads empty: now each of them "
        "counts as a colleague of all others"
    )


_MOST_NAMED = 5
_WORDS = """
unknown unbekannt n/a na n.a. none null nil - -- ? . tbd test private privat individual other sonstige k.a.
gmail gmx hotmail yahoo outlook icloud gmail.com googlemail.com yahoo.com yahoo.de yahoo.co.uk hotmail.com
hotmail.de hotmail.co.uk outlook.com outlook.de live.com live.de msn.com icloud.com me.com mac.com aol.com
gmx.de gmx.net gmx.at gmx.ch gmx.com web.de freenet.de t-online.de arcor.de mail.com protonmail.com proton.me
pm.me zoho.com yandex.com yandex.ru mail.ru qq.com 163.com 126.com orange.fr free.fr laposte.net libero.it
"""
_PHRASES = ("not provided", "[not provided]", "no company", "no account", "keine angabe", "keine firma")
NO_COMPANIES = frozenset((*_WORDS.split(), *_PHRASES))
"""What stands for an account in CRMs where there is no company: words for unknown, and mail providers."""
LARGE_ACCOUNT = 1_000
"""With more leads than this an account is hardly a company; nothing is cut off, but the reader is told."""


def _reading_out(sink: RowSink, extractions: tuple[ColumnExtraction, ...]) -> RowSink:
    """The sink, which gets of attributes what a model reads out of them."""

    def read_out(name: TableName, rows: pl.DataFrame) -> None:
        sink(name, extract_history(rows, extractions) if name == "attributes" else rows)

    return read_out


def _tables_of(mapping: HistoryMapping) -> list[TableMapping]:
    """The tables in the order in which they are read."""
    accounts = () if mapping.accounts is None else (mapping.accounts,)
    return [
        *mapping.merges,
        *accounts,
        mapping.leads,
        *(table for name in EVENT_SCHEMAS for table in getattr(mapping, name)),
    ]


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


def _enforce_limits(
    sources: Sequence[TableReport],
    mapping: HistoryMapping,
    quarantine: Quarantine,
    file: Path | None,
    hints: Sequence[str],
) -> None:
    """Stop where a table with a limit of its own, or all others together, have more bad rows than allowed."""
    if file is not None and len(quarantine):
        write_quarantine(quarantine, file)
    shares = [table.max_share for table in _tables_of(mapping)]
    alone = [([source], share) for source, share in zip(sources, shares, strict=True) if share is not None]
    together = [source for source, share in zip(sources, shares, strict=True) if share is None]
    for tables, share in [*alone, (together, mapping.max_share)]:
        bad = reduce(add, (table.quarantine for table in tables), Quarantine())
        where = f"all are in {file}" if file is not None else "the first: " + "; ".join(bad.examples())
        raise_above_limit(
            share,
            bad.rows,
            sum(table.count.rows for table in tables),
            "; ".join([bad.summary(), *hints, where]),
        )


def _ingest_result(
    mapping: HistoryMapping, sources: Sequence[TableReport], frames: dict[str, Any], quarantine: Quarantine
) -> IngestResult:
    end, end_notices = find_observation_end(
        [s.end for s in sources if s.end is not None and s.end.kind != "merges"]
    )
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
        notices=(
            *(notice for source in sources for notice in source.notices),
            *(end_notices if mapping.observed_until is None else ()),
        ),
        counts=tuple(source.count for source in sources),
        columns=tuple(column for source in sources for column in source.columns),
        marks={column: each for source in sources for column, each in source.marks.items()},
    )


@dataclass(frozen=True)
class _CheckedTable:
    """The leads or accounts, read and checked; of leads also the columns by which events find them."""

    frame: pl.DataFrame
    source: TableReport
    persons: pl.DataFrame | None = None
    further: pl.DataFrame = field(default_factory=pl.DataFrame)
    deleted: pl.Series | None = None


def _further_ids(table: TableMapping, leads: _CheckedTable) -> pl.DataFrame | None:
    """What else the leads are called in a table of events, as its ``also`` says."""
    columns = [str(column) for column in table.also.get("leads", ())]
    return further_ids(leads.frame["lead_id"], leads.further, columns) if columns else None


def _read_table(
    name: TableName,
    mapping: TableMapping,
    context: ValidationContext,
    history_mapping: HistoryMapping,
    merges: Merges | None = None,
) -> _CheckedTable:
    table = open_table(mapping, keeps_rows=True)
    names = map_column_names(name, mapping, table)
    free = tuple(c for c in table.columns if c not in {*names.values(), *column_names(name)})
    batch = table.read_batch(sorted({*names.values(), *free}))
    context = replace(_table_context(name, mapping, context, history_mapping), decimal=table.decimal)
    words = MissingWords()
    rows = apply_mapping(batch, names, free, mapping, words)
    merged = None if merges is None else merges.merged_ids
    rows, deleted = leave_out_deleted(rows, mapping.deleted, merged, _further_columns(history_mapping))
    checked = validate_table(name, rows, context)
    if context.accounts is not None:
        ids, none = context.accounts, Message("ingest.no_such_account")
        checked = checked.explain(none, lambda bad: near_miss_reasons(none, bad, ids))
    attributes = _attribute_columns(name, checked, table, history_mapping)
    frame = checked.frame.select(*column_names(name)).hstack(list(attributes.columns))
    if name == "leads" and frame["known_at"].equals(frame["created_at"]):
        frame = frame.drop("known_at")
    source = TableReport(
        count=RowCounts(name, mapping.name, batch.frame.height + table.rejected_rows, frame.height),
        quarantine=attributes.rows.quarantine(table, name, rejects=True),
        notices=(
            *table.notices,
            *words.notices((role.column for role in attributes.roles if role.role == "category"), name),
            *id_notices(batch.frame, names.get(f"{name.removesuffix('s')}_id")),
            *table_notices(name, mapping, checked),
            *attributes.notices,
            *(_same_creation(mapping.name, frame["created_at"]) if name == "leads" else ()),
            *(_same_addresses(mapping.name, frame["lead_id"]) if name == "leads" else ()),
        ),
        end=_lead_end(mapping.name, frame["created_at"]) if name == "leads" else None,
        roles=tuple(role.rename(lambda column: _with_prefix(name, column)) for role in attributes.roles),
        columns=tuple(_with_prefix(name, column) for column in table.columns),
        marks={_with_prefix(name, column): each for column, each in attributes.marks.items()},
    )
    if name != "leads":
        return _CheckedTable(frame, source)
    raw = checked.frame.select(free)
    also = _further_columns(history_mapping)
    if unknown := sorted(also - set(free)):
        msg = f"{mapping.name} has no column {unknown[0]!r} to find events by{suggest(unknown[0], free)}"
        raise SourceError(msg)
    persons = resolve_identities(frame["lead_id"], raw)
    return _CheckedTable(frame, source, persons, raw.select(sorted(also)), deleted)


_MOST_ALIKE, _FEWEST_LEADS = 0.9, 20


def _same_creation(name: str, created_at: pl.Series) -> tuple[str, ...]:
    """A sentence where nearly all leads came to be in one second: that of an import."""
    if len(created_at) < _FEWEST_LEADS:
        return ()
    moment, count = created_at.value_counts(sort=True).row(0)
    share = count / len(created_at)
    if share < _MOST_ALIKE:
        return ()
    text = (
        f"leads: {name}: {share:.0%} of the leads were created at {to_datetime(moment):%Y-%m-%d %H:%M:%S} "
        "(UTC), as after an import: their ages count from then and say nothing; name a column with the day "
        "on which each lead came to be"
    )
    return (text,)


def _same_addresses(name: str, lead_id: pl.Series) -> tuple[str, ...]:
    """A sentence where ids are addresses that differ in capital letters alone."""
    count = ambiguous_addresses(lead_id)
    if not count:
        return ()
    text = (
        f"leads: {name}: {count:,} ids are addresses that differ from another one in capital letters alone: "
        "they count as several leads; if they are one, write them alike"
    )
    return (text,)


def _lead_end(name: str, created_at: pl.Series) -> TableEnd:
    days = {day: (count, newest) for day, count, newest in rows_by_day(created_at)}
    return TableEnd("leads", name, days)


def _table_context(
    name: TableName, mapping: TableMapping, context: ValidationContext, history_mapping: HistoryMapping
) -> ValidationContext:
    in_leads_table = mapping is not history_mapping.leads and _location(mapping) == _location(
        history_mapping.leads
    )
    sparse = in_leads_table or bool(mapping.stages) or _EVENT_COLUMN.get(name) in mapping.constants
    others = {"transitions": ACCOUNT, "attributes": CREATED}
    unused = [others[name]] if name in others else [CREATED, ACCOUNT]
    leads = None if context.leads is None else context.leads.drop(unused)
    return replace(
        context,
        leads=leads,
        times=mapping.times,
        money=mapping.money,
        sparse=sparse,
        planned=_PLANNED if name == "touchpoints" else 0.0,
        ends_days=name == "transitions" or (name in _EVENTS and not has_days(mapping.time_format)),
    )


_PLANNED = 0.5


def _with_prefix(name: TableName, column: str) -> str:
    return column if name == "leads" else ACCOUNT_PREFIX + column


_EVENT_COLUMN: dict[TableName, str] = {"touchpoints": "kind", "transitions": "stage"}


def _attribute_columns(
    name: TableName, rows: ValidatedRows, table: TableReader, history_mapping: HistoryMapping
) -> AttributeColumns:
    """The free columns of leads or accounts as attributes; dates from which transitions are read are none."""
    prefix = "" if name == "leads" else ACCOUNT_PREFIX
    event_columns = _event_columns(history_mapping) if name == "leads" else frozenset()
    excluded = {*column_names(name), ROW, *event_columns}
    names = [c for c in rows.frame.columns if c not in excluded and _is_selected(prefix + c, history_mapping)]
    reading = AttributeReading(
        roles=_own_columns(name, history_mapping.plain.roles),
        extract=_own_columns(name, history_mapping.plain.extract),
        extractions=_own_extractions(name, history_mapping),
        marks=_own_columns(name, history_mapping.marks),
    )
    return read_attributes(rows, rows.frame.select(names), reading, table.decimal)


def _own_columns(name: TableName, by_column: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the columns of leads or of accounts, by the table's own names."""
    prefix = "" if name == "leads" else ACCOUNT_PREFIX
    return {column.removeprefix(prefix): each for column, each in by_column.items()}


def _own_extractions(name: TableName, history_mapping: HistoryMapping) -> tuple[ColumnExtraction, ...] | None:
    """What a model reads out of the columns of leads or of accounts."""
    if history_mapping.extractions is None:
        return None
    is_lead = name == "leads"
    return tuple(
        replace(each, column=each.column.removeprefix(ACCOUNT_PREFIX))
        for each in history_mapping.extractions
        if each.column.startswith(ACCOUNT_PREFIX) != is_lead
    )


def _is_selected(column: str, history_mapping: HistoryMapping) -> bool:
    selected = not history_mapping.plain.only or column in history_mapping.plain.only
    return selected and column not in history_mapping.plain.exclude


def _event_columns(history_mapping: HistoryMapping) -> frozenset[str]:
    """The columns of the leads' own table from which events are read, or by which they are found."""
    own = (
        column
        for event in _events_of(history_mapping)
        if _location(event) == _location(history_mapping.leads)
        for column in event.references
    )
    return frozenset(own) | _further_columns(history_mapping)


def _further_columns(mapping: HistoryMapping) -> set[str]:
    """The columns of leads by which tables of events find them; they tell what became of a lead."""
    return {str(column) for event in _events_of(mapping) for column in event.also.get("leads", ())}


def _events_of(mapping: HistoryMapping) -> tuple[TableMapping, ...]:
    return (*mapping.touchpoints, *mapping.transitions, *mapping.attributes)


def _location(place: TableSource) -> tuple[Any, ...]:
    return place.file, place.database, place.table, place.query


_EVENTS = ("touchpoints", "transitions", "attributes")

_TABLES = ("leads", "accounts", *_EVENTS)

_FAR_FUTURE = 2**40


def read_frames(
    tables: Mapping[str, Any], stages: tuple[str, ...] = (), now: int | None = None
) -> IngestResult:
    """Read a history from frames in memory; they are checked as files are.

    Args:
        tables: "leads" and, where there are any, "touchpoints", "transitions", "attributes" and "accounts":
            frames of Polars or pandas with the columns of the data contract. Times are datetimes (without a
            zone they are UTC) or ISO text; an index is left out.
        stages: The company's own stages; a transition into any other is bad. Empty for no check.
        now: Epoch seconds; rows at or after it are in the future. None for one second after the newest row.

    Returns:
        The history with its quarantine, in which ``file`` is the name of the table and ``row`` 1 its first
        row.

    Raises:
        SourceError: a table or column is missing, or cannot be used at all.
        TooManyBadRowsError: more than 5 % of all rows are bad.
    """
    _check_table_names(tables)
    # Through Parquet, which keeps the types, so that there is one way of reading and not two.
    with TemporaryDirectory() as folder:
        places = {name: _write_parquet(frame, Path(folder) / name) for name, frame in tables.items()}
        reading = read_history(_frames_mapping(places, stages, now), _FAR_FUTURE if now is None else now)
    return replace(reading, quarantine=_with_table_names(reading.quarantine))


def _check_table_names(tables: Mapping[str, Any]) -> None:
    if "leads" not in tables:
        msg = "there is no table of leads; name it 'leads'"
        raise SourceError(msg)
    if unknown := sorted(set(tables) - set(_TABLES)):
        msg = f"{unknown[0]!r} is no table of a history{suggest(unknown[0], _TABLES)}"
        raise SourceError(msg)


def _write_parquet(frame: Any, path: Path) -> TableMapping:
    rows = nw.from_native(frame, eager_only=True)
    with_zone = [
        name for name, kind in rows.schema.items() if isinstance(kind, nw.Datetime) and kind.time_zone
    ]
    # Without a zone a time is read as UTC; on the way out of pandas a zone makes pyarrow warn.
    utc = (nw.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None) for name in with_zone)
    rows.with_columns(*utc).to_polars().write_parquet(path)
    return TableMapping(file=path)


def _frames_mapping(
    places: Mapping[str, TableMapping], stages: tuple[str, ...], now: int | None
) -> HistoryMapping:
    events: dict[str, Any] = {name: (places[name],) for name in _EVENTS if name in places}
    return HistoryMapping(
        places["leads"], accounts=places.get("accounts"), stages=stages, observed_until=now, **events
    )


def _with_table_names(quarantine: Quarantine) -> Quarantine:
    return replace(quarantine, frame=quarantine.frame.with_columns(pl.col("file").str.split("/").list.last()))
