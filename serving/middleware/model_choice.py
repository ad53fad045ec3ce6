"""Which of several models a request asks for: ``?model=NAME``, checked once for every address."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from features.suggestions import suggest_nearest
from serving.problems import Problem, send_problem
from serving.request_context import current_request
from serving.settings import DEFAULT_MODEL, ServiceSettings, logged_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

# What any model can answer. Outcomes that name no model are the default one's, whoever reports them.
ANY_MODEL = frozenset(
    (
        *(("/v1/score", "POST"), ("/v1/explain", "POST"), ("/v1/model", "GET"), ("/report", "GET")),
        *(("/v1/leads/{id}", "GET"), ("/v1/accounts", "GET"), ("/v1/accounts/{id}", "GET")),
        *(("/v1/handover", "GET"), ("/v1/handover", "POST")),
        *(("/v1/handover/overrides", "GET"), ("/v1/handover/overrides", "POST")),
    )
)
_OUTCOMES = ("/v1/outcomes", "POST")
# What is of leads, whichever model asks. Other addresses take no such field.
_OF_NO_MODEL = frozenset((("/v1/events", "POST"), ("/v1/leads/{id}", "DELETE")))
_UNSUPPORTED = Problem(
    HTTPStatus.BAD_REQUEST,
    "model_unsupported",
    "events and erasures are about leads, whichever model asks; leave model out of this address",
    "model",
)
_SEVERAL = Problem(
    HTTPStatus.BAD_REQUEST, "invalid_value", "one model answers a request; name it once", "model"
)


class ModelChoiceMiddleware:
    """ASGI middleware that notes the model of a request, and refuses one that is not there or not allowed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._names = tuple(model.name for model in ServiceSettings.of(os.environ).also)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with a problem."""
        problem = self._refusal(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await send_problem(problem, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        context = current_request()
        chosen = _chosen(scope)
        name = chosen[0] if chosen else DEFAULT_MODEL
        address = (context.endpoint, scope["method"])
        if address not in ANY_MODEL and not (chosen and address == _OUTCOMES):
            # What no model answers, a key that is limited to some may do as far as its scopes go.
            return _UNSUPPORTED if chosen and address in _OF_NO_MODEL else None
        if len(chosen) > 1:
            return _SEVERAL
        if name not in (DEFAULT_MODEL, *self._names):
            return _unknown(name, self._names)
        context.model = logged_name(name)
        is_allowed = not context.key_models or name in context.key_models
        return None if is_allowed else _forbidden(context.key_models)


def _chosen(scope: Scope) -> list[str]:
    query: bytes = scope.get("query_string", b"")
    return (
        parse_qs(query.decode("latin-1"), keep_blank_values=True).get("model", [])
        if b"model" in query
        else []
    )


def _unknown(name: str, names: Sequence[str]) -> Problem:
    known = ", ".join((DEFAULT_MODEL, *names))
    hint = suggest_nearest(name, names)
    detail = f"there is no model {name[:40]!r} here; this service has {known}{hint}"
    return Problem(HTTPStatus.NOT_FOUND, "unknown_model", detail, "model")


def _forbidden(allowed: Sequence[str]) -> Problem:
    listed = " and ".join(allowed)
    detail = f"this key may ask {listed}: name the model in the address, as ?model={allowed[0]} does"
    return Problem(HTTPStatus.FORBIDDEN, "model_forbidden", detail, "model")
