"""POST /v1/outcomes: reports of a CRM are validated one by one and logged together."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import ValidationError

from serving.body_splitter import OversizedItem
from serving.decision_log.records import WITHDRAWN, Outcome
from serving.problems import InvalidLead, invalid_lead, oversized, refuse_surplus_fields
from serving.request_context import current_request
from serving.schemas import MAX_NAME, LeadError, OutcomeRecorded, OutcomeRejected, OutcomeReport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from serving.decision_log.records import OutcomeStatus
    from serving.schemas import LeadErrorCode

    Run = Callable[[Callable[[], Any]], Awaitable[Any]]

T = TypeVar("T")

# Clocks of two machines differ.
AHEAD = 300


class OutcomeStore(Protocol):
    """Where outcomes are logged; ``DecisionLog`` is one."""

    async def log_outcomes(
        self, outcomes: Sequence[Outcome], received_at: float | None = None
    ) -> list[OutcomeStatus]:
        """Log outcomes of a request that came at ``received_at``; the status of each, in their order."""


async def _run_at_once(work: Callable[[], T]) -> T:
    return work()


async def record_outcomes(
    items: Sequence[object], store: OutcomeStore, run: Run = _run_at_once
) -> list[OutcomeRecorded | OutcomeRejected]:
    """Validate and log reports of outcomes.

    Args:
        items: What a request holds, one report each.
        store: Where they are logged.
        run: Runs the validation, in a thread where there is much of it. Default: at once.

    Returns:
        One result per item, in their order; an item that is no valid report is rejected alone.
    """
    now, context = int(time.time()), current_request()
    entries: list[Outcome | OutcomeRejected] = await run(
        lambda: [_parse_or_reject(item, now) for item in items]
    )
    outcomes = [
        replace(entry, tenant=context.tenant, model=context.model)
        for entry in entries
        if isinstance(entry, Outcome)
    ]
    statuses = iter(await store.log_outcomes(outcomes, context.received_at) if outcomes else ())
    return [_result(entry, next(statuses)) if isinstance(entry, Outcome) else entry for entry in entries]


def parse_outcome_report(item: object, now: int) -> Outcome:
    """Parse one report at ``now`` (epoch seconds). Raises InvalidLead, which names the field."""
    fields = item.beginning if isinstance(item, OversizedItem) else item
    refuse_surplus_fields(fields, "OutcomeReport")
    if isinstance(item, OversizedItem):
        raise oversized(item, "report")
    try:
        report = OutcomeReport.model_validate(item)
    except ValidationError as error:
        raise invalid_lead(error, "OutcomeReport") from None
    if mistake := _find_mistake(report, now):
        raise InvalidLead(mistake)
    return Outcome(**report.model_dump())


def _find_mistake(report: OutcomeReport, now: int) -> LeadError | None:
    if report.outcome == "rejected" and report.reason is None:
        return _error("missing_field", "reason", "'reason' is required of a rejected lead")
    if report.outcome == WITHDRAWN and report.corrects is None:
        return _error("missing_field", "corrects", "'corrects' is required: it names what is withdrawn")
    if "\0" in (report.reason or ""):
        return _error("invalid_value", "reason", "text cannot hold a zero byte")
    if report.occurred_at > now + AHEAD:
        return _error("in_the_future", "occurred_at", "an outcome is reported after it happened")
    if report.corrects == report.key:
        return _error("invalid_value", "corrects", "an outcome cannot correct itself; send a new key")
    return None


def _parse_or_reject(item: object, now: int) -> Outcome | OutcomeRejected:
    try:
        return parse_outcome_report(item, now)
    except InvalidLead as refused:
        fields = item.beginning if isinstance(item, OversizedItem) else item
        key = fields.get("key") if isinstance(fields, dict) else None
        known = key if isinstance(key, str) and len(key) <= MAX_NAME else None
        return OutcomeRejected(key=known, error=refused.error)


def _result(outcome: Outcome, receipt: OutcomeStatus) -> OutcomeRecorded | OutcomeRejected:
    if receipt == "key_conflict":
        message = "this key was used for another outcome; send a correction under a new key"
        return OutcomeRejected(key=outcome.key, error=_error(receipt, "key", message))
    if receipt == "other_lead":
        message = "the outcome that this corrects is of another lead"
        return OutcomeRejected(key=outcome.key, error=_error("invalid_value", "corrects", message))
    if receipt == "circle":
        message = "the outcome that this corrects corrects this one in turn; correct the newest of them"
        return OutcomeRejected(key=outcome.key, error=_error("invalid_value", "corrects", message))
    return OutcomeRecorded(key=outcome.key, status=receipt)


def _error(code: LeadErrorCode, field: str, message: str) -> LeadError:
    return LeadError(code=code, field=field, message=message)
