"""The REST service of BentoML: scores, explanations and outcomes.

``leadloop serve`` starts it; so does ``bentoml serve serving.service:Leadloop``, with the environment
variables of ``serving.settings``. Requests come through three layers: ``AccessLogMiddleware`` writes down
what became of them, ``AuthenticationMiddleware`` asks for a key, ``RequestValidationMiddleware`` reads the
body and calls the methods below.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import bentoml
from bentoml.exceptions import ServiceUnavailable

from serving.bentoml_patches import install_bentoml_patches
from serving.console.console import Console
from serving.console.rendering import can_render
from serving.decision_log.records import NewAnswer, NewDecision, RequestInfo
from serving.decision_log.settings import LogUnavailable
from serving.endpoints.events import record_events
from serving.endpoints.outcomes import record_outcomes
from serving.middleware.access_log import AccessLogMiddleware

# BentoML reads the endpoints' annotations when it starts.
from serving.middleware.authentication import AuthenticationMiddleware
from serving.middleware.model_choice import ModelChoiceMiddleware
from serving.middleware.request_validation import RequestValidationMiddleware, matching_answer, serialise
from serving.model_reload import follow_model
from serving.monitoring.json_logging import configure_json_logging
from serving.monitoring.metrics import LOG_WAITING, count_results, time_stage
from serving.monitoring.score_drift import drop_dead_worker_gauges
from serving.plan_reload import PlanFile
from serving.problems import LOG_OFF, LOG_UNAVAILABLE, ProblemResponse, answer_too_large
from serving.request_context import current_request
from serving.request_parsing import LeadById
from serving.routes import pages
from serving.schemas import (
    EventsRequest,
    EventsResponse,
    ExplainRequest,
    ExplainResponse,
    LeadsRequest,
    OutcomesRequest,
    OutcomesResponse,
    ScoreRequest,
    ScoreResponse,
)
from serving.scorer import TooManyReasons
from serving.settings import DEFAULT_MODEL, ServiceSettings, with_project
from serving.shadow import ShadowScorer
from serving.subject_access import Controller
from serving.uvicorn_patches import install_uvicorn_patches, raise_open_file_limit
from serving.webhooks.settings import check_models, read_webhooks
from serving.workload import Workload, let_threads_share, stop_sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from models.conversion import ConversionModel
    from serving.decision_log.async_log import DecisionLog
    from serving.decision_log.records import IdempotencyKey
    from serving.decision_log.settings import LogSettings
    from serving.lead_store.async_store import LeadStore
    from serving.model_reload import ReloadingModel
    from serving.request_context import RequestContext
    from serving.scorer import Note, Scorer
    from serving.scorer_process import ScorerProcess
    from serving.webhooks.delivery import WebhookDelivery
    from serving.webhooks.settings import WebhookSettings

Response = TypeVar("Response", ScoreResponse, ExplainResponse)
# Answers are text with many repetitions: the fastest level makes a tenth of them.
_LEVEL = 1
# Our own metrics, log lines and ids name no lead and cost less; traces, where BENTOML_CONFIG asks for them.
QUIET: dict[str, Any] = {
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": ".*"},
}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of the service: what answers, and the challenger that scores along, if any."""

    champion: ReloadingModel
    shadow: ShadowScorer | None = None

    @property
    def reloading(self) -> tuple[ReloadingModel, ...]:
        """Both, each of which reloads by itself."""
        return (self.champion, self.shadow.followed) if self.shadow else (self.champion,)


@bentoml.service(name="leadloop", workers=1, traffic={"timeout": 60}, **QUIET)
@bentoml.asgi_app(pages)
class Leadloop:
    """Scores leads and says why.

    POST /v1/score: probability, points and grade of up to 1,000 leads. POST /v1/explain: these with reasons.
    POST /v1/events: what the CRM knows of leads, which can be scored by their ids from then on.
    POST /v1/outcomes: what became of leads. GET /v1/handover: whom to call today. GET /v1/model: the model's
    version and card. A lead that cannot be scored has an `error` in its own place; a request that cannot be
    read is answered as application/problem+json (RFC 9457).
    """

    def __init__(self) -> None:
        configure_json_logging()
        drop_dead_worker_gauges()
        raise_open_file_limit()
        settings = with_project(ServiceSettings.of(os.environ))
        self.champion = follow_model(settings.model, settings.project)
        self.journal = _open_decision_log(settings.log)
        self._store = None if self.journal is None else _open_lead_store(self.journal)
        self.webhooks = read_webhooks()
        self.handover = PlanFile(settings.handover)
        self.workload = Workload()
        self.explore, self.control = settings.explore, settings.control
        self.keep_days, self.controller = settings.log.keep_days, Controller.of(os.environ)
        self.shadow = self._shadow_scorer(settings.shadow, settings.project)
        self.models = {
            "": ServedModel(self.champion, self.shadow),
            **{
                each.name: ServedModel(
                    follow_model(each.model, each.project), self._shadow_scorer(each.shadow, each.project)
                )
                for each in settings.also
            },
        }
        self._delivery = _open_webhook_delivery(self.journal, self.webhooks, self.models, self.handover)
        self.console = _open_console(settings, self.journal)
        self.background = None
        if self.journal is not None and settings.rescore:
            self.background = _scorer_process(self.journal, self.models)
        self._following: list[asyncio.Task[None]] = []
        for followed in self._reloading_models:
            followed.reload()

    @property
    def served(self) -> ServedModel:
        """The model that the current request asks for."""
        return self.models[current_request().model]

    @property
    def scorer(self) -> Scorer:
        """The scorer of the model that is asked for. Raises ServiceUnavailable while there is none."""
        current = self.served.champion.current
        if current is None:
            msg = "no model is loaded"
            raise ServiceUnavailable(msg)
        return current.scorer

    @property
    def store(self) -> LeadStore:
        """The lead store, in the database of the decision log. Raises ProblemResponse without one."""
        if self._store is None:
            raise ProblemResponse(LOG_OFF)
        return self._store

    async def __is_ready__(self) -> bool:
        """Whether a model is loaded and the decision log can be written, for ``/readyz``."""
        logs = self.journal is None or bool(self.journal.writer.available)
        return logs and self.champion.current is not None

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def follow(self) -> None:
        """Poll for promotions from now on, and let the event loop go before the threads."""
        let_threads_share()
        self._following = [asyncio.create_task(followed.poll()) for followed in self._reloading_models]
        if self._delivery is not None:
            self._following.append(asyncio.create_task(self._delivery.run()))
        if self.background:
            self.background.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """Stop polling and the process that scores in the background; finish shadow scores and log writes."""
        for task in self._following:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for served in self.models.values():
            if served.shadow:
                await asyncio.to_thread(served.shadow.close)
        if self.background:
            await asyncio.to_thread(self.background.close)
        await asyncio.to_thread(self.workload.close)
        if self.journal:
            await asyncio.to_thread(self.journal.close)
        stop_sharing()

    @bentoml.api(route="/v1/score")  # type: ignore[untyped-decorator]
    async def score(self, request: ScoreRequest, /) -> ScoreResponse:
        """How likely each lead is to convert."""
        scorer, now = self.scorer, current_request().received_at
        leads = await self._leads(request)
        return await self._answer(
            scorer,
            leads,
            lambda note: scorer.score(leads, note, now=now, with_parts=request.parts),
            ScoreResponse,
        )

    @bentoml.api(route="/v1/explain")  # type: ignore[untyped-decorator]
    async def explain(self, request: ExplainRequest, /) -> ExplainResponse:
        """How likely each lead is to convert, and what speaks for it and against it."""
        scorer, leads = self.scorer, await self._leads(request, request.since)
        options = (leads, request.lang, request.top)
        each, now = request.top_each, current_request().received_at
        try:
            return await self._answer(
                scorer,
                leads,
                lambda note: scorer.explain(*options, note, top_each=each, now=now),
                ExplainResponse,
            )
        except TooManyReasons as error:
            raise ProblemResponse(answer_too_large(error.most_leads)) from None

    @bentoml.api(route="/v1/outcomes")  # type: ignore[untyped-decorator]
    async def outcomes(self, request: OutcomesRequest, /) -> OutcomesResponse:
        """What became of leads; the next model learns from it."""
        if self.journal is None:
            raise ProblemResponse(LOG_OFF)
        try:
            results = await record_outcomes(request.outcomes, self.journal, self._run)
        except LogUnavailable:
            raise ProblemResponse(LOG_UNAVAILABLE) from None
        return OutcomesResponse(results=results)

    @bentoml.api(route="/v1/events")  # type: ignore[untyped-decorator]
    async def events(self, request: EventsRequest, /) -> EventsResponse:
        """What the CRM knows of leads: they can be scored by their ids from then on."""
        try:
            results = await record_events(request.events, self.store, self._run)
        except LogUnavailable:
            raise ProblemResponse(LOG_UNAVAILABLE) from None
        return EventsResponse.model_construct(results=results)

    async def _leads(self, request: LeadsRequest, since: int | None = None) -> Sequence[object]:
        """The leads of a request: as it holds them, or of the store by their ids."""
        if not request.lead_ids:
            return request.leads
        lead_ids = await self._run(lambda: list(request.lead_ids))
        wanted = [each for each in lead_ids if isinstance(each, str)]
        try:
            with time_stage("read"):
                known = await self.store.leads(wanted, current_request().tenant)
        except LogUnavailable:
            raise ProblemResponse(LOG_UNAVAILABLE) from None
        return [
            LeadById(
                each,
                known.rows,
                known.similar.get(each) if isinstance(each, str) else None,
                request.as_of,
                since,
            )
            for each in lead_ids
        ]

    async def _answer(
        self,
        scorer: Scorer,
        leads: Sequence[object],
        compute: Callable[[Note], list[Any]],
        response: type[Response],
    ) -> Response:
        """The ``response`` with the results of ``compute``, once their decisions are logged.

        The challenger gets the leads, too.
        """
        decisions: list[NewDecision] = []
        context = current_request()
        context.leads, context.model_version = len(leads), scorer.model.version

        def work() -> list[Any]:
            results = compute(decisions.append)
            count_results(scorer.model, results)
            return results

        with time_stage("score"):
            results: list[Any] = await self._run(work)
        answer = response(model_version=scorer.model.version, results=results)
        new = await self._log(decisions, answer)
        shadow = self.served.shadow
        if shadow and new:
            shadow.submit(leads, results, context.received_at)
        return answer

    async def _run(self, work: Callable[[], Any]) -> Any:
        """What ``work`` returns; in a thread if the current request is a costly one."""
        return await self.workload.run(current_request().cost, work)

    async def _log(self, decisions: Sequence[NewDecision], response: Response) -> bool:
        """Log decisions; returns once they are committed: False where another worker had answered before.

        Raises ProblemResponse where that fails.
        """
        context = current_request()
        if self.journal is None:
            return True
        try:
            with time_stage("log"), LOG_WAITING.track_inprogress():
                if context.idempotency is None:
                    await self.journal.log_decisions(decisions, _request_info())
                    return True
                context.answer, new = await self._run(partial(_keep_answer, response, context))
                earlier = await self.journal.log_answer(decisions, _request_info(), new)
        except LogUnavailable:
            raise ProblemResponse(LOG_UNAVAILABLE) from None
        if earlier is not None:
            context.answer = matching_answer(earlier)
        return earlier is None

    def _shadow_scorer(self, model: str | None, project: str) -> ShadowScorer | None:
        """A challenger whose decisions are logged as shadow decisions; None where there is none."""
        if not model:
            return None

        def keep(decisions: Sequence[NewDecision]) -> None:
            if self.journal:
                self.journal.log_shadow_decisions(decisions, _request_info(shadow=True))

        followed = follow_model(model, project, silent=True)
        return ShadowScorer(followed, keep)

    @property
    def _reloading_models(self) -> tuple[ReloadingModel, ...]:
        return tuple(each for served in self.models.values() for each in served.reloading)


def _keep_answer(
    response: ScoreResponse | ExplainResponse, context: RequestContext
) -> tuple[bytes, NewAnswer]:
    """A response as JSON, and as it is kept under the key of the current request."""
    answer = serialise(response)
    named = frozenset(result.lead_id for result in response.results if result.lead_id is not None)
    request = cast("IdempotencyKey", context.idempotency)
    return answer, NewAnswer(request, zlib.compress(answer, _LEVEL), named, context.received_at)


def _request_info(*, shadow: bool = False) -> RequestInfo:
    context = current_request()
    return RequestInfo(
        context.endpoint,
        context.request_id,
        context.key_id,
        shadow,
        tenant=context.tenant,
        received_at=context.received_at,
        model=context.model,
    )


def _open_lead_store(journal: DecisionLog) -> LeadStore:
    from serving.lead_store.async_store import LeadStore  # noqa: PLC0415

    return LeadStore(journal)


def _open_console(settings: ServiceSettings, journal: DecisionLog | None) -> Console | None:
    """The console; None where it is off, or what renders it is not installed."""
    return Console(settings, journal) if settings.console and can_render() else None


def _scorer_process(journal: DecisionLog, models: Mapping[str, ServedModel]) -> ScorerProcess:
    from serving.scorer_process import ScorerProcess  # noqa: PLC0415

    def find_folders() -> dict[str, Path]:
        loaded = {name: served.champion.current for name, served in models.items()}
        return {name: current.folder for name, current in loaded.items() if current is not None}

    return ScorerProcess(journal.writer, find_folders)


def _find_scorer(champion: ReloadingModel) -> Scorer | None:
    return None if champion.current is None else champion.current.scorer


def _open_webhook_delivery(
    journal: DecisionLog | None,
    webhooks: WebhookSettings,
    models: Mapping[str, ServedModel],
    plan_file: PlanFile,
) -> WebhookDelivery | None:
    """What delivers messages to webhooks, after the log was told to write them; None without any."""
    if journal is None or not webhooks.outgoing:
        return None
    from serving.webhooks.delivery import WebhookDelivery  # noqa: PLC0415
    from serving.webhooks.messages import WebhookWriter  # noqa: PLC0415

    check_models(webhooks, [name or DEFAULT_MODEL for name in models])
    subscriptions = webhooks.outgoing.values()

    def find_model(name: str) -> ConversionModel | None:
        scorer = _find_scorer(models[name].champion)
        return None if scorer is None else scorer.model

    writer = WebhookWriter(subscriptions, find_model, lambda: plan_file.plan)
    journal.handover_observer = writer.write_handover
    journal.outcome_observer = writer.write_outcomes
    return WebhookDelivery(journal, subscriptions)


def _open_decision_log(settings: LogSettings) -> DecisionLog | None:
    """The decision log, or None where it is off; then no database library is imported."""
    if not settings.on:
        return None
    from serving.decision_log.async_log import DecisionLog  # noqa: PLC0415

    return DecisionLog(settings)


# The decorator made the class a bentoml.Service, which mypy does not see. The first one is the outermost.
for layer in (
    AccessLogMiddleware,
    AuthenticationMiddleware,
    ModelChoiceMiddleware,
    RequestValidationMiddleware,
):
    Leadloop.add_asgi_middleware(layer)  # type: ignore[attr-defined]
# BentoML makes its process manager, uvicorn's server and its protocol after it has imported this file.
install_bentoml_patches()
install_uvicorn_patches()
