"""Time inside leadloop is whole seconds in UTC, and is read and written without guessing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.clock import DAY, HOUR, MINUTE, humanise, parse_duration, to_datetime, to_epoch

SECONDS = st.integers(min_value=-2_000_000_000, max_value=7_000_000_000)


@given(SECONDS)
def test_a_second_survives_the_way_to_a_datetime_and_back(seconds):
    assert to_epoch(to_datetime(seconds)) == seconds


@given(SECONDS, st.integers(min_value=-14 * 60, max_value=14 * 60))
def test_the_zone_of_a_datetime_does_not_change_its_second(seconds, minutes):
    elsewhere = to_datetime(seconds).astimezone(timezone(timedelta(minutes=minutes)))
    assert to_epoch(elsewhere) == seconds


def test_a_fraction_is_cut_off_towards_the_past_on_both_sides_of_1970():
    half = timedelta(microseconds=500_000)
    assert to_epoch(datetime(1970, 1, 1, tzinfo=UTC) + half) == 0
    assert to_epoch(datetime(1970, 1, 1, tzinfo=UTC) - half) == -1


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="does not guess"):
        to_epoch(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("15m", 15 * MINUTE),
        ("36h", 36 * HOUR),
        ("90d", 90 * DAY),
        ("2w", 14 * DAY),
        (" 1 d ", DAY),
    ],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "d", "1.5d", "-3d", "3 months", "90days"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="30d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "english", "german"),
    [
        (0, "under a minute", "unter einer Minute"),
        (59, "under a minute", "unter einer Minute"),
        (60, "1 minute", "1 Minute"),
        (HOUR - 1, "59 minutes", "59 Minuten"),
        (HOUR, "1 hour", "1 Stunde"),
        (DAY - 1, "23 hours", "23 Stunden"),
        (DAY, "1 day", "1 Tag"),
        (400 * DAY, "400 days", "400 Tage"),
    ],
)
def test_a_length_of_time_is_told_in_the_largest_unit_that_fits(seconds, english, german):
    assert (humanise(seconds), humanise(seconds, "de")) == (english, german)
