"""Free columns of leads and accounts, beyond the contract: what each is, and its values typed accordingly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.column_extractions import find_extractions, known_extractions
from features.ingest.column_roles import ColumnRole, cast_column, declared_role, infer_role
from features.ingest.personal_columns import describe_as_companies, personal_notices
from features.ingest.similar_words import similar_word_notices
from features.messages import Message
from features.number_marks import (
    UNKNOWN_MARKS,
    NumberMarks,
    collect_mark_evidence,
    find_missing_word,
    find_table_marks,
    is_missing_word,
)
from features.parsing import has_single_group

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from features.extraction import ColumnExtraction
    from features.ingest.column_extractions import Extracted
    from features.ingest.column_roles import Role
    from features.ingest.row_validation import ValidatedRows
    from features.number_marks import MarkEvidence
    from features.parsing import Decimal


TWO_WAYS = Message("ingest.two_ways")
RESERVED: frozenset[str] = frozenset({"lead_id", "created_at", "account_id", "as_of"})
"""Names that leadloop uses itself, so that no attribute can have them."""


@dataclass(frozen=True)
class AttributeColumns:
    """The columns of a table that can be attributes, typed.

    Attributes:
        rows: The rows they belong to, with a note of each cell that could not be read.
        columns: The typed columns.
        roles: What each free column was taken for.
        marks: What the marks in the numbers of each column of numbers mean.
        notices: Sentences on the columns that were read out.
    """

    rows: ValidatedRows
    columns: tuple[pl.Series, ...]
    roles: tuple[ColumnRole, ...]
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def frame(self) -> pl.DataFrame:
        """The typed columns side by side."""
        return pl.DataFrame(list(self.columns))


@dataclass(frozen=True)
class AttributeReading:
    """How the free columns of a table are read.

    Attributes:
        roles: Roles that are declared, by column.
        extract: What the user says there is to read out of a column.
        extractions: What a model reads out; None where that is to be found.
        marks: What the marks in the numbers of columns meant in earlier data, by column.
        settled: Whether these marks are those of the table itself, of which the rows are but some.
        of_companies: Whether a row is a company.
    """

    roles: Mapping[str, Role] = field(default_factory=dict)
    extract: Mapping[str, Extracted] = field(default_factory=dict)
    extractions: tuple[ColumnExtraction, ...] | None = None
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)
    settled: bool = False
    of_companies: bool = False


def read_attributes(
    rows: ValidatedRows, free: pl.DataFrame, reading: AttributeReading, decimal: Decimal
) -> AttributeColumns:
    """The ``free`` columns of ``rows`` typed, with what is read out of them behind them."""
    # A model has learned already what the marks in its columns mean.
    table = find_table_marks(free) if reading.extractions is None else UNKNOWN_MARKS
    if reading.extractions is None:
        roles = infer_roles(free, reading.roles, decimal, table)
        roles = tuple(map(describe_as_companies, roles)) if reading.of_companies else roles
        extracted = find_extractions(free, roles, reading.extract)
        notices = (*personal_notices(roles), *similar_word_notices(free, roles))
        extracted = replace(extracted, notices=(*extracted.notices, *notices))
    else:
        # A column that a model only reads something out of is no attribute itself.
        only = {each.column for each in reading.extractions} - reading.roles.keys()
        attributes = (column for column in free if column.name not in only)
        present = (each for each in reading.extractions if each.column in free.columns)
        extracted = known_extractions(present, roles := infer_roles(attributes, reading.roles, decimal))
    own = extracted.roles[: len(roles)]
    typed = cast_columns(rows, own, decimal, reading.marks, settled=reading.settled, table=table)
    return replace(
        typed,
        columns=(*typed.columns, *extracted.columns(free)),
        roles=extracted.roles,
        notices=extracted.notices,
    )


def infer_roles(
    columns: Iterable[pl.Series],
    declared: Mapping[str, Role],
    decimal: Decimal,
    table: NumberMarks = UNKNOWN_MARKS,
) -> tuple[ColumnRole, ...]:
    """The role of each column: the one ``declared`` for it, else the one inferred from its values."""
    return tuple(
        declared_role(column, declared[column.name])
        if column.name in declared.keys() - RESERVED
        else exclude_reserved(infer_role(column, decimal, table))
        for column in columns
    )


def exclude_reserved(role: ColumnRole) -> ColumnRole:
    """The role, or ``identifier`` where leadloop itself needs the column's name."""
    if role.column not in RESERVED:
        return role
    return replace(role, role="identifier", reason=Message("columns.reserved"))


def cast_columns(  # noqa: PLR0913 - what is known of the marks, and where from
    rows: ValidatedRows,
    roles: tuple[ColumnRole, ...],
    decimal: Decimal,
    known_marks: Mapping[str, NumberMarks] | None = None,
    *,
    settled: bool = False,
    table: NumberMarks = UNKNOWN_MARKS,
) -> AttributeColumns:
    """The columns of ``rows`` cast to their roles; a cell that cannot be read is null and flagged.

    What a column itself does not settle about its marks, ``known_marks`` of the data before it may; a column
    that stands there is read as it was then, or not at all. Where they are ``settled`` already, as for the
    batches of a file, the column is not asked. Of new columns the others of their ``table`` are asked, too.
    """
    columns, marks = [], {}
    for role in roles:
        if role.used:
            column = rows.frame[role.column]
            if role.role == "number" and settled:
                marks[role.column] = (known_marks or {}).get(role.column, NumberMarks())
            elif role.role == "number":
                marks[role.column] = _column_marks(column, decimal, known_marks, table)
            columns.append(cast_column(column, role.role, decimal, marks.get(role.column)))
            rows = _flag_unreadable(rows, column, columns[-1], role, marks.get(role.column))
    return AttributeColumns(rows, tuple(columns), roles, marks)


def _column_marks(
    column: pl.Series, decimal: Decimal, known_marks: Mapping[str, NumberMarks] | None, table: NumberMarks
) -> NumberMarks:
    """The marks of a column that is there as a whole; its word for nothing, unless a model knows of one."""
    evidence = collect_mark_evidence(column)
    marks = settle_marks(evidence, column.name, decimal, known_marks)
    if column.name in (known_marks or {}):
        return marks
    by_table = evidence.settled_by(table)
    marks = by_table if by_table != evidence.marks else marks
    return replace(marks, missing=find_missing_word(column.drop_nulls()))


def settle_marks(
    evidence: MarkEvidence, name: str, decimal: Decimal, known_marks: Mapping[str, NumberMarks] | None = None
) -> NumberMarks:
    """The marks of a column by its own evidence, then by the ``known_marks`` of earlier data.

    In a file of a country that writes decimals with the other mark, a group of three digits that nothing in
    the file settles is not read, whatever mark the decimals of the earlier data had.
    """
    earlier = (known_marks or {}).get(name)
    if earlier is None:
        return evidence.expected(decimal)
    return evidence.marks.completed_by(
        earlier if earlier.decimal == decimal else replace(earlier, decimal="")
    )


def _flag_unreadable(
    rows: ValidatedRows, column: pl.Series, parsed: pl.Series, role: ColumnRole, marks: NumberMarks | None
) -> ValidatedRows:
    """The rows with each cell flagged that has a value but could not be ``parsed``."""
    unreadable = column.is_not_null() & parsed.is_null() & ~is_missing_word(column, marks)
    if role.role == "number" and column.dtype == pl.String:
        ambiguous = unreadable & has_single_group(column)
        rows, unreadable = rows.flag(ambiguous, role.column, TWO_WAYS), unreadable & ~ambiguous
    return rows.flag(unreadable, role.column, Message(f"ingest.not_a_{role.role}"))
