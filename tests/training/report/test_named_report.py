"""The report calls columns, values, kinds and stages as the company does, in each of its languages."""

from __future__ import annotations

import pytest
from full_history import FULL_HISTORY

from features.catalogue import build_feature_set
from features.display_names import DisplayNames
from training.leakage.checks import Check, Finding, format_checks
from training.points.conditions import Condition
from training.report.translator import translator

NAMES = DisplayNames.from_table(
    {
        "country": {"en": "Country: where", "de": "Land"},
        "country.DE": {"en": "Germany", "de": "Deutschland"},
        "stage.sql": {"en": "Handed over", "de": "Übergeben"},
        "kind.visit": "Visits to us",
        "offer.GUIDE_A": {"en": "Our guide", "de": "Unser Leitfaden"},
        "hs_won": {"en": "Won deals", "de": "Gewonnen"},
    }
)
COUNTRY = next(s for s in build_feature_set(FULL_HISTORY, names=NAMES).specs if s.name == "country")


def named(lang):
    return translator(lang).with_names(NAMES.texts)


@pytest.mark.parametrize(
    ("lang", "title", "value", "condition"),
    [
        ("en", "Country: where", "Germany", "Country: where: Germany"),
        ("de", "Land", "Deutschland", "Land: Deutschland"),
    ],
)
def test_titles_values_and_conditions_have_the_given_names(lang, title, value, condition):
    assert named(lang).title(COUNTRY) == title
    assert named(lang).value(COUNTRY, "DE") == value
    assert Condition(COUNTRY, "is", "DE").says(lang) == condition


@pytest.mark.parametrize(
    ("lang", "stage", "question", "offer", "outcome"),
    [
        ("en", "Handed over", "Handed over within 60 days", "Our guide", "Won deals"),
        ("de", "Übergeben", "Übergeben innerhalb von 60 Tagen", "Unser Leitfaden", "Gewonnen"),
    ],
)
def test_stages_questions_and_offers_have_the_given_names(lang, stage, question, offer, outcome):
    t = named(lang)
    assert t.label("stages", "sql") == stage
    assert t.label("kinds", "visit") == "Visits to us"
    assert t.question("sql within 60 days") == question
    assert t.question("hs_won") == outcome
    assert t.offer("GUIDE_A") == offer


def test_without_names_they_are_made_readable_and_ours_stay():
    t = translator("de")
    assert [t.label("stages", name) for name in ("mql", "sales_qualified", "Angebot")] == [
        "MQL",
        "Sales qualified",
        "Angebot",
    ]
    assert t.label("kinds", "demo_call") == "Demo call"
    assert t.label("recipes", "own_thing") == "own_thing"
    assert t.offer("SPRING_GUIDE") == "Spring guide"


def test_columns_of_which_a_check_says_the_same_share_a_line():
    said = [("a", "empty"), ("b", "empty"), ("c", "empty"), ("d", "empty"), ("e", "late")]
    findings = tuple(Finding("LC006", "info", column, message) for column, message in said)
    lines = list(format_checks((Check("LC006", "columns vary", findings),)))
    assert lines[1:] == ["LC006  info    a, b, c, 1 more: empty", "LC006  info    e: late"]
    alone = Finding("LC017", "high", "", "calls come with the outcome")
    assert list(format_checks((Check("LC017", "events", (alone,)),)))[1:] == [
        "LC017  high    calls come with the outcome"
    ]


def test_check_names_a_column_with_its_own_name_behind_it_as_the_configuration_needs_it():
    finding = Finding("LC004", "medium", "country", "it is late")
    lines = list(format_checks((Check("LC004", "late", (finding,)),), NAMES))
    assert lines[-1] == "LC004  medium  Country: where (country): it is late"
    assert named("de").column("country") == "Land (country)"
    assert named("de").column("region") == "region"
