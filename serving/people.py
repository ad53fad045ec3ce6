"""A person's own: what was said about them and why, and to be forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bentoml
from pydantic import TypeAdapter, ValidationError
from starlette.endpoints import HTTPEndpoint
from starlette.responses import Response
from starlette.routing import Route

from serving.contract import LeadId
from serving.contract_outcomes import DecisionsResponse, ErasedResponse, Page
from serving.log.settings import LogUnavailable
from serving.problems import LOG_OFF, LOG_UNAVAILABLE, PROBLEM_JSON, Problem, invalid_request
from serving.visit import visit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from pydantic import BaseModel
    from starlette.requests import Request

    from serving.log.journal import Journal

    Answer = Callable[[Request, Journal], Awaitable[BaseModel]]

_lead_id: TypeAdapter[str] = TypeAdapter(LeadId)


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
    erased = await journal.erase(_lead_id.validate_python(request.path_params["lead_id"]))
    return ErasedResponse(decisions=erased.decisions, outcomes=erased.outcomes)


def _answered(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """``answer`` as an endpoint that refuses as all others do."""

    async def endpoint(request: Request) -> Response:
        journal = bentoml.get_current_service().journal
        if journal is None:
            return _refusal(LOG_OFF)
        try:
            body = (await answer(request, journal)).model_dump_json()
        except ValidationError as error:
            return _refusal(invalid_request(error))
        except LogUnavailable:
            return _refusal(LOG_UNAVAILABLE)
        return Response(body, media_type="application/json")

    return endpoint


def _refusal(problem: Problem) -> Response:
    visit().code = problem.code
    return Response(problem.body, problem.status, dict(problem.headers), PROBLEM_JSON)


class _Decisions(HTTPEndpoint):
    """A listing: any other method than GET is refused here, before its address is taken for a lead's id."""

    get = staticmethod(_answered(_decisions))


# An id may hold a slash.
routes = [
    Route("/v1/leads/{lead_id:path}/decisions", _Decisions),
    Route("/v1/leads/{lead_id:path}", _answered(_erase), methods=["DELETE"]),
]


def paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """What the API page says of these addresses; what they answer is added to ``schemas``."""
    page = Page.model_json_schema()["properties"]
    paging = [{"name": name, "in": "query", "schema": schema} for name, schema in page.items()]
    decisions = _operation("decisions", DecisionsResponse, schemas, paging)
    return {
        "/v1/leads/{lead_id}/decisions": {"get": decisions},
        "/v1/leads/{lead_id}": {"delete": _operation("erase", ErasedResponse, schemas, [])},
    }


def _operation(
    name: str, answers: type[BaseModel], schemas: dict[str, Any], query: list[dict[str, Any]]
) -> dict[str, Any]:
    schema = answers.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    lead_id = {"name": "lead_id", "in": "path", "required": True, "schema": _lead_id.json_schema()}
    done = {"description": "Done", "content": {"application/json": {"schema": schema}}}
    return {
        "description": answers.__doc__,
        "operationId": f"leadloop__{name}",
        "tags": ["Service APIs"],
        "parameters": [lead_id, *query],
        "responses": {"200": done},
    }
