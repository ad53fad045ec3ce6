"""Reads a company's own tables, or frames in memory, into a LeadHistory.

Bad rows do not stop the reading: they are named in the quarantine, and the good rows go on, unless so many
are bad that the rest would mislead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl

from features.clock import to_datetime
from features.history import ACCOUNT_PREFIX, LeadHistory
from features.ingest.attribute_columns import (
    AttributeColumns,
    AttributeReading,
    read_attributes,
    settle_marks,
)
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
    TableMarks,
    id_notices,
    iter_flat_batches,
    read_flat,
)
from features.ingest.history_extractions import extract_history, find_history_extractions, names_after
from features.ingest.identity_resolution import resolve_identities
from features.ingest.known_leads import (
    ACCOUNT,
    CREATED,
    HashedIds,
    HashedLeads,
    HistoryCut,
    ListedIds,
    ListedLeads,
    find_buckets,
    find_hashes,
    hash_words,
)
from features.ingest.lead_ids import ambiguous_addresses, further_ids, leave_out_deleted
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.missing_words import MissingWords
from features.ingest.near_misses import near_miss_reasons
from features.ingest.observation_end import TableEnd, find_observation_end
from features.ingest.quarantine import Quarantine, SourceError, raise_above_limit, write_quarantine
from features.ingest.repeated_events import HashRuns
from features.ingest.row_validation import ROW, ValidatedRows
from features.ingest.schema import ValidationContext, column_names, surplus_rows, validate_table
from features.ingest.tables import TableReader, open_table
from features.ingest.timestamps import has_days
from features.ingest.total_rows import reject_totals
from features.merges import MERGE_SCHEMA, PART, MergeCircleError, Merges, UnsharedMerges, chain_merges
from features.messages import Message
from features.number_marks import collect_mark_evidence, has_marks
from features.parsing import parse_categories, strip_missing
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from features.extraction import ColumnExtraction
    from features.ingest.column_roles import ColumnRole
    from features.ingest.mapping import TableEvidence
    from features.ingest.schema import TableName
    from features.ingest.tables import Batch
    from features.number_marks import MarkEvidence, NumberMarks


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
        accounts = _read_free_table("accounts", mapping.accounts, base, mapping, sink, cut)
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
    known_accounts = None if accounts is None else accounts.ids
    with_accounts = replace(base, accounts=known_accounts)
    leads = _read_free_table("leads", mapping.leads, with_accounts, mapping, sink, cut, merges)
    parts = leads.known
    context = replace(base, leads=parts, deleted=leads.deleted, emails=leads.emails)
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
    if merges and parts is not None:
        sink.add("transitions", merges.closings(parts.select(merges.ids)))
    frames = {"leads": leads.frame} | ({} if accounts is None else {"accounts": accounts.frame})
    sources = [*merge_reports, *(() if accounts is None else (accounts.source,)), leads.source, *events]
    quarantine = reduce(add, (source.quarantine for source in sources))
    hints = _other_ids(mapping, events)
    _enforce_limits(sources, mapping, quarantine, quarantine_file, hints)
    result = _ingest_result(mapping, sources, frames, quarantine)
    sizes = notable_accounts(leads.frame["account_id"])
    notices = (*result.notices, *hints, *account_notices(sizes, leads.frame.height))
    return replace(result, persons=leads.persons, notices=notices)


def notable_accounts(accounts: pl.Series) -> pl.DataFrame:
    """The accounts that may be no companies, by their name or by how many leads they have.

    Args:
        accounts: The account of each lead; null is none.

    Returns:
        ``account_id``, ``len`` (its leads) and ``is_word`` (whether its name says that it is no company).
    """
    sizes = accounts.drop_nulls().cast(pl.String).alias("account_id").to_frame().group_by("account_id").len()
    is_word = pl.col("account_id").str.strip_chars().str.to_lowercase().is_in(NO_COMPANIES)
    sizes = sizes.with_columns(is_word=is_word)
    return sizes.filter((pl.col("len") > LARGE_ACCOUNT) | (pl.col("is_word") & (pl.col("len") > 1)))


def account_notices(notable: pl.DataFrame, leads: int) -> tuple[str, ...]:
    """Sentences on accounts that are no companies.

    Args:
        notable: What ``notable_accounts`` found.
        leads: How many leads there are in all.
    """
    notable = notable.sort("len", "account_id", descending=True)
    words, large = notable.filter("is_word"), notable.filter(~pl.col("is_word"))
    notices = []
    if words.height:
        sizes = words.select("account_id", "len").head(_MOST_NAMED).rows()
        named = ", ".join(f"{name!r} ({size:,} leads)" for name, size in sizes)
        others = f" and {words.height - _MOST_NAMED:,} more" if words.height > _MOST_NAMED else ""
        notices.append(
            f"leads: accounts that are no companies: {named}{others}; leave the account of these leads "
            "empty: now each of them counts as a colleague of all others with the same word"
        )
    if large.height:
        name, size = large.select("account_id", "len").row(0)
        others = f", and {large.height - 1:,} more accounts are as large" if large.height > 1 else ""
        notices.append(
            f"leads: account {name!r} has {size:,} of the {leads:,} leads{others}; if that is no company "
            "but a word for unknown or a mail provider, leave the account of these leads empty: now each of "
            "them counts as a colleague of all others"
        )
    return tuple(notices)


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
    shares = [table.max_share for table in mapping.tables]
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


@dataclass(frozen=True)
class JoinedReading:
    """What the readings of all parts of a history say together.

    Attributes:
        observed_until: The end of observation of the whole history, in epoch seconds.
        quarantine: The bad rows and cells of all parts; without row numbers.
        notices: Sentences on the end of observation.
        evidence: By table, what all values say on the marks in its numbers.
        agreed: Whether every part took the marks in its numbers for what all parts together say of them. If
            not, the parts are to be read again with this ``evidence``.
    """

    observed_until: int
    quarantine: Quarantine
    notices: tuple[str, ...] = ()
    evidence: tuple[TableEvidence, ...] = ()
    agreed: bool = True


def join_readings(
    mapping: HistoryMapping, parts: Iterable[Sequence[TableReport]], quarantine_file: Path | None = None
) -> JoinedReading:
    """What the readings of the parts of a history say together; bad rows count against the limits of all.

    Args:
        mapping: How the parts were read, with the limits for bad rows.
        parts: Of each part the reports on its tables, in the order of ``mapping.tables``.
        quarantine_file: Where bad rows are written as CSV; None for nowhere.

    Returns:
        The end of observation and the bad rows of the whole.

    Raises:
        TooManyBadRowsError: more rows are bad than ``mapping`` allows.
    """
    by_table = list(zip(*parts, strict=True))
    tables = [reduce(add, reports) for reports in by_table]
    quarantine = reduce(add, (table.quarantine for table in tables))
    # A number counts the rows of a part, which nobody else has in that order.
    numberless = quarantine.frame.with_columns(row=pl.lit(None, quarantine.frame.schema["row"]))
    quarantine = replace(quarantine, frame=numberless)
    evidence = tuple(table.evidence for table in tables)
    if mapping.evidence is None and not all(map(_agree, by_table, evidence)):
        return JoinedReading(0, quarantine, (), evidence, agreed=False)
    _enforce_limits(tables, mapping, quarantine, quarantine_file, ())
    end, notices = find_observation_end(_ends_of(tables))
    if mapping.observed_until is not None:
        return JoinedReading(mapping.observed_until, quarantine, (), evidence)
    return JoinedReading(end, quarantine, notices, evidence)


def _agree(reports: Sequence[TableReport], whole: TableEvidence) -> bool:
    """Whether each part of a table settles the marks in its numbers, if it has any, as the whole does."""
    return all(
        not (own.thousands | own.decimals | own.doubtful) or _meaning(own) == _meaning(whole[column][name])
        for report in reports
        for column, by_name in report.evidence.items()
        for name, own in by_name.items()
    )


def _meaning(evidence: MarkEvidence) -> tuple[NumberMarks, NumberMarks, bool]:
    return evidence.marks, evidence.expected("."), evidence.is_expected


def _ends_of(tables: Sequence[TableReport]) -> list[TableEnd]:
    return [table.end for table in tables if table.end is not None and table.end.kind != "merges"]


def _ingest_result(
    mapping: HistoryMapping, sources: Sequence[TableReport], frames: dict[str, Any], quarantine: Quarantine
) -> IngestResult:
    end, end_notices = find_observation_end(_ends_of(sources))
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


@dataclass(frozen=True)
class _CheckedTable:
    """The leads or accounts, read and checked.

    Attributes:
        frame: The rows; without rows where they went to a sink.
        source: What there is to say of the table.
        ids: Its ids.
        persons: What points at persons, of leads that are in memory.
        further: Of leads, the columns by which events find them, beside ``lead_id``.
        deleted: Of leads, the ids of those that were deleted.
        known: Of leads, the part of each.
        emails: Of leads, whether any id is an address of e-mail.
    """

    frame: pl.DataFrame
    source: TableReport
    ids: ListedIds | HashedIds
    persons: pl.DataFrame | None = None
    further: pl.DataFrame = field(default_factory=pl.DataFrame)
    deleted: pl.Series | None = None
    known: ListedLeads | HashedLeads | None = None
    emails: bool = False


def _further_ids(table: TableMapping, leads: _CheckedTable) -> pl.DataFrame | None:
    """What else the leads are called in a table of events, as its ``also`` says."""
    columns = [str(column) for column in table.also.get("leads", ())]
    return further_ids(leads.further["lead_id"], leads.further, columns) if columns else None


def _read_free_table(  # noqa: PLR0913, PLR0917 - of one module
    name: TableName,
    mapping: TableMapping,
    context: ValidationContext,
    history_mapping: HistoryMapping,
    sink: EventSink,
    cut: HistoryCut | None,
    merges: Merges | None = None,
) -> _CheckedTable:
    """The leads or accounts; in batches, to the sink, where that can be."""
    reading = _FreeTable(
        name, mapping, open_table(mapping, keeps_rows=True), context, history_mapping, merges
    )
    if cut is None:
        return reading.read()
    if history_mapping.extractions is None or sink.read is None:
        return reading.pass_on(reading.read(), sink, cut)
    return reading.read_in_batches(sink, cut)


@dataclass
class _FreeTally:
    """What the batches of leads or accounts added up to so far."""

    problems: ValidatedRows
    words: MissingWords = field(default_factory=MissingWords)
    rows: int = 0
    accepted: int = 0
    batches: int = 0
    hashes: list[NDArray[np.uint64]] = field(default_factory=list)
    buckets: list[NDArray[np.int64]] = field(default_factory=list)
    created: list[NDArray[np.int64]] = field(default_factory=list)
    runs: HashRuns = field(default_factory=HashRuns)
    addresses: list[pl.Series] = field(default_factory=list)
    days: dict[int, tuple[int, int]] = field(default_factory=dict)
    further: list[pl.DataFrame] = field(default_factory=list)
    deleted: list[pl.Series] = field(default_factory=list)
    is_known_later: bool = False
    frame: pl.DataFrame = field(default_factory=pl.DataFrame)
    id_notices: set[str] = field(default_factory=set)
    attributes: AttributeColumns | None = None

    def add_days(self, created: pl.Series) -> None:
        for day, count, newest in rows_by_day(created):
            before = self.days.get(day, (0, newest))
            self.days[day] = (before[0] + count, max(before[1], newest))


@dataclass(frozen=True)
class _FreeTable:
    """The table of leads or of accounts on its way through the checks: as a whole, or in batches."""

    name: TableName
    mapping: TableMapping
    table: TableReader
    base: ValidationContext
    history_mapping: HistoryMapping
    merges: Merges | None

    @cached_property
    def names(self) -> dict[str, str]:
        """The table's own name of each column of the contract."""
        return map_column_names(self.name, self.mapping, self.table)

    @cached_property
    def free(self) -> tuple[str, ...]:
        """The table's further columns."""
        contract = {*self.names.values(), *column_names(self.name)}
        return tuple(column for column in self.table.columns if column not in contract)

    @property
    def context(self) -> ValidationContext:
        context = _table_context(self.name, self.mapping, self.base, self.history_mapping)
        return replace(context, decimal=self.table.decimal)

    @property
    def id_column(self) -> str:
        return f"{self.name.removesuffix('s')}_id"

    @property
    def also(self) -> list[str]:
        """The columns of leads by which events find them.

        Raises:
            SourceError: The leads have no such column.
        """
        also = _further_columns(self.history_mapping) if self.name == "leads" else set()
        if unknown := sorted(also - set(self.free)):
            hint = suggest(unknown[0], self.free)
            msg = f"{self.mapping.name} has no column {unknown[0]!r} to find events by{hint}"
            raise SourceError(msg)
        return sorted(also)

    def clean(
        self, batch: Batch, free: tuple[str, ...], words: MissingWords | None
    ) -> tuple[ValidatedRows, pl.Series | None]:
        """The rows under the names of the contract, without deleted leads, and the ids of these."""
        rows = apply_mapping(batch, self.names, free, self.mapping, words)
        merged = None if self.merges is None else self.merges.merged_ids
        return leave_out_deleted(rows, self.mapping.deleted, merged, _further_columns(self.history_mapping))

    def check(
        self, rows: ValidatedRows, context: ValidationContext, marks: Mapping[str, NumberMarks] | None = None
    ) -> tuple[ValidatedRows, AttributeColumns, pl.DataFrame]:
        """The good rows, what became of their free columns, and both as one frame."""
        checked = validate_table(self.name, rows, context)
        attributes = _attribute_columns(self.name, checked, self.table, self.history_mapping, marks)
        frame = checked.frame.select(*column_names(self.name)).hstack(list(attributes.columns))
        return checked, attributes, frame

    def report(
        self,
        counts: tuple[int, int],
        attributes: AttributeColumns,
        words: MissingWords,
        further_notices: Iterable[str],
        end: TableEnd | None,
    ) -> TableReport:
        """What there is to say of the table, whose rows were so many, of which so many go on."""
        name, roles = self.name, attributes.roles
        return TableReport(
            count=RowCounts(name, self.mapping.name, counts[0] + self.table.rejected_rows, counts[1]),
            quarantine=attributes.rows.quarantine(self.table, name, rejects=True),
            notices=(
                *self.table.notices,
                *words.notices((role.column for role in roles if role.role == "category"), name),
                *further_notices,
            ),
            end=end,
            roles=tuple(role.rename(lambda column: _with_prefix(name, column)) for role in roles),
            columns=tuple(_with_prefix(name, column) for column in self.table.columns),
            marks={_with_prefix(name, column): each for column, each in attributes.marks.items()},
        )

    def explain(self, rows: ValidatedRows) -> ValidatedRows:
        """The rows with better reasons for accounts that are nearly known ones."""
        known, none = self.base.accounts, Message("ingest.no_such_account")
        if known is None:
            return rows
        return rows.explain(none, lambda bad: near_miss_reasons(none, bad, known.texts))

    def read(self) -> _CheckedTable:
        """All rows at once."""
        name, mapping, words = self.name, self.mapping, MissingWords()
        columns = sorted({*self.names.values(), *self.free})
        batch = self.table.read_batch(columns, may_be_empty=self.history_mapping.of_part)
        evidence = self._evidence_of_part(batch)
        rows, deleted = self.clean(batch, self.free, words)
        checked, attributes, frame = self.check(rows, self.context, self._marks_of_part(evidence))
        attributes = replace(attributes, rows=self.explain(attributes.rows))
        is_lead = name == "leads"
        notices = (
            *id_notices(batch.frame, self.names.get(self.id_column)),
            *table_notices(name, mapping, checked),
            *attributes.notices,
            *(_same_creation(mapping.name, frame["created_at"]) if is_lead else ()),
            *(_same_addresses(mapping.name, ambiguous_addresses(frame["lead_id"])) if is_lead else ()),
        )
        end = _lead_end(mapping.name, frame["created_at"]) if is_lead else None
        source = self.report((batch.frame.height, frame.height), attributes, words, notices, end)
        source = replace(source, evidence={column: {None: each} for column, each in evidence.items()})
        if not is_lead:
            return _CheckedTable(frame, source, ListedIds(frame["account_id"]))
        raw = checked.frame.select(self.free)
        further = checked.frame.select("lead_id", *self.also)
        persons = resolve_identities(frame["lead_id"], raw)
        if frame["known_at"].equals(frame["created_at"]):
            frame = frame.drop("known_at")
        known, emails = self._list_leads(frame, np.zeros(frame.height, np.int32))
        return _CheckedTable(
            frame, source, ListedIds(frame["lead_id"]), persons, further, deleted, known, emails
        )

    def _evidence_of_part(self, batch: Batch) -> dict[str, MarkEvidence]:
        """Of a part: what the values of each column of numbers in text say on their marks."""
        if not self.history_mapping.of_part:
            return {}
        columns = self._number_columns(self.free)
        cells = (strip_missing(batch.frame[name], self.mapping.missing) for name in columns)
        return {each.name: collect_mark_evidence(each) for each in cells if each.dtype == pl.String}

    def _marks_of_part(self, evidence: Mapping[str, MarkEvidence]) -> dict[str, NumberMarks] | None:
        """Of a part: the marks as the whole table settles them, or this part where that is not known yet."""
        if not self.history_mapping.of_part:
            return None
        whole = self.history_mapping.evidence_of(self.mapping) or {}
        own, decimal = self._own_marks(), self.table.decimal
        return {
            column: settle_marks(whole.get(column, {}).get(None, each), column, decimal, own)
            for column, each in evidence.items()
        }

    def _list_leads(self, frame: pl.DataFrame, parts: NDArray[np.int32]) -> tuple[ListedLeads, bool]:
        listed = frame.select(
            "lead_id",
            pl.Series(PART, parts.astype(np.int64)),
            pl.col("created_at").alias(CREATED),
            pl.col("account_id").alias(ACCOUNT),
        )
        listed = listed if self.merges is None else self.merges.add_vanished(listed)
        return ListedLeads(listed), bool(listed["lead_id"].str.contains("@", literal=True).any())

    def pass_on(self, checked: _CheckedTable, sink: EventSink, cut: HistoryCut) -> _CheckedTable:
        """The table that was read as a whole, with its rows in the sink."""
        frame = checked.frame
        is_lead = self.name == "leads"
        buckets = cut.add_leads(frame) if is_lead else find_buckets(frame["account_id"])
        rows = frame.with_columns(pl.Series(PART, buckets)).with_row_index(ROW)
        sink.add(self.name, rows.with_columns(pl.col(ROW).cast(pl.Int64)))
        known = self._list_leads(frame, cut.parts[buckets])[0] if is_lead else None
        return replace(checked, frame=frame.clear(), known=known)

    def read_in_batches(self, sink: EventSink, cut: HistoryCut) -> _CheckedTable:
        """All rows in batches, to the sink; twice where an id stands there twice."""
        tally = self._pass_batches(sink, cut, pl.Series(ROW, dtype=pl.Int64))
        repeated = tally.runs.find_repeated()
        if len(repeated):
            if sink.forget is not None:
                sink.forget(self.name, tally.batches)
            cut.forget_leads()
            tally = self._pass_batches(sink, cut, self._surplus_rows(repeated))
        if not tally.rows and not self.table.rejects:
            raise SourceError(self.table.no_rows_message)
        return self._table_of(tally, sink, cut)

    def _needed_columns(self) -> tuple[str, ...]:
        """The free columns that are attributes, or that something is read out of, or that tell something."""
        prefix = "" if self.name == "leads" else ACCOUNT_PREFIX
        other = {self.mapping.deleted, *self.also}
        return tuple(
            column
            for column in self.free
            if column in other or _is_selected(prefix + column, self.history_mapping)
        )

    def _pass_batches(self, sink: EventSink, cut: HistoryCut, surplus: pl.Series) -> _FreeTally:
        free, context = self._needed_columns(), replace(self.context, surplus=surplus)
        marks = TableMarks(
            self.table,
            self._number_columns(free),
            self.mapping.missing,
            self._own_marks(),
            lambda cells: has_marks(cells, self.table.decimal),
        )
        tally = _FreeTally(ValidatedRows(pl.DataFrame(), names=self.names))
        for batch in self.table.batches(columns=sorted({*self.names.values(), *free})):
            tally.rows += batch.frame.height
            tally.id_notices |= set(id_notices(batch.frame, self.names.get(self.id_column)))
            rows, deleted = self.clean(batch, free, tally.words)
            if self.id_column in rows.frame.columns:
                tally.runs.add(
                    pl.Series(hash_words(parse_categories(rows.frame[self.id_column]).drop_nulls()))
                )
            checked, attributes, frame = self.check(rows, context, marks.of(batch.frame))
            tally.deleted += [] if deleted is None else [deleted]
            tally.attributes = tally.attributes or attributes
            tally.problems = replace(attributes.rows.after(tally.problems), frame=pl.DataFrame())
            self._pass_rows(checked, frame, tally, sink, cut)
        return tally

    def _pass_rows(
        self, checked: ValidatedRows, frame: pl.DataFrame, tally: _FreeTally, sink: EventSink, cut: HistoryCut
    ) -> None:
        ids = frame[self.id_column]
        tally.accepted += frame.height
        tally.batches += 1
        tally.frame = frame.clear()
        tally.hashes.append(hash_words(ids))
        if self.name == "leads":
            created = frame["created_at"]
            tally.created.append(created.to_numpy())
            tally.add_days(created)
            tally.is_known_later |= not frame["known_at"].equals(created)
            addresses = ids.filter(ids.str.contains("@", literal=True)).str.to_lowercase()
            tally.addresses += [addresses.hash(0)] if len(addresses) else []
            tally.further += [checked.frame.select("lead_id", *self.also)] if self.also else []
            tally.buckets.append(cut.add_leads(frame))
            buckets = tally.buckets[-1]
        else:
            buckets = find_buckets(ids)
        sink.add(self.name, frame.with_columns(checked.frame[ROW], pl.Series(PART, buckets)))

    def _number_columns(self, free: tuple[str, ...]) -> list[str]:
        roles = _own_columns(self.name, self.history_mapping.plain.roles)
        return [column for column in free if roles.get(column) == "number"]

    def _own_marks(self) -> Mapping[str, NumberMarks]:
        return _own_columns(self.name, self.history_mapping.marks)

    def _surplus_rows(self, repeated: pl.Series) -> pl.Series:
        """The numbers of the rows whose id stands in another row that counts."""
        frames = []
        for batch in self.table.batches(columns=sorted({*self.names.values(), *self.free})):
            rows, _ = self.clean(batch, self.free, None)
            ids = parse_categories(rows.frame[self.id_column])
            is_repeated = pl.Series(hash_words(ids)).is_in(repeated.implode()) & ids.is_not_null()
            frames.append(rows.frame.with_columns(ids).filter(is_repeated))
        rows = ValidatedRows(pl.concat(frames, how="vertical_relaxed"))
        whole = reject_totals(rows, rows.frame[self.id_column], self.id_column)
        return surplus_rows(whole.frame, self.id_column, self.context)

    def _table_of(self, tally: _FreeTally, sink: EventSink, cut: HistoryCut) -> _CheckedTable:
        attributes = tally.attributes or AttributeColumns(tally.problems, (), ())
        rows = self.explain(tally.problems)
        hashes = np.concatenate([np.empty(0, np.uint64), *tally.hashes])
        lost = sorted(tally.id_notices, reverse=True)[:1]
        notices = [*lost, *table_notices(self.name, self.mapping, rows), *attributes.notices]
        known, end = None, None
        if self.name == "leads":
            created = np.concatenate([np.empty(0, np.int64), *tally.created])
            notices += _same_creation(self.mapping.name, pl.Series(created))
            lower = pl.concat(tally.addresses) if tally.addresses else pl.Series(dtype=pl.UInt64)
            notices += _same_addresses(self.mapping.name, int(lower.is_duplicated().sum()))
            end = TableEnd("leads", self.mapping.name, tally.days)
            buckets = np.concatenate([np.empty(0, np.int64), *tally.buckets])
            known = HashedLeads(hashes, cut.parts[buckets], created, partial(_listed_leads, sink, cut))
            known = known if self.merges is None else known.add_vanished(self.merges)
        source = self.report(
            (tally.rows, tally.accepted),
            replace(attributes, rows=rows),
            tally.words,
            notices,
            end,
        )
        frame = tally.frame.clear()
        if self.name == "leads" and not tally.is_known_later:
            frame = frame.drop("known_at")
        return _CheckedTable(
            frame,
            source,
            HashedIds(hashes, lambda: _read_back(sink, self.name, [self.id_column])[self.id_column]),
            further=pl.concat(tally.further) if tally.further else pl.DataFrame(),
            deleted=self._deleted(tally, hashes),
            known=known,
            emails=bool(tally.addresses),
        )

    def _deleted(self, tally: _FreeTally, hashes: NDArray[np.uint64]) -> pl.Series | None:
        """The ids of deleted leads that are none of a lead that stays."""
        if self.mapping.deleted is None:
            return None
        gone = pl.concat([pl.Series(dtype=pl.String), *tally.deleted])
        living = pl.Series(find_hashes(np.sort(hashes), hash_words(gone))[1])
        for further in tally.further:
            for column in self.also:
                living |= gone.is_in(parse_categories(further[column]).drop_nulls().implode())
        return gone.filter(~living)


def _read_back(sink: EventSink, name: TableName, columns: Sequence[str]) -> pl.DataFrame:
    """Columns of a table from where its rows wait."""
    return pl.DataFrame(schema=dict.fromkeys(columns)) if sink.read is None else sink.read(name, columns)


def _listed_leads(sink: EventSink, cut: HistoryCut) -> pl.DataFrame:
    """All leads as a frame, from where they wait."""
    leads = _read_back(sink, "leads", ("lead_id", "account_id", "created_at", PART))
    return leads.select(
        "lead_id",
        pl.Series(PART, cut.parts[leads[PART].to_numpy()].astype(np.int64)),
        pl.col("created_at").alias(CREATED),
        pl.col("account_id").alias(ACCOUNT),
    )


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


def _same_addresses(name: str, count: int) -> tuple[str, ...]:
    """A sentence where so many ids are addresses that differ in capital letters alone."""
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
    leads_table = history_mapping.leads
    in_leads_table = mapping is not leads_table and mapping.location == leads_table.location
    sparse = in_leads_table or bool(mapping.stages) or _EVENT_COLUMN.get(name) in mapping.constants
    return replace(
        context,
        dated=name == "transitions",
        times=mapping.times,
        money=mapping.money,
        sparse=sparse,
        planned=_PLANNED if name == "touchpoints" else 0.0,
        is_part=history_mapping.of_part,
        evidence=history_mapping.evidence_of(mapping),
        ends_days=name == "transitions" or (name in _EVENTS and not has_days(mapping.time_format)),
    )


_PLANNED = 0.5


def _with_prefix(name: TableName, column: str) -> str:
    return column if name == "leads" else ACCOUNT_PREFIX + column


_EVENT_COLUMN: dict[TableName, str] = {"touchpoints": "kind", "transitions": "stage"}


def _attribute_columns(
    name: TableName,
    rows: ValidatedRows,
    table: TableReader,
    history_mapping: HistoryMapping,
    settled: Mapping[str, NumberMarks] | None = None,
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
        marks=_own_columns(name, history_mapping.marks) if settled is None else settled,
        settled=settled is not None,
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
        if event.location == history_mapping.leads.location
        for column in event.references
    )
    return frozenset(own) | _further_columns(history_mapping)


def _further_columns(mapping: HistoryMapping) -> set[str]:
    """The columns of leads by which tables of events find them; they tell what became of a lead."""
    return {str(column) for event in _events_of(mapping) for column in event.also.get("leads", ())}


def _events_of(mapping: HistoryMapping) -> tuple[TableMapping, ...]:
    return (*mapping.touchpoints, *mapping.transitions, *mapping.attributes)


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
