"""Tables of events, read a batch at a time: a history's events may be larger than the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import polars as pl

from features.history import ACCOUNT_PREFIX, ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA
from features.ingest.attribute_columns import TWO_WAYS
from features.ingest.lead_ids import (
    FURTHER_ID,
    leave_out_rows_of,
    resolve_lead_ids,
    spread_accounts,
    unify_email_case,
)
from features.ingest.missing_words import MissingWords
from features.ingest.near_misses import near_miss_reasons
from features.ingest.observation_end import TableEnd
from features.ingest.repeated_events import CELLS, EVENT_ID, REPEATED, EventOnce, EventWatch
from features.ingest.row_validation import ValidatedRows
from features.ingest.schema import (
    ValidationContext,
    attribute_numbers,
    check_mapping,
    column_names,
    number_columns,
    validate_table,
    word_columns,
)
from features.ingest.table_reports import RowCounts, TableReport, join_evidence, rows_by_day
from features.ingest.tables import TableReader, open_table
from features.ingest.work_ahead import map_ahead
from features.merges import MERGE_SCHEMA, PART
from features.messages import Message
from features.number_marks import (
    MarkEvidence,
    NumberMarks,
    collect_mark_evidence,
    find_marks,
    has_marks,
    settle_groups,
)
from features.parsing import (
    has_single_group,
    is_mostly_doubtful,
    is_separated,
    lost_digits,
    parse_amounts,
    parse_categories,
    plain_numbers,
    strip_missing,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.ingest.mapping import TableEvidence, TableMapping
    from features.ingest.schema import TableName
    from features.ingest.tables import Batch
    from features.merges import Merges
    from features.parsing import Decimal

RowSink = Callable[["TableName", pl.DataFrame], None]
"""What becomes of the good rows of a table, whose name comes first."""


RowChoice = Callable[[pl.DataFrame], pl.Series]
"""Which rows of a frame are chosen, as a Boolean for each."""


@dataclass(frozen=True)
class EventSink:
    """Where the good rows of tables of events go.

    Attributes:
        add: Takes a batch of a table.
        forget: Takes the last so many batches of a table back; without it events that were delivered twice
            count twice.
        read: Reads columns of a table back; without it leads and accounts are not passed on in batches.
        ahead: Whether a thread checks a batch of events while the one before is added.
        leave_out: Takes rows out of the last so many batches of a table: those that a function chooses of the
            rows of each batch, of which those of one lead stand in the order in which they came. It keeps
            the column ``CELLS``; without it a table with repeated rows is read twice.
    """

    add: RowSink
    forget: Callable[[TableName, int], None] | None = None
    read: Callable[[TableName, Sequence[str]], pl.DataFrame] | None = None
    ahead: bool = False
    leave_out: Callable[[TableName, int, RowChoice], None] | None = None


EVENT_ROWS = 500_000
NUMBERS = "leadloop.numbers"
EVENT_SCHEMAS: dict[TableName, dict[str, Any]] = {
    "touchpoints": TOUCHPOINT_SCHEMA,
    "transitions": TRANSITION_SCHEMA,
    "attributes": ATTRIBUTE_SCHEMA,
}


@dataclass
class _Tally:
    """What the batches of a table added up to so far."""

    problems: ValidatedRows
    watch: EventWatch
    rows: int = 0
    batches: int = 0
    accepted: int = 0
    names: frozenset[str] = frozenset()
    words: MissingWords = field(default_factory=MissingWords)
    days: dict[int, tuple[int, int]] = field(default_factory=dict)
    shared: list[pl.DataFrame] = field(default_factory=list)

    def subtract(self, known_at: pl.Series) -> None:
        """Count rows out again that were known then; others that are known at the same moments stay."""
        self.accepted -= len(known_at)
        for day, count, _ in rows_by_day(known_at):
            before = self.days[day]
            self.days[day] = (before[0] - count, before[1])

    def add(self, checked: ValidatedRows, good: pl.DataFrame) -> None:
        self.problems = replace(checked.after(self.problems), frame=self.problems.frame)
        self.accepted += good.height
        self.batches += 1
        for day, count, newest in rows_by_day(good["known_at"]):
            before = self.days.get(day, (0, newest))
            self.days[day] = (before[0] + count, max(before[1], newest))
        if "name" in good.columns:
            self.names |= frozenset(good["name"].unique())


def read_events(
    name: TableName,
    mapping: TableMapping,
    context: ValidationContext,
    sink: EventSink,
    merges: Merges | None = None,
) -> TableReport:
    """Read a table of events in batches; good rows go to ``sink`` with the ``PART`` of their lead.

    Leads that were merged share events as ``merges`` says; merges themselves are read as events are. Where
    rows turn out to be there twice, they are taken out of the sink; if that cannot be, the sink forgets the
    table, and it is read once more.
    """
    check_mapping(name, mapping)
    table = open_table(mapping)
    reading = _EventReading(name, mapping, table, replace(context, decimal=table.decimal), merges, sink)
    tally = reading.read_rows(None)
    if sink.forget is not None and (repeated := tally.watch.find_repeated(table, reading.columns)):
        once = EventOnce(repeated)
        if reading.can_leave_out and not len(repeated.ids):
            reading.leave_out(once, tally)
        else:
            sink.forget(name, tally.batches)
            tally = reading.read_rows(once)
    tally.problems = tally.problems.settle_planned(tally.rows, context.planned)
    if context.leads is not None:
        known, no_lead = context.leads, Message("ingest.no_such_lead")
        tally.problems = tally.problems.explain(
            no_lead, lambda bad: near_miss_reasons(no_lead, bad, known.frame["lead_id"])
        )
    is_empty = not tally.rows and not table.rejects
    empty = (f"{name}: {table.no_rows_message}; it counts once it has some",) if is_empty else ()
    names = reading.names
    return TableReport(
        count=RowCounts(name, mapping.name, tally.rows + table.rejected_rows, tally.accepted),
        quarantine=tally.problems.quarantine(table, name, rejects=True),
        notices=(
            *table.notices,
            *empty,
            *tally.words.notices(_word_columns_of(name, names), name),
            *table_notices(name, mapping, tally.problems),
        ),
        end=TableEnd(name, mapping.name, tally.days),
        id_columns=mapping.lead_id or (names.get("lead_id", "lead_id"),),
        names=tally.names,
        evidence=reading.evidence if context.is_part else {},
    )


@dataclass(frozen=True, slots=True)
class _CheckedBatch:
    """A batch of events after the checks.

    Attributes:
        rows: The good rows, and what was found wrong.
        words: The words that were taken as missing.
    """

    rows: ValidatedRows
    words: MissingWords


@dataclass(frozen=True)
class _EventReading:
    """One table of events on its way to the sink: once, or twice where some of its rows are there twice."""

    name: TableName
    mapping: TableMapping
    table: TableReader
    context: ValidationContext
    merges: Merges | None
    sink: EventSink

    @cached_property
    def mappings(self) -> list[tuple[TableMapping, dict[str, str], _EventMarks]]:
        """The mapping, or that of each stage, with the names of columns and what settles the marks."""
        named = [(each, map_column_names(self.name, each, self.table)) for each in self.mapping.by_stage()]
        evidence = self.context.evidence
        return [
            (each, names, _EventMarks(self.name, self.table, names, each, evidence)) for each, names in named
        ]

    @property
    def names(self) -> dict[str, str]:
        """The table's own name of each column of the contract."""
        return self.mappings[0][1]

    @property
    def columns(self) -> list[str]:
        """The table's columns that are read."""
        return sorted({column for _, names, _ in self.mappings for column in names.values()})

    @property
    def evidence(self) -> TableEvidence:
        """What the values say on the marks in the numbers, whether or not a cell asks for it."""
        return reduce(join_evidence, (marks.evidence for _, _, marks in self.mappings))

    def read_rows(self, once: EventOnce | None) -> _Tally:
        """All rows through the checks and to the sink; those that are there twice only ``once``."""
        tally = _Tally(ValidatedRows(pl.DataFrame(), names=self.names), self._new_watch())
        batches = self.table.batches(EVENT_ROWS, self.columns)
        for rows, stages in map_ahead(self._check, batches) if self.sink.ahead else map(self._check, batches):
            tally.rows += rows
            for stage in stages:
                tally.words.counts.update(stage.words.counts)
                checked = stage.rows
                if once is None:
                    tally.watch.remember(checked.frame)
                else:
                    checked = once.leave_out_cells(checked, self.context.times)
                    checked = replace(checked, frame=once.hold_back_ids(checked.frame))
                self._pass_on(checked, tally)
        if once is not None:
            first, surplus = once.first_known()
            if first is not None:
                text = "rows have the id of another one; of each event the row that was known first counts"
                self._pass_on(ValidatedRows(first, names=self.names).add_notice(text, surplus), tally)
        if self.merges and tally.shared and self.context.leads is not None:
            tally.batches += 1
            parts = self.context.leads.select(self.merges.ids)
            self.sink.add(self.name, self.merges.inherited(pl.concat(tally.shared), parts))
        return tally

    @property
    def can_leave_out(self) -> bool:
        """Whether a row that is there once more can be told by its cells from all others in the sink."""
        spreads = bool(self.merges) or self.context.further_ids is not None
        return self.sink.leave_out is not None and not spreads

    def leave_out(self, once: EventOnce, tally: _Tally) -> None:
        """Take rows that are there once more out of the sink, and out of what was added up."""
        surplus = 0

        def choose(rows: pl.DataFrame) -> pl.Series:
            nonlocal surplus
            chosen = once.find_surplus(rows, self.context.times)
            surplus += int(chosen.sum())
            tally.subtract(rows.filter(chosen)["known_at"])
            return chosen

        if self.sink.leave_out is not None:
            self.sink.leave_out(self.name, tally.batches, choose)
        tally.problems = tally.problems.add_notice(REPEATED, surplus)

    def _new_watch(self) -> EventWatch:
        spreads = self.context.further_ids is not None
        return EventWatch.of_table(self.name, self.context.times, spreads=spreads)

    def _check(self, batch: Batch) -> tuple[int, list[_CheckedBatch]]:
        """How many rows a batch has, and what is good of them by each mapping; nothing is added up yet."""
        return batch.frame.height, [self._check_mapped(batch, *each) for each in self.mappings]

    def _check_mapped(
        self, batch: Batch, mapping: TableMapping, names: dict[str, str], marks: _EventMarks
    ) -> _CheckedBatch:
        context, words = self.context, MissingWords()
        rows = apply_mapping(batch, names, (), mapping, words)
        rows = self._new_watch().add_cells(rows, batch)
        rows = _reject_lost_digits(rows)
        of_accounts = "lead_id" not in rows.frame.columns and "account_id" in rows.frame.columns
        rows = spread_accounts(rows, context.leads) if of_accounts else rows
        rows = resolve_lead_ids(rows, context.leads, context.further_ids)
        rows = unify_email_case(rows, context.leads) if context.emails else rows
        rows = leave_out_rows_of(rows, context.deleted)
        settled = marks.settle(rows, context)
        checked = validate_table(self.name, _prefix_names(settled) if of_accounts else settled, context)
        return _CheckedBatch(checked, words)

    def _pass_on(self, checked: ValidatedRows, tally: _Tally) -> None:
        """Pass good rows to the sink, and add them up."""
        name, merges, leads = self.name, self.merges, self.context.leads
        good = _cast_events(name, checked.frame, self.context)
        shared = merges.share(good, leads.select(merges.ids)) if merges and leads is not None else good
        if self.can_leave_out and CELLS in checked.frame.columns:
            shared = shared.with_columns(checked.frame[CELLS])
        self.sink.add(name, shared)
        tally.add(checked, good)
        if merges and name == "attributes":
            tally.shared.append(good.filter(pl.col("lead_id").is_in(merges.ids.implode())))


def _reject_lost_digits(rows: ValidatedRows) -> ValidatedRows:
    """The rows without ids that are floats of 16 digits and more: these would fit another lead as well."""
    for column in rows.frame.columns:
        if column in {"lead_id", "merged_into"} or column.startswith(FURTHER_ID):
            rows = rows.reject(lost_digits(rows.frame[column]), column, Message("ingest.lost_digits"))
    return rows


def _are_mostly_numbers(cells: pl.Series, settled: pl.Series) -> bool:
    known = cells.drop_nulls()
    read = parse_amounts(settled).count() / max(len(known), 1)
    return is_separated(known) or is_mostly_doubtful(known, read)


def _note_expected_decimals(rows: ValidatedRows, column: str, cells: pl.Series) -> ValidatedRows:
    text = (
        f"cells of {column} have a point before three digits and are read as decimals; if they are "
        "thousands, export numbers without marks"
    )
    return rows.add_notice(text, int(cells.sum() or 0))


def _prefix_names(rows: ValidatedRows) -> ValidatedRows:
    """The rows of accounts with the names that their attributes have beside those of leads."""
    names = pl.lit(ACCOUNT_PREFIX) + parse_categories(rows.frame["name"])
    return replace(rows, frame=rows.frame.with_columns(name=names))


class _EventMarks:
    """Settles the marks in the numbers of a table of events, by the whole table once a cell asks for it.

    The values of overwritten attributes stand in one column; each attribute has marks of its own.
    """

    def __init__(
        self,
        name: TableName,
        table: TableReader,
        names: Mapping[str, str],
        mapping: TableMapping,
        whole: TableEvidence | None = None,
    ) -> None:
        self._table, self._names, self._mapping = table, dict(names), mapping
        self._columns = [column for column in number_columns(name) if column in names]
        self._values = name == "attributes" and "value" in names and "name" in {*names, *mapping.constants}
        self._evidence = dict(whole or {})
        self._settled: dict[str, dict[str | None, tuple[NumberMarks, bool]]] = {}

    def settle(self, rows: ValidatedRows, context: ValidationContext) -> ValidatedRows:
        """The rows with plain numbers where the marks are settled; where not, without them, and said."""
        for column in self._columns:
            cells = rows.frame[column]
            if cells.dtype == pl.String and has_marks(cells, context.decimal):
                marks, is_expected = self._marks(column, context.decimal)[None]
                settled = settle_groups(cells, marks)
                rows = rows.flag(settled.is_null() & cells.is_not_null(), column, TWO_WAYS)
                if is_expected:
                    rows = _note_expected_decimals(rows, column, has_single_group(cells))
                plain = plain_numbers(settled, marks.decimal or context.decimal)
                rows = replace(rows, frame=rows.frame.with_columns(plain))
        return self._settle_values(rows, context) if self._values else rows

    def _settle_values(self, rows: ValidatedRows, context: ValidationContext) -> ValidatedRows:
        """The rows with the values of attributes as ``NUMBERS`` beside them, where words stay as they are."""
        cells = rows.frame["value"]
        if cells.dtype != pl.String or not has_marks(cells, context.decimal):
            return rows
        marks = self._marks("value", context.decimal)
        names = parse_categories(rows.frame["name"])
        settled = cells
        for name in names.filter(find_marks(cells, context.decimal).fill_null(value=False)).unique():
            own = names.eq_missing(name)
            own_marks, is_expected = marks.get(name, (NumberMarks(), False))
            numbers = settle_groups(cells, own_marks)
            settled = plain_numbers(numbers, own_marks.decimal or context.decimal).zip_with(own, settled)
            if _are_mostly_numbers(cells.filter(own), numbers.filter(own)):
                rows = rows.flag(own & numbers.is_null() & cells.is_not_null(), "value", TWO_WAYS)
            if is_expected:
                rows = _note_expected_decimals(rows, str(name), own & has_single_group(cells))
        return replace(rows, frame=rows.frame.with_columns(settled.alias(NUMBERS)))

    def _marks(self, column: str, decimal: Decimal) -> dict[str | None, tuple[NumberMarks, bool]]:
        """The marks of a column of numbers, or of each attribute, and whether custom alone settles them."""
        if column not in self._settled:
            self._settled[column] = {
                name: (marks, each.is_expected and marks.decimal == ".")
                for name, each in self._evidence_of(column).items()
                for marks in [each.expected(decimal)]
            }
        return self._settled[column]

    @property
    def evidence(self) -> TableEvidence:
        """What the values of all columns of numbers say."""
        return {column: self._evidence_of(column) for column in (*self._columns, *["value"] * self._values)}

    def _evidence_of(self, column: str) -> Mapping[str | None, MarkEvidence]:
        if column not in self._evidence:
            evidence: dict[str | None, MarkEvidence] = {}
            for name, cells in self._cells(column):
                evidence[name] = evidence.get(name, MarkEvidence()) | collect_mark_evidence(cells)
            self._evidence[column] = evidence
        return self._evidence[column]

    def _cells(self, column: str) -> Iterator[tuple[str | None, pl.Series]]:
        """The cells of a column of numbers batch by batch; those of attributes by the name of each."""
        needed = [column, *(["name"] if column == "value" and "name" in self._names else [])]
        names = {each: self._names[each] for each in needed}
        for batch in self._table.batches(EVENT_ROWS, sorted({*names.values()})):
            frame = apply_mapping(batch, names, (), self._mapping).frame
            if "name" not in names:
                yield self._mapping.constants.get("name") if column == "value" else None, frame[column]
                continue
            words = frame.select(parse_categories(frame["name"]).alias("name"), column)
            for (name,), part in words.partition_by("name", as_dict=True).items():
                yield name, part[column]


def _word_columns_of(name: TableName, names: dict[str, str]) -> list[str]:
    """The table's own columns of words."""
    return [names[each] for each in word_columns(name) if each in names]


def _cast_events(name: TableName, rows: pl.DataFrame, context: ValidationContext) -> pl.DataFrame:
    if name == "merges":
        return rows.select(*MERGE_SCHEMA)
    if name == "attributes":
        values = rows[NUMBERS if NUMBERS in rows.columns else "value"]
        rows = rows.with_columns(attribute_numbers(values, context.decimal).alias("number"))
    return rows.select(*(pl.col(c).cast(dtype) for c, dtype in EVENT_SCHEMAS[name].items()), PART)


def map_column_names(name: TableName, mapping: TableMapping, table: TableReader) -> dict[str, str]:
    """The table's own name of each column of the contract that it has.

    Raises:
        SourceError: the mapping names a column that the contract or the table does not have.
    """
    check_mapping(name, mapping)
    first, further = mapping.lead_id[:1], mapping.lead_id[1:]
    chosen = dict(zip(["lead_id"], first, strict=False))
    chosen |= {f"{FURTHER_ID}{i}": column for i, column in enumerate(further)}
    chosen |= {} if mapping.id is None else {EVENT_ID: mapping.id}
    table.require((*mapping.columns.values(), *chosen.values()))
    same = (c for c in column_names(name) if c in table.columns and c not in mapping.constants)
    return {column: column for column in same} | dict(mapping.columns) | chosen


def apply_mapping(
    batch: Batch,
    names: dict[str, str],
    free: tuple[str, ...],
    mapping: TableMapping,
    words: MissingWords | None = None,
) -> ValidatedRows:
    """Rows with the contract's columns under the contract's names, cells cleaned and translated.

    The ``free`` columns, which the contract does not know, keep their names. ``words`` counts the words that
    were taken as missing.
    """
    cells = {column.name: strip_missing(column, mapping.missing) for column in batch.frame}
    if words is not None:
        for column in batch.frame:
            words.add(column, cells[column.name])
    columns = [
        _translate_values(cells[source_name].alias(column), mapping) for column, source_name in names.items()
    ]
    columns += [cells[column] for column in free]
    constants = [pl.lit(value).alias(column) for column, value in mapping.constants.items()]
    frame = pl.DataFrame(columns).with_columns(constants)
    return replace(ValidatedRows.from_frame(frame, batch.first, batch.numbers), names=names)


def _translate_values(column: pl.Series, mapping: TableMapping) -> pl.Series:
    words = mapping.values.get(column.name)
    return column if words is None else column.cast(pl.String).replace(dict(words))


def table_notices(name: TableName, mapping: TableMapping, rows: ValidatedRows) -> tuple[str, ...]:
    """Sentences of the checks on a whole table."""
    return tuple(f"{name}: {mapping.name}: {count:,} {text}" for text, count in rows.remarks.items())
