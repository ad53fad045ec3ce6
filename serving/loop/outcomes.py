"""From outcomes as a CRM reports them to records of the log, each read and answered on its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from serving.contract import MAX_NAME, LeadError
from serving.log.records import Outcome
from serving.loop.contract_outcomes import NotRecorded, Recorded, Report
from serving.problems import LeadRefused, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.contract import Code
    from serving.log.records import Receipt

# Clocks of two machines differ.
AHEAD = 300


class Book(Protocol):
    """Where outcomes are written."""

    async def happened(self, outcomes: Sequence[Outcome]) -> list[Receipt]:
        """What became of each, in order."""


async def recorded(items: Sequence[object], book: Book) -> list[Recorded | NotRecorded]:
    """One answer per item, in order; what cannot be read fails alone."""
    now = int(time.time())
    read = [_attempt(item, now) for item in items]
    outcomes = [one for one in read if isinstance(one, Outcome)]
    receipts = iter(await book.happened(outcomes) if outcomes else ())
    return [_answer(one, next(receipts)) if isinstance(one, Outcome) else one for one in read]


def outcome(item: object, now: int) -> Outcome:
    """The outcome that ``item`` reports. Raises LeadRefused, which names the field."""
    try:
        report = Report.model_validate(item)
    except ValidationError as error:
        raise refused(error, "Report") from None
    if nonsense := _nonsense(report, now):
        raise LeadRefused(nonsense)
    return Outcome(**report.model_dump())


def _nonsense(report: Report, now: int) -> LeadError | None:
    if report.outcome == "rejected" and report.reason is None:
        return _error("missing_field", "reason", "'reason' is required of a rejected lead")
    if "\0" in (report.reason or ""):
        return _error("invalid_value", "reason", "text cannot hold a zero byte")
    if report.occurred_at > now + AHEAD:
        return _error("in_the_future", "occurred_at", "an outcome is reported after it happened")
    if report.corrects == report.key:
        return _error("invalid_value", "corrects", "an outcome cannot correct itself; send a new key")
    return None


def _attempt(item: object, now: int) -> Outcome | NotRecorded:
    try:
        return outcome(item, now)
    except LeadRefused as refused:
        key = item.get("key") if isinstance(item, dict) else None
        known = key if isinstance(key, str) and len(key) <= MAX_NAME else None
        return NotRecorded(key=known, error=refused.error)


def _answer(one: Outcome, receipt: Receipt) -> Recorded | NotRecorded:
    if receipt == "key_conflict":
        message = "this key was used for another outcome; send a correction under a new key"
        return NotRecorded(key=one.key, error=_error(receipt, "key", message))
    if receipt == "other_lead":
        message = "the outcome that this corrects is of another lead"
        return NotRecorded(key=one.key, error=_error("invalid_value", "corrects", message))
    return Recorded(key=one.key, status=receipt)


def _error(code: Code, field: str, message: str) -> LeadError:
    return LeadError(code=code, field=field, message=message)
