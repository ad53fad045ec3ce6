"""Finishes the draft of a history: reads its tables, and takes from their rows what no name says.

Which tables have rows, how dates are written, in which order leads pass the stages, which of them is the
target: these are facts of the rows. What stays unsure becomes a comment with the other possibilities.
"""

from __future__ import annotations

import fnmatch
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from features.clock import DAY, to_datetime
from features.cohort import MERGED
from features.ingest.code_columns import detect_number_times
from features.ingest.event_tables import EventSink
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history_in_batches
from features.ingest.schema import CONTRACT
from features.ingest.tables import open_table
from features.ingest.timestamps import ISO, detect_format, is_day_month_ambiguous
from features.ingest.touchpoint_kinds import suggest_kinds
from features.parsing import parse_categories, strip_missing
from training.config.horizon_draft import UNKNOWN_DAYS, ConversionTiming, choose_timing
from training.config.late_facts import late_reason
from training.config.outcome_columns import find_outcome_columns
from training.config.recipe import BlockResolver, FunnelRecipe, matching_columns
from training.config.source_tables import count_values
from training.config.stage_names import LOST, REOPENED, is_success
from training.config.toml_reader import ConfigLocation, parse_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from features.ingest.column_roles import ColumnRole
    from features.ingest.read_history import IngestResult
    from features.ingest.schema import TableName
    from training.config.recipe import DraftBlock, StageChoice
    from training.config.source_tables import SourceTable

_CONTRACT_NAMES: dict[str, TableName] = {"history": "attributes"}


@dataclass
class HistoryDraft:
    """A draft whose blocks are known, before their rows are.

    Attributes:
        title: What the layout is called in sentences.
        blocks: The sections, the leads first.
        funnel: What is known of the funnel beforehand.
        late: Patterns of columns of leads that are late facts, with the reason.
        account_late: The same of columns of accounts.
        roles: Roles of columns that their values do not show.
        says: Sentences for the head.
        found: The tables by the names that ``funnel`` uses.
        aside: Comments on tables that have no place in the draft.
    """

    title: str
    blocks: list[DraftBlock]
    funnel: FunnelRecipe = field(default_factory=FunnelRecipe)
    late: Mapping[str, str] = field(default_factory=dict)
    account_late: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    says: list[str] = field(default_factory=list)
    found: Mapping[str, SourceTable] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ObservedFunnel:
    """The funnel that the rows show.

    Attributes:
        stages: The stages in the order in which leads pass them.
        target: What is predicted.
        closed: The other ends.
        reopen: What opens a lead again.
        leads: How many leads entered each stage.
        certain: Whether the target was known by its name.
    """

    stages: tuple[str, ...]
    target: str
    closed: tuple[str, ...]
    reopen: tuple[str, ...]
    leads: Mapping[str, int]
    certain: bool


@dataclass(frozen=True)
class ReadDraft:
    """A draft with what its rows say.

    Attributes:
        draft: The draft, with the blocks that have rows.
        reading: What reading them gave, without the events.
        funnel: The funnel.
        kinds: How many touchpoints there are of each kind.
        start: The first day of snapshots, where outcomes were not kept from the beginning; else None.
        begun: The first day with leads, in epoch seconds.
        timing: How long conversions take.
        by_outcome: The columns of leads that the outcome itself fills or decides, each with the reason.
    """

    draft: HistoryDraft
    reading: IngestResult
    funnel: ObservedFunnel
    kinds: Mapping[str, int]
    start: int | None
    begun: int | None
    timing: ConversionTiming = field(default_factory=ConversionTiming)
    by_outcome: Mapping[str, str] = field(default_factory=dict)

    @property
    def late(self) -> dict[str, str]:
        """The columns of leads and accounts that are late facts, each with the reason."""
        reasons = {role.column: _late(role, self.draft) for role in self.reading.roles}
        reasons = {column: why or self.by_outcome.get(column) for column, why in reasons.items()}
        return {column: why for column, why in reasons.items() if why}

    @property
    def roles(self) -> tuple[ColumnRole, ...]:
        """What each free column was taken for."""
        return self.reading.roles


def _late(role: ColumnRole, draft: HistoryDraft) -> str | None:
    if role.role in {"empty", "constant", "date", "identifier"}:
        return None
    is_account = role.column.startswith("account.")
    name = role.column.removeprefix("account.")
    patterns = dict(draft.account_late) if is_account else _patterns(draft)
    by_pattern = next((why for pattern, why in patterns.items() if matching_columns(pattern, [name])), None)
    return by_pattern or late_reason(name, is_account=is_account)


def _patterns(draft: HistoryDraft) -> dict[str, str]:
    newest = {column: _NEWEST for block in draft.blocks for column in block.plain.values() if column}
    return {**newest, **draft.late}


_NEWEST = "only its newest value; its history is read instead"


def read_draft(draft: HistoryDraft, folder: Path) -> ReadDraft:
    """Read what a draft names, and settle what only rows can say.

    Raises:
        SourceError: The leads cannot be read, or no lead has entered a stage that could be a target.
    """
    transitions: list[pl.DataFrame] = []
    kinds: dict[str, int] = {}

    def collect(name: TableName, rows: pl.DataFrame) -> None:
        if name == "transitions":
            transitions.append(rows.select("lead_id", "occurred_at", "stage"))
        elif name == "touchpoints":
            for kind, count in rows["kind"].value_counts().iter_rows():
                kinds[kind] = kinds.get(kind, 0) + count

    mapping = history_mapping(draft.blocks, folder)
    reading = read_history_in_batches(mapping, int(time.time()), sink=EventSink(collect))
    moves = pl.concat(transitions) if transitions else pl.DataFrame(schema={"lead_id": str, "stage": str})
    moves = moves.filter(pl.col("stage") != MERGED) if moves.height else moves
    own = f"{folder}/"
    reading = replace(reading, notices=tuple(notice.replace(own, "") for notice in reading.notices))
    leads = reading.history.leads
    funnel = find_funnel(moves, draft)
    begun = leads["created_at"].min()
    return ReadDraft(
        draft,
        reading,
        funnel,
        dict(sorted(kinds.items(), key=lambda item: -item[1])),
        _start(begun, moves["occurred_at"].min()),  # type: ignore[arg-type]
        begun,  # type: ignore[arg-type]
        choose_timing(leads, moves, reading.history.observed_until, funnel.target, funnel.closed),
        find_outcome_columns(_plain_columns(reading), moves, funnel.target, funnel.closed),
    )


def _plain_columns(reading: IngestResult) -> pl.DataFrame:
    """The leads with the columns that a model would see as they are in the table of leads."""
    leads = reading.history.leads
    own = [role.column for role in reading.roles if role.used and role.extraction is None]
    return leads.select("lead_id", *(name for name in own if name in leads.columns))


def _start(created: int | None, known: int | None) -> int | None:
    """When outcomes begin, where leads begin long before."""
    if created is None or known is None or known - created <= UNKNOWN_DAYS * DAY:
        return None
    return known


def table_mapping(block: DraftBlock, folder: Path) -> TableMapping:
    """How a block of a draft is read; its password, if it has one, is that of the command line."""
    keys = {**block.table.keys, **block.keys}
    location = ConfigLocation(folder / "leadloop.toml", "", (block.section,))
    place = block.table.place
    return replace(
        parse_table(TableMapping, keys, location),
        file=place.file,
        database=place.database,
        table=place.table,
    )


def history_mapping(blocks: Sequence[DraftBlock], folder: Path) -> HistoryMapping:
    """How the blocks of a draft are read, whatever the share of bad rows."""
    tables: dict[str, list[TableMapping]] = {}
    for block in blocks:
        tables.setdefault(block.section, []).append(table_mapping(block, folder))
    return HistoryMapping(
        leads=tables["leads"][0],
        touchpoints=tuple(tables.get("touchpoints", ())),
        transitions=tuple(tables.get("transitions", ())),
        attributes=tuple(tables.get("history", ())),
        accounts=next(iter(tables.get("accounts", ())), None),
        merges=tuple(tables.get("merges", ())),
        max_share=1.0,
    )


def find_problem(block: DraftBlock, folder: Path) -> str | None:
    """Why a block gives no rows; None where it gives some."""
    contract = CONTRACT[_CONTRACT_NAMES.get(block.section, block.section)]  # type: ignore[arg-type]
    required = {column.name for column in contract if column.required}
    columns = [c for name, c in block.keys.get("columns", {}).items() if name in required]
    try:
        table = open_table(table_mapping(block, folder))
        for batch in table.batches(columns=columns or None):
            if any_full(batch.frame, columns):
                return None
    except SourceError as error:
        return str(error)
    return "it has no such rows"


def keep_known_names(block: DraftBlock, folder: Path) -> None:
    """Keep, of a history of attributes, the names that its rows hold."""
    name = block.keys.get("columns", {}).get("name")
    condition = block.keys.get("where", {}).get(name)
    if not block.plain or not isinstance(condition, list) or name is None:
        return
    table = open_table(table_mapping(block, folder))
    frames = [
        batch.frame.select(pl.col(name).cast(pl.String).unique()) for batch in table.batches(columns=[name])
    ]
    known = set(pl.concat(frames)[name]) if frames else set()
    block.keys["where"] = {**block.keys["where"], name: [each for each in condition if each in known]}
    block.plain = {each: column for each, column in block.plain.items() if each in known}


def name_kinds(block: DraftBlock, folder: Path) -> None:
    """Say, of a table of touchpoints, which of its kinds are known ones under another name."""
    column = block.keys.get("columns", {}).get("kind")
    if block.section != "touchpoints" or column is None:
        return
    table = open_table(table_mapping(block, folder))
    kinds_in_rows: set[str] = set()
    for batch in table.batches(columns=[column]):
        kinds_in_rows |= set(parse_categories(batch.frame[column]).drop_nulls().unique())
    own = block.keys.get("values", {}).get("kind", {})
    suggested = suggest_kinds(sorted(kinds_in_rows - own.keys()))
    named = {word: kind for word, kind in {**own, **suggested}.items() if word in kinds_in_rows}
    if named:
        block.keys["values"] = {**block.keys.get("values", {}), "kind": named}
    if suggested:
        block.unsure.append("What your kinds were taken for; leave out of values what is something else.")


def any_full(frame: pl.DataFrame, columns: Sequence[str]) -> bool:
    """Whether any row has a value in each of the columns."""
    if not columns:
        return frame.height > 0
    cells = [strip_missing(frame[name]).is_not_null().alias(str(i)) for i, name in enumerate(columns)]
    return bool(pl.DataFrame(cells).select(pl.all_horizontal(pl.all()).any()).item())


def set_time_format(block: DraftBlock) -> None:
    """Say how the dates of a block are written, where that is not ISO 8601."""
    if "time_format" in block.keys:
        return
    names = [block.keys.get("columns", {}).get(name) for name in ("created_at", "occurred_at", "known_at")]
    names += list(block.keys.get("stages", {}))
    own = [name for name in names if name in block.table.columns]
    patterns = []
    for column in open_table(block.table.place).read(own) if own else ():
        known = strip_missing(column)
        time_format = detect_format(known, share=0.9) or detect_number_times(known)
        if time_format is not None and time_format.pattern != ISO:
            patterns.append(time_format.pattern)
        elif time_format is None and is_day_month_ambiguous(known.drop_nulls()):
            block.unsure.append(
                f'time_format = "month_first"   # {column.name}: day and month could be swapped'
            )
            patterns.append("day_first")
    if patterns:
        block.keys["time_format"] = patterns[0]


def find_funnel(moves: pl.DataFrame, draft: HistoryDraft) -> ObservedFunnel:
    """The funnel that entries into stages show.

    Raises:
        SourceError: No lead has entered a stage, or none but those that close it.
    """
    if not moves.height:
        raise SourceError(_no_outcome_message(draft))
    counts = moves.group_by("stage").agg(pl.col("lead_id").n_unique()).sort("stage")
    leads = dict(counts.iter_rows())
    stages = order_stages(moves)
    reopen = [s for s in stages if _matches(s, draft.funnel.reopen) or REOPENED.search(s)]
    closed = [s for s in stages if s not in reopen and _is_closed(s, draft)]
    open_stages = [s for s in stages if s not in closed and s not in reopen]
    if not open_stages:
        raise SourceError(_no_target_message(leads))
    chosen = next(
        (s for choice in draft.funnel.target for s in open_stages if _is_choice(s, choice, draft)), None
    )
    by_word = next((s for s in open_stages if is_success(s)), None)
    return ObservedFunnel(
        tuple(stages), chosen or by_word or open_stages[-1], tuple(closed), tuple(reopen), leads, bool(chosen)
    )


def _is_closed(stage: str, draft: HistoryDraft) -> bool:
    by_word = LOST.search(stage) and not _matches_target(stage, draft)
    return by_word or _matches(stage, draft.funnel.closed)


def _matches(stage: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(stage.casefold(), pattern.casefold()) for pattern in patterns)


def _matches_target(stage: str, draft: HistoryDraft) -> bool:
    return any(_is_choice(stage, choice, draft) for choice in draft.funnel.target)


def _is_choice(stage: str, choice: StageChoice, draft: HistoryDraft) -> bool:
    if not choice.table:
        return _matches(stage, (choice.stage,))
    return stage == _most_frequent(choice, draft)


def _most_frequent(choice: StageChoice, draft: HistoryDraft) -> str | None:
    """The value that most of the rows hold that a choice names."""
    block = BlockResolver(draft.found).resolve(
        "leads", {"table": choice.table, "where": choice.where, "columns": {"value": choice.column}}
    )
    if block is None:
        return None
    counts = count_values(block.table, block.keys["columns"]["value"], block.keys.get("where", {}))
    return next(iter(counts), None)


def order_stages(moves: pl.DataFrame) -> list[str]:
    """The stages in the order in which leads first enter them.

    By their mean step; but where leads have entered two stages that stand side by side, most of them decide.
    """
    first = moves.drop_nulls().group_by("lead_id", "stage").agg(pl.col("occurred_at").min())
    steps = first.with_columns(step=pl.col("occurred_at").rank("dense").over("lead_id"))
    stages: list[str] = (
        steps.group_by("stage").agg(pl.col("step").mean()).sort("step", "stage")["stage"].to_list()
    )
    pairs = first.join(first, on="lead_id", suffix="_2").filter(
        pl.col("occurred_at") < pl.col("occurred_at_2")
    )
    before = {(a, b): n for a, b, n in pairs.group_by("stage", "stage_2").len().iter_rows()}
    for _ in stages:
        for i in range(len(stages) - 1):
            a, b = stages[i], stages[i + 1]
            if before.get((b, a), 0) > before.get((a, b), 0):
                stages[i], stages[i + 1] = b, a
    return stages


def _no_outcome_message(draft: HistoryDraft) -> str:
    tables = ", ".join(sorted({block.table.name for block in draft.blocks}))
    aside = "".join(f"; {line}" for line in draft.aside)
    return (
        f"nothing in these files looks like an outcome: no lead has entered a stage ({tables}{aside}). Add "
        "the table that says when leads reached a stage (a history of the status, deals with the day they "
        "were won, or date columns such as the day of conversion), or describe it yourself in [[transitions]]"
    )


def _no_target_message(leads: Mapping[str, int]) -> str:
    counts = ", ".join(f"{stage} ({count:,} leads)" for stage, count in leads.items())
    return (
        "no lead has entered a stage that could be a success; there are only ends without one: "
        f"{counts}. Add the table or the column that says which leads were won or qualified, and when"
    )


def describe_period(reading: IngestResult) -> str:
    """From when to when leads were created, in words."""
    created = reading.history.leads["created_at"]
    if created.is_empty():
        return "no leads"
    first, last = (to_datetime(t) for t in (created.min(), created.max()))  # type: ignore[arg-type]
    return f"{len(created):,} leads created from {first:%Y-%m-%d} to {last:%Y-%m-%d}"


def event_counts(reading: IngestResult) -> dict[str, int]:
    """How many rows of each table of the contract go on."""
    counts: dict[str, int] = {}
    for table in reading.counts:
        counts[table.table] = counts.get(table.table, 0) + table.accepted
    return counts
