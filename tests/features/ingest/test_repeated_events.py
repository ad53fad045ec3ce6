"""Events that were delivered twice count once: by their id, or as the same row with a time of day."""

from __future__ import annotations

import sqlite3
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.ingest import event_tables
from features.ingest.event_tables import _EventReading
from features.ingest.mapping import Database, HistoryMapping, TableMapping
from features.ingest.partitions import read_partitioned
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history

NOW = 1_800_000_000
HEADER = "event,lead_id,occurred_at,kind,page"
ROWS = [
    "e1,A,2026-01-05 09:00:00,visit,/",
    "e2,A,2026-01-05 09:00:00,visit,/prices",
    "e3,A,2026-01-05,call,",
    "e4,A,2026-01-05,call,",
    "e5,B,2026-01-06 10:30:00,visit,/",
    "e6,B,2026-01-07 00:00:00,mail,",
]


@pytest.fixture
def leads(tmp_path):
    file = tmp_path / "leads.csv"
    file.write_text("lead_id,created_at\nA,2026-01-01\nB,2026-01-01\n")
    return TableMapping(file=file)


def without_ids(rows):
    return [row.partition(",")[2] for row in rows]


def table(folder, rows, header, name="t.csv"):
    file = folder / name
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def read(leads, **place):
    return read_history(HistoryMapping(leads, (TableMapping(**place),)), NOW)


def kinds(reading):
    return sorted(reading.history.touchpoints.select("lead_id", "occurred_at", "kind").iter_rows())


def test_a_row_that_is_there_twice_counts_once_and_is_told(leads, tmp_path):
    rows, header = without_ids(ROWS), HEADER.partition(",")[2]
    once = read(leads, file=table(tmp_path, rows, header))
    twice = read(leads, file=table(tmp_path, [*rows, *reversed(rows)], header, "twice.csv"))
    # The visits to two pages in one second are two; mere dates, be it with a midnight, are not compared.
    dated = [row for row in kinds(once) if row[2] in {"call", "mail"}]
    assert kinds(twice) == sorted([*kinds(once), *dated])
    assert sum("3 rows are there once more" in notice for notice in twice.notices) == 1
    assert not any("once more" in notice for notice in once.notices)


def test_an_id_that_is_not_named_keeps_events_apart(leads, tmp_path):
    same = ["e1,A,2026-01-05 09:00:00,visit,/", "e2,A,2026-01-05 09:00:00,visit,/"]
    assert read(leads, file=table(tmp_path, same, HEADER)).history.touchpoints.height == 2


def test_rows_of_one_id_are_one_event_whatever_their_order(leads, tmp_path):
    later = [row.replace("2026-01-05", "2026-01-09").replace("/prices", "/more") for row in ROWS]
    expected = kinds(read(leads, file=table(tmp_path, ROWS, HEADER), id="event"))
    assert len(expected) == len(ROWS)
    for seed in range(4):
        rows = [*ROWS, *later, *ROWS]
        rows = pl.Series(rows).shuffle(seed).to_list()
        reading = read(leads, file=table(tmp_path, rows, HEADER), id="event")
        assert kinds(reading) == expected
        assert any("12 rows have the id of another one" in notice for notice in reading.notices)


def test_one_meeting_of_two_leads_is_an_event_of_each(leads, tmp_path):
    rows = ["m1,A,2026-01-05 09:00:00,meeting,", "m1,B,2026-01-05 09:00:00,meeting,"]
    assert read(leads, file=table(tmp_path, rows, HEADER), id="event").history.touchpoints.height == 2


def test_events_without_an_id_count_each(leads, tmp_path):
    rows = [",A,2026-01-05 09:00:00,visit,", ",A,2026-01-05 09:00:00,visit,"]
    assert read(leads, file=table(tmp_path, rows, HEADER), id="event").history.touchpoints.height == 2


def test_transitions_have_ids_too(leads, tmp_path):
    file = table(tmp_path, ["1,A,2026-01-05,sql", "1,A,2026-01-04,sql"], "event,lead_id,occurred_at,stage")
    mapping = HistoryMapping(leads, transitions=(TableMapping(file=file, id="event"),), stages=("sql",))
    rows = read_history(mapping, NOW).history.transitions
    assert rows.height == 1
    assert rows["occurred_at"][0] < 1_767_571_200  # 2026-01-05: the earlier of the two


@pytest.mark.parametrize("kind", ["parquet", "sqlite", "folder"])
def test_files_and_databases_agree_on_what_is_there_twice(leads, tmp_path, kind):
    rows, header = without_ids(ROWS), HEADER.partition(",")[2]
    expected = read(leads, file=table(tmp_path, [*rows, *rows], header))
    frame = pl.read_csv(tmp_path / "t.csv", infer_schema=False)
    if kind == "parquet":
        frame.write_parquet(tmp_path / "t.parquet")
        place = {"file": tmp_path / "t.parquet"}
    elif kind == "folder":
        place = {"database": Database(str(tmp_path)), "table": "t"}
    else:
        with sqlite3.connect(tmp_path / "crm.db") as db:
            db.execute(f"CREATE TABLE t ({header})")
            db.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", frame.rows())
        place = {"database": Database(str(tmp_path / "crm.db")), "table": "t"}
    reading = read(leads, **place)
    assert kinds(reading) == kinds(expected)
    assert any("3 rows are there once more" in notice for notice in reading.notices)


def test_parts_of_a_history_know_what_came_in_another_batch(leads, tmp_path, monkeypatch):
    monkeypatch.setattr("features.ingest.event_tables.EVENT_ROWS", 4)
    rows, header = without_ids(ROWS), HEADER.partition(",")[2]
    mapping = HistoryMapping(leads, (TableMapping(file=table(tmp_path, [*rows, *rows], header)),))
    whole = read_history(mapping, NOW)
    with read_partitioned(mapping, NOW, leads=1) as parts:
        split = pl.concat(part.touchpoints.cast({"lead_id": pl.String}) for part in parts.histories())
        assert parts.reading.notices == whole.notices
    assert split.height == whole.history.touchpoints.height == 9


def test_rows_of_several_leads_are_no_repetition(tmp_path):
    file = tmp_path / "leads.csv"
    file.write_text("lead_id,created_at,contact\nA,2026-01-01,c\nB,2026-01-01,c\n")
    rows = ["c,2026-01-05 09:00:00,visit", "c,2026-01-05 09:00:00,visit"]
    place = {
        "file": table(tmp_path, rows, "lead_id,occurred_at,kind"),
        "also": {"leads": ("contact",)},
    }
    assert read(TableMapping(file=file), **place).history.touchpoints.height == 2


def test_a_midnight_is_one_where_the_clocks_of_the_table_are(leads, tmp_path):
    rows = ["A,2026-01-05 00:00,call"] * 2 + ["A,2026-01-05 01:00,call"] * 2
    file = table(tmp_path, rows, "lead_id,occurred_at,kind")
    assert read(leads, file=file, time_zone="Europe/Berlin").history.touchpoints.height == 3


def test_the_id_of_events_is_a_key_of_events(leads):
    with pytest.raises(SourceError, match="id is a key of attributes and touchpoints and transitions"):
        read_history(HistoryMapping(TableMapping(file=leads.file, id="lead_id")), NOW)


CELLS = st.tuples(
    st.sampled_from("ABC"),
    st.sampled_from(
        ["2026-01-05 09:00:00", "2026-01-06 10:30:00", "2026-01-07", "2026-03-01 08:00:00", "soon"]
    ),
    st.sampled_from(["visit", "mail", ""]),
    st.sampled_from(["/", "/prices"]),
)


@given(
    cells=st.lists(CELLS, min_size=1, max_size=30), size=st.sampled_from([1, 4, 1000]), ahead=st.booleans()
)
def test_rows_in_parts_that_are_there_once_more_are_taken_out_without_reading_again(
    tmp_path_factory, cells, size, ahead
):
    folder = tmp_path_factory.mktemp("crm")
    leads = folder / "leads.csv"
    leads.write_text("lead_id,created_at\nA,2026-01-01\nB,2026-01-01\n")
    file = table(folder, [",".join(row) for row in cells], HEADER.partition(",")[2])
    mapping = HistoryMapping(
        TableMapping(file=leads), (TableMapping(file=file),), max_share=1, extractions=()
    )
    whole = read_history(mapping, NOW)
    with (
        patch.object(event_tables, "EVENT_ROWS", size),
        patch.object(_EventReading, "read_rows", autospec=True, side_effect=_EventReading.read_rows) as reads,
        read_partitioned(mapping, NOW, leads=1, ahead=ahead) as parts,
    ):
        histories = list(parts.histories())
        assert reads.call_count == 1
    together = pl.concat(
        [
            history.touchpoints.with_columns(pl.selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))
            for history in histories
        ]
    )
    assert together.equals(whole.history.touchpoints.sort("lead_id", maintain_order=True))
    assert sorted(parts.reading.notices) == sorted(whole.notices)
    assert parts.reading.counts == whole.counts
    assert parts.reading.tables[-1].end == whole.tables[-1].end
    assert parts.reading.history.observed_until == whole.history.observed_until
