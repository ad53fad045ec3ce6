"""GET /v1/leads/{id}: a lead of the store as it is now, why, and how it came there."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import bentoml
from starlette.routing import Route

from features.clock import DAY
from features.messages import translate
from features.point_in_time import is_visible
from serving.attribute_values import missing_attributes
from serving.endpoints.base import log_decisions, log_endpoint, openapi_operation, query_parameters
from serving.endpoints.data_subject import erase_lead
from serving.lead_store.lead_details import describe_lead
from serving.problems import Problem, ProblemResponse
from serving.request_context import current_request
from serving.request_parsing import LeadById
from serving.schemas import (
    LEAD_ID,
    ExplainResult,
    LeadFailure,
    LeadQuery,
    LeadResponse,
    MissingFact,
    NextOfferOut,
    NextOffersOut,
    PossibleValue,
    TimelineEvent,
    TrendPoint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import BaseModel
    from starlette.requests import Request

    from serving.attribute_values import ScoredValue
    from serving.current_scores.records import ScorePoint
    from serving.decision_log.async_log import DecisionLog
    from serving.decision_log.records import NewDecision
    from serving.lead_store.async_store import KnownLeads
    from serving.lead_store.stored_leads import StoredLead
    from serving.schemas import NoCurrentScore
    from serving.scorer import Scorer

PATH = "/v1/leads/{lead_id:path}"
_WEEKS = 8
_LONGEST_TIMELINE = 200
# A lead and its colleagues are folded and scored nine times over, and once with every value it may lack.
_COST_MS = 40.0


async def _show(request: Request, journal: DecisionLog) -> LeadResponse:
    # A service without a log starts without a database library.
    from serving.current_scores.reading import CurrentScores  # noqa: PLC0415

    lead_id = LEAD_ID.validate_python(request.path_params["lead_id"])
    query = LeadQuery.model_validate(dict(request.query_params))

    service, context = bentoml.get_current_service(), current_request()
    scorer = service.scorer
    context.model_version, context.leads = scorer.model.version, 1
    known = await service.store.leads([lead_id], context.tenant)
    scores = CurrentScores(journal)
    current = await scores.find(lead_id, context.tenant, context.model)
    history = () if current is None else await scores.history(lead_id, context.tenant, context.model)
    decisions: list[NewDecision] = []
    with service.workload.admit(_COST_MS):
        response = await service.workload.run(
            _COST_MS, partial(describe_stored_lead, scorer, known, lead_id, query, decisions, history)
        )
    await log_decisions(journal, decisions)
    answer: LeadResponse = response
    if current is None:
        return answer.model_copy(update={"no_current_score": why_no_current_score(service)})
    return answer.model_copy(update={"state": current.state})


def why_no_current_score(service: Any) -> NoCurrentScore:
    """Why a model of the service has no current score of a lead that the store has."""
    return "off" if service.background is None else "waiting"


def describe_stored_lead(  # noqa: PLR0913, PLR0917  # a lead, what is known of it, and the question
    scorer: Scorer,
    known: KnownLeads,
    lead_id: str,
    query: LeadQuery,
    decisions: list[NewDecision],
    history: Sequence[ScorePoint] = (),
) -> LeadResponse:
    """The response about a lead; the decision in it is added to ``decisions``."""
    now = current_request().received_at
    item = LeadById(lead_id, known.rows, known.similar.get(lead_id))
    (result,) = scorer.explain([item], query.lang, query.top, decisions.append, now=now)
    if isinstance(result, LeadFailure):
        raise ProblemResponse(Problem(HTTPStatus.NOT_FOUND, result.error.code, result.error.message))
    moments = [result.as_of - weeks * 7 * DAY for weeks in range(_WEEKS, -1, -1)]
    trend = scorer.trend(item, moments)
    # A lead that has a score is there as of then.
    stored = cast("StoredLead", known.rows.lead(lead_id, result.as_of))
    details = describe_lead(stored, result.as_of)
    return LeadResponse(
        model_version=scorer.model.version,
        name=details.name,
        account_id=details.account_id,
        owner=details.owner,
        channel=details.channel,
        stage=details.stage,
        result=_with_change(scorer, item, result, trend, query.lang),
        trend=_with_history(trend, history),
        timeline=_timeline(stored),
        missing=_missing_facts(scorer, known, decisions[-1], query.lang),
        next_offers=_next_offers(scorer, stored, result.as_of),
    )


def _missing_facts(scorer: Scorer, known: KnownLeads, decision: NewDecision, lang: str) -> list[MissingFact]:
    """What is not known of a lead by the features of its score, and its consent where that is not known."""
    score = decision.score
    facts = [
        MissingFact(
            name=each.name,
            kind=each.kind,
            title=each.title,
            lowest=_possible(each.lowest),
            highest=_possible(each.highest),
        )
        for each in missing_attributes(scorer.model, decision.row, score, lang)
    ]
    if score.lead_id in known.rows.consenting:
        return facts
    title = translate("scores.consent", lang)
    consent = MissingFact(name="consent", kind="consent", title=title, lowest=None, highest=None)
    place = sum(fact.kind in {"qualification", "contact"} for fact in facts)
    return [*facts[:place], consent, *facts[place:]]


def _possible(value: ScoredValue | None) -> PossibleValue | None:
    return None if value is None else PossibleValue(text=value.text, probability=value.probability)


def _next_offers(scorer: Scorer, lead: StoredLead, as_of: int) -> NextOffersOut | None:
    """Which offers leads took next whose last offer was this lead's."""
    offers = scorer.model.next_offers
    if offers is None:
        return None
    offer_events = [
        (event["occurred_at"], event["offer"], event.get("offer_stage"))
        for event in lead.events["touchpoint"]
        if event.get("offer") is not None and is_visible(event["occurred_at"], event["known_at"], as_of)
    ]
    _, offer, stage = max(offer_events, key=lambda each: each[:2], default=(0, None, None))
    similar = offers.after(offer, stage)
    return (
        None
        if similar is None
        else NextOffersOut(
            by=similar.by,
            name=similar.name,
            leads=similar.history.leads,
            days=offers.days,
            offers=[NextOfferOut(**asdict(each)) for each in similar.history.offers],
        )
    )


def _with_history(trend: Sequence[TrendPoint], history: Sequence[ScorePoint]) -> list[TrendPoint]:
    """The trend with the scores that were kept in place of what is made of that time today."""
    recent = [point for point in history if trend and trend[0].as_of <= point.as_of < trend[-1].as_of]
    if not recent:
        return list(trend)
    before = [point for point in trend[:-1] if point.as_of < recent[0].as_of]
    return [*before, *(TrendPoint(**asdict(point)) for point in recent), trend[-1]]


def _with_change(
    scorer: Scorer, item: LeadById, result: ExplainResult, trend: Sequence[TrendPoint], lang: str
) -> ExplainResult:
    """The result with what changed within a week, of a lead that is so old."""
    week_ago = result.as_of - 7 * DAY
    if all(point.as_of != week_ago for point in trend):
        return result
    compared = LeadById(item.lead_id, item.rows, as_of=result.as_of, since=week_ago)
    (changed,) = scorer.explain([compared], lang)
    return (
        result if isinstance(changed, LeadFailure) else result.model_copy(update={"change": changed.change})
    )


def _timeline(lead: StoredLead) -> list[TimelineEvent]:
    events = [*timeline_events(lead.events), *timeline_events(lead.colleagues)]
    newest = sorted(events, key=lambda event: (event.occurred_at, event.type, event.what), reverse=True)
    return newest[:_LONGEST_TIMELINE]


_NAMED_BY = {"touchpoint": "kind", "transition": "stage", "attribute": "name"}


def timeline_events(by_kind: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[TimelineEvent]:
    """The events of a lead, by kind, as a timeline has them."""
    for kind, events in by_kind.items():
        for event in events:
            own = {"occurred_at", "known_at", "colleague", "removed_at", "number", _NAMED_BY[kind]}
            details = {name: value for name, value in event.items() if name not in own and value is not None}
            yield TimelineEvent.model_construct(
                type=kind,
                occurred_at=event.get("occurred_at", event["known_at"]),
                known_at=event["known_at"],
                what=event[_NAMED_BY[kind]],
                details=details,
                colleague=event.get("colleague"),
            )


async def _answer(request: Request, journal: DecisionLog) -> BaseModel:
    return await (erase_lead if request.method == "DELETE" else _show)(request, journal)


# One route, so that the header Allow of a refusal names both methods.
routes = [Route(PATH, log_endpoint(_answer), methods=["GET", "DELETE"])]


def openapi_operation_of_lead(schemas: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI operation of this endpoint; the components of its response are added to ``schemas``."""
    lead_id = {"name": "lead_id", "in": "path", "required": True, "schema": LEAD_ID.json_schema()}
    return openapi_operation("lead", LeadResponse, schemas, [lead_id, *query_parameters(LeadQuery)])
