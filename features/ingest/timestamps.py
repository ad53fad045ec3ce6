"""Timestamps as companies write them into whole seconds since 1970 in UTC.

A value with its own offset keeps it; one without is local time in the zone of the format. A local time that
the autumn change of clocks makes ambiguous is read as the later of the two, so that no event is seen before
it happened; one that the spring change skips does not exist and is not read. A date alone is its midnight.

Beyond the usual spellings, a column may have twelve-hour clocks, names of months or short years: each such
format is a strptime pattern, so that the inferred one can be written down in ``leadloop.toml``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl

from features.clock import HOUR, MINUTE
from features.ingest.month_names import translate_months
from features.parsing import without_values

if TYPE_CHECKING:
    from collections.abc import Iterable


_DATES = (
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%B %d, %Y",
    "%B %d %Y",
    "%d %B %Y",
    "%d. %B %Y",
    "%d-%B-%Y",
    "%d-%B-%y",
    "%d/%B/%Y",
    "%Y.%m.%d",
    "%Y年%m月%d日",
)

_WHOLE_MONTHS = ("%Y-%m", "%Y/%m", "%Y.%m", "%m/%Y", "%m.%Y", "%m-%Y", "%B %Y", "%B-%Y", "%Y年%m月")

_GAPS = (" ", ", ")

_CLOCKS = ("%I:%M %p", "%I:%M:%S %p", "%H:%M", "%H:%M:%S")

_PLAUSIBLE = (
    r"(?i)^(?:[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{2,4}|[0-9]{4}年[0-9]{1,2}月"
    r"|[0-9]{4}[./-](?:0[1-9]|1[0-2])$|(?:0[1-9]|1[0-2])[./-][0-9]{4}$|[a-z]{3,9}[ -][0-9]{4}$"
    r"|[0-9]{1,2}[ ./-]{1,2}[a-z]{3,9}[ /-][0-9]{2,4}|[a-z]{3,9} [0-9]{1,2},? [0-9]{4})"
)

_CENTURY = r"(?:^|[^0-9])[0-9]{4}(?:[^0-9]|$)"

_SAMPLE = 200


def candidate_formats(known: pl.Series) -> Iterable[str]:
    """The patterns that most of a sample of a text column's values fit.

    >>> timed, dated = pl.Series(["1/31/2024, 1:05 PM"]), pl.Series(["05-Jan-24"])
    >>> list(candidate_formats(timed)), list(candidate_formats(dated))
    (['%m/%d/%Y, %I:%M %p'], ['%d-%B-%y'])
    """
    sample = translate_months(strip_date_words(known.sample(min(_SAMPLE, len(known)), seed=0)))
    looks_dated = sample.str.contains(_PLAUSIBLE)
    if not len(sample) or not looks_dated.mean() >= _MAJORITY:  # type: ignore[operator]
        return []
    sample = sample.filter(looks_dated)
    year = "%Y" if sample.str.contains(_CENTURY).all() else "%y"
    if (sample.str.contains(":", literal=True).mean() or 0.0) >= _MAJORITY:  # type: ignore[operator]
        patterns = [f"{date}{gap}{clock}" for date in _DATES for gap in _GAPS for clock in _CLOCKS]
    else:
        patterns = [*_DATES, *_WHOLE_MONTHS]
    return [each for each in patterns if year in each and _is_mostly_parsed(sample, each)]


_MAJORITY = 0.5


def _is_mostly_parsed(sample: pl.Series, pattern: str) -> bool:
    # Of "May 2024" a pattern with a day makes the 20th of May in the year 24.
    years = parse_with_format(sample, pattern).dt.year()
    return bool((years >= _FIRST_YEAR).fill_null(value=False).mean() >= _MAJORITY)  # type: ignore[operator]


_FIRST_YEAR = 1000


def parse_with_format(text: pl.Series, pattern: str) -> pl.Series:
    """Datetimes without a zone by a strptime ``pattern``; null where the text does not fit it.

    Months may have their names in any of the languages of ``features.ingest.month_names``; a month without a
    day is its first.
    """
    text = strip_date_words(text)
    if "%B" in pattern or "%b" in pattern:  # %B alone reads long names and short ones
        text, pattern = translate_months(text), pattern.replace("%b", "%B")
    if "%p" in pattern:
        text = text.str.replace(_HALF_OF_DAY, " ${1}M")
    if not has_days(pattern):
        text, pattern = text + " 01", f"{pattern} %d"
    if not any(mark in pattern for mark in _OF_CLOCK):
        return text.str.to_date(pattern, strict=False).cast(pl.Datetime("us"))
    return text.str.to_datetime(pattern, strict=False, time_unit="us")


_OF_CLOCK = ("%H", "%I", "%T", "%R", "%X", "%k", "%s", "%c", "%l", "%r")
_OF_DAY = ("%d", "%e", "%j", "%D", "%F", "%x", "%c", "%v", "%s", "%u", "%w", "%a", "%A")
_HALF_OF_DAY = r"(?i) ?([ap])\.? ?m\.?$"


def has_days(pattern: str) -> bool:
    """Whether times in that format name a day; else they name a month.

    >>> has_days("iso"), has_days("%d.%m.%Y"), has_days("%Y-%m")
    (True, True, False)
    """
    return "%" not in pattern or any(mark in pattern for mark in _OF_DAY)


ISO, DAY_FIRST, MONTH_FIRST = "iso", "day_first", "month_first"

EPOCH_S, EPOCH_MS, EPOCH_US = "epoch_s", "epoch_ms", "epoch_us"

EPOCHS = {EPOCH_S: 1, EPOCH_MS: 1_000, EPOCH_US: 1_000_000}
"""The formats that count since 1970, each with how many of its units are a second."""

NAMED = (ISO, DAY_FIRST, MONTH_FIRST, *EPOCHS)

_DATE = r"(?:[12][0-9]{3}|0001|9999)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"

_HMS = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"

_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,9})?)?"

_OFFSET = r"Z|z|UTC|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9]|[+-](?:0[0-9]|1[0-4])"

_ISO = rf"^({_DATE})(?:[T ]+({_CLOCK})(?: ?({_OFFSET}))?)?$"

_HALF_DAY = r"(?i)[T ]+([0-9]{1,2})(:[0-5][0-9](?::[0-5][0-9])?) ?([ap])\.? ?m\.?$"

_UNIFORM = (
    (rf"^{_DATE}$", "%Y-%m-%d"),
    (rf"^{_DATE} {_HMS}$", "%Y-%m-%d %H:%M:%S"),
    (rf"^{_DATE}T{_HMS}$", "%Y-%m-%dT%H:%M:%S"),
)

"""The usual spellings, which are read several times faster where a whole column keeps to one of them."""

_EPOCH = r"^-?[0-9]{1,16}(?:\.[0-9]*)?$"

_WESTERN = {
    DAY_FIRST: r"^(?P<d>[0-9]{1,2})[./-](?P<m>[0-9]{1,2})[./-](?P<y>[0-9]{4})",
    MONTH_FIRST: r"^(?P<m>[0-9]{1,2})[./-](?P<d>[0-9]{1,2})[./-](?P<y>[0-9]{4})",
}


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """How a column writes its times.

    Attributes:
        pattern: ``"iso"`` (default), ``"day_first"``, ``"month_first"``, ``"epoch_s"``, ``"epoch_ms"``,
            ``"epoch_us"`` or a strptime pattern.
        zone: IANA name of the zone of times without an offset. Default UTC.

    Raises:
        ValueError: there is no such format or zone.
    """

    pattern: str = ISO
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.pattern not in NAMED and "%" not in self.pattern:
            msg = (
                f"time format {self.pattern!r}: write one of {', '.join(NAMED)} or a pattern such as %d.%m.%Y"
            )
            raise ValueError(msg)
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            msg = f"{self.zone!r} is no time zone; write an IANA name such as Europe/Berlin"
            raise ValueError(msg) from error


def parse_timestamps(column: pl.Series, time_format: TimeFormat | None = None) -> pl.Series:
    """Int64 epoch seconds of a column; null where a value is missing or no time in that format.

    >>> parse_timestamps(pl.Series(["1970-01-02", "1970-01-01T01:00:00+01:00", "soon"])).to_list()
    [86400, 0, None]
    """
    time_format = time_format or TimeFormat()
    if isinstance(column.dtype, pl.Datetime | pl.Date):
        return _stamps_to_epoch(column, time_format)
    if column.dtype.is_numeric():
        return _parse_epoch(column.cast(pl.Float64), time_format)
    text = without_values(column).cast(pl.String)
    if text.null_count() == len(text):
        return text.cast(pl.Int64)
    if time_format.pattern in EPOCHS:
        return _parse_epoch(text.set(~text.str.contains(_EPOCH), None).cast(pl.Float64), time_format)
    if "%" in time_format.pattern:
        return _parse_custom(text, time_format)
    has_words = time_format.pattern == ISO
    ordered = text if has_words else _to_iso_order(strip_date_words(text), time_format.pattern)
    return _parse_iso(ordered, time_format.zone, has_words=has_words)


def strip_date_words(text: pl.Series) -> pl.Series:
    """Dates without what says nothing: weekdays, the ending of ordinals, "Uhr"; GMT is UTC.

    >>> dates = pl.Series(["Mon, 5th May 2024", "1er mars 2024", "05.01.2024 13:45 Uhr"])
    >>> strip_date_words(dates).to_list()
    ['5 May 2024', '1 mars 2024', '05.01.2024 13:45']
    """
    if not text.str.contains(_WORDS).any():
        return text
    plain = text.str.replace(_WEEKDAY, "").str.replace(_ORDINAL, "${1}${2}")
    return plain.str.replace(_HOURS, "").str.replace(_GREENWICH, "UTC")


_WEEKDAY = (
    r"(?i)^(?:\p{L}{2,3}\.?, *|(?:mo|di|mi|do|fr|sa|so)\. +|(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|"
    r"montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag|lundi|mardi|mercredi|jeudi|"
    r"vendredi|samedi|dimanche|lunes|martes|mi[ée]rcoles|jueves|viernes|s[áa]bado|domingo|"
    r"(?:segunda|ter[çc]a|quarta|quinta|sexta)(?:-feira)?),? +)(?:den |le )?"
)
_ORDINAL = r"(?i)\b([0-9]{1,2})(?:st|nd|rd|th|er|º|ª)\.?( )"
_HOURS, _GREENWICH = r"(?i) ?(?:Uhr|Hrs?\.?)$", r"GMT$"
_WORDS = r"(?i)^\p{L}|[0-9](?:st|nd|rd|th|er|º|ª)\.? |uhr$|hrs?\.?$|gmt$"


def _parse_epoch(value: pl.Series, time_format: TimeFormat) -> pl.Series:
    scale = EPOCHS.get(time_format.pattern)
    if scale is None:
        return value.clear(len(value)).cast(pl.Int64)
    known = value.set(~value.is_finite(), None)
    return (known / scale).floor().cast(pl.Int64, strict=False)


def _stamps_to_epoch(column: pl.Series, time_format: TimeFormat) -> pl.Series:
    stamp = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column
    if getattr(stamp.dtype, "time_zone", None) is None:
        stamp = _localise(stamp, time_format.zone)
    return stamp.dt.epoch("s")


def _localise(local: pl.Series, zone: str) -> pl.Series:
    return local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")


def _to_iso_order(text: pl.Series, pattern: str) -> pl.Series:
    groups = text.str.extract_groups(_WESTERN[pattern]).struct.unnest()
    date = groups.select(
        pl.concat_str("y", pl.col("m").str.zfill(2), pl.col("d").str.zfill(2), separator="-")
    ).to_series()
    rest = (
        text.str.replace(_WESTERN[pattern], "")
        .str.replace(r"^,? +([0-9]):", " 0${1}:")
        .str.replace(r"^, ", " ")
    )
    return date + rest


def _parse_iso(text: pl.Series, zone: str, *, has_words: bool) -> pl.Series:
    for pattern, strptime_pattern in _UNIFORM:
        if text.str.contains(pattern).all():
            return _localise(
                text.str.to_datetime(strptime_pattern, strict=False, time_unit="us"), zone
            ).dt.epoch("s")
    parts = text.str.extract_groups(_ISO).struct.unnest()
    if has_words and parts["1"].null_count() > text.null_count():
        parts = _to_whole_day(strip_date_words(text)).str.extract_groups(_ISO).struct.unnest()
    clock = (parts["2"].fill_null("00:00") + ":00").str.slice(0, len("00:00:00"))
    local = parts["1"] + "T" + clock
    stamp = local.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us")
    has_offset = parts["3"].is_not_null()
    naive = _localise(stamp.set(has_offset, None), zone).dt.epoch("s")
    return (stamp.dt.epoch("s") - _offset(parts["3"])).zip_with(has_offset, naive)


def _to_whole_day(text: pl.Series) -> pl.Series:
    """ISO times with a clock of twelve hours as such with one of twenty-four; those of 0 or 13 hours stay."""
    if not text.str.contains(_HALF_DAY).any():
        return text
    parts = text.str.extract_groups(_HALF_DAY).struct.unnest()
    hour = parts["1"].cast(pl.Int64)
    whole = hour % 12 + 12 * (parts["3"].str.to_lowercase() == "p").cast(pl.Int64)
    clock = " " + whole.cast(pl.String).str.zfill(2) + parts["2"]
    changed = text.str.replace(_HALF_DAY, "") + clock
    is_half = hour.is_between(1, 12).fill_null(value=False)
    return changed.zip_with(is_half, text)


def _offset(text: pl.Series) -> pl.Series:
    """Seconds east of Greenwich; ``Z`` and ``UTC`` have no digits and are 0."""
    digits = text.str.replace_all(r"[^0-9]", "").str.pad_end(4, "0")
    seconds = digits.str.slice(0, 2).cast(pl.Int64) * HOUR + digits.str.slice(2, 2).cast(pl.Int64) * MINUTE
    return seconds.zip_with(~text.str.starts_with("-"), -seconds)


def _parse_custom(text: pl.Series, time_format: TimeFormat) -> pl.Series:
    if "%z" in time_format.pattern:
        return text.str.to_datetime(
            time_format.pattern, strict=False, time_unit="us", time_zone="UTC"
        ).dt.epoch("s")
    return _localise(parse_with_format(text, time_format.pattern), time_format.zone).dt.epoch("s")


FIRST_DATE, LAST_DATE = -2_208_902_400, 253_402_128_000


def is_placeholder(seconds: pl.Series) -> pl.Series:
    """(n,) whether a time is before 1900-01-02, on the last day of the year 9999, or 0: it stands for none.

    Dynamics, Access, Excel and SAP write such dates where there is no date, programs of Unix write the 0 as
    1970-01-01, and no lead is as old.

    >>> dates = pl.Series(["1900-01-01", "1899-12-30", "9999-12-31 23:59:59", "1900-01-03", "1970-01-01"])
    >>> is_placeholder(parse_timestamps(dates)).to_list()
    [True, True, True, False, True]
    """
    return (seconds < FIRST_DATE) | (seconds >= LAST_DATE) | (seconds == 0)


def parse_known_times(column: pl.Series, time_format: TimeFormat | None = None) -> pl.Series:
    """As ``parse_timestamps``, with null where a date stands for none."""
    seconds = parse_timestamps(column, time_format)
    return seconds.set(is_placeholder(seconds), None)


def parse_timestamp(value: str | int, time_format: TimeFormat | None = None) -> int:
    """One value as ``parse_timestamps`` reads it.

    Raises:
        ValueError: it is no time in that format.

    >>> parse_timestamp("2024-02-29"), parse_timestamp("2024-07-01 12:00", TimeFormat(zone="Europe/Berlin"))
    (1709164800, 1719828000)
    """
    seconds = parse_timestamps(pl.Series([value]), time_format).item()
    if seconds is None:
        msg = f"{value!r} is no time; write it like 2024-02-29T13:45:00+01:00"
        raise ValueError(msg)
    return int(seconds)


NEARLY_ALL = 0.99


def detect_format(column: pl.Series, zone: str = "UTC", share: float = NEARLY_ALL) -> TimeFormat | None:
    """The format in which at least ``share`` of a text column's values are times; None where there is none.

    Numbers are never taken for times. Of two formats that fit, the one that some values prove is taken: a day
    above 12 cannot be a month. Where none does, the column is read with the day first if its dates are
    written with dots, and not at all otherwise.
    """
    if isinstance(column.dtype, pl.Datetime | pl.Date):
        return TimeFormat(ISO, zone)
    if column.dtype != pl.String:
        return None
    fits = _fitting_formats(column.drop_nulls(), zone, share)
    return fits[0] if len(fits) == 1 else None


def is_day_month_ambiguous(column: pl.Series, share: float = NEARLY_ALL) -> bool:
    """Whether a text column holds dates in which day and month could be swapped.

    >>> either, european = pl.Series(["01/02/2024", "03/04/2024"]), pl.Series(["01/02/2024", "31/01/2024"])
    >>> is_day_month_ambiguous(either), is_day_month_ambiguous(european)
    (True, False)
    """
    return column.dtype == pl.String and len(_fitting_formats(column.drop_nulls(), "UTC", share)) > 1


def _fitting_formats(known: pl.Series, zone: str, share: float) -> list[TimeFormat]:
    """The formats in which the values are times; dates written with dots have the day first."""
    values, rows = _count_values(known)
    if not _share_of_rows(values.str.contains("[0-9]"), rows) >= share:
        return []  # no date is without digits
    usual = _filter_fitting(values, rows, (ISO, DAY_FIRST, MONTH_FIRST), zone, share)
    fits = usual or _filter_fitting(values, rows, candidate_formats(known), zone, share)
    if len(fits) > 1 and values.str.contains(_DOTTED).all():
        return fits[:1]
    return _proven_formats(values, rows, fits)


def _count_values(known: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The different values of a column and how many rows have each: a category has a few, read once each."""
    counted = known.alias("value").value_counts(name="rows")
    return counted["value"], counted["rows"].cast(pl.Int64)


def _share_of_rows(flags: pl.Series, rows: pl.Series) -> float:
    """The share of rows whose value has the flag; 0 of none."""
    return _count_rows(flags, rows) / int(rows.sum()) if len(rows) else 0.0


def _count_rows(flags: pl.Series, rows: pl.Series) -> int:
    """How many rows have a value with the flag."""
    return int(rows.filter(flags).sum())


_DOTTED = r"^[0-9]{1,2}\.[0-9]{1,2}\."
_CONTRADICTED = 0.05


def _proven_formats(values: pl.Series, rows: pl.Series, fits: list[TimeFormat]) -> list[TimeFormat]:
    """The format that reads values which no other does, if hardly any value speaks for another; else all."""
    if len(fits) < len({"day", "month"}):
        return fits
    parsed = [parse_timestamps(values, time_format).is_not_null() for time_format in fits]
    best = max(range(len(fits)), key=lambda i: _count_rows(parsed[i], rows))
    rivals = [other for i, other in enumerate(parsed) if i != best]
    proofs = [
        (_count_rows(parsed[best] & ~rival, rows), _count_rows(rival & ~parsed[best], rows))
        for rival in rivals
    ]
    proven = all(proof and against <= _CONTRADICTED * proof for proof, against in proofs)
    return [fits[best]] if proven else fits


def _filter_fitting(
    values: pl.Series, rows: pl.Series, patterns: Iterable[str], zone: str, share: float
) -> list[TimeFormat]:
    formats = (TimeFormat(name, zone) for name in patterns)
    return [
        time_format
        for time_format in formats
        if _share_of_rows(parse_timestamps(values, time_format).is_not_null(), rows) >= share
    ]
