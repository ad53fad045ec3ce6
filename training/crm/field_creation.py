"""Creates the fields of a CRM that a push writes to: HubSpot, Odoo, Salesforce and Dynamics 365.

Sources: https://developers.hubspot.com/docs/api-reference/2026-03/crm/properties/batch/create-properties and
.../groups; for Odoo, whose custom fields are records of ir.model.fields with the state "manual",
https://www.odoo.com/documentation/19.0/developer/reference/external_api.html; for Salesforce the CustomField
of the Tooling API, https://developer.salesforce.com/docs/atlas.en-us.api_tooling.meta/api_tooling/, whose
fields nobody sees before a permission set (FieldPermissions) says so; for Dynamics 365
https://learn.microsoft.com/en-us/power-apps/developer/data-platform/webapi/create-update-column-definitions-using-web-api
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from training.crm.dynamics import ROOT, TABLE, Dynamics
from training.crm.hubspot import HubSpot
from training.crm.odoo import Odoo
from training.crm.protocol import PushError, PushStopped, Request, Response, reason_in
from training.crm.salesforce import SERVICES, Salesforce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import polars as pl

    from training.crm.http_client import Send
    from training.crm.protocol import CrmAdapter

FieldKind = Literal["number", "whole number", "text"]
_GROUP = {"name": "leadloop", "label": "leadloop"}
_HUBSPOT: Mapping[FieldKind, tuple[str, str]] = {
    "number": ("number", "number"),
    "whole number": ("number", "number"),
    "text": ("string", "text"),
}
_ODOO: Mapping[FieldKind, str] = {"number": "float", "whole number": "integer", "text": "char"}
_ODOO_PREFIX = "x_"
_ODOO_RIGHT = "the access right Administration / Settings"
_SALESFORCE_SUFFIX = "__c"
_SALESFORCE: Mapping[FieldKind, Mapping[str, Any]] = {
    "number": {"type": "Number", "precision": 18, "scale": 6},
    "whole number": {"type": "Number", "precision": 18, "scale": 0},
    "text": {"type": "Text", "length": 255},
}
_SALESFORCE_RIGHT = "the permissions View Setup and Configuration and Customize Application"
_SALESFORCE_ACCESS = (
    "In Salesforce nobody sees a new field before a permission set gives access to it. Ask an administrator"
    " to give Read to those who look at scores and Edit to the user that pushes (Setup, Permission Sets,"
    " Object Settings), and run the push again"
)
# A publisher's prefix, as Dataverse has them: 2 to 8 letters and digits that do not begin with "mscrm".
_DYNAMICS_NAME = re.compile(r"(?!mscrm|msdyn_)[a-z][a-z0-9]{1,7}_[a-z0-9_]+")
_DYNAMICS: Mapping[FieldKind, tuple[str, Mapping[str, Any]]] = {
    "number": ("Decimal", {"MinValue": -100_000_000_000, "MaxValue": 100_000_000_000, "Precision": 10}),
    "whole number": ("Integer", {"MinValue": -(2**31), "MaxValue": 2**31 - 1, "Format": "None"}),
    "text": ("String", {"MaxLength": 500, "FormatName": {"Value": "Text"}}),
}
_DYNAMICS_RIGHT = "the role System Customizer (privileges prvReadEntity and prvCreateAttribute)"
_DYNAMICS_ACCESS = f"The columns are in the table {TABLE}; put them on a form or a view to see them"
# Salesforce's words where somebody may not see or change the setup.
_REFUSALS = re.compile(r"INSUFFICIENT_ACCESS|INVALID_TYPE|NOT_FOUND")
_ALREADY_THERE = "DUPLICATE_DEVELOPER_NAME"


@dataclass(frozen=True, slots=True)
class CrmField:
    """A field that a push writes to, by its name at the CRM, and what stands in it."""

    name: str
    kind: FieldKind

    @property
    def label(self) -> str:
        """The name as people read it.

        >>> CrmField("x_leadloop_grade", "text").label, CrmField("Leadloop_Grade__c", "text").label
        ('Leadloop grade', 'Leadloop grade')
        """
        bare = self.name.removeprefix(_ODOO_PREFIX).removesuffix(_SALESFORCE_SUFFIX)
        return bare.replace("_", " ").strip().capitalize()


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """The fields that a CRM lacks, and what would make them.

    Attributes:
        missing: The fields.
        requests: The calls that make them, in their order.
        right: What the CRM's user needs for that.
        access: What is left for an administrator to do at the CRM afterwards; empty where nothing is.
        is_hidden: Whether the new fields can be written only after that.
    """

    missing: tuple[CrmField, ...]
    requests: tuple[Request, ...]
    right: str = ""
    access: str = ""
    is_hidden: bool = False

    def in_words(self, *, made: bool) -> str:
        """A line for whoever runs it."""
        if not self.missing:
            return "the CRM has all fields that are written"
        names = ", ".join(f"{each.name} ({each.kind})" for each in self.missing)
        return (
            f"fields made at the CRM: {names}" if made else f"fields that --go would make at the CRM: {names}"
        )


def written_fields(fields: Mapping[str, str], frame: pl.DataFrame) -> tuple[CrmField, ...]:
    """The fields that a push writes to, with the kind that the columns of its scores have."""

    def kind(column: str) -> FieldKind:
        dtype = frame.schema[column]
        return "whole number" if dtype.is_integer() else "number" if dtype.is_numeric() else "text"

    return tuple(CrmField(name, kind(column)) for name, column in fields.items())


def plan_fields(crm: CrmAdapter, fields: Sequence[CrmField], send: Send) -> FieldPlan:
    """Find out which fields a CRM lacks; nothing is changed.

    Args:
        crm: The CRM.
        fields: The fields that are written.
        send: Sends one request.

    Returns:
        What is missing, and the calls that make it.

    Raises:
        PushError: The vendor has no API for it that is used here, or a name cannot be one of a new field.
        PushStopped: The CRM does not say which fields it has.
    """
    match crm:
        case HubSpot():
            return _plan_hubspot(crm, fields, send)
        case Odoo():
            return _plan_odoo(crm, fields, send)
        case Salesforce():
            return _plan_salesforce(crm, fields, send)
        case Dynamics():
            return _plan_dynamics(crm, fields, send)
        case _:
            msg = (
                "--create-fields is for dynamics, hubspot, odoo and salesforce;"
                " make the fields in the CRM's own settings"
            )
            raise PushError(msg)


def create_fields(plan: FieldPlan, send: Send) -> None:
    """Make the fields of a plan. Raises PushStopped where the CRM refuses one, and names the right."""
    for request in plan.requests:
        response = send(request)
        # Somebody else may have made it meanwhile.
        if response.status != HTTPStatus.CONFLICT and _ALREADY_THERE not in reason_in(response.body):
            _require_success(response, plan.right)


def _plan_hubspot(crm: HubSpot, fields: Sequence[CrmField], send: Send) -> FieldPlan:
    root = f"{crm.url}/crm/properties/2026-03/{crm.object}"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    right = f"the scopes crm.schemas.{crm.object}.read and crm.schemas.{crm.object}.write"
    get = Request("GET", root, headers, b"")
    missing = _missing(fields, (each["name"] for each in _read(send, get, right)["results"]))
    groups = _read(send, replace(get, url=f"{root}/groups"), right)["results"] if missing else ()

    def post(path: str, body: Any) -> Request:
        return Request("POST", f"{root}/{path}", headers, json.dumps(body).encode())

    requests = [] if any(each["name"] == _GROUP["name"] for each in groups) else [post("groups", _GROUP)]
    requests.append(post("batch/create", {"inputs": [_hubspot_property(each) for each in missing]}))
    return FieldPlan(missing, tuple(requests) if missing else (), right)


def _hubspot_property(field: CrmField) -> dict[str, Any]:
    kind, input_kind = _HUBSPOT[field.kind]
    names = {"name": field.name, "label": field.label, "groupName": _GROUP["name"]}
    return {**names, "type": kind, "fieldType": input_kind}


def _plan_odoo(crm: Odoo, fields: Sequence[CrmField], send: Send) -> FieldPlan:
    headers = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}
    headers |= {} if crm.database is None else {"X-Odoo-Database": crm.database}

    def call(model: str, method: str, body: Any) -> Request:
        return Request("POST", f"{crm.url}/json/2/{model}/{method}", headers, json.dumps(body).encode())

    domain = [["model", "=", crm.model]]
    known = call(
        "ir.model.fields",
        "search_read",
        {"domain": [*domain, ["name", "in", [each.name for each in fields]]], "fields": ["name"]},
    )
    missing = _missing(fields, (each["name"] for each in _read(send, known, _ODOO_RIGHT)))
    if not missing:
        return FieldPlan((), ())
    for each in missing:
        if not each.name.startswith(_ODOO_PREFIX):
            msg = (
                f"Odoo makes only fields whose names begin with {_ODOO_PREFIX}, not {each.name!r}; see --map"
            )
            raise PushError(msg)
    query = call("ir.model", "search_read", {"domain": domain, "fields": ["model"]})
    models = _read(send, query, _ODOO_RIGHT)
    if not models:
        msg = f"Odoo has no model {crm.model!r}"
        raise PushStopped(msg)
    values = [
        {
            "model_id": models[0]["id"],
            "name": each.name,
            "field_description": each.label,
            "ttype": _ODOO[each.kind],
            "state": "manual",
        }
        for each in missing
    ]
    return FieldPlan(missing, (call("ir.model.fields", "create", {"vals_list": values}),), _ODOO_RIGHT)


def _plan_salesforce(crm: Salesforce, fields: Sequence[CrmField], send: Send) -> FieldPlan:
    """A custom field that exists can be hidden from the user: describe lacks it, the Tooling API has it."""
    root = f"{crm.url}{SERVICES}"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    describe = Request("GET", f"{root}/sobjects/{crm.object}/describe", headers, b"")
    known = _read(send, describe, f"Read on {crm.object}, {_SALESFORCE_RIGHT}")["fields"]
    writable = {each["name"].lower() for each in known if each["updateable"]}
    rest = _missing(fields, writable)
    for each in rest:
        if not each.name.endswith(_SALESFORCE_SUFFIX):
            msg = f"Salesforce makes only fields whose names end in __c, not {each.name!r}; see --map"
            raise PushError(msg)
    if not rest:
        return FieldPlan((), ())
    names = ", ".join(f"'{each.name.removesuffix(_SALESFORCE_SUFFIX)}'" for each in rest)
    # Object and names are checked to be letters, digits and underscores, so nothing in them ends a text.
    soql = (
        "SELECT DeveloperName, NamespacePrefix FROM CustomField"  # noqa: S608
        f" WHERE EntityDefinition.QualifiedApiName = '{crm.object}' AND DeveloperName IN ({names})"
    )
    query = Request("GET", f"{root}/tooling/query?{urlencode({'q': soql})}", headers, b"")
    records = _read(send, query, _SALESFORCE_RIGHT)["records"]
    own = (each["DeveloperName"] for each in records if not each["NamespacePrefix"])
    missing = _missing(rest, (name + _SALESFORCE_SUFFIX for name in own))
    if not missing:
        names = ", ".join(each.name for each in rest)
        msg = f"the user that pushes may not write {names}. {_SALESFORCE_ACCESS}"
        raise PushStopped(msg)
    bodies = [
        {"FullName": f"{crm.object}.{each.name}", "Metadata": {"label": each.label, **_SALESFORCE[each.kind]}}
        for each in missing
    ]
    url = f"{root}/tooling/sobjects/CustomField"
    requests = tuple(Request("POST", url, headers, json.dumps(body).encode()) for body in bodies)
    return FieldPlan(missing, requests, _SALESFORCE_RIGHT, _SALESFORCE_ACCESS, is_hidden=True)


def _plan_dynamics(crm: Dynamics, fields: Sequence[CrmField], send: Send) -> FieldPlan:
    root = f"{crm.url}{ROOT}"
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Accept": "application/json",
        "OData-MaxVersion": "4.0",
        "OData-Version": "4.0",
    }
    url = f"{root}/EntityDefinitions(LogicalName='{TABLE}')"
    query = "?$select=LogicalName,CanCreateAttributes&$expand=Attributes($select=LogicalName)"
    response = send(Request("GET", url + query, headers, b""))
    if response.status == HTTPStatus.NOT_FOUND:
        msg = f"the environment has no table {TABLE}; turn on predictive lead scoring in Sales first"
        raise PushStopped(msg)
    _require_success(response, _DYNAMICS_RIGHT)
    table = response.json()
    missing = _missing(fields, (each["LogicalName"] for each in table["Attributes"]))
    for each in missing:
        if not _DYNAMICS_NAME.fullmatch(each.name):
            msg = (
                "Dynamics makes only columns with the prefix of your publisher, in lower case, such as"
                f" acme_score, not {each.name!r}; see --map"
            )
            raise PushError(msg)
    if not missing:
        return FieldPlan((), ())
    if not table["CanCreateAttributes"]["Value"]:
        msg = f"the table {TABLE} takes no further columns here; push without --map to write the usual ones"
        raise PushStopped(msg)
    languages = Request("GET", f"{root}/organizations?$select=languagecode", headers, b"")
    language = _read(send, languages, "the right to read the organization")["value"][0]["languagecode"]
    bodies = [_dynamics_column(each, language) for each in missing]
    requests = tuple(
        Request("POST", f"{url}/Attributes", headers, json.dumps(body).encode()) for body in bodies
    )
    return FieldPlan(missing, requests, _DYNAMICS_RIGHT, _DYNAMICS_ACCESS)


def _dynamics_column(field: CrmField, language: int) -> dict[str, Any]:
    """A column's definition; its label is in the language that the organization has as its base."""
    kind, settings = _DYNAMICS[field.kind]
    label = replace(field, name=field.name.partition("_")[2]).label
    return {
        "@odata.type": f"Microsoft.Dynamics.CRM.{kind}AttributeMetadata",
        "AttributeType": kind,
        "AttributeTypeName": {"Value": f"{kind}Type"},
        "SchemaName": field.name,
        "DisplayName": {
            "@odata.type": "Microsoft.Dynamics.CRM.Label",
            "LocalizedLabels": [
                {
                    "@odata.type": "Microsoft.Dynamics.CRM.LocalizedLabel",
                    "Label": label,
                    "LanguageCode": language,
                }
            ],
        },
        "RequiredLevel": {
            "Value": "None",
            "CanBeChanged": True,
            "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings",
        },
        **settings,
    }


def _missing(fields: Iterable[CrmField], known: Iterable[str]) -> tuple[CrmField, ...]:
    names = {name.lower() for name in known}
    return tuple(each for each in fields if each.name.lower() not in names)


def _read(send: Callable[[Request], Response], request: Request, right: str) -> Any:
    response = send(request)
    _require_success(response, right)
    return response.json()


def _require_success(response: Response, right: str) -> None:
    if response.status // 100 == 2:  # noqa: PLR2004  # 2xx is success
        return
    reason = reason_in(response.body)
    msg = f"the CRM answered {response.status}: {reason}"
    if response.status == HTTPStatus.FORBIDDEN or _REFUSALS.search(reason):
        msg += f"; the user that pushes needs {right}"
    raise PushStopped(msg)
