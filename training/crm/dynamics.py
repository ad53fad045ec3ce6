"""Dynamics 365: rows of the table msdyn_predictivescore, written in $batch calls.

A PATCH by the alternate key (lead, "lead") writes the score, or makes its row if there is none. A batch may
hold 1,000 requests, but their execution time counts together, so a hundred travel at a time; with
continue-on-error a bad one does not stop the others, and the answers keep the order of the requests.

Sources: https://learn.microsoft.com/en-us/dynamics365/sales/populate-predictive-scores (fields and codes),
https://learn.microsoft.com/en-us/power-apps/developer/data-platform/webapi/execute-batch-operations-using-web-api,
https://learn.microsoft.com/en-us/power-apps/developer/data-platform/api-limits, and for the quoting of keys
OData 4.0 part 2, section 4.3.1: a quote in a string is doubled, then all of it is percent-encoded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email import message_from_bytes
from http import HTTPStatus
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from training.crm.protocol import (
    Accepted,
    Answer,
    CrmRecord,
    PushStopped,
    Rejected,
    Request,
    Response,
    RetryLater,
    reason_in,
)
from training.crm.retry import TRANSIENT, retry_after

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message

FIELDS = {"msdyn_score": "score", "msdyn_scoretrend": "trend", "msdyn_grade": "grade"}
_CODES: dict[str, dict[Any, int]] = {
    "msdyn_scoretrend": {"improving": 0, "steady": 1, "declining": 2, "unknown": 3},
    "msdyn_grade": {"A": 0, "B": 1, "C": 2, "D": 3},
}
ROOT = "/api/data/v9.2"
TABLE = "msdyn_predictivescore"
_LINE = "\r\n"


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Scores of leads in the environment at ``url``."""

    url: str
    limit: int = 100

    def request(self, records: Sequence[CrmRecord]) -> Request:
        """The $batch call that patches the score of each of ``records``."""
        boundary = f"batch_{uuid4()}"
        parts = [f"--{boundary}{_LINE}{self._patch(record)}{_LINE}" for record in records]
        headers = {
            "Content-Type": f'multipart/mixed; boundary="{boundary}"',
            "Accept": "application/json",
            "OData-MaxVersion": "4.0",
            "OData-Version": "4.0",
            "Prefer": "odata.continue-on-error",
        }
        body = "".join(parts) + f"--{boundary}--{_LINE}"
        return Request("POST", f"{self.url}{ROOT}/$batch", headers, body.encode())

    def _patch(self, record: CrmRecord) -> str:
        body = json.dumps({name: _coded(name, value) for name, value in record.fields.items()})
        key = f"msdyn_entityid={_literal(record.lead_id)},msdyn_entitytype={_literal('lead')}"
        lines = (
            "Content-Type: application/http",
            "Content-Transfer-Encoding: binary",
            "",
            f"PATCH {self.url}{ROOT}/{TABLE}s({key}) HTTP/1.1",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "",
            body,
        )
        return _LINE.join(lines)

    def is_about_record(self, response: Response) -> bool:  # noqa: ARG002  # of the protocol
        """Never: records are answered one by one in the body."""
        return False

    def answers(self, records: Sequence[CrmRecord], response: Response) -> list[Answer]:
        """One answer a record, in their order; a record that the batch did not come to is sent again."""
        content_type = response.headers.get("content-type", "")
        whole = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + response.body)
        if not whole.is_multipart():
            msg = f"the answer to $batch (status {response.status}) is no batch; is --url the environment's?"
            raise PushStopped(msg)
        parts = [part for part in whole.walk() if part.get_content_type() == "application/http"]
        return [_answer(part) for _, part in zip_longest(records, parts[: len(records)])]


def _answer(part: Message | None) -> Answer:
    if part is None:
        return RetryLater()
    response = _inner(bytes(part.get_payload(decode=True)))
    if response.status < HTTPStatus.BAD_REQUEST:
        return Accepted()
    if response.status in TRANSIENT:
        return RetryLater(retry_after(response))
    return Rejected(reason_in(response.body))


def _inner(http: bytes) -> Response:
    """The HTTP response that one part of a batch holds."""
    status_line, _, rest = http.partition(b"\n")
    message = message_from_bytes(rest)
    headers = {name.lower(): value for name, value in message.items()}
    return Response(int(status_line.split()[1]), headers, bytes(message.get_payload(decode=True) or b""))


def _coded(field: str, value: Any) -> Any:
    return _CODES.get(field, {}).get(value, value)


def _literal(text: str) -> str:
    """A string as a key in a URL: quoted, its own quotes doubled, nothing in it left to be read as URL.

    >>> _literal("O'Neill/7")
    '%27O%27%27Neill%2F7%27'
    """
    doubled = text.replace("'", "''")
    return quote(f"'{doubled}'", safe="")
