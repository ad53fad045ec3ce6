"""What is not known of a lead, and what the model says of the values that it could have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models import artifact
from models.observed_rates import ObservedRates, RateTable
from models.uncertainty import InsufficientEvidence
from serving.attribute_values import attribute_features, known_values, missing_attributes

RATES = ObservedRates(
    100,
    20,
    {
        "industry": RateTable((30, 60, 10, 0), (1, 2, 3, 0), words=("ads", "machinery")),
        "employees": RateTable((50, 30, 20, 0), (1, 2, 3, 0), edges=(10.0, 500.0)),
        "attribute.Need": RateTable((40, 60, 0, 0), (1, 2, 0, 0), words=("none", "urgent")),
    },
)


@pytest.fixture
def known(by_hand):
    return replace(by_hand, observed_rates=RATES)


@pytest.fixture(scope="module")
def saved(model_folder):
    return artifact.load(model_folder)


def row_of(model, **values):
    empty = {spec.name: spec.empty for spec in model.features.specs}
    return empty | values


def test_what_is_known_is_not_missing(known):
    row = row_of(known, industry="ads", business_email=1.0)
    missing = {each.name for each in missing_attributes(known, row, known.score(row, "ada", 5), "en")}
    assert missing == {"employees", "Budget", "Need", "account.region"}


def test_each_value_is_scored_as_if_it_were_the_leads_own(known):
    row = row_of(known)
    by_name = {each.name: each for each in missing_attributes(known, row, known.score(row, "ada", 5), "en")}
    employees = by_name["employees"]
    for side, value in ((employees.lowest, 10.0), (employees.highest, 500.0)):
        assert side.probability == known.score(row | {"employees": value}, "ada", 5).probability
    assert (employees.lowest.text, employees.highest.text) == ("10", "500")
    # Without rates nor a profile there is no value to try.
    assert by_name["account.region"].highest is None


def test_what_qualifies_a_lead_stands_first_and_what_could_change_most_before_the_rest(known):
    row = row_of(known)
    missing = missing_attributes(known, row, known.score(row, "ada", 5), "en")
    assert {each.name for each in missing[:2]} == {"Budget", "Need"}
    kinds = [each.kind for each in missing]
    assert kinds == sorted(kinds, key=["qualification", "contact", "consent", "profile"].index)
    rest = [each.spread for each in missing if each.kind == "profile"]
    assert rest == sorted(rest, reverse=True)


def test_a_number_that_is_withheld_is_told_by_no_other_way(known):
    row = row_of(known)
    score = replace(
        known.score(row, "ada", 5), insufficient=InsufficientEvidence("too_few_outcomes", None, "few")
    )
    missing = missing_attributes(known, row, score, "en")
    assert missing
    assert all(each.lowest is each.highest is None for each in missing)


def test_a_learned_model_says_the_same_of_a_value_alone(saved):
    model = replace(saved, observed_rates=RATES)
    row = row_of(model)
    for each in missing_attributes(model, row, model.score(row, "ada", 5), "de"):
        if each.name == "industry" and each.highest is not None:
            expected = [
                model.score(row | {"industry": value}, "ada", 5).probability for value in ("ads", "machinery")
            ]
            assert [each.lowest.probability, each.highest.probability] == sorted(expected)


def test_every_attribute_is_named_as_events_name_it(by_hand):
    names = set(attribute_features(by_hand))
    assert names == {"industry", "employees", "business_email", "account.region", "Budget", "Need"}
    flag = attribute_features(by_hand)["business_email"][0]
    assert known_values(by_hand, flag) == [0.0, 1.0]
