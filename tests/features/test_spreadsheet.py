"""No cell that we write is a formula to a spreadsheet, and none is another text when we read it again."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.spreadsheet import escape_formula, escape_formulas, unescape_formula, unescape_formulas

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
NUMBERS = ("-5", "+49", "-1.5", "-1,5", "+1e6", "-.5")
cells = st.text(
    st.sampled_from("=+-@\t\r\n'\uff1d1,.eEa ") | st.characters(exclude_categories=["Cs"]), max_size=8
)


@pytest.mark.parametrize("first", DANGEROUS)
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(first):
    assert escape_formula(f"{first}cmd") == f"'{first}cmd"
    assert escape_formula(first) == f"'{first}"


@pytest.mark.parametrize("text", [*NUMBERS, "", "Ada", "a=b", "'", "'Ada", "1-2", " =x"])
def test_what_is_no_formula_stays(text):
    assert escape_formula(text) == text


@pytest.mark.parametrize("text", ["-5\n=x", "+1=2", "-1,5,5", "-e5"])
def test_what_only_begins_like_a_number_is_no_number(text):
    assert escape_formula(text) == f"'{text}"


@given(cells)
def test_every_text_comes_back_as_it_was_and_none_begins_a_formula(text):
    written = escape_formula(text)
    assert unescape_formula(written) == text
    assert not written.startswith(DANGEROUS) or written in NUMBERS or written == text


@given(st.lists(cells | st.none(), min_size=1, max_size=6))
def test_a_frame_is_escaped_cell_by_cell(texts):
    frame = pl.DataFrame({"lead_id": pl.Series(texts, dtype=pl.String), "=score": [-1.5] * len(texts)})
    written = escape_formulas(frame)
    assert written["lead_id"].to_list() == [None if t is None else escape_formula(t) for t in texts]
    assert written.columns == ["lead_id", "'=score"]
    assert written["'=score"].dtype == pl.Float64
    assert_frame_equal(unescape_formulas(written), frame)


def test_categories_are_text():
    frame = pl.DataFrame({"grade": pl.Series(["=A", "B"], dtype=pl.Categorical)})
    assert escape_formulas(frame)["grade"].to_list() == ["'=A", "B"]
