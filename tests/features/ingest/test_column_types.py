"""Typed columns of every kind are used, or left out with a sentence; none is a crash, no id another."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.ingest.column_roles import ROLES, infer_role
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping, HistoryMapping, TableMapping
from features.ingest.read_history import read_history
from features.ingest.timestamps import parse_timestamps
from features.parsing import as_category, parse_categories, parse_flags, parse_numbers, strip_missing

ROWS = 30
NOW = 2**40
TYPES = {
    "list": pa.array([["a", "b"]] * ROWS),
    "numbers in a list": pa.array([[1, 2], None] * (ROWS // 2)),
    "duration": pa.array([timedelta(minutes=i) for i in range(ROWS)]),
    "map": pa.array([[("a", "b")]] * ROWS, pa.map_(pa.string(), pa.string())),
    "struct": pa.array([{"a": i} for i in range(ROWS)]),
    "binary": pa.array([bytes([i, 255]) for i in range(ROWS)]),
    "uuid": pa.array([uuid.uuid4().bytes for _ in range(ROWS)], pa.binary(16)),
    "time": pa.array([time(i % 24) for i in range(ROWS)]),
    "decimal": pa.array([Decimal(i) / 100 for i in range(ROWS)], pa.decimal128(38, 2)),
    "dictionary": pa.array(["a", "b"] * (ROWS // 2)).dictionary_encode(),
    "null": pa.nulls(ROWS),
    "date": pa.array([date(2024, 1, 1)] * ROWS),
    "nanoseconds": pa.array([datetime(2024, 1, 1)] * ROWS, pa.timestamp("ns")),  # noqa: DTZ001
    "half floats": pa.array([1.5] * ROWS).cast(pa.float16()),
    "unsigned": pa.array([2**63 + i for i in range(ROWS)], pa.uint64()),
}


def written(tmp_path, column, name="odd"):
    path = tmp_path / "leads.parquet"
    table = {
        "lead_id": [f"L{i}" for i in range(ROWS)],
        "created_at": [date(2024, 1, 1 + i % 20) for i in range(ROWS)],
        "Visits": list(range(ROWS)),
        "Won": ["yes", "no"] * (ROWS // 2),
        name: column,
    }
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("kind", TYPES)
def test_a_column_of_any_type_is_used_or_left_out_with_a_sentence(tmp_path, kind):
    path = written(tmp_path, TYPES[kind])
    export = read_flat(path, FlatMapping(id="lead_id", label="Won", time="created_at"))
    role = next(role for role in export.roles if role.column == "odd")
    assert role.reason
    assert ("odd" in export.leads.columns) == role.used
    reading = read_history(HistoryMapping(TableMapping(path)), NOW)
    assert reading.history.leads.height == ROWS


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("role", [role for role in ROLES if role in {"number", "flag", "category"}])
def test_a_role_that_does_not_fit_a_type_is_no_crash(tmp_path, kind, role):
    mapping = FlatMapping(id="lead_id", label="Won", roles={"odd": role})
    assert read_flat(written(tmp_path, TYPES[kind]), mapping).leads.height == ROWS


@pytest.mark.parametrize("kind", TYPES)
def test_every_reading_takes_every_type(kind):
    column = strip_missing(pl.Series("x", TYPES[kind]))
    for read in (parse_categories, parse_numbers, parse_flags, parse_timestamps):
        assert len(read(column)) == ROWS
    assert infer_role(column).role in ROLES


def test_a_uuid_in_bytes_is_the_id_that_a_crm_shows(tmp_path):
    ids = [uuid.uuid4() for _ in range(ROWS)]
    path = written(tmp_path, pa.array([each.bytes for each in ids], pa.binary(16)), "Key")
    assert read_flat(path, FlatMapping(id="Key", label="Won")).leads["lead_id"].to_list() == list(
        map(str, ids)
    )


@given(st.lists(st.decimals(-(10**18), 10**18, places=2), min_size=1, max_size=20))
def test_a_decimal_is_written_to_its_last_digit(values):
    column = parse_categories(pl.Series(values, dtype=pl.Decimal(38, 2)))
    assert [Decimal(text) for text in column] == values
    assert not any(text.endswith(("0", ".")) for text in column if "." in text)


@given(
    st.lists(st.integers(-(2**63), 2**64 - 1).map(float) | st.floats(allow_nan=False, allow_infinity=False))
)
def test_a_float_is_the_same_category_in_a_column_and_alone(values):
    assert parse_categories(pl.Series(values, dtype=pl.Float64)).to_list() == list(map(as_category, values))


LONG = [987654321098765432 + 1000 * i for i in range(ROWS)]


@pytest.mark.parametrize("kind", [pa.decimal128(38, 0), pa.decimal128(20, 2), pa.int64(), pa.string()])
def test_a_long_id_is_what_it_is_in_every_type(tmp_path, kind):
    column = (
        pa.array([Decimal(i) for i in LONG], kind) if pa.types.is_decimal(kind) else pa.array(LONG).cast(kind)
    )
    leads = read_flat(written(tmp_path, column, "Key"), FlatMapping(id="Key", label="Won")).leads
    assert leads["lead_id"].to_list() == list(map(str, LONG))


def test_an_id_that_a_float_had_no_room_for_is_told(tmp_path):
    path = written(tmp_path, pa.array(LONG).cast(pa.float64(), safe=False), "Key")
    export = read_flat(path, FlatMapping(id="Key", label="Won", max_share=1.0))
    assert not any("e+" in each for each in export.leads["lead_id"])
    assert any("last digits" in notice for notice in export.notices)


@pytest.mark.parametrize("zone", ["+05:30", "-03:00", "Asia/Kolkata"])
def test_a_zone_without_a_name_is_a_zone(tmp_path, zone):
    path = tmp_path / "leads.parquet"
    at = pa.array([datetime(2024, 1, 1, 12)], pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us", tz=zone))  # noqa: DTZ001
    pq.write_table(pa.table({"lead_id": ["a"], "created_at": at}), path)
    reading = read_history(HistoryMapping(TableMapping(file=path)), NOW)
    assert reading.history.leads["created_at"].to_list() == [1704110400]


def test_no_type_of_duckdb_is_a_crash(tmp_path):
    with duckdb.connect(tmp_path / "crm.duckdb") as db:
        db.execute(
            "CREATE TABLE leads AS SELECT 'L' || row_number() OVER () AS lead_id, * FROM test_all_types()"
        )
        db.execute("ALTER TABLE leads ADD COLUMN created_at DATE DEFAULT DATE '2024-01-01'")
    leads = TableMapping(database=str(tmp_path / "crm.duckdb"), table="leads")
    reading = read_history(HistoryMapping(leads, max_share=1), NOW)
    assert reading.history.leads["lead_id"].to_list() == ["L1", "L2", "L3"]


def test_numbers_of_any_width_are_numbers(tmp_path):
    wide = pa.array([Decimal(i) / 4 for i in range(ROWS)], pa.decimal256(60, 2))
    export = read_flat(written(tmp_path, wide), FlatMapping(id="lead_id", label="Won"))
    assert export.leads["odd"].to_list() == [i / 4 for i in range(ROWS)]
