"""Renders a draft of a configuration as TOML, with comments on each line and on what was left out."""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any

from features.clock import to_datetime
from features.ingest.attribute_columns import exclude_reserved
from training.config.defaults import SEED
from training.config.history_draft import describe_period, event_counts
from training.config.horizon_draft import age_comment, horizon_comments
from training.stats.learning_curve import describe_gain

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from features.ingest.column_roles import ColumnRole
    from training.config.file_survey import FileProfile, StageOutcomes
    from training.config.history_draft import ReadDraft
    from training.config.recipe import DraftBlock

_HEAD = "# Drafted by leadloop init. Read it, correct it, then: leadloop train"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 110
_TABLES = {
    "leads": "[leads]",
    "accounts": "[accounts]",
    "merges": "[[merges]]",
    "touchpoints": "[[touchpoints]]",
    "transitions": "[[transitions]]",
    "history": "[[attributes.history]]",
}


def render_history_config(read: ReadDraft) -> str:
    """The draft of a history, with what its rows say."""
    draft = read.draft
    order = [section for section in _TABLES if section != "history"]
    blocks = sorted((b for b in draft.blocks if b.section != "history"), key=lambda b: order.index(b.section))
    histories = [block for block in draft.blocks if block.section == "history"]
    lines = [
        _HEAD,
        "#",
        *_comments(summarise(read)),
        *(line for block in blocks for line in _section(block)),
        *_comments(draft.aside),
        *_attributes(read),
        *(line for block in histories for line in _section(block)),
        *_funnel(read),
        "",
        "[label]",
        f'horizon = "{read.timing.horizon}d"   # a success enters the target within this time',
        *_comments(horizon_comments(read.timing)),
        "",
        "[cohort]",
        'on = ["created"]   # when open leads are looked at; a stage of the funnel is possible too',
        *_grid(read),
        _start(read),
        "",
        "[training]",
        '# capacity = "50 per week"   # how many leads sales can call',
        f"seed = {SEED}",
        *_sample_lines(read),
        "",
        "[report]",
        f"# hand_over = {_quoted(_hand_over(read))}   # the stage in which sales takes a lead today",
        '# points = "points.toml"   # the points table of today, likewise',
        "# costs = { social = 1200 }   # what was spent on all leads of a channel",
        "# hours_per_call = 0.5   # what it costs sales to look at one lead",
    ]
    return "\n".join(lines) + "\n"


_SAMPLE = 400_000
_KILOBYTES = 5  # of memory a snapshot, as training 400,000 of them took


def _sample_lines(read: ReadDraft) -> list[str]:
    """A limit of the snapshots to learn from where there are many, with what learning from all brings."""
    leads, timing = read.reading.history.leads.height, read.timing
    snapshots = leads * (1 + (timing.until_age // timing.every if read.kinds else 0))
    if snapshots <= _SAMPLE:
        return []
    conversions = read.funnel.leads[read.funnel.target] * _SAMPLE / snapshots
    gain = describe_gain(conversions, snapshots / _SAMPLE)
    gigabytes = _KILOBYTES * snapshots / 1e6
    gain_of_all = (
        f"Learning from all snapshots, up to {snapshots:,}, takes up to {gigabytes:.0f} GB of memory, and "
        f"brings {gain} of what can be known than learning from those of some leads:"
    )
    return [*_comments([gain_of_all]), f"# most_snapshots = {_SAMPLE}"]


def summarise(read: ReadDraft) -> list[str]:
    """What was understood, in sentences."""
    counts, funnel = event_counts(read.reading), read.funnel
    kinds = ", ".join(f"{kind} ({n:,})" for kind, n in list(read.kinds.items())[:_MOST_KINDS])
    more = f", and {len(read.kinds) - _MOST_KINDS:,} more" if len(read.kinds) > _MOST_KINDS else ""
    stages = ", ".join(f"{stage} ({funnel.leads[stage]:,})" for stage in funnel.stages)
    lines = [
        f"{read.draft.title}: {describe_period(read.reading)}.",
        *read.draft.says,
        f"Stages, with the leads that entered them: {stages}.",
        f"{funnel.target!r} is predicted; {_ends(funnel.closed)}.",
        f"{counts.get('touchpoints', 0):,} touchpoints: {kinds}{more}."
        if kinds
        else "There are no touchpoints.",
    ]
    notices = [notice for notice in read.reading.notices if "belong to deleted leads" not in notice]
    doubts = sum(len(block.unsure) for block in read.draft.blocks) + len(read.draft.aside)
    notes = [f"Note: {notice}" for notice in (*_problems(read), *notices)]
    if doubts:
        comments = "1 comment in the draft says" if doubts == 1 else f"{doubts} comments in the draft say"
        notes.append(f"Unsure: {comments} what else a line could be, or what was left out and why.")
    return [*lines, *notes]


_MOST_KINDS = 12


def _ends(closed: tuple[str, ...]) -> str:
    if not closed:
        return "no stage is known to end a lead's way without it"
    names = ", ".join(map(repr, closed))
    return f"{names} {'ends' if len(closed) == 1 else 'end'} a lead's way without it"


def _problems(read: ReadDraft) -> list[str]:
    """Sentences on rows that cannot be used; of those that are planned a notice tells."""
    unreadable = read.reading.quarantine.unreadable
    return [unreadable.summary()] if len(unreadable) else []


def _comments(texts: Iterable[str]) -> list[str]:
    return [f"# {line}" for text in texts for raw in text.splitlines() for line in _wrapped(raw)]


def _wrapped(line: str) -> list[str]:
    """A sentence in lines of the usual width; what can be uncommented stays one line."""
    return [line] if re.match(r"[\w.]+ = ", line) else textwrap.wrap(line, _WIDTH - 2)


def _section(block: DraftBlock) -> list[str]:
    keys = [f"{key} = {_quoted(value)}" for key, value in block.table.keys.items()]
    keys += [line for key, value in block.keys.items() for line in _key_lines(_key(key), value)]
    return ["", _TABLES[block.section], *_comments(block.says), *keys, *_comments(block.unsure)]


def _key_lines(key: str, value: Any) -> list[str]:
    """A key with its value; a long table takes a line for each of its keys."""
    line = f"{key} = {toml_value(value, len(key) + 3)}"
    if not isinstance(value, dict) or len(line) <= _WIDTH:
        return [line]
    return [each for inner, item in value.items() for each in _key_lines(f"{key}.{_key(inner)}", item)]


def _attributes(read: ReadDraft) -> list[str]:
    late = read.late
    roles = [exclude_reserved(role) for role in read.roles]
    declared = {
        role.column: wanted_role
        for role in roles
        if (wanted_role := read.draft.roles.get(role.column)) is not None and role.column not in late
    }
    return [
        "",
        "[attributes]",
        *_excluded(late),
        *([f"roles = {toml_value(declared)}"] if declared else []),
        *_role_comments(roles, set(late)),
    ]


def _funnel(read: ReadDraft) -> list[str]:
    funnel = read.funnel
    others = [s for s in funnel.stages if s not in {funnel.target, *funnel.closed, *funnel.reopen}]
    return [
        "",
        "[funnel]",
        "# The stages in the order in which leads pass them:",
        f"stages = {toml_value(list(funnel.stages), len('stages = '))}",
        f"target = {_quoted(funnel.target)}   # predicted: {_leads(funnel.leads[funnel.target])} got there",
        *(f"# target = {_quoted(stage)}   # {_leads(funnel.leads[stage])} got there" for stage in others),
        f"closed = {_list(funnel.closed)}   # the other ends of the road",
        *([f"reopen = {_list(funnel.reopen)}   # opens a closed lead again"] if funnel.reopen else []),
        *([f"# {read.draft.funnel.says}"] if read.draft.funnel.says else []),
    ]


def _leads(n: int) -> str:
    return f"{n:,} lead{'' if n == 1 else 's'}"


def _grid(read: ReadDraft) -> list[str]:
    """The grid of snapshots; it is commented out where there are no touchpoints to see later."""
    comment = "" if read.kinds else "# "
    why = (
        ""
        if read.kinds
        else "; without it the model scores leads of the day, and calls all older ones dormant"
    )
    return [
        f'{comment}every = "{read.timing.every}d"   # and again at this distance{why}',
        f'{comment}until_age = "{read.timing.until_age}d"   # {age_comment(read.timing)}',
    ]


def _hand_over(read: ReadDraft) -> str:
    """The stage in which marketing calls a lead qualified, if there is one called so."""
    named = (stage for stage in read.funnel.stages if _MQL.search(stage) and stage != read.funnel.target)
    return next(named, "mql")


_MQL = re.compile(r"mql|marketing", re.IGNORECASE)


def _start(read: ReadDraft) -> str:
    """The start of the cohort: leads from before outcomes were recorded would count as failures."""
    if read.start is None or read.begun is None:
        return "# from = 2024-01-01   # leave out the time before all tables were kept"
    begun, since = to_datetime(read.begun), to_datetime(read.start)
    month = since.replace(year=since.year + since.month // 12, month=since.month % 12 + 1, day=1)
    return (
        f"from = {month:%Y-%m-%d}   # leads start on {begun:%Y-%m-%d}, outcomes on {since:%Y-%m-%d} only: "
        "whoever was won before would count as lost"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _list(words: Iterable[str]) -> str:
    return "[" + ", ".join(map(_quoted, words)) + "]"


def toml_value(value: Any, indent: int = 0) -> str:
    """A value as TOML writes it; a list of tables takes a line each.

    >>> toml_value({"field": "Status", "is deleted": False})
    '{ field = "Status", "is deleted" = false }'
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        items = [toml_value(each) for each in value]
        short = "[" + ", ".join(items) + "]"
        if len(short) + indent <= _WIDTH:
            return short
        return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    return _quoted(value) if isinstance(value, str) else str(value)


def render_flat_config(
    profile: FileProfile,
    label: str,
    roles: Iterable[ColumnRole],
    late: Mapping[str, str],
    stages: StageOutcomes | None = None,
) -> str:
    """The draft of a flat export whose outcome is the column ``label``.

    Where the column holds ``stages``, the draft names those that are an outcome; ``late`` columns are kept
    out, and ``roles`` say what the others were taken for.
    """
    keys = [key for key in profile.keys if key != label]
    order = profile.order
    lines = [
        _HEAD,
        "",
        "[flat]",
        f"leads = {_quoted(profile.table.keys['file'])}",
        f"id = {_quoted(keys[0])}"
        if keys
        else "# id = ...   (no column names every row once: the row's number is the id)",
        f"label = {_quoted(label)}",
        *_flat_ends(stages),
        f"time = {_quoted(order)}   # orders the rows; leave it out if larger is not later"
        if order
        else "# time = ...   (a date or a running number, where larger is later)",
        *_excluded(late),
        "",
        *_role_comments(
            [exclude_reserved(role) for role in roles if not _is_read_out_of(role, late)],
            {label, order or "", *keys[:1], *late},
        ),
    ]
    return "\n".join(lines) + "\n"


def _flat_ends(stages: StageOutcomes | None) -> list[str]:
    if stages is None:
        return []
    return [
        f"positive = {_quoted(stages.won)}",
        f"negative = {_list(stages.lost)}   # {_of_others(stages)}",
    ]


def _is_read_out_of(role: ColumnRole, columns: Container[str]) -> bool:
    return role.extraction is not None and role.extraction.column in columns


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


def _role_comments(roles: Sequence[ColumnRole], named: set[str]) -> list[str]:
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
