"""The REST service: a model behind two questions, "how likely?" and "why?".

``leadloop serve --model DIR`` starts it; so does ``bentoml serve serving.service:Leadloop``, with the model's
folder in ``LEADLOOP_MODEL`` or, without that, the newest model ``leadloop`` in the BentoML store.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import bentoml
from bentoml.exceptions import NotFound, ServiceUnavailable

# BentoML reads the endpoints' annotations when it starts.
from serving.contract import ExplainRequest, ExplainResponse, ScoreRequest, ScoreResponse
from serving.guard import Guard
from serving.pages import pages
from serving.scorer import MANY, Scorer

MODEL_FOLDER = "LEADLOOP_MODEL"
MODEL_NAME = "leadloop"
logger = logging.getLogger("leadloop")


def model_folder() -> Path:
    """Where the model is: the folder in ``LEADLOOP_MODEL``, else the newest in the BentoML store."""
    if folder := os.environ.get(MODEL_FOLDER):
        return Path(folder)
    return Path(bentoml.models.get(f"{MODEL_NAME}:latest").path)


def _loaded() -> Scorer | None:
    """A scorer, or None with the reason in the log: a service without a model lives, but is not ready."""
    # BentoML's first process reads this file only to start the second: it can do without LightGBM.
    from models import artifact  # noqa: PLC0415

    try:
        scorer = Scorer(artifact.load(model_folder()))
    except NotFound:
        logger.critical("no model: set %s to a model folder, or run `leadloop promote`", MODEL_FOLDER)
    except artifact.ArtifactError as error:
        logger.critical("%s", error)
    else:
        # The first answer takes many times as long as any later one; no lead has to wait for it.
        scorer.explain([{"lead_id": "warm-up"}])
        return scorer
    return None


@bentoml.service(name="leadloop", workers=1, traffic={"timeout": 60})
@bentoml.asgi_app(pages)
class Leadloop:
    """Scores leads and says why.

    POST /v1/score: probability, points and grade of up to 1,000 leads. POST /v1/explain: these with reasons.
    GET /v1/model: the model's version and card. A lead that cannot be scored has an `error` in its own place;
    a request that cannot be read is answered as application/problem+json (RFC 9457).
    """

    def __init__(self) -> None:
        self._scorer = _loaded()

    @property
    def scorer(self) -> Scorer:
        """What answers. Raises ServiceUnavailable while there is no model."""
        if self._scorer is None:
            msg = "no model is loaded"
            raise ServiceUnavailable(msg)
        return self._scorer

    async def __is_ready__(self) -> bool:
        """Whether a model is loaded; ``/readyz`` says so to the load balancer."""
        return self._scorer is not None

    @bentoml.api(route="/v1/score")  # type: ignore[untyped-decorator]
    async def score(self, request: ScoreRequest, /) -> ScoreResponse:
        """How likely each lead is to convert."""
        scorer, leads = self.scorer, request.leads
        few = len(leads) < MANY
        # Many leads go to a thread, so that /readyz and small requests are answered meanwhile.
        results = scorer.score(leads) if few else await asyncio.to_thread(scorer.score, leads)
        return ScoreResponse(model_version=scorer.model.version, results=results)

    @bentoml.api(route="/v1/explain")  # type: ignore[untyped-decorator]
    async def explain(self, request: ExplainRequest, /) -> ExplainResponse:
        """How likely each lead is to convert, and what speaks for it and against it."""
        scorer, asked = self.scorer, (request.leads, request.lang, request.top)
        few = len(request.leads) < MANY
        results = scorer.explain(*asked) if few else await asyncio.to_thread(scorer.explain, *asked)
        return ExplainResponse(model_version=scorer.model.version, results=results)


# The decorator made the class a bentoml.Service, which mypy does not see.
Leadloop.add_asgi_middleware(Guard)  # type: ignore[attr-defined]
