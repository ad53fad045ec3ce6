"""Odoo 19 and later: fields of leads, written over its JSON-2 API with an API key as the token.

A call writes the same values to all its records, so each lead has its own call; ``--sent`` keeps them few.
Odoo refuses a record that is not there with status 404 and its error's name.

Source: https://www.odoo.com/documentation/19.0/developer/reference/external_api.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from training.crm.protocol import Accepted, Answer, CrmRecord, Rejected, Request, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = "crm.lead"
FIELDS = {
    "x_leadloop_probability": "probability",
    "x_leadloop_points": "points",
    "x_leadloop_grade": "grade",
}
_MISSING = "MissingError"


@dataclass(frozen=True, slots=True)
class Odoo:
    """Records of ``model`` in the Odoo at ``url``, found by number; ``database`` where it has several."""

    url: str
    model: str = MODEL
    database: str | None = None
    limit: int = 1

    def request(self, records: Sequence[CrmRecord]) -> Request:
        """The write of one record; an id that is no number is sent as it is, and Odoo refuses it."""
        (record,) = records
        number = int(record.lead_id) if record.lead_id.isdecimal() else record.lead_id
        headers = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}
        headers |= {} if self.database is None else {"X-Odoo-Database": self.database}
        body = json.dumps({"ids": [number], "vals": dict(record.fields)})
        return Request("POST", f"{self.url}/json/2/{self.model}/write", headers, body.encode())

    def answers(self, records: Sequence[CrmRecord], response: Response) -> list[Answer]:
        """Accepted where Odoo says true; it says nothing else of a write that was done."""
        done = response.json() is True
        return [Accepted() if done else Rejected("Odoo did not say that it wrote the lead") for _ in records]

    def is_about_record(self, response: Response) -> bool:
        """Whether an error is about the one lead of the call, not about the call."""
        return response.status == HTTPStatus.NOT_FOUND and _MISSING in response.body.decode(errors="replace")
