"""Which mark separates thousands and which one decimals, settled for a whole column by what stands in it.

``12.500`` alone is twelve and a half as well as twelve thousand five hundred. Beside ``1.250.000`` a point
separates thousands; beside ``0.95`` it marks decimals. Where neither stands in the column, the data that a
model learned from may settle it; else such a cell is not read at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from features.parsing import (
    MISSING,
    as_number,
    clean_text,
    has_single_group,
    is_missing,
    parse_amounts,
    strip_amount_marks,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from features.parsing import Decimal

Mark = Literal["", ".", ","]
_OTHER = {".": ",", ",": "."}
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}([.,])[0-9]{3}(?:\1[0-9]{3})*")
# Two groups or more; one group with a decimal mark of the other kind after it.
_THOUSANDS = r"^[+-]?[0-9]{{1,3}}(?:(?:{m}[0-9]{{3}}){{2,}}(?:{o}[0-9]+)?|{m}[0-9]{{3}}{o}[0-9]+)$"
# No group of three, or nothing in front of it that could be thousands; thousands by the other mark before it.
_DECIMALS = (
    r"^[+-]?(?:[0-9]*{m}(?:[0-9]{{1,2}}|[0-9]{{4,}})|(?:0[0-9]*|[0-9]{{4,}}|){m}[0-9]{{3}}"
    r"|[0-9]{{1,3}}(?:{o}[0-9]{{3}})+{m}[0-9]+|[0-9]+{m}[0-9]+[eE][+-]?[0-9]+)$"
)
_WHOLE, _LONG_WHOLE = r"^[+-]?[0-9]+$", r"^[+-]?[0-9]{4,}$"


@dataclass(frozen=True, slots=True)
class NumberMarks:
    """What the marks in the numbers of a column mean, as far as that is known.

    Attributes:
        thousands: The mark between thousands. Default: none is known.
        decimal: The mark before decimals. Default: none is known.
        missing: The one word of the column that is no number, in lower case: it stands for a missing value.
            Default: there is none.
    """

    thousands: Mark = ""
    decimal: Mark = ""
    missing: str = ""

    def is_settled(self, mark: str) -> bool:
        """Whether it is known what ``mark`` means."""
        return mark in {self.thousands, self.decimal} - {""}

    def completed_by(self, other: NumberMarks) -> NumberMarks:
        """The marks with the meaning that ``other`` gives to those that are not settled here."""
        thousands, decimal = (
            "" if self.is_settled(mark) else mark for mark in (other.thousands, other.decimal)
        )
        return NumberMarks(
            self.thousands or thousands, self.decimal or decimal, self.missing or other.missing
        )


UNKNOWN_MARKS = NumberMarks()


@dataclass(frozen=True, slots=True)
class MarkEvidence:
    """What some values of a column say on the marks: evidence of several batches adds up with ``|``.

    Attributes:
        thousands: The marks that can only separate thousands in some value.
        decimals: The marks that can only mark decimals in some value.
        doubtful: The marks that some value has in front of three digits, where they may mean either.
        whole: Whether some value is a whole number without a mark.
        long_whole: Whether some value has four digits or more and no mark.
    """

    thousands: frozenset[str] = frozenset()
    decimals: frozenset[str] = frozenset()
    doubtful: frozenset[str] = frozenset()
    whole: bool = False
    long_whole: bool = False

    def __or__(self, other: MarkEvidence) -> MarkEvidence:
        return MarkEvidence(
            self.thousands | other.thousands,
            self.decimals | other.decimals,
            self.doubtful | other.doubtful,
            self.whole or other.whole,
            self.long_whole or other.long_whole,
        )

    @property
    def marks(self) -> NumberMarks:
        """What the values settle by themselves; a mark that means both in one column is not settled."""
        thousands, decimals = self.thousands - self.decimals, self.decimals - self.thousands
        return NumberMarks(
            next(iter(thousands)) if len(thousands) == 1 else "",  # type: ignore[arg-type]
            next(iter(decimals)) if len(decimals) == 1 else "",  # type: ignore[arg-type]
        )

    @property
    def is_expected(self) -> bool:
        """Whether nothing but custom says that a point before three digits marks decimals."""
        return "." in self.doubtful and not {"."} & (self.thousands | self.decimals) and not self.long_whole

    def settled_by(self, table: NumberMarks) -> NumberMarks:
        """What the values settle, and what the other columns of their ``table`` do where these leave it open.

        Whole numbers below a thousand stand beside one group of three digits, and none above it: as columns
        look in which thousands are separated. That the table separates thousands with the same mark says so.
        """
        open_mark = table.thousands in self.doubtful and not self.marks.is_settled(table.thousands)
        if open_mark and self.whole and not self.long_whole:
            return self.marks.completed_by(NumberMarks(thousands=table.thousands))
        return self.marks

    def expected(self, decimal: Decimal) -> NumberMarks:
        """What the values settle; else a point marks decimals where nothing speaks for thousands.

        In a file whose commas separate columns, a point before three digits is a decimal mark unless whole
        numbers below a thousand stand beside it, as they do where thousands are separated.
        """
        point = "." in self.doubtful and not {"."} & (self.thousands | self.decimals)
        if decimal == "." and point and (self.long_whole or not self.whole):
            return self.marks.completed_by(NumberMarks(decimal="."))
        return self.marks


def collect_mark_evidence(column: pl.Series) -> MarkEvidence:
    """What the values of a column say on the marks in its numbers; what its pieces say adds up to it.

    >>> collect_mark_evidence(pl.Series(["12.500", "1.250.000"])).marks
    NumberMarks(thousands='.', decimal='', missing='')
    >>> collect_mark_evidence(pl.Series(["12.500", "0,95"])).marks
    NumberMarks(thousands='', decimal=',', missing='')
    """
    if column.dtype != pl.String:
        fractions = column.dtype.is_float() and bool((column != column.floor()).any())
        return MarkEvidence(decimals=frozenset("." if fractions else ""), whole=True, long_whole=True)
    known = column.drop_nulls()
    marked = known.filter(known.str.contains(r"[0-9]*[.,][0-9]"))
    whole = bool(known.str.contains(_WHOLE).any())
    long_whole = whole and bool(known.str.contains(_LONG_WHOLE).any())
    if marked.is_empty():
        return MarkEvidence(whole=whole, long_whole=long_whole)
    bare = strip_amount_marks(marked)
    single = bare.str.contains(_SINGLE_OF["."] + "|" + _SINGLE_OF[","])
    # Nobody writes a tenth of a cent: one group of three beside a mark of currency is thousands.
    priced = bare.filter(single & (bare != marked) & ~marked.str.contains(r"^\(.*\)$|%"))
    return MarkEvidence(
        thousands=frozenset(m for m in _OTHER if _any(bare, _THOUSANDS, m) or _any(priced, _SINGLE_FORM, m))
        | frozenset("," if bare.str.contains(_LAKHS).any() else ""),
        decimals=frozenset(m for m in _OTHER if _any(bare, _DECIMALS, m)),
        doubtful=frozenset(m for m in _OTHER if _any(marked, _DOUBTFUL_FORM, m)),
        whole=whole,
        long_whole=long_whole,
    )


def find_table_marks(columns: Iterable[pl.Series]) -> NumberMarks:
    """What the marks in numbers mean in a table: as all of its columns of numbers say that settle them.

    >>> sizes, sums = pl.Series("size", ["950", "1.250"]), pl.Series("sum", ["1.234,50", "12,00"])
    >>> find_table_marks([sizes, sums])
    NumberMarks(thousands='.', decimal=',', missing='')
    >>> find_table_marks([sizes, sums, pl.Series("rate", ["0.5", "0.25"])])
    NumberMarks(thousands='', decimal='', missing='')
    """
    settled = [
        marks
        for column in columns
        if column.dtype == pl.String
        for marks in [collect_mark_evidence(column).marks]
        if (marks.thousands or marks.decimal) and _are_numbers(column.drop_nulls(), marks)
    ]
    thousands = {marks.thousands for marks in settled if marks.thousands}
    decimals = {marks.decimal for marks in settled if marks.decimal}
    # One that some columns have between thousands and others before decimals means nothing by itself.
    if len(thousands) > 1 or len(decimals) > 1 or thousands & decimals:
        return NumberMarks()
    decimal = next(iter(decimals), "")
    return NumberMarks(next(iter(thousands), _OTHER.get(decimal, "")), decimal)  # type: ignore[arg-type]


def _are_numbers(known: pl.Series, marks: NumberMarks) -> bool:
    """Whether nearly all values are numbers by these marks."""
    values, _ = split_missing_word(known)
    numbers = parse_amounts(settle_groups(values, marks), _decimal_of(marks))
    return len(numbers) - numbers.null_count() >= _NEARLY_ALL * len(numbers) > 0


_NEARLY_ALL = 0.99

# India counts in groups of two above the first thousand: 12,34,567.
_LAKHS = r"^[+-]?[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?$"
_SINGLE_FORM = "^[+-]?[1-9][0-9]{{0,2}}{m}[0-9]{{3}}$"
_DOUBTFUL_FORM = "^\\(?[+\u2212-]?[1-9][0-9]{{0,2}}{m}[0-9]{{3}}\\)?-?(?: ?%)?$"
_GROUPED_FORM = "^\\(?[+\u2212-]?[1-9][0-9]{{0,2}}(?:{m}[0-9]{{3}})+\\)?-?(?: ?%)?$"
_ANY_GROUPS = _GROUPED_FORM.format(m="[.,]")
_SINGLE_OF = {mark: _SINGLE_FORM.format(m=re.escape(mark)) for mark in _OTHER}


def _any(column: pl.Series, pattern: str, mark: str) -> bool:
    return bool(column.str.contains(pattern.format(m=re.escape(mark), o=re.escape(_OTHER[mark]))).any())


def has_groups(column: pl.Series) -> bool:
    """Whether any value is nothing but groups of three digits, so that marks are to be settled."""
    return bool(column.str.contains(_ANY_GROUPS).any())


def find_marks(column: pl.Series, decimal: Decimal) -> pl.Series:
    """(n,) whether the marks of its column say what a value means: groups, or the other decimal mark."""
    return column.str.contains(_ANY_GROUPS if decimal == "," else f"{_ANY_GROUPS}|,[0-9]")


def has_marks(column: pl.Series, decimal: Decimal) -> bool:
    """Whether ``find_marks`` finds any."""
    return bool(find_marks(column, decimal).any())


def settle_groups(column: pl.Series, marks: NumberMarks) -> pl.Series:
    """The text with groups of three written plainly where ``marks`` settle them.

    A single group that they do not settle is missing.

    >>> settle_groups(pl.Series(["12.500", "950", "1,250"]), NumberMarks(thousands=".")).to_list()
    ['12500', '950', None]
    """
    if marks.thousands:
        grouped = column.str.contains(_GROUPED_FORM.format(m=re.escape(marks.thousands)))
        plain = column.str.replace_all(marks.thousands, "", literal=True)
        column = plain.zip_with(grouped.fill_null(value=False), column)
    doubtful = has_single_group(column)
    if marks.decimal:
        doubtful &= ~column.str.contains(marks.decimal, literal=True)
    return column.set(doubtful, None) if doubtful.any() else column


def find_missing_word(known: pl.Series) -> str:
    """The one word, in lower case, that stands in a column of numbers where a value is missing.

    A column of numbers has one word for nothing, such as ``unknown``; two words are levels of a category.

    >>> find_missing_word(pl.Series([*map(str, range(30)), "k. A.", "k. A."]))
    'k. a.'
    >>> find_missing_word(pl.Series([*map(str, range(30)), "small", "large"]))
    ''
    """
    if known.dtype != pl.String:
        return ""
    words = known.filter(~known.str.contains("[0-9]"))
    if len(words) <= _RARE * len(known) or words.n_unique() > _MOST_SPELLINGS:
        return ""
    folded = words.str.to_lowercase().unique()
    has_many_numbers = known.filter(known.str.contains("[0-9]")).n_unique() >= _FEWEST_NUMBERS
    return str(folded[0]) if len(folded) == 1 and has_many_numbers else ""


def missing_word_cells(column: pl.Series) -> pl.Series:
    """(n,) whether a cell of a column of numbers is the word that ``find_missing_word`` finds.

    >>> missing_word_cells(pl.Series([*map(str, range(30)), None, "Unknown"])).arg_true().to_list()
    [31]
    """
    return is_missing_word(column, NumberMarks(missing=find_missing_word(column.drop_nulls())))


def split_missing_word(known: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The values of a column without the word that ``find_missing_word`` finds, and the cells with that word.

    >>> numbers, words = split_missing_word(pl.Series([*map(str, range(30)), "Unknown"]))
    >>> len(numbers), words.to_list()
    (30, ['Unknown'])
    """
    is_word = missing_word_cells(known)
    return known.filter(~is_word), known.filter(is_word)


# Up to here words are cells that could not be read; few different numbers are codes, of which one is a word.
_RARE, _FEWEST_NUMBERS, _MOST_SPELLINGS = 0.01, 10, 8


def is_missing_word(column: pl.Series, marks: NumberMarks | None) -> pl.Series:
    """(n,) whether a cell is the word of its column that stands for a missing value."""
    if marks is None or not marks.missing or column.dtype != pl.String:
        return pl.Series([False]).new_from_index(0, len(column))
    return (column.str.to_lowercase() == marks.missing).fill_null(value=False)


def as_marked_number(
    value: str | float | None, marks: NumberMarks | None, *, missing: Collection[str] = MISSING
) -> float | None:
    """One value as a number or an amount printed for people, read as in the column that ``marks`` are of.

    Without ``marks`` nothing is known of the column: a point before three digits marks decimals, as programs
    write them.

    Raises:
        ValueError: it is neither missing nor a finite number, or could be two numbers.

    >>> as_marked_number("12.500", NumberMarks(thousands=".")), as_marked_number("12.5", NumberMarks())
    (12500.0, 12.5)
    >>> as_marked_number("1.234,50 EUR", None), as_marked_number("$80", None)
    (1234.5, 80.0)
    """
    if not isinstance(value, str):
        return as_number(value, missing=missing)
    text = clean_text(value)
    if is_missing(text, missing) or (marks is not None and text.lower() == marks.missing):
        return None
    if _PLAIN.fullmatch(text) and (marks is None or not _GROUPED.fullmatch(text)):
        return as_number(text, missing=missing)
    settled = pl.Series([text]) if marks is None else settle_groups(pl.Series([text]), marks)
    if settled[0] is None:
        msg = f"{value!r} is ambiguous (thousands or decimals); send a number such as 1234.5"
        raise ValueError(msg)
    number = parse_amounts(settled, _decimal_of(marks)).item()
    if number is None:
        msg = f"{value!r} is not a number; send one such as 1234.5"
        raise ValueError(msg)
    return float(number)


_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")


def _decimal_of(marks: NumberMarks | None) -> Decimal:
    """The mark before decimals in a column, as far as its marks say so: not the one between thousands."""
    if marks is None or marks.decimal == "." or marks.thousands == ",":
        return "."
    return "," if marks.decimal == "," or marks.thousands == "." else "."
