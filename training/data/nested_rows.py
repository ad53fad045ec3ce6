"""Rows of a table in which a lead's events lie nested: the history that a model of a history needs.

MLflow hands a model one table. A lead is a row of it; what it did stands in the row as a list of records, or
as the JSON text of one, so that a table of any engine, a CSV file and a request can hold it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from features.history import (
    ACCOUNT_PREFIX,
    ATTRIBUTE_SCHEMA,
    TOUCHPOINT_SCHEMA,
    TRANSITION_SCHEMA,
    LeadHistory,
)
from features.ingest.attribute_columns import AttributeReading, read_attributes
from features.ingest.flat_export import FlatColumns
from features.ingest.history_extractions import extract_history
from features.ingest.row_validation import ValidatedRows
from features.ingest.timestamps import parse_timestamps
from features.spec import FeatureSet
from features.suggestions import suggest

CREATED, AS_OF, LEAD, ACCOUNT = "created_at", "as_of", "lead_id", "account_id"
_SCHEMAS: dict[str, dict[str, Any]] = {
    "touchpoints": TOUCHPOINT_SCHEMA,
    "transitions": TRANSITION_SCHEMA,
    "attributes": ATTRIBUTE_SCHEMA,
}
NESTED = tuple(_SCHEMAS)
_REQUIRED = {
    "touchpoints": ("occurred_at", "kind"),
    "transitions": ("occurred_at", "stage"),
    "attributes": ("known_at", "name"),
}
_TIMES = frozenset({"occurred_at", "known_at"})


class NestedRowsError(ValueError):
    """Rows that are no leads with nested events; the message names the column or the record."""


def nested_columns(features: FeatureSet) -> tuple[str, ...]:
    """The columns that rows must have for these features, beside ``created_at``."""
    events = [name for name in NESTED if any(spec.source == name for spec in features.specs)]
    return (*_plain(features).needed, *events)


def _plain(features: FeatureSet) -> FlatColumns:
    """The plain columns of leads and accounts that the features are read from."""
    return FlatColumns.from_features(FeatureSet(tuple(s for s in features.specs if s.reduce == "value")))


def read_nested(features: FeatureSet, rows: pl.DataFrame, now: int) -> tuple[LeadHistory, pl.DataFrame]:
    """The history in rows of leads, and the snapshots at which they are to be scored.

    Args:
        features: The features of the model.
        rows: A row a lead: ``created_at``; perhaps ``lead_id``, ``account_id`` and ``as_of``; the plain
            columns of leads and accounts; and in ``NESTED`` the records of its events. Times are ISO 8601 or
            epoch seconds, amounts are minor units.
        now: When leads without ``as_of`` are scored, in epoch seconds.

    Returns:
        The history, and ``lead_id`` and ``as_of`` of each row in its order.

    Raises:
        NestedRowsError: A column is missing, an id stands twice, or a record cannot be read.
    """
    columns = nested_columns(features)
    if missing := [name for name in (CREATED, *columns) if name not in rows.columns]:
        msg = (
            f"no column {missing[0]!r}{suggest(missing[0], rows.columns)}; a model of a history takes a "
            f"column for each of its features, or {CREATED}, {', '.join(columns)}"
        )
        raise NestedRowsError(msg)
    ids = _ids(rows)
    created = _times(rows[CREATED], CREATED)
    as_of = pl.Series(AS_OF, [now] * rows.height, dtype=pl.Int64)
    if AS_OF in rows.columns:
        as_of = _times(rows[AS_OF], AS_OF, default=now)
    events = {name: _events(name, ids, rows[name] if name in rows.columns else None) for name in NESTED}
    leads, accounts = _attributes(features, rows, ids, created)
    history = LeadHistory(
        leads,
        events["touchpoints"],
        events["transitions"],
        int(as_of.max() or now) + 1,  # type: ignore[arg-type]
        extract_history(events["attributes"], features.history_extractions),
        accounts,
    )
    return history, pl.DataFrame({LEAD: ids, AS_OF: as_of})


def _ids(rows: pl.DataFrame) -> pl.Series:
    if LEAD not in rows.columns:
        return pl.Series(LEAD, [str(place) for place in range(rows.height)], pl.String)
    ids = rows[LEAD].cast(pl.String)
    if ids.null_count() or ids.n_unique() < len(ids):
        msg = f"{LEAD!r} must be there once for each row; leave the column out where leads have no ids"
        raise NestedRowsError(msg)
    return ids


def _times(column: pl.Series, name: str, default: int | None = None) -> pl.Series:
    known = _seconds(column)
    wrong = known.is_null() if default is None else known.is_null() & column.is_not_null()
    if wrong.any():
        msg = f"row {int(wrong.arg_true()[0]) + 1}: {name} is no time; {_TIME_HINT}"
        raise NestedRowsError(msg)
    return known if default is None else known.fill_null(default)


_TIME_HINT = "write it like 2024-02-29T13:45:00+01:00, or in epoch seconds"


def _seconds(column: pl.Series) -> pl.Series:
    """Times as epoch seconds: those that are so already, and others as files write them."""
    if column.dtype.is_numeric():
        return column.cast(pl.Int64)
    if column.dtype != pl.String:
        return parse_timestamps(column)
    is_whole = column.str.contains(r"^-?\d+$").fill_null(value=False)
    return parse_timestamps(column.set(is_whole, None)).zip_with(
        ~is_whole, column.cast(pl.Int64, strict=False)
    )


def _attributes(
    features: FeatureSet, rows: pl.DataFrame, ids: pl.Series, created: pl.Series
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Leads and accounts with their plain columns, read as a file's are."""
    columns = _plain(features)
    free = rows.select(columns.needed)
    reading = AttributeReading(columns.roles, extractions=columns.extractions)
    typed = read_attributes(ValidatedRows.from_frame(free), free, reading, ".").frame
    of_accounts = [name for name in typed.columns if name.startswith(ACCOUNT_PREFIX)]
    account = pl.Series([None] * rows.height, dtype=pl.String)
    if ACCOUNT in rows.columns:
        account = rows[ACCOUNT].cast(pl.String)
    elif of_accounts:
        account = "account of " + ids
    leads = pl.DataFrame([ids.alias(LEAD), created.alias(CREATED), account.alias(ACCOUNT)])
    accounts = pl.DataFrame([account.alias(ACCOUNT)]).with_columns(
        typed[name].alias(name.removeprefix(ACCOUNT_PREFIX)) for name in of_accounts
    )
    return (
        leads.with_columns(typed.drop(of_accounts).get_columns()),
        accounts.drop_nulls(ACCOUNT).unique(ACCOUNT, keep="first", maintain_order=True),
    )


def _events(name: str, ids: pl.Series, column: pl.Series | None) -> pl.DataFrame:
    """The records of a nested column as a table of a history; an empty one without the column."""
    schema = _SCHEMAS[name]
    cells = [] if column is None else zip(ids, column.to_list(), strict=True)
    records = [{LEAD: lead_id, **record} for lead_id, cell in cells for record in _records(name, cell)]
    for record in records:
        _check_record(name, record)
    columns = {
        field: _field(name, field, [record.get(field) for record in records], dtype)
        for field, dtype in schema.items()
    }
    frame = pl.DataFrame(columns, schema=schema)
    if "occurred_at" in schema:
        frame = frame.with_columns(pl.col("known_at").fill_null(pl.col("occurred_at")))
    if name == "attributes":
        number = pl.col("value").cast(pl.Float64, strict=False)
        frame = frame.with_columns(number=pl.coalesce("number", number))
    return frame


def _check_record(name: str, record: Mapping[str, Any]) -> None:
    schema = _SCHEMAS[name]
    if unknown := record.keys() - schema.keys():
        msg = f"{name} of {record[LEAD]!r}: no field {min(unknown)!r}{suggest(min(unknown), schema)}"
        raise NestedRowsError(msg)
    if missing := [field for field in _REQUIRED[name] if record.get(field) is None]:
        msg = f"{name} of {record[LEAD]!r}: a record has no {missing[0]!r}"
        raise NestedRowsError(msg)


def _field(name: str, field: str, cells: list[Any], dtype: Any) -> pl.Series:
    if field in _TIMES or dtype == pl.String:
        texts = pl.Series([None if cell is None else str(cell) for cell in cells], dtype=pl.String)
        if field not in _TIMES:
            return texts
        times = _seconds(texts)
        if (times.is_null() & texts.is_not_null()).any():
            msg = f"{name}: a {field} is no time; {_TIME_HINT}"
            raise NestedRowsError(msg)
        return times
    try:
        return pl.Series([None if cell is None else float(cell) for cell in cells], dtype=pl.Float64).cast(
            dtype
        )
    except (TypeError, ValueError) as error:
        msg = f"{name}: a {field} is no number"
        raise NestedRowsError(msg) from error


def _records(name: str, cell: Any) -> Iterator[Mapping[str, Any]]:
    """The records in a cell: of a list, or of its JSON text; none of an empty cell."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell) if cell.strip() else None
        except ValueError as error:
            msg = f"{name}: a cell is no JSON list of records"
            raise NestedRowsError(msg) from error
    for record in cell if cell is not None and not isinstance(cell, float) else ():
        if not isinstance(record, Mapping):
            msg = f"{name}: a cell is no list of records"
            raise NestedRowsError(msg)
        yield {key: value for key, value in record.items() if value is not None}
