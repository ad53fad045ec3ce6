"""Dates of a flat file as attributes: how long before the row's time, how far apart, weekday and month.

Only dates that were there at the row's time: a column with a date after it was filled later, says so, and
is left out whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import polars as pl

from features.clock import DAY
from features.date_parts import DATE_FORMATS, read_date
from features.extraction import ColumnExtraction, cell_texts
from features.ingest.column_extractions import ExtractedColumns, extracted_role
from features.ingest.timestamps import detect_format, parse_timestamps
from features.messages import Message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from features.ingest.column_roles import ColumnRole

_MOST_COLUMNS = 6
# Months say something of a lead only where they come again; else they are another name of the time.
_YEARS = 2 * 365 * DAY


@dataclass(frozen=True, eq=False)
class RowTime:
    """The column with the time of each row.

    Attributes:
        column: Its name.
        pattern: How it writes dates.
        seconds: (n,) epoch seconds of the rows.
    """

    column: str
    pattern: str
    seconds: pl.Series


def row_time(column: str | None, frame: pl.DataFrame) -> RowTime | None:
    """The time of the rows; None where no column has it, or in a format that requests cannot have."""
    if column is None or (pattern := _readable_format(frame[column])) is None:
        return None
    return RowTime(column, pattern, _seconds(frame[column], pattern))


def is_of_dates(extraction: ColumnExtraction) -> bool:
    """Whether it is a date that is read, or two times of day of a row."""
    return extraction.part.startswith("date_") or extraction.part == "clock_lag"


def find_date_extractions(
    frame: pl.DataFrame, roles: tuple[ColumnRole, ...], time: RowTime | None, excluded: Collection[str]
) -> ExtractedColumns:
    """Find what can be read out of the dates of a flat file, and how far apart its times of day are.

    Args:
        frame: The rows, clean, with the column of their time.
        roles: What each free column was taken for, and what is read out of them.
        time: The time of the rows. Without it nobody knows which dates were there, so that none is read.
        excluded: Columns that are kept out.

    Returns:
        The weekday of each column of dates, its month, how long before the row's time it was, and how far
        apart each two are; the same of each two columns with times of day, which need no time of the row.
    """
    dates = ExtractedColumns((), ()) if time is None else _find_dates(frame, roles, time, excluded)
    lags = tuple(each for each in _clock_lags(roles, excluded) if each.name not in frame.columns)
    return ExtractedColumns(
        (*dates.extractions, *lags), (*dates.roles, *map(extracted_role, lags)), dates.notices
    )


def _clock_lags(roles: tuple[ColumnRole, ...], excluded: Collection[str]) -> Iterator[ColumnExtraction]:
    """How far apart the times of day of each two columns are."""
    extractions = (role.extraction for role in roles if role.extraction is not None)
    clocks = [
        each.column for each in extractions if each.part == "clock_time" and each.column not in excluded
    ]
    for start, end in combinations(clocks[:_MOST_COLUMNS], 2):
        yield ColumnExtraction(start, "clock_lag", other=end)


def _find_dates(
    frame: pl.DataFrame, roles: tuple[ColumnRole, ...], time: RowTime, excluded: Collection[str]
) -> ExtractedColumns:
    formats = dict[str, str]()
    notices = list[Message]()
    for role in roles:
        if role.role != "date" or role.by == "user" or role.column in excluded:
            continue
        pattern = _readable_format(frame[role.column])
        if pattern is None or len(formats) == _MOST_COLUMNS:
            continue
        later = _count_later(_seconds(frame[role.column], pattern), time.seconds)
        if later:
            notices.append(Message("columns.dates_later", n=later, column=role.column, time=time.column))
        else:
            formats[role.column] = pattern
    names = {*frame.columns}
    extractions = [each for each in _extractions(frame, formats, time) if each.name not in names]
    for column in formats:
        notices.append(Message("columns.notice_dates", column=column, time=time.column))
    return ExtractedColumns(tuple(extractions), tuple(map(extracted_role, extractions)), tuple(notices))


def known_date_extractions(
    extractions: tuple[ColumnExtraction, ...], frame: pl.DataFrame
) -> ExtractedColumns:
    """What a model reads out of dates, of the columns that are there."""
    own = tuple(each for each in extractions if is_of_dates(each) and set(each.columns) <= set(frame.columns))
    return ExtractedColumns(own, tuple(map(extracted_role, own)))


def _extractions(
    frame: pl.DataFrame, formats: Mapping[str, str], time: RowTime
) -> Iterator[ColumnExtraction]:
    for column, pattern in formats.items():
        yield ColumnExtraction(column, "date_age", mark=pattern, other=time.column, other_mark=time.pattern)
        yield ColumnExtraction(column, "date_weekday", mark=pattern)
        seconds = _seconds(frame[column], pattern).drop_nulls().to_numpy()
        if len(seconds) and seconds.max() - seconds.min() >= _YEARS:
            yield ColumnExtraction(column, "date_month", mark=pattern)
    for start, end in combinations(formats, 2):
        yield ColumnExtraction(start, "date_lag", mark=formats[start], other=end, other_mark=formats[end])


def _count_later(dates: pl.Series, times: pl.Series) -> int:
    """How many dates are after the time of their row; where either has no clock, by the day."""
    both = pl.DataFrame({"date": dates, "time": times}).drop_nulls()
    has_clocks = (pl.col("date") % DAY != 0) & (pl.col("time") % DAY != 0)
    later = (
        pl.when(has_clocks)
        .then(pl.col("date") > pl.col("time"))
        .otherwise(pl.col("date") // DAY > pl.col("time") // DAY)
    )
    return int(both.select(later.sum()).item() or 0)


def _readable_format(column: pl.Series) -> str | None:
    """The format of a column whose every date is read alike in a file and in a request; None for no such."""
    detected = detect_format(column)
    if detected is None or detected.pattern not in DATE_FORMATS:
        return None
    expected = parse_timestamps(column, detected)
    if expected.null_count() == len(expected):
        return None
    return detected.pattern if _seconds(column, detected.pattern).equals(expected.rename("")) else None


def _seconds(column: pl.Series, pattern: str) -> pl.Series:
    """(n,) epoch seconds of the cells, read as a request's are."""
    texts = cell_texts(column)
    cells = texts.drop_nulls().unique()
    values = pl.Series([read_date(cell, pattern) for cell in cells], dtype=pl.Int64)
    return texts.replace_strict(cells, values, default=None, return_dtype=pl.Int64).rename("")
