"""Times of day written as text: a number within the day, the same in a file, a request and a history."""

from __future__ import annotations

from datetime import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.date_parts import read_clock
from features.extraction import ColumnExtraction, extract_column, extract_lag
from features.ingest.column_extractions import find_extractions
from features.ingest.column_roles import infer_role
from features.ingest.flat_export import FlatColumns, iter_flat_batches, read_flat
from features.ingest.history_extractions import extract_history, find_history_extractions
from features.ingest.mapping import FlatMapping
from features.messages import LANGUAGES
from features.parsing import strip_missing
from features.spec import FeatureSet
from models.explanation import render_sentence
from serving.request_parsing import LeadParser
from training.data.dataset import flat_features
from training.points.conditions import candidate_conditions

clocks = st.times().map(lambda moment: moment.replace(microsecond=0))


def seconds_of(moment):
    return moment.hour * 3600.0 + moment.minute * 60 + moment.second


def calls(rows=60):
    """Calls that begin through the day and take up to ten minutes; no two begin alike."""
    starts = [9 * 3600 + 517 * n for n in range(rows)]
    ends = [start + 60 * (n % 10) + 5 for n, start in enumerate(starts)]
    written = [time(s // 3600, s // 60 % 60, s % 60).isoformat() for s in [*starts, *ends]]
    return pl.DataFrame(
        {
            "id": [str(n) for n in range(rows)],
            "CallStart": written[:rows],
            "CallEnd": [None if n == 3 else each for n, each in enumerate(written[rows:])],
            "size": [1.5 * (n % 7) for n in range(rows)],
            "won": [n % 3 == 0 for n in range(rows)],
        }
    )


def read(path, frame, **mapping):
    frame.write_csv(path / "leads.csv")
    return read_flat(path / "leads.csv", FlatMapping(id="id", label="won", **mapping))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("14:30", 52_200.0),
        ("9:05", 32_700.0),
        ("14:30:05", 52_205.0),
        ("14:30:05.250", 52_205.0),
        ("2:30 PM", 52_200.0),
        ("12:00am", 0.0),
        ("12:15 p.m.", 44_100.0),
        ("14:30 Uhr", 52_200.0),
        ("14:30:05Z", 52_205.0),
        ("24:00", None),
        ("13:30 PM", None),
        ("14:60", None),
        ("35:10", None),
        ("14.30", None),
        ("soon", None),
        ("2024-01-31 14:30", None),
        (None, None),
    ],
)
def test_a_time_of_day_is_its_seconds_since_midnight(text, seconds):
    assert read_clock(text) == seconds


@given(clocks)
def test_every_time_of_day_is_read_as_written(moment):
    assert read_clock(moment.isoformat()) == seconds_of(moment)
    assert read_clock(moment.strftime("%I:%M:%S %p")) == seconds_of(moment)


def test_times_of_day_are_numbers_and_the_text_itself_is_no_attribute(tmp_path):
    found = read(tmp_path, calls())
    assert set(found.leads.columns) == {
        "lead_id",
        "CallStart: time",
        "CallEnd: time",
        "CallStart to CallEnd",
        "size",
    }
    assert found.leads["CallStart: time"].to_list()[:2] == [32_400.0, 32_917.0]
    assert found.leads["CallStart to CallEnd"].to_list()[:4] == [5.0, 65.0, 125.0, None]
    assert any("'CallStart': times of day" in notice for notice in found.notices)


@pytest.mark.parametrize("mapping", [{"extract": {"*": "none"}}, {"exclude": ("CallStart", "CallEnd")}])
def test_what_is_kept_out_is_not_read(tmp_path, mapping):
    assert not [
        name
        for name in read(tmp_path, calls(), **mapping).leads.columns
        if ": time" in name or " to " in name
    ]


def test_a_column_of_times_of_a_typed_file_is_read_alike(tmp_path):
    frame = calls().with_columns(pl.col("CallStart", "CallEnd").str.to_time("%H:%M:%S"))
    frame.write_parquet(tmp_path / "leads.parquet")
    typed = read_flat(tmp_path / "leads.parquet", FlatMapping(id="id", label="won"))
    assert typed.leads.equals(read(tmp_path, calls()).leads)


@pytest.mark.parametrize(
    "cells", [["16:9", "4:3"] * 10, ["1:2:3"] * 20, ["12:30", "later"] * 10, ["90:15"] * 30]
)
def test_what_is_no_time_of_day_stays_what_it_was(cells):
    column = strip_missing(pl.Series("x", cells))
    assert not find_extractions(pl.DataFrame([column]), (infer_role(column),), {}).extractions


def test_a_file_to_score_and_a_request_read_times_as_training_does(tmp_path):
    frame = calls()
    found = read(tmp_path, frame)
    features = FeatureSet.from_json(flat_features(found.leads, found.roles).to_json())
    scored = next(
        iter(iter_flat_batches(tmp_path / "leads.csv", FlatColumns.from_features(features, "id")))
    ).leads
    assert scored.select(found.leads.columns).equals(found.leads)
    parse = LeadParser(features, ignored=("won",))
    for row, lead in zip(frame.iter_rows(named=True), found.leads.iter_rows(named=True), strict=True):
        attributes = {name: row[name] for name in ("CallStart", "CallEnd", "size")}
        values = parse({"lead_id": row["id"], "attributes": attributes}).record.attributes
        assert {name: values.get(name) for name in lead if name != "lead_id"} == {
            name: value for name, value in lead.items() if name != "lead_id"
        }


def test_an_overwritten_time_of_day_is_read_as_of_each_change():
    changes = pl.DataFrame(
        {
            "lead_id": [str(n) for n in range(30)],
            "known_at": [*range(30)],
            "name": ["call"] * 30,
            "value": [f"{8 + n % 10:02}:15" for n in range(30)],
            "number": pl.Series([None] * 30, dtype=pl.Float64),
        }
    )
    roles, notices = find_history_extractions(changes, {})
    (extraction,) = (role.extraction for role in roles)
    read_out = extract_history(changes, [extraction])
    assert read_out["name"].unique().to_list() == ["call: time"]
    assert read_out["number"].to_list()[:2] == [29_700.0, 33_300.0]
    assert read_out["value"].null_count() == 30
    assert len(notices) == 1


def test_reasons_and_points_show_a_time_of_day_as_people_write_it(tmp_path):
    found = read(tmp_path, calls())
    features = flat_features(found.leads, found.roles)
    (start,) = (spec for spec in features.specs if spec.name == "CallStart: time")
    assert [render_sentence(start, 52_200.0, lang) for lang in LANGUAGES] == [
        "Call Start, time of day: 14:30",
        "Call Start, Uhrzeit: 14:30",
    ]
    says = [each.says() for each in candidate_conditions(features, found.leads) if each.spec is start]
    assert "Call Start, time of day: 12:00 or later" in says
    assert all(each.endswith((":00 or later", "not known")) for each in says)


@given(clocks, clocks)
def test_the_lag_of_two_times_of_a_row_is_signed_and_missing_where_either_is(start, end):
    lag = ColumnExtraction("CallStart", "clock_lag", other="CallEnd")
    assert extract_lag(lag, start.isoformat(), end.isoformat()) == seconds_of(end) - seconds_of(start)
    assert extract_lag(lag, start.isoformat(), None) is None


def test_a_cell_alone_is_read_as_in_a_column():
    each = ColumnExtraction("CallStart", "clock_time")
    cells = pl.Series(["14:30", None, "soon"])
    assert extract_column(each, cells).to_list() == [52_200.0, None, None]
