"""Flat exports: one row a lead, as every CRM can write them; read whole for training, in batches to score."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.attribute_columns import AttributeReading, cast_columns, read_attributes, settle_marks
from features.ingest.availability import Availability, static_availability
from features.ingest.column_extractions import EVERY, is_read_out, known_extractions
from features.ingest.column_roles import ColumnRole
from features.ingest.date_columns import (
    find_date_extractions,
    is_of_dates,
    known_date_extractions,
    row_time,
)
from features.ingest.identity_resolution import resolve_identities
from features.ingest.mapping import TableSource
from features.ingest.missing_words import MissingWords
from features.ingest.outcome_column import (
    OutcomeCondition,
    has_months_alone,
    is_dated,
    months_notice,
    parse_outcome,
    parse_time_order,
)
from features.ingest.quarantine import Quarantine, SourceError, enforce_bad_row_limit
from features.ingest.row_validation import ROW, ValidatedRows
from features.ingest.tables import BATCH_ROWS, TableReader, open_table
from features.ingest.timestamps import is_placeholder
from features.ingest.total_rows import reject_totals
from features.messages import Message
from features.number_marks import MarkEvidence, NumberMarks, collect_mark_evidence, has_groups
from features.parsing import (
    MISSING,
    TRUE,
    has_fractions,
    has_lost_digits,
    parse_categories,
    parse_numbers,
    strip_missing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from features.extraction import ColumnExtraction
    from features.ingest.column_roles import Role
    from features.ingest.mapping import FlatMapping
    from features.parsing import Decimal
    from features.spec import FeatureSet, Unit

LEAD_ID = "lead_id"
_MAX_LISTED = 20
NO_OUTCOME = Message("ingest.no_outcome")
"""Why a row teaches nothing although nothing is wrong with it: an open deal has no outcome yet."""


@dataclass(frozen=True)
class FlatExport:
    """A flat export as read.

    Attributes:
        leads: ``lead_id`` and one typed column per attribute.
        label: (n,) Int8 outcomes in the rows of ``leads``; None where the mapping names no such column.
        order: (n,) Int64, larger is later, in the rows of ``leads``; None where the mapping names no such
            column.
        roles: What each free column was taken for.
        rows: Records of the file, the bad ones included.
        quarantine: The bad rows and cells.
        notices: Sentences about the file as a whole.
        availability: When each column is known, and which are kept out.
        persons: ``lead_id`` and what points at persons, as ``features.ingest.identity_resolution`` numbers
            them.
        outcome: The outcome in words: the value that is a success, such as ``Closed Won``, or the name of a
            column of yes and no; empty without a label.
        dated: Whether ``order`` is in epoch seconds.
        marks: What the marks in the numbers of each column of numbers mean.
    """

    leads: pl.DataFrame
    label: pl.Series | None
    order: pl.Series | None
    roles: tuple[ColumnRole, ...]
    rows: int
    quarantine: Quarantine = field(default_factory=Quarantine)
    notices: tuple[str, ...] = ()
    availability: tuple[Availability, ...] = ()
    persons: pl.DataFrame | None = None
    outcome: str = ""
    dated: bool = False
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)


def read_flat(
    path: Path, mapping: FlatMapping, quarantine_file: Path | None = None, now: int | None = None
) -> FlatExport:
    """Read a flat export; bad rows go to the quarantine, the others go on.

    Rows without an outcome are left out and counted, but they are no mistake and do not stop the run.

    Args:
        path: A CSV or Parquet file.
        mapping: Which column is what.
        quarantine_file: Where bad rows are written as CSV; None for nowhere.
        now: Epoch seconds; where the time is a date, a row dated then or later is bad. None for no check.

    Returns:
        The typed leads with their outcomes and order.

    Raises:
        SourceError: the file, a column or the outcome cannot be used at all.
        TooManyBadRowsError: more than ``mapping.max_share`` of the rows are bad.
    """
    table = open_table(TableSource(file=path, encoding=mapping.encoding))
    table.require(mapping.named)
    raw = table.read()
    stripped = raw.select(strip_missing(column, mapping.missing) for column in raw)
    words = MissingWords()
    for column in raw:
        words.add(column, stripped[column.name])
    rows = ValidatedRows.from_frame(stripped)
    rows = _reject_repeated_ids(_with_ids(rows, mapping.id), mapping.id)
    rows = _with_order(rows, mapping, table.decimal, now)
    row_count = raw.height + table.rejected_rows
    bad = rows.dropped
    if (
        bad + table.rejected_rows > mapping.max_share * row_count
    ):  # before the outcome is blamed for missing rows
        enforce_bad_row_limit(
            rows.quarantine(table, "leads", rejects=True), row_count, mapping.max_share, quarantine_file
        )
    rows = _with_labels(rows, mapping)
    blank = rows.dropped - bad
    order_notice = _order_notice(rows.frame[_ORDER], mapping) if mapping.time else ""
    free = rows.frame.select(pl.exclude(ROW, _ID, _LABEL, _ORDER, *mapping.reserved))
    reading = AttributeReading(
        mapping.roles,
        mapping.extract,
        None
        if mapping.extractions is None
        else tuple(each for each in mapping.extractions if not is_of_dates(each)),
        mapping.marks,
    )
    typed = read_attributes(rows, free, reading, table.decimal)
    dates = (
        known_date_extractions(mapping.extractions, rows.frame)
        if mapping.extractions is not None
        else find_date_extractions(
            rows.frame, typed.roles, row_time(mapping.time, rows.frame), _without_dates(mapping, typed.roles)
        )
    )
    quarantine = typed.rows.quarantine(table, "leads", rejects=True)
    ids = rows.frame[_ID].alias(LEAD_ID)
    enforce_bad_row_limit(
        replace(quarantine, rows=quarantine.rows - blank), row_count, mapping.max_share, quarantine_file
    )
    return FlatExport(
        leads=pl.DataFrame([ids, *typed.columns, *dates.columns(rows.frame)]),
        label=rows.frame[_LABEL] if mapping.label else None,
        order=rows.frame[_ORDER] if mapping.time and not order_notice else None,
        roles=(*typed.roles, *dates.roles),
        rows=row_count,
        quarantine=quarantine,
        notices=(
            *table.notices,
            *words.notices((role.column for role in typed.roles if role.role == "category"), "flat"),
            *_leak_notices(rows.frame, typed.roles, mapping),
            *id_notices(raw, mapping.id),
            *filter(
                None,
                [order_notice, _months_notice(rows.frame, mapping), _numbers_notice(rows.frame, mapping)],
            ),
            *_blank_notice(mapping, blank),
            *typed.notices,
            *dates.notices,
        ),
        availability=static_availability(
            typed.roles, dict.fromkeys(mapping.exclude, Message("availability.excluded_by_user"))
        ),
        persons=resolve_identities(ids, _identifying_columns(rows.frame, mapping)),
        outcome=_outcome_name(rows.frame, mapping),
        dated=mapping.time is not None
        and not order_notice
        and _is_dated_order(rows.frame[mapping.time], mapping),
        marks=typed.marks,
    )


def _without_dates(mapping: FlatMapping, roles: tuple[ColumnRole, ...]) -> frozenset[str]:
    """The columns out of which no date is to be read, as the user says."""
    switched_off = {
        role.column
        for role in roles
        if mapping.extract.get(role.column, mapping.extract.get(EVERY)) == "none"
    }
    return frozenset({*mapping.exclude, *switched_off})


def _identifying_columns(frame: pl.DataFrame, mapping: FlatMapping) -> pl.DataFrame:
    """The columns that may point at a person, those that are kept out of the model included."""
    return frame.select(pl.exclude(ROW, _ID, _LABEL, _ORDER, *filter(None, (mapping.id, mapping.label))))


_ID, _LABEL, _ORDER = "leadloop.id", "leadloop.label", "leadloop.order"


def _outcome_name(frame: pl.DataFrame, mapping: FlatMapping) -> str:
    label = mapping.label
    if label is None:
        return ""
    if OutcomeCondition.parse(mapping.positive, frame[label]) is not None:
        return f"{label} {mapping.positive}"
    spellings = parse_categories(frame.filter(pl.col(_LABEL) == 1)[label]).value_counts(sort=True)
    success = str(spellings[0, 0]) if spellings.height else ""
    return label if len(success) <= 1 or success.casefold() in TRUE else success


_SAME = 0.9


def _order_notice(order: pl.Series, mapping: FlatMapping) -> str:
    """Why a column puts nothing in order: nearly all rows have one date, that of an import; else empty."""
    counts = order.value_counts(sort=True)["count"]
    if counts.is_empty() or (len(counts) > 1 and counts[0] < _SAME * len(order)):
        return ""
    return (
        f"{counts[0] / len(order):.0%} of the rows have the same value in {mapping.time!r}, as after an "
        "import: it puts nothing in order, and nothing can be proven about time"
    )


def _months_notice(frame: pl.DataFrame, mapping: FlatMapping) -> str:
    if mapping.time is None or mapping.time_format is not None or not has_months_alone(frame[mapping.time]):
        return ""
    return months_notice(frame[mapping.time])


def _numbers_notice(frame: pl.DataFrame, mapping: FlatMapping) -> str:
    """What to say of a column of numbers that are moments, as programs and spreadsheets write them."""
    if mapping.time is None or mapping.time_format is not None or is_dated(cells := frame[mapping.time]):
        return ""
    numbers = parse_numbers(cells).drop_nulls()
    written = next((each for each in _NUMERIC_TIMES if each.holds(numbers)), None)
    if written is None:
        return ""
    remedy = (
        f'say so with time_format = "{written.time_format}" in [flat] of leadloop.toml'
        if written.time_format
        else "export dates"
    )
    return (
        f"time column {mapping.time!r} holds numbers such as {cells.drop_nulls()[0]}, perhaps "
        f"{written.name}: rows are ordered by them, but nothing is known of their dates; {remedy}"
    )


@dataclass(frozen=True, slots=True)
class _NumericTimes:
    """A way of writing points in time as numbers, from about 1990 to 2099."""

    name: str
    first: int
    last: int
    time_format: str | None
    has_fractions: bool = False

    def holds(self, numbers: pl.Series) -> bool:
        """Whether all numbers may be such times."""
        is_written_so = self.has_fractions or bool((numbers == numbers.floor()).all())
        return len(numbers) > 0 and is_written_so and bool(numbers.is_between(self.first, self.last).all())


_NUMERIC_TIMES = (
    _NumericTimes("seconds since 1970", 631_152_000, 4_102_444_800, "epoch_s"),
    _NumericTimes("milliseconds since 1970", 631_152_000_000, 4_102_444_800_000, "epoch_ms"),
    _NumericTimes("microseconds since 1970", 631_152_000_000_000, 4_102_444_800_000_000, "epoch_us"),
    _NumericTimes("days written as 20240229", 19_900_101, 20_991_231, "%Y%m%d"),
    _NumericTimes("Excel's days", 32_874, 73_050, None, has_fractions=True),
)

_NEARLY_ALL, _HARDLY_ANY = 0.95, 0.05


def _leak_notices(frame: pl.DataFrame, roles: tuple[ColumnRole, ...], mapping: FlatMapping) -> Iterator[str]:
    """Sentences on unused columns that are filled for one outcome only, as the date of a conversion is."""
    if mapping.label is None or frame.is_empty():
        return
    won = frame[_LABEL] == 1
    for role in roles:
        if role.used or is_read_out(role.reason) or not 0 < role.missing < 1:
            continue
        filled = frame[role.column].is_not_null()
        of_won, of_lost = (float(filled.filter(rows).mean() or 0.0) for rows in (won, ~won))  # type: ignore[arg-type]
        if max(of_won, of_lost) >= _NEARLY_ALL and min(of_won, of_lost) <= _HARDLY_ANY:
            yield (
                f"column {role.column!r} is filled for {of_won:.0%} of the successes and {of_lost:.0%} of "
                f"the others: it tells the outcome (a leak), and is left out as {role.role}"
            )


def id_notices(frame: pl.DataFrame, column: str | None) -> tuple[str, ...]:
    """A sentence where the ids of a table lost digits on their way: as floats, or in a spreadsheet."""
    if column is None:
        return ()
    if has_lost_digits(frame[column]):
        what = "ids of 16 digits and more went through decimal numbers and lost their last digits"
    elif has_fractions(frame[column]):
        what = (
            "ids end in .0, as whole numbers do that went through decimal numbers; they are read as they are"
        )
    else:
        return ()
    return (f"column {column!r}: {what}; export them as text, or no CRM knows them",)


def _blank_notice(mapping: FlatMapping, blank: int) -> tuple[str, ...]:
    if not blank:
        return ()
    verb, auxiliary = ("row has", "was") if blank == 1 else ("rows have", "were")
    return (f"{blank:,} {verb} no outcome in {mapping.label!r} and {auxiliary} left out",)


def _with_ids(rows: ValidatedRows, column: str | None) -> ValidatedRows:
    """The rows with an id each: the column's, or the row's number from 1. Rows without one are rejected."""
    frame = rows.frame
    ids = (frame[ROW] + 1).cast(pl.String) if column is None else parse_categories(frame[column])
    rows = replace(rows, frame=frame.with_columns(ids.alias(_ID)))
    named = column or next((each for each in frame.columns if each != ROW), None)
    if named is not None and frame[named].dtype == pl.String:
        rows = reject_totals(rows, rows.frame[named], named)
    return rows.reject(pl.col(_ID).is_null(), column or "", Message("ingest.no_id"))


def _reject_repeated_ids(rows: ValidatedRows, column: str | None) -> ValidatedRows:
    return rows.reject(~pl.col(_ID).is_first_distinct(), column or "", Message("ingest.repeated_id"))


def _with_order(
    rows: ValidatedRows, mapping: FlatMapping, decimal: Decimal, now: int | None
) -> ValidatedRows:
    column = mapping.time
    if column is None:
        return rows
    cells = rows.frame[column]
    order = parse_time_order(cells, decimal, mapping.time_format).alias(_ORDER)
    with_order = replace(rows, frame=rows.frame.with_columns(order))
    if _is_dated_order(cells, mapping):
        with_order = with_order.reject(is_placeholder(order), column, Message("ingest.placeholder_date"))
    with_order = with_order.reject(pl.col(_ORDER).is_null(), column, Message("ingest.no_time"))
    if now is None or not _is_dated_order(cells, mapping):
        return with_order
    return with_order.reject(pl.col(_ORDER) >= now, column, Message("ingest.future"))


def _is_dated_order(cells: pl.Series, mapping: FlatMapping) -> bool:
    return mapping.time_format is not None or is_dated(cells)


def _with_labels(rows: ValidatedRows, mapping: FlatMapping) -> ValidatedRows:
    if mapping.label is None:
        return rows
    label = parse_outcome(rows.frame[mapping.label], mapping.positive, mapping.negative).alias(_LABEL)
    with_label = replace(rows, frame=rows.frame.with_columns(label))
    return with_label.reject(pl.col(_LABEL).is_null(), mapping.label, NO_OUTCOME)


@dataclass(frozen=True)
class FlatBatch:
    """Some rows of a flat export for scoring.

    Attributes:
        leads: As in FlatExport.
        quarantine: The bad rows of the whole file: filled in the last batch, which has no leads.
        notices: Sentences about the file as a whole, in the first batch and the last.
        carried: The columns that are carried along, as text, in the rows of ``leads``.
    """

    leads: pl.DataFrame
    quarantine: Quarantine = field(default_factory=Quarantine)
    notices: tuple[str, ...] = ()
    carried: pl.DataFrame = field(default_factory=pl.DataFrame)


@dataclass(frozen=True)
class FlatColumns:
    """Which columns of a file to score are read, and as what.

    Attributes:
        roles: The role of each column that the model needs.
        id: Column of the lead's id; None for the number of the row.
        missing: Words that mean "no value".
        marks: What the marks in the numbers of each column meant in the training data.
        encoding: How the training data was written; a file to score may be UTF-8 instead.
        extractions: What the model reads out of columns.
        carried: Columns that the model does not need, to be carried along as they are.
    """

    roles: Mapping[str, Role]
    id: str | None = None
    missing: tuple[str, ...] = MISSING
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)
    encoding: str | None = None
    extractions: tuple[ColumnExtraction, ...] = ()
    carried: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a file must have beside the id."""
        return tuple(
            dict.fromkeys([*self.roles, *(name for each in self.extractions for name in each.columns)])
        )

    @classmethod
    def from_features(
        cls,
        features: FeatureSet,
        id_column: str | None = None,
        missing: tuple[str, ...] = MISSING,
        marks: Mapping[str, NumberMarks] | None = None,
    ) -> FlatColumns:
        """The columns that a model of a flat export was trained on.

        Args:
            features: The model's features.
            id_column: Column of the lead's id; None for the number of the row.
            missing: Words that mean "no value".
            marks: What the marks in the numbers of each column meant in the training data.

        Returns:
            Each column with the role that its feature has.
        """
        roles = {
            spec.of or spec.name: _ROLE_OF.get(spec.unit, "number")
            for spec in features.specs
            if spec.extraction is None
        }
        return cls(roles, id_column, missing, marks or {}, extractions=features.extractions)


_ROLE_OF: dict[Unit, Role] = {"category": "category", "flag": "flag"}


def iter_flat_batches(
    path: Path, columns: FlatColumns, rows: int = BATCH_ROWS, encoding: str | None = None
) -> Iterator[FlatBatch]:
    """Read the rows of a file in their order, typed as a model wants them, a batch at a time.

    Memory is bounded by the batch, whatever the size of the file. Columns the model does not know are
    ignored.

    Args:
        path: A CSV or Parquet file.
        columns: Which columns are read, and as what.
        rows: Rows a batch. Default 100,000.
        encoding: How the characters of this file are written. Default: found out.

    Yields:
        The batches; the first has the notices, the last one no rows but the quarantine of all.

    Raises:
        SourceError: the file lacks a column that the model needs, or has no rows.
    """
    table = open_table(TableSource(file=path, encoding=encoding), columns.encoding)
    names = _present_columns(table, columns)
    notices = table.notices + _ignored_notice(table, names)
    row_count, total = 0, ValidatedRows.from_frame(pl.DataFrame(schema=dict.fromkeys(names, pl.String)))
    numbers = [name for name, role in columns.roles.items() if role == "number"]
    marks, words = TableMarks(table, numbers, columns.missing, columns.marks), MissingWords()
    categories = [name for name, role in columns.roles.items() if role == "category"]
    for batch in table.batches(rows, names):
        numbered = ValidatedRows.from_frame(batch.frame, batch.first)
        checked, leads = _flat_batch(numbered, columns, table.decimal, marks.of(batch.frame), words)
        notices += () if row_count else id_notices(batch.frame, columns.id)
        row_count += batch.frame.height
        total = replace(checked.after(total), frame=total.frame)
        carried = checked.frame.select(pl.col(columns.carried).cast(pl.String))
        yield FlatBatch(leads, notices=notices, carried=carried)
        notices = ()
    if not row_count and not table.rejects:
        msg = f"{path} has column names but no rows"
        raise SourceError(msg)
    yield FlatBatch(
        _flat_batch(total, columns, ".", {}, words)[1],
        total.quarantine(table, "leads", rejects=True),
        (*notices, *words.notices(categories, "flat")),
    )


class TableMarks:
    """What the marks in the numbers of a table mean: looked up in the whole table once a cell asks for it.

    A batch alone would do for most tables, but then a lead's score depended on the batch that it came in.
    """

    def __init__(
        self,
        table: TableReader,
        numbers: Sequence[str],
        missing: tuple[str, ...],
        earlier: Mapping[str, NumberMarks],
        is_doubtful: Callable[[pl.Series], bool] = has_groups,
    ) -> None:
        self._is_doubtful = is_doubtful
        self._table, self._missing, self._earlier = table, missing, earlier
        self._settled: dict[str, NumberMarks] = {}
        self._numbers = [name for name in numbers if name in table.columns]

    def of(self, frame: pl.DataFrame) -> Mapping[str, NumberMarks]:
        """The marks of the columns of numbers, by column."""
        words = {
            name: NumberMarks(missing=self._earlier[name].missing)
            for name in self._numbers
            if name in self._earlier and self._earlier[name].missing
        }
        asking = [name for name in self._numbers if name not in self._settled and self._asks(frame[name])]
        if asking:
            evidence = dict.fromkeys(asking, MarkEvidence())
            for batch in self._table.batches(columns=asking):
                for name in asking:
                    cells = strip_missing(batch.frame[name], self._missing)
                    evidence[name] |= collect_mark_evidence(cells)
            decimal = self._table.decimal
            self._settled |= {
                name: settle_marks(evidence[name], name, decimal, self._earlier) for name in asking
            }
        return {**words, **self._settled}

    def _asks(self, column: pl.Series) -> bool:
        return column.dtype == pl.String and self._is_doubtful(column.str.strip_chars())


def _flat_batch(
    rows: ValidatedRows,
    columns: FlatColumns,
    decimal: Decimal,
    marks: Mapping[str, NumberMarks],
    words: MissingWords,
) -> tuple[ValidatedRows, pl.DataFrame]:
    stripped = [strip_missing(column, columns.missing) for column in rows.frame]
    for raw, column in zip(rows.frame, stripped, strict=True):
        words.add(raw, column)
    rows = replace(rows, frame=pl.DataFrame(stripped))
    rows = _with_ids(rows, columns.id)
    reason = Message("columns.model")
    roles = tuple(ColumnRole(name, role, reason) for name, role in columns.roles.items())
    typed = cast_columns(rows, roles, decimal, marks, settled=True)
    extracted = known_extractions(columns.extractions, ()).columns(rows.frame)
    return typed.rows, rows.frame.select(pl.col(_ID).alias(LEAD_ID)).hstack([*typed.columns, *extracted])


def _present_columns(table: TableReader, columns: FlatColumns) -> list[str]:
    table.require([columns.id] if columns.id is not None else [])
    needed = columns.needed
    if missing := [name for name in needed if name not in table.columns]:
        same = {name.casefold(): name for name in table.columns}
        near = [same[name.casefold()] for name in missing if name.casefold() in same]
        hint = f"; it has {', '.join(map(repr, near))}: write them as in training" if near else ""
        msg = f"{table.place.name} lacks columns that the model was trained on: {', '.join(missing)}{hint}"
        raise SourceError(msg)
    table.require(columns.carried)
    return [name for name in table.columns if name in {*needed, *columns.carried, columns.id}]


def _ignored_notice(table: TableReader, columns: list[str]) -> tuple[str, ...]:
    extra = [name for name in table.columns if name not in columns]
    listed = extra[:_MAX_LISTED] + (
        [f"and {len(extra) - _MAX_LISTED:,} more"] if len(extra) > _MAX_LISTED else []
    )
    return (f"columns the model does not use were ignored: {', '.join(listed)}",) if extra else ()
