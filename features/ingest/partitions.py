"""A history larger than the memory, in parts that can be looked at one after the other.

A lead and its colleagues are always in the same part, so every feature of a lead can be computed from its
part alone. The events wait in a temporary folder: each batch of them is sorted by part there, which makes a
part one slice of every batch.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from features.ingest.event_tables import EVENT_SCHEMAS, EventSink
from features.ingest.read_history import read_history_in_batches
from features.merges import PART

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.history import LeadHistory
    from features.ingest.mapping import HistoryMapping
    from features.ingest.read_history import IngestResult
    from features.ingest.schema import TableName


@dataclass(frozen=True)
class HistoryPartitions:
    """A history larger than the memory, on disk, that can be gone through part by part.

    A lead and its colleagues are in the same part. In the parts ``lead_id`` is an Enum, in the order of the
    leads: joins and groups by it cost half as much.

    Attributes:
        reading: What was read: quarantine, notices, and a history that has leads but no events.
    """

    reading: IngestResult
    _leads: pl.DataFrame
    _spill: _Spill

    def histories(self) -> Iterator[LeadHistory]:
        """The history of one part after the other; together they are the whole."""
        for (part,), leads in self._leads.group_by(PART, maintain_order=True):
            events: dict[str, Any] = {name: self._spill.events(name, part) for name in EVENT_SCHEMAS}
            history = replace(self.reading.history, leads=leads.drop(PART), **events)
            yield history.map_frames(partial(_cast_lead_ids, ids=pl.Enum(leads["lead_id"])))


def _cast_lead_ids(frame: pl.DataFrame, ids: pl.Enum) -> pl.DataFrame:
    return frame.with_columns(pl.col("^lead_id$").cast(ids))


@contextmanager
def read_partitioned(
    mapping: HistoryMapping, now: int, quarantine_file: Path | None = None, *, leads: int
) -> Iterator[HistoryPartitions]:
    """Read all tables of a history as ``read_history`` does, with the events on disk.

    Args:
        mapping: Where the tables are and how they map onto the data contract.
        now: Epoch seconds; rows at or after ``mapping.observed_until``, or else ``now``, are in the future.
        quarantine_file: Where bad rows are written as CSV; None for nowhere.
        leads: About how many leads a part has.

    Yields:
        The history in parts; the files behind it go when the context ends.

    Raises:
        SourceError: a table or column is missing, or cannot be used at all.
        TooManyBadRowsError: more than ``mapping.max_share`` of all rows are bad.
    """
    with tempfile.TemporaryDirectory(prefix="leadloop-") as folder:
        spill = _Spill(Path(folder))

        def part_of(frame: pl.DataFrame) -> pl.Series:
            return assign_partitions(frame, leads)

        reading = read_history_in_batches(
            mapping, now, quarantine_file, sink=EventSink(spill.add, spill.forget), part_of=part_of
        )
        lead_rows = reading.history.leads
        yield HistoryPartitions(
            reading, lead_rows.with_columns(assign_partitions(lead_rows, leads).alias(PART)), spill
        )


def assign_partitions(leads: pl.DataFrame, size: int) -> pl.Series:
    """The number of the part of each lead: about ``size`` leads each, with those of an account together.

    >>> leads = pl.DataFrame({"account_id": ["A", None, "B", "A", None]})
    >>> assign_partitions(leads, 2).to_list()
    [0, 1, 1, 0, 2]
    """
    row, account = pl.col("row").cast(pl.Int64), pl.col("account_id")
    first = pl.when(account.is_null()).then(row).otherwise(row.min().over(account))
    place = first.rank("min").cast(pl.Int64) - 1
    return leads.select("account_id").with_row_index("row").select(place // size).to_series()


@dataclass(frozen=True)
class _Spill:
    """Batches of events on disk, and where in each a part begins and ends."""

    folder: Path
    batches: list[tuple[TableName, Path, dict[int, tuple[int, int]]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def add(self, name: TableName, rows: pl.DataFrame) -> None:
        """Add a batch."""
        path = self.folder / f"{next(self._numbers)}.arrow"
        ordered = _to_categories(rows).sort(PART)
        ordered.drop(PART).write_ipc(path)
        spans = ordered.with_row_index().group_by(PART).agg(pl.col("index").min(), pl.len())
        self.batches.append((name, path, {part: (first, size) for part, first, size in spans.iter_rows()}))

    def forget(self, name: TableName, count: int) -> None:
        """Delete the last so many batches of a table."""
        last = [batch for batch in self.batches if batch[0] == name][-count:] if count else []
        for batch in last:
            self.batches.remove(batch)
            batch[1].unlink()

    def events(self, name: TableName, part: int) -> pl.DataFrame:
        """The events of a part."""
        empty = _to_categories(pl.DataFrame(schema=EVENT_SCHEMAS[name])).lazy()
        slices = [
            pl.scan_ipc(path).slice(*spans[part])
            for table, path, spans in self.batches
            if table == name and part in spans
        ]
        return pl.concat([empty, *slices]).collect()


def _to_categories(rows: pl.DataFrame) -> pl.DataFrame:
    """Text as categories, which take a quarter of the memory and compare faster."""
    words = [name for name, dtype in rows.schema.items() if dtype == pl.String and name != "lead_id"]
    return rows.with_columns(pl.col(words).cast(pl.Categorical))
