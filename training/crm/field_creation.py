"""Creates the fields of a CRM that a push writes to, where the vendor has an API for it: HubSpot and Odoo.

Sources: https://developers.hubspot.com/docs/api-reference/2026-03/crm/properties/batch/create-properties and
.../groups; for Odoo, whose custom fields are records of ir.model.fields with the state "manual",
https://www.odoo.com/documentation/19.0/developer/reference/external_api.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from training.crm.hubspot import HubSpot
from training.crm.odoo import Odoo
from training.crm.protocol import PushError, PushStopped, Request, Response, reason_in

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


@dataclass(frozen=True, slots=True)
class CrmField:
    """A field that a push writes to, by its name at the CRM, and what stands in it."""

    name: str
    kind: FieldKind

    @property
    def label(self) -> str:
        """The name as people read it.

        >>> CrmField("x_leadloop_grade", "text").label
        'Leadloop grade'
        """
        return self.name.removeprefix(_ODOO_PREFIX).replace("_", " ").strip().capitalize()


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """The fields that a CRM lacks, and what would make them.

    Attributes:
        missing: The fields.
        requests: The calls that make them, in their order.
    """

    missing: tuple[CrmField, ...]
    requests: tuple[Request, ...]

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
        case _:
            msg = "--create-fields is for hubspot and odoo; make the fields in the CRM's own settings"
            raise PushError(msg)


def create_fields(plan: FieldPlan, send: Send) -> None:
    """Make the fields of a plan. Raises PushStopped where the CRM refuses one."""
    for request in plan.requests:
        response = send(request)
        # Somebody else may have made it meanwhile.
        if response.status != HTTPStatus.CONFLICT:
            _require_success(response)


def _plan_hubspot(crm: HubSpot, fields: Sequence[CrmField], send: Send) -> FieldPlan:
    root = f"{crm.url}/crm/properties/2026-03/{crm.object}"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    get = Request("GET", root, headers, b"")
    missing = _missing(fields, (each["name"] for each in _read(send, get)["results"]))
    groups = _read(send, replace(get, url=f"{root}/groups"))["results"] if missing else ()

    def post(path: str, body: Any) -> Request:
        return Request("POST", f"{root}/{path}", headers, json.dumps(body).encode())

    requests = [] if any(each["name"] == _GROUP["name"] for each in groups) else [post("groups", _GROUP)]
    requests.append(post("batch/create", {"inputs": [_hubspot_property(each) for each in missing]}))
    return FieldPlan(missing, tuple(requests) if missing else ())


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
    missing = _missing(fields, (each["name"] for each in _read(send, known)))
    if not missing:
        return FieldPlan((), ())
    for each in missing:
        if not each.name.startswith(_ODOO_PREFIX):
            msg = (
                f"Odoo makes only fields whose names begin with {_ODOO_PREFIX}, not {each.name!r}; see --map"
            )
            raise PushError(msg)
    models = _read(send, call("ir.model", "search_read", {"domain": domain, "fields": ["model"]}))
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
    return FieldPlan(missing, (call("ir.model.fields", "create", {"vals_list": values}),))


def _missing(fields: Iterable[CrmField], known: Iterable[str]) -> tuple[CrmField, ...]:
    names = {name.lower() for name in known}
    return tuple(each for each in fields if each.name.lower() not in names)


def _read(send: Callable[[Request], Response], request: Request) -> Any:
    response = send(request)
    _require_success(response)
    return response.json()


def _require_success(response: Response) -> None:
    if response.status // 100 != 2:  # noqa: PLR2004  # 2xx is success
        msg = f"the CRM answered {response.status}: {reason_in(response.body)}"
        raise PushStopped(msg)
