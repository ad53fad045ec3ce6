"""What is read out of a cell with a date or a time of day: weekday, month, time of day, distances.

One definition for a file and for a request, in plain Python, on a cell as ``features.extraction`` writes it.
A date without a clock is its midnight, a time without an offset is UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from features.clock import DAY, HOUR, MINUTE, to_datetime

if TYPE_CHECKING:
    from collections.abc import Callable

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?)?"
)
_NUMBERED = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})(?:,? (\d{1,2}):(\d{2})(?::(\d{2}))?)?")
_ORDERS = {"day_first": (1, 0), "month_first": (0, 1)}
DATE_FORMATS = ("iso", *_ORDERS)
"""The formats that dates can be read in: as ``features.ingest.timestamps`` names them."""


def read_date(text: str | None, pattern: str) -> int | None:
    """Epoch seconds of a cell; None where it is missing or no date.

    Args:
        text: The cell.
        pattern: How the column writes dates; a cell in ISO 8601 is read in any case, as requests have them.

    >>> read_date("1970-01-02", "day_first"), read_date("02.01.1970 00:00", "day_first")
    (86400, 86400)
    >>> read_date("soon", "iso") is None
    True
    """
    if text is None:
        return None
    try:
        if _ISO.fullmatch(text):
            return _to_seconds(
                datetime.fromisoformat(text.replace("UTC", "Z").replace(" Z", "Z").replace(" +", "+"))
            )
        match = _NUMBERED.fullmatch(text) if pattern in _ORDERS else None
        if match is None:
            return None
        month, day = (int(match[1 + place]) for place in _ORDERS[pattern])
        hour, minute, second = (int(part or 0) for part in match.groups()[3:])
        return _to_seconds(datetime(int(match[3]), month, day, hour, minute, second, tzinfo=UTC))
    except ValueError:
        return None


def _to_seconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int((aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() // 1)


def weekday_of(seconds: int) -> str:
    """The weekday of a moment in UTC.

    >>> weekday_of(0)
    'thursday'
    """
    return WEEKDAYS[(seconds // DAY + 3) % 7]


def month_of(seconds: int) -> str:
    """The month of a moment in UTC.

    >>> month_of(31 * 86400)
    'february'
    """
    moment: date = to_datetime(seconds)
    return MONTHS[moment.month - 1]


def date_part(pattern: str, name: Callable[[int], str]) -> Callable[[str | None], str | None]:
    """What reads a weekday or a month out of a cell."""

    def extract(text: str | None) -> str | None:
        seconds = read_date(text, pattern)
        return None if seconds is None else name(seconds)

    return extract


_CLOCK = re.compile(
    r"(\d{1,2}):([0-5]\d)(?::([0-5]\d)(?:[.,]\d{1,9})?)?(?: ?(?:([ap])\.?m\.?|uhr|h|z|utc))?", re.IGNORECASE
)
_NOON = 12


def read_clock(text: str | None) -> float | None:
    """Whole seconds since midnight of a cell; None where it is missing or no time of day.

    >>> read_clock("14:30"), read_clock("2:30 pm"), read_clock("14:30:05"), read_clock("35:10")
    (52200.0, 52200.0, 52205.0, None)
    """
    match = None if text is None else _CLOCK.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    if half := match[4]:
        if not 1 <= hour <= _NOON:
            return None
        hour = hour % _NOON + _NOON * (half.lower() == "p")
    seconds = hour * HOUR + minute * MINUTE + second
    return float(seconds) if seconds < DAY else None


def write_clock(seconds: float) -> str:
    """A time of day as people write it; seconds only where there are some.

    >>> write_clock(52_200.0), write_clock(65.0)
    ('14:30', '00:01:05')
    """
    minutes, second = divmod(int(seconds), MINUTE)
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{second:02}" if second else text


def clock_lag(start: str | None, end: str | None) -> float | None:
    """The seconds from one time of day to another of the same row, below zero where that is earlier."""
    first, last = read_clock(start), read_clock(end)
    return None if first is None or last is None else last - first


def lag_between(start: str | None, start_pattern: str, end: str | None, end_pattern: str) -> float | None:
    """The seconds from one date to another, in whole days where either has no clock.

    Args:
        start: A cell.
        start_pattern: How its column writes dates.
        end: A cell of another column of the same row.
        end_pattern: How that column writes dates.

    Returns:
        The seconds, below zero where ``end`` is before ``start``; None where either is missing.

    >>> lag_between("2024-01-31", "iso", "2024-02-02 13:45", "iso")
    172800.0
    """
    first, last = read_date(start, start_pattern), read_date(end, end_pattern)
    if first is None or last is None:
        return None
    if first % DAY and last % DAY:
        return float(last - first)
    return float((last // DAY - first // DAY) * DAY)
