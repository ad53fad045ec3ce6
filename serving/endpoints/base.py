"""What the endpoints of the decision log share: refusals, query parameters and their OpenAPI operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bentoml
from pydantic import ValidationError
from starlette.responses import Response

from serving.decision_log.settings import LogUnavailable
from serving.problems import LOG_OFF, LOG_UNAVAILABLE, PROBLEM_JSON, Problem, ProblemResponse, invalid_request
from serving.request_context import current_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from pydantic import BaseModel
    from starlette.requests import Request

    from serving.decision_log.async_log import DecisionLog

    Answer = Callable[[Request, DecisionLog], Awaitable[BaseModel]]


def log_endpoint(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Turn a function of request and log into an endpoint that answers errors as problem+json."""

    async def endpoint(request: Request) -> Response:
        journal = bentoml.get_current_service().journal
        if journal is None:
            return _refusal(LOG_OFF)
        try:
            body = (await answer(request, journal)).model_dump_json()
        except ValidationError as error:
            return _refusal(invalid_request(error))
        except LogUnavailable:
            return _refusal(LOG_UNAVAILABLE)
        except ProblemResponse as refusal:
            return _refusal(refusal.problem)
        return Response(body, media_type="application/json")

    return endpoint


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
