"""The data contract: which tables and columns leadloop reads, and what makes a row of them unusable.

``CONTRACT`` is the documentation. ``check`` turns cells as they were read into typed columns; every row that
breaks the contract is named with its reason, and the others go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Literal

import polars as pl

from features.messages import Message
from features.nearest import nearest
from features.reading.parsing import categories, flags, minor_units, numbers
from features.reading.quarantine import SourceError
from features.reading.times import TimeFormat, times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from features.reading.mapping import TableMapping
    from features.reading.parsing import Decimal
    from features.reading.sieve import Sieve

TableName = Literal["leads", "touchpoints", "transitions", "attributes", "accounts"]
Kind = Literal["id", "lead", "account", "time", "word", "stage", "offer_stage", "money", "count"]
OFFER_STAGES = ("awareness", "consideration", "decision")
PART = "leadloop.part"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the contract. A row without a required one is unusable."""

    name: str
    kind: Kind
    says: str
    required: bool = False


_LEAD = Column("lead_id", "lead", "Whose row it is: an id that stands in leads.", required=True)
_OCCURRED = Column("occurred_at", "time", "When it happened.", required=True)
_KNOWN = Column("known_at", "time", "When the CRM learned of it; by default when it happened.")

CONTRACT: Mapping[TableName, tuple[Column, ...]] = {
    "leads": (
        Column("lead_id", "id", "The lead's id, once only; leading zeros are kept.", required=True),
        Column("created_at", "time", "When the lead came to be.", required=True),
        Column("account_id", "account", "The company the lead belongs to."),
    ),
    "touchpoints": (
        _LEAD,
        _OCCURRED,
        _KNOWN,
        Column("kind", "word", "What it was: visit, form, demo_request, email_open, ...", required=True),
        Column("channel", "word", "The channel it came through."),
        Column("campaign", "word", "The campaign it belongs to."),
        Column("offer", "word", "What a conversion was for, e.g. the name of a white paper."),
        Column("offer_stage", "offer_stage", "The offer's stage: awareness, consideration or decision."),
        Column("amount", "money", "Money, stored in minor units."),
        Column("seconds", "count", "How long it lasted."),
    ),
    "transitions": (
        _LEAD,
        _OCCURRED,
        _KNOWN,
        Column("stage", "stage", "The stage that was entered, one of the configured funnel.", required=True),
        Column("reason", "word", "Why, e.g. of a disqualification."),
    ),
    "attributes": (
        _LEAD,
        Column("known_at", "time", "When the CRM took over the value.", required=True),
        Column("name", "word", "Which attribute it is.", required=True),
        Column("value", "word", "Its value from then on."),
    ),
    "accounts": (Column("account_id", "id", "The account's id, once only.", required=True),),
}
FREE_COLUMNS: frozenset[TableName] = frozenset({"leads", "accounts"})


@dataclass(frozen=True)
class Context:
    """What a table is checked against: the other tables, the funnel, the present, and how it is written.

    ``leads`` has ``lead_id`` and ``PART``, a number that each of a lead's rows is given.
    """

    until: int
    leads: pl.DataFrame | None = None
    accounts: pl.Series | None = None
    stages: tuple[str, ...] = ()
    times: TimeFormat = field(default_factory=TimeFormat)
    decimal: Decimal = "."
    money: Literal["major", "minor"] = "major"
    sparse: bool = False
    """Rows without a time are no event at all: so it is where a date column stands for one kind of event."""


def columns_of(table: TableName) -> tuple[str, ...]:
    """The names of a table's columns."""
    return tuple(column.name for column in CONTRACT[table])


def refuse_unknown(table: TableName, mapping: TableMapping) -> None:
    """Raise SourceError when a mapping speaks of a column that the contract of ``table`` does not have."""
    for column in (*mapping.columns, *mapping.constants, *mapping.values):
        if column not in columns_of(table):
            hint = nearest(column, columns_of(table))
            msg = f"{mapping.name}: the contract of {table} has no column {column!r}{hint}"
            raise SourceError(msg)


def check(table: TableName, rows: Sieve, context: Context) -> Sieve:
    """The rows that keep the contract, its columns typed; the others are in ``found`` with their reasons.

    ``rows`` has the contract's columns with cells as they were read, cleaned; columns that are absent are
    filled with nulls. Columns beyond the contract stay as they are.
    """
    present = frozenset(rows.frame.columns)
    absent = [column for column in CONTRACT[table] if column.name not in present]
    if needed := [column.name for column in absent if column.required]:
        msg = f"{table} need a column {needed[0]!r}; name yours in columns = {{{needed[0]} = ...}}"
        raise SourceError(msg)
    rows = replace(rows, frame=rows.frame.with_columns(pl.lit(None, pl.String).alias(c.name) for c in absent))
    if context.sparse:
        rows = replace(rows, frame=rows.frame.filter(pl.col("occurred_at").is_not_null()))
    checked = reduce(
        lambda sieve, column: _CHECKS[column.kind](sieve, column, context), CONTRACT[table], rows
    )
    return _known_after(checked) if "occurred_at" in columns_of(table) else checked


def _required(rows: Sieve, column: Column) -> Sieve:
    return (
        rows.drop(pl.col(column.name).is_null(), column.name, Message(f"required.{column.name}"))
        if column.required
        else rows
    )


def _typed(rows: Sieve, column: Column, values: pl.Series) -> Sieve:
    return replace(rows, frame=rows.frame.with_columns(values.alias(column.name)))


def _word(rows: Sieve, column: Column, _: Context) -> Sieve:
    return _required(_typed(rows, column, categories(rows.frame[column.name])), column)


def _id(rows: Sieve, column: Column, context: Context) -> Sieve:
    first = pl.col(column.name).is_first_distinct()
    return _word(rows, column, context).drop(~first, column.name, Message("ingest.repeated_id"))


def _lead(rows: Sieve, column: Column, context: Context) -> Sieve:
    rows = _word(rows, column, context)
    if context.leads is None:
        return rows
    found = rows.frame.join(context.leads, on=column.name, how="left", maintain_order="left")
    return replace(rows, frame=found).drop(
        pl.col(PART).is_null(), column.name, Message("ingest.no_such_lead")
    )


def _account(rows: Sieve, column: Column, context: Context) -> Sieve:
    rows = _word(rows, column, context)
    if context.accounts is None:
        return rows
    unknown = ~rows.frame[column.name].is_in(context.accounts.implode())
    return rows.note(
        unknown & rows.frame[column.name].is_not_null(), column.name, Message("ingest.no_such_account")
    )


def _time(rows: Sieve, column: Column, context: Context) -> Sieve:
    rows = _required(rows, column)
    parsed = times(rows.frame[column.name], context.times)
    rows = replace(rows, frame=rows.frame.with_columns(parsed.alias(_PARSED)))
    unread = pl.col(_PARSED).is_null() & pl.col(column.name).is_not_null()
    how = Message("ingest.no_time_parsed", pattern=context.times.pattern, zone=str(context.times.zone))
    rows = rows.drop(unread, column.name, how)
    rows = rows.drop(pl.col(_PARSED) >= context.until, column.name, Message("ingest.future"))
    return replace(rows, frame=rows.frame.with_columns(pl.col(_PARSED).alias(column.name)).drop(_PARSED))


_PARSED = "leadloop.parsed"


def _stage(rows: Sieve, column: Column, context: Context) -> Sieve:
    rows = _word(rows, column, context)
    unknown = ~pl.col(column.name).is_in(context.stages)
    return rows.drop(unknown, column.name, Message("ingest.no_such_stage")) if context.stages else rows


def _offer_stage(rows: Sieve, column: Column, context: Context) -> Sieve:
    rows = _word(rows, column, context)
    words = rows.frame[column.name].str.to_lowercase()
    unknown = ~words.is_in(OFFER_STAGES)
    why = Message("ingest.no_such_offer_stage", stages=", ".join(OFFER_STAGES))
    noted = rows.note(unknown.fill_null(value=False), column.name, why)
    return _typed(noted, column, words.set(unknown, None))


def _count(rows: Sieve, column: Column, context: Context) -> Sieve:
    return _number(rows, column, numbers(rows.frame[column.name], context.decimal).floor().cast(pl.Int64))


def _money(rows: Sieve, column: Column, context: Context) -> Sieve:
    if context.money == "minor":
        return _count(rows, column, context)
    return _number(rows, column, minor_units(rows.frame[column.name], context.decimal))


def _number(rows: Sieve, column: Column, values: pl.Series) -> Sieve:
    unread = values.is_null() & rows.frame[column.name].is_not_null()
    return _typed(rows.note(unread, column.name, Message("ingest.no_number")), column, values)


_CHECKS: Mapping[Kind, Callable[[Sieve, Column, Context], Sieve]] = {
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


def _known_after(rows: Sieve) -> Sieve:
    """Nothing is known before it happens: ``known_at`` is lifted to ``occurred_at`` where it is earlier."""
    occurred, known = pl.col("occurred_at"), pl.col("known_at")
    early = int(rows.frame.select((known < occurred).sum()).item() or 0)
    lifted = replace(rows, frame=rows.frame.with_columns(known_at=pl.max_horizontal(occurred, known)))
    return lifted.remark("rows were known before they happened; they count as known when they did", early)


def attribute_numbers(values: pl.Series, decimal: Decimal) -> pl.Series:
    """Float64 values of an attribute history where they are numbers, or yes and no; null elsewhere."""
    return numbers(values, decimal).fill_null(flags(values))
