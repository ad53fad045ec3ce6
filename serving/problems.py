"""Errors: of a whole request as problem+json (RFC 9457), of one lead in its own place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, get_type_hints

from features.suggestions import suggest
from serving.body_splitter import MAX_BODY_VALUES, MAX_FIELDS, MAX_ITEM_BYTES, MAX_ITEM_VALUES
from serving.request_context import current_request
from serving.schemas import (
    MAX_NAME,
    Account,
    AccountEvent,
    AccountQuery,
    AccountsQuery,
    AttributeChange,
    AttributeEvent,
    ConsentEvent,
    DeadLetterQuery,
    EventsRequest,
    ExplainRequest,
    HandoverOrder,
    HandoverOverrideIn,
    HandoverQuery,
    Lead,
    LeadError,
    LeadEvent,
    LeadQuery,
    MergeEvent,
    OutcomeReport,
    OutcomesRequest,
    PageQuery,
    ResendOrder,
    ScoreRequest,
    SheetQuery,
    StoreEvent,
    Touchpoint,
    TouchpointEvent,
    Transition,
    TransitionEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails
    from starlette.types import Send

    from serving.body_splitter import OversizedItem
    from serving.schemas import LeadErrorCode

PROBLEM_JSON = "application/problem+json"
_MESSAGES: dict[str, type] = {
    "ScoreRequest": ScoreRequest,
    "ExplainRequest": ExplainRequest,
    "OutcomesRequest": OutcomesRequest,
    "OutcomeReport": OutcomeReport,
    "PageQuery": PageQuery,
    "DeadLetterQuery": DeadLetterQuery,
    "ResendOrder": ResendOrder,
    "HandoverQuery": HandoverQuery,
    "HandoverOrder": HandoverOrder,
    "HandoverOverrideIn": HandoverOverrideIn,
    "Lead": Lead,
    "touchpoints": Touchpoint,
    "transitions": Transition,
    "attribute_history": AttributeChange,
    "account": Account,
    "EventsRequest": EventsRequest,
    "LeadQuery": LeadQuery,
    "AccountQuery": AccountQuery,
    "AccountsQuery": AccountsQuery,
    "SheetQuery": SheetQuery,
    "StoreEvent": StoreEvent,
    # By the word in ``type``, which a lead's own fields must not be taken for.
    "lead_event": LeadEvent,
    "account_event": AccountEvent,
    "touchpoint_event": TouchpointEvent,
    "transition_event": TransitionEvent,
    "attribute_event": AttributeEvent,
    "merge_event": MergeEvent,
    "consent_event": ConsentEvent,
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

TOO_MANY_VALUES = Problem(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_many_values",
    f"at most {MAX_BODY_VALUES:,} values are read; send fewer leads at once",
)
IDEMPOTENCY_KEY_INVALID = Problem(
    HTTPStatus.BAD_REQUEST,
    "idempotency_key_invalid",
    "send one header Idempotency-Key of 1 to 255 visible ASCII characters, or none",
)
IDEMPOTENCY_KEY_REUSED = Problem(
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "idempotency_key_reused",
    "this Idempotency-Key was used for another request within the last day; use a new one",
)
TOO_MANY_FIELDS = Problem(
    HTTPStatus.BAD_REQUEST, "invalid_value", f"a request has at most {MAX_FIELDS} fields, each once"
)


def answer_too_large(most_leads: int) -> Problem:
    """An explanation of too many leads with too many reasons each."""
    detail = (
        f"the answer would be too large; explain at most {most_leads} leads at once, or fewer reasons (`top`)"
    )
    return Problem(HTTPStatus.BAD_REQUEST, "answer_too_large", detail, "leads")


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


def refuse_surplus_fields(item: object, message: str = "Lead") -> None:
    """Raise InvalidLead where an object has more fields than any can have: then one of them is unknown.

    pydantic would build an error for each unknown field, and somebody sends 750,000.
    """
    if not isinstance(item, dict):
        return
    _refuse_surplus(item, message, "")
    if message != "Lead":
        return
    _refuse_surplus_in_lists(item, "")
    account = item.get("account")
    if isinstance(account, dict):
        _refuse_surplus(account, "account", "account.")
        _refuse_surplus_in_lists(account, "account.")


def _refuse_surplus_in_lists(item: Mapping[str, Any], path: str) -> None:
    for name in _LISTS:
        events = item.get(name)
        if isinstance(events, list) and _has_wide(events):
            for i, event in enumerate(events):
                if isinstance(event, dict):
                    _refuse_surplus(event, name, f"{path}{name}.{i}.")


def _has_wide(events: Sequence[Any]) -> bool:
    """Whether one of them may have too many fields; True where one has no length at all."""
    try:
        return max(map(len, events), default=0) > MOST_FIELDS
    except TypeError:
        return True


def oversized(item: OversizedItem, noun: str) -> InvalidLead:
    """The error of a lead, or another ``noun``, that is too large to be read."""
    message = (
        f"a {noun} is read up to {MAX_ITEM_VALUES:,} values and {MAX_ITEM_BYTES:,} bytes; this one has "
        f"{item.values:,} values in {item.size:,} bytes"
    )
    return InvalidLead(LeadError(code="invalid_value", field="", message=message))


def _refuse_surplus(item: Mapping[str, Any], message: str, path: str) -> None:
    if len(item) > MOST_FIELDS:
        fields = _fields(message if message in _MESSAGES else "StoreEvent")
        unknown = next(name for name in item if name not in fields)
        text = _unknown_field(str(unknown), fields)
        field = f"{path}{str(unknown)[:MAX_NAME]}"
        raise InvalidLead(LeadError(code="unknown_field", field=field, message=text))


# More than any object of the contract has, attributes aside: of more fields at least one is unknown.
MOST_FIELDS = 16
_LISTS = ("touchpoints", "transitions", "attribute_history")


def _fields(message: str) -> dict[str, Any]:
    # A colleague's events have one field more than a lead's own.
    return get_type_hints(_MESSAGES[message]) | ({"lead_id": str} if message in _LISTS else {})


def _unknown_field(name: str, fields: Iterable[str]) -> str:
    return f"there is no field {name[:40]!r} here{suggest(name, fields)}"


def invalid_lead(error: ValidationError, message: str = "Lead") -> InvalidLead:
    """The first error of a lead, or of another ``message`` that is validated alone."""
    first = _first_error(error)
    if message.endswith(_EVENT) and first["loc"]:
        # An event's own type stands before its fields.
        first = first | {"loc": first["loc"][1:]}
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


_CODES: dict[str, LeadErrorCode] = {
    "missing": "missing_field",
    "extra_forbidden": "unknown_field",
    "union_tag_not_found": "missing_field",
}
_EVENT = "_event"


def _field(error: ErrorDetails) -> str:
    if error["type"].startswith("union_tag"):
        return "type"
    return ".".join(str(part)[:MAX_NAME] for part in error["loc"] if part != "[key]")


def _message(error: ErrorDetails, message: str) -> str:
    """The error in words; ``message`` is the type that was being read, a key of ``_MESSAGES``."""
    if error["type"] == "extra_forbidden":
        *path, name = error["loc"]
        inside = [part for part in path if isinstance(part, str)]
        fields = get_type_hints(_MESSAGES[inside[-1] if inside else message])
        return _unknown_field(str(name), fields)
    if error["type"] == "missing":
        return f"{error['loc'][-1]!r} is required"
    if error["type"] in {"model_type", "model_attributes_type"}:
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
    "union_tag_not_found": "'type' is required: it says what an event tells of, as \"touchpoint\" does",
    "union_tag_invalid": "there is no type {tag!r:.42}; there is {expected_tags}",
}
