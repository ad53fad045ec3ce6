"""Events of the lead store as plain values; no database library is imported for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

EventKind = Literal["lead", "touchpoint", "transition", "attribute", "account", "merge", "consent"]
EventStatus = Literal["accepted", "duplicate", "key_conflict", "forgotten"]
BY_REST, FROM_TABLES = 0, 1
# 1900-01-02: when a row of accounts is known that names no time.
ALWAYS_KNOWN = -2_208_902_400
REFUSED, CONSENTED = '{"consent":false}', '{"consent":true}'


class EventRow(NamedTuple):
    """An event as the store holds it, see ``serving.decision_log.tables``.

    Attributes:
        event_id: The CRM's own id of it, or a hash of its content.
        kind: What it tells of.
        subject: The lead, or the account.
        other: Of a lead its account, of a merge the lead that it was merged into.
        occurred_at: When it happened, of a lead when it was created, in epoch seconds.
        known_at: When the CRM learned of it, in epoch seconds.
        content: All else as a JSON object, its keys in one order, so that equal contents are equal texts.
    """

    event_id: str
    kind: EventKind
    subject: str
    other: str | None
    occurred_at: int | None
    known_at: int
    content: str

    @property
    def values(self) -> tuple[Any, ...]:
        """All that tells it from another event."""
        return self[1:]

    @property
    def lead_ids(self) -> tuple[str, ...]:
        """The leads that it tells of."""
        if self.kind == "account":
            return ()
        return (self.subject, self.other) if self.kind == "merge" and self.other else (self.subject,)


def lead_ids_of(rows: Sequence[EventRow]) -> set[str]:
    """The leads that some events tell of.

    >>> merge = EventRow("1", "merge", "a", "b", None, 7, "{}")
    >>> account = EventRow("2", "account", "c", None, None, 7, "{}")
    >>> sorted(lead_ids_of([merge, account]))
    ['a', 'b']
    """
    # ``lead_ids`` of each would take longer than to sort them.
    ids = {row[2] for row in rows if row[1] != "account"}
    return ids.union(row[3] for row in rows if row[1] == "merge" and row[3])
