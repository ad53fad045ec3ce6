"""People read names, machines exchange raw ones, and no two columns are ever called the same."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import polars as pl
import pytest
from full_history import CATALOGUE, FULL_HISTORY
from hypothesis import given
from hypothesis import strategies as st

from features.catalogue import build_feature_set
from features.display_names import DisplayNames, humanise_name, humanise_value
from features.extraction import ColumnExtraction
from features.history import LeadHistory
from features.messages import LANGUAGES
from features.spec import FeatureSet
from models.explanation import render_sentence
from training.report.translator import translator

NAMES = DisplayNames.from_table(
    {
        "country": {"en": "Country of the company", "de": "Land des Unternehmens"},
        "country.DE": {"en": "Germany", "de": "Deutschland"},
        "channel.ad": "Advertising",
        "kind.our own kind": {"en": "Tastings", "de": "Verkostungen"},
        "kind.demo_request": "Demos",
        "stage.mql": {"en": "Warm", "de": "Warm gemacht"},
        "account.sector": {"en": "Sector", "de": "Sektor"},
        "budget": "Money to spend",
        "budget.a": "Little",
    }
)
NAMED = build_feature_set(FULL_HISTORY, names=NAMES)


def sentence(features, name, value, lang="en"):
    return render_sentence(next(spec for spec in features.specs if spec.name == name), value, lang)


def flat(*columns, values=("x", "y")):
    leads = pl.DataFrame({"lead_id": list("ab")} | {name: list(values) for name in columns})
    return LeadHistory.from_leads(leads.with_columns(created_at=pl.lit(0)), 10)


@pytest.mark.parametrize(
    ("feature", "value", "english", "german"),
    [
        ("country", "DE", "Country of the company: Germany", "Land des Unternehmens: Deutschland"),
        ("country", "AT", "Country of the company: AT", "Land des Unternehmens: AT"),
        ("touch.channel.latest", "ad", "Last channel: Advertising", "Letzter Kanal: Advertising"),
        ("our own kind.count", 2.0, "Tastings so far: 2", "Verkostungen bisher: 2"),
        ("demo_request.count", 1.0, "Demos so far: 1", "Demos bisher: 1"),
        ("stage_mql.recency", 86400.0, "In stage Warm for: 1 day", "In Phase Warm gemacht seit: 1 Tag"),
        ("account.sector", "steel", "Sector: steel", "Sektor: steel"),
        ("budget", "a", "Money to spend: Little", "Money to spend: Little"),
    ],
)
def test_columns_values_kinds_and_stages_have_the_companys_names_in_both_languages(
    feature, value, english, german
):
    assert sentence(NAMED, feature, value) == english
    assert sentence(NAMED, feature, value, "de") == german


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("direct", "Direct"),
        ("email", "Email"),
        ("organic search", "Organic search"),
        ("Organic search", "Organic search"),
        ("PAID_SEARCH", "Paid search"),
        ("paid_social", "Paid social"),
        ("empfehlung", "Empfehlung"),
        ("seo", "SEO"),
        ("olx.in", "olx.in"),
        ("eBay", "eBay"),
        ("a56671a54260a44923d32c2f08fad39c", "a56671a54260a44923d32c2f08fad39c"),
        ("spring_24", "spring_24"),
        ("(none)", "(none)"),
    ],
)
def test_a_channel_begins_with_a_capital_wherever_a_reader_sees_it(raw, text):
    features = build_feature_set(flat("Lead Source", values=(raw, "y")))
    assert sentence(features, "Lead Source", raw) == f"Lead Source: {text}"
    assert sentence(features, "Lead Source", raw, "de") == f"Lead Source: {text}"


@pytest.mark.parametrize(
    ("value", "english", "german"),
    [
        (1234567.0, "1,234,567", "1.234.567"),
        (268_755_123.4, "268,755,123", "268.755.123"),
        (-3.5e9, "-3,500,000,000", "-3.500.000.000"),
        (999_999.0, "999,999", "999.999"),
        (0.25, "0.25", "0,25"),
        (0.0000125, "0.0000125", "0,0000125"),
    ],
)
def test_no_reader_meets_an_exponent(value, english, german):
    features = build_feature_set(flat("Umsatz", values=(1.0, 2.0)))
    assert sentence(features, "Umsatz", value) == f"Umsatz: {english}"
    assert sentence(features, "Umsatz", value, "de") == f"Umsatz: {german}"


@pytest.mark.parametrize(
    ("stage", "english", "german"),
    [("mql", "MQL", "MQL"), ("Customer", "Customer", "Kunde"), ("demo_held", "Demo held", "Demo held")],
)
def test_a_stage_without_a_name_of_the_company_has_leadloops_or_its_own(stage, english, german):
    assert DisplayNames().stage(stage).en == english
    assert DisplayNames().stage(stage).de == german
    assert translator("en").label("stages", stage) == english
    assert translator("de").label("stages", stage) == german


def test_only_channels_begin_with_a_capital():
    features = build_feature_set(flat("Branche", values=("direct", "y")))
    assert sentence(features, "Branche", "direct") == "Branche: direct"


def test_channels_that_would_share_a_name_are_told_apart():
    features = build_feature_set(flat("Lead Source", values=("google", "Google")))
    texts = {sentence(features, "Lead Source", value) for value in ("google", "Google")}
    assert texts == {"Lead Source: Google (Google)", "Lead Source: Google (google)"}


def test_a_choice_has_the_name_of_the_value():
    choice = ColumnExtraction("interests", "choice", mark=";", choice="PRICE_LIST")
    leads = pl.DataFrame({"lead_id": ["a"], "created_at": [0], choice.name: [1.0]})
    names = DisplayNames.from_table({"interests": "Wanted", "interests.PRICE_LIST": "The price list"})
    for given_names, text in (
        (names, "Wanted includes The price list: yes"),
        (None, "interests includes Price list: yes"),
    ):
        features = build_feature_set(
            LeadHistory.from_leads(leads, 10), extractions=[choice], names=given_names
        )
        assert sentence(features, choice.name, 1.0) == text


def test_names_travel_with_the_features_and_sets_without_any_keep_their_text():
    assert FeatureSet.from_json(NAMED.to_json()) == NAMED
    assert not any("value_names" in record for record in json.loads(CATALOGUE.to_json()))


def test_names_change_no_feature_and_no_raw_name():
    assert NAMED.names == CATALOGUE.names
    assert [spec.definition for spec in NAMED.specs] == [spec.definition for spec in CATALOGUE.specs]


@pytest.mark.parametrize(
    "columns",
    [
        ("leadSource", "lead_Source", "lead_Source__c"),
        ("lead_status", "hs_lead_status"),
        ("city", "City"),
        ("Lead source", "lead_source"),
    ],
)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_two_columns_with_one_readable_name_stay_distinguishable(columns, lang):
    features = build_feature_set(flat(*columns))
    texts = [sentence(features, name, "x", lang) for name in columns]
    assert len(set(texts)) == len(columns)
    assert all(f"({name})" in text for name, text in zip(columns, texts, strict=True))


def test_two_columns_given_one_name_stay_distinguishable():
    names = DisplayNames.from_table({"a": "Source", "b": "Source"})
    features = build_feature_set(flat("a", "b"), names=names)
    assert sentence(features, "a", "x") == "Source (a): x"


def test_two_values_with_one_readable_name_stay_distinguishable():
    features = build_feature_set(flat("channel_of", values=("PAID_SEARCH", "Paid search")))
    assert sentence(features, "channel_of", "PAID_SEARCH") == "Channel of: Paid search (PAID_SEARCH)"
    assert sentence(features, "channel_of", "Paid search") == "Channel of: Paid search (Paid search)"
    assert sentence(features, "channel_of", "ORGANIC_SEARCH") == "Channel of: Organic search"


@pytest.mark.parametrize(
    "name", ["Lead Source", "city", "numberofemployees", "Ort", "Was suchen Sie?", "MQL", ""]
)
def test_what_is_readable_stays_as_it_is(name):
    assert humanise_name(name) == name
    assert humanise_value(name) == name


@pytest.mark.parametrize(
    ("raw", "readable"),
    [
        ("hs_lead_status", "Lead status"),
        ("hs_source", "Source"),
        ("NumberOfEmployees", "Number Of Employees"),
        ("Lead_Source__c", "Lead Source"),
        ("LinkedInProfile", "LinkedIn Profile"),
        ("UTMSource", "UTM Source"),
        ("account.annual_revenue", "Account annual revenue"),
        ("partner.city", "Partner city"),
        ("größe_der_firma", "Größe der firma"),
        ("__c", "__c"),
        ("hs_", "hs_"),
        ("account.", "account."),
    ],
)
def test_names_of_programs_are_opened(raw, readable):
    assert humanise_name(raw) == readable


@given(st.text(max_size=30))
def test_any_text_is_made_readable_once_and_never_to_nothing(text):
    once = humanise_value(text)
    assert humanise_value(once) == once
    assert bool(humanise_name(text)) == bool(text)


def test_a_table_below_a_key_names_values_and_one_of_languages_names_it():
    quoted = tomllib.loads('"channel.SOCIAL" = "Social media"\n"stage.sql" = { en = "Won", de = "Gewonnen" }')
    bare = tomllib.loads('channel.SOCIAL = "Social media"\nstage.sql = { en = "Won", de = "Gewonnen" }')
    assert DisplayNames.from_table(quoted) == DisplayNames.from_table(bare)
    assert DisplayNames.from_table({"a": {"de": "Nur Deutsch"}}).column("a").en == "Nur Deutsch"


@pytest.mark.parametrize(
    ("table", "part"),
    [
        ({"a": 3}, "'a' should get a name such as"),
        ({"a": " "}, "'a' should get a name such as"),
        ({"a": {}}, "'a' should get a name such as"),
        ({"a": {"en": ["x"]}}, "'a' should get a name such as"),
        ({"a": {"en": "x", "fr": "y"}}, "by language and by value"),
        ({"a": "{value}"}, "'a' should get a name such as"),
    ],
)
def test_a_name_that_is_none_is_refused_by_its_key(table, part):
    with pytest.raises(ValueError, match=part):
        DisplayNames.from_table(table)


def test_names_are_settled_by_the_columns_not_by_the_order_of_rows():
    history = flat("kind_of", values=("PAID_SEARCH", "Paid search"))
    turned = replace(history, leads=history.leads.reverse())
    assert build_feature_set(turned).fingerprint == build_feature_set(history).fingerprint
