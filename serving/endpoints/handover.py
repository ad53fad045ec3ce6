"""POST /v1/handover: the open leads with the best newest decisions, logged as handed over; GET reads them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import bentoml
from starlette.routing import Route

from features.clock import DAY, to_datetime
from features.suggestions import suggest
from models.handover_lists import ListWish
from models.handover_plan import HandoverPlan, with_capacities
from models.handover_selection import HandoverRequest, NoSuchValueError, conversion_interval
from serving.decision_log.records import Handover, HandoverLead
from serving.endpoints.base import log_endpoint, openapi_operation, query_parameters, read_json
from serving.endpoints.handover_overrides import override_out
from serving.problems import Problem, ProblemResponse
from serving.request_context import current_request
from serving.schemas import (
    ExpectedConversions,
    HandoverChoice,
    HandoverExclusion,
    HandoverLeadOut,
    HandoverOrder,
    HandoverOverrideOut,
    HandoverQuery,
    HandoverResponse,
    OwnerListOut,
)
from serving.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from features.spec import FeatureSet
    from serving.decision_log.async_log import DecisionLog
    from serving.decision_log.records import DecisionSummary, Override

PATH = "/v1/handover"
_NO_HANDOVER = Problem(
    HTTPStatus.NOT_FOUND,
    "no_handover",
    "no list was made for these parameters today; POST /v1/handover makes it",
)
_NO_CAPACITY = Problem(
    HTTPStatus.BAD_REQUEST,
    "missing_field",
    "'capacity' is required: how many leads sales can take; or start the service with a plan of owners",
    "capacity",
)


async def _show(request: Request, journal: DecisionLog) -> HandoverResponse:
    """The list that was made today; reading it changes nothing."""
    query = HandoverQuery.model_validate(dict(request.query_params))
    wish = _wish(query)
    lists = await journal.find_handovers(wish)
    if not lists:
        raise ProblemResponse(_NO_HANDOVER)
    return await _respond(wish, lists, query.stale_days, journal)


async def _make(request: Request, journal: DecisionLog) -> HandoverResponse:
    """The list of today, which the first request of a day makes and logs."""
    query = HandoverOrder.model_validate_json(await read_json(request))
    wish = _wish(query, query.owners)
    try:
        lists = await journal.get_or_create_handovers(wish)
    except NoSuchValueError as error:
        raise ProblemResponse(Problem(HTTPStatus.BAD_REQUEST, "invalid_value", str(error), "value")) from None
    return await _respond(wish, lists, query.stale_days, journal)


def _wish(query: HandoverChoice, owners: Mapping[str, int] | None = None) -> ListWish:
    """What is asked for today, with the shares and the plan of the service where the request names none."""
    service = bentoml.get_current_service()
    if query.value and service.served.champion.current is not None:
        _require_number(query.value, service.scorer.model.features)
    plan = service.handover.plan or HandoverPlan()
    if owners is not None:
        plan = with_capacities(plan, owners)
    owner = None if query.owner is None else plan.spelled(query.owner)
    if owner is not None:
        plan = _plan_with(plan, owner, query.capacity)
    by_owner = owner is not None or owners is not None or (query.capacity is None and plan.has_owners)
    if query.capacity is None and not by_owner:
        raise ProblemResponse(_NO_CAPACITY)
    request = HandoverRequest(
        day=int(time.time()) // DAY * DAY,
        capacity=query.capacity or 1,
        explore=service.explore if query.explore is None else query.explore,
        value=query.value or "",
        tenant=current_request().tenant,
        control_share=service.control,
        dormant=query.dormant,
        reserve=plan.reserve if query.reserve is None else query.reserve,
        model=current_request().model,
    )
    return ListWish(request, plan, by_owner, frozenset(() if owner is None else (owner,)))


def _plan_with(plan: HandoverPlan, owner: str, capacity: int | None) -> HandoverPlan:
    """The plan in which an owner takes so many leads; refused where nobody says how many."""
    if capacity is not None:
        return replace(plan, owners={**plan.owners, owner: capacity})
    if plan.capacity_of(owner) is None:
        detail = f"the plan has no owner called {owner[:40]!r}; send a capacity{suggest(owner, plan.owners)}"
        raise ProblemResponse(Problem(HTTPStatus.BAD_REQUEST, "invalid_value", detail, "owner"))
    return plan


def _require_number(name: str, features: FeatureSet) -> None:
    """Refuse a value that is no number feature of the model in charge."""
    numbers = [spec.name for spec in features.specs if not spec.is_category]
    if name not in numbers:
        detail = f"no feature called {name[:40]!r} holds a number{suggest(name, numbers)}"
        raise ProblemResponse(Problem(HTTPStatus.BAD_REQUEST, "invalid_value", detail, "value"))


async def _respond(
    wish: ListWish, lists: Sequence[Handover], stale_days: int, journal: DecisionLog
) -> HandoverResponse:
    """The lists as they were made, and what people have decided since."""
    decided = _Decided(
        tuple(await journal.overrides(wish.request.tenant, wish.request.model)), wish, stale_days
    )
    # The distribution of thousands of leads takes a tenth of a second.
    return await asyncio.to_thread(_response, wish, lists, decided)


def _response(wish: ListWish, lists: Sequence[Handover], decided: _Decided) -> HandoverResponse:
    request = wish.request
    entries = [(each, decided.leads_of(each)) for each in lists]
    if not entries and not wish.by_owner:
        entries = [(Handover(request, 0, 0, 0), [])]
    owners = [_owner_list(each, leads) for each, leads in entries if wish.by_owner]
    leads = [lead for _, leads in entries for lead in leads]
    listed = [lead for each, _ in entries for lead in each.leads]
    return HandoverResponse(
        day=f"{to_datetime(request.day):%Y-%m-%d}",
        capacity=sum(each.request.capacity for each, _ in entries),
        explore=request.explore,
        value=request.value or None,
        model=request.model or DEFAULT_MODEL,
        open=sum(each.open for each, _ in entries),
        tied=sum(each.tied for each, _ in entries),
        tied_taken=sum(each.tied_taken for each, _ in entries),
        handed_over=len(leads),
        explored=sum(lead.explored for lead in leads),
        control_share=lists[0].request.control_share if lists else request.control_share,
        control=sum(each.control for each, _ in entries),
        expected=_expected(leads),
        leads=leads,
        owners=owners,
        reserve=[lead for each, _ in entries for lead in decided.reserve_of(each)],
        taken_off=[
            override_out(each)
            for each, _ in decided.overrides
            if each.action == "take_off" and any(_is_about(each, lead) for lead in listed)
        ],
        excluded=_exclusions([each for each, _ in entries]),
    )


def _owner_list(handover: Handover, leads: Sequence[HandoverLeadOut]) -> OwnerListOut:
    return OwnerListOut(
        owner=handover.request.owner,
        capacity=handover.request.capacity,
        open=handover.open,
        tied=handover.tied,
        tied_taken=handover.tied_taken,
        handed_over=len(leads),
        explored=sum(lead.explored for lead in leads),
        control=handover.control,
        expected=_expected(leads),
        excluded=_in_order(Counter(handover.excluded)),
    )


def _exclusions(lists: Sequence[Handover]) -> list[HandoverExclusion]:
    """How many leads were on no list and why; leads that are nobody's are counted once."""
    counts: Counter[str] = Counter()
    nobodys: Counter[str] = Counter()
    for each in lists:
        counts.update(each.excluded)
        nobodys |= Counter(each.nobodys)
    return _in_order(counts + nobodys)


def _in_order(counts: Counter[str]) -> list[HandoverExclusion]:
    return [HandoverExclusion(reason=reason, leads=leads) for reason, leads in sorted(counts.items())]


def _expected(leads: Sequence[HandoverLeadOut]) -> ExpectedConversions:
    probabilities = [lead.probability for lead in leads]
    low, high = conversion_interval(probabilities)
    return ExpectedConversions(
        conversions=sum(probabilities), low=low, high=high, worth=sum(lead.worth for lead in leads)
    )


@dataclass(frozen=True, slots=True)
class _Decided:
    """What people decided, each with the newest decision about its lead, and how leads are shown."""

    overrides: tuple[tuple[Override, DecisionSummary], ...]
    wish: ListWish
    stale_days: int

    def leads_of(self, handover: Handover) -> list[HandoverLeadOut]:
        """The leads of a list without those that were taken off, and those that people put on it."""
        owner = handover.request.owner
        leads = [lead for lead in handover.leads if self._action(lead) != "take_off"]
        listed = [self._lead_out(lead, owner) for lead in leads]
        added = [
            (override, decision)
            for override, decision in self.overrides
            if override.action == "hand_over"
            and (not owner or override.owner == owner)
            and not any(_is_about(override, lead) for lead in handover.leads)
        ]
        for override, decision in added:
            rank, probability = listed[-1].rank + 1 if listed else 1, decision.probability
            lead = HandoverLead(rank, decision, probability, None, explored=False, propensity=None)
            listed.append(self._lead_out(lead, owner or override.owner))
        return listed

    def reserve_of(self, handover: Handover) -> list[HandoverLeadOut]:
        """The reserve of a list without leads that people have decided about."""
        waiting = [lead for lead in handover.reserve if self._action(lead) is None]
        return [self._lead_out(lead, handover.request.owner) for lead in waiting]

    def _action(self, lead: HandoverLead) -> str | None:
        return next((each.action for each, _ in self.overrides if _is_about(each, lead)), None)

    def _lead_out(self, lead: HandoverLead, owner: str) -> HandoverLeadOut:
        override = next((each for each, _ in self.overrides if _is_about(each, lead)), None)
        about = None if override is None else override_out(override)
        return _lead_out(lead, owner or None, about, self.wish.request.day, self.stale_days)


def _is_about(override: Override, lead: HandoverLead) -> bool:
    return (override.tenant, override.lead_id) == (lead.decision.tenant, lead.decision.lead_id)


def _lead_out(
    lead: HandoverLead, owner: str | None, override: HandoverOverrideOut | None, day: int, stale_days: int
) -> HandoverLeadOut:
    """A lead of a list as the contract has it."""
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
        owner=owner,
        override=override,
    )


async def _answer(request: Request, journal: DecisionLog) -> HandoverResponse:
    return await (_make if request.method == "POST" else _show)(request, journal)


# One route, so that the header Allow of a refusal names both methods.
routes = [Route(PATH, log_endpoint(_answer), methods=["GET", "POST"])]


def openapi_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI path of these endpoints; the components of their response are added to ``schemas``."""
    make = openapi_operation("make_handover", HandoverResponse, schemas, [])
    schema = HandoverOrder.model_json_schema(ref_template="#/components/schemas/{model}")
    example = {"capacity": 50, "explore": 0.1}
    body = {"required": True, "content": {"application/json": {"schema": schema | {"example": example}}}}
    return {
        PATH: {
            "get": openapi_operation("handover", HandoverResponse, schemas, query_parameters(HandoverQuery)),
            "post": make | {"requestBody": body},
        }
    }
