"""Two stray quotes make one cell of many records: those are counted and named, and the others are read."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.ingest.flat_export import FlatColumns, iter_flat_batches, read_flat
from features.ingest.mapping import FlatMapping, TableSource
from features.ingest.quarantine import TooManyBadRowsError
from features.ingest.tables import open_table

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
ROWS = 40
HEADER = ["Id", "Source", "Visits", "Note", "Won"]


def lines_with_quotes(sep, first, last, place):
    """An export in which a quote opens a cell of record ``first`` and another closes that of ``last``."""
    rows = [[f"L{i}", "Fair", str(i), f"wide screen {i}", "yes" if i % 2 else "no"] for i in range(ROWS)]
    rows[first][place] = '"' + rows[first][place]
    rows[last][place] += '"'
    return [sep.join(row) for row in (HEADER, *rows)]


@SHARED_FOLDER
@given(
    st.sampled_from(",;\t"), st.integers(0, ROWS - 3), st.integers(2, 20), st.integers(0, 4), st.booleans()
)
def test_records_between_two_stray_quotes_are_counted_and_the_others_are_read(
    tmp_path, sep, first, count, place, windows
):
    # Two records in the first or the last column leave a trace that prose may leave, too.
    last = min(ROWS - 1, first + count)
    path = tmp_path / "leads.csv"
    path.write_text(
        "\n".join([*lines_with_quotes(sep, first, last, place), ""]), newline="\r\n" if windows else "\n"
    )
    table = open_table(TableSource(file=path))
    ids = [f"L{i}" for i in range(ROWS) if not first <= i <= last]
    assert [row.strip('"') for row in table.read()["Id"]] == ids
    assert table.rejected_rows == last - first + 1
    lost = table.rejected()[0]
    assert (lost["line"], lost["column"]) == (first + 2, HEADER[place])
    numbered = table.numbered(range(len(ids)))
    assert numbered == {row: int(each[1:]) + 2 for row, each in enumerate(ids)}


def test_a_run_that_lost_too_many_stops_and_one_that_scores_says_so(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("\n".join(lines_with_quotes(",", 5, 25, 3)) + "\n", encoding="utf-8")
    with pytest.raises(TooManyBadRowsError, match=r"21 of 40 rows .* the cell contains 21 lines"):
        read_flat(path, FlatMapping(id="Id", label="Won"))
    *_, last = iter_flat_batches(path, FlatColumns({"Visits": "number"}, "Id"))
    assert "the cell contains 21 lines" in last.quarantine.summary()


NOTES = [
    "Dear Ada,\nthank you, yours, Bob",
    "one\ntwo\nthree",
    "a, b\nc, d, e\nf",
    "- price\n- size\n- colour, too",
]


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("width", [2, 3, 5])
def test_a_note_of_several_lines_is_a_note(tmp_path, note, width):
    path = tmp_path / "leads.csv"
    names = [f"c{i}" for i in range(width)]
    row = ",".join(["x"] * (width - 1) + [f'"{note}"'])
    path.write_text("\n".join([",".join(names), row, row]) + "\n", encoding="utf-8")
    table = open_table(TableSource(file=path))
    assert table.read()[names[-1]].to_list() == [note, note]
    assert not table.rejects


def test_a_quote_that_is_never_closed_takes_all_lines_below_along(tmp_path):
    path = tmp_path / "leads.csv"
    lines = ["a,b", *(f"{i},x" for i in range(20)), '20,"x', *(f"{i},x" for i in range(9))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = open_table(TableSource(file=path))
    assert (table.read().height, table.rejected_rows) == (20, 10)
