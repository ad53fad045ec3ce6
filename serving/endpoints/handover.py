"""Today's leads for sales: the newest decisions about open leads, ranked, cut, and kept as handed over."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import bentoml
from starlette.routing import Route

from features.clock import DAY, to_datetime
from features.suggestions import suggest
from serving.endpoints.base import log_endpoint, openapi_operation, query_parameters
from serving.handover_selection import HandoverRequest, NoSuchValueError, conversion_interval
from serving.problems import Problem, ProblemResponse
from serving.schemas import ExpectedConversions, HandoverLeadOut, HandoverQuery, HandoverResponse

if TYPE_CHECKING:
    from starlette.requests import Request

    from features.spec import FeatureSet
    from serving.decision_log.async_log import DecisionLog
    from serving.decision_log.handovers import Handover, HandoverLead

PATH = "/v1/handover"


async def _handover(request: Request, journal: DecisionLog) -> HandoverResponse:
    query = HandoverQuery.model_validate(dict(request.query_params))
    service = bentoml.get_current_service()
    if query.value and service.champion.current is not None:
        _must_be_number(query.value, service.scorer.model.features)
    explore = service.explore if query.explore is None else query.explore
    wish = HandoverRequest(int(time.time()) // DAY * DAY, query.capacity, explore, query.value or "")
    try:
        handover = await journal.handed_over(wish)
    except NoSuchValueError as error:
        raise ProblemResponse(Problem(HTTPStatus.BAD_REQUEST, "invalid_value", str(error), "value")) from None
    # The distribution of thousands of leads takes a tenth of a second.
    return await asyncio.to_thread(_told, wish, handover, query.stale_days)


def _must_be_number(name: str, features: FeatureSet) -> None:
    """Refuse to rank by what the model in charge does not know as a number, whoever is open or nobody."""
    numbers = [spec.name for spec in features.specs if not spec.is_category]
    if name not in numbers:
        detail = f"no feature called {name[:40]!r} holds a number{suggest(name, numbers)}"
        raise ProblemResponse(Problem(HTTPStatus.BAD_REQUEST, "invalid_value", detail, "value"))


def _told(wish: HandoverRequest, handover: Handover | None, stale_days: int) -> HandoverResponse:
    leads = handover.leads if handover else ()
    probabilities = [one.told.probability for one in leads]
    low, high = conversion_interval(probabilities)
    return HandoverResponse(
        day=f"{to_datetime(wish.day):%Y-%m-%d}",
        capacity=wish.capacity,
        explore=wish.explore,
        value=wish.value or None,
        open=handover.open if handover else 0,
        tied=handover.tied if handover else 0,
        tied_taken=handover.tied_taken if handover else 0,
        handed_over=len(leads),
        explored=sum(one.explored for one in leads),
        expected=ExpectedConversions(
            conversions=sum(probabilities), low=low, high=high, worth=sum(one.worth for one in leads)
        ),
        leads=[_lead(one, wish.day, stale_days) for one in leads],
    )


def _lead(one: HandoverLead, day: int, stale_days: int) -> HandoverLeadOut:
    told = one.told
    # Of a decision of today, and of one by a clock that runs ahead, none.
    age = max(0, (day + DAY - 1 - told.decided_at) // DAY)
    return HandoverLeadOut(
        rank=one.rank,
        lead_id=told.lead_id,
        probability=told.probability,
        points=told.points,
        grade=told.grade,
        worth=one.worth,
        value=one.value,
        explored=one.explored,
        propensity=one.propensity,
        decision=told.id,
        model_version=told.model_version,
        insufficient=told.insufficient,
        as_of=told.as_of,
        decided_at=told.decided_at,
        age_days=age,
        stale=age > stale_days,
    )


routes = [Route(PATH, log_endpoint(_handover), methods=["GET"])]


def openapi_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """What the API page says of this address; what it answers is added to ``schemas``."""
    return {
        PATH: {
            "get": openapi_operation("handover", HandoverResponse, schemas, query_parameters(HandoverQuery))
        }
    }
