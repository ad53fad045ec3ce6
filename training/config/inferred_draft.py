"""Drafts a history of tables whose layout nobody described: what they are is inferred from names and values.

What a table cannot show is not guessed: a stage without a date of its own is no transition, and whatever
could also be otherwise stands as a comment beside the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from features.ingest.near_misses import find_near_misses
from features.ingest.quarantine import SourceError
from features.messages import Message
from features.parsing import has_single_values
from features.word_lists import heading_pattern, match_headings, stage_pattern
from training.config.document_columns import document_attributes
from training.config.file_survey import find_creation_date
from training.config.history_draft import HistoryDraft
from training.config.inferred_events import draft_events
from training.config.inferred_stages import own_transitions
from training.config.late_facts import is_overwritten, is_owner, late_reason
from training.config.recipe import DraftBlock
from training.config.stage_codes import find_stage_codes, name_stages, write_codes
from training.config.table_links import find_join_key, find_leads_table

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from training.config.file_survey import FileProfile

_STAGE_DATE, _REACHED_BY = stage_pattern("date"), heading_pattern("reached_by")
_BIRTH = re.compile(r"birth|geburt|naissance|nacimiento|founded|gegründet", re.IGNORECASE)
_OF_USERS = re.compile(
    r"(created|modified|updated|deleted|erstellt|geändert)[_\s]?(by|von)|list|currency", re.IGNORECASE
)
_DELETED = re.compile(
    r"(^|[_\s])(is[_\s]?)?(deleted|removed|gelöscht|supprimée?|eliminad[oa]|excluíd[oa])$", re.IGNORECASE
)
_ELSEWHERE, _MOST, _ALONE = 0.05, 0.5, 0.95
_MOST_JOINED = 30


def draft_by_inference(profiles: Sequence[FileProfile]) -> HistoryDraft:
    """The draft of a history of tables, as far as names and values tell.

    Raises:
        SourceError: None of the tables is one of leads.
    """
    codes = find_stage_codes(profiles)
    profiles = [name_stages(profile, codes) for profile in profiles]
    leads = find_leads_table(profiles)
    key, created = leads.keys[0], _creation(leads)
    lookups = {each.source for each in codes}
    others = [each for each in profiles if each is not leads and each.name not in lookups]
    places = _place_tables(leads, others)
    own, remarks = own_transitions(leads, key, created)
    accounts = sorted(places.accounts, key=lambda each: -each.profile.frame.height)
    company = accounts[0].column if accounts else _company_id(leads, {key, created})
    companies = [
        DraftBlock("accounts", each.profile.table, {"columns": {"account_id": each.key}})
        for each in accounts[:1]
    ]
    further = [
        f"{each.profile.name} says more of {each.column!r}; to use it, join it to the leads: accounts are "
        "one table only"
        for each in accounts[1:]
    ]
    own_leads = _leads_block(leads, key, created, company, places.joined)
    blocks = [own_leads, *companies, *places.events, *own]
    for profile in profiles:
        for block in blocks:
            if block.table is profile.table:
                write_codes(block, profile.name, codes)
    return HistoryDraft(_title(profiles), blocks, aside=[*places.aside, *further, *remarks])


@dataclass(frozen=True, slots=True)
class _Linked:
    """A table that says more of leads: its key, and the column of leads that holds it."""

    profile: FileProfile
    key: str
    column: str


@dataclass(frozen=True, slots=True)
class _Places:
    """What the tables beside that of leads are: events, companies, more of each lead, or left out and why."""

    events: list[DraftBlock] = field(default_factory=list)
    accounts: list[_Linked] = field(default_factory=list)
    joined: list[_Linked] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)


def _place_tables(leads: FileProfile, others: Sequence[FileProfile]) -> _Places:
    places = _Places()
    for other in others:
        shared = find_join_key(leads, other)
        if shared is not None and other.dates and not _is_named_by(leads, other, shared):
            blocks, remarks = draft_events(leads, other, shared)
            places.events.extend(blocks)
            places.aside.extend(remarks)
        elif (link := find_join_key(other, leads)) is None:
            apart = _why_apart(leads, other) + _linked_by(leads, other, [leads, *others])
            places.aside.append(f"{other.name} is left out: {apart}")
        elif _is_of_one_lead(leads, link[1]) and leads.table.neighbours == other.table.neighbours:
            places.joined.append(_Linked(other, *link))
        elif _names_accounts(link[1]):
            places.accounts.append(_Linked(other, *link))
        else:
            places.aside.append(f"{other.name} says more of {link[1]!r}; to use it, join it to the leads")
    return places


def _is_named_by(leads: FileProfile, other: FileProfile, shared: tuple[str, str]) -> bool:
    """Whether leads name the rows of a table by its key, as a deal its contact: such rows are no events."""
    key, column = shared
    is_key = column in other.keys[:1] and not _REACHED_BY.search(column)
    return is_key and key != leads.keys[0]


def _leads_block(
    leads: FileProfile, key: str, created: str, company: str | None, joined: Sequence[_Linked]
) -> DraftBlock:
    """The table of leads with its columns of the contract, deleted rows, and what lies inside of JSON."""
    account = {} if company is None else {"account_id": company}
    keys: dict[str, Any] = {"columns": {"lead_id": key, "created_at": created} | account}
    deleted = next((name for name in leads.low_cardinality if _DELETED.search(name)), None)
    if deleted is not None:
        keys["deleted"] = deleted
    attributes = document_attributes(leads)
    for each in joined:
        keys.setdefault("join", []).append({"table": each.profile.table.name, "on": {each.column: each.key}})
        attributes |= _joined_attributes(leads, each)
    if attributes:
        keys["attributes"] = attributes
    block = DraftBlock("leads", leads.table, keys)
    block.says = [
        f"{each.profile.name} says more of {each.column!r}, and each of its rows of one lead alone."
        for each in joined
    ]
    block.unsure = _other_creation_dates(leads, created)
    return block


def _is_of_one_lead(leads: FileProfile, column: str) -> bool:
    """Whether a column of leads names something else for each, as a deal its own contact."""
    known = leads.frame[column].drop_nulls()
    return known.n_unique() >= _ALONE * max(len(known), 1)


def _joined_attributes(leads: FileProfile, each: _Linked) -> dict[str, str]:
    """By name, the columns of a further table that may be attributes of leads."""
    taken = {*leads.frame.columns, each.key}
    roles = [role for role in each.profile.roles if role.used and role.column not in taken]
    return {
        role.column: f"{each.profile.table.name}.{role.column}"
        for role in roles[:_MOST_JOINED]
        if not late_reason(role.column)
    }


def _names_accounts(column: str) -> bool:
    """Whether a column of leads may name companies; users, campaigns, sources and stages are none."""
    others = heading_pattern("channel", "stage", "status", "kind")
    return not (is_owner(column) or _OF_USERS.search(column) or others.search(column))


def _why_apart(leads: FileProfile, other: FileProfile) -> str:
    """Why a table has nothing to do with the leads: its ids are spelled otherwise, or it has none."""
    known = leads.frame[leads.keys[0]].cast(pl.String)
    for name in _single_valued(other) if other.dates else ():
        if name in other.keys[:1]:
            continue
        ids = other.frame[name].cast(pl.String, strict=False).drop_nulls().unique()
        near = find_near_misses(ids, known) if re.search(r"id$", name, re.IGNORECASE) else pl.DataFrame()
        if near.height > _MOST * len(ids):
            spelling = Message(f"spelling.{near['spelling'][0]}")
            return (
                f"its {name!r} holds ids of {leads.name} in another spelling ({spelling}, as "
                f"{near['id'][0]!r} for {near['known'][0]!r}); export both alike"
            )
    return f"none of its columns holds ids of {leads.name}"


def _single_valued(profile: FileProfile) -> list[str]:
    return [name for name, dtype in profile.frame.schema.items() if has_single_values(dtype)]


def _company_id(leads: FileProfile, taken: Collection[str]) -> str | None:
    """The column of leads that is called like the id of a company, where companies have several leads."""
    free = [name for name in leads.frame.columns if name not in taken]
    company = match_headings(free, ["account_id"]).get("account_id")
    if company is None:
        return None
    known = leads.frame[company].drop_nulls()
    return company if 1 < known.n_unique() < len(known) else None


def _linked_by(leads: FileProfile, other: FileProfile, profiles: Sequence[FileProfile]) -> str:
    """How to reach the leads of a table by way of another one with the ids of both; empty without one."""
    for link in profiles if other.dates else ():
        if link in (leads, other):
            continue
        to_leads, to_other = find_join_key(leads, link), find_join_key(other, link)
        if to_leads is not None and to_other is not None:
            join = f'join = [{{ table = "{other.table.name}", on = {{ {to_other[1]} = "{to_other[0]}" }} }}]'
            return (
                f", but {link.name} holds the ids of both; describe it with table = {link.table.name!r}, "
                f"lead_id = {to_leads[1]!r} and {join}"
            )
    return ""


def _title(profiles: Sequence[FileProfile]) -> str:
    return ", ".join(profile.name for profile in profiles)


def _creation(leads: FileProfile) -> str:
    dates = [name for name in leads.dates if not is_overwritten(name) and not _BIRTH.search(name)]
    named = match_headings(dates, ["created_at"]).get("created_at")
    is_filled = named is not None and leads.frame[named].null_count() <= _ELSEWHERE * leads.frame.height
    created = named if is_filled else find_creation_date(dates or leads.dates, leads)
    if created is None:
        msg = f"{leads.name} has no date column that says when a lead was created"
        raise SourceError(msg)
    return created


def _other_creation_dates(leads: FileProfile, created: str) -> list[str]:
    full = [
        name
        for name in leads.dates
        if name != created
        and not is_overwritten(name)
        and leads.frame[name].null_count() == 0
        and not _STAGE_DATE.search(name)
    ]
    return [f"created_at could also be {name!r}: it is filled in every row, too" for name in full]
