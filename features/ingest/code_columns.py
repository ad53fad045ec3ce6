"""Whole numbers that are no amounts: ids, phone numbers, postcodes, dates without marks, an index of rows.

A model may add up and compare amounts; of these there is nothing to add up, and a reason such as "Phone:
4.9e+12" helps nobody.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import polars as pl

from features.ingest.timestamps import EPOCH_US, EPOCHS, TimeFormat
from features.messages import Message
from features.word_lists import bare_heading, heading_pattern

if TYPE_CHECKING:
    CodeRole = Literal["identifier", "category", "date"]

_INDEX = re.compile(
    r"^(unnamed:? ?\d*|__index_level_\d+__|column_1|index|#|row|(row|line|zeilen?|lfd|laufende)\W*"
    r"(id|index|nr|no|num|number|nummer)\.?)$",
    re.IGNORECASE,
)
_REACHED_BY = r"phone|mobile|mobil(nummer|tel)|telefon|(^|[_\W])(tel|fax|handy|cell)([_\W]|$)"
_PLACE = r"(^|[_\W])(zip|plz|post_?code|postal)([_\W]|$)|(zip|postal|area) ?code|postleitzahl|vorwahl"
_KEY = r"(^|[_\W])(id|ids|uuid|guid|key)$"
_THING = (
    r"(lead|owner|user|account|customer|company|contact|client|record|order|invoice|ticket|campaign|branch|store|"
    r"agent|vat|tax|serial|registration|kunden?|konto|firmen?|kontakt|filial|auftrags?|rechnungs?|steuer|besitzer)"
)
_NUMBERED = rf"{_THING}[_\W]*(number|nummer|nr|no|num)\.?$"
_CODE_WORD = r"(^|[_\W])(code|naics|sic|nace|siret|siren|blz|iban)$"
_CODE = re.compile(f"{_PLACE}|{_KEY}|{_NUMBERED}|{_CODE_WORD}", re.IGNORECASE)
_PHONE = re.compile(_REACHED_BY, re.IGNORECASE)
_CAMEL_KEY = re.compile(r"[a-z](Id|ID|Key)$")
_TIME = re.compile(
    r"date|time|datum|zeit|stamp|(^|_)(at|on|ts)$|created|updated|modified|erstellt|geändert|fecha",
    re.IGNORECASE,
)

NUMBERED_DAY = "%Y%m%d"
"""The format of days that are written as whole numbers, such as 20240229."""

_SHORTEST_PHONE = 100_000
_MIN_VALUES, _NEARLY_ALL, _UNIQUE = 20, 0.99, 0.5
_LONG = 10**8
_ROUND, _MOSTLY_ROUND = 100, 0.5
_FIRST_EPOCH, _LAST_EPOCH = 946_684_800, 4_102_444_800
_FIRST_DAY, _LAST_DAY = 36_526, 73_050
"""The years 2000 to 2100, in seconds since 1970 and in the days of a spreadsheet."""


def find_code_role(known: pl.Series, distinct: int) -> tuple[CodeRole, Message] | None:
    """What a column of numbers is if it is no amount, and why; None where it is one, or no whole numbers.

    >>> find_code_role(pl.Series("owner_id", [48123, 77120] * 9), 2)
    ('category', 'codes: numbers that stand for something')
    >>> find_code_role(pl.Series("visits", [3, 0, 12]), 3) is None
    True
    """
    if _are_too_long(known):
        return _code(distinct / len(known))
    numbers = _whole_numbers(known)
    if numbers is None:
        return None
    share = distinct / len(known)
    if _numbers_rows(known.name, numbers, share):
        return "identifier", Message("columns.row_numbers")
    if _is_code(known.name, numbers):
        return _code(share)
    if time_reason := _time_reason(known.name, numbers, share):
        return "date", time_reason
    return _code(share) if _are_long_codes(numbers) else None


def _is_code(name: str, numbers: pl.Series) -> bool:
    """Whether a name speaks of codes; one that speaks of phones may also count calls."""
    is_phone = _PHONE.search(name) is not None or heading_pattern("phone").search(name)
    if is_phone and (numbers.median() or 0) >= _SHORTEST_PHONE:  # type: ignore[operator]
        return True
    is_code = _CODE.search(name) is not None or _CAMEL_KEY.search(name) is not None
    return is_code or heading_pattern("code").search(bare_heading(name))


def _code(share: float) -> tuple[CodeRole, Message]:
    return "identifier" if share >= _UNIQUE else "category", Message("columns.codes")


def _whole_numbers(known: pl.Series) -> pl.Series | None:
    """The values as whole numbers, none of them negative; None where others are among them."""
    if known.dtype == pl.String:
        if known.str.contains(r"^(?:0|[1-9][0-9]{0,17})$").all():
            return known.cast(pl.Int64)
        if not known.str.contains(r"^(?:[0-9]+(?:\.0)?|[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{1,2})$").all():
            return None
        known = known.cast(pl.Float64)
    if known.dtype == pl.Boolean or not known.dtype.is_numeric():
        return None
    values = known.cast(pl.Float64)
    if not ((values == values.floor()) & (values >= 0) & (values < _TOO_LARGE)).all():
        return None
    return known.cast(pl.Int64)


_TOO_LARGE = 2.0**62


def _are_too_long(known: pl.Series) -> bool:
    """Whether all are whole numbers of 17 digits or more, which no float holds: nobody earns as much."""
    if not known.dtype.is_integer() and not known.dtype.is_decimal():
        return False
    return bool(known.cast(pl.String).str.contains(r"^-?[0-9]{17,}(?:\.0*)?$").all())


def _numbers_rows(name: str, numbers: pl.Series, share: float) -> bool:
    """Whether the numbers are those of rows: by their name, or because they are all from 1 to n."""
    if share < 1 or len(numbers) < _MIN_VALUES:
        return False
    span = int(numbers.max()) - int(numbers.min())  # type: ignore[arg-type]
    return _INDEX.match(name) is not None or span == len(numbers) - 1


def _time_reason(name: str, numbers: pl.Series, share: float) -> Message | None:
    """The sentence on numbers that are dates; None where they are none."""
    if _mostly(_is_calendar_day(numbers)):
        return Message("columns.times_of", pattern="yyyymmdd")
    if len(numbers) >= _MIN_VALUES and _mostly(_is_calendar_month(numbers)):
        return Message("columns.times_of", pattern="yyyymm")
    is_named = _TIME.search(name) is not None
    likely = is_named or (share >= _UNIQUE and len(numbers) >= _MIN_VALUES)
    for pattern, scale in EPOCHS.items():
        # As many digits as those of microseconds have the ids of some networks.
        is_likely = is_named if pattern == EPOCH_US else likely
        if is_likely and _mostly(
            numbers.is_between(_FIRST_EPOCH * scale, _LAST_EPOCH * scale, closed="left")
        ):
            return Message("columns.times_of", pattern=pattern)
    if is_named and _mostly(numbers.is_between(_FIRST_DAY, _LAST_DAY)):
        return Message("columns.times_of", pattern="days of a spreadsheet")
    return None


def detect_number_times(column: pl.Series) -> TimeFormat | None:
    """The format of a column of numbers that its name calls times, since 1970 or as yyyymmdd; else None.

    Numbers that only may be times are ids as well.

    >>> detect_number_times(pl.Series("created_at", [1_709_251_200, 1_709_337_600])).pattern
    'epoch_s'
    """
    known = column.drop_nulls()
    numbers = _whole_numbers(known) if len(known) and _TIME.search(known.name) else None
    if numbers is None or _are_too_long(known) or _is_code(known.name, numbers):
        return None
    reason = _time_reason(known.name, numbers, known.n_unique() / len(known))
    patterns = {name: name for name in EPOCHS} | {"yyyymmdd": NUMBERED_DAY}
    pattern = None if reason is None else patterns.get(str(reason.values["pattern"]))
    return None if pattern is None else TimeFormat(pattern)


def _is_calendar_day(numbers: pl.Series) -> pl.Series:
    year, month, day = numbers // 10_000, numbers // 100 % 100, numbers % 100
    return year.is_between(1990, 2100) & month.is_between(1, 12) & day.is_between(1, 31)


def _is_calendar_month(numbers: pl.Series) -> pl.Series:
    return (numbers // 100).is_between(1990, 2100) & (numbers % 100).is_between(1, 12)


def _mostly(holds: pl.Series) -> bool:
    return float(holds.mean() or 0.0) >= _NEARLY_ALL  # type: ignore[arg-type]


def _are_long_codes(numbers: pl.Series) -> bool:
    """Whether all numbers have as many digits, nine or more, and few are round, as amounts often are."""
    if len(numbers) < _MIN_VALUES or int(numbers.min()) < _LONG:  # type: ignore[arg-type]
        return False
    digits = numbers.cast(pl.String).str.len_chars().n_unique()
    return digits == 1 and float((numbers % _ROUND == 0).mean() or 0.0) < _MOSTLY_ROUND  # type: ignore[arg-type]
