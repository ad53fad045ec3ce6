"""The same scorer behind nothing but Starlette: no checks of a body, no keys, no log, no metrics."""

from __future__ import annotations

import json
import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from models import artifact
from serving.schemas import ScoreResponse
from serving.scorer import Scorer

SCORER = Scorer(artifact.load(Path(os.environ["BARE_MODEL"])))


async def score(request):
    results = SCORER.score(json.loads(await request.body())["leads"])
    answer = ScoreResponse(model_version=SCORER.model.version, results=results)
    return Response(answer.model_dump_json(), media_type="application/json")


async def ready(_):
    return Response()


app = Starlette(routes=[Route("/v1/score", score, methods=["POST"]), Route("/ping", ready)])
