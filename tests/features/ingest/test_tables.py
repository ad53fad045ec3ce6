"""Text files as they really come: every oddity is read, repaired with a notice, or refused with a reason."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.ingest import tables
from features.ingest.mapping import TableSource
from features.ingest.quarantine import SourceError
from features.ingest.tables import open_table


def opened(path):
    return open_table(TableSource(file=path))


def rows(path):
    return opened(path).read().rows()


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(write, mark):
    path = write("id,name,size\n1,a,2\n2,b,3\n".replace(",", mark))
    assert opened(path).columns == ("id", "name", "size")
    assert rows(path) == [("1", "a", "2"), ("2", "b", "3")]


def test_commas_in_a_file_of_semicolons_are_decimals(write):
    table = opened(write("id;price\n1;2,5\n2;3,25\n"))
    assert (table.columns, table.decimal) == (("id", "price"), ",")


def test_a_file_of_one_column_is_a_table(write):
    assert rows(write("id\n007\n008\n")) == [("007",), ("008",)]


def test_leading_zeros_are_kept(write):
    assert rows(write("id,x\n007,1\n"))[0] == ("007", "1")


@pytest.mark.parametrize("cell", ['="007"', '"=""007"""'])
def test_text_that_excel_keeps_from_becoming_a_number_is_that_text(write, cell):
    assert rows(write(f'id,x\n{cell},"=""a""b"\n008,=1\n')) == [("007", '="a"b'), ("008", "=1")]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(write, mark):
    table = opened(write(mark + "id,Straße\n1,Köln\n".encode()))
    assert table.columns == ("id", "Straße")
    assert table.notices == ()


@pytest.mark.parametrize(("encoding", "word"), [("latin-1", "Müller"), ("cp1252", "Preis in € neu")])
def test_a_file_in_an_older_encoding_is_read_with_a_notice(write, encoding, word):
    table = opened(write(f"id,name\n1,{word}\n".encode(encoding)))
    assert table.read().rows() == [("1", word)]
    assert "Windows-1252" in table.notices[0]


def test_bytes_that_windows_does_not_know_are_latin_1(write):
    table = opened(write(b"id,name\n1,\x81\xe9\n"))
    assert table.read().rows() == [("1", "\x81é")]
    assert "Latin-1" in table.notices[0]


def test_utf_16_is_read(write):
    assert rows(write("id,name\n1,Zoë\n".encode("utf-16"))) == [("1", "Zoë")]


def test_a_line_break_inside_quotes_belongs_to_the_value(write):
    path = write('id,note\n1,"two\nlines"\n2,"say ""hi"""\n')
    assert rows(path) == [("1", "two\nlines"), ("2", 'say "hi"')]


def test_a_row_is_named_by_the_line_an_editor_shows(write):
    table = opened(write('id,note\n1,"a\nb\nc"\n\n2,x\n3\n4,y\n'))
    assert table.read()["id"].to_list() == ["1", "2", "4"]
    assert table.numbered([0, 1, 2]) == {0: 2, 1: 6, 2: 8}
    assert [(r["line"], r["value"]) for r in table.rejected()] == [(7, "3")]


def test_ragged_lines_are_rejected_and_the_others_go_on(write):
    table = opened(write("a,b,c\n1,2,3\n4,5\n6,7,8,9\n10,11,12\n"))
    assert table.read()["a"].to_list() == ["1", "10"]
    assert [(r["line"], r["reason"]) for r in table.rejected()] == [
        (3, "the line has fewer columns than the header"),
        (4, "the line has more columns than the header"),
    ]


def test_a_quote_that_is_never_closed_is_named_with_its_line(write):
    table = opened(write('a,b,c\n1,2,3\n4,"5,6\n7,8,9\n'))
    assert table.read().height == 1
    assert table.rejected()[0]["line"] == 3
    assert "quote" in table.rejected()[0]["reason"]


@pytest.mark.parametrize("padding", ["", ",,,,"])
def test_lines_that_are_quoted_whole_are_taken_apart(write, padding):
    body = f'"1,""Smith, Jo"",x,,5"{padding}\n2,plain,y,4,5\n'
    table = opened(write("id,name,z,a,b\n" + body))
    assert table.read().rows() == [("1", "Smith, Jo", "x", None, "5"), ("2", "plain", "y", "4", "5")]
    assert "quoted into the first column" in table.notices[0]


def test_a_name_with_a_comma_beside_an_empty_cell_is_left_alone(write):
    table = opened(write('name,phone\n"Smith, Jo",\n"Doe, Al",1\n'))
    assert table.read().rows() == [("Smith, Jo", None), ("Doe, Al", "1")]
    assert table.notices == ()


def test_the_line_by_which_excel_names_its_separator_is_no_header(write):
    table = opened(write("sep=;\nid;name\n1;a,b\n"))
    assert (table.columns, table.read().rows(), table.numbered([0])) == (
        ("id", "name"),
        [("1", "a,b")],
        {0: 3},
    )


def test_a_header_that_is_quoted_whole_is_taken_apart(write):
    assert rows(write('"id,name,z"\n"1,a,b"\n')) == [("1", "a", "b")]


@pytest.mark.parametrize("ends", ["\r\n", "\r", "\n"])
def test_every_kind_of_line_end_is_read(write, ends):
    assert rows(write(f"a,b{ends}1,2{ends}3,4{ends}")) == [("1", "2"), ("3", "4")]


def test_mixed_line_ends_are_read(write):
    assert rows(write("a,b\r\n1,2\n3,4\r5,6\r\n")) == [("1", "2"), ("3", "4"), ("5", "6")]


def test_blank_lines_before_the_header_are_skipped_and_counted(write):
    table = opened(write("\n\na,b\n1,2\n"))
    assert table.columns == ("a", "b")
    assert table.read().height == 1
    assert table.numbered([0]) == {0: 4}


def test_a_name_with_stars_and_brackets_is_only_a_name(write):
    assert rows(write("a,b\n1,2\n", "my [new] leads*.csv")) == [("1", "2")]


def test_a_quote_in_the_path_is_only_a_character(write):
    assert rows(write("a,b\n1,2\n", "it's.csv")) == [("1", "2")]


def test_a_line_that_lacks_many_columns_is_one_bad_row(write):
    table = opened(write("a,b,c,d\n1,2,3,4\nTotal: 1 row\n"))
    table.read()
    assert [(r["line"], r["reason"]) for r in table.rejected()] == [
        (3, "the line has fewer columns than the header")
    ]
    assert len(table.rejects) == 1


def test_column_names_below_a_title_are_found(write):
    assert opened(write("Report;;\n;;\nid;name;won\n1;a;0\n")).columns == ("id", "name", "won")


def test_column_names_below_a_line_as_wide_are_pointed_out(write):
    table = opened(write("Report;by;Ada\n;;\nid;name;won\n1;a;0\n"))
    with pytest.raises(SourceError, match="no column 'id'; line 3 names it: remove the lines above"):
        table.require(["id"])


def test_a_name_that_stands_twice_is_numbered_and_said(write):
    table = open_table(TableSource(file=write("id,name,id,id (2),id\n1,a,2,3,4\n")))
    assert table.columns == ("id", "name", "id (3)", "id (2)", "id (4)")
    assert table.read().row(0) == ("1", "a", "2", "3", "4")
    assert [notice.partition("csv: ")[2] for notice in table.notices] == [
        "column 'id' stands there more than once; the one in place 3 is called 'id (3)'",
        "column 'id' stands there more than once; the one in place 5 is called 'id (4)'",
    ]


def test_a_column_without_a_name_gets_one(write):
    assert opened(write(",b\n1,2\n")).columns == ("column_1", "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"PK\x03\x04rest", "spreadsheet or an archive"),
        (b"\x00\x01\x02", "no text file"),
        (b"\x1f\x8b\x08\x00", "is compressed; unpack it first"),
        (b"PAR1broken", "looks like Parquet"),
    ],
)
def test_what_is_no_table_is_refused_by_name(write, content, message):
    path = write(content)
    with pytest.raises(SourceError, match=f"{re.escape(str(path))}.*{message}"):
        opened(path)


def test_headers_without_rows_are_refused(write):
    with pytest.raises(SourceError, match="column names but no rows"):
        opened(write("id,name\n")).read()


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        opened(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="is a folder"):
        opened(tmp_path)


def test_a_missing_column_names_the_nearest_one(write):
    table = opened(write("Prospect ID,Converted\n1,0\n"))
    with pytest.raises(SourceError, match="no column 'prospect id'; did you mean 'Prospect ID'"):
        table.require(["prospect id"])


def test_parquet_keeps_its_types_and_batches_keep_the_order(tmp_path):
    path = tmp_path / "leads.parquet"
    frame = pl.DataFrame({"id": range(1000), "x": [1.5, None] * 500})
    frame.write_parquet(path, row_group_size=100)
    batches = list(opened(path).batches(rows=64))
    assert pl.concat([batch.frame for batch in batches]).equals(frame)
    assert [batch.first for batch in batches][:2] == [0, batches[0].frame.height]


PLAIN = {
    "id": pa.array([f"L{i}" if i % 7 else None for i in range(1000)]),
    "kind": pa.array(["visit", "form", None, "ü"] * 250, pa.large_string()),
    "small": pa.array(range(1000), pa.int16()),
    "large": pa.array([2**63 + i for i in range(1000)], pa.uint64()),
    "share": pa.array([0.5, float("nan"), None, 1.0] * 250),
    "single": pa.array([0.5, None] * 500, pa.float32()),
    "flag": pa.array([True, None] * 500),
    "day": pa.array([0, None] * 500, pa.date32()),
    "local": pa.array(range(1000), pa.timestamp("us")),
    "utc": pa.array(range(1000), pa.timestamp("ms", "UTC")),
    "berlin": pa.array(range(1000), pa.timestamp("ns", "Europe/Berlin")),
    "seconds": pa.array(range(1000), pa.timestamp("s")),
}


@pytest.mark.parametrize("rows", [64, 100, 300, 5000])
def test_plain_columns_of_parquet_are_read_as_pyarrow_reads_them(tmp_path, monkeypatch, rows):
    path, columns = tmp_path / "leads.parquet", ["utc", "id", *(set(PLAIN) - {"utc", "id"})]
    pq.write_table(pa.table(PLAIN), path, row_group_size=100)
    with pq.ParquetFile(path) as file:
        assert tables._is_plain(path, file, columns)
    batches = list(opened(path).batches(rows, columns))
    assert max(batch.frame.height for batch in batches) == min(rows, 1000)
    plain = pl.concat([batch.frame for batch in batches])
    monkeypatch.setattr(tables, "_is_plain", lambda *_: False)
    assert plain.schema == (expected := opened(path).read(columns)).schema
    assert plain.equals(expected)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"a"] * 3),
        pa.array([0] * 3, pa.timestamp("us", "+05:30")),
        pa.array(["a"] * 3).dictionary_encode(),
        pa.array([["a"]] * 3),
        pa.array([1.5] * 3).cast(pa.float16()),
    ],
)
def test_a_column_of_another_type_leaves_its_file_to_pyarrow(tmp_path, column):
    path = tmp_path / "leads.parquet"
    pq.write_table(pa.table({"x": ["a"] * 3, "odd": column}), path)
    with pq.ParquetFile(path) as file:
        assert not tables._is_plain(path, file, ["x", "odd"])
    assert opened(path).read(["x"])["x"].to_list() == ["a"] * 3


def test_times_of_96_bits_and_names_that_are_there_twice_are_left_to_pyarrow(tmp_path):
    path = tmp_path / "leads.parquet"
    pq.write_table(
        pa.table({"at": pa.array([0], pa.timestamp("ns"))}), path, use_deprecated_int96_timestamps=True
    )
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.table([["a"], ["b"]], names=["x", "x"]), twice)
    for each, columns in ((path, ["at"]), (twice, ["x"])):
        with pq.ParquetFile(each) as file:
            assert not tables._is_plain(each, file, columns)


def test_text_of_parquet_that_is_no_utf_8_is_refused(tmp_path):
    path, offsets = tmp_path / "leads.parquet", np.array([0, 3], np.int64)
    text = pa.Array.from_buffers(
        pa.large_string(), 1, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"a\xff\xfe")]
    )
    pq.write_table(pa.table({"x": text}), path)
    with pytest.raises(SourceError, match=f"{re.escape(str(path))} looks like Parquet but cannot be read"):
        opened(path).read()


_PLAIN_STREAM = """
import re, sys
from pathlib import Path
from features.ingest.mapping import TableSource
from features.ingest.tables import open_table
table = open_table(TableSource(file=Path(sys.argv[1])))
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
rows = sum(batch.frame.height for batch in open_table(TableSource(file=Path(sys.argv[2]))).batches(500_000))
first = peak()
rows = sum(batch.frame.height for batch in table.batches(500_000))
print(rows, peak() - first)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_large_parquet_file_of_plain_columns_is_streamed_in_bounded_memory(tmp_path):
    count, random = 20_000_000, np.random.default_rng(1)
    for name, size in (("large", count), ("small", 1_000_000)):
        frame = pl.DataFrame({"x": random.integers(0, 2**62, size)})
        frame.write_parquet(tmp_path / f"{name}.parquet", row_group_size=500_000)
    paths = [str(tmp_path / f"{name}.parquet") for name in ("large", "small")]
    printed = subprocess.run(
        [sys.executable, "-c", _PLAIN_STREAM, *paths], capture_output=True, text=True, check=True
    ).stdout
    rows, growth = map(int, printed.split())
    assert rows == count
    # As a whole it would be 160 MB.
    assert growth < 60


def test_a_parquet_file_does_not_stay_in_memory_while_it_is_read(tmp_path):
    path, groups, rows = tmp_path / "leads.parquet", 30, 20_000
    numbers = np.random.default_rng(1).integers(0, 2**52, groups * rows)
    odd = pa.array(numbers).cast(pa.timestamp("us", "+05:30"))  # of a type that Polars lacks
    pq.write_table(pa.table({"x": odd}), path, row_group_size=rows)
    before, held = pa.total_allocated_bytes(), []
    for batch in opened(path).batches(rows):
        assert batch.frame.height == rows
        held.append(pa.total_allocated_bytes() - before)
    assert len(held) == groups
    assert max(held) < 8 * rows * groups / 3


def test_batches_of_text_keep_the_order_and_their_numbers(write):
    path = write("id,x\n" + "".join(f"{i},{i}\n" for i in range(5000)))
    batches = list(opened(path).batches(rows=1000))
    assert pl.concat([batch.frame for batch in batches])["id"].to_list() == [str(i) for i in range(5000)]
    assert all(batch.frame["id"][0] == str(batch.first) for batch in batches)


# VmHWM is the process's own peak; ru_maxrss would count the test runner that it was forked from.
_STREAM = """
import re, sys
from pathlib import Path
from features.ingest.flat_export import FlatColumns, iter_flat_batches
wanted = FlatColumns({"a": "number", "b": "category"}, "id")
rows = sum(batch.leads.height for batch in iter_flat_batches(Path(sys.argv[1]), wanted))
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(rows, peak // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_file_of_200_mb_is_streamed_in_bounded_memory(tmp_path):
    path, count = tmp_path / "large.csv", 1_000_000
    line = ",12.5,words," + "x" * 180 + "\n"
    with path.open("w") as file:
        file.write("id,a,b,c\n")
        file.writelines(f"{i:07d}{line}" for i in range(count))
    assert path.stat().st_size > 200e6
    command = [sys.executable, "-c", _STREAM, path]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, megabytes = map(int, process.stdout.split())
    assert rows == count
    assert megabytes < 700


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=6)
cells = texts | st.text(" \",;\n'x\\\t|", max_size=6)


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8), st.sampled_from(",;"), st.booleans())
@example(rows=[("", "; ", "\n")], mark=";", quoted=False)
@example(rows=[("\n, ", "", '"'), ("x", "y", "z")], mark=",", quoted=True)
def test_what_python_writes_is_what_is_read(tmp_path_factory, rows, mark, quoted):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=mark, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
        writer.writerows([("aa", "bb", "cc"), *rows])
    result = [tuple((cell or "").strip() for cell in row) for row in opened(path).read().rows()]
    assert result == [tuple(cell.strip() for cell in row) for row in rows]
