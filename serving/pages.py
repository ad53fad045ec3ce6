"""What a person or a program may look up: the API page, its OpenAPI description, and the model's card.

BentoML's own page reports every visitor to Google; this one asks nobody but the service.
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

from serving import report_page
from serving.api_page import Shown, openapi
from serving.contract import ExplainResponse, ScoreResponse
from serving.doors.access import needs_no_key
from serving.example import example
from serving.loop import handover, people
from serving.watching.drift import exposition

if TYPE_CHECKING:
    from starlette.requests import Request

    from features.spec import FeatureSpec
    from serving.follow import Followed
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


async def _index(_: Request) -> HTMLResponse:
    return HTMLResponse(_HTML)


async def _docs(request: Request) -> JSONResponse:
    service = bentoml.get_current_service()
    generated = service.bento_service.openapi_spec.asdict()
    # The page is open to everybody, what the model takes only to those whom it would answer.
    known = service.champion.current if needs_no_key(request.scope) else None
    return JSONResponse(openapi(generated, _shown(known.scorer) if known else {}))


def _shown(scorer: Scorer) -> dict[str, Shown]:
    """The examples of a model, answered by itself."""
    lead, version = example(scorer.model), scorer.model.version
    scored = ScoreResponse(model_version=version, results=list(scorer.score([lead])))
    explained = ExplainResponse(model_version=version, results=list(scorer.explain([lead], top=_FEW)))
    return {
        "/v1/score": Shown({"leads": [lead]}, scored.model_dump(mode="json")),
        "/v1/explain": Shown({"leads": [lead], "lang": "en", "top": _FEW}, explained.model_dump(mode="json")),
    }


async def _model(_: Request) -> Response:
    service = bentoml.get_current_service()
    if service.champion.current is None:
        return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    model = service.scorer.model
    told = {
        "model_version": model.version,
        "card": dataclasses.asdict(model.card),
        "features": [_in_words(spec) for spec in model.features.specs],
        "example": example(model),
        "serving": _serving(service.champion),
    }
    return JSONResponse(told)


def _in_words(spec: FeatureSpec) -> dict[str, str]:
    """A feature as a person is told of it; ``{value}`` stands for what a lead has."""
    sentences = {"en": spec.says.en, "de": spec.says.de}
    return {"name": spec.name, "family": spec.family, "unit": spec.unit} | sentences


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
