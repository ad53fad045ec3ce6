"""What is about one person is kept from a model unless somebody asks for it; 0 and 1 are no and yes."""

from __future__ import annotations

import polars as pl
import pytest

from features.ingest.attribute_columns import AttributeReading, read_attributes
from features.ingest.column_extractions import find_extractions
from features.ingest.column_roles import infer_role
from features.ingest.row_validation import ValidatedRows

NAMES = ["Anna Bach", "Ben Koch", "Clara Bach"] * 20
PHONES = ["+49 30 123456", "+49 (30) 654-321", "030/1234567"] * 20
STREETS = ["Hauptstr. 1", "Am Markt 17", "Rue de la Paix 3"] * 20
PERSONAL = {
    "First Name": NAMES,
    "lastname": NAMES,
    "LastName": NAMES,
    "Vorname": NAMES,
    "name": NAMES,
    "Ansprechpartner": NAMES,
    "Prénom": NAMES,
    "Apellidos": NAMES,
    "Contact Name": NAMES,
    "Phone": PHONES,
    "MobilePhone": PHONES,
    "Telefonnummer": PHONES,
    "Street": STREETS,
    "Straße": STREETS,
    "Address Line 1": STREETS,
    "IP Address": ["10.0.0.1", "10.0.0.2"] * 30,
    "Email": ["ann@acme.de"] * 40 + ["n. v."] * 20,
    "LinkedIn": ["linkedin.com/in/ann", "linkedin.com/in/ben"] * 30,
}
OTHERS = {
    "Company Name": NAMES,
    "Campaign Name": ["Spring", "Autumn"] * 30,
    "Phone type": ["mobile", "office"] * 30,
    "Phone calls": ["0", "3", "12"] * 20,
    "Has phone": ["yes", "no"] * 30,
    "City": ["Berlin", "Köln"] * 30,
    "Address quality": ["good", "poor"] * 30,
    "Nombre de salariés": ["10", "50", "200"] * 20,
}


@pytest.mark.parametrize("heading", PERSONAL)
def test_what_names_or_reaches_a_person_is_no_attribute(heading):
    assert infer_role(pl.Series(heading, PERSONAL[heading])).role == "identifier"


@pytest.mark.parametrize("heading", OTHERS)
def test_what_only_sounds_like_a_person_is_an_attribute(heading):
    assert infer_role(pl.Series(heading, OTHERS[heading])).used


def test_a_column_of_numbers_to_call_is_none_however_often_each_stands_there():
    numbers = pl.Series("Phone", [4930123456, 4930654321] * 30)
    assert infer_role(numbers).role == "identifier"


def test_nothing_is_read_out_of_a_persons_name():
    cells = pl.Series("Full Name", ["Groß, Anna", "Koch, Ben", "Bach, Clara", "Groß, Ben"] * 20)
    assert find_extractions(pl.DataFrame([cells]), (infer_role(cells),), {}).extractions == ()


def test_the_output_says_what_is_not_learned_and_a_role_allows_it():
    frame = pl.DataFrame({"First Name": NAMES, "City": ["Berlin", "Köln"] * 30})
    rows = ValidatedRows.from_frame(frame)
    typed = read_attributes(rows, frame, AttributeReading(), ".")
    assert typed.frame.columns == ["City"]
    assert any("First Name" in note and "roles" in note for note in typed.notices)
    allowed = read_attributes(rows, frame, AttributeReading(roles={"First Name": "category"}), ".")
    assert allowed.frame.columns == ["First Name", "City"]
    assert not any("First Name" in note for note in allowed.notices)


@pytest.mark.parametrize(
    "heading", ["Business email", "do_not_call", "Has children", "ist_kunde", "Email Opt Out"]
)
@pytest.mark.parametrize(
    "cells", [["0", "1"] * 20, [0, 1] * 20, [0.0, 1.0, None, 1.0] * 10, ["0.0", "1.0"] * 20]
)
def test_zeros_and_ones_are_no_and_yes(heading, cells):
    assert infer_role(pl.Series(heading, cells)).role == "flag"


@pytest.mark.parametrize(
    "heading", ["Visits", "Number of demos", "Anzahl Termine", "score", "amount", "cluster"]
)
def test_counts_and_codes_that_happen_to_be_zero_and_one_stay_numbers(heading):
    assert infer_role(pl.Series(heading, [0, 1] * 20)).role == "number"


def test_a_few_rows_do_not_show_that_only_zero_and_one_come():
    assert infer_role(pl.Series("newsletter", ["0", "1", "1"])).role == "number"


COMPANIES = {
    "name": (NAMES, "names of companies, which the model does not learn"),
    "Nom": (NAMES, "names of companies, which the model does not learn"),
    "Straße": (STREETS, "addresses of companies, which the model does not learn"),
    "LinkedIn": (PERSONAL["LinkedIn"], "pages of companies, which the model does not learn"),
    "Phone": (PHONES, "phone numbers, which the model does not learn"),
    "Contact Name": (NAMES, "names of persons, which the model does not learn"),
}


def test_what_names_or_reaches_a_company_is_not_called_a_persons():
    frame = pl.DataFrame({heading: cells for heading, (cells, _) in COMPANIES.items()})
    rows = ValidatedRows.from_frame(frame)
    read = read_attributes(rows, frame, AttributeReading(of_companies=True), ".")
    assert {role.column: str(role.reason) for role in read.roles} == {
        heading: reason for heading, (_, reason) in COMPANIES.items()
    }
    assert {role.role for role in read.roles} == {"identifier"}
    assert [str(notice).partition("; ")[0] for notice in read.notices] == [
        "about single persons and not learned: Contact Name",
        "about single companies and not learned: name, Nom, Straße, LinkedIn, Phone",
    ]
