"""Drafts the events of a table that leads are named in: entries into stages, or touchpoints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from features.catalogue import KINDS
from features.clock import DAY
from features.history import TOUCHPOINT_SCHEMA
from features.ingest.quarantine import MAX_SHARE
from features.ingest.timestamps import parse_known_times
from features.ingest.touchpoint_kinds import suggest_kinds
from features.word_lists import (
    cell_words,
    fold_heading,
    fold_word,
    heading_pattern,
    match_headings,
    stage_pattern,
)
from training.config.file_survey import find_creation_date
from training.config.inferred_stages import own_transitions, stage_name
from training.config.late_facts import is_overwritten, is_owner
from training.config.recipe import DraftBlock
from training.config.stage_names import LOST, is_success

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.config.file_survey import FileProfile

_STAGE, _STATUS, _KIND, _ID = map(heading_pattern, ("stage", "status", "kind", "id"))
_FURTHER = ("channel", "campaign", "offer")
_STAGE_DATE = stage_pattern("date")
_FIELD = re.compile(
    r"^(field|property|attribute|feld|primary_?attribute)_?(name|label|key|value)?$|^name$", re.IGNORECASE
)
_NEW_VALUE = re.compile(r"^(new|after|post|neuer)_?(value|wert)(_?string|_?text)?$|^value$", re.IGNORECASE)
_BEFORE = re.compile(
    r"(^|[_\s])(old|previous|prev|prior|from|before|alt|alte|alter|vorher\w*|ancien\w*|anterior)([_\s]|$)",
    re.IGNORECASE,
)
_OF_EVENTS = re.compile(r"^(activit(y|ies)|events?)_|_(activit(y|ies)|events?|log)$", re.IGNORECASE)
_MOST, _FEWEST_UNKNOWN = 0.5, 5


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


def draft_events(
    leads: FileProfile, other: FileProfile, shared: tuple[str, str]
) -> tuple[list[DraftBlock], list[str]]:
    """The events of a further table that has a ``shared`` id, and remarks on what it does not hold."""
    key, lead = shared
    if all(map(is_overwritten, other.dates)) and not _says_what_happened(leads, other, lead):
        when = ", ".join(map(repr, other.dates))
        remark = (
            f"{other.name} is left out: it says when a row was changed last ({when}), not when it came to be"
        )
        return [], [remark]
    if not _has_stages_of_today(leads, other, lead):
        return [_event_block(leads, other, key, lead)], []
    created = find_creation_date((n for n in other.dates if not is_overwritten(n)), other)
    blocks, remarks = own_transitions(other, lead, created or "")
    if blocks and (also := _also(leads, other, key, lead)):
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


def _says_what_happened(leads: FileProfile, other: FileProfile, lead: str) -> bool:
    """Whether a table has stages, changes or kinds: of these the day of a change is that of the event."""
    words, kinds = _words_and_kinds(other, lead)
    return (
        bool(kinds) or _stage_column(leads, other, words, kinds) is not None or _find_audit(other) is not None
    )


def _has_stages_of_today(leads: FileProfile, other: FileProfile, lead: str) -> bool:
    """Whether a table has a row a lead, or a deal, with the stage of today and several dates: no history."""
    ids = other.frame[lead].drop_nulls()
    is_row_a_lead = len(ids) <= _ROWS_A_LEAD * max(ids.n_unique(), 1)
    has_stages = _stage_column(leads, other, *_words_and_kinds(other, lead)) is not None
    return is_row_a_lead and has_stages and len(other.dates) > 1


_ROWS_A_LEAD = 1.1


def _event_block(leads: FileProfile, other: FileProfile, key: str, lead: str) -> DraftBlock:
    """The events of a table with a row an event: entries into stages or touchpoints."""
    dates = [name for name in other.dates if not is_overwritten(name)]
    created = find_creation_date(_dates_of_events(other, dates, lead), other)
    occurred = created or next(iter(other.dates))
    keys: dict[str, Any] = {"columns": {"lead_id": lead, "occurred_at": occurred}}
    says: list[str] = []
    if strangers := _rows_of_nobody(leads, other, key, lead):
        keys["join"] = [{"table": leads.table.name, "on": {lead: key}}]
        says.append(
            f"{strangers:,} rows have no {lead!r} of a lead: they belong to none yet, and are left out."
        )
        if key != leads.keys[0]:
            keys["columns"]["lead_id"] = f"{leads.table.name}.{leads.keys[0]}"
    elif also := _also(leads, other, key, lead):
        keys["also"] = {"leads": also}
        says.append(f"Ids of {lead!r} that are no lead's own are looked for in {also!r} of the leads.")
    block = DraftBlock("transitions", other.table, keys)
    block.says = says
    words, kinds = _words_and_kinds(other, lead)
    stage = _stage_column(leads, other, words, kinds)
    if audit := _find_audit(other):
        keys["where"] = {audit.field: audit.value}
        keys["columns"]["stage"] = audit.new
        block.says.append("One table holds the changes of all fields; only those of the stage are meant.")
    elif (stage := stage or _only_stage(other)) is not None:
        keys["columns"]["stage"] = stage
    elif lead in other.keys and (name := _stage_of(other, occurred)):
        keys["constants"] = {"stage": name}
        block.says.append("A row says when a lead got there; no date, not yet.")
    else:
        _make_touchpoints(block, other, words, kinds)
    _name_other_dates(block, other, occurred)
    return block


def _name_other_dates(block: DraftBlock, other: FileProfile, occurred: str) -> None:
    """Say when the CRM came to know of the events of a block, and which dates may be when they happened."""
    dates = [name for name in other.dates if name != occurred and not is_overwritten(name)]
    known = match_headings(dates, ["known_at"]).get("known_at")
    if known is not None:
        lag = _days(other, known) - _days(other, occurred)
        if _is_one_day(_days(other, known)):
            block.unsure.append(f"{known!r} is one day for most rows, as of an import: it is not known_at")
            dates.remove(known)
        elif float((lag >= 0).fill_null(value=False).mean() or 0.0) >= 1 - MAX_SHARE:  # type: ignore[arg-type]
            block.keys["columns"]["known_at"] = known
            block.says.append(f"A row is known from {known!r} on, which may be later than it happened.")
            dates.remove(known)
    block.unsure += [f"occurred_at could also be {name!r}" for name in dates]


def _days(profile: FileProfile, name: str) -> pl.Series:
    return parse_known_times(profile.frame[name], profile.dates[name]) // DAY


def _is_one_day(days: pl.Series) -> bool:
    """Whether most rows have the same day."""
    known = days.drop_nulls()
    return bool(len(known)) and int((known == known.mode().min()).sum()) > _MOST * len(known)


def _dates_of_events(other: FileProfile, dates: list[str], lead: str) -> list[str]:
    """The dates that differ between the rows of a lead; one that never does is no time of what it did."""
    of_lead = other.frame.drop_nulls(lead).group_by(lead).agg(pl.len().alias(_ROWS), pl.col(dates).n_unique())
    several = of_lead.filter(pl.col(_ROWS) > 1)
    if several.is_empty():
        return dates
    return [name for name in dates if float((several[name] > 1).mean() or 0.0) > MAX_SHARE] or dates  # type: ignore[arg-type]


_ROWS = "leadloop.rows"


def _rows_of_nobody(leads: FileProfile, other: FileProfile, key: str, lead: str) -> int:
    """How many rows name no lead, as visits of strangers do; 0 where so few do that it is no custom."""
    if leads.table.neighbours != other.table.neighbours:
        return 0
    ids = _folded(other.frame[lead])
    known = {key, _also(leads, other, key, lead) or key}
    own = pl.concat([_folded(leads.frame[name]) for name in sorted({leads.keys[0], *known})])
    strangers = int((~ids.is_in(own.implode())).fill_null(value=True).sum())
    return strangers if strangers > MAX_SHARE * other.frame.height else 0


def _folded(ids: pl.Series) -> pl.Series:
    return ids.cast(pl.String).str.to_lowercase().alias("id")


def _only_stage(other: FileProfile) -> str | None:
    """The column of stages of a table that holds the entries into a single one."""
    constants = [
        r.column for r in other.roles if r.role == "constant" and isinstance(other.frame[r.column][0], str)
    ]
    named = (name for name in constants if _STAGE.search(name) or _STATUS.search(name))
    return next((n for n in named if is_success(other.frame[n][0]) or LOST.search(other.frame[n][0])), None)


def _stage_of(other: FileProfile, occurred: str) -> str | None:
    """The stage that a table with one date a lead is about, by the name of the date or of the table."""
    names = (occurred, other.table.stem)
    return next((stage_name(name) for name in names if _STAGE_DATE.search(name)), None)


def _make_touchpoints(block: DraftBlock, other: FileProfile, words: list[str], kinds: list[str]) -> None:
    block.section = "touchpoints"
    free = [name for name in words if not (_is_id(name) or _STATUS.search(name) or _STAGE.search(name))]
    named = [name for name in kinds if not _is_id(name)]
    stem = other.table.stem
    known = _kind_of_table(stem)
    texts = [name for name in free if name not in kinds and _holds_words(other.frame[name])]
    candidates = [*named, *(texts if known is None else ())]
    if not candidates:
        block.keys["constants"] = {"kind": known or stem}
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


def _kind_of_table(stem: str) -> str | None:
    """The kind of touchpoint that a table is called after as a whole, or else by one of its words."""
    whole = [_OF_EVENTS.sub("", stem), stem]
    for names in (whole, fold_heading(stem).split()):
        kinds = {name: name for name in names if name in KINDS} | suggest_kinds(names)
        if kinds:
            return next(iter(kinds.values())) if len(set(kinds.values())) == 1 else None
    return None


def _holds_words(cells: pl.Series) -> bool:
    """Whether most cells of a column have letters; numbers name no kind of touchpoint."""
    return float(cells.cast(pl.String).str.contains(r"\p{L}").mean() or 0.0) > _MOST  # type: ignore[arg-type]


def _is_id(name: str) -> bool:
    return _ID.search(name)


def _stage_column(
    leads: FileProfile, other: FileProfile, words: Sequence[str], kinds: Sequence[str]
) -> str | None:
    """The column of a table of events that holds stages of leads; statuses of tasks are none."""
    free = [name for name in words if name not in TOUCHPOINT_SCHEMA and not _BEFORE.search(name)]
    free.sort(key=_is_id)  # a label says more than its id
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
    tasks = all(
        set(re.findall(r"\w+", fold_word(v))) <= cell_words("outcomes", "task_status") for v in values
    )
    return None if kinds or tasks else status


def _also(leads: FileProfile, other: FileProfile, shared: str, lead: str) -> str | None:
    """The column of leads that holds most of the ids of events that are no lead's own."""
    key = next(iter(leads.keys))
    if shared != key:
        return shared
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
