"""Reads leads out of their events: what the CRM knew of each, its colleagues included, just before a moment.

One query reads the events of all leads of a request, one what points at them (colleagues and merges), and one
the events of those; none asks for a lead alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping  # noqa: TC003 - the types of a named tuple are read at run time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json, to_json

from features.parsing import as_category
from features.point_in_time import is_visible
from serving.decision_log.database import ListStatement
from serving.lead_store.merged_events import share_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    Event = dict[str, Any]

# Later than any time of the contract: whatever is known, planned or not.
ALL = 2**62
KINDS_OF_COLLEAGUES = ("touchpoint", "transition")
_KINDS_OF_EVENTS = (*KINDS_OF_COLLEAGUES, "attribute")
_COLUMNS = "kind, subject, other, occurred_at, known_at, content, removed_at, event_id"
_OF_SUBJECTS = ListStatement(f"SELECT {_COLUMNS} FROM lead_events WHERE tenant = ? AND subject IN {{values}}")  # noqa: S608
# The same without the kinds of which a lead has many.
OTHER_THAN_EVENTS = ListStatement(
    f"SELECT {_COLUMNS} FROM lead_events WHERE tenant = ? AND kind NOT IN {KINDS_OF_COLLEAGUES} "  # noqa: S608
    "AND subject IN {values}"
)
_POINTING_AT = ListStatement(
    "SELECT DISTINCT kind, subject FROM lead_events WHERE tenant = ? AND other IN {values}"
)


class Version(NamedTuple):
    """A lead or an account as a row of the CRM had it, from ``known_at`` on."""

    known_at: int
    event_id: str
    removed_at: int | None
    created_at: int
    account_id: str | None
    attributes: Mapping[str, Any]


class Merge(NamedTuple):
    """A lead that was merged into another one."""

    lead_id: str
    merged_into: str
    known_at: int
    removed_at: int | None


@dataclass(frozen=True, slots=True)
class StoredLead:
    """What was known of a lead just before a moment.

    Attributes:
        lead_id: The lead.
        created_at: When it came to be, in epoch seconds.
        known_at: When the CRM learned of it; None for when it was created.
        attributes: Its rows, the oldest first: when each was known, and its plain attributes.
        account_attributes: The plain attributes of its account.
        events: By kind (touchpoint, transition, attribute), its events as the contract has them.
        colleagues: By kind, the events of its colleagues, each with who it was (``colleague``).
        account_id: Its account; None without one.
    """

    lead_id: str
    created_at: int
    known_at: int | None
    attributes: Sequence[tuple[int, Mapping[str, Any]]]
    account_attributes: Mapping[str, Any]
    events: Mapping[str, Sequence[Event]]
    colleagues: Mapping[str, Sequence[Event]]
    account_id: str | None = None


@dataclass
class StoredRows:
    """The events of some leads and of all whom they depend on, as they were read.

    ``members`` are by account the leads that were ever of it, ``consenting`` those that said that they may be
    profiled. ``is_changeless`` says that no row of a lead or an account replaced another one, and none was
    removed.
    """

    versions: dict[str, list[Version]] = field(default_factory=lambda: defaultdict(list))
    accounts: dict[str, list[Version]] = field(default_factory=lambda: defaultdict(list))
    members: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    merges: list[Merge] = field(default_factory=list)
    consenting: set[str] = field(default_factory=set)
    events: dict[str, dict[str, list[Event]]] = field(
        default_factory=lambda: {kind: defaultdict(list) for kind in _KINDS_OF_EVENTS}
    )
    is_changeless: bool = True

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows with ``_COLUMNS``."""
        contents = from_json("[" + ",".join([row[5] for row in rows]) + "]")
        for (kind, subject, other, occurred_at, known_at, _, removed_at, event_id), content in zip(
            rows, contents, strict=True
        ):
            if removed_at is not None:
                self.is_changeless = False
                content["removed_at"] = removed_at
            if kind in self.events:
                content["known_at"] = known_at
                if occurred_at is not None:
                    content["occurred_at"] = occurred_at
                self.events[kind][subject].append(content)
            elif kind == "merge":
                self.merges.append(Merge(subject, other, known_at, removed_at))
            elif kind == "consent" and content.get("consent"):
                self.consenting.add(subject)
            elif kind in {"lead", "account"}:
                self._add_version(
                    kind, subject, Version(known_at, event_id, removed_at, occurred_at, other, content)
                )

    def _add_version(self, kind: str, subject: str, version: Version) -> None:
        versions = (self.versions if kind == "lead" else self.accounts)[subject]
        self.is_changeless = self.is_changeless and not versions
        versions.append(version)
        if version.account_id is not None:
            self.members[version.account_id].add(subject)

    def has(self, lead_id: str) -> bool:
        """Whether there is a row of a lead that is not removed."""
        return bool(_present(self.versions.get(lead_id, ()), ALL))

    def lead(self, lead_id: str, as_of: int = ALL) -> StoredLead | None:
        """A lead as it was known before ``as_of`` (epoch seconds); None where it is none, or none any more.

        Of a lead that is known later than that its oldest row counts, as a table would have it.
        """
        alone = self.lead_alone(lead_id, as_of)
        if alone is None:
            return None
        colleagues = sorted(self._colleagues(lead_id, alone.account_id, as_of))
        events = self._events_of([lead_id, *colleagues], as_of)
        return replace(
            alone,
            events={kind: events[kind].get(lead_id, ()) for kind in _KINDS_OF_EVENTS},
            colleagues={
                kind: [
                    event | {"colleague": colleague}
                    for colleague in colleagues
                    for event in events[kind].get(colleague, ())
                ]
                for kind in KINDS_OF_COLLEAGUES
            },
        )

    def lead_alone(self, lead_id: str, as_of: int) -> StoredLead | None:
        """The same without touchpoints, transitions, colleagues, and what merges bring it."""
        versions = _present(self.versions.get(lead_id, ()), as_of)
        current = _current(versions, as_of)
        if current is None:
            return None
        first = versions[0].known_at
        account = _current(_present(self.accounts.get(current.account_id or "", ()), as_of), as_of)
        changes = self.events["attribute"].get(lead_id, ())
        if not self.is_changeless:
            changes = [each for each in changes if not _is_removed(each.get("removed_at"), as_of)]
        return StoredLead(
            lead_id,
            current.created_at,
            None if first <= current.created_at else first,
            [(each.known_at, each.attributes) for each in versions[: versions.index(current) + 1]],
            {} if account is None else account.attributes,
            {"attribute": changes},
            {},
            current.account_id,
        )

    def account_of(self, lead_id: str, as_of: int = ALL) -> str | None:
        """The account of a lead as it was known before ``as_of``; None without one, or without the lead."""
        current = _current(_present(self.versions.get(lead_id, ()), as_of), as_of)
        return None if current is None else current.account_id

    def account_attributes(self, account_id: str, as_of: int = ALL) -> Mapping[str, Any]:
        """The plain attributes of an account as they were known before ``as_of``; none of an unknown one."""
        account = _current(_present(self.accounts.get(account_id, ()), as_of), as_of)
        return {} if account is None else account.attributes

    def _colleagues(self, lead_id: str, account_id: str | None, as_of: int) -> Iterator[str]:
        if account_id is None:
            return
        for member in self.members.get(account_id, ()):
            current = _current(_present(self.versions[member], as_of), as_of)
            if member != lead_id and current is not None and current.account_id == account_id:
                yield member

    def _events_of(self, lead_ids: Sequence[str], as_of: int) -> Mapping[str, Mapping[str, Sequence[Event]]]:
        """The events of leads by kind, those that merges bring them included."""
        if self.is_changeless and not self.merges:
            return self.events
        merges = [each for each in self.merges if not _is_removed(each.removed_at, as_of)]
        component = _component(lead_ids, merges)
        concerned = component.union(lead_ids)
        events = {
            kind: {
                lead_id: [
                    event
                    for event in by_lead.get(lead_id, ())
                    if not _is_removed(event.get("removed_at"), as_of)
                ]
                for lead_id in concerned
            }
            for kind, by_lead in self.events.items()
        }
        if not component:
            return events
        own = {kind: {lead: rows[lead] for lead in component} for kind, rows in events.items()}
        own["attribute"] = {lead: list(map(_with_text, rows)) for lead, rows in own["attribute"].items()}
        leads = {lead for lead in component if _present(self.versions.get(lead, ()), as_of)}
        pairs = [each[:3] for each in merges if each.lead_id in component]
        merged = share_events(own, pairs, leads)
        merged["attribute"] = {
            lead: list(map(_without_text, rows)) for lead, rows in merged["attribute"].items()
        }
        return {kind: events[kind] | merged[kind] for kind in _KINDS_OF_EVENTS}


def _with_text(change: Event) -> Event:
    """The change of an attribute with its value as text: None where it is none, as a table would have it."""
    value = change.get("value")
    is_none = value is None or (isinstance(value, str) and as_category(value) is None)
    cell = {name: change[name] for name in ("value", "number") if name in change}
    return change | {"value": None if is_none else to_json(cell).decode()}


def _without_text(change: Event) -> Event:
    text = change["value"]
    return change | ({"value": None} if text is None else from_json(text))


def _component(lead_ids: Iterable[str], merges: Sequence[Merge]) -> set[str]:
    """The leads that take part in merges with any of ``lead_ids``, by however many steps."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for loser, survivor, *_ in merges:
        neighbours[loser].add(survivor)
        neighbours[survivor].add(loser)
    component: set[str] = set()
    waiting = [each for each in lead_ids if each in neighbours]
    while waiting:
        each = waiting.pop()
        if each not in component:
            component.add(each)
            waiting += neighbours[each]
    return component


def _is_removed(removed_at: int | None, as_of: int) -> bool:
    return removed_at is not None and is_visible(removed_at, removed_at, as_of)


def _present(versions: Sequence[Version], as_of: int) -> Sequence[Version]:
    """The rows that are not removed by then, the oldest first."""
    if not versions or (len(versions) == 1 and versions[0].removed_at is None):
        return versions
    return sorted(each for each in versions if not _is_removed(each.removed_at, as_of))


def _current(versions: Sequence[Version], as_of: int) -> Version | None:
    """The newest row known before ``as_of``; the oldest where all are known later."""
    if len(versions) <= 1:
        return versions[0] if versions else None
    known = [each for each in versions if is_visible(each.known_at, each.known_at, as_of)]
    return known[-1] if known else versions[0]


def read_stored_leads(connection: Connection, lead_ids: Iterable[str], tenant: str) -> StoredRows:
    """The events of leads, of their accounts and colleagues, and of whoever was merged with any of them.

    Args:
        connection: A connection to the store.
        lead_ids: The leads; what is not known is left out.
        tenant: Whose they are.

    Returns:
        All that the leads are read out of, at whatever moment.
    """
    rows = StoredRows()

    def read(leads: set[str], accounts: set[str]) -> None:
        rows.add(rows_of(_OF_SUBJECTS, connection, tenant, leads, accounts))

    read_rows_around(connection, lead_ids, tenant, rows, read)
    return rows


def rows_of(
    statement: ListStatement, connection: Connection, tenant: str, leads: set[str], accounts: set[str]
) -> list[tuple[Any, ...]]:
    """The rows of a statement about subjects that are of some leads or some accounts; ids may be the same."""
    rows = statement.rows(connection, tenant, among=leads | accounts)
    return [row for row in rows if row[1] in (accounts if row[0] == "account" else leads)]


def read_rows_around(
    connection: Connection,
    lead_ids: Iterable[str],
    tenant: str,
    rows: StoredRows,
    read: Callable[[set[str], set[str]], object],
) -> None:
    """Read what ``read_stored_leads`` reads.

    ``read`` is called with leads and accounts, and adds their rows; leads and merges to ``rows``.
    """
    known, wanted = set[str](), set(lead_ids)
    read(wanted, set())
    accounts = {
        each.account_id
        for versions in rows.versions.values()
        for each in versions
        if each.account_id is not None
    }
    # Of the leads of an account their own accounts are not asked for: they may have had others before.
    pointed_at, account_rows = wanted | accounts, accounts
    while wanted:
        known |= wanted
        linked = {
            subject
            for kind, subject in _POINTING_AT.rows(connection, tenant, among=pointed_at)
            if kind == "merge" or (kind == "lead" and account_rows)
        }
        wanted = (linked | {merge.merged_into for merge in rows.merges}) - known
        if wanted or account_rows:
            read(wanted, account_rows)
        pointed_at, account_rows = wanted, set()


_MEMBERS = ListStatement(
    "SELECT DISTINCT subject FROM lead_events WHERE tenant = ? AND kind = 'lead' AND other IN {values}"
)
_OF_ACCOUNTS = ListStatement(
    f"SELECT {_COLUMNS} FROM lead_events WHERE tenant = ? AND kind = 'account' AND subject IN {{values}}"  # noqa: S608
)


def read_account_members(connection: Connection, account_id: str, tenant: str) -> list[str]:
    """The leads that were ever of an account, by their ids."""
    return sorted(subject for (subject,) in _MEMBERS.rows(connection, tenant, among=[account_id]))


def read_account_rows(
    connection: Connection, account_ids: Iterable[str], tenant: str
) -> Sequence[tuple[Any, ...]]:
    """The rows of accounts themselves, without their leads, as ``StoredRows.add`` takes them."""
    return _OF_ACCOUNTS.rows(connection, tenant, among=account_ids)


_ACCOUNTS_OF = ListStatement(
    "SELECT DISTINCT other FROM lead_events WHERE tenant = ? AND kind = 'lead' AND other IS NOT NULL "
    "AND subject IN {values}"
)
_MEMBERS_OF = ListStatement(
    "SELECT DISTINCT other, subject FROM lead_events WHERE tenant = ? AND kind = 'lead' AND other IN {values}"
)
_MERGED_FROM = ListStatement(
    "SELECT subject, other FROM lead_events WHERE tenant = ? AND kind = 'merge' AND subject IN {values}"
)
_MERGED_INTO = ListStatement(
    "SELECT subject, other FROM lead_events WHERE tenant = ? AND kind = 'merge' AND other IN {values}"
)
# Of a larger account one lead moves the others' features by little, and they are scored anew every day.
MOST_COLLEAGUES = 1_000


def find_concerned_leads(
    connection: Connection, lead_ids: Iterable[str], account_ids: Iterable[str], tenant: str
) -> set[str]:
    """All leads whose scores count what is known of some leads, or of some accounts.

    Args:
        connection: A connection to the store.
        lead_ids: The leads of which something was added or removed.
        account_ids: The accounts of which something was.
        tenant: Whose they are.

    Returns:
        The leads, whoever they were merged with, and all that were ever of an account of any of these, unless
        the account has more than ``MOST_COLLEAGUES`` leads.
    """
    concerned, fresh = set[str](), set(lead_ids)
    while fresh:
        concerned |= fresh
        pairs = (
            pair
            for statement in (_MERGED_FROM, _MERGED_INTO)
            for pair in statement.rows(connection, tenant, among=fresh)
        )
        fresh = {each for pair in pairs for each in pair} - concerned
    accounts = (
        {row[0] for row in _ACCOUNTS_OF.rows(connection, tenant, among=concerned)} if concerned else set()
    )
    members: dict[str, set[str]] = defaultdict(set)
    for account_id, lead_id in _MEMBERS_OF.rows(connection, tenant, among=accounts.union(account_ids)):
        members[account_id].add(lead_id)
    return concerned.union(*(each for each in members.values() if len(each) <= MOST_COLLEAGUES))


# For so many unknown ids of a request similar ones are looked for.
_MAX_SIMILAR = 20
_ARE_LEADS = ListStatement(
    "SELECT DISTINCT subject FROM lead_events WHERE tenant = ? AND kind = 'lead' AND subject IN {values}"
)


def find_similar_ids(connection: Connection, unknown: Sequence[str], tenant: str) -> dict[str, str]:
    """For unknown ids, the id of a lead that is spelled nearly so, as spreadsheets change them."""
    spellings = {each: _spellings(each) for each in unknown[:_MAX_SIMILAR]}
    known = {
        row[0]
        for row in _ARE_LEADS.rows(
            connection, tenant, among={other for others in spellings.values() for other in others}
        )
    }
    near = (
        (each, next((other for other in others if other in known), None))
        for each, others in spellings.items()
    )
    return {each: other for each, other in near if other is not None}


def _spellings(lead_id: str) -> list[str]:
    """How an id may have been spelled before blanks, capitals, leading zeros or a fraction were changed."""
    bare = "".join(lead_id.split()).removesuffix(".0").removesuffix(",0")
    digits = bare.lstrip("0") or "0"
    padded = (
        [digits.zfill(width) for width in range(len(digits), _LONGEST_NUMBER)] if digits.isdigit() else []
    )
    plain = [bare, bare.lower(), bare.upper(), bare.capitalize(), bare[:_SALESFORCE], digits, *padded]
    return [each for each in dict.fromkeys(plain) if each not in {"", lead_id}]


# The longest numbers that are padded with zeros, and the ids of Salesforce without the three characters more.
_LONGEST_NUMBER, _SALESFORCE = 12, 15
