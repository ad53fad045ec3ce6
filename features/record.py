"""One lead as plain Python values, and the way between such records and the frames of a LeadHistory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, overload

import polars as pl

from features.history import (
    ACCOUNT_PREFIX,
    ATTRIBUTE_SCHEMA,
    LEAD_KNOWN_AT,
    LEAD_SCHEMA,
    TOUCHPOINT_SCHEMA,
    TRANSITION_SCHEMA,
    LeadHistory,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from features.spec import FeatureSet, Source

Value = float | str | None
_EVENT_SCHEMAS: dict[Source, dict[str, Any]] = {
    "touchpoints": TOUCHPOINT_SCHEMA,
    "transitions": TRANSITION_SCHEMA,
    "attributes": ATTRIBUTE_SCHEMA,
}


@dataclass(frozen=True, slots=True)
class LeadRecord:
    """One lead as plain Python values: what a request holds, or one lead's slice of a history.

    Attributes:
        lead_id: The lead.
        created_at: Epoch seconds.
        attributes: Its plain columns by name, those of its account prefixed ``account.``.
        events: By source, mappings with the columns of that table; events of colleagues also name the
            ``colleague`` whose they are.
        known_at: When the CRM learned of the lead, in epoch seconds. Default: when it was created.
    """

    lead_id: str
    created_at: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: Mapping[Source, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    known_at: int | None = None

    @property
    def last_known_at(self) -> int:
        """The second in which the newest event of the lead, its account included, became known."""
        times: list[int] = [
            max(event.get("occurred_at", event["known_at"]), event["known_at"])
            for rows in self.events.values()
            for event in rows
        ]
        return max([self.created_at, self.known_at or self.created_at, *times])


def to_records(history: LeadHistory) -> Iterator[LeadRecord]:
    """Turn a history into records, for scoring single leads.

    Args:
        history: A history in Polars frames.

    Yields:
        Each lead with its own events and those of its colleagues, in the order of ``history.leads``.
    """
    tables = {source: _rows_by_lead(getattr(history, source)) for source in _EVENT_SCHEMAS}
    accounts = {row.pop("account_id"): row for row in history.accounts.to_dicts()}
    members: dict[str, list[str]] = {}
    leads = history.leads.to_dicts()
    for lead in leads:
        if lead["account_id"] is not None:
            members.setdefault(lead["account_id"], []).append(lead["lead_id"])
    events = {
        account: {source: _AccountEvents(tables[own], ids) for source, own in _ACCOUNT_SOURCES.items()}
        for account, ids in members.items()
    }
    nobody = dict.fromkeys(_ACCOUNT_SOURCES, _AccountEvents({}, ()))
    for lead in leads:
        lead_id, account, known_at = (
            lead.pop("lead_id"),
            lead.pop("account_id"),
            lead.pop(LEAD_KNOWN_AT, None),
        )
        account_values = {ACCOUNT_PREFIX + name: value for name, value in accounts.get(account, {}).items()}
        yield LeadRecord(
            lead_id,
            lead.pop("created_at"),
            lead | account_values,
            {source: rows.get(lead_id, []) for source, rows in tables.items()}
            | {source: rows.without(lead_id) for source, rows in events.get(account, nobody).items()},
            known_at,
        )


def _rows_by_lead(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    return {
        str(key): rows.to_dicts()
        for (key,), rows in frame.partition_by("lead_id", as_dict=True, include_key=False).items()
    }


class _AccountEvents:
    """The events of an account, one lead after the other, each naming the lead as ``colleague``."""

    def __init__(self, rows: Mapping[str, list[dict[str, Any]]], members: Sequence[str]) -> None:
        self._rows: list[dict[str, Any]] = []
        self._own: dict[str, range] = {}
        for member in members:
            start = len(self._rows)
            self._rows += [row | {"colleague": member} for row in rows.get(member, ())]
            self._own[member] = range(start, len(self._rows))

    def without(self, lead_id: str) -> Sequence[dict[str, Any]]:
        """Those of the other leads; a view, for a copy a lead would cost the square of the account."""
        return _AllBut(self._rows, self._own.get(lead_id, range(0)))


class _AllBut(Sequence[dict[str, Any]]):
    """A list without the rows of a range of places."""

    __slots__ = ("_hidden", "_rows")

    def __init__(self, rows: list[dict[str, Any]], hidden: range) -> None:
        self._rows, self._hidden = rows, hidden

    def __len__(self) -> int:
        return len(self._rows) - len(self._hidden)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, slice):
            return list(self)[place]
        place = range(len(self))[place]
        return self._rows[place if place < self._hidden.start else place + len(self._hidden)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        hidden = self._hidden
        return chain(islice(self._rows, hidden.start), islice(self._rows, hidden.stop, None))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


_ACCOUNT_SOURCES: dict[Source, Source] = {
    "account_touchpoints": "touchpoints",
    "account_transitions": "transitions",
}


def from_records(leads: Sequence[LeadRecord], features: FeatureSet) -> LeadHistory:
    """Join records into one history, for scoring many at once.

    Lead ``i`` is called ``str(i)``, so that a lead may be in a request twice. Colleagues that a record brings
    along become leads of the same account, called ``"i:colleague"``.

    Args:
        leads: The leads to join.
        features: The columns they will be scored by: their plain attributes become columns of ``leads``, null
            where a record lacks one.

    Returns:
        The history; it was observed until one second after the newest event.
    """
    columns: dict[str, Any] = {
        str(spec.of): pl.String if spec.is_category else pl.Float64
        for spec in features.specs
        if spec.reduce == "value"
    }
    rows = [_lead_row(str(i), lead, columns) for i, lead in enumerate(leads)]
    colleagues = [
        {"lead_id": f"{i}:{colleague}", "created_at": lead.created_at, "account_id": str(i)}
        for i, lead in enumerate(leads)
        for colleague in _colleague_ids(lead)
    ]
    return LeadHistory(
        leads=pl.DataFrame(rows + colleagues, schema=LEAD_SCHEMA | _known_schema(leads) | columns),
        touchpoints=_event_frame(leads, "touchpoints"),
        transitions=_event_frame(leads, "transitions"),
        attributes=_event_frame(leads, "attributes"),
        observed_until=max((lead.last_known_at for lead in leads), default=0) + 1,
    )


def _known_schema(leads: Sequence[LeadRecord]) -> dict[str, Any]:
    """The column of when leads became known, where any did later than it was created."""
    return {LEAD_KNOWN_AT: pl.Int64} if any(lead.known_at is not None for lead in leads) else {}


def _lead_row(name: str, lead: LeadRecord, columns: Iterable[str]) -> dict[str, Value]:
    identity: dict[str, Value] = {"lead_id": name, "created_at": lead.created_at, "account_id": name}
    if lead.known_at is not None:
        identity[LEAD_KNOWN_AT] = lead.known_at
    return identity | {column: lead.attributes.get(column) for column in columns}


def _colleague_ids(lead: LeadRecord) -> list[str]:
    colleagues = {
        row["colleague"]: None for source in _ACCOUNT_SOURCES for row in lead.events.get(source, ())
    }
    return list(colleagues)


def _event_frame(leads: Sequence[LeadRecord], source: Source) -> pl.DataFrame:
    schema = _EVENT_SCHEMAS[source]
    rows = [
        {"lead_id": str(i)} | {name: event.get(name) for name in schema if name != "lead_id"}
        for i, lead in enumerate(leads)
        for event in lead.events.get(source, ())
    ]
    colleague_rows = [
        {"lead_id": f"{i}:{event['colleague']}"}
        | {name: event.get(name) for name in schema if name != "lead_id"}
        for i, lead in enumerate(leads)
        for event in lead.events.get(_ACCOUNT_SOURCE_OF.get(source, source), ())
        if source in _ACCOUNT_SOURCE_OF
    ]
    return pl.DataFrame(rows + colleague_rows, schema=schema)


_ACCOUNT_SOURCE_OF: dict[Source, Source] = {own: account for account, own in _ACCOUNT_SOURCES.items()}
