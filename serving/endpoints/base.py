"""What the endpoints of the decision log share: refusals, query parameters and their OpenAPI operations."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import bentoml
from pydantic import ValidationError
from starlette.responses import Response

from serving.decision_log.records import RequestInfo
from serving.decision_log.settings import LogUnavailable
from serving.middleware.request_body import ClientDisconnected, read_body
from serving.problems import LOG_OFF, LOG_UNAVAILABLE, PROBLEM_JSON, Problem, ProblemResponse, invalid_request
from serving.request_context import current_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from pydantic import BaseModel
    from starlette.requests import Request

    from serving.decision_log.async_log import DecisionLog
    from serving.decision_log.records import NewDecision

    Answer = Callable[[Request, DecisionLog], Awaitable[BaseModel | Response]]

# As many as a request of some fields can have.
_MOST_BYTES = 10_000
_NOT_JSON = Problem(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "send Content-Type: application/json"
)
_TOO_SLOW = Problem(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", "the body took too long to arrive")
_TOO_LARGE = Problem(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"at most {_MOST_BYTES:,} bytes are read here"
)


def log_endpoint(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Turn a function of request and log into an endpoint that answers errors as problem+json."""

    async def endpoint(request: Request) -> Response:  # noqa: PLR0911  # a refusal each
        journal = bentoml.get_current_service().journal
        if journal is None:
            return _refusal(LOG_OFF)
        try:
            body = await answer(request, journal)
        except ValidationError as error:
            return _refusal(invalid_request(error))
        except LogUnavailable:
            return _refusal(LOG_UNAVAILABLE)
        except ProblemResponse as refusal:
            return _refusal(refusal.problem)
        except ClientDisconnected:
            current_request().code = "client_gone"
            return Response()
        if isinstance(body, Response):
            return body
        return Response(body.model_dump_json(), media_type="application/json")

    return endpoint


async def read_json(request: Request) -> bytes:
    """The body of a request that is declared as JSON; other types may come from a web page of anybody's."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemResponse(_NOT_JSON)
    try:
        body = await read_body(request.receive)
    except TimeoutError:
        raise ProblemResponse(_TOO_SLOW) from None
    if len(body) > _MOST_BYTES:
        raise ProblemResponse(_TOO_LARGE)
    return body


async def log_decisions(journal: DecisionLog, decisions: Sequence[NewDecision]) -> None:
    """Log decisions of the current request; returns once they are committed. Raises LogUnavailable."""
    context = current_request()
    request = RequestInfo(
        context.endpoint,
        context.request_id,
        context.key_id,
        tenant=context.tenant,
        received_at=context.received_at,
        model=context.model,
    )
    await journal.log_decisions(decisions, request)


def _refusal(problem: Problem) -> Response:
    current_request().code = problem.code
    return Response(problem.body, problem.status, dict(problem.headers), PROBLEM_JSON)


def query_parameters(message: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of a contract type as OpenAPI query parameters."""
    schema = message.model_json_schema()
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field}
        for name, field in schema["properties"].items()
    ]


def openapi_operation(
    name: str, answers: type[BaseModel], schemas: dict[str, Any], parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    """The OpenAPI operation of an endpoint; the components of its response are added to ``schemas``."""
    schema = answers.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    response = {"description": "Done", "content": {"application/json": {"schema": schema}}}
    return {
        "description": answers.__doc__,
        "operationId": f"leadloop__{name}",
        "tags": ["Service APIs"],
        "parameters": parameters,
        "responses": {"200": response},
    }
