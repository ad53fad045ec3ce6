"""Reads a history from frames in memory, which are checked as files are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as nw
import polars as pl

from features.ingest.event_tables import EVENT_SCHEMAS
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.quarantine import Quarantine, SourceError
from features.ingest.read_history import IngestResult, read_history
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping


_TABLES = ("leads", "accounts", *EVENT_SCHEMAS)
_FAR_FUTURE = 2**40


def read_frames(
    tables: Mapping[str, Any], stages: tuple[str, ...] = (), now: int | None = None
) -> IngestResult:
    """Read a history from frames in memory; they are checked as files are.

    Args:
        tables: "leads" and, where there are any, "touchpoints", "transitions", "attributes" and "accounts":
            frames of Polars or pandas with the columns of the data contract. Times are datetimes (without a
            zone they are UTC) or ISO text; an index is left out.
        stages: The company's own stages; a transition into any other is bad. Empty for no check.
        now: Epoch seconds; rows at or after it are in the future. None for one second after the newest row.

    Returns:
        The history with its quarantine, in which ``file`` is the name of the table and ``row`` 1 its first
        row.

    Raises:
        SourceError: a table or column is missing, or cannot be used at all.
        TooManyBadRowsError: more than 5 % of all rows are bad.
    """
    _check_table_names(tables)
    # Through Parquet, which keeps the types, so that there is one way of reading and not two.
    with TemporaryDirectory() as folder:
        places = {name: _write_parquet(frame, Path(folder) / name) for name, frame in tables.items()}
        reading = read_history(_frames_mapping(places, stages, now), _FAR_FUTURE if now is None else now)
    return replace(reading, quarantine=_with_table_names(reading.quarantine))


def _check_table_names(tables: Mapping[str, Any]) -> None:
    if "leads" not in tables:
        msg = "there is no table of leads; name it 'leads'"
        raise SourceError(msg)
    if unknown := sorted(set(tables) - set(_TABLES)):
        msg = f"{unknown[0]!r} is no table of a history{suggest(unknown[0], _TABLES)}"
        raise SourceError(msg)


def _write_parquet(frame: Any, path: Path) -> TableMapping:
    rows = nw.from_native(frame, eager_only=True)
    with_zone = [
        name for name, kind in rows.schema.items() if isinstance(kind, nw.Datetime) and kind.time_zone
    ]
    # Without a zone a time is read as UTC; on the way out of pandas a zone makes pyarrow warn.
    utc = (nw.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None) for name in with_zone)
    rows.with_columns(*utc).to_polars().write_parquet(path)
    return TableMapping(file=path)


def _frames_mapping(
    places: Mapping[str, TableMapping], stages: tuple[str, ...], now: int | None
) -> HistoryMapping:
    events: dict[str, Any] = {name: (places[name],) for name in EVENT_SCHEMAS if name in places}
    return HistoryMapping(
        places["leads"], accounts=places.get("accounts"), stages=stages, observed_until=now, **events
    )


def _with_table_names(quarantine: Quarantine) -> Quarantine:
    return replace(quarantine, frame=quarantine.frame.with_columns(pl.col("file").str.split("/").list.last()))
