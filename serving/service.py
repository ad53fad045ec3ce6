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

from serving.contract import ExplainRequest, ExplainResponse, ScoreRequest, ScoreResponse

# BentoML reads the endpoints' annotations when it starts.
from serving.doors.access import Doors
from serving.doors.connections import be_patient_and_not_too_patient, take_many
from serving.doors.guard import Guard
from serving.doors.visit import visit
from serving.follow import Followed, source
from serving.log.records import Made, Occasion
from serving.log.settings import LogUnavailable
from serving.loop.contract_outcomes import OutcomesRequest, OutcomesResponse
from serving.loop.outcomes import recorded
from serving.pages import pages
from serving.problems import LOG_OFF, LOG_UNAVAILABLE, Refusal
from serving.scorer import MANY
from serving.settings import Settings
from serving.shadow import Shadow
from serving.watching.drift import bury_the_dead
from serving.watching.logs import speak_json
from serving.watching.observed import Observed
from serving.watching.telemetry import LOG_WAITING, answered, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serving.log.journal import Journal
    from serving.log.settings import LogSettings
    from serving.scorer import Note, Scorer

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
    POST /v1/outcomes: what became of leads. GET /v1/handover: whom to call today. GET /v1/model: the model's
    version and card. A lead that cannot be scored has an `error` in its own place; a request that cannot be
    read is answered as application/problem+json (RFC 9457).
    """

    def __init__(self) -> None:
        speak_json()
        bury_the_dead()
        take_many()
        settings = Settings.of(os.environ)
        self.champion = Followed(source(settings.model))
        self.journal = _journal(settings.log)
        self.explore = settings.explore
        self.shadow = self._overhearing(settings.shadow) if settings.shadow else None
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
        """Whether a model is loaded and the log is written; ``/readyz`` says so to the load balancer."""
        logs = self.journal is None or bool(self.journal.writer.available)
        return logs and self.champion.current is not None

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
        if self.journal:
            await asyncio.to_thread(self.journal.writer.close)

    @bentoml.api(route="/v1/score")  # type: ignore[untyped-decorator]
    async def score(self, request: ScoreRequest, /) -> ScoreResponse:
        """How likely each lead is to convert."""
        scorer = self.scorer
        results = await self._told(scorer, request.leads, lambda note: scorer.score(request.leads, note))
        return ScoreResponse(model_version=scorer.model.version, results=results)

    @bentoml.api(route="/v1/explain")  # type: ignore[untyped-decorator]
    async def explain(self, request: ExplainRequest, /) -> ExplainResponse:
        """How likely each lead is to convert, and what speaks for it and against it."""
        scorer, asked = self.scorer, (request.leads, request.lang, request.top)
        each = request.top_each
        results = await self._told(
            scorer, request.leads, lambda note: scorer.explain(*asked, note, top_each=each)
        )
        return ExplainResponse(model_version=scorer.model.version, results=results)

    @bentoml.api(route="/v1/outcomes")  # type: ignore[untyped-decorator]
    async def outcomes(self, request: OutcomesRequest, /) -> OutcomesResponse:
        """What became of leads; the next model learns from it."""
        if self.journal is None:
            raise Refusal(LOG_OFF)
        try:
            return OutcomesResponse(results=await recorded(request.outcomes, self.journal))
        except LogUnavailable:
            raise Refusal(LOG_UNAVAILABLE) from None

    async def _told(
        self, scorer: Scorer, leads: Sequence[object], say: Callable[[Note], list[Any]]
    ) -> list[Any]:
        """What is said about some leads, logged, counted, and heard by the challenger."""
        made: list[Made] = []
        about = visit()
        about.leads, about.model_version = len(leads), scorer.model.version
        with stage("score"):
            # Many leads go to a thread, so that /readyz and small requests are answered meanwhile.
            few = len(leads) < MANY
            results = say(made.append) if few else await asyncio.to_thread(say, made.append)
        await self._logged(made)
        answered(scorer.model, results)
        if self.shadow:
            self.shadow.hear(leads, results)
        return results

    async def _logged(self, made: Sequence[Made]) -> None:
        """Returns once what was decided is in the log: only then may it be told."""
        if self.journal is None:
            return
        try:
            with stage("log"), LOG_WAITING.track_inprogress():
                await self.journal.decided(made, _occasion())
        except LogUnavailable:
            raise Refusal(LOG_UNAVAILABLE) from None

    def _overhearing(self, model: str) -> Shadow:
        """A challenger whose decisions are logged beside those that are told."""

        def keep(made: Sequence[Made]) -> None:
            if self.journal:
                self.journal.overheard(made, _occasion(shadow=True))

        return Shadow(Followed(source(model), silent=True), keep)

    @property
    def _followed(self) -> tuple[Followed, ...]:
        return (self.champion, self.shadow.followed) if self.shadow else (self.champion,)


def _occasion(*, shadow: bool = False) -> Occasion:
    about = visit()
    return Occasion(about.endpoint, about.request_id, about.key_id, shadow)


def _journal(settings: LogSettings) -> Journal | None:
    """The log, if there is to be one: without it nobody needs a database library."""
    if not settings.on:
        return None
    from serving.log.journal import Journal  # noqa: PLC0415

    return Journal(settings)


# The decorator made the class a bentoml.Service, which mypy does not see. The first one is the outermost.
for layer in (Observed, Doors, Guard):
    Leadloop.add_asgi_middleware(layer)  # type: ignore[attr-defined]
# uvicorn is asked for its server and its protocol between this file's import and the service's first breath.
be_patient_and_not_too_patient()
