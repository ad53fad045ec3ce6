"""What a person or a program may look up: the API page, its OpenAPI description, and the model's card.

BentoML generates the description, but documents its own errors instead of ours, and its page reports every
visitor to Google. Both are put right here.
"""

from __future__ import annotations

import dataclasses
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import bentoml
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from serving import report_page
from serving.doors.guard import TAKES
from serving.loop import handover, people
from serving.problems import PROBLEM_JSON, Problem
from serving.watching.drift import exposition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from starlette.requests import Request

    from serving.follow import Followed

_HTML = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>leadloop</title>
<link rel="stylesheet" href="./static_content/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script src="./static_content/swagger-ui-standalone-preset.js"></script>
<script src="./static_content/swagger-initializer.js"></script></body>
</html>
"""
_REFUSALS = {
    "400": "Not JSON, or not the fields above; `field` names the first that is wrong",
    "401": "No key, or none that is valid; a service without keys answers its own machine alone",
    "403": "The key may not do that",
    "404": "No lead can have such an id",
    "408": "The body took too long to arrive",
    "413": "The body is too large",
    "415": "The body is not application/json",
    "429": "Too many requests; Retry-After says in how many seconds to ask again",
    "501": "The service was started without a decision log",
    "503": "No model is loaded, or the decision log cannot be reached",
}
_OF_A_BODY = frozenset(("408", "413", "415"))
_WITHOUT_LOG = frozenset(("/v1/score", "/v1/explain", "/v1/model"))
_KEY = {"type": "http", "scheme": "bearer", "description": "`leadloop keys add` makes one"}
_PROBLEM = {
    "type": "object",
    "description": "A problem as RFC 9457 has it; `code` is for programs, `detail` for people.",
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "code")},
        "status": {"type": "integer"},
        "field": {"type": ["string", "null"]},
    },
    "example": json.loads(Problem(400, "missing_field", "'leads' is required", "leads").body),
}
_INFO = {
    "title": "leadloop",
    "version": "1",
    "description": "How likely is each lead to convert, and why? A lead that cannot be scored has an `error` "
    "in its own place; a request that cannot be read is answered as application/problem+json (RFC 9457).",
}
_MODEL = {
    "get": {
        "description": "The version and the card of the model that is being served.",
        "operationId": "leadloop__model",
        "tags": ["Service APIs"],
        "responses": {"200": {"description": "The model", "content": {"application/json": {}}}},
    }
}


def openapi(generated: dict[str, Any]) -> dict[str, Any]:
    """BentoML's description of the service with our errors, our names and the model's address."""
    page: dict[str, Any] = json.loads(json.dumps(generated).replace("IODescriptor", ""))
    schemas = page["components"]["schemas"]
    for unused in ("TaskStatusResponse", "InvalidArgument", "NotFound", "InternalServerError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    answers = {"content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    page["paths"] |= people.paths(schemas) | handover.paths(schemas) | {"/v1/model": _MODEL}
    for path, message in TAKES.items():
        page["paths"][path]["post"]["requestBody"] = _body(message, schemas)
    for path, item in page["paths"].items():
        for method, operation in item.items() if path.startswith("/v1/") else ():
            operation["security"] = [{"key": []}]
            operation["responses"] = {"200": operation["responses"]["200"]} | {
                status: {"description": why} | answers for status, why in _refusals(path, method)
            }
    page["components"]["securitySchemes"] = {"key": _KEY}
    page["info"] = _INFO
    # Nullable fields are written as JSON Schema has them, which OpenAPI understands from 3.1 on.
    page["openapi"] = "3.1.0"
    return page


def _body(takes: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    """A body as the contract has it: BentoML's own description knows neither that it must be nor null."""
    schema = takes.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _refusals(path: str, method: str) -> Iterator[tuple[str, str]]:
    """The statuses with which an address may refuse, and why; only some need the log to answer at all."""
    left_out = set() if method == "post" else set(_OF_A_BODY)
    left_out |= {"501"} if path in _WITHOUT_LOG else set()
    left_out |= {"400"} if path == "/v1/model" else set()
    left_out |= set() if "{" in path else {"404"}
    return ((status, why) for status, why in _REFUSALS.items() if status not in left_out)


async def _index(_: Request) -> HTMLResponse:
    return HTMLResponse(_HTML)


async def _docs(_: Request) -> JSONResponse:
    return JSONResponse(openapi(bentoml.get_current_service().bento_service.openapi_spec.asdict()))


async def _model(_: Request) -> Response:
    service = bentoml.get_current_service()
    if service.champion.current is None:
        return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    model = service.scorer.model
    told = {"model_version": model.version, "card": dataclasses.asdict(model.card)}
    return JSONResponse(told | {"serving": _serving(service.champion)})


def _serving(champion: Followed) -> dict[str, Any]:
    """Since when the model answers, and what was to replace it and could not."""
    refused = champion.refused
    return {
        "since": champion.current and champion.current.since,
        "refused": refused
        and {
            "model": refused.folder.name,
            "reason": refused.reason.replace(str(refused.folder), refused.folder.name),
            "since": refused.since,
        },
    }


async def _metrics(_: Request) -> Response:
    current = bentoml.get_current_service().champion.current
    return Response(exposition(current and current.scorer.model), media_type=CONTENT_TYPE_LATEST)


pages = Starlette(
    routes=[
        Route("/", _index),
        Route("/docs.json", _docs),
        Route("/metrics", _metrics),
        Route("/v1/model", _model, methods=["GET"]),
        report_page.route,
        *people.routes,
        *handover.routes,
    ]
)
