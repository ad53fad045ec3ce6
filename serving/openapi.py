"""The OpenAPI description: what a CRM's developer reads first, and copies from.

BentoML generates it, but documents its own errors instead of ours and shows no example that any model takes.

A lead as a CRM could send it to the model in charge: its own attributes, kinds and stages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.history import ACCOUNT_PREFIX
from serving.endpoints import data_subject, handover
from serving.middleware.request_validation import TAKES
from serving.problems import PROBLEM_JSON, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    Json = dict[str, Any]
    from collections.abc import Iterator

    from features.spec import FeatureSet, FeatureSpec
    from models.conversion import ConversionModel
    from models.drift import ReferenceDistribution


@dataclass(frozen=True, slots=True)
class EndpointExample:
    """What a body's example is, and how the model in charge answers it, where that is to be shown."""

    request: Mapping[str, Any]
    answer: Mapping[str, Any]


# In the order in which a reader needs them.
_SUMMARIES = {
    ("/v1/score", "post"): "How likely are these leads to convert?",
    ("/v1/explain", "post"): "How likely, and what speaks for it and against it?",
    ("/v1/handover", "get"): "Whom should sales call today?",
    ("/v1/outcomes", "post"): "Report what became of leads",
    ("/v1/leads/{lead_id}/decisions", "get"): "What was ever said about a lead, and why?",
    ("/v1/leads/{lead_id}", "delete"): "Forget a person",
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

_OPERATION = ("/v1/model", "/report", "/readyz", "/livez", "/metrics")

_SCORES = ("/v1/score", "/v1/explain")

_PROBLEMS = (
    Problem(400, "missing_field", "'leads' is required", "leads"),
    Problem(401, "key_missing", "send Authorization: Bearer and a key; `leadloop keys add` makes one"),
    Problem(403, "scope_missing", "this key may not do that; it takes one with the scope outcomes"),
    Problem(404, "not_found", "no such address; the API page (/) lists what there is"),
    Problem(408, "body_too_slow", "the body took too long to arrive; send it at once, or fewer leads"),
    Problem(413, "body_too_large", "at most 8,388,608 bytes are read; send fewer leads at once"),
    Problem(415, "unsupported_media_type", "send Content-Type: application/json, not 'text/plain'"),
    Problem(429, "too_many_requests", "ask again in 3 s"),
    Problem(501, "log_off", "this service was started without a decision log"),
    Problem(503, "log_unavailable", "the decision log cannot be reached; ask again soon"),
)

_WHY = {
    "400": "Not JSON, or not the fields above; `field` names the first that is wrong",
    "401": "No key, or none that is valid; a service without keys answers its own machine alone",
    "403": "The key may not do that",
    "404": "There is no such thing: no lead can have such an id, or no report lies beside the model",
    "408": "The body took too long to arrive",
    "413": "The body is too large",
    "415": "The body is not application/json",
    "429": "Too many requests; Retry-After says in how many seconds to ask again",
    "501": "The service was started without a decision log",
    "503": "No model is loaded, or the decision log cannot be reached",
}

_OF_A_BODY = frozenset(("408", "413", "415"))

_WITHOUT_LOG = frozenset((*_SCORES, *_OPERATION))

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

_MODEL_ANSWER = {
    "type": "object",
    "required": ["model_version", "card", "features", "example", "serving"],
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
_PUBLISHED = {
    "ContributionChange": "Shift",
    "EarlierScore": "Earlier",
    "ExpectedConversions": "Expected",
    "ExplainResult": "Explained",
    "FamilyContribution": "FamilyShare",
    "HandoverLeadOut": "HandedLead",
    "InsufficientEvidence": "Insufficient",
    "LeadFailure": "Failed",
    "ObservedRate": "Evidence",
    "OutcomeRecorded": "Recorded",
    "OutcomeRejected": "NotRecorded",
    "ScoreChange": "Change",
    "ScoreResult": "Scored",
}


def openapi(generated: Mapping[str, Any], shown: Mapping[str, EndpointExample]) -> Json:
    """BentoML's description of the service with our errors, our names and our addresses.

    ``shown`` has the examples of addresses for which there are better ones than the contract's.
    """
    page: Json = json.loads(json.dumps(generated).replace("IODescriptor", ""))
    schemas = page["components"]["schemas"]
    for unused in ("TaskStatusResponse", "InvalidArgument", "NotFound", "InternalServerError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    known = page["paths"] | data_subject.openapi_paths(schemas) | handover.openapi_paths(schemas) | _own()
    for path, message in TAKES.items():
        known[path]["post"]["requestBody"] = _body(message, schemas)
    page["paths"] = {
        path: {method: _told(path, method, known[path][method], shown.get(path))}
        for path, method in _SUMMARIES
    }
    page["components"]["securitySchemes"] = {"key": _KEY}
    page["tags"] = [{"name": name, "description": what} for name, what in _TAGS.items()]
    page["info"] = _INFO
    # Nullable fields are written as JSON Schema has them, which OpenAPI understands from 3.1 on.
    page["openapi"] = "3.1.0"
    return _published(page)


def _published(page: Json) -> Json:
    """``page`` with its components under the names that clients know."""
    text = json.dumps(page)
    for name, published in _PUBLISHED.items():
        text = text.replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{published}"')
        text = text.replace(f'"title": "{name}"', f'"title": "{published}"')
    renamed: Json = json.loads(text)
    components = renamed["components"]
    components["schemas"] = {_PUBLISHED.get(name, name): it for name, it in components["schemas"].items()}
    return renamed


def _own() -> Json:
    """The addresses that BentoML does not know, or describes as if nobody had set them up."""
    return {
        "/v1/model": {"get": _get("model", "The model", "application/json", _MODEL_ANSWER)},
        "/report": {"get": _get("report", "A page that needs no network", "text/html", {"type": "string"})},
        "/metrics": {"get": _get("metrics", "Prometheus's text", "text/plain", {"type": "string"})},
        "/readyz": {"get": _get("readyz", "A model is loaded, and the decision log is written")},
        "/livez": {"get": _get("livez", "It lives")},
    }


def _get(name: str, what: str, media_type: str = "", schema: Json | None = None) -> Json:
    content = {"content": {media_type: {"schema": schema}}} if media_type else {}
    return {"operationId": f"leadloop__{name}", "responses": {"200": {"description": what} | content}}


def _body(takes: type[BaseModel], schemas: Json) -> Json:
    """A body as the contract has it: BentoML's own description knows neither that it must be nor null."""
    schema = takes.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _told(path: str, method: str, operation: Json, shown: EndpointExample | None) -> Json:
    """An operation with its summary, its refusals and its examples."""
    tag = "Scores" if path in _SCORES else "Operation" if path in _OPERATION else "Loop"
    told = operation | {"summary": _SUMMARIES[path, method], "tags": [tag]}
    if shown:
        told["requestBody"]["content"]["application/json"]["example"] = shown.request
        told["responses"]["200"]["content"]["application/json"]["example"] = shown.answer
    if path in ("/readyz", "/livez"):
        not_ready = {"503": {"description": _WHY["503"]}} if path == "/readyz" else {}
        return told | {"responses": {"200": told["responses"]["200"]} | not_ready, "security": []}
    answers = {"200": told["responses"]["200"]} | _refusals(_statuses(path, method))
    # Prometheus, asking from the same machine, needs no key.
    keyless: list[Json] = [{}] if path == "/metrics" else []
    return told | {"responses": answers, "security": [*keyless, {"key": []}]}


def _refusals(statuses: Iterable[str]) -> Json:
    examples = {str(problem.status): json.loads(problem.body) for problem in _PROBLEMS}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": _WHY[status],
            "content": {PROBLEM_JSON: {"schema": schema, "example": examples[status]}},
        }
        for status in statuses
    }


def _statuses(path: str, method: str) -> Iterable[str]:
    """The statuses with which an address may refuse; only some need the log to answer at all."""
    left_out = set() if method == "post" else set(_OF_A_BODY)
    left_out |= {"501"} if path in _WITHOUT_LOG else set()
    left_out |= {"400"} if path in _OPERATION else set()
    left_out |= {"503"} if path in ("/report", "/metrics") else set()
    left_out |= set() if "{" in path or path == "/report" else {"404"}
    return (status for status in _WHY if status not in left_out)


_CREATED, _FIRST, _LATEST = "2026-05-01T08:00:00Z", "2026-05-01T10:00:00+02:00", "2026-05-04T08:30:00+02:00"

# What a touchpoint is described by; the features that read it are named after it.
_WORDS = ("channel", "campaign", "offer", "offer_stage")


def example_lead(model: ConversionModel) -> dict[str, Any]:
    """A lead that ``model`` can score as it is.

    Whoever writes a client starts from it, so it names all attributes that the model reads.
    """
    specs, profiles = model.features.specs, model.card.profiles
    plain = {spec.of: _usual(spec, profiles) for spec in specs if spec.source == "leads" and spec.of}
    own = {name: value for name, value in plain.items() if not name.startswith(ACCOUNT_PREFIX)}
    theirs = {name.removeprefix(ACCOUNT_PREFIX): value for name, value in plain.items() if name not in own}
    parts = {
        "created_at": _CREATED if any(spec.source != "leads" for spec in specs) else None,
        "attributes": own,
        "attribute_history": list(_overwritten(specs, profiles)),
        "touchpoints": list(_touchpoints(model.features, profiles)),
        "transitions": [
            {"occurred_at": _LATEST, "stage": stage}
            for stage in _kinds(model.features.folds, "transitions")[:1]
        ],
        "account": {"attributes": theirs} if theirs else None,
    }
    return {"lead_id": "0012"} | {name: part for name, part in parts.items() if part}


def _overwritten(
    specs: tuple[FeatureSpec, ...], profiles: Mapping[str, ReferenceDistribution]
) -> Iterator[dict[str, Any]]:
    """One value of each attribute that the CRM overwrites."""
    of_names = {name: spec for spec in specs if spec.source == "attributes" for name in spec.kind}
    for name, spec in of_names.items():
        yield {"name": name, "known_at": _FIRST, "value": _usual(spec, profiles)}


def _touchpoints(
    features: FeatureSet, profiles: Mapping[str, ReferenceDistribution]
) -> Iterator[dict[str, Any]]:
    """One of the first kind by name, and a later one of the last, with all that the model reads of it."""
    read = {spec.of: spec for spec in features.specs if spec.of in _WORDS and spec.is_category}
    words = {name: _usual(spec, profiles) for name, spec in read.items()}
    kinds = _kinds(features.folds, "touchpoints")
    for occurred_at, kind in zip((_FIRST, _LATEST), (*kinds[:1], *kinds[1:][-1:]), strict=False):
        yield {"occurred_at": occurred_at, "kind": kind} | (words if occurred_at == _LATEST else {})


def _kinds(specs: tuple[FeatureSpec, ...], source: str) -> list[str]:
    return sorted({kind for spec in specs if spec.source == source for kind in spec.kind})


def _usual(spec: FeatureSpec, profiles: Mapping[str, ReferenceDistribution]) -> float | str | bool:
    """The commonest word, or the middle number, of those that the model was judged by."""
    profile = profiles.get(spec.name)
    if spec.is_category:
        return profile.levels[0] if profile and profile.levels else "text"
    if spec.unit == "flag":
        return True
    middle = profile.edges[len(profile.edges) // 2] if profile and profile.edges else 1.0
    return int(middle) if middle.is_integer() else middle
