"""A lead: its score and how it came there, why, what is missing, what if, and all that was ever said."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from features.catalogue import KINDS
from features.display_names import DisplayNames, humanise_name
from features.history import ACCOUNT_PREFIX
from serving.attribute_values import attribute_features, attribute_kind, known_values, value_text
from serving.console.decisions import just_decided
from serving.console.lead_rows import question_in_words, row_writer
from serving.console.pages import WHAT_IF as _IF
from serving.console.pages import PageRefused
from serving.console.score_path import HEIGHT, WIDTH, path_chart, score_path
from serving.console.today import require_lists
from serving.endpoints.accounts import account_names
from serving.endpoints.base import log_decisions
from serving.endpoints.leads import describe_stored_lead, why_no_current_score
from serving.lead_store.lead_details import describe_lead
from serving.request_context import current_request
from serving.request_parsing import LeadById
from serving.schemas import MAX_PAGE, LeadQuery
from serving.settings import DEFAULT_MODEL, logged_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

    from features.record import Value
    from features.spec import FeatureSpec
    from models.explanation import Reason
    from serving.console.lead_rows import RowWriter
    from serving.console.pages import Visit
    from serving.console.score_path import ScorePath
    from serving.current_scores.records import CurrentScore
    from serving.decision_log.records import NewDecision
    from serving.lead_store.async_store import KnownLeads
    from serving.schemas import LeadResponse, TimelineEvent
    from serving.scorer import Scorer

_COST_MS = 70.0
_REASONS, _CHANGES, _DECISIONS, _EVENTS, _WHAT_IF = 6, 5, 50, 30, 12
_PLACES = {
    "rescore": "lead.at_rescore",
    "/console/leads/{id}": "lead.at_console_lead",
    "/console/accounts/{id}": "lead.at_console_account",
}
_MOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Question:
    """An attribute that "what if" asks about.

    Attributes:
        name: The name of its field.
        title: What people call the attribute.
        kind: What is filled in: "choice", "number" or "flag".
        choices: The values to choose from, each with its words.
        value: What the lead has, in words; "" where it is not known.
        chosen: What the visitor chose; "" for what the lead has.
    """

    name: str
    title: str
    kind: str
    choices: tuple[tuple[str, str], ...]
    value: str
    chosen: str


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What the model would say with other attributes, and in which ones these differ."""

    probability: float
    points: int
    changed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LeadView:
    """All that the page shows of a lead by the model that is asked for."""

    lead: LeadResponse
    path: ScorePath
    questions: tuple[Question, ...]
    what_if: WhatIf | None


async def lead_page(visit: Visit) -> Response:
    """A lead of the store. Reading it is logged as a decision, as over REST."""
    lead_id = visit.request.path_params["lead_id"]
    lists, scores = require_lists(visit)
    service, context, tenant = visit.service, current_request(), visit.visitor.tenant
    current = await scores.find(lead_id, tenant, visit.model)
    known = await service.store.leads([lead_id], tenant)
    if lead_id not in known.rows.versions:
        raise PageRefused(HTTPStatus.NOT_FOUND, "console.no_lead")
    if visit.served.champion.current is None:
        raise PageRefused(HTTPStatus.SERVICE_UNAVAILABLE, "console.no_model")
    scorer = service.scorer
    decisions: list[NewDecision] = []
    context.model_version, context.leads = scorer.model.version, 1
    with service.workload.admit(_COST_MS):
        view: LeadView = await service.workload.run(
            _COST_MS, partial(_view, scorer, known, lead_id, visit, decisions)
        )
    await log_decisions(service.journal, decisions)
    before = _number(visit.query.get("before", ""))
    entries = await service.journal.decisions_of(
        lead_id, before, _DECISIONS + 1, tenant, _logged_models(visit)
    )
    outcomes = [
        each
        for each in await service.journal.outcomes_of(lead_id, tenant)
        if visit.visitor.sees_model(each.model or DEFAULT_MODEL)
    ]
    result = view.lead.result
    accounts = account_names(known.rows, [view.lead.account_id], int(visit.texts.now))
    writer = replace(row_writer(visit), accounts=accounts)
    decided = await lists.decided(tenant, visit.model, lead_id, 1)
    return visit.page(
        "lead.html",
        active="",
        lead_id=lead_id,
        name=view.lead.name,
        current=current,
        no_current_score=None if current is not None else why_no_current_score(service),
        facts=writer.facts(view.lead),
        account=view.lead.account_id,
        account_name=accounts.get(view.lead.account_id or ""),
        writer=writer,
        view=view,
        result=result,
        by_models=await _by_other_models(visit, lead_id),
        model_name=visit.model_name,
        shown_model=visit.model,
        question=question_in_words(scorer.model.card.label, writer),
        is_withheld=result.probability is None,
        chart=path_chart(view.path),
        chart_size=(WIDTH, HEIGHT),
        raises=_side(result.reasons, 1),
        lowers=_side(result.reasons, -1),
        changes=() if result.change is None else result.change.reasons[:_CHANGES],
        events=view.lead.timeline[:_EVENTS],
        more_events=view.lead.timeline[_EVENTS:],
        event_text=partial(event_text, visit, writer),
        decisions=entries[:_DECISIONS],
        place_text=partial(_place_text, visit),
        older=visit.url("leads", lead_id, before=entries[_DECISIONS - 1].id)
        if len(entries) > _DECISIONS
        else None,
        outcomes=outcomes,
        decided=decided[0] if decided else None,
        done=await just_decided(visit),
        key=f"console-{secrets.token_hex(12)}",
        here=visit.url("leads", lead_id),
        is_dormant=current is not None and current.state == "dormant",
        is_closed=current is not None and current.state == "closed",
    )


async def _by_other_models(visit: Visit, lead_id: str) -> list[tuple[str, str, CurrentScore]]:
    """What the other models that the visitor may see say of a lead: name, way to it, and score of each."""
    _, scores = require_lists(visit)
    choice = visit.models
    others = [name for name in choice.names if name != choice.current]
    return [
        (visit.model_name(name), visit.url("leads", lead_id, model=choice.parameter(name)), each)
        for each in await scores.by_models(lead_id, visit.visitor.tenant)
        if (name := each.model or DEFAULT_MODEL) in others
    ]


def _logged_models(visit: Visit) -> tuple[str, ...] | None:
    """The models whose decisions the visitor may see, as the log names them; None for all."""
    models = visit.visitor.models
    return tuple(map(logged_name, models)) if models else None


def _view(
    scorer: Scorer, known: KnownLeads, lead_id: str, visit: Visit, decisions: list[NewDecision]
) -> LeadView:
    lang = visit.texts.lang
    query = LeadQuery(lang=lang, top=MAX_PAGE)
    lead = describe_stored_lead(scorer, known, lead_id, query, decisions)
    item = LeadById(lead_id, known.rows)
    row = decisions[-1].row
    questions = tuple(_questions(scorer, row, visit.query, lang))
    return LeadView(
        lead,
        score_path(scorer, item, lead.trend, lead.timeline),
        questions,
        _what_if(scorer, decisions[-1], questions, lang),
    )


def _questions(
    scorer: Scorer, row: Mapping[str, Value], query: Mapping[str, str], lang: str
) -> Sequence[Question]:
    """The attributes of the model that a person can change, those that qualify a lead first."""
    model = scorer.model
    questions = []
    for name, specs in attribute_features(model).items():
        spec = next((each for each in specs if each.extraction is None and each.unit != "words"), None)
        # Where a lead came from, and what its company is, nobody changes.
        if spec is None or spec.family == "channel" or name.startswith(ACCOUNT_PREFIX):
            continue
        value, field = row.get(spec.name), f"{_IF}{name}"
        choices = tuple((_cell(each), value_text(spec, each, lang)) for each in known_values(model, spec))
        kind = "choice" if spec.is_category else "flag" if spec.unit == "flag" else "number"
        title = _title(scorer, name, lang)
        text = "" if value is None else value_text(spec, value, lang)
        chosen = query.get(field, "").strip()[:_MOST_TEXT]
        if kind != "number" and not choices:
            continue
        questions.append((spec, Question(field, title, kind, choices, text, chosen)))
    order = ("qualification", "profile", "contact", "consent")
    questions.sort(key=lambda each: order.index(attribute_kind(each[1].name.removeprefix(_IF))))
    return [question for _, question in questions[:_WHAT_IF]]


def _title(scorer: Scorer, name: str, lang: str) -> str:
    return DisplayNames(scorer.model.card.names).column(name).render(lang)


def _cell(value: Value) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _what_if(
    scorer: Scorer, decision: NewDecision, questions: Sequence[Question], lang: str
) -> WhatIf | None:
    """The score with the attributes that the visitor chose; None where none differs or there is no number."""
    if decision.score.insufficient is not None and decision.score.insufficient.withheld:
        return None
    row, changed = dict(decision.row), []
    by_name = attribute_features(scorer.model)
    for question in questions:
        specs = [each for each in by_name[question.name.removeprefix(_IF)] if each.extraction is None]
        value = _parse(specs[0], question.chosen)
        if value is None or value == row.get(specs[0].name):
            continue
        row[specs[0].name] = value
        changed.append((question.title, value_text(specs[0], value, lang)))
    if not changed:
        return None
    score = scorer.model.score(row, decision.score.lead_id, decision.score.as_of)
    return WhatIf(score.probability, score.points, tuple(changed))


def _parse(spec: FeatureSpec, text: str) -> Value:
    """A value out of a field; None where it is empty, or no number where one is needed."""
    if not text:
        return None
    if spec.is_category:
        return text
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if abs(number) < 1e15 else None  # noqa: PLR2004  # beyond it no float is whole


def _place_text(visit: Visit, endpoint: str) -> str:
    """Where a score was told, in words; an address of the interface as it is."""
    key = _PLACES.get(endpoint)
    return endpoint if key is None else visit.texts(key)


def _side(reasons: Sequence[Reason], sign: int) -> Sequence[Reason]:
    return [reason for reason in reasons if reason.contribution * sign > 0][:_REASONS]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:19]) < 2**63 else None


def event_text(visit: Visit, writer: RowWriter, event: TimelineEvent) -> str:
    """What happened, in words: the kind, the stage, or an attribute with its value."""
    t, what = visit.texts, event.what
    if event.type == "transition":
        return t("lead.entered", stage=writer.value("stage", what))
    if event.type == "attribute":
        value = event.details.get("value")
        text = t("lead.nothing") if value is None else str(value)
        return f"{writer.names.column(what).render(t.lang)}: {text}"
    offer = event.details.get("offer")
    kind = kind_text(visit, writer, what)
    return f"{kind}: {offer}" if offer else kind


def kind_text(visit: Visit, writer: RowWriter, kind: str) -> str:
    """What a kind of touchpoint is called: by the company, else by leadloop, else made readable."""
    if (own := writer.names.texts.get(f"kind.{kind}")) is not None:
        return own.render(visit.texts.lang)
    return visit.texts(f"lead.kind_{kind}") if kind in KINDS else humanise_name(kind)


async def forget_page(visit: Visit) -> Response:
    """Ask once more before a person is forgotten; the form of the page forgets them."""
    lead_id = visit.request.path_params["lead_id"]
    _, scores = require_lists(visit)
    tenant = visit.visitor.tenant
    current = await scores.find(lead_id, tenant, visit.model)
    if visit.request.method == "POST":
        if visit.form.get("confirm") != "yes":
            raise PageRefused(HTTPStatus.BAD_REQUEST, "lead.not_confirmed")
        erased = await visit.service.journal.erase(lead_id, tenant)
        return visit.page("forgotten.html", active="", lead_id=lead_id, erased=erased)
    known = await visit.service.store.leads([lead_id], tenant)
    decisions = await visit.service.journal.decisions_of(lead_id, None, 1, tenant)
    if lead_id not in known.rows.versions and current is None and not decisions:
        raise PageRefused(HTTPStatus.NOT_FOUND, "console.no_lead")
    now = int(time.time()) + 1
    stored = known.rows.lead(lead_id, now)
    name = lead_id if stored is None else describe_lead(stored, now).name
    return visit.page("forget.html", active="", lead_id=lead_id, name=name)
