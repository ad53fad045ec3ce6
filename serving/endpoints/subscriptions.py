"""GET /v1/subscriptions: who is told by webhooks and how that fares; dead letters, and sending them again."""

from __future__ import annotations

import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import bentoml
from starlette.routing import Route

from features.suggestions import suggest
from serving.endpoints.base import log_endpoint, openapi_operation, query_parameters, read_json
from serving.problems import Problem, ProblemResponse
from serving.request_context import current_request
from serving.schemas import (
    DeadLetterOut,
    DeadLetterQuery,
    DeadLettersResponse,
    ResendOrder,
    ResendResponse,
    SubscriptionOut,
    SubscriptionsResponse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from serving.decision_log.async_log import DecisionLog
    from serving.webhooks.settings import Subscription

PATH = "/v1/subscriptions"
DEAD_LETTERS, RESEND = f"{PATH}/dead-letters", f"{PATH}/resend"


async def _show(_: Request, journal: DecisionLog) -> SubscriptionsResponse:
    """The subscriptions of the file, and those that it has no more and of which messages are left."""
    tenant, counts = current_request().tenant, await _counts(journal)
    subscriptions = {
        name: each
        for name, each in bentoml.get_current_service().webhooks.outgoing.items()
        if not tenant or each.tenant in {"", tenant}
    }
    names = sorted({*subscriptions, *counts})
    return SubscriptionsResponse(
        subscriptions=[
            _subscription_out(name, subscriptions.get(name), counts.get(name, {})) for name in names
        ]
    )


def _subscription_out(
    name: str, subscription: Subscription | None, counts: Mapping[str, Any]
) -> SubscriptionOut:
    figures = {field: counts.get(field, 0) for field in ("waiting", "given_up")}
    oldest = counts.get("oldest")
    if subscription is None:
        return SubscriptionOut(
            name=name, host=None, events=[], grades=[], tenant=None, oldest=oldest, **figures
        )
    # The path of an address is often a password.
    return SubscriptionOut(
        name=name,
        host=urlsplit(subscription.url).hostname,
        events=sorted(subscription.events),
        grades=sorted(subscription.grades),
        tenant=subscription.tenant,
        oldest=oldest,
        **figures,
    )


async def _dead_letters(request: Request, journal: DecisionLog) -> DeadLettersResponse:
    """The messages that were given up, without their content, the oldest first."""
    # Without a log nobody needs SQLAlchemy; so do the others.
    from serving.webhooks.outbox import dead_letters  # noqa: PLC0415

    query = DeadLetterQuery.model_validate(dict(request.query_params))
    await _require_known(query.subscription, journal)
    tenant, log = current_request().tenant, journal.writer.log
    letters = await journal.read(
        lambda: dead_letters(log, query.subscription, query.limit + 1, tenant, query.after)
    )
    page = letters[: query.limit]
    return DeadLettersResponse(
        dead_letters=[DeadLetterOut(**letter) for letter in page],
        next=page[-1]["id"] if len(letters) > query.limit else None,
    )


async def _resend(request: Request, journal: DecisionLog) -> ResendResponse:
    """Let messages that were given up go out again, under the ids that they had."""
    from serving.webhooks.outbox import resend  # noqa: PLC0415

    order = ResendOrder.model_validate_json(await read_json(request))
    await _require_known(order.subscription, journal)
    work = partial(
        resend,
        now=time.time(),
        subscription=order.subscription,
        numbers=order.ids,
        tenant=current_request().tenant,
    )
    return ResendResponse(messages=await journal.writer.write(work))


async def _counts(journal: DecisionLog) -> dict[str, dict[str, Any]]:
    from serving.webhooks.outbox import count_messages  # noqa: PLC0415

    tenant, log = current_request().tenant, journal.writer.log
    rows = await journal.read(lambda: count_messages(log, tenant))
    return {row.pop("subscription"): row for row in rows}


async def _require_known(name: str | None, journal: DecisionLog) -> None:
    """Refuse the name of a subscription that neither the file nor a message has."""
    outgoing = bentoml.get_current_service().webhooks.outgoing
    if name is None or name in outgoing:
        return
    known = {*outgoing, *await _counts(journal)}
    if name not in known:
        detail = f"there is no subscription {name[:40]!r}{suggest(name, sorted(known))}"
        raise ProblemResponse(Problem(HTTPStatus.NOT_FOUND, "unknown_subscription", detail, "subscription"))


routes = [
    Route(PATH, log_endpoint(_show), methods=["GET"]),
    Route(DEAD_LETTERS, log_endpoint(_dead_letters), methods=["GET"]),
    Route(RESEND, log_endpoint(_resend), methods=["POST"]),
]


def openapi_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI paths of these endpoints; the components of their responses are added to ``schemas``."""
    resend = openapi_operation("resend_dead_letters", ResendResponse, schemas, [])
    schema = ResendOrder.model_json_schema(ref_template="#/components/schemas/{model}")
    example = {"subscription": "sales", "ids": [812, 813]}
    body = {"required": True, "content": {"application/json": {"schema": schema | {"example": example}}}}
    listed = openapi_operation(
        "dead_letters", DeadLettersResponse, schemas, query_parameters(DeadLetterQuery)
    )
    paths = {
        PATH: {"get": openapi_operation("subscriptions", SubscriptionsResponse, schemas, [])},
        DEAD_LETTERS: {"get": listed},
        RESEND: {"post": resend | {"requestBody": body}},
    }
    for (path, method), answer in _EXAMPLES.items():
        paths[path][method]["responses"]["200"]["content"]["application/json"]["example"] = answer
    return paths


_EXAMPLES: dict[tuple[str, str], Any] = {
    (PATH, "get"): {
        "subscriptions": [
            {
                "name": "sales",
                "host": "hooks.example.com",
                "events": ["lead.handed_over", "score.grade_entered"],
                "grades": ["A"],
                "tenant": "",
                "waiting": 3,
                "given_up": 2,
                "oldest": 1_777_883_402,
            }
        ]
    },
    (DEAD_LETTERS, "get"): {
        "dead_letters": [
            {
                "id": 812,
                "subscription": "sales",
                "tenant": "",
                "lead_id": "0012",
                "type": "score.grade_entered",
                "created_at": 1_777_624_202,
                "attempts": 80,
                "error": "status 500",
            }
        ],
        "next": None,
    },
    (RESEND, "post"): {"messages": 2},
}
