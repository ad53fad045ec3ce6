"""A person's own: what was said about them and why, and to be forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bentoml
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response
from starlette.routing import Route

from serving.contract import LeadId
from serving.contract_outcomes import DecisionsResponse, ErasedResponse, Page
from serving.log.settings import LogUnavailable
from serving.problems import LOG_OFF, LOG_UNAVAILABLE, PROBLEM_JSON, Problem, invalid_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
    return Response(problem.body, problem.status, media_type=PROBLEM_JSON)


# An id may hold a slash.
routes = [
    Route("/v1/leads/{lead_id:path}/decisions", _answered(_decisions), methods=["GET"]),
    Route("/v1/leads/{lead_id:path}", _answered(_erase), methods=["DELETE"]),
]
