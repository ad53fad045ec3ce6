"""Words that may be one are pointed out where a model learns them."""

from __future__ import annotations

import polars as pl
import pytest

from features.ingest.flat_export import FlatColumns, iter_flat_batches, read_flat
from features.ingest.mapping import FlatMapping
from features.ingest.similar_words import find_similar_words


def write(path, words):
    rows = [f"{n};{word};{'yes' if n % 3 else 'no'}" for n, word in enumerate(words)]
    path.write_text("\n".join(["id;source;won", *rows]), encoding="utf-8")
    return path


def similar(words, tmp_path):
    export = read_flat(write(tmp_path / "leads.csv", words), FlatMapping(id="id", label="won"))
    return [notice for notice in export.notices if "differ in nothing but" in notice]


def test_spellings_of_one_word_are_named_the_most_common_first(tmp_path):
    (notice,) = similar(["Web"] * 20 + ["WEB"] * 5 + ["web"] * 3 + ["Fair"] * 10, tmp_path)
    assert notice.startswith("column 'source': 'Web' and 'WEB' and 'web' differ in nothing but capitals")
    assert notice.render("de").startswith("Spalte „source“: 'Web' und 'WEB' und 'web' unterscheiden sich nur")


def test_several_groups_are_counted(tmp_path):
    words = [form for word in "abcde" for form in (f"{word}x", f"{word}X")]
    (notice,) = similar(words * 5, tmp_path)
    assert "(5 such groups in all)" in notice


@pytest.mark.parametrize(
    "words",
    [
        ["Web", "Fair", "Cold call"] * 10,
        ["A+", "A-", "C", "C#", "C++", "1-150", "11-50", "1.5", "15"] * 10,
        ["+", "-", "?"] * 10,
        [f"Firm {n} {form}" for n in range(600) for form in ("GmbH", "gmbh")],
    ],
    ids=["different words", "marks that matter", "nothing but marks", "names"],
)
def test_nothing_is_said_of_other_words(words, tmp_path):
    assert not similar(words, tmp_path)


def test_nothing_is_said_when_leads_are_scored(tmp_path):
    path = write(tmp_path / "new.csv", ["Web", "WEB"] * 20)
    batches = list(iter_flat_batches(path, FlatColumns({"source": "category"}, "id")))
    assert not any("differ in nothing" in notice for batch in batches for notice in batch.notices)


def test_a_word_is_one_word_however_often_it_stands_there():
    assert find_similar_words(pl.Series("x", ["Web"] * 5)) == []
    assert find_similar_words(pl.Series("x", [None, "a b", "A-B"])) == [["A-B", "a b"]]
