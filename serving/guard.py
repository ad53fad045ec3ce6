"""The gate before the service: nothing unreadable or oversized gets in, and every refusal has the same shape.

BentoML sets no limit to a body, logs the content of requests it cannot read, and answers errors in three
shapes (an object, a list, plain text). Under ``/v1/`` there is one: problem+json.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from starlette.datastructures import Headers, MutableHeaders

from serving.contract import ExplainRequest, ScoreRequest
from serving.problems import PROBLEM_JSON, Problem, invalid_request

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A thousand leads of forty touchpoints take four to six.
MAX_BODY = 8 * 1024 * 1024
# A client that is still sending does not hear the answer; up to this many bytes are read and thrown away.
_PATIENCE = 8 * MAX_BODY
_ENVELOPES: dict[str, type[ScoreRequest]] = {"/v1/score": ScoreRequest, "/v1/explain": ExplainRequest}
_ANSWERS = {
    404: ("not_found", "no such address; there are /v1/score, /v1/explain and /v1/model"),
    405: ("method_not_allowed", "POST to /v1/score and /v1/explain, GET /v1/model"),
    503: (
        "not_ready",
        "no model is loaded, or too many requests are waiting; /readyz tells, so does the log",
    ),
}
_UNFORESEEN = ("internal_error", "the service failed; its log has the trace under x-bentoml-request-id")


class Guard:
    """ASGI middleware that lets only readable requests through to the endpoints under ``/v1/``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on with its body read."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
        elif scope["method"] != "POST" or scope["path"] not in _ENVELOPES:
            await self.app(scope, receive, _Shaped(send))
        else:
            await self._checked(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            return
        problem = _unsuitable(Headers(scope=scope), body) or _unreadable(scope["path"], body)
        if problem:
            await _answer(problem, send)
        else:
            await self.app(scope, _Replay(body, receive), _Shaped(send))


async def _body(receive: Receive) -> bytes | None:
    """The body, or what of it was read when it grew too large; None where the client went away."""
    body, size, more = bytearray(), 0, True
    while more and size <= _PATIENCE:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        size += len(message.get("body", b""))
        if len(body) <= MAX_BODY:
            body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _unsuitable(headers: Headers, body: bytes) -> Problem | None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if len(body) > MAX_BODY:
        return Problem(
            413, "body_too_large", f"at most {MAX_BODY:,} bytes are read; send fewer leads at once"
        )
    if media_type != "application/json":
        sent = f"{media_type[:80]!r}" if media_type else "none"
        return Problem(415, "unsupported_media_type", f"send Content-Type: application/json, not {sent}")
    if headers.get("content-encoding", "identity") != "identity":
        return Problem(415, "unsupported_encoding", "send the body as it is, without Content-Encoding")
    return None


def _unreadable(path: str, body: bytes) -> Problem | None:
    try:
        _ENVELOPES[path].model_validate_json(body)
    except ValidationError as error:
        return invalid_request(error)
    return None


async def _answer(problem: Problem, send: Send, headers: MutableHeaders | None = None) -> None:
    headers = headers or MutableHeaders()
    headers["content-type"] = PROBLEM_JSON
    headers["content-length"] = str(len(problem.body))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": problem.body})


class _Replay:
    """The body that was read already, then whatever the client still has to say."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Shaped:
    """Turns every error answer of the application into a problem, and passes all else on."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._replaced = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:  # noqa: PLR2004  # client and server errors
            self._replaced = True
            await self._problem(message)
        elif not self._replaced:
            await self._send(message)

    async def _problem(self, start: dict[str, Any] | Message) -> None:
        code, detail = _ANSWERS.get(start["status"], _UNFORESEEN)
        headers = MutableHeaders(raw=list(start["headers"]))
        await _answer(Problem(start["status"], code, detail), self._send, headers)
