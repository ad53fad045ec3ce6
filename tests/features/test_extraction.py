"""What is read out of a cell: the same by column and alone, and of an address nothing but its domain."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.extraction import (
    ColumnExtraction,
    as_cell_text,
    cell_texts,
    extract_column,
    make_extractor,
    split_choices,
    split_words,
)
from features.ingest.column_extractions import find_extractions
from features.ingest.column_roles import infer_role
from features.parsing import strip_missing
from features.spec import DisplayText, FeatureSet, attribute, extracted_attribute

FIRMS = [f"ann{n}@{domain}" for n, domain in enumerate(["acme.de", "Gmail.com", "mit.edu", "uni.ac.uk"] * 5)]
TITLES = [
    "CEO",
    "Leiter Einkauf",
    "VP Sales",
    "Teamleiterin IT",
    "Software Developer",
    "Werkstudent Marketing",
]
TITLES += [
    "Head of HR",
    "Geschäftsführerin",
    "Vertriebsleiter",
    "Personalreferentin",
    "Controller",
    "Praktikant",
]


def found(name, cells, declared=None):
    column = pl.Series(name, cells)
    column = strip_missing(column)
    return find_extractions(pl.DataFrame([column]), (infer_role(column),), declared or {}).extractions


def read_out(name, cells):
    column = pl.Series(name, cells)
    return {
        each.name.partition(": ")[2]: extract_column(each, cell_texts(column)).to_list()
        for each in found(name, cells)
    }


def test_an_address_becomes_domain_country_and_private_or_business():
    columns = read_out("Email", FIRMS)
    assert columns["domain"][:4] == ["acme.de", "gmail.com", "mit.edu", "uni.ac.uk"]
    assert columns["kind"][:4] == ["business", "private", "education", "education"]
    assert columns["country"][:4] == ["DE", None, None, "GB"]
    assert not any("@" in str(value) for values in columns.values() for value in values)


@pytest.mark.parametrize(
    ("cell", "domain"),
    [
        ("Ann Lee <ann@acme.de>", "acme.de"),
        ("mailto:ann@acme.de", "acme.de"),
        ("ann@ACME.de.", "acme.de"),
        ("ann at acme.de", None),
        ("a@b@c", None),
    ],
)
def test_an_address_is_found_in_its_usual_spellings(cell, domain):
    assert make_extractor(ColumnExtraction("Email", "email_domain"))(cell) == domain


def test_nine_of_ten_addresses_make_a_column_of_addresses():
    assert found("Contact", [*FIRMS[:18], "unknown", "call"])
    assert not found("Contact", [*FIRMS[:15], *["unknown", "call"] * 3])


def test_titles_have_ranks_and_departments_in_german_and_english():
    columns = read_out("Job Title", TITLES * 2)
    ranks = dict(zip(TITLES, columns["rank"], strict=False))
    assert ranks["Leiter Einkauf"] == ranks["Vertriebsleiter"] == ranks["Head of HR"] == "director"
    assert (ranks["CEO"], ranks["VP Sales"], ranks["Teamleiterin IT"]) == ("c_level", "vp", "team_lead")
    assert (ranks["Werkstudent Marketing"], ranks["Software Developer"]) == ("student", "specialist")
    departments = dict(zip(TITLES, columns["department"], strict=False))
    assert [departments[title] for title in ("Leiter Einkauf", "Vertriebsleiter", "Head of HR")] == [
        "purchasing",
        "sales",
        "hr",
    ]
    assert departments["Geschäftsführerin"] == "management"


def test_mr_and_mrs_are_no_job_titles():
    assert not found("Title", ["Mr", "Mrs", "Dr", "Herr", "Frau"] * 10)


@pytest.mark.parametrize(
    "spell",
    [
        ";".join,
        "; ".join,
        lambda choices: '["' + '","'.join(choices) + '"]',
        lambda choices: "{" + ",".join(choices) + "}",
        list,
    ],
    ids=["marks", "marks and blanks", "json", "array", "list"],
)
def test_choices_are_a_flag_each_in_any_order_and_spelling(spell):
    cells = [["Demo", "API"], ["API", "Demo"], ["Blog"], ["Blog", "API", "Demo"], ["API", "Blog"]] * 8
    columns = read_out("Interests", [spell(choices) for choices in cells])
    assert columns["Demo"][:5] == [1, 1, 0, 1, 0]
    assert columns["Blog"][:5] == [0, 0, 1, 1, 1]


def test_an_empty_list_is_known_and_a_blank_cell_is_not():
    demo = make_extractor(ColumnExtraction("Interests", "choice", mark=";", choice="Demo"))
    assert (demo("[]"), demo("{}"), demo(None)) == (0, 0, None)


def test_a_text_is_its_words_without_names_of_places_to_write_to():
    text = "Bitte Angebot an max@acme.de, siehe https://acme.de/x oder 0171 1234567. Angebot!"
    assert split_words(text) == ["an", "angebot", "bitte", "oder", "siehe"]
    keep = ColumnExtraction("Note", "words").keep_words
    assert make_extractor(keep(["angebot"]))(text) == "angebot"
    assert make_extractor(keep([]))(text) == ""


def test_texts_of_a_few_words_are_no_prose():
    assert not found("Company", [f"Acme Werk {chr(97 + n)} GmbH" for n in range(26)])
    assert found(
        "Note", [f"we need {chr(97 + n)}{chr(97 + n)} seats for all of our people" for n in range(26)]
    )


@pytest.mark.parametrize(
    "declared", [{"*": "none"}, {"Email": "none"}, {"Email": "none", "*": "words"}], ids=str
)
def test_what_is_declared_as_nothing_is_not_read_out(declared):
    assert found("Email", FIRMS, declared) == ()


def test_a_declared_column_is_read_out_whatever_it_looks_like():
    assert [each.part for each in found("Funktion", ["CEO", "x"] * 10, {"Funktion": "title"})] == [
        "title_rank",
        "title_department",
    ]


texts = st.one_of(
    st.none(),
    st.text(max_size=30),
    st.sampled_from(
        [*FIRMS, *TITLES, "A;B", "B; A;", '["A", null, 3]', "[", '{A,"B, C"}', "{", "[[1]]", "{}"]
    ),
)
EXTRACTIONS = [
    *found("Email", FIRMS),
    *found("Job Title", TITLES * 2),
    ColumnExtraction("X", "choice", mark=";", choice="A"),
    ColumnExtraction("X", "words"),
    ColumnExtraction("X", "words").keep_words(["a", "ceo"]),
]


@given(st.lists(texts, min_size=1, max_size=8))
def test_a_column_and_a_request_are_read_out_alike(cells):
    column = cell_texts(strip_missing(pl.Series("X", cells, dtype=pl.String)))
    for each in EXTRACTIONS:
        extract = make_extractor(each)
        assert extract_column(each, column).to_list() == [extract(as_cell_text(cell)) for cell in cells]


@given(st.lists(st.text(max_size=8), max_size=5))
def test_a_list_is_read_alike_from_a_table_and_a_request(choices):
    column = pl.Series("X", [choices], dtype=pl.List(pl.String))
    cell, sent = cell_texts(column)[0], as_cell_text(choices)
    assert split_choices(cell, ";") == split_choices(sent, ";")


def test_specs_keep_how_they_are_read_out_and_others_stay_as_they_were():
    says = DisplayText("{value}", "{value}")
    plain = FeatureSet((attribute("size", family="fit", says=says),))
    assert "extraction" not in plain.to_json()
    assert plain.fingerprint == "97a97bbc65f5"
    read = FeatureSet(tuple(extracted_attribute(each, family="fit", says=says) for each in EXTRACTIONS[:-2]))
    assert FeatureSet.from_json(read.to_json()) == read
    assert {spec.column for spec in read.specs} == {"Email", "Job Title", "X"}
