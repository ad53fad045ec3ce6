"""Drafts the entries into stages that date columns hold, of the leads' own table or one with a row a lead."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import polars as pl

from features.clock import DAY
from features.ingest.outcome_column import won_and_lost_stages
from features.ingest.timestamps import parse_known_times
from features.word_lists import bare_heading, fold_heading, heading_pattern, stage_pattern
from training.config.late_facts import is_overwritten
from training.config.recipe import DraftBlock
from training.config.stage_codes import unnamed_codes
from training.config.stage_names import LOST, find_success, holds_both_ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.config.file_survey import FileProfile

_STAGE, _STATUS = map(heading_pattern, ("stage", "status"))
_STAGE_DATE = stage_pattern("date")
_SUFFIX = re.compile(
    r"([_\s-]+|(?-i:(?<=[a-zß-ÿ])(?=[A-Z])))(date([_\s-]?time)?|at|on|time|timestamp|datum|am|em|el|le)$",
    re.IGNORECASE,
)
# Headings that name a stage; others may date several.
_OF_A_STAGE = re.compile(r"^(became an?|date entered|entered|date of|datum der|day of)[_\s]+", re.IGNORECASE)
_PREFIX = re.compile(
    r"^(became an?|date entered|entered|date of|day of|datum (der|des|vom|von)|date (de la|de|du)"
    r"|fecha de(l| la)?|data (de|da|do))[_\s]+|^date d\W|^hs_(v2_)?(lifecyclestage|date_entered)_",
    re.IGNORECASE,
)
_SAME, _ELSEWHERE, _FULL = 0.95, 0.05, 0.999


def stage_name(column: str) -> str:
    """The stage that a column of dates is about.

    >>> stage_name("Became a Marketing Qualified Lead Date"), stage_name("won_at"), stage_name("Ganho em")
    ('Marketing Qualified Lead', 'won', 'Ganho')
    >>> stage_name("Deal - Datum des verlorenen Deals"), stage_name("Affaire - Date de perte")
    ('verlorenen Deals', 'perte')
    >>> stage_name("Date de conversion"), stage_name("ConvertedDate")
    ('conversion', 'Converted')
    >>> stage_name("properties__hs_lifecyclestage_marketingqualifiedlead_date__value")
    'marketingqualifiedlead'
    """
    return _SUFFIX.sub("", _PREFIX.sub("", bare_heading(column))) or column


def own_transitions(leads: FileProfile, key: str, created: str) -> tuple[list[DraftBlock], list[str]]:
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
        block = DraftBlock("transitions", leads.table, {"columns": {"lead_id": key}, "stages": wide})
        block.says = ["Each column holds the day on which a lead entered a stage; no date, not yet."]
        blocks.append(block)
    return blocks, remarks


def _status_transitions(
    leads: FileProfile, key: str, dates: Sequence[str]
) -> tuple[list[DraftBlock], list[str]]:
    """Entries into those stages of today that a date is filled for, and a remark on the others."""
    status = _own_status(leads)
    if status is None:
        return [], _unnamed_remarks(leads)
    dated: set[str] = set()
    blocks = []
    general = [name for name in dates if not _OF_A_STAGE.search(name)]
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
    undated = [v for v in values if v not in dated]
    if undated and all(map(str.isdecimal, values)):
        return blocks, _unnamed_remarks(leads)
    remark = (
        f"{leads.name}: {status!r} is the stage of today, and no column says since when a lead is in "
        f"{_named(undated)}: these are no entries into a stage"
    )
    if lost := [v for v in undated if LOST.search(v)]:
        remark += f". Leads in {_named(lost)} count as open, and are called; add the day on which it was"
    return blocks, [remark] if undated else []


def _unnamed_remarks(leads: FileProfile) -> list[str]:
    """What to do where the stages of today are numbers that no table names."""
    return [
        f"{leads.name}: {column!r} holds the numbers {', '.join(values)}, and no file says what they mean: "
        f"add a file {_file_of_codes(leads, column)} with the lines id,name and, for each number, such as "
        f"{values[0]},Open, and the table that says when leads got there; or learn from this file alone, "
        f"without dates: leadloop check --leads {shlex.quote(leads.name)} --label {shlex.quote(column)} "
        "--positive NUMBER --negative NUMBER"
        for column, values in unnamed_codes(leads)
    ]


def _file_of_codes(leads: FileProfile, column: str) -> str:
    return f"{leads.table.stem}_{fold_heading(column).replace(' ', '_')}.csv"


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
    block = DraftBlock(
        "transitions",
        leads.table,
        {"where": where, "columns": {"lead_id": key, "occurred_at": date, "stage": status}},
    )
    block.says = [why]
    return block


def _repetition(leads: FileProfile, name: str, dates: Sequence[str]) -> str | None:
    """Why a date is that of no stage of its own: in each row it is one of two others."""
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
