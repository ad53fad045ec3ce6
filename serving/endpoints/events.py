"""POST /v1/events: what a CRM knows of leads, validated one by one and stored together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from features.parsing import clean_text
from serving.body_splitter import OversizedItem
from serving.lead_store.records import ALWAYS_KNOWN, CONSENTED, REFUSED, EventRow
from serving.problems import MOST_FIELDS, InvalidLead, invalid_lead, oversized, refuse_surplus_fields
from serving.request_context import current_request
from serving.schemas import MAX_NAME, AnyEvent, EventRejected, EventTaken, LeadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from serving.lead_store.async_store import LeadStore
    from serving.lead_store.records import EventStatus
    from serving.schemas import LeadErrorCode

    Run = Callable[[Callable[[], Any]], Awaitable[Any]]

# Clocks of two machines differ.
AHEAD = 300
_DETAILS = {
    "touchpoint": ("kind", "channel", "campaign", "offer", "offer_stage", "amount", "seconds"),
    "transition": ("stage", "reason"),
}
_TIMES = ("occurred_at", "created_at", "known_at")
# Without the model around it: an event is a dictionary as it comes.
_validate = TypeAdapter(AnyEvent).validator.validate_python
_CONFLICT = "this id was used for another event; send what has changed as an event with an id of its own"
_FORGOTTEN = (
    "this lead was erased, or does not consent, and is not taken in; where it consents again, send an event "
    "of the type consent with `true` and a later known_at first"
)


async def record_events(
    items: Sequence[object], store: LeadStore, run: Run
) -> list[EventTaken | EventRejected]:
    """Validate and store events.

    Args:
        items: What a request holds, one event each.
        store: Where they go.
        run: Runs the validation, in a thread where there is much of it.

    Returns:
        One result per item, in their order; an item that is no valid event is rejected alone.
    """
    now, context = int(time.time()), current_request()
    entries: list[EventRow | EventRejected] = await run(
        lambda: [_parse_or_reject(item, now) for item in items]
    )
    rows = [entry for entry in entries if isinstance(entry, EventRow)]
    statuses = await store.add(rows, context.tenant, context.received_at) if rows else []

    def results() -> list[EventTaken | EventRejected]:
        pending = iter(statuses)
        return [_result(entry, next(pending)) if isinstance(entry, EventRow) else entry for entry in entries]

    answer: list[EventTaken | EventRejected] = await run(results)
    return answer


def parse_event(item: object, now: int) -> EventRow:
    """Parse one event at ``now`` (epoch seconds). Raises InvalidLead, which names the field."""
    if isinstance(item, OversizedItem):
        refuse_surplus_fields(item.beginning, _type_of(item.beginning))
        raise oversized(item, "event")
    if isinstance(item, dict) and len(item) > MOST_FIELDS:
        refuse_surplus_fields(item, _type_of(item))
    try:
        event: Mapping[str, Any] = _validate(item)
    except ValidationError as error:
        raise invalid_lead(error, _type_of(item)) from None
    latest = now + AHEAD
    for name in _TIMES:
        moment = event.get(name)
        if moment is not None and moment > latest:
            message = "an event is sent after it happened; of what is planned nobody knows whether it will"
            raise InvalidLead(_error("in_the_future", name, message))
    return _happening(event) if event["type"] in _DETAILS else _row(event)


def _type_of(item: object) -> str:
    kind = item.get("type") if isinstance(item, dict) else None
    return f"{kind}_event" if isinstance(kind, str) else "StoreEvent"


def _happening(event: Mapping[str, Any]) -> EventRow:
    """The row of a touchpoint or a transition, of which there are by far the most."""
    kind, occurred_at = event["type"], event["occurred_at"]
    known_at = event.get("known_at")
    content = {name: value for name in _DETAILS[kind] if (value := event.get(name)) is not None}
    return EventRow(
        event["id"],
        kind,
        event["lead_id"],
        None,
        occurred_at,
        occurred_at if known_at is None else known_at,
        to_json(content).decode(),
    )


def _row(event: Mapping[str, Any]) -> EventRow:
    """The row of any other event."""
    kind, known_at = event["type"], event.get("known_at")
    subject = event["account_id"] if kind == "account" else event["lead_id"]
    occurred_at, other = event.get("occurred_at"), None
    content: Mapping[str, Any] = {}
    if kind == "attribute":
        content = {"name": clean_text(event["name"]), "value": event["value"]}
    elif kind == "merge":
        other = event["merged_into"]
    elif kind == "consent":
        text = CONSENTED if event["consent"] else REFUSED
        return EventRow(event["id"], kind, subject, None, None, event["known_at"], text)
    else:
        occurred_at = event.get("created_at")
        other = event.get("account_id") if kind == "lead" else None
        content = _attributes(event.get("attributes", {}))
    if known_at is None:
        known_at = ALWAYS_KNOWN if occurred_at is None else occurred_at
    return EventRow(event["id"], kind, subject, other, occurred_at, known_at, to_json(content).decode())


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Plain attributes by the names that columns of a file would have; those without a value are left out."""
    named = sorted((clean_text(name), value) for name, value in attributes.items() if value is not None)
    return dict(named)


def _parse_or_reject(item: object, now: int) -> EventRow | EventRejected:
    try:
        return parse_event(item, now)
    except InvalidLead as refused:
        fields = item.beginning if isinstance(item, OversizedItem) else item
        event_id = fields.get("id") if isinstance(fields, dict) else None
        known = event_id if isinstance(event_id, str) and len(event_id) <= MAX_NAME else None
        return EventRejected(id=known, error=refused.error)


def _result(row: EventRow, status: EventStatus) -> EventTaken | EventRejected:
    if status == "key_conflict":
        return EventRejected(id=row.event_id, error=_error(status, "id", _CONFLICT))
    if status == "forgotten":
        return EventRejected(id=row.event_id, error=_error(status, "lead_id", _FORGOTTEN))
    return EventTaken(id=row.event_id, status=status)


def _error(code: LeadErrorCode, field: str, message: str) -> LeadError:
    return LeadError(code=code, field=field, message=message)
