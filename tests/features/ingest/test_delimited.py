"""Text files as they come: damaged bytes, other encodings, a Mac's letters, titles above the columns."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.ingest.flat_export import FlatColumns, iter_flat_batches, read_flat
from features.ingest.mapping import FlatMapping, TableMapping, TableSource
from features.ingest.quarantine import SourceError
from features.ingest.tables import open_table
from features.parsing import as_category, clean_text, strip_missing

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
ROWS = [("a", "für", "ja"), ("b", "groß", "nein"), ("c", "Müll", "ja"), ("d", "Öl", "nein")] * 3


def table(text, tmp_path, written="utf-8", encoding=None):
    path = tmp_path / "leads.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(written))
    return open_table(TableSource(file=path, encoding=encoding))


def export(sep=";", header=("Id", "Größe", "Won")):
    return "\n".join([sep.join(header), *(sep.join(row) for row in ROWS)]) + "\n"


@SHARED_FOLDER
@given(st.integers(1, len(ROWS)))
def test_a_cut_character_changes_its_own_cell_alone(tmp_path, line):
    lines = export().encode().splitlines(keepends=True)
    cell = lines[line].split(b";")[1]
    damaged = lines[line].replace(cell, cell[: cell.index(b"\xc3") + 1])
    whole = table(b"".join(lines), tmp_path).read()
    reader = table(b"".join([*lines[:line], damaged, *lines[line + 1 :]]), tmp_path)
    read = reader.read()
    assert read.columns == ["Id", "Größe", "Won"]
    assert read.filter(pl.int_range(pl.len()) != line - 1).equals(
        whole.filter(pl.int_range(pl.len()) != line - 1)
    )
    assert f"line {line + 1} of this UTF-8 file" in reader.notices[0]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_the_usual_encodings_are_found_out(tmp_path, encoding):
    assert table(export(), tmp_path, encoding).read()["Größe"].to_list() == [row[1] for row in ROWS]


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("shift_jis", "大阪支店"), ("cp1250", "Łódź"), ("iso2022_jp", "名古屋"), ("gb18030", "上海")],
)
def test_an_encoding_that_is_named_counts(tmp_path, encoding, word):
    text = f"Id,{word}\n1,{word}\n"
    read = table(text, tmp_path, encoding, encoding).read()
    assert read.to_dict(as_series=False) == {"Id": ["1"], word: [word]}


def test_a_file_in_another_encoding_than_the_named_one_is_refused(tmp_path):
    text = "Id,Name\n" + "".join(f"{i},大阪支店名古屋\n" for i in range(20))
    with pytest.raises(SourceError, match="is not written in utf-8: 20 lines"):
        table(text, tmp_path, "shift_jis", encoding="utf-8")


def test_an_encoding_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'shift-gis' is no encoding"):
        TableMapping(file="leads.csv", encoding="shift-gis")


def test_a_file_to_score_is_read_in_the_encoding_of_training_unless_it_is_utf8(tmp_path):
    text = "Id,City,Won\n1,大阪,yes\n2,上海,no\n"
    columns = FlatColumns({"City": "category"}, "Id", encoding="shift_jis")
    for encoding in ("shift_jis", "utf-8"):
        (tmp_path / "new.csv").write_bytes(text.encode(encoding))
        batches = list(iter_flat_batches(tmp_path / "new.csv", columns))
        assert pl.concat(batch.leads for batch in batches)["City"].to_list() == ["大阪", "上海"]


spelling = st.sampled_from(["NFC", "NFD"])
word = st.text(st.characters(codec="utf-8", categories=["Lu", "Ll", "Lo"]), min_size=1, max_size=6)
around = st.sampled_from(["", " ", "\u3000", "\u00a0", "\u200b", "\ufeff", "\u2009"])


@given(word, spelling, around, around)
def test_a_word_is_the_same_however_its_letters_are_composed(text, form, before, after):
    spelt = before + unicodedata.normalize(form, text) + after
    assert clean_text(spelt) == clean_text(text)
    assert strip_missing(pl.Series([spelt])).to_list() == strip_missing(pl.Series([text])).to_list()


@given(st.lists(st.text(max_size=8), max_size=20))
def test_a_column_is_cleaned_like_its_values(texts):
    assert strip_missing(pl.Series(texts, dtype=pl.String)).to_list() == [as_category(text) for text in texts]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_values_and_ids_are_found_in_either_spelling(tmp_path, form, kind):
    frame = pl.DataFrame(
        dict(zip(("Schlüssel", "Größe", "Won"), zip(*ROWS, strict=True), strict=True))
    ).with_columns(pl.Series("Schlüssel", [f"ü{i}" for i in range(len(ROWS))]))
    spelt = frame.select(
        pl.col(name).str.normalize(form).alias(unicodedata.normalize(form, name)) for name in frame.columns
    )
    path = tmp_path / f"leads.{kind}"
    spelt.write_csv(path) if kind == "csv" else spelt.write_parquet(path)
    for other in ("NFC", "NFD"):
        mapping = FlatMapping(
            id=unicodedata.normalize(other, "Schlüssel"),
            label="Won",
            roles={unicodedata.normalize(other, "Größe"): "category"},
        )
        read = read_flat(path, mapping).leads
        assert read["lead_id"].to_list() == frame["Schlüssel"].to_list()
        assert read["Größe"].to_list() == frame["Größe"].to_list()


TITLES = {
    "a title": ["Leads report 2024", ""],
    "a title and its filter": ["Leads;;;", "Filter: all, of 2024", "", ""],
    "a title and a date": ["Leads report", "Exported;2024-05-01"],
}


@pytest.mark.parametrize("above", TITLES.values(), ids=TITLES)
@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_columns_are_found_below_a_title(tmp_path, above, sep):
    below = "".join(f"{i}{sep}Fair{sep}{i * 3}{sep}yes\n" for i in range(20))
    text = "\n".join(
        [*(line.replace(";", sep) for line in above), sep.join(["Id", "Source", "Visits", "Won"]), below]
    )
    reader = table(text, tmp_path)
    assert reader.columns == ("Id", "Source", "Visits", "Won")
    assert reader.read().height == 20
    assert f"in line {len(above) + 1} was left out" in reader.notices[0]
    assert reader.numbered([0]) == {0: len(above) + 2}


@pytest.mark.parametrize(
    "text",
    [
        "name\nAda\nBob\n",
        "Id;Source;Won\n1;a;yes;\n2;b;no;\n3;c;no;\n",
        "Id;Source\n1;a;yes\n2;b;no\n",
        "A;B\n1;2\n",
    ],
)
def test_a_first_line_that_may_name_the_columns_does(tmp_path, text):
    reader = table(text, tmp_path)
    assert reader.dialect.header_line == 1
