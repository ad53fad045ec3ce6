"""The gate before the service: nothing unreadable gets in, and every refusal has the same shape.

BentoML sets no limit to a body, logs the content of requests it cannot read, and answers errors in three
shapes (an object, a list, plain text). Under ``/v1/`` there is one: problem+json. A body is read once, as
what the endpoint takes, and its answer is written as it comes: BentoML would do both again.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.exceptions import ServiceUnavailable
from pydantic import ValidationError
from starlette.datastructures import Headers

from serving.contract import ExplainRequest, ScoreRequest
from serving.doors.body import MAX_BODY, ClientGone, read
from serving.doors.visit import visit
from serving.loop.contract_outcomes import OutcomesRequest
from serving.problems import Problem, Refusal, answer, invalid_request
from serving.watching.telemetry import stage

if TYPE_CHECKING:
    from pydantic import BaseModel
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What each address takes; the method of the service that answers it has the same name.
TAKES: dict[str, type[BaseModel]] = {
    "/v1/score": ScoreRequest,
    "/v1/explain": ExplainRequest,
    "/v1/outcomes": OutcomesRequest,
}
_ANSWERS = {
    404: ("not_found", "no such address; the API page (/) lists what there is"),
    405: ("method_not_allowed", "the API page (/) lists the method of each address"),
    503: (
        "not_ready",
        "no model is loaded, or too many requests are waiting; /readyz tells, so does the log",
    ),
}
_UNFORESEEN = (
    "internal_error",
    "the service failed; its log has the place under the x-request-id of this answer",
)
_FAILED = "a request failed"
_CLOSE = (("connection", "close"),)
logger = logging.getLogger("leadloop")


class Guard:
    """ASGI middleware that answers what is readable under ``/v1/``, and refuses the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with a body; pass any other on."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
        elif scope["method"] != "POST" or scope["path"] not in TAKES:
            await self._passed(scope, receive, _Shaped(send))
        else:
            await _answered(scope, receive, send)

    async def _passed(self, scope: Scope, receive: Receive, send: _Shaped) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception:  # whoever raised it has answered
            logger.exception(_FAILED, extra=_which())


async def _answered(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        body = await _said(scope, receive)
    except ClientGone:
        visit().code = "client_gone"
    except Refusal as refusal:
        await answer(refusal.problem, send)
    except ServiceUnavailable:
        await answer(Problem(503, *_ANSWERS[503]), send)
    except Exception:
        logger.exception(_FAILED, extra=_which())
        await answer(Problem(500, *_UNFORESEEN), send)
    else:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _said(scope: Scope, receive: Receive) -> bytes:
    """What the service says to a request, as JSON."""
    takes, method = TAKES[scope["path"]], scope["path"].removeprefix("/v1/")
    body = await _read(receive)
    with stage("read"):
        request = _readable(takes, Headers(scope=scope), body)
    service = bentoml.get_current_service()
    # As BentoML binds a method, it inspects its signature, and looks for a remote service first.
    given = await getattr(type(service), method).func(service, request)
    return bytes(type(given).__pydantic_serializer__.to_json(given))


async def _read(receive: Receive) -> bytes:
    try:
        return await read(receive)
    except TimeoutError:
        detail = "the body took too long to arrive; send it at once, or fewer leads"
        raise Refusal(Problem(408, "body_too_slow", detail, headers=_CLOSE)) from None


def _readable(takes: type[BaseModel], headers: Headers, body: bytes) -> BaseModel:
    problem = _unsuitable(headers, body)
    if problem:
        raise Refusal(problem)
    try:
        return takes.model_validate_json(body)
    except ValidationError as error:
        raise Refusal(invalid_request(error)) from None


def _unsuitable(headers: Headers, body: bytes) -> Problem | None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if len(body) > MAX_BODY:
        detail = f"at most {MAX_BODY:,} bytes are read; send fewer leads at once"
        return Problem(413, "body_too_large", detail, headers=_CLOSE)
    if media_type != "application/json":
        sent = f"{media_type[:80]!r}" if media_type else "none"
        return Problem(415, "unsupported_media_type", f"send Content-Type: application/json, not {sent}")
    if headers.get("content-encoding", "identity") != "identity":
        return Problem(415, "unsupported_encoding", "send the body as it is, without Content-Encoding")
    return None


class _Shaped:
    """Turns every error answer of the application into a problem, and passes all else on."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._replaced = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _foreign(message):
            self._replaced = True
            code, detail = _ANSWERS.get(message["status"], _UNFORESEEN)
            await answer(Problem(message["status"], code, detail, headers=_allowed(message)), self._send)
        elif not self._replaced:
            await self._send(message)


def _allowed(start: Message) -> tuple[tuple[str, str], ...]:
    """The methods of an address, where an answer says them (RFC 9110, 15.5.6)."""
    return tuple((name.decode(), value.decode()) for name, value in start["headers"] if name == b"allow")


def _which() -> dict[str, Any]:
    return {"fields": {"request_id": visit().request_id}}


def _foreign(start: Message) -> bool:
    """Whether an answer is an error that somebody else than leadloop worded."""
    return bool(start["status"] >= HTTPStatus.BAD_REQUEST) and visit().code is None
