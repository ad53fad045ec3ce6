"""The fields that a push writes to are made where the vendor can, and nothing is changed without ``--go``."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from training.crm.dynamics import Dynamics
from training.crm.field_creation import CrmField, create_fields, plan_fields, written_fields
from training.crm.hubspot import HubSpot
from training.crm.odoo import Odoo
from training.crm.protocol import PushError, PushStopped, Response
from training.crm.rest import Rest
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


class SalesforceStandIn:
    """Salesforce: the Tooling API knows every custom field, describe only those that the user may see."""

    names = tuple(f"{part}__c" for part in ("Leadloop_Probability", "Leadloop_Points", "Leadloop_Grade"))

    def __init__(self, *visible, hidden=()):
        self.visible = {"Email", *visible}
        self.custom = {name for name in visible if name.endswith("__c")} | set(hidden)
        self.changes = []

    def give_access(self):
        """What an administrator does with a permission set."""
        self.visible |= self.custom

    def send(self, request):
        path, _, query = request.url.removeprefix(f"{URL}/services/data/v62.0/").partition("?")
        if request.method == "GET":
            if path == "sobjects/Lead/describe":
                return answer(200, {"fields": [{"name": n, "updateable": True} for n in self.visible]})
            assert path == "tooling/query"
            soql = parse_qs(query)["q"][0]
            assert "FROM CustomField WHERE EntityDefinition.QualifiedApiName = 'Lead'" in soql
            asked = set(re.findall(r"'(\w+)'", soql.partition(" IN ")[2]))
            records = [
                {"DeveloperName": name.removesuffix("__c"), "NamespacePrefix": None}
                for name in sorted(self.custom)
                if name.removesuffix("__c") in asked
            ]
            return answer(200, {"size": len(records), "done": True, "records": records})
        assert (request.method, path) == ("POST", "tooling/sobjects/CustomField")
        body = json.loads(request.body)
        assert body.keys() == {"FullName", "Metadata"}
        table, _, name = body["FullName"].partition(".")
        assert table == "Lead"
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,39}__c", name)
        metadata = body["Metadata"]
        assert metadata["label"]
        assert "__" not in metadata["label"]
        assert metadata["type"] in {"Number", "Text"}
        if metadata["type"] == "Number":
            assert 0 <= metadata["scale"] <= metadata["precision"] <= 18
        else:
            assert 1 <= metadata["length"] <= 255
        if name in self.custom:
            return answer(400, [{"errorCode": "DUPLICATE_DEVELOPER_NAME", "message": "already a field"}])
        self.custom.add(name)
        self.changes.append(name)
        return answer(201, {"id": "00N", "success": True, "errors": [], "warnings": []})


class DynamicsStandIn:
    """Dataverse: column definitions of the table of scores, one POST a column, which answers 204."""

    names = ("acme_probability", "acme_points", "acme_grade")
    table = "EntityDefinitions(LogicalName='msdyn_predictivescore')"
    types = {  # noqa: RUF012  # never changed
        "Microsoft.Dynamics.CRM.DecimalAttributeMetadata": ("Decimal", {"MinValue", "MaxValue", "Precision"}),
        "Microsoft.Dynamics.CRM.IntegerAttributeMetadata": ("Integer", {"MinValue", "MaxValue", "Format"}),
        "Microsoft.Dynamics.CRM.StringAttributeMetadata": ("String", {"MaxLength", "FormatName"}),
    }

    def __init__(self, *names, may_grow=True, language=1031):
        self.columns = {"msdyn_score", *names}
        self.may_grow = may_grow
        self.language = language
        self.changes = []

    def send(self, request):
        assert request.headers["OData-Version"] == "4.0"
        parts = urlsplit(request.url)
        path = parts.path.removeprefix("/api/data/v9.2/")
        if request.method == "GET" and path == "organizations":
            return answer(200, {"value": [{"languagecode": self.language}]})
        if request.method == "GET":
            assert path == self.table
            assert parse_qs(parts.query)["$expand"] == ["Attributes($select=LogicalName)"]
            columns = [{"LogicalName": name} for name in sorted(self.columns)]
            return answer(200, {"CanCreateAttributes": {"Value": self.may_grow}, "Attributes": columns})
        assert (request.method, path) == ("POST", f"{self.table}/Attributes")
        body = json.loads(request.body)
        kind, needed = self.types[body["@odata.type"]]
        assert body["AttributeType"] == kind
        assert body["AttributeTypeName"] == {"Value": f"{kind}Type"}
        assert needed <= body.keys()
        assert body["RequiredLevel"]["Value"] == "None"
        label = body["DisplayName"]["LocalizedLabels"][0]
        assert label["LanguageCode"] == self.language
        assert label["Label"] in {"Probability", "Points", "Grade"}
        assert not body["SchemaName"].startswith("msdyn_")
        self.columns.add(body["SchemaName"].lower())
        self.changes.append(body["SchemaName"])
        return Response(204, {"odata-entityid": "..."}, b"")


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


def test_other_targets_have_their_fields_made_by_hand():
    with pytest.raises(PushError, match="--create-fields is for dynamics, hubspot, odoo and salesforce"):
        plan_fields(Rest(URL, "PATCH", None), FIELDS, HubSpotStandIn().send)


def fields_named(stand_in):
    return tuple(CrmField(name, each.kind) for name, each in zip(stand_in.names, FIELDS, strict=True))


WITH_METADATA = [(SalesforceStandIn, Salesforce(URL)), (DynamicsStandIn, Dynamics(URL))]


@pytest.mark.parametrize(("stand_in", "crm"), WITH_METADATA)
def test_a_field_is_made_by_its_definition_and_only_where_it_is_missing(stand_in, crm):
    vendor = stand_in(stand_in.names[1])
    fields = fields_named(stand_in)
    plan = plan_fields(crm, fields, vendor.send)
    assert plan.missing == (fields[0], fields[2])
    assert vendor.changes == []
    create_fields(plan, vendor.send)
    assert vendor.changes == [fields[0].name, fields[2].name]


def test_salesforce_says_who_must_give_access_before_a_new_field_can_be_written():
    vendor = SalesforceStandIn()
    fields = fields_named(SalesforceStandIn)
    plan = plan_fields(Salesforce(URL), fields, vendor.send)
    assert "permission set" in plan.access
    assert plan.is_hidden
    create_fields(plan, vendor.send)
    create_fields(plan, vendor.send)
    with pytest.raises(PushStopped, match=r"may not write Leadloop_Probability__c.*permission set"):
        plan_fields(Salesforce(URL), fields, vendor.send)
    vendor.give_access()
    plan = plan_fields(Salesforce(URL), fields, vendor.send)
    assert (plan.missing, plan.is_hidden) == ((), False)


def test_salesforce_makes_no_standard_field():
    with pytest.raises(PushError, match="end in __c, not 'Grade'"):
        plan_fields(Salesforce(URL), [CrmField("Grade", "text")], SalesforceStandIn().send)
    plan = plan_fields(Salesforce(URL), [CrmField("Email", "text")], SalesforceStandIn().send)
    assert plan.missing == ()


@pytest.mark.parametrize("name", ["score", "msdyn_trend2", "Acme_Score", "mscrmx_score"])
def test_dynamics_makes_only_columns_with_a_publishers_prefix_in_lower_case(name):
    with pytest.raises(PushError, match="prefix of your publisher"):
        plan_fields(Dynamics(URL), [CrmField(name, "number")], DynamicsStandIn().send)


def test_a_table_of_dynamics_that_takes_no_columns_is_named():
    vendor = DynamicsStandIn(may_grow=False)
    with pytest.raises(PushStopped, match="msdyn_predictivescore takes no further columns"):
        plan_fields(Dynamics(URL), fields_named(DynamicsStandIn), vendor.send)


def test_an_environment_without_the_table_of_scores_is_told_what_it_lacks():
    def send(_):
        return answer(404, {"error": {"code": "0x80060888", "message": "Could not find an entity"}})

    with pytest.raises(PushStopped, match=r"no table msdyn_predictivescore.*predictive lead scoring"):
        plan_fields(Dynamics(URL), fields_named(DynamicsStandIn), send)


@pytest.mark.parametrize(
    ("stand_in", "crm", "right", "fields"),
    [
        (HubSpotStandIn, HubSpot(URL), "crm.schemas.contacts.write", FIELDS),
        (OdooStandIn, Odoo(URL), "Administration / Settings", FIELDS),
        (SalesforceStandIn, Salesforce(URL), "Customize Application", fields_named(SalesforceStandIn)),
        (DynamicsStandIn, Dynamics(URL), "System Customizer", fields_named(DynamicsStandIn)),
    ],
)
def test_a_refusal_names_the_right_that_is_missing(stand_in, crm, right, fields):
    def refuse(_):
        return answer(403, [{"errorCode": "INSUFFICIENT_ACCESS", "message": "insufficient access rights"}])

    plan = plan_fields(crm, fields, stand_in().send)
    for run in (lambda: plan_fields(crm, fields, refuse), lambda: create_fields(plan, refuse)):
        with pytest.raises(PushStopped, match=r"403.*insufficient access rights; .*needs") as stopped:
            run()
        assert right in str(stopped.value)


def test_salesforce_hides_what_a_user_has_no_right_to_behind_other_codes():
    """Whoever may not see the setup is told that there is no such object, not that a right is missing."""
    vendor = SalesforceStandIn()

    def send(request):
        if "tooling" in request.url:
            return answer(
                400,
                [{"errorCode": "INVALID_TYPE", "message": "sObject type 'CustomField' is not supported."}],
            )
        return vendor.send(request)

    with pytest.raises(PushStopped, match="View Setup and Configuration"):
        plan_fields(Salesforce(URL), fields_named(SalesforceStandIn), send)


def test_another_error_than_a_refusal_names_no_right():
    def send(_):
        return answer(500, {"message": "out of order"})

    with pytest.raises(PushStopped) as stopped:
        plan_fields(HubSpot(URL), FIELDS, send)
    assert str(stopped.value) == "the CRM answered 500: out of order"


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
