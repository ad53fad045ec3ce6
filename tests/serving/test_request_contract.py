"""What the model in charge accepts of a lead, its successor accepts as well."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from features.spec import DisplayText, FeatureSet, attribute, history_attribute
from serving.problems import InvalidLead
from serving.request_contract import contract_breaches
from serving.request_parsing import LeadParser

SAYS = DisplayText("{value}", "{value}")
VALUES = {"category": "abc", "number": "12", "flag": "yes"}


def model(*specs, ignored=()):
    return SimpleNamespace(features=FeatureSet(specs), card=SimpleNamespace(ignored=ignored))


def plain(unit, name="x"):
    return attribute(name, family="fit", says=SAYS, unit=unit)


def changing(unit, name="x"):
    return history_attribute(name, family="fit", says=SAYS, unit=unit)


def accepts(candidate, lead):
    try:
        LeadParser(candidate.features, candidate.card.ignored)(lead)
    except InvalidLead:
        return False
    return True


SHAPES = {
    **{f"plain {unit}": model(plain(unit)) for unit in VALUES},
    **{f"changing {unit}": model(changing(unit)) for unit in ("category", "number")},
    "ignored": model(ignored=("x",)),
    "unknown": model(),
}


def requests():
    """Leads with values of x that a model accepts, in either place."""
    for value in VALUES.values():
        yield {"lead_id": "a", "created_at": 1, "as_of": 9, "attributes": {"x": value}}
        change = {"name": "x", "known_at": 2, "value": value}
        yield {"lead_id": "a", "created_at": 1, "as_of": 9, "attribute_history": [change]}


@pytest.mark.parametrize("current", SHAPES)
@pytest.mark.parametrize("new", SHAPES)
def test_a_successor_without_breaches_accepts_what_the_current_model_accepts(current, new):
    before, after = SHAPES[current], SHAPES[new]
    lost = [lead for lead in requests() if accepts(before, lead) and not accepts(after, lead)]
    # A column that nothing read may be read from now on, as what it is.
    if lost and current != "ignored":
        assert contract_breaches(before, after)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_is_its_own_successor(shape):
    assert contract_breaches(SHAPES[shape], SHAPES[shape]) == ""
    assert contract_breaches(SHAPES["unknown"], SHAPES[shape]) == ""


def test_the_breaches_are_named_and_not_too_many():
    old = model(*(plain("number", f"column {number}") for number in range(20)))
    text = contract_breaches(old, model())
    assert text.count("is not accepted") == 5
    assert text.endswith("and 15 more")
    assert contract_breaches(model(plain("category")), model(plain("number"))) == (
        "the attribute 'x' is a number, not text"
    )
