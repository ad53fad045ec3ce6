"""Delivers a batch until each of its records is acknowledged or refused, whatever happens on the way.

To send a record twice is harmless, for a write sets the same values; to call one acknowledged that was not
is never done. What failed in passing is sent again after a wait. A batch refused as a whole is halved until
the record at fault stands alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from training.crm.http_client import Send, UnreachableError
from training.crm.protocol import (
    Accepted,
    CrmAdapter,
    CrmRecord,
    PushStopped,
    Rejected,
    Response,
    RetryLater,
    UnsendableRecordError,
    reason_in,
)
from training.crm.retry import TRANSIENT, RetryPolicy, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The content is at fault, and it may be one record's.
_UNFIT = frozenset({400, 409, 413, 422})
_ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "the token is not valid (any more): ",
    HTTPStatus.FORBIDDEN: "the token may not do this, or the CRM's quota is used up: ",
    HTTPStatus.NOT_FOUND: "there is no such address at the CRM; look at --url and --key: ",
}


@dataclass(frozen=True, slots=True)
class DeliveryProgress:
    """The result of one request: the ids that were acknowledged, and those refused with the CRM's reason.

    ``unreadable``: the CRM refused a request with a single record as a whole.
    """

    acknowledged: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class _Pending:
    """Records to send again, why, and after how many seconds if the CRM says so."""

    records: Sequence[CrmRecord]
    why: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivers batches to ``crm`` over ``send``."""

    crm: CrmAdapter
    send: Send
    patience: RetryPolicy

    def __call__(self, records: Sequence[CrmRecord]) -> Iterator[DeliveryProgress]:
        """Send records until each is acknowledged or refused. Raises PushStopped if that cannot succeed."""
        failures, remaining = 0, _Pending(records)
        while remaining.records:
            response = self._attempt(remaining.records)
            if isinstance(response, Response) and self._is_unfit(response):
                yield from self._halve(remaining.records, response)
                return
            progress, remaining = self._settle(remaining.records, response)
            yield progress
            failures = 0 if progress.acknowledged or progress.refused else failures + 1
            if remaining.records:
                self.patience.wait(failures, remaining.seconds, remaining.why)

    def _attempt(self, records: Sequence[CrmRecord]) -> Response | UnreachableError:
        try:
            return self.send(self.crm.request(records))
        except UnsendableRecordError as error:
            return Response(HTTPStatus.UNPROCESSABLE_ENTITY, {}, json.dumps({"message": str(error)}).encode())
        except UnreachableError as error:
            return error

    def _is_unfit(self, response: Response) -> bool:
        return response.status in _UNFIT or self.crm.is_about_record(response)

    def _halve(self, records: Sequence[CrmRecord], response: Response) -> Iterator[DeliveryProgress]:
        if len(records) == 1:
            yield DeliveryProgress(refused=((records[0].lead_id, reason_in(response.body)),), unreadable=True)
            return
        half = len(records) // 2
        yield from self(records[:half])
        yield from self(records[half:])

    def _settle(
        self, records: Sequence[CrmRecord], response: Response | UnreachableError
    ) -> tuple[DeliveryProgress, _Pending]:
        if isinstance(response, UnreachableError):
            return DeliveryProgress(), _Pending(records, str(response))
        if response.status in TRANSIENT:
            why = f"the CRM answered {response.status}: {reason_in(response.body)}"
            return DeliveryProgress(), _Pending(records, why, retry_after(response))
        _require_success(response)
        return _split_answers(list(zip(records, self.crm.answers(records, response), strict=True)))


def _split_answers(
    answered: Sequence[tuple[CrmRecord, Accepted | Rejected | RetryLater]],
) -> tuple[DeliveryProgress, _Pending]:
    acknowledged = tuple(record.lead_id for record, answer in answered if isinstance(answer, Accepted))
    refused = tuple(
        (record.lead_id, answer.reason) for record, answer in answered if isinstance(answer, Rejected)
    )
    later = [(record, answer.seconds) for record, answer in answered if isinstance(answer, RetryLater)]
    seconds = max((wait for _, wait in later if wait is not None), default=None)
    why = f"the CRM asks to send {len(later)} records again"
    return DeliveryProgress(acknowledged, refused), _Pending([record for record, _ in later], why, seconds)


def _require_success(response: Response) -> None:
    if response.status // 100 == 2:  # noqa: PLR2004  # 2xx is success
        return
    if "location" in response.headers:
        location = response.headers["location"]
        msg = f"the CRM answered {response.status} and points to {location}; is --url right?"
        raise PushStopped(msg)
    msg = f"{_ADVICE.get(response.status, '')}the CRM answered {response.status}: {reason_in(response.body)}"
    raise PushStopped(msg)
