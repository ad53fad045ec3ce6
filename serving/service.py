"""The REST service: a model behind two questions, "how likely?" and "why?".

``leadloop serve`` starts it; so does ``bentoml serve serving.service:Leadloop``, told by the environment as
``serving.settings`` has it. Requests come through three layers: ``Observed`` writes down what became of them,
``Doors`` asks for a key, ``Guard`` reads the body and calls the methods below.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import bentoml
from bentoml.exceptions import ServiceUnavailable

# BentoML reads the endpoints' annotations when it starts.
from serving.access import Doors
from serving.contract import ExplainRequest, ExplainResponse, ScoreRequest, ScoreResponse
from serving.drift import bury_the_dead
from serving.follow import Followed, source
from serving.guard import Guard
from serving.logs import speak_json
from serving.observed import Observed
from serving.pages import pages
from serving.scorer import MANY
from serving.settings import Settings
from serving.shadow import Shadow
from serving.telemetry import answered, stage
from serving.visit import visit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serving.scorer import Scorer

# Our own metrics, log lines and ids name no lead and cost less; traces, where BENTOML_CONFIG asks for them.
QUIET: dict[str, Any] = {
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": ".*"},
}


@bentoml.service(name="leadloop", workers=1, traffic={"timeout": 60}, **QUIET)
@bentoml.asgi_app(pages)
class Leadloop:
    """Scores leads and says why.

    POST /v1/score: probability, points and grade of up to 1,000 leads. POST /v1/explain: these with reasons.
    GET /v1/model: the model's version and card. A lead that cannot be scored has an `error` in its own place;
    a request that cannot be read is answered as application/problem+json (RFC 9457).
    """

    def __init__(self) -> None:
        speak_json()
        bury_the_dead()
        settings = Settings.of(os.environ)
        self.champion = Followed(source(settings.model))
        self.shadow = Shadow(Followed(source(settings.shadow), silent=True)) if settings.shadow else None
        self._following: list[asyncio.Task[None]] = []
        for followed in self._followed:
            followed.look()

    @property
    def scorer(self) -> Scorer:
        """What answers. Raises ServiceUnavailable while there is no model."""
        if self.champion.current is None:
            msg = "no model is loaded"
            raise ServiceUnavailable(msg)
        return self.champion.current.scorer

    async def __is_ready__(self) -> bool:
        """Whether a model is loaded; ``/readyz`` says so to the load balancer."""
        return self.champion.current is not None

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def follow(self) -> None:
        """Take over what is promoted from now on."""
        self._following = [asyncio.create_task(followed.follow()) for followed in self._followed]

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Follow nobody any more, and finish what was heard."""
        for task in self._following:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self.shadow:
            await asyncio.to_thread(self.shadow.close)

    @bentoml.api(route="/v1/score")  # type: ignore[untyped-decorator]
    async def score(self, request: ScoreRequest, /) -> ScoreResponse:
        """How likely each lead is to convert."""
        scorer = self.scorer
        results = await self._told(scorer, request.leads, lambda: scorer.score(request.leads))
        return ScoreResponse(model_version=scorer.model.version, results=results)

    @bentoml.api(route="/v1/explain")  # type: ignore[untyped-decorator]
    async def explain(self, request: ExplainRequest, /) -> ExplainResponse:
        """How likely each lead is to convert, and what speaks for it and against it."""
        scorer, asked = self.scorer, (request.leads, request.lang, request.top)
        results = await self._told(scorer, request.leads, lambda: scorer.explain(*asked))
        return ExplainResponse(model_version=scorer.model.version, results=results)

    async def _told(self, scorer: Scorer, leads: Sequence[object], say: Callable[[], list[Any]]) -> list[Any]:
        """What is said about some leads, counted, and heard by the challenger."""
        about = visit()
        about.leads, about.model_version = len(leads), scorer.model.version
        with stage("score"):
            # Many leads go to a thread, so that /readyz and small requests are answered meanwhile.
            results = say() if len(leads) < MANY else await asyncio.to_thread(say)
        answered(scorer.model, results)
        if self.shadow:
            self.shadow.hear(leads, results)
        return results

    @property
    def _followed(self) -> tuple[Followed, ...]:
        return (self.champion, self.shadow.followed) if self.shadow else (self.champion,)


# The decorator made the class a bentoml.Service, which mypy does not see. The first one is the outermost.
for layer in (Observed, Doors, Guard):
    Leadloop.add_asgi_middleware(layer)  # type: ignore[attr-defined]
