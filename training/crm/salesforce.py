"""Salesforce: fields of leads, contacts or other objects, written as sObject collections.

Sources: https://developer.salesforce.com/docs/platform/api-rest/guide/resources-composite-sobjects-collections-update.html
(by record id) and .../resources-composite-sobjects-collections-upsert.html (by external id): 200 records a
call, ``allOrNone`` false leaves the good ones, results in the order of the records; a locked row is to be
tried again, https://developer.salesforce.com/docs/platform/api-rest/guide/errorcodes.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.crm.protocol import (
    Accepted,
    Answer,
    CrmRecord,
    PushStopped,
    Rejected,
    Request,
    Response,
    RetryLater,
    error_message,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIELDS = {
    "Leadloop_Probability__c": "probability",
    "Leadloop_Points__c": "points",
    "Leadloop_Grade__c": "grade",
}
OBJECT = "Lead"
SERVICES = "/services/data/v62.0"
_PATH = f"{SERVICES}/composite/sobjects"
_PASSING = {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE"}


@dataclass(frozen=True, slots=True)
class Salesforce:
    """Records at ``url``, found by record id, or by the external id field ``key``."""

    url: str
    key: str | None = None
    object: str = OBJECT
    limit: int = 200

    def request(self, records: Sequence[CrmRecord]) -> Request:
        """The collection of ``records``; without a key it updates and never makes a lead."""
        path = f"{_PATH}/{self.object}/{self.key}" if self.key else _PATH
        body = {"allOrNone": False, "records": [self._sobject(record) for record in records]}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return Request("PATCH", self.url + path, headers, json.dumps(body).encode())

    def _sobject(self, record: CrmRecord) -> dict[str, Any]:
        return {"attributes": {"type": self.object}, self.key or "id": record.lead_id, **record.fields}

    def is_about_record(self, response: Response) -> bool:  # noqa: ARG002  # of the protocol
        """Never: records are answered one by one in the body."""
        return False

    def answers(self, records: Sequence[CrmRecord], response: Response) -> list[Answer]:
        """One result a record, in their order."""
        results = response.json()
        if not isinstance(results, list) or len(results) != len(records):
            msg = f"Salesforce was sent {len(records)} records and did not answer with as many results"
            raise PushStopped(msg)
        return [_answer(result) for result in results]


def _answer(result: Mapping[str, Any]) -> Answer:
    if result.get("success") is True:
        return Accepted()
    errors = result.get("errors") or [result]
    return RetryLater() if errors[0].get("statusCode") in _PASSING else Rejected(error_message(errors))
