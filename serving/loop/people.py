"""A person's own: what was said about them and why, and to be forgotten."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from starlette.routing import Route

from serving.contract import LeadId
from serving.loop.asking import answered, in_query, operation
from serving.loop.contract_outcomes import DecisionsResponse, ErasedResponse, Page
from serving.problems import Problem, Refusal

if TYPE_CHECKING:
    from typing import Any

    from starlette.requests import Request

    from serving.log.journal import Journal

_lead_id: TypeAdapter[str] = TypeAdapter(LeadId)
_A_LISTING = Problem(
    HTTPStatus.METHOD_NOT_ALLOWED,
    "method_not_allowed",
    "a listing cannot be deleted, a lead can: leave /decisions out",
    headers=(("allow", "GET"),),
)


async def _decisions(request: Request, journal: Journal) -> DecisionsResponse:
    lead_id = _lead_id.validate_python(request.path_params["lead_id"])
    page = Page.model_validate(dict(request.query_params))
    said = await journal.said(lead_id, page.before, page.limit + 1)
    shown = said[: page.limit]
    return DecisionsResponse(
        lead_id=lead_id,
        decisions=shown,
        outcomes=await journal.reported(lead_id),
        next=shown[-1].id if len(said) > page.limit else None,
    )


async def _erase(request: Request, journal: Journal) -> ErasedResponse:
    # A slash of the id's own comes as %2F; this one belongs to the other address.
    if request.scope["raw_path"].endswith(b"/decisions"):
        raise Refusal(_A_LISTING)
    erased = await journal.erase(_lead_id.validate_python(request.path_params["lead_id"]))
    return ErasedResponse(decisions=erased.decisions, outcomes=erased.outcomes)


# An id may hold a slash.
routes = [
    Route("/v1/leads/{lead_id:path}/decisions", answered(_decisions), methods=["GET"]),
    Route("/v1/leads/{lead_id:path}", answered(_erase), methods=["DELETE"]),
]


def paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """What the API page says of these addresses; what they answer is added to ``schemas``."""
    lead_id = {"name": "lead_id", "in": "path", "required": True, "schema": _lead_id.json_schema()}
    decisions = operation("decisions", DecisionsResponse, schemas, [lead_id, *in_query(Page)])
    return {
        "/v1/leads/{lead_id}/decisions": {"get": decisions},
        "/v1/leads/{lead_id}": {"delete": operation("erase", ErasedResponse, schemas, [lead_id])},
    }
