"""Who takes which leads: by the attributes of a lead alone, and never by chance that a day draws."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import pytest

from models.handover_plan import (
    Exclusion,
    HandoverPlan,
    PlanError,
    attribute_text,
    parse_plan,
    read_plan,
    with_capacities,
)
from models.handover_selection import lead_lot

EXAMPLE = """
owner = "owner"
territory = "country"
reserve = 5

[owners]
anna = 20
ben = 10

[teams]
dach = ["anna", "ben"]

[territories]
DE = "dach"
FR = "ben"

[[exclude]]
reason = "customer"
attribute = "stage"
is = "customer"

[[exclude]]
reason = "student"
attribute = "job_title"
contains = ["student", "Schüler"]
"""


@pytest.fixture
def plan(tmp_path):
    file = tmp_path / "handover.toml"
    file.write_text(EXAMPLE, encoding="utf-8")
    return read_plan(file)


@pytest.mark.parametrize(
    ("values", "owners", "reason"),
    [
        ({"owner": "anna"}, ("anna",), ""),
        ({"owner": "ANNA"}, ("anna",), ""),
        ({"owner": "somebody who left", "country": "FR"}, ("ben",), ""),
        ({"owner": None, "country": "de"}, ("anna", "ben"), ""),
        ({"owner": None, "country": "US"}, (), ""),
        ({}, (), ""),
        ({"owner": "anna", "stage": "Customer"}, ("anna",), "customer"),
        ({"owner": "anna", "job_title": "WERKSTUDENTIN"}, ("anna",), "student"),
        ({"owner": "anna", "job_title": "SCHÜLER"}, ("anna",), "student"),
        ({"owner": "anna", "stage": "customer", "job_title": "student"}, ("anna",), "customer"),
    ],
)
def test_a_lead_belongs_where_its_attributes_say(plan, values, owners, reason):
    assert (plan.takers(values).owners, plan.reason(values)) == (owners, reason)
    names = (plan.owner_attributes, plan.excluding_attributes)
    assert names == (("owner", "country"), ("stage", "job_title"))


def test_a_team_shares_its_leads_by_capacity_and_each_lead_stays_with_one_of_it(plan):
    takers = plan.takers({"country": "DE"})
    lots = [lead_lot(f"lead {n}") for n in range(6_000)]
    shares = Counter(map(takers.owner_of, lots))
    assert set(shares) == {"anna", "ben"}
    assert shares["anna"] / len(lots) == pytest.approx(2 / 3, abs=0.03)
    assert list(map(takers.owner_of, lots)) == list(map(plan.takers({"country": "DE"}).owner_of, lots))


def test_with_a_capacity_for_anybody_whoever_has_leads_is_an_owner():
    plan = HandoverPlan(owners={"anna": 3}, capacity=5)
    assert plan.takers({"owner": "zoe"}).owners == ("zoe",)
    assert (plan.capacity_of("zoe"), plan.capacity_of("anna")) == (5, 3)
    assert plan.takers({"owner": None}).owners == ()


def test_without_owners_a_plan_only_leaves_leads_out():
    plan = HandoverPlan(exclusions=(Exclusion("customer", "stage", ("customer",)),))
    assert not plan.has_owners
    assert (plan.reason({}), plan.reason({"stage": "customer"})) == ("", "customer")


def test_capacities_of_a_request_leave_territories_and_exclusions_as_they_are(plan):
    changed = with_capacities(plan, {"ben": 3})
    assert changed.takers({"owner": "anna", "country": "DE"}).owners == ("ben",)
    assert changed.takers({"owner": "anna"}).owners == ()
    assert changed.exclusions == plan.exclusions
    alone = with_capacities(None, {"zoe": 4})
    assert (alone.takers({"owner": "zoe"}).owners, alone.capacity_of("zoe")) == (("zoe",), 4)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('" DE "', "DE"),
        ('""', None),
        ("null", None),
        (None, None),
        ("true", "true"),
        ("12", "12"),
        ("12.0", "12"),
        ("0.5", "0.5"),
        ('["a", "b"]', '["a", "b"]'),
    ],
)
def test_any_value_of_an_attribute_is_a_text_to_compare_with(raw, text):
    assert attribute_text(raw) == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"owner": 5}, "owner takes a name"),
        ({"ownr": "x"}, "no key ownr; did you mean 'owner'"),
        ({"owners": {"anna": 0}}, "owners.anna takes a whole number from 1"),
        ({"owners": {"anna": "many"}}, "a whole number each"),
        ({"owners": {"anna": True}}, "owners.anna takes a whole number"),
        ({"capacity": 10**9}, "capacity takes a whole number from 1 to 10,000"),
        ({"reserve": -1}, "reserve takes a whole number from 0"),
        ({"owners": {"anna": 1}, "teams": {"dach": ["ana"]}}, "teams.dach: no owner called 'ana'.*'anna'"),
        ({"owners": {"anna": 1}, "territory": "c", "territories": {"DE": "bob"}}, "territories.DE: no owner"),
        ({"owners": {"anna": 1}, "territories": {"DE": "anna"}}, "need the key territory"),
        ({"exclude": [{"reason": "x", "attribute": "stage"}]}, "is or contains"),
        ({"exclude": [{"attribute": "stage", "is": "x"}]}, "takes a reason"),
        ({"exclude": {"stage": "x"}}, "exclude takes a list"),
        ({"exclude": ["x"]}, r"write each exclusion as \[\[exclude\]\]"),
        ({"exclude": [{"reason": "x", "attribute": "a", "is": "b", "has": 1}]}, "no key exclude.has"),
        ({"exclude": [{"reason": "no_owner", "attribute": "a", "is": "b"}]}, "choose another name"),
    ],
)
def test_a_plan_that_makes_no_sense_says_where(content, message):
    with pytest.raises(PlanError, match=message):
        parse_plan(content)


def test_a_file_that_is_none_says_so(tmp_path):
    with pytest.raises(PlanError, match="LEADLOOP_HANDOVER"):
        read_plan(tmp_path / "none.toml")
    file = tmp_path / "handover.toml"
    file.write_text("= 5", encoding="utf-8")
    with pytest.raises(PlanError, match=r"handover\.toml: this is not TOML"):
        read_plan(file)


def test_the_example_of_the_documentation_is_a_plan():
    page = (Path(__file__).parents[2] / "docs/how-to/handover.md").read_text(encoding="utf-8")
    file = page.partition("```toml\n")[2].partition("```")[0]
    plan = parse_plan(tomllib.loads(file))
    assert plan.has_owners
    assert plan.exclusions
