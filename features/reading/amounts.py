"""Numbers as a CRM prints them for people: ``$1,234.50``, ``1.234,50 €``, ``1'234.50``, ``5 %``, ``(80)``.

Only what can mean one thing is read. A mark of currency settles what one group of three digits is (nobody
writes a tenth of a cent), and so do two different separators in one number; a bare ``1,234`` stays unread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.reading.parsing import NUMBER, numbers

if TYPE_CHECKING:
    from features.reading.parsing import Decimal

_CURRENCY = "(?:US\\$|[€$£¥₹]|EUR|USD|GBP|CHF)"
_GAP = "[ \u00a0\u202f]"
_BEFORE, _AFTER = rf"^([+-]?){_CURRENCY}{_GAP}?", rf"{_GAP}?{_CURRENCY}$"
_OWED = rf"^({_CURRENCY}?{_GAP}?)\(([^()+-]+)\)$"
_PERCENT = rf"{_GAP}?%$"
_SETTLED = r"['\u2019]|,.*\.|\..*,"
_GROUPS = "[+-]?(?:0|[1-9][0-9]{{0,2}}(?:[{group}'\u2019 \u00a0\u202f][0-9]{{3}})+|[1-9][0-9]*)"
_WRITTEN = {
    point: f"^{_GROUPS.format(group=group)}(?:{mark}[0-9]{{1,2}})?$"
    for point, group, mark in ((".", ",", r"\."), (",", ".", ","))
}
_SEPARATED = "^[+-]?(?:[0-9]+(?:[.,][0-9]+)?|[0-9]{1,3}(?:[.,][0-9]{3})+)$"
_ONE_GROUP = r"^\(?[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}\)?$"
_NEARLY_ALL = 0.99
_SHOWN = 1000


def amounts(column: pl.Series, decimal: Decimal = ".") -> pl.Series:
    """Float64 as ``numbers`` has it, and where that reads nothing, what a mark or two separators settle.

    In brackets stands what an accountant takes off.

    >>> amounts(pl.Series(["12.5", "$1,234", "1.234,50 EUR", "1'234.50", "7 %", "1,234"])).to_list()
    [12.5, 1234.0, 1234.5, 1234.5, 7.0, None]
    >>> amounts(pl.Series(["(1,234.00)", "($80)", "€ (7)", "(1,234)", "(-1)"])).to_list()
    [-1234.0, -80.0, -7.0, None, None]
    """
    value = numbers(column, decimal)
    if column.dtype != pl.String or value.null_count() == column.null_count():
        return value
    rest = column.set(value.is_not_null(), None).str.replace(_OWED, "-${1}${2}")
    found = value.fill_null(numbers(rest.str.replace(_PERCENT, ""), decimal))
    return found.fill_null(_settled(rest))


def _settled(text: pl.Series) -> pl.Series:
    bare = text.str.replace(_BEFORE, "${1}").str.replace(_AFTER, "")
    bare = bare.set((bare == text) & ~text.str.contains(_SETTLED), None)
    found = pl.Series(text.name, [None], dtype=pl.Float64).new_from_index(0, len(text))
    for mark, written in _WRITTEN.items():
        one = bare.set(~bare.str.contains(written), None)
        plain = one.str.replace_all(rf"[^0-9{mark}+-]", "").str.replace(",", ".", literal=True)
        found = found.fill_null(plain.cast(pl.Float64, strict=False))
    return found


def units(column: pl.Series) -> list[str]:
    """The marks of currency and percent in the first values of a column, each once."""
    marks = column.drop_nulls().head(_SHOWN).str.extract(rf"({_CURRENCY}|%)")
    return sorted(marks.drop_nulls().unique())


def one_group(column: pl.Series) -> pl.Series:
    """Where a value is one that could be thousands as well as decimals.

    >>> one_group(pl.Series(["1,234", "-12.500", "1,23", "0,123", "950"])).to_list()
    [True, True, False, False, False]
    """
    return column.str.contains(_ONE_GROUP)


def doubtful(column: pl.Series, decimal: Decimal) -> bool:
    """Whether the values may be numbers whose separator could mark thousands as well as decimals.

    Where commas mark decimals ``12.500`` reads as a plain number; beside ``950`` it hardly is one.
    """
    text = column.drop_nulls()
    if decimal == "." or not text.str.contains(NUMBER[decimal]).all():
        share = text.str.contains(_SEPARATED).mean()
        return float(share or 0.0) >= _NEARLY_ALL  # type: ignore[arg-type]
    dotted = text.filter(text.str.contains(".", literal=True))
    whole = text.str.contains("^[0-9]+$")
    return bool(len(dotted) and whole.any() and dotted.str.contains(r"^[1-9][0-9]{0,2}\.[0-9]{3}$").all())
