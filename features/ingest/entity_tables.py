"""The tables of leads and of accounts on their way through the checks: as a whole, or in batches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.clock import to_datetime
from features.history import ACCOUNT_PREFIX
from features.ingest.attribute_columns import (
    AttributeColumns,
    AttributeReading,
    read_attributes,
    settle_marks,
)
from features.ingest.event_tables import (
    EventSink,
    apply_mapping,
    map_column_names,
    table_notices,
)
from features.ingest.flat_export import TableMarks, id_notices
from features.ingest.identity_resolution import resolve_identities
from features.ingest.known_leads import (
    ACCOUNT,
    CREATED,
    HashedIds,
    HashedLeads,
    HistoryCut,
    ListedIds,
    ListedLeads,
    SortedHashes,
    find_buckets,
    hash_words,
)
from features.ingest.lead_ids import ambiguous_addresses, leave_out_deleted
from features.ingest.missing_words import MissingWords
from features.ingest.near_misses import near_miss_reasons
from features.ingest.observation_end import TableEnd
from features.ingest.quarantine import SourceError
from features.ingest.repeated_events import HashRuns
from features.ingest.row_validation import ROW, ValidatedRows
from features.ingest.schema import ValidationContext, column_names, surplus_rows, validate_table
from features.ingest.table_context import table_context
from features.ingest.table_reports import RowCounts, TableReport, rows_by_day
from features.ingest.tables import TableReader, open_table
from features.ingest.total_rows import reject_totals
from features.merges import PART, Merges
from features.messages import Message
from features.number_marks import MarkEvidence, collect_mark_evidence, has_marks
from features.parsing import parse_categories, strip_missing
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from features.extraction import ColumnExtraction
    from features.ingest.mapping import HistoryMapping, TableMapping
    from features.ingest.schema import TableName
    from features.ingest.tables import Batch
    from features.number_marks import NumberMarks


@dataclass(frozen=True)
class CheckedTable:
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


def read_entity_table(  # noqa: PLR0913, PLR0917 - of one module
    name: TableName,
    mapping: TableMapping,
    context: ValidationContext,
    history_mapping: HistoryMapping,
    sink: EventSink,
    cut: HistoryCut | None,
    merges: Merges | None = None,
) -> CheckedTable:
    """The leads or accounts; in batches, to the sink, where that can be."""
    reading = _EntityTable(
        name, mapping, open_table(mapping, keeps_rows=True), context, history_mapping, merges
    )
    if cut is None:
        return reading.read()
    if history_mapping.extractions is None or sink.read is None:
        return reading.pass_on(reading.read(), sink, cut)
    return reading.read_in_batches(sink, cut)


@dataclass
class _Tally:
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
class _EntityTable:
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
        context = table_context(self.name, self.mapping, self.base, self.history_mapping)
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

    def read(self) -> CheckedTable:
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
            return CheckedTable(frame, source, ListedIds(frame["account_id"]))
        raw = checked.frame.select(self.free)
        further = checked.frame.select("lead_id", *self.also)
        persons = resolve_identities(frame["lead_id"], raw)
        if frame["known_at"].equals(frame["created_at"]):
            frame = frame.drop("known_at")
        known, emails = self._list_leads(frame, np.zeros(frame.height, np.int32))
        return CheckedTable(
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

    def pass_on(self, checked: CheckedTable, sink: EventSink, cut: HistoryCut) -> CheckedTable:
        """The table that was read as a whole, with its rows in the sink."""
        frame = checked.frame
        is_lead = self.name == "leads"
        buckets = cut.add_leads(frame) if is_lead else find_buckets(frame["account_id"])
        rows = frame.with_columns(pl.Series(PART, buckets)).with_row_index(ROW)
        sink.add(self.name, rows.with_columns(pl.col(ROW).cast(pl.Int64)))
        known = self._list_leads(frame, cut.parts[buckets])[0] if is_lead else None
        return replace(checked, frame=frame.clear(), known=known)

    def read_in_batches(self, sink: EventSink, cut: HistoryCut) -> CheckedTable:
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

    def _pass_batches(self, sink: EventSink, cut: HistoryCut, surplus: pl.Series) -> _Tally:
        free, context = self._needed_columns(), replace(self.context, surplus=surplus)
        marks = TableMarks(
            self.table,
            self._number_columns(free),
            self.mapping.missing,
            self._own_marks(),
            lambda cells: has_marks(cells, self.table.decimal),
        )
        tally = _Tally(ValidatedRows(pl.DataFrame(), names=self.names))
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
        self, checked: ValidatedRows, frame: pl.DataFrame, tally: _Tally, sink: EventSink, cut: HistoryCut
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

    def _table_of(self, tally: _Tally, sink: EventSink, cut: HistoryCut) -> CheckedTable:
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
        return CheckedTable(
            frame,
            source,
            HashedIds(hashes, lambda: _read_back(sink, self.name, [self.id_column])[self.id_column]),
            further=pl.concat(tally.further) if tally.further else pl.DataFrame(),
            deleted=self._deleted(tally, hashes),
            known=known,
            emails=bool(tally.addresses),
        )

    def _deleted(self, tally: _Tally, hashes: NDArray[np.uint64]) -> pl.Series | None:
        """The ids of deleted leads that are none of a lead that stays."""
        if self.mapping.deleted is None:
            return None
        gone = pl.concat([pl.Series(dtype=pl.String), *tally.deleted])
        living = pl.Series(SortedHashes(np.sort(hashes)).find(hash_words(gone))[1])
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


def _with_prefix(name: TableName, column: str) -> str:
    return column if name == "leads" else ACCOUNT_PREFIX + column


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
        of_companies=name == "accounts",
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
