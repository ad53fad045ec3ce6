"""POST /v1/handover/overrides: what people decide beside the model's choice; GET reads what counts now."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import bentoml
from starlette.routing import Route

from features.clock import DAY
from features.suggestions import suggest
from serving.decision_log.records import Override
from serving.endpoints.base import log_endpoint, openapi_operation, read_json
from serving.problems import Problem, ProblemResponse
from serving.request_context import current_request
from serving.schemas import HandoverOverrideIn, HandoverOverrideOut, HandoverOverridesResponse

if TYPE_CHECKING:
    from starlette.requests import Request

    from serving.decision_log.async_log import DecisionLog

PATH = "/v1/handover/overrides"
_UNKNOWN = Problem(
    HTTPStatus.NOT_FOUND, "unknown_lead", "no lead with this id was scored yet; score it first"
)


async def _show(_: Request, journal: DecisionLog) -> HandoverOverridesResponse:
    context = current_request()
    decided = await journal.overrides(context.tenant, context.model)
    return HandoverOverridesResponse(overrides=[override_out(each) for each, _ in decided])


async def _record(request: Request, journal: DecisionLog) -> HandoverOverrideOut:
    """Log what a person decided; it counts from now on, also for lists that were made already."""
    override_in = HandoverOverrideIn.model_validate_json(await read_json(request))
    context, now = current_request(), int(time.time())
    override = Override(
        override_in.lead_id,
        override_in.action,
        override_in.reason,
        override_in.decided_by,
        now,
        now // DAY * DAY + override_in.days * DAY,
        await _owner(override_in, journal) if override_in.action == "hand_over" else "",
        context.key_id,
        context.tenant,
        context.model,
    )
    if not await journal.log_override(override, context.received_at):
        raise ProblemResponse(_UNKNOWN)
    return override_out(override)


async def _owner(override_in: HandoverOverrideIn, journal: DecisionLog) -> str:
    """On whose list a lead is put: as the request says, else its own owner's; "" without a plan."""
    plan = bentoml.get_current_service().handover.plan
    if override_in.owner is not None:
        return override_in.owner if plan is None else plan.spelled(override_in.owner)
    if plan is None or not plan.has_owners:
        return ""
    context = current_request()
    owner = await journal.find_owner(plan, override_in.lead_id, context.tenant, context.model)
    if owner is None:
        raise ProblemResponse(_UNKNOWN)
    if not owner:
        detail = f"by the plan nobody takes this lead; name the owner{suggest('', plan.owners)}"
        raise ProblemResponse(Problem(HTTPStatus.BAD_REQUEST, "missing_field", detail, "owner"))
    return owner


def override_out(override: Override) -> HandoverOverrideOut:
    """What a person decided as the contract has it."""
    return HandoverOverrideOut(
        lead_id=override.lead_id,
        action=override.action,
        reason=override.reason,
        decided_by=override.decided_by,
        owner=override.owner or None,
        recorded_at=override.recorded_at,
        until=override.until,
        tenant=override.tenant,
    )


async def _answer(request: Request, journal: DecisionLog) -> HandoverOverrideOut | HandoverOverridesResponse:
    return await (_record if request.method == "POST" else _show)(request, journal)


# One route, so that the header Allow of a refusal names both methods.
routes = [Route(PATH, log_endpoint(_answer), methods=["GET", "POST"])]


def openapi_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI path of these endpoints; the components of their responses are added to ``schemas``."""
    record = openapi_operation("override_handover", HandoverOverrideOut, schemas, [])
    schema = HandoverOverrideIn.model_json_schema(ref_template="#/components/schemas/{model}")
    example = {
        "lead_id": "0012",
        "action": "hand_over",
        "reason": "met them at the trade fair",
        "decided_by": "anna",
    }
    body = {"required": True, "content": {"application/json": {"schema": schema | {"example": example}}}}
    return {
        PATH: {
            "get": openapi_operation("overrides", HandoverOverridesResponse, schemas, []),
            "post": record | {"requestBody": body},
        }
    }
