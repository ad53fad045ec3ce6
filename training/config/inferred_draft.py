"""Drafts a history of tables whose layout nobody described: what they are is inferred from names and values.

What a table cannot show is not guessed: a stage without a date of its own is no transition, and whatever
could also be otherwise stands as a comment beside the line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from features.clock import DAY
from features.history import TOUCHPOINT_SCHEMA
from features.ingest.near_misses import find_near_misses
from features.ingest.outcome_column import won_and_lost_stages
from features.ingest.quarantine import SourceError
from features.ingest.timestamps import parse_known_times
from features.messages import Message
from features.word_lists import bare_heading, heading_pattern, match_headings, stage_pattern
from training.config.file_survey import find_creation_date
from training.config.history_draft import HistoryDraft
from training.config.late_facts import is_overwritten, is_owner
from training.config.recipe import DraftBlock
from training.config.stage_names import LOST, find_success, holds_both_ends
from training.config.table_links import find_join_key, find_leads_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.config.file_survey import FileProfile

_STAGE, _STATUS, _KIND, _ID = map(heading_pattern, ("stage", "status", "kind", "id"))
_FURTHER = ("channel", "campaign", "offer")
_SUFFIX = re.compile(
    r"([_\s-]+|(?<=[a-zß-ÿ])(?=[A-Z]))(date([_\s-]?time)?|at|on|time|timestamp|datum|am|em|el|le)$",
    re.IGNORECASE,
)
_PREFIX = re.compile(
    r"^(became an?|date entered|entered|date of|day of|datum (der|des|vom|von)|date (de la|de|du)|fecha de(l| la)?"
    r"|data (de|da|do))[_\s]+|^date d['’]",
    re.IGNORECASE,
)
_STAGE_DATE = stage_pattern("date")
_TASK_STATUS = frozenset(
    [
        "completed",
        "open",
        "not",
        "started",
        "in",
        "progress",
        "waiting",
        "on",
        "someone",
        "else",
        "deferred",
        "held",
        "not",
        "held",
        "planned",
        "done",
        "cancelled",
        "canceled",
        "scheduled",
        "erledigt",
        "offen",
        "geplant",
        "in",
        "bearbeitung",
        "abgeschlossen",
        "nicht",
        "begonnen",
        "closed",
        "sent",
        "delivered",
    ]
)
_BIRTH = re.compile(r"birth|geburt|naissance|nacimiento|founded|gegründet", re.IGNORECASE)
_FIELD = re.compile(
    r"^(field|property|attribute|feld|primary_?attribute)_?(name|label|key|value)?$|^name$", re.IGNORECASE
)
_NEW_VALUE = re.compile(r"^(new|after|post|neuer)_?(value|wert)(_?string|_?text)?$|^value$", re.IGNORECASE)
_BEFORE = re.compile(
    r"(^|[_\s])(old|previous|prev|prior|from|before|alt|alte|alter|vorher\w*|ancien\w*|anterior)([_\s]|$)",
    re.IGNORECASE,
)
_SAME, _ELSEWHERE, _FULL = 0.95, 0.05, 0.999
_MOST = 0.5


def draft_by_inference(profiles: Sequence[FileProfile]) -> HistoryDraft:
    """The draft of a history of tables, as far as names and values tell.

    Raises:
        SourceError: None of the tables is one of leads.
    """
    leads = find_leads_table(profiles)
    key, created = leads.keys[0], _creation(leads)
    draft = HistoryDraft(_title(profiles), [])
    events: list[DraftBlock] = []
    accounts: list[tuple[FileProfile, str, str]] = []
    for other in profiles:
        if other is leads:
            continue
        shared = find_join_key(leads, other)
        if shared is not None and other.dates:
            blocks, remarks = _events(leads, other, shared[1])
            events += blocks
            draft.aside += remarks
        elif (shared := find_join_key(other, leads)) is not None:
            accounts.append((other, *shared))
        else:
            draft.aside.append(f"{other.name} is left out: {_why_apart(leads, other)}")
    accounts.sort(key=lambda each: -each[0].frame.height)
    draft.aside += [
        f"{other.name} says more of {column!r}; to use it, join it to the leads: accounts are one table only"
        for other, _, column in accounts[1:]
    ]
    own, remarks = _own_transitions(leads, key, created)
    draft.aside += remarks
    account = {"account_id": accounts[0][2]} if accounts else {}
    block = _block("leads", leads, {"columns": {"lead_id": key, "created_at": created} | account})
    block.unsure = _other_creation_dates(leads, created)
    companies = [_block("accounts", other, {"columns": {"account_id": k}}) for other, k, _ in accounts[:1]]
    draft.blocks = [block, *companies, *events, *own]
    return draft


def _why_apart(leads: FileProfile, other: FileProfile) -> str:
    """Why a table has nothing to do with the leads: its ids are spelled otherwise, or it has none."""
    known = leads.frame[leads.keys[0]].cast(pl.String)
    for name in other.frame.columns if other.dates else ():
        ids = other.frame[name].cast(pl.String, strict=False).drop_nulls().unique()
        near = find_near_misses(ids, known) if re.search(r"id$", name, re.IGNORECASE) else pl.DataFrame()
        if near.height > _MOST * len(ids):
            spelling = Message(f"spelling.{near['spelling'][0]}")
            return (
                f"its {name!r} holds ids of {leads.name} in another spelling ({spelling}, as "
                f"{near['id'][0]!r} for {near['known'][0]!r}); export both alike"
            )
    return f"none of its columns holds ids of {leads.name}"


def _title(profiles: Sequence[FileProfile]) -> str:
    return ", ".join(profile.name for profile in profiles)


def _block(section: str, profile: FileProfile, keys: dict[str, Any]) -> DraftBlock:
    return DraftBlock(section, profile.table, keys)


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


@dataclass(frozen=True)
class _Audit:
    """A table of changes of all fields: the column of the field, its value for stages, and the new value."""

    field: str
    value: str
    new: str


def _find_audit(profile: FileProfile) -> _Audit | None:
    columns = profile.frame.columns
    field = next((c for c in columns if _FIELD.search(c) and c in profile.low_cardinality), None)
    new = next((c for c in columns if _NEW_VALUE.search(c) and c != field), None)
    if field is None or new is None:
        return None
    values = [str(v) for v in profile.frame[field].drop_nulls().unique().sort()]
    stages = [v for pattern in (_STAGE, _STATUS) for v in values if pattern.search(v)]
    return _Audit(field, stages[0], new) if stages else None


def _events(leads: FileProfile, other: FileProfile, lead: str) -> tuple[list[DraftBlock], list[str]]:
    """The events that a further table holds, and remarks on what it does not."""
    if not _has_stages_of_today(leads, other, lead):
        return [_event_block(leads, other, lead)], []
    created = find_creation_date((n for n in other.dates if not is_overwritten(n)), other)
    blocks, remarks = _own_transitions(other, lead, created or "")
    if blocks and (also := _also(leads, other, lead)):
        for block in blocks:
            block.keys["also"] = {"leads": also}
    return blocks, remarks


def _words_and_kinds(other: FileProfile, lead: str) -> tuple[list[str], list[str]]:
    """The columns of words of a table of events, and those of them that look like kinds of touchpoint."""
    free = [name for name in other.low_cardinality if name != lead and other.role(name) == "category"]
    words = [name for name in free if not is_owner(name)]
    named = match_headings(words, ["kind"]).values()
    kinds = [name for name in words if _KIND.search(name) and not _STATUS.search(name) and name not in named]
    return words, [*named, *kinds]


def _has_stages_of_today(leads: FileProfile, other: FileProfile, lead: str) -> bool:
    """Whether a table has a row a lead, or a deal, with the stage of today and several dates: no history."""
    ids = other.frame[lead].drop_nulls()
    is_row_a_lead = len(ids) <= _ROWS_A_LEAD * max(ids.n_unique(), 1)
    has_stages = _stage_column(leads, other, *_words_and_kinds(other, lead)) is not None
    return is_row_a_lead and has_stages and len(other.dates) > 1


_ROWS_A_LEAD = 1.1


def _event_block(leads: FileProfile, other: FileProfile, lead: str) -> DraftBlock:
    """The events of a table with a row an event: entries into stages or touchpoints."""
    occurred = find_creation_date((n for n in other.dates if not is_overwritten(n)), other) or next(
        iter(other.dates)
    )
    keys: dict[str, Any] = {"columns": {"lead_id": lead, "occurred_at": occurred}}
    says: list[str] = []
    if also := _also(leads, other, lead):
        keys["also"] = {"leads": also}
        says.append(f"Ids of {lead!r} that are no lead's own are looked for in {also!r} of the leads.")
    block = _block("transitions", other, keys)
    block.says = says
    words, kinds = _words_and_kinds(other, lead)
    stage = _stage_column(leads, other, words, kinds)
    if audit := _find_audit(other):
        keys["where"] = {audit.field: audit.value}
        keys["columns"]["stage"] = audit.new
        block.says.append("One table holds the changes of all fields; only those of the stage are meant.")
    elif stage is not None:
        keys["columns"]["stage"] = stage
    elif lead in other.keys and (name := _stage_of(other, occurred)):
        keys["constants"] = {"stage": name}
        block.says.append("A row says when a lead got there; no date, not yet.")
    else:
        _make_touchpoints(block, other, words, kinds)
    block.unsure += [
        f"occurred_at could also be {name!r}"
        for name in other.dates
        if name != occurred and not is_overwritten(name)
    ]
    return block


def _stage_of(other: FileProfile, occurred: str) -> str | None:
    """The stage that a table with one date a lead is about, by the name of the date or of the table."""
    names = (occurred, other.table.stem)
    return next((stage_name(name) for name in names if _STAGE_DATE.search(name)), None)


def _make_touchpoints(block: DraftBlock, other: FileProfile, words: list[str], kinds: list[str]) -> None:
    block.section = "touchpoints"
    free = [name for name in words if not (_STATUS.search(name) or _STAGE.search(name))]
    candidates = [*kinds, *(name for name in free if name not in kinds)]
    if not candidates:
        block.keys["constants"] = {"kind": other.table.stem}
        return
    columns = block.keys["columns"]
    columns["kind"] = candidates[0]
    free = [name for name in other.frame.columns if name not in columns.values()]
    columns.update((key, name) for key, name in match_headings(free, _FURTHER).items() if key != name)
    block.unsure += [
        f"kind could also be {name!r}"
        for name in candidates[1:]
        if name not in {*TOUCHPOINT_SCHEMA, *columns.values()}
    ]


def _stage_column(
    leads: FileProfile, other: FileProfile, words: Sequence[str], kinds: Sequence[str]
) -> str | None:
    """The column of a table of events that holds stages of leads; statuses of tasks are none."""
    free = [name for name in words if name not in TOUCHPOINT_SCHEMA and not _BEFORE.search(name)]
    free.sort(key=lambda name: _ID.search(name))  # a label says more than its id
    if named := next((name for name in free if _STAGE.search(name)), None):
        return named
    status = next((name for name in free if _STATUS.search(name)), None)
    if status is None:
        return None
    values = {str(v).casefold() for v in other.frame[status].drop_nulls().unique()}
    own = next((n for n in leads.low_cardinality if _STATUS.search(n) or _STAGE.search(n)), None)
    of_leads = (
        {str(v).casefold() for v in leads.frame[own].drop_nulls().unique()} if own is not None else set()
    )
    if len(values & of_leads) > len(values) / 2:
        return status
    tasks = all(set(re.findall(r"\w+", value)) <= _TASK_STATUS for value in values)
    return None if kinds or tasks else status


def _also(leads: FileProfile, other: FileProfile, lead: str) -> str | None:
    """The column of leads that holds most of the ids of events that are no lead's own."""
    key = next(iter(leads.keys))
    ids = other.frame[lead].cast(pl.String).drop_nulls().unique()
    unknown = ids.filter(~ids.is_in(leads.frame[key].cast(pl.String).implode()))
    if len(unknown) < _FEWEST_UNKNOWN:
        return None
    for name in leads.frame.columns:
        if name != key and re.search(r"id$", name, re.IGNORECASE):
            own = leads.frame[name].cast(pl.String).drop_nulls()
            if float(unknown.is_in(own.implode()).mean() or 0) > _MOST:  # type: ignore[arg-type]
                return name
    return None


_FEWEST_UNKNOWN = 5


def stage_name(column: str) -> str:
    """The stage that a column of dates is about.

    >>> stage_name("Became a Marketing Qualified Lead Date"), stage_name("won_at"), stage_name("Ganho em")
    ('Marketing Qualified Lead', 'won', 'Ganho')
    >>> stage_name("Deal - Datum des verlorenen Deals"), stage_name("Affaire - Date de perte")
    ('verlorenen Deals', 'perte')
    """
    return _SUFFIX.sub("", _PREFIX.sub("", bare_heading(column))) or column


def _own_transitions(leads: FileProfile, key: str, created: str) -> tuple[list[DraftBlock], list[str]]:
    """Entries into stages in date columns of the leads' own table, and remarks on its other dates."""
    dates = [n for n in leads.dates if n != created and not is_overwritten(n)]
    blocks, remarks = _status_transitions(leads, key, dates)
    used = {block.keys["columns"]["occurred_at"] for block in blocks}
    wide: dict[str, str] = {}
    for name in (n for n in dates if n not in used):
        why = _no_stage_date(leads, name, created) or _repetition(leads, name, dates)
        if why is None:
            wide[name] = stage_name(name)
        else:
            remarks.append(f"{leads.name}: {name!r} is not taken for the entry into a stage: {why}")
    if wide:
        block = _block("transitions", leads, {"columns": {"lead_id": key}, "stages": wide})
        block.says = ["Each column holds the day on which a lead entered a stage; no date, not yet."]
        blocks.append(block)
    return blocks, remarks


def _status_transitions(
    leads: FileProfile, key: str, dates: Sequence[str]
) -> tuple[list[DraftBlock], list[str]]:
    """Entries into those stages of today that a date is filled for, and a remark on the others."""
    status = _own_status(leads)
    if status is None:
        return [], []
    dated: set[str] = set()
    blocks = []
    general = [name for name in dates if not _PREFIX.search(name)]
    for name in sorted(general, key=lambda n: -_agreement(leads, status, n)[1]):
        new = [v for v in _agreement(leads, status, name)[0] if v not in dated]
        if len(new) == 1 or (new and _are_ends(new)):
            dated.update(new)
            why = f"{name!r} is filled for exactly the leads whose {status!r} is {_named(new)}."
            blocks.append(_status_block(leads, key, (status, name), new, why))
    values = _values(leads, status)
    changed, success = leads.find_change_date(status), find_success(values)
    ends = [v for v in values if v not in dated and (v == success or LOST.search(v))]
    if changed is not None and success in ends:
        why = (
            f"{changed!r} is the day on which a lead entered the stage of today: it dates {_named(ends)}, "
            "after which nothing comes. Of a lead that was in several of them only the last is known."
        )
        blocks.append(_status_block(leads, key, (status, changed), ends, why))
        others = [v for v in values if v not in {*dated, *ends}]
        remark = (
            f"{leads.name}: {changed!r} is overwritten when a lead moves on. Who still has the day of "
            f"{_named(others)} never did, and that is known later only: these are no entries into a stage"
        )
        return blocks, [remark] if others else []
    undated = _named([v for v in values if v not in dated])
    remark = (
        f"{leads.name}: {status!r} is the stage of today, and no column says since when a lead is in "
        f"{undated}: these are no entries into a stage"
    )
    return blocks, [remark] if undated else []


def _named(values: Sequence[str]) -> str:
    return ", ".join(map(repr, values))


def _are_ends(values: Sequence[str]) -> bool:
    """Whether all of several stages are ends, so that one date can be that of each of them."""
    won, lost = won_and_lost_stages(values)
    return all(value == won or value in lost or LOST.search(value) for value in values)


def _own_status(leads: FileProfile) -> str | None:
    """The column of the stage of today: of several the one that says which leads were won and which lost."""
    words = [n for n in leads.low_cardinality if leads.role(n) == "category"]
    named = [n for pattern in (_STAGE, _STATUS) for n in words if pattern.search(n)]
    return next((n for n in named if holds_both_ends(_values(leads, n))), next(iter(named), None))


def _values(leads: FileProfile, status: str) -> list[str]:
    return [str(v) for v in leads.frame[status].drop_nulls().unique().sort()]


def _agreement(leads: FileProfile, status: str, date: str) -> tuple[list[str], float]:
    """The values of a status for exactly whose rows a date is filled, and how far both agree."""
    filled = leads.frame.select(value=pl.col(status).cast(pl.String), filled=pl.col(date).is_not_null())
    shares = filled.drop_nulls("value").group_by("value").agg(pl.col("filled").mean()).sort("value")
    inside = shares.filter(pl.col("filled") >= _SAME)["value"].to_list()
    outside = filled.filter(~pl.col("value").is_in(inside).fill_null(value=False))["filled"]
    if not inside or not len(outside) or float(outside.mean() or 0) > _ELSEWHERE:  # type: ignore[arg-type]
        return [], 0.0
    return inside, 1.0 - float(outside.mean() or 0)  # type: ignore[arg-type]


def _status_block(
    leads: FileProfile, key: str, columns: tuple[str, str], values: list[str], why: str
) -> DraftBlock:
    status, date = columns
    where = {status: values[0] if len(values) == 1 else values}
    block = _block(
        "transitions",
        leads,
        {"where": where, "columns": {"lead_id": key, "occurred_at": date, "stage": status}},
    )
    block.says = [why]
    return block


def _repetition(leads: FileProfile, name: str, dates: Sequence[str]) -> str | None:
    """Why a date is that of no stage of its own: in every row it is one of two others, as a day of closing is."""
    days = {n: parse_known_times(leads.frame[n], leads.dates[n]) // DAY for n in dates}
    own, filled = days.pop(name), leads.frame[name].count()
    same = {n: (own == other).fill_null(value=False) for n, other in days.items()}
    parts = [
        n for n, is_same in same.items() if 0 < is_same.sum() < filled and leads.frame[n].count() < filled
    ]
    repeated = pl.DataFrame([same[n].alias(n) for n in parts])
    if (
        len(parts) < len({"won", "lost"})
        or repeated.select(pl.any_horizontal(pl.all()).sum()).item() < _SAME * filled
    ):
        return None
    return f"its days are those of {_named(parts)}"


def _no_stage_date(leads: FileProfile, name: str, created: str) -> str | None:
    """Why a column of dates of the leads does not look like the entry into a stage; None where it does."""
    column = leads.frame[name]
    stamps = parse_known_times(column, leads.dates[name])
    born = parse_known_times(leads.frame[created], leads.dates[created])
    both = pl.DataFrame({"at": stamps, "born": born}).drop_nulls()
    if column.null_count() <= (1 - _FULL) * len(column):
        return "every lead has one"
    if float((both["at"] // 86400 < both["born"] // 86400).mean() or 0) > _ELSEWHERE:  # type: ignore[arg-type]
        return "it lies before the creation of leads"
    if not _STAGE_DATE.search(name):
        return "its name does not say so; if it is one, add it to stages = { ... }"
    return None
