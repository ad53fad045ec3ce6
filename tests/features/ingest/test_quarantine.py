"""A quarantine counts, sums up, and is written down whole or not at all."""

from __future__ import annotations

import polars as pl
import pytest

from features.ingest.availability import history_availability, static_availability
from features.ingest.column_roles import ColumnRole
from features.ingest.quarantine import (
    QUARANTINE_SCHEMA,
    Quarantine,
    TooManyBadRowsError,
    enforce_bad_row_limit,
    raise_above_limit,
    write_quarantine,
)

ENTRY = {"table": "leads", "file": "a.csv", "row": 7, "column": "born", "value": "soon", "reason": "no time"}


def quarantine(count=1, rows=1):
    return Quarantine(pl.DataFrame([ENTRY] * count, schema=QUARANTINE_SCHEMA), rows)


def test_two_quarantines_add_up():
    pair = quarantine(1, 1) + quarantine(2, 1)
    assert (len(pair), pair.rows, pair.counts) == (3, 2, {("leads", "no time"): 3})
    assert pair.summary() == "leads: no time (3, in born)"


def test_a_reason_names_the_three_columns_at_fault_most():
    cells = {"a": 1, "b": 4, "c": 2, "d": 3, "": 9}
    rows = [ENTRY | {"column": name} for name, count in cells.items() for _ in range(count)]
    result = Quarantine(pl.DataFrame(rows, schema=QUARANTINE_SCHEMA))
    assert result.columns == {("leads", "no time"): ("b", "d", "c")}
    assert result.summary() == "leads: no time (19, in b, d, c)"
    assert Quarantine().columns == {}


PLANNED = ENTRY | {
    "table": "touchpoints",
    "column": "start",
    "value": "2090-01-01",
    "reason": "in the future",
}


def test_planned_activities_are_none_that_could_not_be_read():
    mixed = Quarantine(pl.DataFrame([ENTRY, PLANNED, PLANNED], schema=QUARANTINE_SCHEMA), 1)
    assert (len(mixed), len(mixed.unreadable), mixed.planned) == (3, 1, 2)
    assert mixed.total == (
        "1 cells or rows could not be read: leads: no time (1, in born); "
        "2 activities are planned for later and left out"
    )
    assert list(mixed.unreadable.examples()) == ["a.csv, row 7, born: 'soon': no time"]


def test_a_stage_in_the_future_is_no_plan():
    stage = Quarantine(pl.DataFrame([PLANNED | {"table": "transitions"}], schema=QUARANTINE_SCHEMA), 1)
    assert (stage.planned, len(stage.unreadable)) == (0, 1)


def test_the_file_names_file_row_column_value_and_reason(tmp_path):
    write_quarantine(quarantine(), tmp_path / "deep" / "q.csv")
    assert pl.read_csv(tmp_path / "deep" / "q.csv").to_dicts() == [ENTRY]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "q.csv").mkdir()
    with pytest.raises(OSError, match=r"q\.csv"):
        write_quarantine(quarantine(), tmp_path / "q.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["q.csv"]


def test_nothing_wrong_writes_nothing(tmp_path):
    enforce_bad_row_limit(Quarantine(), 10, 0.05, tmp_path / "q.csv")
    assert not list(tmp_path.iterdir())


def test_exactly_the_allowed_share_is_allowed():
    raise_above_limit(0.05, 5, 100, "")
    with pytest.raises(TooManyBadRowsError, match="6 of 100 rows"):
        raise_above_limit(0.05, 6, 100, "")


def test_without_a_file_the_message_shows_examples():
    with pytest.raises(TooManyBadRowsError, match=r"a\.csv, row 7, born: 'soon': no time"):
        enforce_bad_row_limit(quarantine(), 1, 0.05, None)


def test_every_column_says_when_it_is_known_and_who_says_so():
    result = static_availability(
        [ColumnRole("size", "number", "numbers"), ColumnRole("x", "empty", "no row has a value")],
        {"Tags": "late"},
    )
    assert [(a.column, a.used, a.known, a.by) for a in (*result, *history_availability(["budget"]))] == [
        ("size", True, "at creation", "leadloop"),
        ("x", False, "excluded", "leadloop"),
        ("Tags", False, "excluded", "user"),
        ("budget", True, "history", "leadloop"),
    ]
