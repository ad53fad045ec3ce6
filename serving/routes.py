"""The GET routes beside the API: API page, OpenAPI document, the model's card and report, and metrics.

BentoML's own API page reports every visitor to Google; this one loads nothing but the service's own files.
The report is the one that training wrote beside the model in charge.
"""

from __future__ import annotations

import dataclasses
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import bentoml
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from serving.console.routes import routes as console_routes
from serving.endpoints import (
    accounts,
    data_subject,
    handover,
    handover_overrides,
    leads,
    subscriptions,
    webhooks,
)
from serving.middleware.access_log import REPORT_POLICY
from serving.middleware.api_keys import SCOPES
from serving.middleware.authentication import is_keyless_request
from serving.model_report import read_report
from serving.monitoring.score_drift import prometheus_exposition
from serving.openapi import EndpointExample, example_lead, openapi
from serving.problems import PROBLEM_JSON, Problem
from serving.request_context import current_request
from serving.schemas import ExplainResponse, KeyResponse, ScoreResponse
from serving.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from starlette.requests import Request

    from features.spec import FeatureSpec
    from serving.model_reload import ReloadingModel
    from serving.scorer import Scorer

_HTML = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>leadloop</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="./static_content/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="./static_content/swagger-ui-bundle.js"></script>
<script src="./static_content/swagger-ui-standalone-preset.js"></script>
<script src="./static_content/swagger-initializer.js"></script></body>
</html>
"""

# As many reasons as an example can show without hiding the rest of the page.
_FEW = 3

_MISSING = Problem(
    404,
    "no_report",
    "the model in charge has no report; write it with `leadloop report`, or train again",
)

# No checksum is about the report: in a sandbox it can show itself and save its tables, and nothing else.
_HEADERS = {
    "content-security-policy": REPORT_POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


async def _index(_: Request) -> HTMLResponse:
    return HTMLResponse(_HTML)


async def _docs(request: Request) -> JSONResponse:
    service = bentoml.get_current_service()
    generated = service.bento_service.openapi_spec.asdict()
    # The page is open to everybody, what the model takes only to those whom it would answer.
    current = service.champion.current if is_keyless_request(request.scope) else None
    return JSONResponse(openapi(generated, _model_examples(current.scorer) if current else {}))


def _model_examples(scorer: Scorer) -> dict[str, EndpointExample]:
    """By path, an example lead of the model in charge with the model's own answers."""
    lead, version = example_lead(scorer.model), scorer.model.version
    scored = ScoreResponse(model_version=version, results=list(scorer.score([lead])))
    explained = ExplainResponse(model_version=version, results=list(scorer.explain([lead], top=_FEW)))
    return {
        "/v1/score": EndpointExample({"leads": [lead]}, scored.model_dump(mode="json")),
        "/v1/explain": EndpointExample(
            {"leads": [lead], "lang": "en", "top": _FEW}, explained.model_dump(mode="json")
        ),
    }


async def _model(_: Request) -> Response:
    service = bentoml.get_current_service()
    served = service.served.champion
    if served.current is None:
        return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    model = served.current.scorer.model
    payload = {
        "model_version": model.version,
        "card": dataclasses.asdict(model.card),
        "features": [_describe_feature(spec) for spec in model.features.specs],
        "example": example_lead(model),
        "serving": _serving(served),
        "models": [name or DEFAULT_MODEL for name in service.models],
    }
    return JSONResponse(payload)


def _describe_feature(spec: FeatureSpec) -> dict[str, str]:
    """A feature with its sentence in both languages, in which ``{value}`` stands for the lead's value."""
    sentences = {"en": spec.says.en, "de": spec.says.de}
    return {"name": spec.name, "family": spec.family, "unit": spec.unit} | sentences


def _serving(champion: ReloadingModel) -> dict[str, Any]:
    """Since when the model answers (epoch seconds), and the newer model that was refused, if any."""
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


async def _key(_: Request) -> Response:
    """What the caller's own key may do, so that a client can offer that and nothing else."""
    service, context = bentoml.get_current_service(), current_request()
    scopes = SCOPES if context.scopes is None else context.scopes
    names = [name or DEFAULT_MODEL for name in service.models]
    models = [name for name in names if not context.key_models or name in context.key_models]
    body = KeyResponse(name=context.key_id, scopes=list(scopes), tenant=context.tenant, models=models)
    return Response(body.model_dump_json(), media_type="application/json")


async def _report(_: Request) -> Response:
    page = await read_report(bentoml.get_current_service().served.champion.current)
    if page is None:
        return Response(_MISSING.body, _MISSING.status, dict(_MISSING.headers), PROBLEM_JSON)
    return HTMLResponse(page, headers=_HEADERS)


async def _metrics(_: Request) -> Response:
    served = [each.champion.current for each in bentoml.get_current_service().models.values()]
    models = [current.scorer.model for current in served if current is not None]
    return Response(prometheus_exposition(*models), media_type=CONTENT_TYPE_LATEST)


report_route = Route("/report", _report, methods=["GET"])

pages = Starlette(
    routes=[
        Route("/", _index),
        Route("/docs.json", _docs),
        Route("/metrics", _metrics),
        Route("/v1/model", _model, methods=["GET"]),
        Route("/v1/key", _key, methods=["GET"]),
        report_route,
        *data_subject.routes,
        *leads.routes,
        *accounts.routes,
        *handover.routes,
        *handover_overrides.routes,
        *console_routes,
        *webhooks.routes,
        *subscriptions.routes,
    ]
)
