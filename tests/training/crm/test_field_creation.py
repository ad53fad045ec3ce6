"""The fields that a push writes to are made where the vendor can, and nothing is changed without ``--go``."""

from __future__ import annotations

import json

import polars as pl
import pytest

from training.crm.field_creation import CrmField, create_fields, plan_fields, written_fields
from training.crm.hubspot import HubSpot
from training.crm.odoo import Odoo
from training.crm.protocol import PushError, PushStopped, Response
from training.crm.salesforce import Salesforce

URL = "https://crm.example"
FIELDS = (
    CrmField("x_probability", "number"),
    CrmField("x_points", "whole number"),
    CrmField("x_grade", "text"),
)


class HubSpotStandIn:
    """HubSpot's properties as its reference has them: a list, groups, and a batch that makes several."""

    def __init__(self, *names):
        self.properties = {name: {} for name in names}
        self.groups = {"contactinformation"}
        self.changes = []

    def send(self, request):
        path = request.url.removeprefix(f"{URL}/crm/properties/2026-03/contacts")
        if request.method == "GET":
            names = self.groups if path == "/groups" else self.properties
            return answer(200, {"results": [{"name": name} for name in names]})
        body = json.loads(request.body)
        self.changes.append(path)
        if path == "/groups":
            assert body.keys() == {"name", "label"}
            self.groups.add(body["name"])
            return answer(201, body)
        assert path == "/batch/create"
        for each in body["inputs"]:
            assert each["groupName"] in self.groups
            assert (each["type"], each["fieldType"]) in {("number", "number"), ("string", "text")}
            if each["name"] in self.properties:
                return answer(409, {"message": "exists"})
            self.properties[each["name"]] = each
        return answer(201, {"status": "COMPLETE", "results": body["inputs"]})


class OdooStandIn:
    """Odoo's JSON-2 API: ir.model and ir.model.fields, whose manual fields begin with x_."""

    def __init__(self, *names):
        self.fields = {name: {} for name in names}
        self.changes = []

    def send(self, request):
        path, body = request.url.removeprefix(f"{URL}/json/2/"), json.loads(request.body)
        assert request.method == "POST"
        if path == "ir.model/search_read":
            assert body["domain"] == [["model", "=", "crm.lead"]]
            return answer(200, [{"id": 303, "model": "crm.lead"}])
        if path == "ir.model.fields/search_read":
            assert body["domain"][0] == ["model", "=", "crm.lead"]
            wanted = body["domain"][1][2]
            return answer(
                200, [{"id": n, "name": name} for n, name in enumerate(self.fields) if name in wanted]
            )
        assert path == "ir.model.fields/create"
        self.changes.append(path)
        for each in body["vals_list"]:
            assert (each["model_id"], each["state"]) == (303, "manual")
            assert each["ttype"] in {"float", "integer", "char"}
            self.fields[each["name"]] = each
        return answer(200, list(range(len(body["vals_list"]))))


def answer(status, body):
    return Response(status, {"content-type": "application/json"}, json.dumps(body).encode())


CASES = [(HubSpotStandIn, HubSpot(URL)), (OdooStandIn, Odoo(URL))]


@pytest.mark.parametrize(("stand_in", "crm"), CASES)
def test_what_is_missing_is_said_and_made_once(stand_in, crm):
    vendor = stand_in("email", "x_points")
    plan = plan_fields(crm, FIELDS, vendor.send)
    assert plan.missing == (FIELDS[0], FIELDS[2])
    assert vendor.changes == []
    assert plan.in_words(made=False) == (
        "fields that --go would make at the CRM: x_probability (number), x_grade (text)"
    )
    create_fields(plan, vendor.send)
    again = plan_fields(crm, FIELDS, vendor.send)
    assert (again.missing, again.requests) == ((), ())
    assert again.in_words(made=True) == "the CRM has all fields that are written"


def test_a_field_that_somebody_else_makes_meanwhile_is_no_error():
    vendor = HubSpotStandIn()
    plan = plan_fields(HubSpot(URL), FIELDS, vendor.send)
    create_fields(plan, vendor.send)
    create_fields(plan, vendor.send)
    assert set(vendor.properties) == {each.name for each in FIELDS}


def test_odoo_makes_no_field_whose_name_does_not_begin_with_x():
    with pytest.raises(PushError, match="begin with x_, not 'score'"):
        plan_fields(Odoo(URL), [CrmField("score", "number")], OdooStandIn().send)


def test_other_vendors_have_their_fields_made_by_hand():
    with pytest.raises(PushError, match="--create-fields is for hubspot and odoo"):
        plan_fields(Salesforce(URL), FIELDS, HubSpotStandIn().send)


@pytest.mark.parametrize(("stand_in", "crm"), CASES)
def test_a_refusal_stops_with_the_vendors_words(stand_in, crm):
    def refuse(_):
        return answer(403, {"category": "MISSING_SCOPES", "message": "no right to schemas"})

    with pytest.raises(PushStopped, match="the CRM answered 403: MISSING_SCOPES: no right to schemas"):
        plan_fields(crm, FIELDS, refuse)
    plan = plan_fields(crm, FIELDS, stand_in().send)
    with pytest.raises(PushStopped, match="403"):
        create_fields(plan, refuse)


def test_the_kind_of_a_field_is_that_of_its_column():
    frame = pl.DataFrame({"probability": [0.5], "points": [1], "grade": ["A"]})
    fields = written_fields({"p": "probability", "n": "points", "g": "grade"}, frame)
    assert [each.kind for each in fields] == ["number", "whole number", "text"]
