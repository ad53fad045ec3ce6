"""Errors: of a whole request as problem+json (RFC 9457), of one lead in its own place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, get_type_hints

from features.suggestions import suggest
from serving.request_context import current_request
from serving.schemas import (
    MAX_NAME,
    Account,
    AttributeChange,
    ExplainRequest,
    HandoverQuery,
    Lead,
    LeadError,
    OutcomeReport,
    OutcomesRequest,
    PageQuery,
    ScoreRequest,
    Touchpoint,
    Transition,
)

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails
    from starlette.types import Send

    from serving.schemas import LeadErrorCode

PROBLEM_JSON = "application/problem+json"
_MESSAGES: dict[str, type] = {
    "ScoreRequest": ScoreRequest,
    "ExplainRequest": ExplainRequest,
    "OutcomesRequest": OutcomesRequest,
    "OutcomeReport": OutcomeReport,
    "PageQuery": PageQuery,
    "HandoverQuery": HandoverQuery,
    "Lead": Lead,
    "touchpoints": Touchpoint,
    "transitions": Transition,
    "attribute_history": AttributeChange,
    "account": Account,
}


class InvalidLead(ValueError):  # noqa: N818  # the lead is refused, the service is not in error
    """A lead (or an outcome) that is not valid; ``error`` is its entry in the response."""

    def __init__(self, error: LeadError) -> None:
        super().__init__(f"{error.field}: {error.message}")
        self.error = error


@dataclass(frozen=True, slots=True)
class Problem:
    """An error response to a whole request, as RFC 9457 has it.

    Attributes:
        status: The HTTP status.
        code: For programs; part of the problem's type.
        detail: For people: what is wrong and what to do.
        field: The first field of the request that is wrong, if it is a field.
        headers: Further headers of the response.
    """

    status: int
    code: str
    detail: str
    field: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> bytes:
        """The problem as JSON."""
        record = {
            "type": f"urn:leadloop:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "field": self.field,
        }
        return json.dumps(record).encode()


LOG_OFF = Problem(HTTPStatus.NOT_IMPLEMENTED, "log_off", "this service was started without a decision log")
LOG_UNAVAILABLE = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "log_unavailable",
    "the decision log cannot be reached; ask again soon",
    headers=(("retry-after", "1"),),
)


class ProblemResponse(Exception):  # noqa: N818  # the request is refused, the service is not in error
    """Raise it anywhere behind the middleware to answer the request with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


async def send_problem(problem: Problem, send: Send) -> None:
    """Answer a request with a problem, and set its code for log and metrics."""
    current_request().code = problem.code
    headers = [("content-type", PROBLEM_JSON), ("content-length", str(len(problem.body))), *problem.headers]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": problem.body})


def invalid_lead(error: ValidationError, message: str = "Lead") -> InvalidLead:
    """The first error of a lead, or of another ``message`` that is validated alone."""
    first = _first_error(error)
    return InvalidLead(LeadError(code=_code(first), field=_field(first), message=_message(first, message)))


def invalid_request(error: ValidationError) -> Problem:
    """The first error of a request as a whole, as status 400."""
    first = _first_error(error)
    code = "invalid_json" if first["type"] == "json_invalid" else _code(first)
    return Problem(HTTPStatus.BAD_REQUEST, code, _message(first, error.title), _field(first) or None)


def _first_error(error: ValidationError) -> ErrorDetails:
    """The error to report: a misspelt field rather than the missing field that it was meant to be."""
    errors = error.errors(include_url=False, include_input=False)
    return next((details for details in errors if details["type"] == "extra_forbidden"), errors[0])


def _code(error: ErrorDetails) -> LeadErrorCode:
    return _CODES.get(error["type"], "invalid_value")


_CODES: dict[str, LeadErrorCode] = {"missing": "missing_field", "extra_forbidden": "unknown_field"}


def _field(error: ErrorDetails) -> str:
    return ".".join(str(part)[:MAX_NAME] for part in error["loc"] if part != "[key]")


def _message(error: ErrorDetails, message: str) -> str:
    """The error in words; ``message`` is the type that was being read, a key of ``_MESSAGES``."""
    if error["type"] == "extra_forbidden":
        *path, name = error["loc"]
        inside = [part for part in path if isinstance(part, str)]
        fields = get_type_hints(_MESSAGES[inside[-1] if inside else message])
        return f"there is no field {str(name)[:40]!r} here{suggest(str(name), fields)}"
    if error["type"] == "missing":
        return f"{error['loc'][-1]!r} is required"
    if error["type"] == "model_type":
        return "an object is expected here"
    if error["type"] == "json_invalid" and error["msg"].endswith(_EMPTY_BODY):
        return "the body is empty; send a JSON object"
    template = _TEMPLATES.get(error["type"])
    return (
        error["msg"].removeprefix("Value error, ")
        if template is None
        else template.format(**error.get("ctx", {}))
    )


_EMPTY_BODY = "EOF while parsing a value at line 1 column 0"
_WHOLE, _TEXT = "this should be a whole number", "this should be text, in double quotes"
# What to do, where pydantic says what its check has found.
_TEMPLATES = {
    "string_type": _TEXT,
    "string_too_short": "this should not be empty",
    "string_too_long": "at most {max_length} characters are read here",
    "string_pattern_mismatch": "this should be text without control characters",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": "this should be a number",
    "float_parsing": "this should be a number",
    "bool_type": "this should be true or false",
    "list_type": "this should be a list, in square brackets",
    "too_short": "send at least {min_length} of them",
    "too_long": "at most {max_length} of them are read at once; send the others in requests of their own",
    "greater_than_equal": "this should be at least {ge}",
    "less_than_equal": "this should be at most {le}",
    "literal_error": "this should be {expected}",
}
