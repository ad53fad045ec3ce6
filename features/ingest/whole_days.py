"""Dates without a time: the whole day, so that what is dated by one happened at its end at the latest."""

from __future__ import annotations

import polars as pl

from features.ingest.timestamps import EPOCHS, ISO, TimeFormat, has_days, parse_timestamps

_CLOCK = ("%H", "%I", "%T", "%R", "%X", "%k", "%s", "%c")


def is_date_only(column: pl.Series, time_format: TimeFormat) -> pl.Series:
    """Whether each value is a date without a time.

    >>> is_date_only(pl.Series(["2024-01-05", "2024-01-05 00:00"]), TimeFormat()).to_list()
    [True, False]
    """
    if column.dtype == pl.Date:
        return column.is_not_null()
    pattern = time_format.pattern
    if column.dtype != pl.String or pattern in EPOCHS:
        return pl.Series([False]).new_from_index(0, len(column))
    if "%" in pattern:
        has_clock = any(mark in pattern for mark in _CLOCK)
        return column.is_null() & column.is_not_null() if has_clock else column.is_not_null()
    return (~column.str.contains(":", literal=True)).fill_null(value=False)


def day_ends(moments: pl.Series, time_format: TimeFormat) -> pl.Series:
    """The last second of the day on which each moment lies, where the table's clocks are; or of the month.

    Where the format names no day, a date is the whole month.

    >>> day_ends(pl.Series([0, 86399, 86400]), TimeFormat()).to_list()
    [86399, 86399, 172799]
    """
    stamps = pl.from_epoch(moments, time_unit="s").dt.replace_time_zone("UTC")
    span = "1d" if has_days(time_format.pattern) else "1mo"
    next_day = stamps.dt.convert_time_zone(time_format.zone).dt.date().dt.offset_by(span)
    return parse_timestamps(next_day, TimeFormat(ISO, time_format.zone)) - 1
