"""Renders a draft of a configuration as TOML, with comments on each line and on what was left out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from features.clock import DAY, to_datetime
from features.ingest.attribute_columns import exclude_reserved
from features.ingest.quarantine import SourceError
from features.ingest.timestamps import ISO, parse_known_times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from training.config.file_survey import FileProfile, StageOutcomes


@dataclass(frozen=True)
class TableDraft:
    """One table of the draft: its section, its file, and which of its columns means what.

    ``joins`` is the column of the leads that names the rows of this one, where it holds their accounts.
    """

    section: str
    profile: FileProfile
    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    joins: str = ""

    @property
    def stages(self) -> list[str]:
        """The stages in this table, in the mean order in which leads enter them."""
        if "stage" in self.constants:
            return [self.constants["stage"]]
        column = self.columns.get("stage")
        if column is None:
            return []
        when = self.columns["occurred_at"]
        stamps = parse_known_times(self.profile.frame[when], self.profile.dates[when])
        entries = self.profile.frame.select(
            stage=column, lead=self.columns["lead_id"], at=stamps
        ).drop_nulls()
        steps = entries.with_columns(step=pl.col("at").rank("dense").over("lead"))
        return steps.group_by("stage").agg(pl.col("step").mean()).sort("step", "stage")["stage"].to_list()

    def first(self, column: str) -> int | None:
        """The earliest time in a column of dates, in epoch seconds; None where it has none."""
        name = self.columns[column]
        stamps = (
            parse_known_times(self.profile.frame[name], self.profile.dates[name])
            if name in self.profile.dates
            else None
        )
        return None if stamps is None else stamps.min()  # type: ignore[return-value]  # a column of Int64


_WON = re.compile(r"won|sql|customer|convert|gewonnen|kunde", re.IGNORECASE)

_LOST = re.compile(r"lost|disqual|verloren|dead|reject", re.IGNORECASE)

_HORIZON_DAYS = 90


def render_history_config(parts: Sequence[TableDraft], aside: Sequence[TableDraft], folder: Path) -> str:
    """The draft of a history of ``parts``, the leads first; ``aside`` are tables that it has no place for."""
    lines = [
        "# Drafted by leadloop init. Read it, correct it, then: leadloop train",
        *(line for part in parts for line in _section(part, folder)),
        *(_set_aside(part) for part in aside),
        *_attributes(parts),
        *_funnel(list(dict.fromkeys(stage for part in parts for stage in part.stages))),
        "",
        "[label]",
        f'horizon = "{_HORIZON_DAYS}d"   # a success enters the target within this time',
        "",
        "[cohort]",
        'on = ["created"]   # when open leads are looked at; a stage of the funnel is possible too',
        *_grid(parts),
        _start(parts),
        "",
        "[training]",
        '# capacity = "50 per week"   # how many leads sales can call',
        "seed = 42",
        "",
        "[report]",
        '# hand_over = "mql"   # the stage in which sales takes a lead today, to be held against the model',
        '# points = "points.toml"   # the points table of today, likewise',
        "# costs = { social = 1200 }   # what was spent on all leads of a channel",
        "# hours_per_call = 0.5   # what it costs sales to look at one lead",
    ]
    return "\n".join(lines) + "\n"


def _attributes(parts: Sequence[TableDraft]) -> list[str]:
    leads = parts[0]
    late = leads.profile.post_outcome_columns(None)
    used = {c for part in parts if part.profile is leads.profile for c in part.columns.values()}
    excluded = {name: why for name, why in late.items() if name not in used}
    return ["", "[attributes]", *_excluded(excluded), *_roles(leads.profile, {*used, *late})]


def _funnel(stages: list[str]) -> list[str]:
    if not stages:
        msg = (
            "nothing in these files looks like an outcome: no stage, no date of a deal, no two-valued column"
        )
        raise SourceError(msg)
    target = next((stage for stage in stages if _WON.search(stage)), stages[-1])
    closed = [stage for stage in stages if _LOST.search(stage)]
    return [
        "",
        "[funnel]",
        f"stages = {_list(stages)}   # in their order",
        f"target = {_quoted(target)}   # what leadloop predicts",
        f"closed = {_list(closed)}   # the other ends of the road",
    ]


def _set_aside(part: TableDraft) -> str:
    name, column = part.profile.path.name, part.joins
    return f"# {name} says more of {column!r}; to use it, join it to the leads: accounts are one table only"


def _grid(parts: Sequence[TableDraft]) -> list[str]:
    """The grid of snapshots; it is commented out where there are no touchpoints to see later."""
    acts = any(part.section == "[[touchpoints]]" for part in parts)
    return [
        f'{"" if acts else "# "}every = "30d"   # and again on this grid',
        f'{"" if acts else "# "}until_age = "{_HORIZON_DAYS}d"   # until a lead is so old',
    ]


def _start(parts: Sequence[TableDraft]) -> str:
    """The start of the cohort: leads from before outcomes were recorded would count as failures."""
    created = parts[0].first("created_at")
    entered = [part.first("occurred_at") for part in parts if part.section == "[[transitions]]"]
    known = min((first for first in entered if first is not None), default=None)
    if created is None or known is None or known - created <= _HORIZON_DAYS * DAY:
        return "# from = 2024-01-01   # leave out the time before all tables were kept"
    begun, since = to_datetime(created), to_datetime(known)
    month = since.replace(year=since.year + since.month // 12, month=since.month % 12 + 1, day=1)
    return (
        f"from = {month:%Y-%m-%d}   # leads start on {begun:%Y-%m-%d}, outcomes on {since:%Y-%m-%d} only: "
        "whoever was won before would count as lost"
    )


def _section(part: TableDraft, folder: Path) -> list[str]:
    formats = {part.profile.dates[c].pattern for c in part.columns.values() if c in part.profile.dates}
    other = sorted(formats - {ISO})
    return [
        "",
        part.section,
        f"file = {_quoted_path(part.profile.path, folder)}",
        f"columns = {_table(part.columns)}",
        *(
            [f"constants = {_table(part.constants)}   # a row says when a lead got there; no date, not yet"]
            if part.constants
            else []
        ),
        *([f"time_format = {_quoted(other[0])}"] if other else []),
    ]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quoted, words)) + "]"


def _table(words: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{key} = {_quoted(value)}" for key, value in words.items()) + " }"


def _quoted_path(path: Path, folder: Path) -> str:
    full = path.resolve()
    return _quoted((full.relative_to(folder) if full.is_relative_to(folder) else full).as_posix())


def render_flat_config(
    profile: FileProfile, label: str, folder: Path, stages: StageOutcomes | None = None
) -> str:
    """The draft of a flat export whose outcome is the column ``label``; paths are relative to ``folder``.

    Where the column holds ``stages``, the draft names those that are an outcome.
    """
    keys = [key for key in profile.keys if key != label]
    order = profile.order
    late = {
        name: why
        for name, why in profile.post_outcome_columns(label, stages).items()
        if name not in {order, *keys[:1]}
    }
    lines = [
        "# Drafted by leadloop init. Read it, correct it, then: leadloop train",
        "",
        "[flat]",
        f"leads = {_quoted_path(profile.path, folder)}",
        f"id = {_quoted(keys[0])}"
        if keys
        else "# id = ...   (no column names every row once: the row's number is the id)",
        f"label = {_quoted(label)}",
        *_ends(stages),
        f"time = {_quoted(order)}   # orders the rows; leave it out if larger is not later"
        if order
        else "# time = ...   (a date or a running number, where larger is later)",
        *_excluded(late),
        "",
        *_roles(profile, {label, order or "", *keys[:1], *late}),
    ]
    return "\n".join(lines) + "\n"


def _ends(stages: StageOutcomes | None) -> list[str]:
    if stages is None:
        return []
    return [
        f"positive = {_quoted(stages.won)}",
        f"negative = {_list(stages.lost)}   # {_of_others(stages)}",
    ]


def _of_others(stages: StageOutcomes) -> str:
    boxes = stages.lost == ("",)
    return "a box that was not ticked" if boxes else "rows with any other value have no outcome yet"


def _excluded(late: Mapping[str, str]) -> list[str]:
    if not late:
        return ["exclude = []"]
    rows = [f"    {_quoted(name)},   # {why}" for name, why in late.items()]
    return [
        "# These look as if they were filled only after the outcome. Keep those that are known before.",
        "exclude = [",
        *rows,
        "]",
    ]


def _roles(profile: FileProfile, named: set[str]) -> list[str]:
    roles = [exclude_reserved(role) for role in profile.roles]
    free = [role for role in roles if role.column not in named and role.role != "empty"]
    empty = [role.column for role in roles if role.column not in named and role.role == "empty"]
    return (
        ['# What the other columns were taken for; roles = { column = "number" } overrides:']
        + [
            f"#   {role.column}: {role.role if role.used else 'not used, ' + role.role} ({role.reason})"
            for role in free
        ]
        + ([f"#   not used, without any value: {', '.join(empty)}"] if empty else [])
    )
