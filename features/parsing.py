"""Text into numbers, flags, categories and times, for whole columns and for single values alike.

Each reading exists twice, for a column (a Polars series) and for one value (a request to the service), and a
law holds the two together. What cannot be read becomes null in a column and a ValueError for a single value.

Numbers as a CRM prints them for people: ``$1,234.50``, ``1.234,50 €``, ``1'234.50``, ``5 %``, ``(80)``.

Only what can mean one thing is read. A mark of currency settles what one group of three digits is (nobody
writes a tenth of a cent), and so do two different separators in one number; a bare ``1,234`` stays unread.
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Collection


Decimal = Literal[".", ","]

_EXCEL_ERRORS = ("#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!")

MISSING = ("", "NA", "N/A", "n/a", "<NA>", "null", "NULL", "None", "NaN", "nan", "-", *_EXCEL_ERRORS)

TRUE = frozenset({"yes", "true", "y", "t", "ja", "j", "wahr", "1", "1.0"})

FALSE = frozenset({"no", "false", "n", "f", "nein", "falsch", "0", "0.0"})

_BLANKS = " \t\r\n\v\f"

# Typographic and ideographic blanks, and marks that nobody sees: soft hyphens, zero-width blanks, directions.
_SPACES = "\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_INVISIBLE = "\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
# Joiners of letters have a meaning between them, and none around a text.
_EDGES = _BLANKS + "\u200c\u200d"
# Letters that are composed already, and none of the blanks and marks above: nothing to clean.
_COMPOSED = "\x00-\x9f\u00a1-\u00ac\u00ae-\u02ff\u2010-\u2027\u20ac"
_TO_CLEAN = f"[^{_COMPOSED}]"
_SPACE, _UNSEEN, _ANY_TO_CLEAN = (re.compile(p) for p in (f"[{_SPACES}]", f"[{_INVISIBLE}]", _TO_CLEAN))

NO_DATES = tuple(
    date + clock
    for date in ("0000-00-00", "0000/00/00", "00-00-0000", "00/00/0000", "00.00.0000")
    for clock in ("", " 00:00", " 00:00:00", " 00:00:00.000", " 00:00:00.000000", "T00:00:00", "T00:00:00Z")
)
"""What MySQL and its like write for a date that is not there; no other cell looks like it."""

_PLAIN = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"

_POINT = rf"^(?:{_PLAIN}|[+-]?[0-9]{{1,3}}(?:(?:,[0-9]{{3}})+\.[0-9]+|(?:,[0-9]{{3}}){{2,}}))$"

_GERMAN = r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+),[0-9]+|[+-]?[0-9]{1,3}(?:\.[0-9]{3}){2,}"

_COMMA = rf"^(?:{_PLAIN}|{_GERMAN})$"

NUMBER: dict[Decimal, str] = {".": _POINT, ",": _COMMA}

_NUMBER = {decimal: re.compile(pattern) for decimal, pattern in NUMBER.items()}


def clean_text(text: str) -> str:
    """A text in one spelling: letters composed, any blank a plain one, nothing invisible, no blanks around.

    >>> clean_text("Gro\u0308ße\u200b"), clean_text("\u3000Closed\u00a0Won ")
    ('Größe', 'Closed Won')
    """
    if text.isascii():
        return text.strip(_BLANKS)
    if _ANY_TO_CLEAN.search(text):
        text = _SPACE.sub(" ", _UNSEEN.sub("", unicodedata.normalize("NFC", text)))
    return text.strip(_EDGES)


def clean_column(column: pl.Series) -> pl.Series:
    """A column of text with each value as ``clean_text`` has it."""
    if column.str.len_bytes().sum() == column.str.len_chars().sum():  # nothing but ASCII
        return column.str.strip_chars()  # in ASCII the same blanks as _BLANKS, in half the time
    if column.str.contains(_TO_CLEAN).any():
        composed = column.str.normalize("NFC").str.replace_all(f"[{_INVISIBLE}]", "")
        column = composed.str.replace_all(f"[{_SPACES}]", " ")
    return column.str.strip_chars(_EDGES)


def strip_missing(column: pl.Series, missing: tuple[str, ...] = MISSING) -> pl.Series:
    """The column of clean text, with every word for "missing" turned into null."""
    if isinstance(column.dtype, pl.Categorical | pl.Enum | pl.Binary):
        column = _binary_text(column) if column.dtype == pl.Binary else column.cast(pl.String)
    if isinstance(column.dtype, pl.Date | pl.Datetime):
        return _without_open_ends(column)
    if column.dtype != pl.String:
        return column.fill_nan(None) if column.dtype.is_float() else column
    if not _has_few_words(column):
        return _strip_texts(column, missing)
    words = column.unique().drop_nulls()
    stripped = _strip_texts(words, missing)
    if stripped.equals(words, null_equal=True):
        return column
    return column.replace_strict(words, stripped, default=None, return_dtype=pl.String)


def _strip_texts(column: pl.Series, missing: tuple[str, ...]) -> pl.Series:
    text = clean_column(column)
    is_word = text.is_in(_missing_words(missing))
    return text.set(is_word, None) if is_word.any() else text


def _has_few_words(column: pl.Series) -> bool:
    """Whether a long column repeats a few words, so that each of them is better looked at once."""
    return len(column) > _MANY and column.head(_SAMPLE).n_unique() < _FEW


_MANY, _SAMPLE, _FEW = 10_000, 1_000, 100


def _without_open_ends(column: pl.Series) -> pl.Series:
    """The column without times outside of the years 1 to 9999, such as ``infinity``: they stand for none."""
    unit = _A_DAY.get(column.dtype.time_unit, 0) if isinstance(column.dtype, pl.Datetime) else 1
    if not unit:  # nanoseconds have no room for such times
        return column
    raw = column.to_physical()
    within = raw.is_between(_FIRST_DAY * unit, _LAST_DAY * unit, closed="left").fill_null(value=True)
    return column if within.all() else column.set(~within, None)


_FIRST_DAY, _LAST_DAY = -719_162, 2_932_897
_A_DAY = {"ms": 86_400_000, "us": 86_400_000_000}


@cache
def _missing_words(missing: tuple[str, ...]) -> pl.Series:
    return pl.Series([*missing, *NO_DATES], dtype=pl.String).implode()


def _binary_text(column: pl.Series) -> pl.Series:
    """Bytes as text: UUIDs where all are sixteen bytes, else UTF-8 or, where it is none, hexadecimal."""
    cells = column.to_list()
    if any(cell is not None and len(cell) != _UUID_BYTES for cell in cells):
        try:
            return pl.Series(
                column.name, [None if cell is None else cell.decode() for cell in cells], pl.String
            )
        except UnicodeDecodeError:
            return column.bin.encode("hex")
    uuids = [None if cell is None else str(UUID(bytes=cell)) for cell in cells]
    return pl.Series(column.name, uuids, pl.String)


_UUID_BYTES = 16


def has_single_values(dtype: pl.DataType) -> bool:
    """Whether a column of that type has one value a cell: no list, no map, no length of time."""
    return not (dtype.is_nested() or isinstance(dtype, pl.Duration | pl.Object | pl.Binary))


def without_values(column: pl.Series) -> pl.Series:
    """The column without its values where a cell of its type is none by itself."""
    if has_single_values(column.dtype):
        return column
    return pl.Series(column.name, [None], dtype=pl.String).new_from_index(0, len(column))


def is_missing(text: str, missing: Collection[str] = MISSING) -> bool:
    """Whether a clean text stands for a missing value."""
    return text in missing or (text.startswith("0") and text in NO_DATES)


def parse_numbers(column: pl.Series, decimal: Decimal = ".") -> pl.Series:
    """Float64 numbers of a column; null where a value is missing or no finite number.

    A separator of thousands is accepted only where nothing else can be meant: in ``1,234.5`` or
    ``1,234,567``, never in ``1,234``, which half the world reads as little more than one.

    >>> parse_numbers(pl.Series(["007", "-1.5e3", "1,234.5", "1,234", "many"])).to_list()
    [7.0, -1500.0, 1234.5, None, None]
    >>> parse_numbers(pl.Series(["1,234", "1.234,5"]), decimal=",").to_list()
    [1.234, 1234.5]
    """
    column = without_values(column)
    if column.dtype != pl.String:
        return _drop_nonfinite(column.cast(pl.Float64, strict=False))
    text = column.set(~column.str.contains(NUMBER[decimal]), None)
    return _drop_nonfinite(_normalise_separators(text, decimal).cast(pl.Float64, strict=False))


def _normalise_separators(text: pl.Series, decimal: Decimal) -> pl.Series:
    if decimal == ".":
        return text.str.replace_all(",", "", literal=True)
    grouped = text.str.contains(r",|\..*\.")
    german = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return text.zip_with(~grouped.fill_null(value=False), german)


def _drop_nonfinite(column: pl.Series) -> pl.Series:
    return column.set(~column.is_finite(), None)


def as_number(
    value: str | float | None, decimal: Decimal = ".", *, missing: Collection[str] = MISSING
) -> float | None:
    """One value as ``parse_numbers`` reads it.

    Raises:
        ValueError: it is neither missing nor a finite number.

    >>> as_number(" 12.5 "), as_number(True), as_number("N/A")
    (12.5, 1.0, None)
    """
    if not isinstance(value, str):
        return _finite_number(value)
    text = clean_text(value)
    if is_missing(text, missing):
        return None
    if not _NUMBER[decimal].fullmatch(text):
        msg = f"{value!r} is not a number"
        raise ValueError(msg)
    if decimal == ".":
        return _finite_number(float(text.replace(",", "")))
    grouped = "," in text or text.count(".") > 1
    return _finite_number(float(text.replace(".", "").replace(",", ".") if grouped else text))


def _finite_number(value: float | None) -> float | None:
    if value is None:
        return None
    if not math.isfinite(value):
        msg = f"{value!r} is not a finite number"
        raise ValueError(msg)
    return float(value)


def minor_units(column: pl.Series, decimal: Decimal = ".") -> pl.Series:
    """Int64 minor units (cents) of amounts in major units, exactly; half a cent is rounded away from 0.

    >>> minor_units(pl.Series(["12.34", "0.285", "1,234.5", "-3", "1e3"])).to_list()
    [1234, 29, 123450, -300, 100000]
    """
    text = without_values(column).cast(pl.String, strict=False)
    plain = _normalise_separators(text.set(~text.str.contains(NUMBER[decimal]), None), decimal)
    if plain.null_count() > text.null_count():
        plain = plain.fill_null(_plain_amounts(text.set(plain.is_not_null(), None), decimal))
    cents = plain.cast(_MONEY, strict=False) * 100
    return cents.round(0, mode="half_away_from_zero").cast(pl.Int64, strict=False)


_MONEY = pl.Decimal(38, 6)


def parse_flags(column: pl.Series) -> pl.Series:
    """1.0 and 0.0 for a column of yes and no in any of their usual spellings; null for anything else.

    >>> parse_flags(pl.Series(["Yes", "nein", "TRUE", "f", "maybe"])).to_list()
    [1.0, 0.0, 1.0, 0.0, None]
    """
    column = without_values(column)
    if column.dtype != pl.String:
        value = column.cast(pl.Float64, strict=False)
        return value.set(~value.is_in([0.0, 1.0]), None)
    word = column.str.to_lowercase()
    value = pl.Series(column.name, [None], dtype=pl.Float64).new_from_index(0, len(column))
    return value.set(word.is_in(sorted(TRUE)), 1.0).set(word.is_in(sorted(FALSE)), 0.0)


def as_flag(value: str | float | None, *, missing: Collection[str] = MISSING) -> float | None:
    """One value as ``parse_flags`` reads it.

    Raises:
        ValueError: it is neither missing nor a yes or a no.

    >>> as_flag("yes"), as_flag(0), as_flag(None)
    (1.0, 0.0, None)
    """
    word = clean_text(value) if isinstance(value, str) else value
    if word is None or (isinstance(word, str) and is_missing(word, missing)):
        return None
    if isinstance(word, str) and word.lower() in TRUE | FALSE:
        return float(word.lower() in TRUE)
    if not isinstance(word, str) and word in (0, 1):
        return float(word)
    msg = f"{value!r} is neither yes nor no (true, false, 1 or 0)"
    raise ValueError(msg)


def parse_categories(column: pl.Series) -> pl.Series:
    """The column as text; numbers as ``as_category`` writes them."""
    column = without_values(column)
    if column.dtype.is_decimal():
        # Not by way of a float, which has no room for the last digits of a long id.
        return column.cast(pl.String).str.replace(r"(\.[0-9]*?)0+$", "${1}").str.replace(r"\.$", "")
    if column.dtype.is_float():
        value = column.cast(pl.Float64)
        is_integer = value.is_finite() & (value == value.floor()) & (value.abs() < _MAX_INTEGER)
        return value.cast(pl.String).zip_with(
            ~is_integer.fill_null(value=False), _format_integers(value, is_integer)
        )
    if column.dtype == pl.Boolean:
        return column.cast(pl.String)
    return column.cast(pl.String, strict=False)


_MAX_INTEGER = 2.0**63


def lost_digits(column: pl.Series) -> pl.Series:
    """Which ids are floats that have no room for all digits, so that one may stand for others.

    >>> lost_digits(pl.Series([9.876543210987654e17, 12.0])).to_list()
    [True, False]
    """
    if not column.dtype.is_float():
        return pl.Series([False]).new_from_index(0, len(column))
    return (column.abs() >= _MAX_EXACT_INTEGER).fill_null(value=False)


def has_fractions(column: pl.Series) -> bool:
    """Whether a column of ids in text has some that end in ``.0``, as whole numbers do after floats.

    >>> has_fractions(pl.Series(["1007.0", "1014.0"])), has_fractions(pl.Series(["1007", "2.5"]))
    (True, False)
    """
    return column.dtype == pl.String and bool(column.str.contains(_WHOLE_FLOAT).any())


_WHOLE_FLOAT = r"^\s*[0-9]+[.,]0+\s*$"


def has_lost_digits(column: pl.Series) -> bool:
    """Whether a column of ids went through floats that have no room for them all: the last digits are gone.

    >>> has_lost_digits(pl.Series([9.876543210987654e17])), has_lost_digits(pl.Series(["9.88E+17"]))
    (True, True)
    >>> has_lost_digits(pl.Series([123456.0])), has_lost_digits(pl.Series(["0012", "5E1"]))
    (False, False)
    """
    if column.dtype.is_float():
        return bool((column.abs() >= _MAX_EXACT_INTEGER).any())
    return column.dtype == pl.String and bool(column.str.contains(_SCIENTIFIC).any())


_MAX_EXACT_INTEGER = 2.0**53
_SCIENTIFIC = r"^[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2}$"


def _format_integers(value: pl.Series, is_integer: pl.Series) -> pl.Series:
    return value.set(~is_integer, None).cast(pl.Int64).cast(pl.String)


def as_category(value: str | float | None, *, missing: Collection[str] = MISSING) -> str | None:
    """One value as ``parse_categories`` reads it: a code 3.0 is the category ``"3"``, as in a text file.

    >>> as_category(" Berlin "), as_category(3.0), as_category(True), as_category("")
    ('Berlin', '3', 'true', None)
    """
    if isinstance(value, str):
        text = clean_text(value)
        return None if is_missing(text, missing) else text
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    _finite_number(value)
    if value == int(value) and abs(value) < _MAX_INTEGER:
        return str(int(value))
    # Python writes small and large numbers in another way than a column does.
    return str(pl.Series([value], dtype=pl.Float64).cast(pl.String)[0])


# Signs, codes of ISO 4217 and the abbreviations that CRMs print beside amounts.
_CURRENCY = (
    "(?:(?:US|CA|AU|NZ|HK|MX|R|C|A|S)?\\$|[€£¥₹₽₩₺₪₴₦₱฿₫]|kr\\.?|Kr\\.?|zł|Kč|Ft|lei|Rs\\.?|S?Fr\\.|円|元|"
    "(?:EUR|USD|GBP|CHF|CAD|AUD|NZD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|RUB|UAH|TRY|ILS|AED|SAR|QAR|ZAR|NGN|KES|"
    "EGP|MAD|INR|PKR|CNY|RMB|JPY|KRW|HKD|TWD|SGD|MYR|THB|IDR|PHP|VND|BRL|MXN|ARS|CLP|COP|PEN))"
)

_GAP = "[ \u00a0\u202f]"

_CURRENCY_BEFORE, _CURRENCY_AFTER = rf"^([+-]?){_CURRENCY}{_GAP}?", rf"{_GAP}?{_CURRENCY}(-?)$"

_ACCOUNTING_NEGATIVE = rf"^({_CURRENCY}?{_GAP}?)\(([^()+-]+)\)$"

_PERCENT = rf"{_GAP}?%$"

# 1.234,- and the like are prices; a sign behind an apostrophe, as exports guard it from spreadsheets.
_NO_CENTS = "([0-9])[.,](?:--?|[\u2013\u2014])"
_GUARDED = r"^'([+-][0-9.,]+)$"

# Thousands and more by a letter or an abbreviation: 12.5K, 2,5 Mio., $1.2B. Three decimals might be a group.
_MAGNITUDES = {"k": 3, "tsd": 3, "t": 3, "m": 6, "mn": 6, "mio": 6, "b": 9, "bn": 9, "mrd": 9}
_MAGNITUDE = "(?i:k|tsd|t|mn|mio|m|bn|b|mrd)\\.?"
_WITH_MAGNITUDE = rf"^([+-]?(?:(?:0|[1-9][0-9]*)(?:[.,][0-9]{{1,2}})?|0[.,][0-9]+)){_GAP}?({_MAGNITUDE})$"
# Without a mark of currency 5 m may be metres, 3 t tons and 2B a flat.
_NEEDS_CURRENCY = r"[mtTbB]\.?$"

_MINUS_AFTER = r"^([0-9][0-9.,'\u2019 \u00a0\u202f]*)-$"

_UNAMBIGUOUS = r"['\u2019]|,.*\.|\..*,|[0-9][ \u00a0\u202f][0-9]{3}|,[0-9]{2},[0-9]{3}(?:$|\.)"

# Whole numbers in groups by one mark, with any decimals; without groups, three decimals might be a group.
_GROUPS = (
    "[1-9][0-9]{{0,2}}(?:(?:{group}[0-9]{{3}})+|(?:['\u2019][0-9]{{3}})+|(?:[ \u00a0\u202f][0-9]{{3}})+)"
    "(?:{mark}[0-9]+)?"
)
_LAKHS = "[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?:\\.[0-9]+)?"
_UNGROUPED = "(?:0|[1-9][0-9]*)(?:{mark}[0-9]{{1,2}})?|(?:0|[1-9][0-9]{{3,}}){mark}[0-9]+"

_GROUPED_NUMBER = {
    point: f"^[+-]?(?:{_GROUPS}|{_UNGROUPED})$".format(group=group, mark=mark).replace(
        ")$", f"|{_LAKHS})$" if point == "." else ")$"
    )
    for point, group, mark in ((".", ",", r"\."), (",", r"\.", ","))
}

_BLANK_GROUPS = (
    r"^[+-]?[1-9][0-9]{0,2}(?:(?:['\u2019][0-9]{3})+|(?:[ \u00a0\u202f][0-9]{3})+)(?:[.,][0-9]+)?$"
)

_SEPARATED_NUMBER = "^[+-]?(?:[0-9]+(?:[.,][0-9]+)?|[0-9]{1,3}(?:[.,][0-9]{3})+)$"

_SINGLE_GROUP = "^\\(?[+\u2212-]?[1-9][0-9]{0,2}[.,][0-9]{3}\\)?-?(?: ?%)?$"

_NEARLY_ALL = 0.99

_SAMPLE_SIZE = 1000


def parse_amounts(column: pl.Series, decimal: Decimal = ".") -> pl.Series:
    """Float64 as ``parse_numbers`` has it and, where that is null, numbers with marks of currency or percent.

    A mark of currency, or two different separators, settles what a group of three digits is. Amounts in
    brackets are negative, as accountants write them.

    >>> parse_amounts(pl.Series(["12.5", "$1,234", "1.234,50 EUR", "1'234.50", "7 %", "1,234"])).to_list()
    [12.5, 1234.0, 1234.5, 1234.5, 7.0, None]
    >>> parse_amounts(pl.Series(["1 250 kr", "CAD 12,34,567.50", "1.250,00-", "40 \u20ac-"])).to_list()
    [1250.0, 1234567.5, -1250.0, -40.0]
    >>> parse_amounts(pl.Series(["(1,234.00)", "($80)", "€ (7)", "(1,234)", "(-1)"])).to_list()
    [-1234.0, -80.0, -7.0, None, None]
    >>> parse_amounts(pl.Series(["1.234,-", "12.5K", "2,5 Mio. €", "$1.2B", "5 m"])).to_list()
    [1234.0, 12500.0, 2500000.0, 1200000000.0, None]
    """
    value = parse_numbers(column, decimal)
    if column.dtype != pl.String or value.null_count() == column.null_count():
        return value
    unread = column.set(value.is_not_null(), None)
    if not unread.str.contains("[0-9]").any():
        return value
    return value.fill_null(_plain_amounts(unread, decimal).cast(pl.Float64))


def _plain_amounts(unread: pl.Series, decimal: Decimal) -> pl.Series:
    """The text of numbers with marks without these, a point before the decimals; null for anything else."""
    cell = unread.str.replace(_GUARDED, "${1}")
    whole = cell.str.replace(_NO_CENTS, "${1}")
    text = leading_minus(whole).str.replace(_ACCOUNTING_NEGATIVE, "-${1}${2}")
    without_percent = text.str.replace(_PERCENT, "")
    # A price without cents has no decimals left: a mark in it separates thousands.
    programs = without_percent.str.contains(NUMBER[decimal]) & (whole == cell)
    plain = _normalise_separators(without_percent.set(~programs, None), decimal)
    bare = without_percent.str.replace(_CURRENCY_BEFORE, "${1}").str.replace(_CURRENCY_AFTER, "${1}")
    bare = leading_minus(bare)
    priced = (bare != without_percent) | (whole != cell)
    plain = plain.fill_null(_scaled_numbers(bare, priced))
    bare = bare.set(~priced & ~without_percent.str.contains(_UNAMBIGUOUS), None)
    for mark, pattern in _GROUPED_NUMBER.items():
        matching = bare.set(~bare.str.contains(pattern), None)
        digits = matching.str.replace_all(rf"[^0-9{mark}+-]", "").str.replace(",", ".", literal=True)
        plain = plain.fill_null(digits)
    return plain


def _scaled_numbers(bare: pl.Series, priced: pl.Series) -> pl.Series:
    """The text of numbers with thousands, millions or billions behind them, with a power of ten instead."""
    scaled = bare.str.contains(_WITH_MAGNITUDE) & (priced | ~bare.str.contains(_NEEDS_CURRENCY))
    if not scaled.any():
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(bare))
    cells = bare.set(~scaled, None)
    digits = cells.str.extract(_WITH_MAGNITUDE, 1).str.replace(",", ".", literal=True)
    unit = cells.str.extract(_WITH_MAGNITUDE, 2).str.strip_suffix(".").str.to_lowercase()
    return digits + "e" + unit.replace_strict(_MAGNITUDES, return_dtype=pl.Int64).cast(pl.String)


def leading_minus(text: pl.Series) -> pl.Series:
    """The text with a minus where programs expect it: typographic ones plain, those after a number before it.

    >>> leading_minus(pl.Series(["\N{MINUS SIGN}12", "1.250,00-", "7"])).to_list()
    ['-12', '-1.250,00', '7']
    """
    if not text.str.contains("\u2212|-$").any():
        return text
    return text.str.replace("\u2212", "-", literal=True).str.replace(_MINUS_AFTER, "-${1}")


def plain_numbers(column: pl.Series, decimal: Decimal) -> pl.Series:
    """The text with numbers and amounts as digits with a point before decimals; other cells stay as they are.

    >>> plain_numbers(pl.Series(["1.250,5 kr", "12,5", "open"]), ",").to_list()
    ['1250.5', '12.5', 'open']
    """
    plain = _normalise_separators(column.set(~column.str.contains(NUMBER[decimal]), None), decimal)
    if plain.null_count() > column.null_count():
        plain = plain.fill_null(_plain_amounts(column.set(plain.is_not_null(), None), decimal))
    return plain.fill_null(column)


def currency_marks(column: pl.Series) -> list[str]:
    """The marks of currency and percent in the first values of a column, each once."""
    values = column.drop_nulls().head(_SAMPLE_SIZE).str
    before = values.extract(rf"^[+-]?\(?({_CURRENCY}){_GAP}?[(+-]?[0-9]")
    marks = before.fill_null(values.extract(rf"[0-9)-]{_GAP}?(?:{_MAGNITUDE}{_GAP}?)?({_CURRENCY}|%)\)?-?$"))
    return sorted(marks.drop_nulls().str.strip_suffix(".").unique())


def has_single_group(column: pl.Series) -> pl.Series:
    """(n,) whether a value has exactly one group of three digits: thousands as well as decimals.

    >>> has_single_group(pl.Series(["1,234", "-12.500", "1,23", "0,123", "950"])).to_list()
    [True, True, False, False, False]
    """
    return column.str.contains(_SINGLE_GROUP)


def is_mostly_doubtful(known: pl.Series, share: float) -> bool:
    """Whether most values would be numbers, as a ``share`` is, if one group of three digits were settled.

    >>> is_mostly_doubtful(pl.Series(["1,234", "950", "n.a."]), 1 / 3)
    True
    """
    groups = float(has_single_group(known).mean() or 0.0)  # type: ignore[arg-type]
    return groups > 0 and share + groups >= _MOST


_MOST = 0.5


def is_separated(column: pl.Series) -> bool:
    """Whether nearly all values are digits with commas or points in places where numbers have them."""
    share = column.drop_nulls().str.contains(_SEPARATED_NUMBER).mean()
    return float(share or 0.0) >= _NEARLY_ALL  # type: ignore[arg-type]


def strip_amount_marks(column: pl.Series) -> pl.Series:
    """The values without marks of currency and percent, brackets of a negative one, and blanks in groups."""
    text = leading_minus(column).str.replace(_ACCOUNTING_NEGATIVE, "-${1}${2}").str.replace(_PERCENT, "")
    bare = text.str.replace(_CURRENCY_BEFORE, "${1}").str.replace(_CURRENCY_AFTER, "${1}")
    grouped = bare.str.contains(_BLANK_GROUPS)
    if not grouped.any():
        return bare
    return bare.str.replace_all("[ '\u2019\u00a0\u202f]", "").zip_with(grouped.fill_null(value=False), bare)
