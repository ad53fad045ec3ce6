"""GET /v1/accounts and /v1/accounts/{id}: companies with open leads, their chance, and whom to call."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import bentoml
from starlette.routing import Route

from serving.account_scores import AccountSummary, RankedAccount, rank_accounts
from serving.endpoints.base import log_decisions, log_endpoint, openapi_operation, query_parameters
from serving.endpoints.leads import timeline_events
from serving.lead_store.lead_details import is_name_of_account
from serving.problems import Problem, ProblemResponse
from serving.request_context import current_request
from serving.request_parsing import LeadById
from serving.schemas import (
    LEAD_ID,
    AccountChanceOut,
    AccountLead,
    AccountQuery,
    AccountResponse,
    AccountsQuery,
    AccountsResponse,
    AccountSummaryOut,
    AccountTimelineEvent,
    LeadFailure,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from starlette.requests import Request

    from models.account_chance import AccountDependence
    from models.explanation import Reason
    from serving.current_scores.records import CurrentScore
    from serving.decision_log.async_log import DecisionLog
    from serving.decision_log.records import NewDecision
    from serving.lead_store.stored_leads import StoredRows
    from serving.scorer import Scorer

PATHS = ("/v1/accounts", "/v1/accounts/{account_id:path}")
_REASONS = 5
# Leads of one account that are read; of more there is an address domain behind it, and no company.
_MOST_LEADS, _LONGEST_TIMELINE = 200, 200
_COST_MS = 15.0
# A million leads take some seconds to rank: such a ranking is kept for twenty times as long.
_LONG, _TIMES_AS_LONG = 0.25, 20
_RANKINGS: WeakKeyDictionary[DecisionLog, dict[object, tuple[float, list[RankedAccount]]]] = (
    WeakKeyDictionary()
)
_UNKNOWN = Problem(
    HTTPStatus.NOT_FOUND, "unknown_account", "the store knows no account of this id, nor leads of one"
)
_BAD_PAGE = Problem(
    HTTPStatus.BAD_REQUEST,
    "invalid_value",
    "this is not the `next` of a page; leave it out for the first page",
    "after",
)


async def _list(request: Request, journal: DecisionLog) -> AccountsResponse:
    query = AccountsQuery.model_validate(dict(request.query_params))
    after = None if query.after is None else parse_account(query.after)
    page, count, following = await find_accounts(journal, after, query.limit, query.text or "")
    return AccountsResponse(
        accounts=page, count=count, next=None if following is None else encode_account(following)
    )


async def find_accounts(
    journal: DecisionLog, after: RankedAccount | None, limit: int, text: str = ""
) -> tuple[list[AccountSummaryOut], int, RankedAccount | None]:
    """A page of accounts with open leads, best first; how many there are, and where the next page begins."""
    from serving.current_scores.account_reading import (  # noqa: PLC0415  # without a log nobody needs SQLAlchemy
        read_open_probabilities,
        read_scores_of_accounts,
    )

    service, tenant, now = bentoml.get_current_service(), current_request().tenant, int(time.time())
    model = current_request().model
    dependence = account_dependence(service)

    def read() -> tuple[list[RankedAccount], int, dict[str, list[CurrentScore]], bool]:
        with journal.writer.log.connect() as connection:
            ranked = _kept_ranking(
                journal,
                (tenant, model, dependence),
                lambda: rank_accounts(read_open_probabilities(connection, tenant, model), dependence),
            )
            matching = (
                [each for each in ranked if text.lower() in each.account_id.lower()] if text else ranked
            )
            start = 0 if after is None else bisect_right(matching, _order(after), key=_order)
            page = matching[start : start + limit]
            scores = read_scores_of_accounts(connection, [each.account_id for each in page], tenant, model)
            return page, len(matching), scores, start + limit < len(matching)

    with service.workload.admit(_COST_MS):
        page, count, scores, more = await journal.read(read)
    rows = await service.store.accounts(list(scores), tenant)
    summaries = [AccountSummary.of(name, leads, dependence, now) for name, leads in scores.items()]
    accounts = [summary_out(each, rows.account_attributes(each.account_id, now)) for each in summaries]
    return accounts, count, page[-1] if more else None


def _kept_ranking(
    journal: DecisionLog, key: object, rank: Callable[[], list[RankedAccount]]
) -> list[RankedAccount]:
    """What ``rank`` returns; where that takes long, for a while what it returned before."""
    rankings = _RANKINGS.setdefault(journal, {})
    until, ranked = rankings.get(key, (0.0, []))
    begin = time.monotonic()
    if begin < until:
        return ranked
    ranked = rank()
    took = time.monotonic() - begin
    rankings[key] = (begin + _TIMES_AS_LONG * took, ranked) if took >= _LONG else (0.0, [])
    return ranked


def _order(account: RankedAccount) -> tuple[float, str]:
    return -account.chance, account.account_id


def encode_account(account: RankedAccount) -> str:
    """An account of the ranking as a parameter of an address."""
    return urlsafe_b64encode(json.dumps(account).encode()).decode().rstrip("=")


def parse_account(text: str) -> RankedAccount:
    """The account that ``encode_account`` wrote. Raises ProblemResponse where it wrote none."""
    try:
        chance, account_id = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return RankedAccount(float(chance), str(account_id))
    except (ValueError, TypeError):
        raise ProblemResponse(_BAD_PAGE) from None


async def _show(request: Request, journal: DecisionLog) -> AccountResponse:
    account_id = LEAD_ID.validate_python(request.path_params["account_id"])
    query = AccountQuery.model_validate(dict(request.query_params))
    return await describe_account(journal, account_id, query.lang)


async def describe_account(journal: DecisionLog, account_id: str, lang: str) -> AccountResponse:
    """An account with its leads, and why to call the best of them; that explanation is logged.

    Raises ProblemResponse where there is none of this id.
    """
    from serving.current_scores.reading import CurrentScores  # noqa: PLC0415  # see find_accounts

    service, context = bentoml.get_current_service(), current_request()
    scorer = service.scorer
    context.model_version = scorer.model.version
    scores = await CurrentScores(journal).of_account(account_id, context.tenant, context.model)
    rows = await service.store.account(account_id, context.tenant, _MOST_LEADS)
    now = int(context.received_at) + 1
    members = [lead for lead in rows.versions if rows.account_of(lead, now) == account_id]
    if not (scores or members or account_id in rows.accounts):
        raise ProblemResponse(_UNKNOWN)
    summary = AccountSummary.of(account_id, scores, account_dependence(service), now)
    decisions: list[NewDecision] = []
    with service.workload.admit(_COST_MS):
        response: AccountResponse = await service.workload.run(
            _COST_MS,
            partial(_describe, scorer, summary, rows, members=members, lang=lang, decisions=decisions),
        )
    await log_decisions(journal, decisions)
    return response


def _describe(  # noqa: PLR0913  # what is known of an account
    scorer: Scorer,
    summary: AccountSummary,
    rows: StoredRows,
    *,
    members: Sequence[str],
    lang: str,
    decisions: list[NewDecision],
) -> AccountResponse:
    attributes = rows.account_attributes(summary.account_id, summary.now)
    target = scorer.model.card.target_stage
    scored = {lead.lead_id for lead in summary.leads}
    return AccountResponse(
        **summary_out(summary, attributes).model_dump(),
        model_version=scorer.model.version,
        attributes=dict(attributes),
        leads=[_lead_out(summary, lead) for lead in summary.leads[:_MOST_LEADS]],
        reasons=_reasons(scorer, summary, rows, lang, decisions),
        target=target,
        reached=sum(_has_entered(rows, lead, target, summary.now) for lead in members),
        unscored=len(set(members) - scored),
        timeline=_timeline(rows, members, summary.now),
    )


def _reasons(
    scorer: Scorer, summary: AccountSummary, rows: StoredRows, lang: str, decisions: list[NewDecision]
) -> tuple[Reason, ...]:
    """Why to call the best lead, as it was known when it was scored; none where it is known no longer."""
    best = summary.best
    if best is None or best.lead_id not in rows.versions:
        return ()
    item = LeadById(best.lead_id, rows, as_of=best.as_of)
    (result,) = scorer.explain([item], lang, _REASONS, decisions.append, now=summary.now)
    return () if isinstance(result, LeadFailure) else result.reasons


def _has_entered(rows: StoredRows, lead_id: str, stage: str, now: int) -> bool:
    lead = rows.lead(lead_id, now)
    return lead is not None and any(event["stage"] == stage for event in lead.events["transition"])


def _timeline(rows: StoredRows, members: Iterable[str], now: int) -> list[AccountTimelineEvent]:
    events = [
        AccountTimelineEvent.model_construct(lead_id=lead_id, **event.model_dump())
        for lead_id in members
        for lead in [rows.lead(lead_id, now)]
        if lead is not None
        for event in timeline_events(lead.events)
        if event.known_at < now
    ]
    newest = sorted(events, key=lambda event: (event.occurred_at, event.lead_id, event.what), reverse=True)
    return newest[:_LONGEST_TIMELINE]


def summary_out(summary: AccountSummary, attributes: Mapping[str, Any]) -> AccountSummaryOut:
    """An account as the list has it."""
    chance, best = summary.chance, summary.best
    return AccountSummaryOut(
        account_id=summary.account_id,
        name=account_name(summary.account_id, attributes),
        chance=AccountChanceOut(
            value=chance.value, low=chance.low, high=chance.high, correlation=chance.correlation
        ),
        best=None if best is None else _lead_out(summary, best),
        open=summary.count("open"),
        active=summary.active,
        dormant=summary.count("dormant"),
        closed=summary.count("closed"),
    )


def _lead_out(summary: AccountSummary, lead: CurrentScore) -> AccountLead:
    names = ("lead_id", "name", "state", "probability", "points", "grade", "combined_grade", "stage", "owner")
    return AccountLead(
        **{name: getattr(lead, name) for name in names},
        as_of=lead.as_of,
        last_activity_at=lead.last_activity_at,
        active=summary.is_active(lead),
    )


def account_name(account_id: str, attributes: Mapping[str, Any]) -> str:
    """What a person calls an account: its attribute that is a name, else its id."""
    named = (
        value
        for name, value in attributes.items()
        if isinstance(value, str) and value.strip() and is_name_of_account(name)
    )
    return next(named, account_id)


def account_names(rows: StoredRows, account_ids: Iterable[str | None], now: int) -> dict[str, str]:
    """What a person calls some accounts, by id, as known at ``now``."""
    wanted = {each for each in account_ids if each is not None}
    return {each: account_name(each, rows.account_attributes(each, now)) for each in wanted}


def account_dependence(service: Any) -> AccountDependence | None:
    """How dependent colleagues are by the model that is asked; None where it does not say."""
    current = service.served.champion.current
    return None if current is None else current.scorer.model.account_dependence


routes = [
    Route(PATHS[0], log_endpoint(_list), methods=["GET"]),
    Route(PATHS[1], log_endpoint(_show), methods=["GET"]),
]


def openapi_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI paths of these endpoints; the components of their responses are added to ``schemas``."""
    account_id = {"name": "account_id", "in": "path", "required": True, "schema": LEAD_ID.json_schema()}
    account = openapi_operation(
        "account", AccountResponse, schemas, [account_id, *query_parameters(AccountQuery)]
    )
    listed = openapi_operation("accounts", AccountsResponse, schemas, query_parameters(AccountsQuery))
    return {"/v1/accounts": {"get": listed}, "/v1/accounts/{account_id}": {"get": account}}
