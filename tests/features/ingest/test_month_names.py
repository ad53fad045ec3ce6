"""Months by name, in the languages that CRMs write, and dates that are whole months."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from spelled_tables import MONTHS

from features.clock import to_epoch
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping, HistoryMapping, TableMapping
from features.ingest.month_names import order_months, parse_months
from features.ingest.read_history import read_history
from features.ingest.timestamps import MONTH_FIRST, TimeFormat, detect_format, parse_timestamps


def first_days(year=2024):
    return [to_epoch(datetime(year, month, 1, tzinfo=UTC)) for month in range(1, 13)]


@pytest.mark.parametrize("language", MONTHS)
def test_every_month_of_every_language_is_known(language):
    names = MONTHS[language].split()
    assert parse_months(pl.Series(names)).to_list() == list(range(1, 13))
    for template in ("1 {} 2024", "01-{}-2024", "1 de {} de 2024", "1. {} 2024", "{} 1, 2024"):
        column = pl.Series([template.format(name) for name in names] * 3)
        time_format = detect_format(column)
        assert time_format is not None, template
        assert parse_timestamps(column, time_format).to_list() == first_days() * 3


@pytest.mark.parametrize(
    "template", ["2024-{:02}", "2024/{:02}", "2024.{:02}", "{:02}/2024", "{:02}.2024", "2024年{}月"]
)
def test_a_month_with_its_year_is_a_date(template):
    column = pl.Series([template.format(month) for month in range(1, 13)])
    time_format = detect_format(column)
    assert time_format is not None
    assert parse_timestamps(column, time_format).to_list() == first_days()


def test_what_is_dated_by_a_month_happened_at_its_end_at_the_latest(write):
    leads = TableMapping(file=write("lead_id,created_at\na,2024-01\n"), time_format="%Y-%m")
    calls = write("lead_id,occurred_at,kind\na,2024-01,call\n", "calls.csv")
    stages = write("lead_id,occurred_at,stage\na,2024-02,sql\n", "stages.csv")
    history = read_history(
        HistoryMapping(
            leads,
            touchpoints=(TableMapping(file=calls, time_format="%Y-%m"),),
            transitions=(TableMapping(file=stages, time_format="%Y-%m"),),
        ),
        2**40,
    ).history
    january, february, march = first_days()[:3]
    assert history.leads["created_at"].to_list() == [january]
    assert history.touchpoints["occurred_at"].to_list() == [february - 1]
    assert history.transitions["occurred_at"].to_list() == [march - 1]


def test_months_without_a_year_go_on_over_new_year(write):
    months = ["Nov", "Dez", "Januar", "Feb", "März"]
    rows = "".join(f"{i},{months[i % 5]},{'yes' if i % 2 else 'no'}\n" for i in range(20))
    export = read_flat(write(f"id,month,won\n{rows}"), FlatMapping(id="id", label="won", time="month"))
    assert export.order.to_list() == [11, 12, 13, 14, 15] * 4
    assert any(
        "months without a year: they are taken to follow each other from November" in n
        for n in export.notices
    )


@pytest.mark.parametrize(
    ("months", "first"), [([1, 2, 3], 1), ([12, 1], 12), ([6], 6), (list(range(1, 13)), 1), ([10, 11, 2], 10)]
)
def test_the_longest_gap_lies_before_the_first_month(months, first):
    assert order_months(pl.Series(months))[1] == first


@pytest.mark.parametrize("clock", ["3:20 a. m.", "3:20 p.\u00a0m.", "03:20:00.000"])
def test_dots_of_a_clock_are_no_dots_of_a_date(clock):
    """Dates with dots have the day first; those with slashes may be either, whatever follows them."""
    either = pl.Series([f"{day:02}/05/2024 {clock}" for day in range(1, 13)])
    assert detect_format(either) is None


def test_slashes_with_half_days_are_read_where_the_days_prove_them():
    column = pl.Series([f"05/{day:02}/2024 3:20 p. m." for day in range(1, 29)])
    assert detect_format(column) in {TimeFormat(MONTH_FIRST), TimeFormat("%m/%d/%Y %I:%M %p")}
