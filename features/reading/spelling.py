"""How a column may write its times, beyond the usual ways: twelve-hour clocks, names of months, short years.

Each is a strptime pattern, so that what was found out can be written down in ``leadloop.toml``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

_DATES = (
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%B %d, %Y",
    "%B %d %Y",
    "%d %B %Y",
    "%d. %B %Y",
    "%d-%B-%Y",
    "%d-%B-%y",
)
_GAPS = (" ", ", ")
_CLOCKS = ("%I:%M %p", "%I:%M:%S %p", "%H:%M", "%H:%M:%S")
_PLAUSIBLE = (
    r"(?i)^(?:[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{2,4}"
    r"|[0-9]{1,2}[ .-]{1,2}[a-z]{3,9}[ -][0-9]{2,4}|[a-z]{3,9} [0-9]{1,2},? [0-9]{4})"
)
_CENTURY = r"(?:^|[^0-9])[0-9]{4}(?:[^0-9]|$)"
_SAMPLE = 200


def candidates(known: pl.Series) -> Iterable[str]:
    """The patterns that may fit the values of a text column, judged by some of them.

    >>> list(candidates(pl.Series(["1/31/2024, 1:05 PM"]))), list(candidates(pl.Series(["05-Jan-24"])))
    (['%m/%d/%Y, %I:%M %p'], ['%d-%B-%y'])
    """
    some = known.sample(min(_SAMPLE, len(known)), seed=0)
    if not len(some) or not some.str.contains(_PLAUSIBLE).mean() >= _MOSTLY:  # type: ignore[operator]
        return []
    year = "%Y" if some.str.contains(_CENTURY).all() else "%y"
    dates = [date for date in _DATES if date.endswith(year) or date.startswith(year)]
    timed = [f"{date}{gap}{clock}" for date in dates for gap in _GAPS for clock in _CLOCKS]
    return [written for written in (*dates, *timed) if _fits(some, written)]


_MOSTLY = 0.5


def _fits(some: pl.Series, written: str) -> bool:
    return bool(read(some, written).is_not_null().mean() >= _MOSTLY)  # type: ignore[operator]


def read(text: pl.Series, written: str) -> pl.Series:
    """Datetimes without a zone; null where the text is not written so."""
    if "%I" not in written and "%H" not in written:
        return text.str.to_date(written, strict=False).cast(pl.Datetime("us"))
    return text.str.to_datetime(written, strict=False, time_unit="us")
