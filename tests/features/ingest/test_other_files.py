"""Files and rows that are something else than leads: they are named, not read as leads."""

from __future__ import annotations

import sqlite3

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.ingest.flat_export import FlatColumns, iter_flat_batches, read_flat
from features.ingest.mapping import FlatMapping, HistoryMapping, TableJoin, TableMapping, TableSource
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.ingest.tables import open_table

FAR = 2**40
FLAT = FlatMapping(id="Id", label="Won", max_share=1)
HEAD = "Id,Source,Visits,Won"
ROWS = [f"L{i},Web,{i % 7},{'yes' if i % 3 else 'no'}" for i in range(40)]


def lines(*rows):
    return "\n".join([*rows, ""])


OTHERS = {
    "rows.json": ('[\n {"Id": "a", "Won": "yes"}]', "is JSON"),
    "lines.csv": ('{"Id": "a", "Won": "yes"}\n', "is JSON"),
    "report.xls": ("<html><body><table><tr><td>Id</td></tr></table></body></html>", "a page of HTML"),
    "sheet.xls": ('<?xml version="1.0"?>\n<Workbook></Workbook>', "a page of HTML or XML"),
    "real.xls": (b"\xd0\xcf\x11\xe0" + bytes(600), "save it as CSV"),
    "blanks.csv": ('"Id", "Won"\n"a", "x, y"\n', "line 1: a blank stands between ','"),
    "backslash.csv": ('Id,Won\na,"say \\"yes\\", x"\n', "line 2: .* a backslash and a quote"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_kind_is_called_what_it_is(write, name):
    content, says = OTHERS[name]
    with pytest.raises(SourceError, match=says):
        read_flat(write(content, name), FLAT)


@pytest.mark.parametrize("kind", ["SQLite", "DuckDB"])
def test_a_database_is_no_file_of_leads(tmp_path, kind):
    path = tmp_path / "crm.db"
    with (sqlite3 if kind == "SQLite" else duckdb).connect(path) as db:
        db.execute("CREATE TABLE leads (Id TEXT)")
    with pytest.raises(SourceError, match=f"is a {kind} database, .* \\[leads\\] database"):
        read_flat(path, FLAT)


@pytest.mark.parametrize(
    "text", ['Id,Won\na,"C:\\temp\\"\nb,"x, \\y"\n', 'Id,Won\na, x\nb,"say ""yes"", y"\n']
)
def test_backslashes_and_blanks_that_mean_nothing_are_read(write, text):
    assert open_table(TableSource(file=write(text))).read()["Id"].to_list() == ["a", "b"]


def why(quarantine):
    return quarantine.frame.select("row", "reason").rows()


def test_column_names_that_come_again_are_no_lead(write):
    path = write(lines(HEAD, *ROWS[:20], HEAD, *ROWS[20:]))
    named = [(22, "the header line again, not a record")]
    export = read_flat(path, FLAT)
    assert (export.leads.height, export.rows, why(export.quarantine)) == (40, 41, named)
    *_, last = iter_flat_batches(path, FlatColumns({"Visits": "number"}, "Id"), rows=7)
    assert why(last.quarantine) == named


@pytest.mark.parametrize(
    "word", ["Total", "Grand Total", "Summe (40 Leads)", "Gesamtergebnis", "TOTAL:", "Sous-total", "合計"]
)
def test_a_row_of_totals_is_no_lead(write, word):
    path = write(lines(HEAD, *ROWS, f"{word},,126,26"))
    export = read_flat(path, FLAT)
    assert export.leads.height == 40
    assert why(export.quarantine) == [(42, "a row of totals, not a lead")]
    *batches, last = iter_flat_batches(path, FlatColumns({"Visits": "number"}, "Id"))
    assert sum(batch.leads.height for batch in batches) == 40
    assert why(last.quarantine) == why(export.quarantine)
    leads = TableMapping(file=write(lines("lead_id,created_at", "a,2024-01-01", f"{word},"), "leads.csv"))
    assert (
        why(read_history(HistoryMapping(leads, max_share=1), FAR).quarantine)[0][1]
        == "a row of totals, not a lead"
    )


def test_a_company_that_is_called_total_is_a_lead(write):
    assert read_flat(write(lines(HEAD, *ROWS, "Total Energies,Web,1,yes")), FLAT).leads.height == 41


def test_stray_quotes_in_a_joined_file_are_found(write):
    stray = lines("key,name,size,place", *(f"{i},{{}}Firm {i}{{}},{i},x" for i in range(30)))
    marks = ['"' if i == 6 else "" for i in range(30)], ['"' if i == 20 else "" for i in range(30)]
    write(stray.format(*[mark for pair in zip(*marks, strict=True) for mark in pair]), "firms.csv")
    leads = TableMapping(
        file=write(lines("lead_id,created_at,firm", "a,2024-01-01,3"), "leads.csv"),
        join=(TableJoin("firms", {"firm": "key"}),),
        attributes={"size": "firms.size"},
    )
    with pytest.raises(
        SourceError, match=r"firms.csv, column 'name': a stray quote: the cell contains 15 lines"
    ):
        read_history(HistoryMapping(leads), FAR)


@pytest.mark.parametrize(("days", "told"), [([1] * 30, True), (list(range(1, 31)), False)])
def test_leads_of_one_second_are_those_of_an_import(write, days, told):
    leads = write(lines("lead_id,created_at", *(f"{i},2024-01-{day:02}" for i, day in enumerate(days))))
    notices = read_history(HistoryMapping(TableMapping(file=leads)), FAR).notices
    assert (
        any("100% of the leads were created at 2024-01-01 00:00:00 (UTC)" in each for each in notices) is told
    )


def test_events_by_ids_that_lost_their_digits_are_nobodys(tmp_path, write):
    """Two ids of 18 digits are one and the same decimal number: their events would change places."""
    ids = [987654321098765400, 987654321098765401]
    leads = write(lines("lead_id,created_at", *(f"{each},2024-01-01" for each in ids)))
    path = tmp_path / "events.parquet"
    pq.write_table(
        pa.table({"lead_id": list(map(float, ids)), "occurred_at": ["2024-01-05"] * 2, "kind": ["call"] * 2}),
        path,
    )
    reading = read_history(
        HistoryMapping(TableMapping(file=leads), touchpoints=(TableMapping(file=path),), max_share=1), FAR
    )
    assert reading.history.touchpoints.is_empty()
    assert {reason for _, reason in why(reading.quarantine)} == {
        "an id of 16 digits or more that was stored as a decimal number and lost its last digits"
    }


def test_ids_that_end_in_a_fraction_are_told(write):
    export = read_flat(
        write(lines(HEAD, *(row.replace("L", "10").replace(",W", ".0,W") for row in ROWS))), FLAT
    )
    assert any("ids end in .0" in notice for notice in export.notices)
