"""Rows that a condition leaves out are no rows: neither bad nor counted, in files as in databases."""

from __future__ import annotations

import sqlite3

import duckdb
import polars as pl
import pytest

from features.clock import DAY
from features.ingest.mapping import HistoryMapping, TableMapping, TableSource
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.ingest.tables import open_table
from training.config.settings import load_config

NOW = 20_000 * DAY
LEADS = "id,created_date\n00Q1,2020-01-01\n00Q2,2020-01-02\n"
# Salesforce's lead_history: all fields of a lead in one table, the same change twice for owners.
LEAD_HISTORY = """\
id,is_deleted,lead_id,created_date,field,old_value,new_value
0171,false,00Q1,2020-01-01 09:00:00,created,,
0172,false,00Q1,2020-01-02 09:00:00,Owner,Queue,Rep
0173,false,00Q1,2020-01-03 09:00:00,Status,Open,Working
0174,true,00Q1,2020-01-04 09:00:00,Status,Working,Lost
0175,FALSE,00Q2,soon,Status,Open,Working
0176,false,00Q2,2020-01-06 09:00:00,leadConverted,,
"""
COLUMNS = {"occurred_at": "created_date", "stage": "new_value"}


def parquet(text, path):
    pl.read_csv(text.encode(), schema_overrides={"is_deleted": pl.String}).with_columns(
        is_deleted=pl.col("is_deleted").str.to_lowercase() == "true"
    ).write_parquet(path)


@pytest.fixture(params=["csv", "parquet", "folder", "duckdb", "sqlite"])
def place(request, tmp_path):
    """The keys that say where the table is, by the kind of place."""
    (tmp_path / "lead_history.csv").write_text(LEAD_HISTORY)
    parquet(LEAD_HISTORY, tmp_path / "typed.parquet")
    if request.param == "duckdb":
        with duckdb.connect(tmp_path / "crm.duckdb") as db:
            db.execute(f"CREATE TABLE lead_history AS SELECT * FROM '{tmp_path}/typed.parquet'")
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "crm.sqlite") as db:
            frame = pl.read_parquet(tmp_path / "typed.parquet")
            db.execute(f"CREATE TABLE lead_history ({', '.join(frame.columns)})")
            db.executemany("INSERT INTO lead_history VALUES (?, ?, ?, ?, ?, ?, ?)", frame.rows())
        db.close()
    return {
        "csv": {"file": tmp_path / "lead_history.csv"},
        "parquet": {"file": tmp_path / "typed.parquet"},
        "folder": {"database": str(tmp_path), "table": "lead_history"},
        "duckdb": {"database": str(tmp_path / "crm.duckdb"), "table": "lead_history"},
        "sqlite": {"database": str(tmp_path / "crm.sqlite"), "table": "lead_history"},
    }[request.param]


def read(write, place, **changes):
    leads = TableMapping(file=write(LEADS), columns={"lead_id": "id", "created_at": "created_date"})
    table = TableMapping(**place, columns=COLUMNS, **changes)
    return read_history(
        HistoryMapping(leads, transitions=(table,), stages=("Working", "Lost"), max_share=1), NOW
    )


def test_other_rows_are_no_rows_and_no_bad_ones(write, place):
    reading = read(write, place, where={"field": "Status", "is_deleted": False})
    assert reading.history.transitions.select("lead_id", "stage").rows() == [("00Q1", "Working")]
    assert reading.counts[1].rows == 2
    assert reading.quarantine.frame.select("value", "reason").rows() == [("soon", "no time (iso, zone UTC)")]


def test_a_list_is_any_of_its_values(write, place):
    reading = read(write, place, where={"new_value": ["Working", "Lost"], "field": ["Status"]})
    assert reading.history.transitions["stage"].to_list() == ["Working", "Lost"]


def test_an_empty_word_is_no_value(place):
    table = open_table(TableSource(**place, where={"new_value": ""}))
    assert table.read()["field"].to_list() == ["created", "leadConverted"]


def test_a_bad_row_is_named_by_its_line_in_the_file(write, place):
    reading = read(write, place, where={"field": "Status", "is_deleted": False})
    expected = {"csv": 6, "parquet": 5, "folder": 6}
    kind = "csv" if str(place.get("file", "")).endswith("csv") else "parquet" if "file" in place else None
    kind = kind or ("folder" if not place["database"].endswith(("duckdb", "sqlite")) else None)
    if kind is not None:
        assert reading.quarantine.frame["row"].to_list() == [expected[kind]]


def test_a_condition_that_nothing_keeps_is_a_notice_that_names_it(write, place):
    reading = read(write, place, where={"field": "status"})
    assert any("has no row with field = 'status'" in notice for notice in reading.notices)


def test_a_column_that_is_not_there_is_refused_with_the_nearest(place):
    with pytest.raises(SourceError, match="no column 'feild'; did you mean 'field'"):
        open_table(TableSource(**place, where={"feild": "Status"})).read()


def test_a_value_is_never_part_of_a_query(place):
    hostile = "x' OR '1'='1"
    with pytest.raises(SourceError, match="no row with"):
        open_table(TableSource(**place, where={"field": hostile})).read()


def test_an_attribute_history_takes_chosen_names_of_an_audit_table(write, tmp_path):
    """HubSpot's contact_property_history by Fivetran: every property of every contact."""
    write(
        "contact_id,name,source,timestamp,value\n00Q1,lifecyclestage,FORM,2020-01-02,lead\n"
        "00Q1,jobtitle,FORM,2020-01-02,CEO\n00Q1,hs_lead_status,FORM,2020-01-03,NEW\n",
        "contact_property_history.csv",
    )
    write(LEADS, "leads.csv")
    write(LEAD_HISTORY, "lead_history.csv")
    config = tmp_path / "leadloop.toml"
    config.write_text(f"""
[leads]
file = "{write(LEADS).name}"
columns = {{ lead_id = "id", created_at = "created_date" }}
[[transitions]]
file = "lead_history.csv"
where = {{ field = "Status", is_deleted = false }}
columns = {{ occurred_at = "created_date", stage = "new_value" }}
[[attributes.history]]
file = "contact_property_history.csv"
where = {{ name = ["jobtitle", "hs_lead_status"] }}
columns = {{ lead_id = "contact_id", known_at = "timestamp" }}
[funnel]
stages = ["Working", "Lost"]
target = "Working"
closed = ["Lost"]
[label]
horizon = "30d"
[quarantine]
max_share = 1.0
""")
    reading = read_history(load_config(config).history_mapping, NOW)
    assert sorted(reading.history.attributes["name"]) == ["hs_lead_status", "jobtitle"]
