"""What a column is taken for follows from its values, with a reason that a reader can check."""

from __future__ import annotations

import polars as pl
import pytest

from features.ingest.column_roles import cast_column, infer_role

MANY = 200


@pytest.mark.parametrize(
    ("values", "role"),
    [
        ([str(i % 7) for i in range(MANY)], "number"),
        (["0", "1"] * MANY, "flag"),
        (["1.5", "-2e3", None, ".5"] * MANY, "number"),
        ([f"{i:.2f}" for i in range(MANY)], "number"),
        (["Yes", "No"] * MANY, "flag"),
        (["ja", "nein", None] * MANY, "flag"),
        (["t", "F"] * MANY, "flag"),
        (["M", "F"] * MANY, "category"),
        (["F", None] * MANY, "category"),
        (["01099", "80331"] * MANY, "category"),
        ([f"{i:05d}" for i in range(MANY)], "identifier"),
        ([f"c{i % 150}" for i in range(MANY)], "category"),
        ([f"lead-{i}" for i in range(MANY)], "identifier"),
        ([f"{i} " + "we would like to know more about it " * 3 for i in range(MANY)], "text"),
        (["2024-01-01", "2024-02-29 10:00"] * MANY, "date"),
        (["31.12.2023", "1.1.2024"] * MANY, "date"),
        (["same"] * MANY, "constant"),
        (["5"] * MANY, "constant"),
        ([None] * MANY, "empty"),
        (["1,234", "5,678"] * MANY, "category"),
    ],
)
def test_a_column_is_what_its_values_say(values, role):
    assert infer_role(pl.Series("x", values, dtype=pl.String)).role == role


def test_ten_thousand_categories_are_categories():
    column = pl.Series("x", [f"c{i % 10_000}" for i in range(25_000)])
    result = infer_role(column)
    assert (result.role, result.distinct) == ("category", 10_000)


def test_few_rows_are_no_proof_of_an_identifier():
    assert infer_role(pl.Series("x", ["a", "b", "c"])).role == "category"


def test_a_few_words_among_numbers_do_not_make_it_a_category():
    mostly = pl.Series("x", [str(i) for i in range(995)] + ["many"] * 5)
    assert infer_role(mostly).role == "number"
    assert cast_column(mostly, "number").null_count() == 5
    assert infer_role(pl.Series("x", [str(i % 9) for i in range(90)] + ["many"] * 10)).role == "category"


def test_a_few_words_among_dates_do_not_make_it_a_category():
    assert infer_role(pl.Series("x", ["2024-01-01", "2024-02-03"] * 47 + ["soon"] * 6)).role == "date"


def test_dates_whose_day_and_month_could_be_swapped_are_no_category():
    result = infer_role(pl.Series("x", ["01/02/2024", "03/04/2024"] * MANY))
    assert result.role == "date"
    assert "swapped" in result.reason


@pytest.mark.parametrize("step", [1, -1])
def test_a_column_that_counts_the_rows_says_nothing_of_a_lead(step):
    counted = infer_role(pl.Series("x", [str(500 + step * i) for i in range(MANY)]))
    assert (counted.role, counted.reason) == ("identifier", "numbers the rows")
    assert infer_role(pl.Series("x", [str(500 + step * (i + i // 9)) for i in range(MANY)])).role == "number"


def test_a_constant_of_a_page_of_text_is_named_by_its_beginning():
    reason = infer_role(pl.Series("x", ["lorem ipsum " * 999] * 9)).reason
    assert reason == "every row has 'lorem ipsum lorem ipsum lorem ipsum lor..."


def test_numbers_with_many_words_among_them_are_pointed_out():
    result = infer_role(pl.Series("x", ([str(i % 9) for i in range(80)] + ["unknown"] * 20)))
    assert (result.role, result.reason[:37]) == ("category", "words, but mostly numbers: 80.0% of t")


def test_commas_that_could_mean_two_things_are_pointed_out():
    assert "commas" in infer_role(pl.Series("x", ["1,234", "5,678"] * MANY)).reason


def test_typed_columns_are_what_their_type_says():
    assert infer_role(pl.Series("x", [True, False])).role == "flag"
    assert infer_role(pl.Series("x", [1, 2])).role == "number"
    assert infer_role(pl.Series("x", ["2024-01-01", "2024-01-02"]).str.to_date()).role == "date"
    assert infer_role(pl.Series("x", [[1], [2]])).role == "text"


def test_the_types_of_attributes_are_numbers_and_words_only():
    assert cast_column(pl.Series("x", ["yes", "no"]), "flag").dtype == pl.Float64
    assert cast_column(pl.Series("x", [1, 2]), "category").to_list() == ["1", "2"]
    with pytest.raises(ValueError, match="no attribute"):
        cast_column(pl.Series("x", ["a"]), "identifier")
