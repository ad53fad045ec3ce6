"""Rows of Arrow as frames, also those with columns of types that Polars does not have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

_OFFSET_ZONE = re.compile(r"tz=[+-][0-9]")
_OBJECT = pa.struct([("text", pa.string())])


def arrow_to_frame(rows: pa.RecordBatch) -> pl.DataFrame:
    """A frame of the rows; a type that Polars lacks becomes the nearest, or an object, which is no attribute.

    >>> arrow_to_frame(pa.record_batch({"at": pa.array([0], pa.timestamp("s", tz="+05:30"))})).schema["at"]
    Datetime(time_unit='ms', time_zone='UTC')
    """
    for place, column in enumerate(rows.schema):
        if (convert := _converter(column.type)) is not None:
            cells = convert(rows.column(place))
            rows = rows.set_column(place, pa.field(column.name, cells.type), cells)
    if any(column.metadata for column in rows.schema):  # by which Polars knows types of others
        rows = pa.RecordBatch.from_arrays(rows.columns, names=rows.schema.names)
    return pl.DataFrame(rows)


def arrow_to_empty_frame(schema: pa.Schema) -> pl.DataFrame:
    """The frame that rows of the schema would have, without any."""
    columns = [
        pa.nulls(0, _OBJECT if _converter(column.type) is _as_object else column.type) for column in schema
    ]
    return arrow_to_frame(pa.RecordBatch.from_arrays(columns, names=schema.names))


def has_plain_cells(kind: pa.DataType) -> bool:
    """Whether cells of a type are texts, numbers, flags or dates that need no conversion.

    >>> has_plain_cells(pa.string()), has_plain_cells(pa.timestamp("us", "+05:30"))
    (True, False)
    """
    return not needs_conversion(kind) and any(check(kind) for check in _PLAIN)


def needs_conversion(kind: pa.DataType) -> bool:
    """Whether a type is one that Polars does not have.

    >>> needs_conversion(pa.timestamp("us", "+05:30")), needs_conversion(pa.list_(pa.string()))
    (True, False)
    """
    return _converter(kind) is not None


_PLAIN = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_integer,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_boolean,
    pa.types.is_date32,
    pa.types.is_timestamp,
)


def _converter(kind: pa.DataType) -> Callable[[pa.Array], pa.Array] | None:
    if isinstance(kind, pa.OpaqueType) or pa.types.is_interval(kind) or pa.types.is_union(kind):
        return _as_object
    if isinstance(kind, pa.BaseExtensionType):
        return lambda cells: cells.storage
    if pa.types.is_decimal256(kind):
        return lambda cells: cells.cast(pa.string())
    if not _OFFSET_ZONE.search(str(kind)):
        return None
    if pa.types.is_timestamp(kind):
        return lambda cells: cells.cast(pa.timestamp(kind.unit, tz="UTC"))
    return _as_object


def _as_object(cells: pa.Array) -> pa.Array:
    """Each cell as an object of one text, which is no attribute."""
    return pa.array([None if cell is None else {"text": str(cell)} for cell in cells.to_pylist()], _OBJECT)
