"""A company's own word for a touchpoint is suggested a known kind where it means one, and never otherwise."""

import pytest

from features.catalogue import KINDS
from features.ingest.touchpoint_kinds import suggest_kinds
from features.word_lists import cell_words

MEANT = {
    "demo_request": "Demo request|Demo anfordern|Demande de démo|Solicitud de demo|Demo requst",
    "price_request": "Request a quote|Angebot angefordert|Demande de devis|PREISANFRAGE",
    "email_open": "Email Opened|E-Mail geöffnet|EMAIL_OPEN|e-mail ouvert",
    "email_subscribe": "Newsletter Anmeldung|Subscribed|Abonnement",
    "email_unsubscribe": "Newsletter-Abmeldung|Unsubscribed|Désabonnement",
    "form": "FORM_SUBMISSION|Formular ausgefüllt|FormSubmitted",
    "webinar": "Webinar attended|Webinarteilnahme",
    "signup": "Trial started|Registrierung",
}
OTHER = (
    "Tasting|Anruf|Outbound call|Meeting|Messebesuch|Demo cancelled|Demo abgesagt|Demo no-show|Demo gehalten|"
    "Webinar no-show|Email bounced|EMAIL_SENT|Trial expired|Invited to webinar|OPEN|CLICK||***|7"
)


@pytest.mark.parametrize("kind", MEANT)
def test_a_kind_is_known_by_its_meaning_in_any_language(kind):
    words = MEANT[kind].split("|")
    assert suggest_kinds(words) == dict.fromkeys(words, kind)


def test_what_did_not_happen_or_means_something_else_is_suggested_nothing():
    assert suggest_kinds(OTHER.split("|")) == {}


def test_known_kinds_need_no_suggestion():
    assert suggest_kinds(KINDS) == {}


def test_no_phrase_of_the_list_stands_for_two_kinds():
    phrases = [word for kind in KINDS for word in cell_words("touchpoint_kinds", kind)]
    assert sorted({phrase for phrase in phrases if phrases.count(phrase) > 1}) == []


def test_thousands_of_values_and_endless_ones_are_looked_at_in_part():
    assert suggest_kinds([*(f"x{i}" for i in range(500)), "Demo request"]) == {}
    assert suggest_kinds(["demo " * 10_000]) == {}
