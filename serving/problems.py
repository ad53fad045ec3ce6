"""What went wrong: for a whole request as problem+json (RFC 9457), for one lead beside the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from typing import TYPE_CHECKING

from serving.contract import Account, AttributeChange, ExplainRequest, Lead, LeadError, Touchpoint, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from serving.contract import Code

PROBLEM_JSON = "application/problem+json"
_MESSAGES = (ExplainRequest, Lead, Touchpoint, Transition, AttributeChange, Account)
_FIELDS = sorted({name for message in _MESSAGES for name in message.model_fields})


class LeadRefused(ValueError):  # noqa: N818  # the lead is refused, the service is not in error
    """One lead that cannot be scored as it was sent."""

    def __init__(self, error: LeadError) -> None:
        super().__init__(f"{error.field}: {error.message}")
        self.error = error


@dataclass(frozen=True, slots=True)
class Problem:
    """A request that is answered as a whole: ``code`` for programs, ``detail`` for people."""

    status: int
    code: str
    detail: str
    field: str | None = None

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


def refused(error: ValidationError) -> LeadRefused:
    """The first thing that is wrong with a lead."""
    first = _first(error)
    return LeadRefused(LeadError(code=_code(first), field=_field(first), message=_message(first)))


def invalid_request(error: ValidationError) -> Problem:
    """The first thing that is wrong with a request as a whole."""
    first = _first(error)
    if first["type"] == "json_invalid":
        return Problem(HTTPStatus.BAD_REQUEST, "invalid_json", _message(first))
    return Problem(HTTPStatus.BAD_REQUEST, _code(first), _message(first), _field(first) or None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, or nothing.

    >>> did_you_mean("Budgett", ["Budget", "Country"])
    "; did you mean 'Budget'?"
    """
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _first(error: ValidationError) -> ErrorDetails:
    return error.errors(include_url=False, include_input=False)[0]


def _code(error: ErrorDetails) -> Code:
    return _CODES.get(error["type"], "invalid_value")


_CODES: dict[str, Code] = {"missing": "missing_field", "extra_forbidden": "unknown_field"}


def _field(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"] if part != "[key]")


def _message(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        return f"there is no field {name[:40]!r} here{did_you_mean(name, _FIELDS)}"
    if error["type"] == "missing":
        return f"{error['loc'][-1]!r} is required"
    if error["type"] == "model_type":
        return "an object is expected here"
    return error["msg"].removeprefix("Value error, ")
