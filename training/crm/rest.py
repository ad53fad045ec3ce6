"""Any REST API that takes one lead a call: method, address and body are templates.

``{lead_id}`` and the names of columns stand for the lead's values: in the address percent-encoded, in the
body as JSON values, so that no value can break out of its place.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from training.crm.protocol import (
    Accepted,
    Answer,
    CrmRecord,
    PushError,
    PushStopped,
    Request,
    Response,
    UnsendableRecordError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Method = Literal["PATCH", "POST", "PUT"]
LEAD_ID = "lead_id"
FIELDS = {"probability": "probability", "points": "points", "grade": "grade"}
_PLACE = re.compile(r"{(\w+)}")
_ABSENT = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


@dataclass(frozen=True, slots=True)
class Rest:
    """Leads at ``url``, which names the lead by ``{lead_id}`` unless ``body`` does.

    ``body`` is parsed JSON with the names of columns in braces; None sends the fields as an object.
    """

    url: str
    method: Method = "PATCH"
    body: Any = None
    limit: int = 1
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"Content-Type": "application/json", "Accept": "application/json"}
    )

    def request(self, records: Sequence[CrmRecord]) -> Request:
        """The call that writes one record."""
        (record,) = records
        values = {**record.fields, LEAD_ID: record.lead_id}
        content = dict(record.fields) if self.body is None else _filled(self.body, values)
        return Request(self.method, self._address(record.lead_id), self.headers, json.dumps(content).encode())

    def _address(self, lead_id: str) -> str:
        if "{lead_id}" in self.url and lead_id in {".", ".."}:
            msg = f"a lead with the id {lead_id!r} cannot stand in an address; name it in --body"
            raise UnsendableRecordError(msg)
        return self.url.replace("{lead_id}", quote(lead_id, safe=""))

    def answers(self, records: Sequence[CrmRecord], response: Response) -> list[Answer]:
        """Accepted: the status is all that a REST API of any kind says, unless it answers with a page."""
        if response.headers.get("content-type", "").partition(";")[0].strip() == "text/html":
            msg = f"the answer (status {response.status}) is a page, such as a login; is --url the API's?"
            raise PushStopped(msg)
        return [Accepted() for _ in records]

    def is_about_record(self, response: Response) -> bool:
        """Whether an error is about the one lead of the call: its own address is not there."""
        return "{lead_id}" in self.url and response.status in _ABSENT


def places_of(template: Any) -> Iterator[str]:
    """The names in braces in a parsed JSON template, in their order."""
    if isinstance(template, str):
        yield from _PLACE.findall(template)
    elif isinstance(template, list):
        for each in template:
            yield from places_of(each)
    elif isinstance(template, dict):
        for name, each in template.items():
            yield from places_of(name)
            yield from places_of(each)


def parse_body(text: str, place: str) -> Any:
    """A template of a body. Raises PushError where it is not JSON or names no column, with its ``place``."""
    try:
        body = json.loads(text)
    except ValueError as error:
        msg = f'{place} is not JSON ({error}); write columns in braces and quotes: {{"score": "{{points}}"}}'
        raise PushError(msg) from error
    if not set(places_of(body)) - {LEAD_ID}:
        msg = f'{place} names no column of the scores; write one in braces: {{"score": "{{points}}"}}'
        raise PushError(msg)
    return body


def _filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with values: a text that is one place alone becomes the value itself, with its type."""
    if isinstance(template, str):
        alone = _PLACE.fullmatch(template)
        return values[alone[1]] if alone else _PLACE.sub(lambda place: _text(values[place[1]]), template)
    if isinstance(template, list):
        return [_filled(each, values) for each in template]
    if isinstance(template, dict):
        return {_filled(name, values): _filled(each, values) for name, each in template.items()}
    return template


def _text(value: Any) -> str:
    return "" if value is None else str(value)
