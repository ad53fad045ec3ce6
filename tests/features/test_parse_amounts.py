"""A number printed for people is read where it can mean one thing, and is no number where it can mean two."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.ingest.column_roles import DOUBTFUL, cast_column, infer_role
from features.number_marks import collect_mark_evidence
from features.parsing import minor_units, parse_amounts, parse_numbers

MANY = 200
cents = st.integers(-(10**11), 10**11)
DECIMALS = [".", ","]


def read(text, decimal="."):
    return parse_amounts(pl.Series([text]), decimal).item()


def printed(value, group, mark):
    return f"{value / 100:,.2f}".translate(str.maketrans({",": group, ".": mark}))


@pytest.mark.parametrize("decimal", DECIMALS)
@given(cents, st.sampled_from([(",", "."), (".", ","), ("'", "."), ("\u2019", "."), ("\u00a0", ",")]))
def test_an_amount_with_its_currency_is_read_in_every_file(decimal, value, marks):
    text = printed(value, *marks)
    for displayed in (
        f"{text} €",
        f"{text}EUR",
        f"CHF {text}",
        text.replace("-", "-$") if value < 0 else f"${text}",
    ):
        assert read(displayed, decimal) == value / 100


@pytest.mark.parametrize("decimal", DECIMALS)
@given(cents.filter(lambda value: abs(value) >= 10**5), st.sampled_from([(",", "."), (".", ","), ("'", ".")]))
def test_two_separators_settle_which_is_which(decimal, value, marks):
    assert read(printed(value, *marks), decimal) == value / 100


@pytest.mark.parametrize("decimal", DECIMALS)
@given(cents.filter(lambda value: value < -(10**5)), st.sampled_from([(",", "."), (".", ",")]))
def test_an_amount_in_brackets_is_taken_off(decimal, value, marks):
    text = printed(-value, *marks)
    for displayed in (f"({text})", f"(${text})", f"$({text})", f"({text} €)"):
        assert read(displayed, decimal) == value / 100


def test_brackets_that_hold_no_amount_are_no_number():
    assert [read(text) for text in ("(1,234)", "(-5.00)", "(a)", "()", "(5) 6")] == [None] * 5


@pytest.mark.parametrize("decimal", DECIMALS)
def test_a_currency_settles_what_a_group_of_three_is(decimal):
    assert [read(text, decimal) for text in ("$12,500", "12.500 €", "1 200 €")] == [12500, 12500, 1200]


def test_a_percentage_keeps_the_decimal_mark_of_its_file():
    assert [read("7 %"), read("7.5%"), read("7,5 %", ","), read("7,5%")] == [7, 7.5, 7.5, None]


@given(
    st.lists(st.text("0123456789.,'€$% -\u2013KkMmTB", max_size=10), max_size=20), st.sampled_from(DECIMALS)
)
def test_what_was_a_number_before_is_the_same_number_now(texts, decimal):
    column = pl.Series(texts, dtype=pl.String)
    plain, read_now = parse_numbers(column, decimal), parse_amounts(column, decimal)
    known = plain.is_not_null()
    assert read_now.filter(known).to_list() == plain.filter(known).to_list()


@given(
    st.lists(st.text("0123456789.,'€$% -\u2013KkMmTB", max_size=10), max_size=20), st.sampled_from(DECIMALS)
)
def test_a_value_means_the_same_whatever_stands_beside_it(texts, decimal):
    alone = [parse_amounts(pl.Series([text]), decimal).item() for text in texts]
    assert parse_amounts(pl.Series(texts, dtype=pl.String), decimal).to_list() == alone


@pytest.mark.parametrize("text", ["1,234", "12 34", "$", "% 5", "€1,23,45", "1.2.3 €", "030 123 456", "$1e5"])
def test_what_can_mean_two_things_or_nothing_is_no_amount(text):
    assert read(text) is None


@pytest.mark.parametrize("values", [["$1,250.00", "$9.90"], ["5 %", "12.5 %"], ["1'250", "900"]])
def test_a_column_of_amounts_is_a_number(values):
    column = pl.Series("x", values * MANY)
    assert infer_role(column).role == "number"
    assert cast_column(column, "number").null_count() == 0


def test_amounts_in_two_currencies_are_no_numbers_to_compare():
    result = infer_role(pl.Series("x", ["$5.00", "€7.00"] * MANY))
    assert (result.role, result.reason) == ("category", "words: numbers with different units, $ and €")


def test_points_that_part_thousands_beside_small_numbers_are_not_taken_for_decimals():
    assert infer_role(pl.Series("x", ["950", "12.500"] * MANY), ",").reason == DOUBTFUL
    assert infer_role(pl.Series("x", ["950", "12.5"] * MANY), ",").role == "number"
    assert infer_role(pl.Series("x", ["0.950", "12.500"] * MANY), ",").role == "number"


def test_doubtful_numbers_that_occur_once_only_still_say_why():
    result = infer_role(pl.Series("x", [f"{i},{100 + i}" for i in range(1, MANY)]))
    assert result.role == "identifier"
    assert DOUBTFUL in result.reason


@pytest.mark.parametrize("decimal", DECIMALS)
@pytest.mark.parametrize(
    "mark",
    ["{} kr", "{} kr.", "CAD {}", "CA${}", "R$ {}", "{} zł", "{} Kč", "SEK {}", "Rs. {}", "{} PLN", "₽{}"],
)
@given(cents.filter(lambda value: value >= 0))
def test_amounts_of_other_countries_are_amounts(mark, decimal, value):
    for group, point in ((",", "."), (".", ","), (" ", ","), ("'", ".")):
        assert read(mark.format(printed(value, group, point)), decimal) == value / 100


@pytest.mark.parametrize("decimal", DECIMALS)
def test_a_minus_is_a_minus_wherever_it_stands(decimal):
    texts = ["-1.250,50", "\N{MINUS SIGN}1.250,50", "1.250,50-", "1.250,50 €-", "(1.250,50)"]
    assert [read(text, decimal) for text in texts] == [-1250.5] * 5


def test_groups_by_blanks_and_by_two_are_groups():
    texts = ["12 345", "1 234 567,891", "12,34,567", "₹ 1,23,456.50", "1 234,567"]
    assert [read(text) for text in texts] == [12345, 1234567.891, 1234567, 123456.5, 1234.567]


def test_the_decimal_mark_of_a_column_is_the_one_its_values_show():
    column = pl.Series("x", ["723,54", "50,9", "1 328,51", "12"] * 10)
    assert infer_role(column, ".").role == "number"
    marks = collect_mark_evidence(column).expected(".")
    assert cast_column(column, "number", ".", marks)[:4].to_list() == [723.54, 50.9, 1328.51, 12]


@pytest.mark.parametrize("decimal", DECIMALS)
def test_a_price_without_cents_has_thousands_and_no_decimals(decimal):
    texts = ["1.234,-", "EUR 1.234,--", "CHF 1'234.\u2013", "99,-", "-5,-", "1.250.000,- €"]
    assert [read(text, decimal) for text in texts] == [1234, 1234, 1234, 99, -5, 1_250_000]


@pytest.mark.parametrize("decimal", DECIMALS)
def test_thousands_millions_and_billions_may_stand_behind_a_number(decimal):
    texts = ["12.5K", "2,5 Mio. €", "$1.2B", "450 Tsd. EUR", "0.083M", "250 T€", "(€2m)", "7 Mrd", "-3k"]
    numbers = [12_500, 2_500_000, 1.2e9, 450_000, 83_000, 250_000, -2_000_000, 7e9, -3000]
    assert [read(text, decimal) for text in texts] == numbers


@pytest.mark.parametrize("text", ["5 m", "12 t", "2B", "1.250K", "1.250 Mio", "3K-5K", "10k+", "K", "5 kg"])
def test_a_letter_that_may_mean_something_else_is_no_magnitude(text):
    assert read(text) is None


def test_cents_of_millions_are_exact():
    assert minor_units(pl.Series(["12.5K", "$1.2M", "99,-"])).to_list() == [1_250_000, 120_000_000, 9900]


def test_a_sign_that_an_export_guards_from_spreadsheets_is_a_sign():
    assert [read("'-12.5"), read("'+49"), read("'00123")] == [-12.5, 49, None]


def test_numbers_with_a_unit_behind_them_are_words_and_said_to_be():
    column = pl.Series("x", [f"{n} days" for n in range(20, 80)] * 2)
    assert (
        infer_role(column).reason
        == "words: numbers with days behind them; write plain numbers to use it as one"
    )
    codes = pl.Series("x", [f"{n}A{n}" for n in range(20, 80)] * 2)
    assert "behind" not in str(infer_role(codes).reason)
