"""POST /v1/webhooks/{source}: a CRM's own message, read by the source's mapping into events of the store."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import bentoml
from starlette.responses import Response
from starlette.routing import Route

from features.suggestions import suggest
from serving.endpoints.base import log_endpoint, openapi_operation
from serving.endpoints.events import record_events
from serving.middleware.request_body import read_body
from serving.problems import Problem, ProblemResponse
from serving.request_context import current_request
from serving.schemas import MAX_NAME, LeadError, WebhookItem, WebhookResponse
from serving.webhooks.mapping import MappedEvent, MappingError, UnmappedItem
from serving.webhooks.signatures import SignatureError, SignedRequest, verify
from serving.workload import MS_PER_ITEM, MS_PER_KILOBYTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starlette.requests import Request

    from serving.decision_log.async_log import DecisionLog
    from serving.schemas import EventRejected, EventTaken
    from serving.webhooks.settings import Source

PATH = "/v1/webhooks/{source}"
# Vendors send some hundred kilobytes at the most.
MOST_BYTES = 1_048_576
_TOO_LARGE = Problem(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"at most {MOST_BYTES:,} bytes are read here"
)
_TOO_SLOW = Problem(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", "the body took too long to arrive")
# Without this answer Salesforce sends a message again for a day.
_ACKNOWLEDGED = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><notificationsResponse '
    'xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse></soapenv:Body>'
    "</soapenv:Envelope>"
)


async def _receive(request: Request, _: DecisionLog) -> WebhookResponse | Response:
    """Store what a message tells of; what cannot be mapped is answered in its own place."""
    service, context = bentoml.get_current_service(), current_request()
    source = _source(service.webhooks.incoming, request.path_params["source"])
    body = await _read(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        verify(source, SignedRequest(headers, body), time.time())
    except SignatureError as error:
        detail = f"this message does not show that {source.name} sent it: {error}"
        raise ProblemResponse(Problem(HTTPStatus.UNAUTHORIZED, "signature_invalid", detail)) from None
    context.tenant = context.tenant or source.tenant
    # Parsing and mapping take longer than reading a request of our own.
    cost = len(body) / 1_000 * MS_PER_KILOBYTE * 10
    with service.workload.admit(cost):
        context.cost = cost
        mapped = await service.workload.run(cost, lambda: _map(source, body))
        events = [each.event for each in mapped if isinstance(each, MappedEvent)]
        context.cost = cost = cost + len(events) * MS_PER_ITEM["/v1/events"]

        def run(work: Any) -> Any:
            return service.workload.run(cost, work)

        results = await record_events(events, service.store, run) if events else []
    if source.mapper.body == "soap":
        return Response(_ACKNOWLEDGED, media_type="text/xml")
    return WebhookResponse(results=list(_items(mapped, results)))


def _source(incoming: Any, name: str) -> Source:
    source: Source | None = incoming.get(name)
    if source is None:
        hint = suggest(name, incoming) if current_request().key_id else ""
        detail = f"the file of webhooks has no incoming source {name[:40]!r}{hint}"
        raise ProblemResponse(Problem(HTTPStatus.NOT_FOUND, "unknown_source", detail))
    return source


async def _read(request: Request) -> bytes:
    if request.headers.get("content-encoding", "identity") != "identity":
        detail = "send the body as it is, without Content-Encoding"
        raise ProblemResponse(Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail))
    try:
        body = await read_body(request.receive)
    except TimeoutError:
        raise ProblemResponse(_TOO_SLOW) from None
    if len(body) > MOST_BYTES:
        raise ProblemResponse(_TOO_LARGE)
    return body


def _map(source: Source, body: bytes) -> list[MappedEvent | UnmappedItem]:
    try:
        return source.mapper.events(source.mapper.parse(body))
    except MappingError as error:
        raise ProblemResponse(Problem(HTTPStatus.BAD_REQUEST, "unmapped_body", str(error))) from None


def _items(
    mapped: Sequence[MappedEvent | UnmappedItem], results: Sequence[EventTaken | EventRejected]
) -> Iterator[WebhookItem]:
    pending = iter(results)
    for each in mapped:
        if isinstance(each, MappedEvent):
            result = next(pending)
            values = dict(result)
            yield WebhookItem(item=each.path, **{"error": None, **values})
        elif each.is_ignored:
            yield WebhookItem(item=each.path, id=None, status="ignored", error=None)
        else:
            error = LeadError(code="unmapped", field=each.path, message=each.reason)
            yield WebhookItem(item=each.path, id=None, status="rejected", error=error)


routes = [Route(PATH, log_endpoint(_receive), methods=["POST"])]


def openapi_paths(schemas: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI path of this endpoint; the components of its response are added to ``schemas``."""
    text = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
    name = {"name": "source", "in": "path", "required": True, "schema": text}
    operation = openapi_operation("receive_webhook", WebhookResponse, schemas, [name])
    operation["responses"]["200"]["content"]["text/xml"] = {"schema": {"type": "string"}}
    schemas["WebhookMessage"] = {
        "description": "What a CRM sends by itself, as the mapping of the source reads it.",
        "type": ["object", "array"],
    }
    message = {"$ref": "#/components/schemas/WebhookMessage"}
    content = {"application/json": {"schema": message}, "text/xml": {"schema": {"type": "string"}}}
    body = {"required": True, "content": content}
    return {PATH: {"post": operation | {"requestBody": body}}}
