"""Whole numbers that name something, or that are dates, are no amounts; amounts and counts stay numbers."""

from __future__ import annotations

import random

import polars as pl
import pytest

from features.ingest.code_columns import detect_number_times
from features.ingest.column_roles import infer_role

MANY = 200
RANDOM = random.Random(1)  # noqa: S311 - values for tests


def some(low, high, count=MANY):
    return [RANDOM.randint(low, high) for _ in range(count)]


CODES = {
    "phone": ("Phone Number", some(491511000000, 491519999999), "identifier"),
    "Telefon": ("Telefon", some(4930100000, 4930999999), "identifier"),
    "owner": ("Contact owner ID", [48123, 77120, 51234] * MANY, "category"),
    "company": ("companyId", some(31245678901, 31245999999), "identifier"),
    "zip": ("Zip Code", [80331, 10115, 50667] * MANY, "category"),
    "Postleitzahl": ("Postleitzahl", [80331, 10115] * MANY, "category"),
    "long codes of any name": ("Reference", [491511000000 + 977 * i for i in range(MANY)], "identifier"),
    "a day": ("Created", [20240000 + 100 * (1 + i % 12) + 1 + i % 28 for i in range(MANY)], "date"),
    "seconds": ("created_at", some(1_600_000_000, 1_700_000_000), "date"),
    "milliseconds": ("lastmodified", some(1_600_000_000_000, 1_700_000_000_000), "date"),
    "days of a spreadsheet": ("Erstelldatum", some(45000, 45400), "date"),
    "a shuffled index": ("x", RANDOM.sample(range(MANY), MANY), "identifier"),
    "an index of pandas": ("__index_level_0__", RANDOM.sample(range(10 * MANY), MANY), "identifier"),
    "a column without a name": ("column_1", RANDOM.sample(range(10 * MANY), MANY), "identifier"),
}
AMOUNTS = {
    "visits": ("Visits", some(0, 30)),
    "phone calls": ("Phone calls", some(0, 9)),
    "employees": ("Number of employees", some(1, 50_000)),
    "revenue": ("Revenue", [1000 * i for i in some(100_000, 999_999)]),
    "score": ("score", some(0, 100)),
    "seconds on the site": ("time_on_site", some(0, 5000)),
    "year": ("founded", some(1950, 2024)),
    "paid": ("paid", some(0, 10)),
}


def spellings(values):
    return {
        "text": pl.Series([str(value) for value in values]),
        "integers": pl.Series(values),
        "floats": pl.Series([float(value) for value in values]),
        "floats as text": pl.Series([f"{value}.0" for value in values]),
    }


@pytest.mark.parametrize(("name", "values", "role"), CODES.values(), ids=CODES)
def test_numbers_that_name_something_are_no_amounts(name, values, role):
    for spelling, column in spellings(values).items():
        assert infer_role(column.alias(name)).role == role, spelling


@pytest.mark.parametrize(("name", "values"), AMOUNTS.values(), ids=AMOUNTS)
def test_amounts_and_counts_are_numbers(name, values):
    for spelling, column in spellings(values).items():
        assert infer_role(column.alias(name)).role == "number", spelling


@pytest.mark.parametrize("mark", [";", "; ", "|", ", "])
def test_several_choices_in_a_cell_are_named(mark):
    choices = ["Demo", "Price", "Blog", "Events", "API"]
    cells = [mark.join(RANDOM.sample(choices, RANDOM.randint(1, 4))) for _ in range(MANY)]
    reason = infer_role(pl.Series("Interests", cells)).reason
    assert (reason.key, reason.values["choices"]) == ("columns.choices", 5)
    assert (
        infer_role(pl.Series("City", ["Paris, France", "Berlin, Germany", "Rome"] * MANY)).reason == "words"
    )


@pytest.mark.parametrize(
    ("name", "scale", "pattern"),
    [
        ("created", 1, "epoch_s"),
        ("occurred_at", 1_000, "epoch_ms"),
        ("event_timestamp", 1_000_000, "epoch_us"),
    ],
)
def test_numbers_since_1970_are_times_by_their_name_and_range(name, scale, pattern):
    numbers = [(1_709_251_200 + 86_400 * n) * scale for n in range(40)]
    assert detect_number_times(pl.Series(name, numbers)).pattern == pattern
    assert detect_number_times(pl.Series(name, list(map(str, numbers)))).pattern == pattern
    assert infer_role(pl.Series(name, numbers)).role == "date"
    assert detect_number_times(pl.Series("facebook_lead", numbers)) is None


def test_ids_with_as_many_digits_as_microseconds_are_no_times():
    assert (
        infer_role(pl.Series("Lead", [1_709_251_200_000_000 + 7 * n for n in range(40)])).role == "identifier"
    )
