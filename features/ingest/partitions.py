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
from typing import TYPE_CHECKING

import polars as pl

from features.history import LeadHistory
from features.ingest.event_tables import EVENT_SCHEMAS, EventSink
from features.ingest.read_history import read_history_in_batches
from features.merges import PART

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.ingest.mapping import HistoryMapping
    from features.ingest.read_history import IngestResult
    from features.ingest.schema import TableName


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """One part of a history on disk: names of files and places in them, for whichever process reads it.

    Attributes:
        name: Which part it is, such as "part 3 of 40".
    """

    name: str
    _leads: Path
    _accounts: Path
    _events: tuple[tuple[TableName, tuple[tuple[Path, int, int], ...]], ...]
    _observed_until: int

    def read(self) -> LeadHistory:
        """The history of the part; ``lead_id`` is an Enum, in the order of the leads."""
        leads = pl.read_ipc(self._leads)
        history = LeadHistory(
            leads=leads,
            observed_until=self._observed_until,
            accounts=pl.read_ipc(self._accounts),
            **{name: _read_slices(name, slices) for name, slices in self._events},
        )
        return history.map_frames(partial(_cast_lead_ids, ids=pl.Enum(leads["lead_id"])))


@dataclass(frozen=True)
class HistoryPartitions:
    """A history larger than the memory, on disk, that can be gone through part by part.

    A lead and its colleagues are in the same part. In the parts ``lead_id`` is an Enum, in the order of the
    leads: joins and groups by it cost half as much.

    Attributes:
        reading: What was read: quarantine, notices, and a history of the same columns without rows.
        parts: The parts, each to be read on its own.
    """

    reading: IngestResult
    parts: tuple[HistoryPart, ...]

    def histories(self) -> Iterator[LeadHistory]:
        """The history of one part after the other; together they are the whole."""
        for part in self.parts:
            yield part.read()


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
        parts = tuple(_write_parts(reading.history, spill, leads))
        empty = replace(reading.history, leads=reading.history.leads.clear())
        reading = replace(reading, history=empty)
        yield HistoryPartitions(reading, parts)


def _write_parts(history: LeadHistory, spill: _Spill, size: int) -> Iterator[HistoryPart]:
    """Write the leads of each part beside the events."""
    accounts = spill.folder / "accounts.arrow"
    history.accounts.write_ipc(accounts)
    leads = history.leads.with_columns(assign_partitions(history.leads, size).alias(PART))
    count = leads[PART].n_unique()
    for number, ((part,), rows) in enumerate(leads.group_by(PART, maintain_order=True), start=1):
        path = spill.folder / f"leads-{number}.arrow"
        rows.drop(PART).write_ipc(path)
        events = tuple((name, tuple(spill.slices(name, int(part)))) for name in EVENT_SCHEMAS)
        yield HistoryPart(f"part {number:,} of {count:,}", path, accounts, events, history.observed_until)


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

    def slices(self, name: TableName, part: int) -> Iterator[tuple[Path, int, int]]:
        """Where the events of a part are: files, and the first row and the number of rows in each."""
        for table, path, spans in self.batches:
            if table == name and part in spans:
                yield path, *spans[part]


def _read_slices(name: TableName, slices: Sequence[tuple[Path, int, int]]) -> pl.DataFrame:
    empty = _to_categories(pl.DataFrame(schema=EVENT_SCHEMAS[name])).lazy()
    return pl.concat(
        [empty, *(pl.scan_ipc(path).slice(first, rows) for path, first, rows in slices)]
    ).collect()


def _to_categories(rows: pl.DataFrame) -> pl.DataFrame:
    """Text as categories, which take a quarter of the memory and compare faster."""
    words = [name for name, dtype in rows.schema.items() if dtype == pl.String and name != "lead_id"]
    return rows.with_columns(pl.col(words).cast(pl.Categorical))
