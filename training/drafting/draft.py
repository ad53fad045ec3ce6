"""Writes a first ``leadloop.toml`` for files nobody has described yet: a draft to read and correct."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from features.clock import DAY, instant
from features.history import TOUCHPOINT_SCHEMA
from features.reading.quarantine import SourceError
from features.reading.times import ISO, times
from training.drafting.survey import Survey, first_date, shared_key, survey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_STAGE = re.compile(r"stage|status|phase", re.IGNORECASE)
_KIND = re.compile(r"kind|type|event|activity|action", re.IGNORECASE)
_WON = re.compile(r"won|sql|customer|convert|gewonnen|kunde", re.IGNORECASE)
_LOST = re.compile(r"lost|disqual|verloren|dead|reject", re.IGNORECASE)
_AFTER = re.compile(r"clos|won|lost|end|updat|chang|enter", re.IGNORECASE)
_SUFFIX = re.compile(r"[_\s-]*(date|at|on|time|timestamp|datum)$", re.IGNORECASE)
_HORIZON_DAYS = 90


@dataclass(frozen=True)
class Part:
    """One table of the draft: its section, its file, and which of its columns means what.

    ``joins`` is the column of the leads that names the rows of this one, where it holds their accounts.
    """

    section: str
    seen: Survey
    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    joins: str = ""

    @property
    def stages(self) -> list[str]:
        """The stages that this table speaks of."""
        if "stage" in self.constants:
            return [self.constants["stage"]]
        column = self.columns.get("stage")
        if column is None:
            return []
        entered = self.seen.frame.drop_nulls(self.columns["occurred_at"])
        return sorted(entered[column].drop_nulls().unique())

    def first(self, column: str) -> int | None:
        """The first moment that a column of dates holds, in epoch seconds."""
        name = self.columns[column]
        stamps = times(self.seen.frame[name], self.seen.dates[name]) if name in self.seen.dates else None
        return None if stamps is None else stamps.min()  # type: ignore[return-value]  # a column of Int64


def draft(files: Sequence[Path], folder: Path | None = None) -> str:
    """The text of a configuration for ``files``, with paths as seen from ``folder`` (the current one).

    Raises:
        SourceError: a file cannot be read, or nothing in the files looks like an outcome.
    """
    seen = [survey(path) for path in files]
    where = (folder or Path.cwd()).resolve()
    if len(seen) == 1 and seen[0].outcome is not None:
        return _flat(seen[0], seen[0].outcome, where)
    return _history(seen, where)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quoted, words)) + "]"


def _table(words: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{key} = {_quoted(value)}" for key, value in words.items()) + " }"


def _shown(path: Path, folder: Path) -> str:
    full = path.resolve()
    return _quoted((full.relative_to(folder) if full.is_relative_to(folder) else full).as_posix())


def _flat(seen: Survey, label: str, folder: Path) -> str:
    keys = [key for key in seen.keys if key != label]
    order = seen.order
    late = {name: why for name, why in seen.late(label).items() if name not in {order, *keys[:1]}}
    lines = [
        "# Drafted by leadloop init. Read it, correct it, then: leadloop train",
        "",
        "[flat]",
        f"leads = {_shown(seen.path, folder)}",
        f"id = {_quoted(keys[0])}"
        if keys
        else "# id = ...   (no column names every row once: the row's number is the id)",
        f"label = {_quoted(label)}",
        f"time = {_quoted(order)}   # orders the rows; leave it out if larger is not later"
        if order
        else "# time = ...",
        *_excluded(late),
        "",
        *_roles(seen, {label, order or "", *keys[:1], *late}),
    ]
    return "\n".join(lines) + "\n"


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


def _roles(seen: Survey, named: set[str]) -> list[str]:
    free = [role for role in seen.roles if role.column not in named]
    return ['# What the other columns were taken for; roles = { column = "number" } overrides:'] + [
        f"#   {role.column}: {role.role if role.used else 'not used, ' + role.role} ({role.reason})"
        for role in free
    ]


def _history(seen: Sequence[Survey], folder: Path) -> str:
    leads = _leads(seen)
    key = leads.keys[0]
    parts = [part for other in seen if other is not leads for part in _other(leads, other)]
    created = first_date((name for name in leads.dates if not _AFTER.search(name)), leads)
    created = created or first_date(leads.dates, leads)
    if created is None:
        msg = f"{leads.path} has no date column that says when a lead came to be"
        raise SourceError(msg)
    parts += _own_transitions(leads, key, created)
    parts, aside = _one_accounts(parts)
    account = next(({"account_id": part.joins} for part in parts if part.joins), {})
    columns = {"lead_id": key, "created_at": created} | account
    return _text([Part("[leads]", leads, columns), *parts], aside, folder)


def _one_accounts(parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """The parts with at most one table of accounts, the longest, and the tables set aside for it."""
    tables = sorted((p for p in parts if p.joins), key=lambda p: p.seen.frame.height, reverse=True)
    return [part for part in parts if part not in tables[1:]], tables[1:]


def _leads(seen: Sequence[Survey]) -> Survey:
    """The file whose key the others speak of, and most of all; of one file, that one."""
    keyed = [one for one in seen if one.keys and one.dates]
    if not keyed:
        msg = "none of the files names every lead once and says when it came to be"
        raise SourceError(msg)
    return max(
        keyed,
        key=lambda one: (sum(_covers(one, other) for other in seen if other is not one), one.frame.height),
    )


def _covers(one: Survey, other: Survey) -> bool:
    return bool(other.dates) and shared_key(one, other) is not None


def _other(leads: Survey, other: Survey) -> list[Part]:
    """The table that another file is: events of the leads, or their accounts."""
    if (shared := shared_key(leads, other)) is not None and other.dates:
        return [_events(other, shared[1])]
    if (shared := shared_key(other, leads)) is not None:
        return [Part("[accounts]", other, {"account_id": shared[0]}, joins=shared[1])]
    return []


def _events(other: Survey, lead: str) -> Part:
    occurred = first_date(other.dates, other) or ""
    columns = {"lead_id": lead, "occurred_at": occurred}
    words = [name for name in other.few if name != lead]
    stages = (name for name in words if _STAGE.search(name) and name not in TOUCHPOINT_SCHEMA)
    if stage := next(stages, None):
        return Part("[[transitions]]", other, columns | {"stage": stage})
    if lead in other.keys:
        return Part("[[transitions]]", other, columns, {"stage": _SUFFIX.sub("", occurred) or occurred})
    kind = next((name for name in words if _KIND.search(name)), next(iter(words), None))
    if kind is None:
        return Part("[[touchpoints]]", other, columns, {"kind": other.path.stem})
    return Part("[[touchpoints]]", other, columns | {"kind": kind})


def _own_transitions(leads: Survey, key: str, created: str) -> list[Part]:
    """Transitions that the leads' own file holds in further date columns."""
    later = [name for name in leads.dates if name != created]
    stage = next((name for name in leads.few if _STAGE.search(name)), None)
    if stage is not None and later:
        return [Part("[[transitions]]", leads, {"lead_id": key, "occurred_at": later[-1], "stage": stage})]
    return [
        Part(
            "[[transitions]]", leads, {"lead_id": key, "occurred_at": name}, {"stage": _SUFFIX.sub("", name)}
        )
        for name in later
    ]


def _text(parts: Sequence[Part], aside: Sequence[Part], folder: Path) -> str:
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
        '# every = "30d"   # and again on this grid',
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


def _attributes(parts: Sequence[Part]) -> list[str]:
    leads = parts[0]
    late = leads.seen.late(None)
    used = {c for part in parts if part.seen is leads.seen for c in part.columns.values()}
    excluded = {name: why for name, why in late.items() if name not in used}
    return ["", "[attributes]", *_excluded(excluded), *_roles(leads.seen, {*used, *late})]


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


def _set_aside(part: Part) -> str:
    name, column = part.seen.path.name, part.joins
    return f"# {name} says more of {column!r}; to use it, join it to the leads: accounts are one table only"


def _start(parts: Sequence[Part]) -> str:
    """Where to begin: outcomes kept only later than leads would make failures of the early ones."""
    created = parts[0].first("created_at")
    entered = [part.first("occurred_at") for part in parts if part.section == "[[transitions]]"]
    known = min((first for first in entered if first is not None), default=None)
    if created is None or known is None or known - created <= _HORIZON_DAYS * DAY:
        return "# from = 2024-01-01   # leave out the time before all tables were kept"
    begun, since = instant(created), instant(known)
    month = since.replace(year=since.year + since.month // 12, month=since.month % 12 + 1, day=1)
    return (
        f"from = {month:%Y-%m-%d}   # leads start on {begun:%Y-%m-%d}, outcomes on {since:%Y-%m-%d} only: "
        "whoever was won before would count as lost"
    )


def _section(part: Part, folder: Path) -> list[str]:
    formats = {part.seen.dates[c].pattern for c in part.columns.values() if c in part.seen.dates}
    other = sorted(formats - {ISO})
    return [
        "",
        part.section,
        f"file = {_shown(part.seen.path, folder)}",
        f"columns = {_table(part.columns)}",
        *(
            [f"constants = {_table(part.constants)}   # a row says when a lead got there; no date, not yet"]
            if part.constants
            else []
        ),
        *([f"time_format = {_quoted(other[0])}"] if other else []),
    ]
