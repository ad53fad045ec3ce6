"""The data contract: which tables and columns leadloop reads, and what makes a row of them unusable.

``CONTRACT`` is the documentation. ``validate_table`` turns cells as they were read into typed columns; every
row that breaks the contract is named with its reason, and the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Literal

import polars as pl

from features.clock import DAY
from features.ingest.known_leads import CREATED
from features.ingest.quarantine import SourceError
from features.ingest.row_validation import ROW
from features.ingest.timestamps import TimeFormat, is_placeholder, parse_timestamps
from features.ingest.total_rows import reject_totals
from features.ingest.whole_days import day_ends, is_date_only
from features.merges import PART
from features.messages import Message
from features.parsing import minor_units, parse_amounts, parse_categories, parse_flags
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from features.ingest.known_leads import KnownIds, LeadDirectory
    from features.ingest.mapping import TableEvidence, TableMapping
    from features.ingest.row_validation import ValidatedRows
    from features.parsing import Decimal

TableName = Literal["leads", "touchpoints", "transitions", "attributes", "accounts", "merges"]
Kind = Literal["id", "lead", "account", "time", "word", "stage", "offer_stage", "money", "count"]
OFFER_STAGES = ("awareness", "consideration", "decision")


@dataclass(frozen=True, slots=True)
class ContractColumn:
    """One column of the contract. A row without a required one is unusable."""

    name: str
    kind: Kind
    says: str
    required: bool = False


_LEAD = ContractColumn("lead_id", "lead", "Whose row it is: an id that stands in leads.", required=True)
_OCCURRED = ContractColumn("occurred_at", "time", "When it happened.", required=True)
_KNOWN = ContractColumn("known_at", "time", "When the CRM learned of it; by default when it happened.")

CONTRACT: Mapping[TableName, tuple[ContractColumn, ...]] = {
    "leads": (
        ContractColumn("lead_id", "id", "The lead's id, once only; leading zeros are kept.", required=True),
        ContractColumn("created_at", "time", "When the lead came to be.", required=True),
        ContractColumn("account_id", "account", "The company the lead belongs to."),
        ContractColumn(
            "known_at", "time", "When the CRM learned of the lead; by default when it came to be."
        ),
    ),
    "touchpoints": (
        _LEAD,
        _OCCURRED,
        _KNOWN,
        ContractColumn(
            "kind", "word", "What it was: visit, form, demo_request, email_open, ...", required=True
        ),
        ContractColumn("channel", "word", "The channel it came through."),
        ContractColumn("campaign", "word", "The campaign it belongs to."),
        ContractColumn("offer", "word", "What a conversion was for, e.g. the name of a white paper."),
        ContractColumn(
            "offer_stage", "offer_stage", "The offer's stage: awareness, consideration or decision."
        ),
        ContractColumn("amount", "money", "Money, stored in minor units."),
        ContractColumn("seconds", "count", "How long it lasted."),
    ),
    "transitions": (
        _LEAD,
        _OCCURRED,
        _KNOWN,
        ContractColumn(
            "stage", "stage", "The stage that was entered, one of the configured funnel.", required=True
        ),
        ContractColumn("reason", "word", "Why, e.g. of a disqualification."),
    ),
    "attributes": (
        _LEAD,
        ContractColumn("known_at", "time", "When the CRM took over the value.", required=True),
        ContractColumn("name", "word", "Which attribute it is.", required=True),
        ContractColumn("value", "word", "Its value from then on."),
        ContractColumn(
            "account_id", "word", "In place of lead_id: the account, for all leads of which the value counts."
        ),
    ),
    "accounts": (ContractColumn("account_id", "id", "The account's id, once only.", required=True),),
    "merges": (
        ContractColumn("lead_id", "word", "The lead that was merged into another one.", required=True),
        ContractColumn(
            "merged_into", "word", "The lead that stays; a row without one is no merge.", required=True
        ),
        ContractColumn("known_at", "time", "When they were merged.", required=True),
    ),
}
FREE_COLUMNS: frozenset[TableName] = frozenset({"leads", "accounts"})
_EVENTS = frozenset({"touchpoints", "transitions", "attributes"})
_KEYS_OF_SOME: Mapping[str, frozenset[str]] = {
    "attributes": FREE_COLUMNS,
    "gather": FREE_COLUMNS,
    "lead_id": _EVENTS,
    "also": _EVENTS,
    "stages": frozenset({"transitions"}),
    "id": _EVENTS,
    "deleted": frozenset({"leads"}),
}


@dataclass(frozen=True)
class ValidationContext:
    """What a table is checked against: the other tables, the funnel, the present, and how it is written.

    Attributes:
        until: Epoch seconds; a time at or after it is in the future.
        leads: All leads, with the part that each one's rows go to; None for no check.
        accounts: The ids of all accounts; None for no check.
        stages: The funnel's stages; empty for no check.
        times: How the table writes its times.
        decimal: Its decimal mark.
        money: Whether its amounts are in major or minor units.
        planned: The share of rows in the future that is no mistake: calls and meetings are planned.
        sparse: Whether a row without a time is no event at all, as where a date column is one kind of event.
        deleted: The ids of deleted leads, whose rows are left out; None for none.
        ends_days: Whether a date without a time counts at the end of its day, as entries into stages do.
        emails: Whether ids of leads are addresses of e-mail.
        further_ids: What else leads are called in the table, as ``features.ingest.lead_ids`` has it; None for
            nothing.
        is_part: Whether the table is that of a part, which alone does not settle the marks in its numbers.
        evidence: What all parts of the table say on them; None where the table is asked.
        dated: Whether it counts when the lead of a row was created.
        surplus: Of leads or accounts that are read in batches, the numbers of the rows whose id stands in
            another row that counts; None where the rows at hand tell.
    """

    until: int
    leads: LeadDirectory | None = None
    accounts: KnownIds | None = None
    stages: tuple[str, ...] = ()
    times: TimeFormat = field(default_factory=TimeFormat)
    decimal: Decimal = "."
    money: Literal["major", "minor"] = "major"
    planned: float = 0.0
    sparse: bool = False
    deleted: pl.Series | None = None
    ends_days: bool = False
    emails: bool = False
    further_ids: pl.DataFrame | None = None
    is_part: bool = False
    evidence: TableEvidence | None = None
    dated: bool = False
    surplus: pl.Series | None = None


def column_names(table: TableName) -> tuple[str, ...]:
    """The names of a table's columns."""
    return tuple(column.name for column in CONTRACT[table])


def number_columns(table: TableName) -> tuple[str, ...]:
    """The names of a table's columns that hold money or counts."""
    return tuple(column.name for column in CONTRACT[table] if column.kind in {"money", "count"})


def word_columns(table: TableName) -> tuple[str, ...]:
    """The names of a table's columns that hold words."""
    return tuple(column.name for column in CONTRACT[table] if column.kind == "word")


def check_mapping(table: TableName, mapping: TableMapping) -> None:
    """Raise SourceError where a mapping says something that the contract of ``table`` does not know."""
    for key, tables in _KEYS_OF_SOME.items():
        if getattr(mapping, key) and table not in tables:
            msg = f"{mapping.name}: {key} is a key of {' and '.join(sorted(tables))}, not of {table}"
            raise SourceError(msg)
    for column in (*mapping.columns, *mapping.constants, *mapping.values):
        if column not in column_names(table):
            hint = suggest(column, column_names(table))
            msg = f"{mapping.name}: the contract of {table} has no column {column!r}{hint}"
            raise SourceError(msg)


def validate_table(table: TableName, rows: ValidatedRows, context: ValidationContext) -> ValidatedRows:
    """The rows that keep the contract, its columns typed; the others are in ``problems`` with their reasons.

    ``rows`` has the contract's columns with cells as read, cleaned; absent columns have nulls.
    Columns beyond the contract stay as they are.
    """
    present = frozenset(rows.frame.columns)
    absent = [column for column in CONTRACT[table] if column.name not in present]
    if missing := [column.name for column in absent if column.required]:
        msg = f"{table} need a column {missing[0]!r}; name yours in columns = {{{missing[0]} = ...}}"
        raise SourceError(msg)
    if context.sparse or table == "merges":
        event = "merged_into" if table == "merges" else "occurred_at"
        rows = replace(rows, frame=rows.frame.filter(pl.col(event).is_not_null()))
    checked = reduce(
        lambda checked_rows, column: _CHECKS[column.kind](checked_rows, column, context),
        [column for column in CONTRACT[table] if column.name in present],
        rows,
    )
    empty = (pl.lit(None, _TYPES.get(column.kind, pl.String)).alias(column.name) for column in absent)
    checked = replace(checked, frame=checked.frame.with_columns(empty))
    if table == "leads":
        created = pl.max_horizontal("created_at", "known_at")
        return replace(checked, frame=checked.frame.with_columns(known_at=created))
    return _lift_known_at(checked) if "occurred_at" in column_names(table) else checked


_TYPES: Mapping[Kind, pl.DataType | type[pl.DataType]] = {
    "time": pl.Int64,
    "money": pl.Int64,
    "count": pl.Int64,
}


def _required(rows: ValidatedRows, column: ContractColumn) -> ValidatedRows:
    return (
        rows.reject(pl.col(column.name).is_null(), column.name, Message(f"required.{column.name}"))
        if column.required
        else rows
    )


def _replace_column(rows: ValidatedRows, column: ContractColumn, values: pl.Series) -> ValidatedRows:
    return replace(rows, frame=rows.frame.with_columns(values.alias(column.name)))


def _word(rows: ValidatedRows, column: ContractColumn, _: ValidationContext) -> ValidatedRows:
    return _required(_replace_column(rows, column, parse_categories(rows.frame[column.name])), column)


def _id(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    rows = reject_totals(rows, parse_categories(rows.frame[column.name]), column.name)
    rows = _word(rows, column, context)
    surplus = surplus_rows(rows.frame, column.name, context) if context.surplus is None else context.surplus
    key = "ingest.repeated_lead" if "created_at" in rows.frame.columns else "ingest.repeated_row"
    return rows.reject(pl.col(ROW).is_in(surplus.implode()), column.name, Message(key))


def surplus_rows(frame: pl.DataFrame, name: str, context: ValidationContext) -> pl.Series:
    """The numbers of the rows whose id in the column ``name`` stands in another row that counts."""
    repeated = frame.filter(pl.col(name).is_duplicated() & pl.col(name).is_not_null())
    if repeated.is_empty():
        return pl.Series(ROW, dtype=pl.Int64)
    first_rows = _earliest_rows(repeated, name, context)
    return repeated[ROW].filter(~repeated[ROW].is_in(first_rows.implode()))


def _earliest_rows(repeated: pl.DataFrame, name: str, context: ValidationContext) -> pl.Series:
    """Of rows with the same id the one to keep: the earliest created, by its cells and not by its place."""
    created = (
        [parse_timestamps(repeated["created_at"], context.times).alias(_PARSED)]
        if "created_at" in repeated.columns
        else []
    )
    others = [each for each in sorted(repeated.columns) if each not in {ROW, name}]
    # As text of Python: a cell may be a list, an object or bytes, which frames neither cast nor sort.
    cells = pl.Series(_CELLS, [repr(row) for row in repeated.select(others).iter_rows()])
    order = [name, *[each.name for each in created], _CELLS]
    ranked = repeated.with_columns(*created, cells).sort(order, nulls_last=True, maintain_order=True)
    return ranked.unique(name, keep="first", maintain_order=True)[ROW]


def _lead(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    rows = _word(rows, column, context)
    if context.leads is None:
        return rows
    located = context.leads.locate(rows.frame, dated=context.dated)
    return replace(rows, frame=located).reject(
        pl.col(PART).is_null(), column.name, Message("ingest.no_such_lead")
    )


def _account(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    rows = _word(rows, column, context)
    if context.accounts is None:
        return rows
    unknown = ~context.accounts.contains(rows.frame[column.name])
    return rows.flag(
        unknown & rows.frame[column.name].is_not_null(), column.name, Message("ingest.no_such_account")
    )


def _time(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    rows = _required(rows, column)
    parsed = parse_timestamps(rows.frame[column.name], context.times)
    rows = replace(rows, frame=rows.frame.with_columns(parsed.alias(_PARSED)))
    unreadable = pl.col(_PARSED).is_null() & pl.col(column.name).is_not_null()
    message = Message("ingest.no_time_parsed", pattern=context.times.pattern, zone=str(context.times.zone))
    rows = rows.reject(unreadable, column.name, message)
    rows = _without_placeholders(rows, column, context)
    if context.ends_days:
        rows = _end_days(rows, column, context)
    rows = _reject_future(rows, column, context)
    return replace(rows, frame=rows.frame.with_columns(pl.col(_PARSED).alias(column.name)).drop(_PARSED))


def _end_days(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    """The rows with the last second of the day where a date has no time: then, at the latest, it happened."""
    dated = is_date_only(rows.frame[column.name], context.times) & rows.frame[_PARSED].is_not_null()
    if not dated.any():
        return rows
    ends = day_ends(rows.frame[_PARSED], context.times)
    present = (rows.frame[_PARSED] < context.until).fill_null(value=False)
    today = ends.set(present & (ends >= context.until), context.until - 1)
    ended = today.zip_with(dated, rows.frame[_PARSED])
    rows = replace(rows, frame=rows.frame.with_columns(ended.alias(_PARSED)))
    if column.name != "occurred_at" or CREATED not in rows.frame.columns:
        return rows
    created = rows.frame[CREATED]
    same_day = dated & (created > rows.frame[_PARSED] - DAY) & (created <= rows.frame[_PARSED])
    text = "rows date a stage on the day of the lead's creation; they count at the end of that day"
    return rows.add_notice(text, int(same_day.sum()))


def _reject_future(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    """The rows before the present; touchpoints of the future are planned, unless most of a table are."""
    future, reason = pl.col(_PARSED) >= context.until, Message("ingest.future")
    if context.planned and column.name == "occurred_at":
        return rows.set_aside_planned(future, column.name, reason)
    return rows.reject(future, column.name, reason)


_PARSED = "leadloop.parsed"
_CELLS = "leadloop.cells"


def _without_placeholders(
    rows: ValidatedRows, column: ContractColumn, context: ValidationContext
) -> ValidatedRows:
    """The rows without dates that stand for none, such as 1900-01-01: as if the cell were empty, but told."""
    empty = is_placeholder(rows.frame[_PARSED])
    if not empty.any():
        return rows
    noticed_rows = rows.add_notice(
        f"cells of {column.name} hold a date that stands for none", int(empty.sum())
    )
    if context.sparse and column.name == "occurred_at":
        return replace(noticed_rows, frame=noticed_rows.frame.filter(~empty.fill_null(value=False)))
    if column.required:
        return rows.reject(empty, column.name, Message("ingest.placeholder_date"))
    return replace(
        noticed_rows, frame=noticed_rows.frame.with_columns(noticed_rows.frame[_PARSED].set(empty, None))
    )


def _stage(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    rows = _word(rows, column, context)
    unknown = ~pl.col(column.name).is_in(context.stages)
    return rows.reject(unknown, column.name, Message("ingest.no_such_stage")) if context.stages else rows


def _offer_stage(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    rows = _word(rows, column, context)
    if rows.frame[column.name].unique().drop_nulls().is_in(OFFER_STAGES).all():
        return rows
    words = rows.frame[column.name].str.to_lowercase()
    unknown = ~words.is_in(OFFER_STAGES)
    reason = Message("ingest.no_such_offer_stage", stages=", ".join(OFFER_STAGES))
    flagged = rows.flag(unknown.fill_null(value=False), column.name, reason)
    return _replace_column(flagged, column, words.set(unknown, None))


def _count(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    return _number(
        rows, column, parse_amounts(rows.frame[column.name], context.decimal).floor().cast(pl.Int64)
    )


def _money(rows: ValidatedRows, column: ContractColumn, context: ValidationContext) -> ValidatedRows:
    if context.money == "minor":
        return _count(rows, column, context)
    return _number(rows, column, minor_units(rows.frame[column.name], context.decimal))


def _number(rows: ValidatedRows, column: ContractColumn, values: pl.Series) -> ValidatedRows:
    unreadable = values.is_null() & rows.frame[column.name].is_not_null()
    return _replace_column(rows.flag(unreadable, column.name, Message("ingest.no_number")), column, values)


_CHECKS: Mapping[Kind, Callable[[ValidatedRows, ContractColumn, ValidationContext], ValidatedRows]] = {
    "id": _id,
    "lead": _lead,
    "account": _account,
    "time": _time,
    "word": _word,
    "stage": _stage,
    "offer_stage": _offer_stage,
    "money": _money,
    "count": _count,
}


def _lift_known_at(rows: ValidatedRows) -> ValidatedRows:
    """The rows with ``known_at`` lifted to ``occurred_at`` where it is earlier."""
    occurred, known = pl.col("occurred_at"), pl.col("known_at")
    if rows.frame["known_at"].null_count() == rows.frame.height:
        return replace(rows, frame=rows.frame.with_columns(known_at=occurred))
    early = int(rows.frame.select((known < occurred).sum()).item() or 0)
    lifted = replace(rows, frame=rows.frame.with_columns(known_at=pl.max_horizontal(occurred, known)))
    return lifted.add_notice("rows were known before they happened; they count as known when they did", early)


def attribute_numbers(values: pl.Series, decimal: Decimal) -> pl.Series:
    """Float64 values of an attribute history where they are numbers, or yes and no; null elsewhere."""
    return parse_amounts(values, decimal).fill_null(parse_flags(values))
