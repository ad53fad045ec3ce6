"""What the service takes and gives about the past: what became of leads, and what was said about them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from serving.contract import MAX_LEADS, LeadError, LeadId, Message, Moment, Text, UncheckedItem

# pydantic reads the annotations.
from serving.log.records import Decision, Outcome, OutcomeKind  # noqa: TC001

MAX_PAGE = 1_000
_LAST_NUMBER = 2**63 - 1


class Report(Message):
    """What became of a lead. Sent again under the same key it counts once."""

    key: LeadId = Field(description="the CRM's own id of this event")
    lead_id: LeadId
    outcome: OutcomeKind
    reason: Text = Field(None, description="why; required of `rejected`")
    occurred_at: Moment
    corrects: LeadId | None = Field(None, description="the key of an outcome that this one replaces")


class UncheckedReport(UncheckedItem):
    """A report that is checked alone."""

    item = Report


_EXAMPLE: dict[str, Any] = {
    "key": "crm-4711",
    "lead_id": "0012",
    "outcome": "rejected",
    "reason": "no budget",
    "occurred_at": "2026-05-06T09:00:00+02:00",
}


class OutcomesRequest(Message):
    """Outcomes of leads, 1 to 1,000 at once, in any order and however late; each is answered on its own."""

    outcomes: list[UncheckedReport] = Field(min_length=1, max_length=MAX_LEADS)

    model_config = ConfigDict(json_schema_extra={"example": {"outcomes": [_EXAMPLE]}})


class Recorded(Message):
    """An outcome that is in the log: since now, or `repeated`, since it was first sent."""

    key: str
    status: Literal["recorded", "repeated"]


class NotRecorded(Message):
    """An outcome that was not taken; ``key`` is null where not even that could be read."""

    key: str | None
    error: LeadError


class OutcomesResponse(Message):
    """One result per outcome, in the order of the request."""

    results: list[Recorded | NotRecorded]


class Page(Message):
    """Which part of a listing: the newest ``limit``, or those before the number a page ended with."""

    before: int | None = Field(None, ge=1, le=_LAST_NUMBER)
    limit: int = Field(100, ge=1, le=MAX_PAGE)

    # Everything in an address is text.
    model_config = ConfigDict(strict=False)


class DecisionsResponse(Message):
    """All that was said about a lead and why, newest first, and all that was reported about it."""

    lead_id: str
    decisions: list[Decision]
    outcomes: list[Outcome] = Field(description="by the time they occurred, on every page")
    next: int | None = Field(description="`before` of the next page; null on the last")


class ErasedResponse(Message):
    """How many records of a lead were removed; nothing of them is kept but these numbers."""

    decisions: int
    outcomes: int
