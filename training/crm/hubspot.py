"""HubSpot: properties of contacts, or of leads, deals and custom objects, updated in batches.

A score never makes a record: the call is the batch update, by HubSpot's record id or by a property with
unique values. Every input carries a trace id, for which HubSpot answers 207 and tells the good from the bad.

Sources: https://developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/batch/update-contacts
and https://developers.hubspot.com/docs/api-reference/latest/error-handling (multi-status, all fields of an
error optional); 100 inputs a call, https://developers.hubspot.com/docs/guides/crm/using-object-apis
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from training.crm.protocol import Accepted, Answer, CrmRecord, Rejected, Request, Response, error_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

API = "https://api.hubapi.com"
FIELDS = {
    "leadloop_probability": "probability",
    "leadloop_points": "points",
    "leadloop_grade": "grade",
}
OBJECT = "contacts"
_PATH = "/crm/objects/2026-03/{object}/batch/update"
_SILENT = Rejected("HubSpot answered without a word on this record")


@dataclass(frozen=True, slots=True)
class HubSpot:
    """Records at ``url``, found by record id, or by the property ``key`` whose values are unique."""

    url: str = API
    key: str | None = None
    object: str = OBJECT
    limit: int = 100

    def request(self, records: Sequence[CrmRecord]) -> Request:
        """The batch update of ``records``."""
        body = json.dumps({"inputs": [self._input(*numbered) for numbered in enumerate(records)]})
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return Request("POST", self.url + _PATH.format(object=self.object), headers, body.encode())

    def _input(self, trace: int, record: CrmRecord) -> dict[str, Any]:
        properties = {name: _text(value) for name, value in record.fields.items()}
        by_key = {"idProperty": self.key} if self.key else {}
        return {
            "id": record.lead_id,
            **by_key,
            "properties": properties,
            "objectWriteTraceId": str(trace),
        }

    def is_about_record(self, response: Response) -> bool:  # noqa: ARG002  # of the protocol
        """Never: records are answered one by one in the body."""
        return False

    def answers(self, records: Sequence[CrmRecord], response: Response) -> list[Answer]:
        """One answer per record: status 200 accepts all; in 207 each is named by its trace id or its id."""
        if response.status != HTTPStatus.MULTI_STATUS:
            return [Accepted()] * len(records)
        payload = response.json()
        named: dict[str, Answer] = {}
        for result in payload.get("results") or ():
            # Where leads are found by a key, an id in a result is HubSpot's and may be another lead's key.
            about = {**result, "id": None} if self.key else result
            named |= dict.fromkeys(_record_keys(about), Accepted())
        for error in payload.get("errors") or ():
            about = error | (error.get("context") or {})
            named |= dict.fromkeys(_record_keys(about), Rejected(error_message(error)))
        return [
            named.get(f"trace {trace}", named.get(f"id {record.lead_id}", _SILENT))
            for trace, record in enumerate(records)
        ]


def _record_keys(payload: Mapping[str, Any]) -> Iterator[str]:
    """The keys of the records that a result or an error is about; errors hold lists of them."""
    for kind, key in (("trace", "objectWriteTraceId"), ("id", "id"), ("id", "ids")):
        value = payload.get(key)
        for identifier in value if isinstance(value, list) else [value]:
            if identifier is not None:
                yield f"{kind} {identifier}"


def _text(value: Any) -> str:
    """HubSpot takes every value as text, and the empty one clears a property.

    >>> _text(None), _text(0.25), _text(True)
    ('', '0.25', 'true')
    """
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
