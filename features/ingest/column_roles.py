"""What a column is, found out from its values: a number, a flag, a category, or nothing a model can use."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import polars as pl

from features.ingest.code_columns import find_code_role
from features.ingest.personal_columns import find_personal_reason
from features.ingest.timestamps import detect_format, is_day_month_ambiguous
from features.messages import Message, join_items
from features.number_marks import UNKNOWN_MARKS, collect_mark_evidence, settle_groups, split_missing_word
from features.parsing import (
    FALSE,
    TRUE,
    currency_marks,
    has_single_values,
    is_mostly_doubtful,
    is_separated,
    parse_amounts,
    parse_categories,
    parse_flags,
)
from features.word_lists import fold_heading, heading_pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.extraction import ColumnExtraction
    from features.number_marks import NumberMarks
    from features.parsing import Decimal

Role = Literal["number", "flag", "category", "identifier", "text", "date", "constant", "empty"]
ROLES: tuple[Role, ...] = get_args(Role)
USED: frozenset[Role] = frozenset({"number", "flag", "category"})

NUMBER_SHARE = 0.99
IDENTIFIER_SHARE = 0.95
TEXT_SHARE = 0.5
TEXT_LENGTH = 60
DATE_SHARE = 0.5
EMAIL = r"^\s*[^@\s]+@[^@\s]+\.[^@\s]+\s*$"
_WORDY: frozenset[Role] = frozenset({"category", "identifier", "text"})
_MIN_VALUES = 20
DOUBTFUL = Message("columns.doubtful_numbers")
_LIKE_NUMBERS = frozenset(
    {DOUBTFUL.key, "columns.mixed_units", "columns.mostly_numbers", "columns.numbers_with_units"}
)
_READ_WITH_CARE = frozenset(
    {"columns.expected_decimals", "columns.numbers_and_word", "columns.thousands_of_table"}
)
_MAJORITY = 0.5
_MAX_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class ColumnRole:
    """What a column was taken for.

    Attributes:
        column: The column's name.
        role: number, flag or category, which can be attributes, or what makes it none.
        reason: Why, as a sentence.
        distinct: How many different values it has.
        missing: Share of rows without a value, in [0, 1].
        by: Who says so, the user or leadloop.
        extraction: How it was read out of another column; None for a column that is there as it is.
    """

    column: str
    role: Role
    reason: Message
    distinct: int = 0
    missing: float = 0.0
    by: Literal["leadloop", "user"] = "leadloop"
    extraction: ColumnExtraction | None = None

    @property
    def used(self) -> bool:
        """Whether the column can be an attribute."""
        return self.role in USED

    def rename(self, new_name: Callable[[str], str]) -> ColumnRole:
        """The same role of a column that others call by ``new_name``."""
        extraction = self.extraction
        if extraction is not None:
            extraction = replace(extraction, column=new_name(extraction.column))
        return replace(self, column=new_name(self.column), extraction=extraction)


def is_like_numbers(reason: Message) -> bool:
    """Whether a column was taken for words although its values look like numbers."""
    return reason.key in _LIKE_NUMBERS


def is_read_with_care(reason: Message) -> bool:
    """Whether a column of numbers was read in a way that its reader should know of."""
    return reason.key in _READ_WITH_CARE


def infer_role(column: pl.Series, decimal: Decimal = ".", table: NumberMarks = UNKNOWN_MARKS) -> ColumnRole:
    """Infer the role of a column whose missing values are null already.

    Args:
        column: The column.
        decimal: The mark before decimals that its file is expected to have.
        table: What the marks in numbers mean in the other columns of its table. Default: that is not known.

    >>> infer_role(pl.Series("visits", ["0", "3", None, "1.5"])).role
    'number'
    >>> infer_role(pl.Series("zip", ["01099", "80331"] * 10)).reason
    'codes with leading zeros'
    """
    known = column.drop_nulls()
    distinct = 0 if known.dtype == pl.Object else known.n_unique()
    role, reason = _classify(known, distinct, decimal, table)
    if role == "number" and _is_zero_or_one(known, distinct):
        role, reason = "flag", Message("columns.zero_and_one")
    if role in _WORDY and (personal := find_personal_reason(known)):
        role, reason = "identifier", personal
    if distinct == 1 and len(known) == len(column):
        role, reason = "constant", _constant_reason(known)
    return ColumnRole(column.name, role, reason, distinct, 1 - len(known) / max(len(column), 1))


def _constant_reason(known: pl.Series) -> Message:
    if not has_single_values(known.dtype):
        return Message("columns.constant_of_type", type=str(known.dtype))
    value = known[0]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Message("columns.constant", value=Message("values.one", value=value))
    text = repr(value)
    return Message(
        "columns.constant", value=text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."
    )


def declared_role(column: pl.Series, role: Role) -> ColumnRole:
    """The role that the user declared for a column, with its counts."""
    known = column.drop_nulls()
    missing = 1 - len(known) / max(len(column), 1)
    reason = Message("columns.configured")
    return ColumnRole(column.name, role, reason, known.n_unique(), missing, "user")


def _classify(known: pl.Series, distinct: int, decimal: Decimal, table: NumberMarks) -> tuple[Role, Message]:
    if known.is_empty():
        return "empty", Message("columns.no_value")
    if known.dtype != pl.String:
        return _typed_role(known, distinct)
    if holds_documents(known):
        return "text", Message("columns.documents", column=known.name)
    return _text_role(known, distinct, decimal, table)


def _text_role(known: pl.Series, distinct: int, decimal: Decimal, table: NumberMarks) -> tuple[Role, Message]:
    if known.str.contains("^0[0-9]").any() and known.str.contains("^[0-9]+$").all():
        return _word_role(known, distinct, Message("columns.leading_zeros"))
    evidence = collect_mark_evidence(known)
    by_table = evidence.settled_by(table)
    marks = by_table if by_table != evidence.marks else evidence.expected(decimal)
    values, words = split_missing_word(known)
    share = float(cast_column(values, "number", decimal, marks).is_not_null().mean())  # type: ignore[arg-type]
    doubt = share < NUMBER_SHARE and (is_separated(known) or is_mostly_doubtful(known, share))
    if code := find_code_role(known, distinct):
        return code
    if share >= NUMBER_SHARE and not doubt and len(currency_marks(known)) <= 1:
        mark = table.thousands if by_table != evidence.marks else ""
        is_custom = evidence.is_expected and marks.decimal == "."
        return "number", _number_reason(share, words, mark, is_custom=is_custom)
    if _has_both_flags(known):
        return "flag", Message("columns.yes_and_no")
    if time_reason := None if doubt else _time_reason(known):
        return "date", time_reason
    choices = None if doubt else _choices_reason(known, distinct)
    return (
        ("category", choices)
        if choices
        else _word_role(known, distinct, DOUBTFUL if doubt else _word_reason(known, share))
    )


def holds_documents(known: pl.Series) -> bool:
    """Whether cells are JSON objects, or lists of such, which ``column.name`` reads values of.

    >>> holds_documents(pl.Series(['{"plan": "pro"}', "{}"])), holds_documents(pl.Series(['["Web", "Fair"]']))
    (True, False)
    """
    filled = known.filter(~known.is_in(_NO_DOCUMENT))
    return not filled.is_empty() and float(filled.str.contains(_DOCUMENT).mean() or 0.0) >= _DOCUMENT_SHARE  # type: ignore[arg-type]


# The braces of an array of PostgreSQL have no names before the values.
_NAMED_VALUES = r'\{\s*"(\\.|[^"\\])*"\s*:(?s:.*)\}'
_DOCUMENT = rf"^\s*({_NAMED_VALUES}|\[\s*{_NAMED_VALUES}\s*\])\s*$"
_NO_DOCUMENT, _DOCUMENT_SHARE = ("{}", "[]"), 0.9


def _number_reason(share: float, words: pl.Series, table_mark: str, *, is_custom: bool) -> Message:
    """Why a column is one of numbers, or rather what its reader should know of how it was read."""
    if len(words):
        return Message("columns.numbers_and_word", word=words[0], cells=len(words))
    if table_mark:
        return Message("columns.thousands_of_table", mark=table_mark)
    if is_custom:
        return Message("columns.expected_decimals")
    return Message("columns.nearly_numbers", share=1 - share) if share < 1 else Message("columns.numbers")


def _time_reason(known: pl.Series) -> Message | None:
    """The sentence on a column of times; None where it is none."""
    if time_format := detect_format(known):
        return Message("columns.times_of", pattern=time_format.pattern)
    if time_format := detect_format(known, share=DATE_SHARE):
        return Message("columns.nearly_times", pattern=time_format.pattern)
    return Message("columns.times_two_ways") if is_day_month_ambiguous(known, DATE_SHARE) else None


def _typed_role(known: pl.Series, distinct: int) -> tuple[Role, Message]:
    if known.dtype == pl.Boolean:
        return "flag", Message("columns.true_and_false")
    if known.dtype.is_numeric():
        return find_code_role(known, distinct) or ("number", Message("columns.numbers"))
    if known.dtype.is_temporal() and has_single_values(known.dtype):
        return "date", Message("columns.times")
    return "text", Message("columns.of_type", type=str(known.dtype))


def _is_zero_or_one(known: pl.Series, distinct: int) -> bool:
    """Whether numbers are 0 and 1 for no and yes, and not counts of something that few leads have."""
    if distinct != len({0, 1}) or len(known) < _MIN_VALUES:
        return False
    values = set(known.cast(pl.Float64, strict=False).unique())
    return values == {0.0, 1.0} and not _is_counted(known.name)


def _is_counted(heading: str) -> bool:
    """Whether a heading speaks of several things, such as "Visits"; "Has children" does not."""
    words = fold_heading(heading).split()
    if heading_pattern("counted").search(heading) or not words:
        return True
    is_plural = re.search(r"[^siu]s$", words[-1]) is not None
    return is_plural and words[0] not in _SAYS_WHETHER


_SAYS_WHETHER = frozenset({"is", "has", "was", "did", "does", "do", "can", "ist", "hat", "war", "kann"})


def _has_both_flags(known: pl.Series) -> bool:
    words = set(known.str.to_lowercase().unique().head(len(TRUE) + len(FALSE) + 1))
    return words <= TRUE | FALSE and bool(words & TRUE) and bool(words & FALSE)


def _word_reason(known: pl.Series, share: float) -> Message:
    if share >= NUMBER_SHARE:
        return Message("columns.mixed_units", units=join_items("and", currency_marks(known)))
    if share >= _MAJORITY:
        return Message("columns.mostly_numbers", share=share)
    if units := _units(known):
        return Message("columns.numbers_with_units", units=join_items("and", units))
    return Message("columns.few_numbers", share=share) if share else Message("columns.words")


def _units(known: pl.Series) -> list[str]:
    """What stands behind the numbers of a column in which most cells are a number and a word or two."""
    units = known.str.extract(_NUMBER_WITH_UNIT).drop_nulls()
    if known.n_unique() < _MIN_VALUES or len(units) < _MAJORITY * len(known):
        return []
    counts = units.value_counts(sort=True)[units.name].to_list()
    return counts if len(counts) <= _MOST_UNITS else []


_NUMBER_WITH_UNIT, _MOST_UNITS = r"^[+-]?[0-9][0-9.,' ]*?\s?([^\d\s.,+%:/-][^\d:/]{0,15})$", 3


def _word_role(known: pl.Series, distinct: int, reason: Message) -> tuple[Role, Message]:
    if float(known.str.contains(EMAIL).mean()) >= _MAJORITY:  # type: ignore[arg-type]
        return "identifier", Message("columns.emails")
    share = distinct / len(known)
    if len(known) < _MIN_VALUES or share < TEXT_SHARE:
        return "category", reason
    if float(known.str.len_chars().mean()) > TEXT_LENGTH:  # type: ignore[arg-type]
        return "text", Message("columns.free_text")
    if share >= IDENTIFIER_SHARE:
        if is_like_numbers(reason):
            return "identifier", Message("columns.unique_numbers", share=share, reason=reason)
        return "identifier", Message("columns.unique", share=share)
    return "category", reason


CHOICE_MARKS, _SHARE_OF_SEVERAL, _MOST_CHOICES = (";", "|", ","), 0.1, 100


def _choices_reason(known: pl.Series, distinct: int) -> Message | None:
    """The sentence on a column whose cells hold several of a few choices; None for other words."""
    for mark in CHOICE_MARKS if len(known) >= _MIN_VALUES else ():
        several = known.str.contains(mark, literal=True)
        if float(several.mean() or 0.0) < _SHARE_OF_SEVERAL:  # type: ignore[arg-type]
            continue
        cells = known.unique()
        choices = cells.str.split(mark).explode().str.strip_chars().n_unique()
        # A comma also stands in names of places and trades.
        most = distinct // 2 if mark == "," else distinct - 1
        if choices <= min(_MOST_CHOICES, most):
            return Message("columns.choices", mark=mark, choices=choices, sets=distinct)
    return None


def has_several_choices(reason: Message) -> bool:
    """Whether the cells of a column of words hold several choices each."""
    return reason.key == "columns.choices"


def cast_column(
    column: pl.Series, role: Role, decimal: Decimal = ".", marks: NumberMarks | None = None
) -> pl.Series:
    """Cast a column to its role: Float64 for a number or flag, String for a category.

    ``marks`` settle what one group of three digits is; without them it is read as ``parse_amounts`` does.

    Raises:
        ValueError: columns of that role are no attributes.
    """
    if role == "number":
        if marks is None or column.dtype != pl.String:
            return parse_amounts(column, decimal)
        return parse_amounts(settle_groups(column, marks), marks.decimal or decimal)
    if role == "flag":
        return parse_flags(column)
    if role == "category":
        return parse_categories(column)
    msg = f"column {column.name!r} is {role}, which is no attribute; a role is number, flag or category"
    raise ValueError(msg)
