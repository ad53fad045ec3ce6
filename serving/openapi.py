"""The OpenAPI document of the service, and an example lead for the model in charge.

BentoML generates a document, but with its own errors instead of ours, and without the endpoints that the log
answers. ``openapi`` mends it; ``example_lead`` is a lead with the attributes, kinds and stages that a model
reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.history import ACCOUNT_PREFIX
from serving.endpoints import (
    accounts,
    data_subject,
    handover,
    handover_overrides,
    leads,
    subscriptions,
    webhooks,
)
from serving.middleware.request_validation import TAKES
from serving.problems import IDEMPOTENCY_KEY_REUSED, PROBLEM_JSON, Problem
from serving.request_parsing import COLLEAGUES
from serving.schemas import KeyResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    Json = dict[str, Any]
    from collections.abc import Iterator

    from features.spec import FeatureSet, FeatureSpec
    from models.conversion import ConversionModel
    from models.drift import ReferenceDistribution

# In the order in which a reader needs them.
_SUMMARIES = {
    ("/v1/score", "post"): "How likely are these leads to convert?",
    ("/v1/explain", "post"): "How likely, and what speaks for it and against it?",
    ("/v1/handover", "post"): "Whom should sales call today? Make the list",
    ("/v1/handover", "get"): "Read the list of today again",
    ("/v1/handover/overrides", "post"): "Hand a lead over by hand, or take it off",
    ("/v1/handover/overrides", "get"): "What people decided beside the model's choice",
    ("/v1/outcomes", "post"): "Report what became of leads",
    ("/v1/leads/{lead_id}/decisions", "get"): "What was ever said about a lead, and why?",
    ("/v1/events", "post"): "Tell what the CRM knows of leads",
    ("/v1/webhooks/{source}", "post"): "Pass on what a CRM says by itself",
    ("/v1/subscriptions", "get"): "Who is told by webhooks, and what waits?",
    ("/v1/subscriptions/dead-letters", "get"): "Which messages were given up?",
    ("/v1/subscriptions/resend", "post"): "Send them again",
    ("/v1/leads/{lead_id}", "get"): "How likely is this lead to convert, why, and how did it come there?",
    ("/v1/accounts", "get"): "Which companies are likeliest to convert?",
    ("/v1/accounts/{account_id}", "get"): "How likely is a company to convert, and whom to call there?",
    ("/v1/leads/{lead_id}/subject-access", "get"): "What is held about a person, in words for them?",
    ("/v1/leads/{lead_id}", "delete"): "Forget a person",
    ("/v1/key", "get"): "What may this key do?",
    ("/v1/model", "get"): "Which model answers, from what, and what does it take?",
    ("/report", "get"): "The report of that model, for people",
    ("/readyz", "get"): "Would a request be answered now?",
    ("/livez", "get"): "Does the process live?",
    ("/metrics", "get"): "Figures for Prometheus",
}

_TAGS = {
    "Scores": "Probabilities and the reasons for them.",
    "Loop": "Whom to call, what became of it, and a person's own.",
    "Operation": "For whoever runs the service.",
}

_OPERATION = ("/v1/key", "/v1/model", "/report", "/readyz", "/livez", "/metrics")
_SCORES = ("/v1/score", "/v1/explain")
_MAY_BE_MISSING = (
    *(("/v1/handover", "get"), ("/v1/handover/overrides", "post"), ("/report", "get")),
    *(("/v1/subscriptions/dead-letters", "get"), ("/v1/subscriptions/resend", "post")),
    ("/v1/accounts", "get"),
)

_PROBLEMS = (
    Problem(400, "missing_field", "'leads' is required", "leads"),
    Problem(401, "key_missing", "send Authorization: Bearer and a key; `leadloop keys add` makes one"),
    Problem(403, "scope_missing", "this key may not do that; it takes one with the scope outcomes"),
    Problem(404, "not_found", "no such address; the API page (/) lists what there is"),
    Problem(408, "body_too_slow", "the body took too long to arrive; send it at once, or fewer leads"),
    Problem(413, "body_too_large", "at most 8,388,608 bytes are read; send fewer leads at once"),
    Problem(415, "unsupported_media_type", "send Content-Type: application/json, not 'text/plain'"),
    IDEMPOTENCY_KEY_REUSED,
    Problem(429, "too_many_requests", "ask again in 3 s"),
    Problem(501, "log_off", "this service was started without a decision log"),
    Problem(503, "log_unavailable", "the decision log cannot be reached; ask again soon"),
)

_STATUS_DESCRIPTIONS = {
    "400": "Not JSON, or not the fields above; `field` names the first that is wrong",
    "401": "No key, or none that is valid; a service without keys answers its own machine alone",
    "403": "The key may not do that",
    "404": "There is no such thing: no lead or account has such an id, no list was made today, no report "
    "lies beside the model, or no model is called so",
    "408": "The body took too long to arrive",
    "413": "The body is too large, or has too many values",
    "415": "The body is not application/json",
    "422": "Another request was answered under this Idempotency-Key",
    "429": "Too many requests; Retry-After says in how many seconds to ask again",
    "501": "The service was started without a decision log",
    "503": "No model is loaded, the decision log cannot be reached, or other requests take all there is",
}

_BODY_STATUSES = frozenset(("408", "413", "415"))
_MODEL_PARAMETER = {
    "name": "model",
    "in": "query",
    "required": False,
    "description": "which model answers, where the service has several; `GET /v1/model` lists them",
    "schema": {"type": "string", "minLength": 1, "maxLength": 40},
}
# What any model answers, whose other parameters are not read from a type that has it.
_OF_ANY_MODEL = frozenset(
    (
        *(("/v1/score", "post"), ("/v1/explain", "post"), ("/v1/model", "get"), ("/report", "get")),
        *(("/v1/handover", "post"), ("/v1/outcomes", "post")),
        *(("/v1/handover/overrides", "get"), ("/v1/handover/overrides", "post")),
    )
)
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "under the same key the same request gets the same answer for a day, and is logged once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_KEY = {"type": "http", "scheme": "bearer", "description": "`leadloop keys add` makes one"}

_PROBLEM = {
    "type": "object",
    "description": "A problem as RFC 9457 has it; `code` is for programs, `detail` for people.",
    "required": ["type", "title", "status", "detail", "code", "field"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "code")},
        "status": {"type": "integer"},
        "field": {"type": ["string", "null"]},
    },
}

_INFO = {
    "title": "leadloop",
    "version": "1",
    "description": "How likely is each lead to convert, and why? A lead that cannot be scored has an `error` "
    "in its own place; a request that cannot be read is answered as application/problem+json (RFC 9457).\n\n"
    "`GET /v1/model` names the attributes that the model in charge takes, and holds a lead to start from.",
}

_KEY_ANSWER = KeyResponse.model_json_schema(mode="serialization")
_MODEL_ANSWER = {
    "type": "object",
    "required": ["model_version", "card", "features", "example", "serving", "models"],
    "properties": {
        "model_version": {"type": "string"},
        "card": {
            "type": "object",
            "description": "what it learned from, how well it did, what it is not for",
        },
        "features": {
            "type": "array",
            "description": "what the model looks at, in words; {value} stands for what a lead has",
            "items": {
                "type": "object",
                "required": ["name", "family", "unit", "en", "de"],
                "properties": {name: {"type": "string"} for name in ("name", "family", "unit", "en", "de")},
            },
        },
        "example": {"type": "object", "description": "a lead that this model can score as it is"},
        "models": {
            "type": "array",
            "description": "the names of the models of this service, as `model` takes them",
            "items": {"type": "string"},
        },
        "serving": {
            "type": "object",
            "required": ["since", "refused"],
            "properties": {
                "since": {"type": "integer", "description": "epoch seconds"},
                "refused": {
                    "type": ["object", "null"],
                    "description": "the model that was to take over and could not, and why",
                },
            },
        },
    },
}

# Components keep the names under which they were first published; clients are generated from them.
_COMPONENT_NAMES = {
    "AccountChanceOut": "AccountChance",
    "AccountSummaryOut": "AccountSummary",
    "ContributionChange": "Shift",
    "EarlierScore": "Earlier",
    "ExpectedConversions": "Expected",
    "ExplainResult": "Explained",
    "FamilyContribution": "FamilyShare",
    "HandoverLeadOut": "HandedLead",
    "InsufficientEvidence": "Insufficient",
    "LeadFailure": "Failed",
    "NextOfferOut": "NextOffer",
    "NextOffersOut": "NextOffers",
    "ObservedRate": "Evidence",
    "OutcomeRecorded": "Recorded",
    "OutcomeRejected": "NotRecorded",
    "OutcomeReport": "Report",
    "ScoreChange": "Change",
    "ScoreResult": "Scored",
}

# What the API page says of the types that answers are made of; their docstrings are about Python.
_COMPONENT_DESCRIPTIONS = {
    "Change": (
        "A score against an earlier one of the same lead: the reasons' contributions add up to ``log_odds``."
    ),
    "Earlier": "What the same model says of the lead as it was known at an earlier ``as_of``.",
    "Evidence": (
        "Of ``n`` leads that a model learned from with this value, ``converted`` did: a share "
        "``rate``.\n\n"
        "``overall`` is the share among all of them. A number stands for its neighbours: the "
        "leads are those whose\n"
        "value was in ``(above, up_to]``, None being without bound; both are None of words and "
        "missing values."
    ),
    "FamilyShare": "What the features of one family add together.",
    "Insufficient": (
        "Why a score is not to be relied on: ``code`` for programs, ``message`` for people.\n\n"
        "``feature`` is the one at fault, where it is one."
    ),
    "Reason": (
        "What one feature adds to a lead's log-odds, with the sentence that says so, and what "
        "happened before.\n\n"
        "``evidence`` is how the leads with this value converted that the model learned from, if "
        "they were enough."
    ),
    "ScorePart": (
        "How well a lead fits, or how much it engages: the sum of the contributions of its features.\n\n"
        "``percentile`` is the share of leads with less of it; of the grades, A to D for fit and 1 to 4 for "
        "engagement,\nthe best go to as many leads as sales can call."
    ),
    "ScoreInterval": "Where a lead's true probability is, nine times in ten: ``[low, high]``.",
    "Shift": "By how much the contribution of one feature has changed, and from which value.",
}

# Their descriptions were first published without the sections of the docstrings, which are about Python.
_PARTLY_PUBLISHED = ("Decision", "Outcome")

_CREATED, _FIRST, _LATEST = "2026-05-01T08:00:00Z", "2026-05-01T10:00:00+02:00", "2026-05-04T08:30:00+02:00"
_AS_OF = "2026-05-05T08:00:00Z"

# What a touchpoint is described by; the features that read it are named after it.
_TOUCHPOINT_COLUMNS = ("channel", "campaign", "offer", "offer_stage")


@dataclass(frozen=True, slots=True)
class EndpointExample:
    """An example of a request body, and the response of the model in charge to it."""

    request: Mapping[str, Any]
    answer: Mapping[str, Any]


def openapi(generated: Mapping[str, Any], examples: Mapping[str, EndpointExample]) -> Json:
    """Complete the OpenAPI document that BentoML generated.

    Args:
        generated: BentoML's document.
        examples: By path, examples of the model in charge; the other paths keep those of the contract.

    Returns:
        An OpenAPI 3.1 document with our summaries, problems, examples and component names.
    """
    page: Json = json.loads(json.dumps(generated).replace("IODescriptor", ""))
    schemas = page["components"]["schemas"]
    for unused in ("TaskStatusResponse", "InvalidArgument", "NotFound", "InternalServerError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    operations = (
        page["paths"]
        | data_subject.openapi_paths(schemas)
        | handover.openapi_paths(schemas)
        | handover_overrides.openapi_paths(schemas)
        | webhooks.openapi_paths(schemas)
        | subscriptions.openapi_paths(schemas)
        | _own_paths()
    )
    operations |= accounts.openapi_paths(schemas)
    operations["/v1/leads/{lead_id}"]["get"] = leads.openapi_operation_of_lead(schemas)
    for name in _PARTLY_PUBLISHED:
        schemas[name]["description"] = schemas[name]["description"].partition("\n\n")[0]
    for path, message in TAKES.items():
        operations[path]["post"]["requestBody"] = _request_body(message, schemas)
    page["paths"] = {path: {} for path, _ in _SUMMARIES}
    for path, method in _SUMMARIES:
        entry = _document_operation(path, method, operations[path][method], examples.get(path))
        page["paths"][path][method] = entry
    page["components"]["securitySchemes"] = {"key": _KEY}
    page["tags"] = [{"name": name, "description": what} for name, what in _TAGS.items()]
    page["info"] = _INFO
    # Nullable fields are written as JSON Schema has them, which OpenAPI understands from 3.1 on.
    page["openapi"] = "3.1.0"
    return _with_published_names(page)


def example_lead(model: ConversionModel) -> dict[str, Any]:
    """A lead that a model can score as it is, as a request would hold it.

    Args:
        model: The model; its card has the profiles that typical values are taken from.

    Returns:
        The JSON object of one lead. It names every attribute that the model reads, with its commonest
        category or its median.
    """
    specs, profiles = model.features.specs, model.card.profiles
    plain = {
        spec.column: _typical_value(spec, profiles) for spec in specs if spec.source == "leads" and spec.of
    }
    lead_attributes = {name: value for name, value in plain.items() if not name.startswith(ACCOUNT_PREFIX)}
    account_attributes = {
        name.removeprefix(ACCOUNT_PREFIX): value
        for name, value in plain.items()
        if name not in lead_attributes
    }
    has_events = any(spec.source != "leads" for spec in specs)
    has_account = bool(account_attributes) or any(spec.source in COLLEAGUES for spec in specs)
    parts = {
        "created_at": _CREATED if has_events else None,
        # Without it the example would be of a lead that has been silent since.
        "as_of": _AS_OF if has_events else None,
        "attributes": lead_attributes,
        "attribute_history": list(_attribute_history(specs, profiles)),
        "touchpoints": list(_touchpoints(model.features, profiles)),
        "transitions": [
            {"occurred_at": _LATEST, "stage": stage}
            for stage in _kinds(model.features.folds, "transitions")[:1]
        ],
        "account": {"attributes": account_attributes} if account_attributes else {},
    }
    return {"lead_id": "0012"} | {
        name: part for name, part in parts.items() if part or (name == "account" and has_account)
    }


def _with_published_names(page: Json) -> Json:
    """``page`` with its components under the names that clients know."""
    text = json.dumps(page)
    for name, published in _COMPONENT_NAMES.items():
        text = text.replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{published}"')
        text = text.replace(f'"title": "{name}"', f'"title": "{published}"')
    renamed: Json = json.loads(text)
    components = renamed["components"]
    components["schemas"] = {
        _COMPONENT_NAMES.get(name, name): it for name, it in components["schemas"].items()
    }
    for name, description in _COMPONENT_DESCRIPTIONS.items():
        if name in components["schemas"]:
            components["schemas"][name]["description"] = description
    return renamed


def _own_paths() -> Json:
    """The operations of paths that BentoML does not document: the model, the report, metrics and probes."""
    return {
        "/v1/key": {"get": _get_operation("key", "The key", "application/json", _KEY_ANSWER)},
        "/v1/model": {"get": _get_operation("model", "The model", "application/json", _MODEL_ANSWER)},
        "/report": {
            "get": _get_operation("report", "A page that needs no network", "text/html", {"type": "string"})
        },
        "/metrics": {"get": _get_operation("metrics", "Prometheus's text", "text/plain", {"type": "string"})},
        "/readyz": {"get": _get_operation("readyz", "A model is loaded, and the decision log is written")},
        "/livez": {"get": _get_operation("livez", "It lives")},
    }


def _get_operation(name: str, what: str, media_type: str = "", schema: Json | None = None) -> Json:
    content = {"content": {media_type: {"schema": schema}}} if media_type else {}
    return {"operationId": f"leadloop__{name}", "responses": {"200": {"description": what} | content}}


def _request_body(takes: type[BaseModel], schemas: Json) -> Json:
    """The request body of a contract type; its components are added to ``schemas``.

    BentoML's own description does not say that a body is required, and knows no nullable field.
    """
    schema = takes.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _document_operation(path: str, method: str, operation: Json, example: EndpointExample | None) -> Json:
    """An operation with its summary, its refusals and its examples."""
    tag = "Scores" if path in _SCORES else "Operation" if path in _OPERATION else "Loop"
    entry = operation | {"summary": _SUMMARIES[path, method], "tags": [tag]}
    if path in _SCORES:
        entry["parameters"] = [*entry.get("parameters", ()), _IDEMPOTENCY_KEY]
    if (path, method) in _OF_ANY_MODEL:
        entry["parameters"] = [*entry.get("parameters", ()), _MODEL_PARAMETER]
    if example:
        entry["requestBody"]["content"]["application/json"]["example"] = example.request
        entry["responses"]["200"]["content"]["application/json"]["example"] = example.answer
    if path in ("/readyz", "/livez"):
        not_ready = {"503": {"description": _STATUS_DESCRIPTIONS["503"]}} if path == "/readyz" else {}
        return entry | {"responses": {"200": entry["responses"]["200"]} | not_ready, "security": []}
    answers = {"200": entry["responses"]["200"]} | _refusals(_statuses(path, method))
    # Prometheus, asking from the same machine, needs no key.
    keyless: list[Json] = [{}] if path == "/metrics" else []
    return entry | {"responses": answers, "security": [*keyless, {"key": []}]}


def _refusals(statuses: Iterable[str]) -> Json:
    examples = {str(problem.status): json.loads(problem.body) for problem in _PROBLEMS}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": _STATUS_DESCRIPTIONS[status],
            "content": {PROBLEM_JSON: {"schema": schema, "example": examples[status]}},
        }
        for status in statuses
    }


def _statuses(path: str, method: str) -> Iterable[str]:
    """The statuses with which a path may refuse a request."""
    left_out = set() if method == "post" else set(_BODY_STATUSES)
    left_out |= {"501"} if path in _OPERATION else set()
    left_out |= set() if path in _SCORES else {"422"}
    left_out |= {"400"} if path in _OPERATION and (path, method) not in _OF_ANY_MODEL else set()
    left_out |= {"503"} if path in ("/report", "/metrics") else set()
    may_be_missing = "{" in path or (path, method) in _OF_ANY_MODEL.union(_MAY_BE_MISSING)
    left_out |= set() if may_be_missing else {"404"}
    return (status for status in _STATUS_DESCRIPTIONS if status not in left_out)


def _attribute_history(
    specs: tuple[FeatureSpec, ...], profiles: Mapping[str, ReferenceDistribution]
) -> Iterator[dict[str, Any]]:
    """One change of each attribute that the CRM overwrites."""
    of_names = {
        name: spec
        for spec in specs
        if spec.source == "attributes"
        for name in (spec.kind if spec.extraction is None else (spec.column,))
    }
    for name, spec in of_names.items():
        yield {"name": name, "known_at": _FIRST, "value": _typical_value(spec, profiles)}


def _touchpoints(
    features: FeatureSet, profiles: Mapping[str, ReferenceDistribution]
) -> Iterator[dict[str, Any]]:
    """Two touchpoints, of the first and the last kind by name; the later one has all columns."""
    read = {spec.of: spec for spec in features.specs if spec.of in _TOUCHPOINT_COLUMNS and spec.is_category}
    words = {name: _typical_value(spec, profiles) for name, spec in read.items()}
    kinds = _kinds(features.folds, "touchpoints")
    for occurred_at, kind in zip((_FIRST, _LATEST), (*kinds[:1], *kinds[1:][-1:]), strict=False):
        yield {"occurred_at": occurred_at, "kind": kind} | (words if occurred_at == _LATEST else {})


def _kinds(specs: tuple[FeatureSpec, ...], source: str) -> list[str]:
    return sorted({kind for spec in specs if spec.source == source for kind in spec.kind})


_TYPICAL_TEXTS: dict[str, str] = {
    "email_kind": "ann@example.com",
    "email_domain": "ann@example.com",
    "email_country": "ann@example.com",
    "title_rank": "Head of Marketing",
    "title_department": "Head of Marketing",
    "words": "Please call me",
    **dict.fromkeys(("date_weekday", "date_month", "date_age", "date_lag"), "2026-01-31"),
    **dict.fromkeys(("clock_time", "clock_lag"), "14:30"),
}


def _typical_value(spec: FeatureSpec, profiles: Mapping[str, ReferenceDistribution]) -> float | str | bool:
    """The commonest category, or the median, among the rows held out when the model was trained."""
    profile = profiles.get(spec.name)
    if spec.extraction is not None:
        return _TYPICAL_TEXTS.get(spec.extraction.part, spec.extraction.choice)
    if spec.is_category:
        return profile.levels[0] if profile and profile.levels else "text"
    if spec.unit == "flag":
        return True
    middle = profile.edges[len(profile.edges) // 2] if profile and profile.edges else 1.0
    return int(middle) if middle.is_integer() else middle
