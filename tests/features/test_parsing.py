"""A column and a single value are read alike, and what cannot be read is said, never guessed."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.parsing import (
    MISSING,
    as_category,
    as_flag,
    as_number,
    clean_column,
    clean_text,
    minor_units,
    parse_categories,
    parse_flags,
    parse_numbers,
    strip_missing,
)

numberish = st.text("0123456789.,+-eE", max_size=12)
words = st.sampled_from([*MISSING, "Yes", "no", "TRUE", "f", "ja", "J", "1", "0", " y ", "\u00a0t", "maybe"])
cell = st.one_of(st.text(max_size=8), numberish, words, st.floats().map(str), st.integers().map(str))


def one_by_one(read, texts):
    def value(text):
        try:
            return read(text)
        except ValueError:
            return None

    return [value(text) for text in texts]


@given(st.lists(cell, max_size=20), st.sampled_from([".", ","]))
def test_a_column_of_numbers_is_read_like_its_values(texts, decimal):
    column = parse_numbers(strip_missing(pl.Series(texts, dtype=pl.String)), decimal)
    assert column.to_list() == one_by_one(lambda text: as_number(text, decimal), texts)


@given(st.lists(cell, max_size=20))
def test_a_column_of_flags_is_read_like_its_values(texts):
    assert parse_flags(strip_missing(pl.Series(texts, dtype=pl.String))).to_list() == one_by_one(
        as_flag, texts
    )


@given(st.lists(cell, max_size=20))
def test_a_column_of_categories_is_read_like_its_values(texts):
    assert parse_categories(strip_missing(pl.Series(texts, dtype=pl.String))).to_list() == one_by_one(
        as_category, texts
    )


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_survives_its_text(value):
    assert as_number(str(value)) == value
    assert parse_numbers(pl.Series([str(value)])).item() == value


@pytest.mark.parametrize("text", ["1,234", "1 234", "1_000", "0x10", "inf", "1e999", "12%", "٣"])
def test_what_may_mean_two_things_or_nothing_is_no_number(text):
    assert parse_numbers(pl.Series([text])).item() is None
    with pytest.raises(ValueError, match="not a"):
        as_number(text)


def test_a_decimal_comma_is_read_where_it_is_expected():
    assert parse_numbers(pl.Series(["1,5", "1.234,5", "12"]), ",").to_list() == [1.5, 1234.5, 12.0]
    assert as_number("1.234,5", ",") == 1234.5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        as_number(value)


def test_a_flag_must_be_one():
    with pytest.raises(ValueError, match="neither yes nor no"):
        as_flag("maybe")
    with pytest.raises(ValueError, match="neither yes nor no"):
        as_flag(2)


def test_a_code_is_the_same_category_from_a_typed_file_and_from_text():
    assert parse_categories(pl.Series([3.0, 2.5, None])).to_list() == ["3", "2.5", None]
    assert (as_category(3.0), as_category(2.5), as_category(7)) == ("3", "2.5", "7")
    assert parse_categories(pl.Series([True, False])).to_list() == [
        as_category(flag) for flag in (True, False)
    ]


@given(st.integers(-(10**15), 10**15))
def test_money_is_exact_to_the_cent(cents):
    text = f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
    assert minor_units(pl.Series([text])).item() == cents


def test_typed_words_are_words():
    assert strip_missing(pl.Series(["a", "NA"], dtype=pl.Categorical)).to_list() == ["a", None]
    assert strip_missing(pl.Series([1.5, float("nan")])).to_list() == [1.5, None]


def test_missing_words_are_the_readers_choice():
    assert strip_missing(pl.Series(["Select", "x", "NA"]), ("Select",)).to_list() == [None, "x", "NA"]


@given(st.lists(st.one_of(st.none(), cell), min_size=1, max_size=20))
def test_a_long_column_of_a_few_words_is_stripped_as_a_short_one(texts):
    short = pl.Series(texts, dtype=pl.String)
    long = pl.concat([short] * (1 + 10_001 // len(texts)))
    expected = strip_missing(short).to_list()
    assert strip_missing(long).head(len(texts)).to_list() == expected
    assert strip_missing(long).tail(len(texts)).to_list() == expected


def test_of_ascii_the_same_blanks_are_stripped_from_columns_as_from_texts():
    texts = [f"{chr(code)}x{chr(code)}" for code in range(128)]
    assert clean_column(pl.Series(texts)).to_list() == [clean_text(text) for text in texts]
