"""POST /v1/handover: the open leads with the best newest decisions, logged as handed over; GET reads them."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import bentoml
from starlette.routing import Route

from features.clock import DAY, to_datetime
from features.suggestions import suggest
from serving.endpoints.base import log_endpoint, openapi_operation, query_parameters, read_json
from serving.handover_selection import HandoverRequest, NoSuchValueError, conversion_interval
from serving.problems import Problem, ProblemResponse
from serving.request_context import current_request
from serving.schemas import ExpectedConversions, HandoverLeadOut, HandoverQuery, HandoverResponse

if TYPE_CHECKING:
    from starlette.requests import Request

    from features.spec import FeatureSet
    from serving.decision_log.async_log import DecisionLog
    from serving.decision_log.handovers import Handover, HandoverLead

PATH = "/v1/handover"
_NO_HANDOVER = Problem(
    HTTPStatus.NOT_FOUND,
    "no_handover",
    "no list was made for these parameters today; POST /v1/handover makes it",
)


async def _show(request: Request, journal: DecisionLog) -> HandoverResponse:
    """The list that was made today; reading it changes nothing."""
    query = HandoverQuery.model_validate(dict(request.query_params))
    wish = _wish(query)
    handover = await journal.find_handover(wish)
    if handover is None:
        raise ProblemResponse(_NO_HANDOVER)
    return await asyncio.to_thread(_response, wish, handover, query.stale_days)


async def _make(request: Request, journal: DecisionLog) -> HandoverResponse:
    """The list of today, which the first request of a day makes and logs."""
    query = HandoverQuery.model_validate_json(await read_json(request))
    wish = _wish(query)
    try:
        handover = await journal.get_or_create_handover(wish)
    except NoSuchValueError as error:
        raise ProblemResponse(Problem(HTTPStatus.BAD_REQUEST, "invalid_value", str(error), "value")) from None
    # The distribution of thousands of leads takes a tenth of a second.
    return await asyncio.to_thread(_response, wish, handover, query.stale_days)


def _wish(query: HandoverQuery) -> HandoverRequest:
    """What is asked for today, with the share of the service where the request names none."""
    service = bentoml.get_current_service()
    if query.value and service.champion.current is not None:
        _require_number(query.value, service.scorer.model.features)
    explore = service.explore if query.explore is None else query.explore
    day = int(time.time()) // DAY * DAY
    tenant = current_request().tenant
    return HandoverRequest(day, query.capacity, explore, query.value or "", tenant, service.control)


def _require_number(name: str, features: FeatureSet) -> None:
    """Refuse a value that is no number feature of the model in charge."""
    numbers = [spec.name for spec in features.specs if not spec.is_category]
    if name not in numbers:
        detail = f"no feature called {name[:40]!r} holds a number{suggest(name, numbers)}"
        raise ProblemResponse(Problem(HTTPStatus.BAD_REQUEST, "invalid_value", detail, "value"))


def _response(request: HandoverRequest, handover: Handover | None, stale_days: int) -> HandoverResponse:
    leads = handover.leads if handover else ()
    probabilities = [lead.decision.probability for lead in leads]
    low, high = conversion_interval(probabilities)
    return HandoverResponse(
        day=f"{to_datetime(request.day):%Y-%m-%d}",
        capacity=request.capacity,
        explore=request.explore,
        value=request.value or None,
        open=handover.open if handover else 0,
        tied=handover.tied if handover else 0,
        tied_taken=handover.tied_taken if handover else 0,
        handed_over=len(leads),
        explored=sum(lead.explored for lead in leads),
        control_share=handover.request.control_share if handover else request.control_share,
        control=handover.control if handover else 0,
        expected=ExpectedConversions(
            conversions=sum(probabilities), low=low, high=high, worth=sum(lead.worth for lead in leads)
        ),
        leads=[_lead_out(lead, request.day, stale_days) for lead in leads],
    )


def _lead_out(lead: HandoverLead, day: int, stale_days: int) -> HandoverLeadOut:
    decision = lead.decision
    # Of a score as of today, and of one as of a later moment, none.
    age = max(0, (day + DAY - 1 - decision.as_of) // DAY)
    return HandoverLeadOut(
        rank=lead.rank,
        lead_id=decision.lead_id,
        probability=decision.probability,
        points=decision.points,
        grade=decision.grade,
        worth=lead.worth,
        value=lead.value,
        explored=lead.explored,
        propensity=lead.propensity,
        decision=decision.id,
        model_version=decision.model_version,
        insufficient=decision.insufficient,
        as_of=decision.as_of,
        decided_at=decision.decided_at,
        age_days=age,
        stale=age > stale_days,
        tenant=decision.tenant,
    )


async def _answer(request: Request, journal: DecisionLog) -> HandoverResponse:
    return await (_make if request.method == "POST" else _show)(request, journal)


# One route, so that the header Allow of a refusal names both methods.
routes = [Route(PATH, log_endpoint(_answer), methods=["GET", "POST"])]


def openapi_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI path of these endpoints; the components of their response are added to ``schemas``."""
    make = openapi_operation("make_handover", HandoverResponse, schemas, [])
    schema = HandoverQuery.model_json_schema(ref_template="#/components/schemas/{model}")
    example = {"capacity": 50, "explore": 0.1}
    body = {"required": True, "content": {"application/json": {"schema": schema | {"example": example}}}}
    return {
        PATH: {
            "get": openapi_operation("handover", HandoverResponse, schemas, query_parameters(HandoverQuery)),
            "post": make | {"requestBody": body},
        }
    }
