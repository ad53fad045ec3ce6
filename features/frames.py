"""A history from frames that are in memory already, pandas or Polars: read and checked as files are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as nw
import polars as pl

from features.nearest import nearest
from features.reading.mapping import HistoryMapping, TableMapping
from features.reading.quarantine import Quarantine, SourceError
from features.sources import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.sources import Reading

_EVENTS = ("touchpoints", "transitions", "attributes")
_TABLES = ("leads", "accounts", *_EVENTS)
_LATE = 2**40


def read_frames(tables: Mapping[str, Any], stages: tuple[str, ...] = (), now: int | None = None) -> Reading:
    """The history in ``tables``: "leads", "touchpoints", "transitions", "attributes" and "accounts" by name.

    Columns are called as in the contract of the data; times are datetimes (without a zone they are UTC) or
    ISO text, an index is left out. Rows at or after ``now`` are in the future; without it, the newest row is
    the last one. In the quarantine ``file`` is the name of the table and ``row`` 1 its first row.

    Raises:
        SourceError: a table or column is missing, or cannot be used at all.
        TooManyBadRowsError: more than 5 % of all rows are bad.
    """
    _check(tables)
    # Through Parquet, which keeps the types, so that there is one way of reading and not two.
    with TemporaryDirectory() as folder:
        places = {name: _kept(frame, Path(folder) / name) for name, frame in tables.items()}
        reading = read(_mapping(places, stages, now), _LATE if now is None else now)
    return replace(reading, quarantine=_renamed(reading.quarantine))


def _check(tables: Mapping[str, Any]) -> None:
    if "leads" not in tables:
        msg = "there is no table of leads; name it 'leads'"
        raise SourceError(msg)
    if unknown := sorted(set(tables) - set(_TABLES)):
        msg = f"{unknown[0]!r} is no table of a history{nearest(unknown[0], _TABLES)}"
        raise SourceError(msg)


def _kept(frame: Any, path: Path) -> TableMapping:
    rows = nw.from_native(frame, eager_only=True)
    zoned = [name for name, kind in rows.schema.items() if isinstance(kind, nw.Datetime) and kind.time_zone]
    # Without a zone a time is read as UTC; on the way out of pandas a zone makes pyarrow warn.
    utc = (nw.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None) for name in zoned)
    rows.with_columns(*utc).to_polars().write_parquet(path)
    return TableMapping(file=path)


def _mapping(places: Mapping[str, TableMapping], stages: tuple[str, ...], now: int | None) -> HistoryMapping:
    events: dict[str, Any] = {name: (places[name],) for name in _EVENTS if name in places}
    return HistoryMapping(
        places["leads"], accounts=places.get("accounts"), stages=stages, observed_until=now, **events
    )


def _renamed(found: Quarantine) -> Quarantine:
    return replace(found, frame=found.frame.with_columns(pl.col("file").str.split("/").list.last()))
