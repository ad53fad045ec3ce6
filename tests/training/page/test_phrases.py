"""What is written down in English is said in German, with German numbers."""

from __future__ import annotations

import re

import pytest

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from features.reading.attributes import TWO_WAYS
from training.checks import checks, findings
from training.dataset import of_history
from training.page.phrases import phrase
from training.page.words import catalogue, words
from training.simulate import simulate

GERMAN = words("de")


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("touchpoints: no time (iso, zone UTC)", "Touchpoints: keine Zeit (iso, Zone UTC)"),
        ("leads: this id stands further up; the first row is kept", "Leads: diese Kennung steht weiter oben"),
        ("not a number; taken as missing", "keine Zahl; gilt als fehlend"),
        (TWO_WAYS, "Tausender oder Nachkommastellen, niemand weiß es"),
        ("identifier: 100% of the values occur once only", "Kennung: 100 % der Werte kommen nur einmal vor"),
        ("filled for 93% of the leads that converted and 1% of the others. Why?", "gefüllt bei 93 % der"),
        (
            "none of the 1,204 leads without it converted, and 12% of all did. Why?",
            "von den 1.204 Leads ohne Wert",
        ),
        (
            "alone it ranks leads with an AUC of 0.981. Was it known?",
            "allein ordnet sie Leads mit einer AUC von 0,981",
        ),
        (
            "12.5% of leads converted where 30.0% were forecast",
            "12,5 % der Leads schlossen ab, vorhergesagt waren 30,0 %",
        ),
    ],
)
def test_a_form_is_said_in_german_with_its_numbers(english, german):
    assert phrase(english, GERMAN).replace("\N{NO-BREAK SPACE}", " ").startswith(german)


def test_what_no_form_fits_and_what_is_english_already_stays():
    assert phrase("something of a later release", GERMAN) == "something of a later release"
    assert phrase("no such lead", words("en")) == "no such lead"


def test_words_of_the_data_are_not_translated():
    assert phrase("flat: every row has 'no such lead'", GERMAN) == "Export: jede Zeile hat 'no such lead'"


def test_every_form_is_found_again_by_its_own_text():
    forms = [str(one.id) for one in catalogue("de") if isinstance(one.id, str) and " " in one.id]
    assert len(forms) > 50
    for form in forms:
        text = re.sub(r"{\w+}", "7", form)
        expected = GERMAN(form, **dict.fromkeys(re.findall(r"{(\w+)}", form), "7"))
        assert phrase(text, GERMAN) == expected


def test_whatever_the_checks_say_of_a_company_has_a_german_form():
    rule = CohortRule(on=("created", "mql"), every=30 * DAY, closed=("sql", "disqualified"))
    company = of_history(simulate(600, seed=3, leak=True).history, rule, LabelSpec("sql", 60 * DAY))
    made = checks(company)
    said = [one.message for one in findings(made)] + [one.reason for one in made if one.reason]
    assert len(said) > 5
    assert [text for text in said if phrase(text, GERMAN) == text] == []
