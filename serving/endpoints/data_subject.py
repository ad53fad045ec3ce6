"""The requests of a data subject: the decisions about a lead, a sheet in words, and their erasure."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import bentoml
from pydantic import TypeAdapter
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from serving.endpoints.base import log_endpoint, openapi_operation, query_parameters
from serving.problems import Problem, ProblemResponse
from serving.request_context import current_request
from serving.schemas import (
    DecisionsResponse,
    ErasedResponse,
    LeadId,
    PageQuery,
    SheetQuery,
    StrictModel,
)
from serving.subject_access import (
    MOST_RECORDS,
    SheetContext,
    SheetSection,
    SubjectRecords,
    subject_access_sheet,
)

if TYPE_CHECKING:
    from typing import Any

    from starlette.requests import Request

    from serving.decision_log.async_log import DecisionLog

_lead_id: TypeAdapter[str] = TypeAdapter(LeadId)
_A_LISTING = Problem(
    HTTPStatus.METHOD_NOT_ALLOWED,
    "method_not_allowed",
    "a listing cannot be deleted, a lead can: leave /decisions or /subject-access out",
    headers=(("allow", "GET"),),
)


class SubjectAccessResponse(StrictModel):
    """What is held about a lead, in words for the person that it is (GDPR Art. 15 and 22)."""

    lead_id: str
    lang: str
    title: str
    sections: list[SheetSection]


async def _decisions(request: Request, journal: DecisionLog) -> DecisionsResponse:
    lead_id = _lead_id.validate_python(request.path_params["lead_id"])
    page = PageQuery.model_validate(dict(request.query_params))
    tenant = current_request().tenant
    decisions = await journal.decisions_of(lead_id, page.before, page.limit + 1, tenant)
    newest = decisions[: page.limit]
    return DecisionsResponse(
        lead_id=lead_id,
        decisions=newest,
        outcomes=await journal.outcomes_of(lead_id, tenant),
        next=newest[-1].id if len(decisions) > page.limit else None,
    )


async def _sheet(request: Request, journal: DecisionLog) -> SubjectAccessResponse | Response:
    service = bentoml.get_current_service()
    lead_id = _lead_id.validate_python(request.path_params["lead_id"])
    query = SheetQuery.model_validate(dict(request.query_params))
    tenant = current_request().tenant
    records = SubjectRecords(
        lead_id,
        await journal.decisions_of(lead_id, None, MOST_RECORDS, tenant),
        await journal.outcomes_of(lead_id, tenant),
        (await journal.lists_of(lead_id, tenant))[-MOST_RECORDS:],
        (await service.store.leads([lead_id], tenant)).rows.lead(lead_id),
        (await journal.overrides_of(lead_id, tenant))[-MOST_RECORDS:],
        await _messages_of(lead_id, tenant, journal),
    )
    model = service.champion.current and service.scorer.model
    context = SheetContext(service.controller, service.keep_days, int(time.time()), query.lang, model)
    sheet = await asyncio.to_thread(subject_access_sheet, records, context)
    if query.format == "html":
        return HTMLResponse(sheet.to_html())
    return SubjectAccessResponse(
        lead_id=sheet.lead_id, lang=sheet.lang, title=sheet.title, sections=list(sheet.sections)
    )


async def _messages_of(lead_id: str, tenant: str, journal: DecisionLog) -> list[dict[str, Any]]:
    # Without a log nobody needs SQLAlchemy.
    from serving.webhooks.outbox import messages_of_lead  # noqa: PLC0415

    return await journal.read(lambda: messages_of_lead(journal.writer.log, lead_id, tenant, MOST_RECORDS))


async def erase_lead(request: Request, journal: DecisionLog) -> ErasedResponse:
    """Erase a person: what was decided and reported about the lead, and what the store knows of it."""
    # A slash of the id's own comes as %2F; this one belongs to the other address.
    if request.scope["raw_path"].endswith((b"/decisions", b"/subject-access")):
        raise ProblemResponse(_A_LISTING)
    lead_id = _lead_id.validate_python(request.path_params["lead_id"])
    erased = await journal.erase(lead_id, current_request().tenant)
    return ErasedResponse(
        decisions=erased.decisions,
        outcomes=erased.outcomes,
        events=erased.events,
        overwritten=erased.overwritten,
    )


# An id may hold a slash; the lead itself is read and erased at one address, see `serving.endpoints.leads`.
routes = [
    Route("/v1/leads/{lead_id:path}/decisions", log_endpoint(_decisions), methods=["GET"]),
    Route("/v1/leads/{lead_id:path}/subject-access", log_endpoint(_sheet), methods=["GET"]),
]


def openapi_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI paths of these endpoints; the components of their responses are added to ``schemas``."""
    lead_id = {"name": "lead_id", "in": "path", "required": True, "schema": _lead_id.json_schema()}
    decisions = openapi_operation(
        "decisions", DecisionsResponse, schemas, [lead_id, *query_parameters(PageQuery)]
    )
    sheet = openapi_operation(
        "subject_access", SubjectAccessResponse, schemas, [lead_id, *query_parameters(SheetQuery)]
    )
    sheet["responses"]["200"]["content"]["text/html"] = {"schema": {"type": "string"}}
    return {
        "/v1/leads/{lead_id}/decisions": {"get": decisions},
        "/v1/leads/{lead_id}/subject-access": {"get": sheet},
        "/v1/leads/{lead_id}": {"delete": openapi_operation("erase", ErasedResponse, schemas, [lead_id])},
    }
