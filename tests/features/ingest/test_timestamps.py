"""Times in every usual spelling become the same seconds, and clocks that change do not confuse them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.clock import to_epoch
from features.ingest.month_names import parse_months
from features.ingest.timestamps import (
    DAY_FIRST,
    EPOCH_MS,
    EPOCH_S,
    EPOCH_US,
    MONTH_FIRST,
    TimeFormat,
    detect_format,
    parse_timestamp,
    parse_timestamps,
)

BERLIN = TimeFormat(zone="Europe/Berlin")
moments = st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.timezones())  # noqa: DTZ001


def seconds(*texts, time_format=None):
    return parse_timestamps(pl.Series(texts, dtype=pl.String), time_format).to_list()


@given(st.lists(moments, max_size=8))
def test_a_time_with_its_own_offset_keeps_it(stamps):
    stamps = [stamp for stamp in stamps if stamp.utcoffset().total_seconds() % 60 == 0]
    texts = [stamp.isoformat() for stamp in stamps]
    assert seconds(*texts, time_format=BERLIN) == [to_epoch(stamp) for stamp in stamps]


@given(st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1)).map(lambda d: d.replace(microsecond=0)))  # noqa: DTZ001
def test_a_single_time_is_read_like_a_column(stamp):
    assert parse_timestamp(str(stamp)) == seconds(str(stamp))[0] == to_epoch(stamp.replace(tzinfo=UTC))


def test_mixed_offsets_in_one_column_are_each_their_own():
    noon = to_epoch(datetime(2024, 7, 1, 12, tzinfo=UTC))
    texts = ["2024-07-01T12:00Z", "2024-07-01 14:00", "2024-07-01T08:00:00.5-0400", "2024-07-01 13:00:00 +01"]
    assert seconds(*texts, time_format=BERLIN) == [noon] * 4


def test_a_time_that_happens_twice_is_the_later_one():
    later = datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert seconds("2024-10-27 02:30", time_format=BERLIN) == [to_epoch(later)]


def test_a_time_that_never_was_is_not_read():
    assert seconds("2024-03-31 02:30", "2024-02-30", "2024-01-01 24:00", time_format=BERLIN) == [None] * 3


def test_a_date_is_its_midnight_in_the_zone():
    assert seconds("2024-07-01", time_format=BERLIN) == seconds("2024-06-30T22:00:00Z")


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (DAY_FIRST, "1.2.2024 9:05"),
        (DAY_FIRST, "01/02/2024, 09:05:00"),
        (MONTH_FIRST, "2/1/2024 09:05"),
        (EPOCH_S, "1706778300"),
        (EPOCH_MS, "1706778300999"),
        (EPOCH_US, "1706778300999999"),
        ("%d %b %Y %H:%M", "01 Feb 2024 09:05"),
        ("%Y%m%dT%H%M%S%z", "20240201T090500+0000"),
    ],
)
def test_every_format_reads_the_same_moment(pattern, text):
    assert seconds(text, time_format=TimeFormat(pattern)) == [1706778300]


def test_a_date_alone_in_a_pattern_of_ones_own_is_read():
    assert seconds("20240201", time_format=TimeFormat("%Y%m%d")) == seconds("2024-02-01")


def test_typed_columns_are_read_too():
    stamps = pl.Series([datetime(2024, 7, 1, 12)])  # noqa: DTZ001
    assert parse_timestamps(stamps, BERLIN).to_list() == seconds("2024-07-01T10:00Z")
    assert parse_timestamps(stamps.dt.replace_time_zone("UTC"), BERLIN).to_list() == seconds(
        "2024-07-01T12:00Z"
    )
    assert parse_timestamps(stamps.dt.date()).to_list() == seconds("2024-07-01")
    assert parse_timestamps(pl.Series([1706778300]), TimeFormat(EPOCH_S)).to_list() == [1706778300]


def test_a_number_is_a_time_only_by_configuration():
    assert parse_timestamps(pl.Series([1706778300])).to_list() == [None]
    assert detect_format(pl.Series(["1706778300"])) is None


def test_the_order_of_day_and_month_is_found_where_it_can_be():
    assert detect_format(pl.Series(["31.12.2023", "1.2.2024"])).pattern == DAY_FIRST
    assert detect_format(pl.Series(["12/31/2023", "2/1/2024"])).pattern == MONTH_FIRST
    assert detect_format(pl.Series(["1/2/2024", "3/4/2024"])) is None
    assert detect_format(pl.Series(["01.02.2024", "03.04.2024"])).pattern == DAY_FIRST


SPELT = {
    "%m/%d/%Y, %I:%M %p": ["1/31/2024, 1:05 PM", "12/1/2024, 12:05 AM"],
    "%d/%m/%Y %I:%M:%S %p": ["31/01/2024 01:05:00 PM"],
    "%B %d, %Y %I:%M %p": ["Jan 31, 2024 03:14 PM", "May 5, 2024 12:00 AM"],
    "%d. %B %Y": ["31. January 2024", "5. May 2024"],
    "%d-%B-%y": ["31-Jan-24"],
    "%d.%m.%y": ["31.01.24", "05.06.24"],
    "%m/%d/%y": ["1/31/24"],
    "%Y/%m/%d %H:%M": ["2024/01/31 13:05"],
}


@pytest.mark.parametrize(("pattern", "texts"), SPELT.items(), ids=SPELT)
def test_the_spellings_of_crms_are_found_out_and_read_as_python_reads_them(pattern, texts):
    result = detect_format(pl.Series(texts))
    assert result.pattern == pattern
    for text in texts:
        written = pattern if "January" in text or "May" in text else pattern.replace("%B", "%b")
        assert seconds(text, time_format=result) == [
            to_epoch(datetime.strptime(text, written).replace(tzinfo=UTC))
        ]


@pytest.mark.parametrize("text", ["1/2/2024, 1:05 PM", "1/2/24"])
def test_day_and_month_that_could_be_swapped_are_not_guessed_in_any_spelling(text):
    assert detect_format(pl.Series([text])) is None


@pytest.mark.parametrize("text", ["12-34-5678", "May be", "Room 12, 2024", "1.2.3.4", "24/7 support"])
def test_words_with_figures_are_no_times(text):
    assert detect_format(pl.Series([text] * 3)) is None


def test_month_names_are_numbers():
    assert parse_months(pl.Series(["Jan", "feb.", "MÄRZ", "Dezember", "x"])).to_list() == [1, 2, 3, 12, None]


@pytest.mark.parametrize(("pattern", "zone"), [("whenever", "UTC"), ("iso", "Mars/Olympus")])
def test_an_unknown_format_or_zone_is_refused(pattern, zone):
    with pytest.raises(ValueError, match=r"whenever|Mars"):
        TimeFormat(pattern, zone)


def test_text_that_is_no_time_is_refused():
    with pytest.raises(ValueError, match="'soon' is no time"):
        parse_timestamp("soon")


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (["01/02/2024"] * 599 + ["31/01/2024"], DAY_FIRST),
        (["01/02/2024"] * 599 + ["01/31/2024"], MONTH_FIRST),
        (["01/02/24"] * 99 + ["31/01/24"], "%d/%m/%y"),
        (["31/01/2024"] * 50 + ["01/02/2024"] * 50, DAY_FIRST),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_one_day_above_twelve_proves_what_comes_first(texts, pattern, share):
    assert detect_format(pl.Series(texts), share=share).pattern == pattern


def test_days_and_months_that_contradict_each_other_prove_nothing():
    texts = ["01/02/2024"] * 900 + ["31/01/2024"] * 3 + ["01/31/2024"] * 2
    assert detect_format(pl.Series(texts)) is None


HALF_DAYS = {"12:00 AM": 0, "12:30 am": 1800, "1:05 PM": 47100, "01:05:07 p.m.": 47107, "11:59PM": 86340}


@pytest.mark.parametrize(("clock", "expected"), HALF_DAYS.items())
def test_an_iso_date_may_have_a_clock_of_twelve_hours(clock, expected):
    column = pl.Series([f"1970-01-01 {clock}", "1970-01-01"])
    assert detect_format(column).pattern == "iso"
    assert parse_timestamps(column).to_list() == [expected, 0]


@pytest.mark.parametrize("clock", ["13:00 PM", "00:30 AM", "1:60 PM"])
def test_a_clock_that_is_none_is_not_read(clock):
    assert parse_timestamps(pl.Series([f"2024-01-01 {clock}"])).to_list() == [None]


@pytest.mark.parametrize(
    "words",
    [
        ["Monday, January 08, 2024", "Friday, March 1, 2024"],
        ["8th January 2024", "1st March 2024"],
        ["8 janvier 2024", "1er mars 2024"],
        ["Montag, den 8. Januar 2024", "Freitag, den 1. M\u00e4rz 2024"],
        ["lunes, 8 de enero de 2024", "viernes, 1 de marzo de 2024"],
        ["08.01.2024 00:00 Uhr", "01.03.2024 00:00 Uhr"],
        ["2024-01-08 00:00:00 GMT", "2024-03-01 00:00:00 GMT"],
    ],
)
def test_words_around_a_date_say_nothing(words):
    column = pl.Series(words * 20)
    time_format = detect_format(column)
    assert time_format is not None
    assert parse_timestamps(column, time_format).to_list() == [1704672000, 1709251200] * 20


@pytest.mark.parametrize("months", [["Januar 2024", "M\u00e4rz 2024"], ["January 2024", "March 2024"]])
def test_a_month_and_a_year_are_no_day_of_an_early_year(months):
    column = pl.Series(months * 20)
    assert parse_timestamps(column, detect_format(column)).to_list() == [1704067200, 1709251200] * 20


def test_a_format_counts_rows_not_different_values():
    words = ["soon", "later"]
    assert detect_format(pl.Series(["2024-01-31"] * 300 + words)).pattern == "iso"
    assert detect_format(pl.Series([f"2024-01-{day:02}" for day in range(1, 29)] + words * 100)) is None
    # 22 rows of one day speak for the day first, one against it; of different values it would be one each.
    proven = ["31/01/2024"] * 22 + ["01/31/2024"] + ["01/02/2024"] * 2000
    assert detect_format(pl.Series(proven)).pattern == DAY_FIRST
