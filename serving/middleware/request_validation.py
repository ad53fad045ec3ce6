"""Validates requests, calls the service's methods, and answers every error as problem+json (RFC 9457).

BentoML sets no limit to a body, logs the content of requests it cannot read, and answers errors in three
shapes (an object, a list, plain text). Here there is one: problem+json. A body is read once, as what the
endpoint takes, and its answer is written as it comes: BentoML would do both again.
"""

from __future__ import annotations

import json
import logging
import re
from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.exceptions import ServiceUnavailable
from pydantic import ValidationError
from pydantic_core import from_json, to_json
from starlette.datastructures import Headers

from serving.body_splitter import InvalidJson, TooManyValues, split_body
from serving.decision_log.records import IdempotencyKey
from serving.decision_log.settings import LogUnavailable
from serving.middleware.request_body import ClientDisconnected, read_body
from serving.monitoring.metrics import time_stage
from serving.problems import (
    IDEMPOTENCY_KEY_INVALID,
    IDEMPOTENCY_KEY_REUSED,
    LOG_OFF,
    LOG_UNAVAILABLE,
    TOO_MANY_FIELDS,
    TOO_MANY_VALUES,
    Problem,
    ProblemResponse,
    invalid_request,
    send_problem,
)
from serving.request_context import current_request
from serving.schemas import (
    MAX_LEADS,
    MAX_NAME,
    EventsRequest,
    ExplainRequest,
    OutcomesRequest,
    ScoreRequest,
)
from serving.workload import MS_PER_ITEM, MS_PER_KILOBYTE

if TYPE_CHECKING:
    from collections.abc import Container

    from pydantic import BaseModel
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from serving.decision_log.records import KeptAnswer

# What each address takes; the method of the service that answers it has the same name.
TAKES: dict[str, type[BaseModel]] = {
    "/v1/score": ScoreRequest,
    "/v1/explain": ExplainRequest,
    "/v1/outcomes": OutcomesRequest,
    "/v1/events": EventsRequest,
}
# The fields of a request with what is answered one by one; it has one of them.
_ITEMS = ("leads", "lead_ids", "outcomes", "events")
# Outcomes have keys of their own, one each.
_REPEATABLE = frozenset(("/v1/score", "/v1/explain"))
_VISIBLE = re.compile(r"[!-~]{1,255}")
# So many bytes are parsed at once, which takes 20 ms at the most.
_AT_ONCE = 256 * 1024
_FEW = 10
# An answer is handed over in pieces, so that a slow client holds no more of it in the socket's buffer.
_PIECE = 256 * 1024
_ANSWERS = {
    404: ("not_found", "no such address; the API page (/) lists what there is"),
    405: ("method_not_allowed", "the API page (/) lists the method of each address"),
    503: (
        "not_ready",
        "no model is loaded, or too many requests are waiting; /readyz tells, so does the log",
    ),
}
# Of the pages beside the API, readiness and metrics keep their own words.
_NOWHERE = frozenset({404, 405})
_UNFORESEEN = (
    "internal_error",
    "the service failed; its log has the place under the x-request-id of this answer",
)
_FAILED = "a request failed"
_CLOSE = (("connection", "close"),)
logger = logging.getLogger("leadloop")


class RequestValidationMiddleware:
    """ASGI middleware that answers the POST endpoints, and turns every error into a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a POST to one of ``TAKES``; pass any other request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, _ProblemSender(send, _NOWHERE))
        # An id may end in a slash of its own, which comes as %2F.
        elif scope.get("raw_path", scope["path"].encode()).endswith(b"/"):
            # The router would send the client, its key and its leads on to http://, whatever it came by.
            await send_problem(_slash_problem(scope["path"]), send)
        elif scope["method"] != "POST" or scope["path"] not in TAKES:
            await self._forward(scope, receive, _ProblemSender(send))
        else:
            await _handle(scope, receive, send)

    async def _forward(self, scope: Scope, receive: Receive, send: _ProblemSender) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception:  # whoever raised it has answered
            logger.exception(_FAILED, extra=_log_fields())


async def _handle(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        body = await _respond(scope, receive)
    except ClientDisconnected:
        current_request().code = "client_gone"
    except ProblemResponse as refusal:
        await send_problem(refusal.problem, send)
    except InvalidJson as error:
        await send_problem(Problem(400, "invalid_json", f"Invalid JSON: {error}"), send)
    except ServiceUnavailable:
        await send_problem(Problem(503, *_ANSWERS[503]), send)
    except Exception:
        logger.exception(_FAILED, extra=_log_fields())
        await send_problem(Problem(500, *_UNFORESEEN), send)
    else:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for start in range(0, len(body), _PIECE):
            piece, more = body[start : start + _PIECE], start + _PIECE < len(body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})


async def _respond(scope: Scope, receive: Receive) -> bytes:
    """The response body of the service's method for this path."""
    path = scope["path"]
    body = await _read(receive)
    if problem := _find_problem(Headers(scope=scope)):
        raise ProblemResponse(problem)
    service = bentoml.get_current_service()
    workload, cost = service.workload, len(body) / 1_000 * MS_PER_KILOBYTE
    with workload.admit(cost), time_stage("read"):
        earlier_answer = await _find_kept_answer(service, scope, body, cost)
        if earlier_answer is not None:
            return earlier_answer
        request = await workload.run(cost, partial(_parse_body, TAKES[path], body))
    # Fit and engagement are sums of contributions, which take as long as to explain the lead.
    like = "/v1/explain" if getattr(request, "parts", False) else path
    cost += len(getattr(request, _items_of(request))) * MS_PER_ITEM[like]
    context = current_request()
    context.cost = cost
    with workload.admit(cost):
        # As BentoML binds a method, it inspects its signature, and looks for a remote service first.
        response = await getattr(type(service), path.removeprefix("/v1/")).func(service, request)
        if context.answer is not None:
            return context.answer
        answer: bytes = await workload.run(cost, partial(serialise, response))
    return answer


async def _find_kept_answer(service: Any, scope: Scope, body: bytes, cost: float) -> bytes | None:
    """The answer that was given before under the ``Idempotency-Key`` of a request, if it has one."""
    keys = Headers(scope=scope).getlist("idempotency-key")
    if not keys or scope["path"] not in _REPEATABLE:
        return None
    if len(keys) > 1 or not _VISIBLE.fullmatch(keys[0]):
        raise ProblemResponse(IDEMPOTENCY_KEY_INVALID)
    if service.journal is None:
        raise ProblemResponse(LOG_OFF)
    context = current_request()
    caller = json.dumps([context.key_id, context.tenant])
    digest = await service.workload.run(cost, lambda: sha256(body).hexdigest())
    # Of another model the same body is another request.
    path = f"{scope['path']}?model={context.model}" if context.model else scope["path"]
    context.idempotency = IdempotencyKey(caller, keys[0], path, digest, context.tenant)
    try:
        stored = await service.journal.find_answer(context.idempotency)
    except LogUnavailable:
        raise ProblemResponse(LOG_UNAVAILABLE) from None
    return None if stored is None else matching_answer(stored)


def matching_answer(kept: KeptAnswer) -> bytes:
    """The answer that was kept under a key. Raises ProblemResponse where it was to another request."""
    if not kept.matches:
        raise ProblemResponse(IDEMPOTENCY_KEY_REUSED)
    return kept.answer


def serialise(response: BaseModel) -> bytes:
    """A response as JSON, made item by item: for all of many at once other threads would have to wait."""
    if len(response.results) <= _FEW:  # type: ignore[attr-defined]  # all of them have some
        return _to_json(response)
    empty = _to_json(response.model_copy(update={"results": []}))
    results = b",".join(map(_to_json, response.results))  # type: ignore[attr-defined]  # see above
    return empty.removesuffix(b"]}") + results + b"]}"


def _to_json(message: BaseModel | dict[str, Any]) -> bytes:
    if isinstance(message, dict):
        return to_json(message)
    return bytes(type(message).__pydantic_serializer__.to_json(message))


async def _read(receive: Receive) -> bytes:
    try:
        return await read_body(receive)
    except TimeoutError:
        detail = "the body took too long to arrive; send it at once, or fewer leads"
        raise ProblemResponse(Problem(408, "body_too_slow", detail, headers=_CLOSE)) from None


def _parse_body(takes: type[BaseModel], body: bytes) -> BaseModel:
    if len(body) > _AT_ONCE:
        return _parse_in_pieces(takes, body)
    with suppress(ValueError):
        # Read first and validated then it takes half the time; what is wrong with it the parser of both says.
        return takes.model_validate(from_json(body))
    try:
        return takes.model_validate_json(body)
    except ValidationError as error:
        raise ProblemResponse(invalid_request(error)) from None


def _parse_in_pieces(takes: type[BaseModel], body: bytes) -> BaseModel:
    """The request in ``body``, whose items are parsed when they are iterated over."""
    try:
        split = split_body(body, MAX_LEADS)
        request = takes.model_validate_json(split.envelope)
    except TooManyValues:
        raise ProblemResponse(TOO_MANY_VALUES) from None
    except ValidationError as error:
        raise ProblemResponse(invalid_request(error)) from None
    if not split.complete:
        raise ProblemResponse(TOO_MANY_FIELDS)
    name = _items_of(request)
    # In the envelope each item is the position of its array.
    return request.model_copy(update={name: split.arrays[getattr(request, name)[0]]})


def _items_of(request: BaseModel) -> str:
    """The name of the field with what is answered one by one."""
    return next(name for name in _ITEMS if len(getattr(request, name, ())))


def _find_problem(headers: Headers) -> Problem | None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        sent = f"{media_type[:80]!r}" if media_type else "none"
        return Problem(415, "unsupported_media_type", f"send Content-Type: application/json, not {sent}")
    if headers.get("content-encoding", "identity") != "identity":
        return Problem(415, "unsupported_encoding", "send the body as it is, without Content-Encoding")
    return None


class _ProblemSender:
    """Replaces error responses of the application by problems, and passes all else on."""

    def __init__(self, send: Send, statuses: Container[int] = range(400, 600)) -> None:
        self._send = send
        self._statuses = statuses
        self._replaced = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in self._statuses and _foreign():
            self._replaced = True
            code, detail = _ANSWERS.get(message["status"], _UNFORESEEN)
            await send_problem(
                Problem(message["status"], code, detail, headers=_allow_header(message)), self._send
            )
        elif not self._replaced:
            await self._send(message)


def _allow_header(start: Message) -> tuple[tuple[str, str], ...]:
    """The Allow header of a response, if it has one (RFC 9110, 15.5.6)."""
    return tuple((name.decode(), value.decode()) for name, value in start["headers"] if name == b"allow")


def _log_fields() -> dict[str, Any]:
    return {"fields": {"request_id": current_request().request_id}}


def _slash_problem(path: str) -> Problem:
    bare = path.rstrip("/")[:MAX_NAME]
    return Problem(404, "not_found", f"no such address; leave out the slash at its end: {bare}")


def _foreign() -> bool:
    """Whether an error response is not one of leadloop's problems."""
    return current_request().code is None
