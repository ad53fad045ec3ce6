"""A history larger than the memory, in parts that can be looked at one after the other.

A lead and its colleagues are always in the same part, so every feature of a lead can be computed from its
part alone. Leads, accounts and events wait in a temporary folder: each batch of them is sorted by part there,
which makes a part one slice of every batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.history import LEAD_KNOWN_AT, LeadHistory
from features.ingest.event_tables import EVENT_SCHEMAS, EventSink
from features.ingest.known_leads import BUCKETS, HistoryCut
from features.ingest.notable_accounts import account_notices, notable_accounts
from features.ingest.read_history import read_history_in_batches
from features.ingest.repeated_events import CELLS
from features.ingest.row_validation import ROW
from features.merges import PART

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from features.ingest.event_tables import RowChoice
    from features.ingest.mapping import HistoryMapping
    from features.ingest.read_history import IngestResult
    from features.ingest.schema import TableName

_FREE: tuple[TableName, ...] = ("leads", "accounts")
# Rows of a record batch on disk: of events as many as a part has, but each batch costs some .3 ms.
_FREE_ROWS, _FEWEST_ROWS = 8_192, 1_000
_TOLD_APART_BY = [CELLS, "occurred_at", "known_at"]


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """One part of a history on disk: names of files and places in them, for whichever process reads it.

    Attributes:
        number: Which part it is, from 1.
        count: How many parts there are.
    """

    number: int
    count: int
    _tables: tuple[tuple[TableName, tuple[tuple[Path, int, int], ...]], ...]
    _empty: LeadHistory

    @property
    def name(self) -> str:
        """What messages call the part, such as "part 3 of 40"."""
        return f"part {self.number:,} of {self.count:,}"

    def read(self) -> LeadHistory:
        """The history of the part; ``lead_id`` is an Enum, in the order of the leads."""
        tables: dict[str, Any] = {
            name: _read_slices(name, getattr(self._empty, name), slices) for name, slices in self._tables
        }
        history = replace(self._empty, **tables)
        history = history.map_frames(partial(_cast_lead_ids, ids=pl.Enum(history.leads["lead_id"])))
        # Features fold the events of a lead in two thirds of the time where these stand together.
        return replace(history, touchpoints=history.touchpoints.sort("lead_id", maintain_order=True))


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
    parts: Sequence[HistoryPart]

    def histories(self) -> Iterator[LeadHistory]:
        """The history of one part after the other; together they are the whole."""
        for part in self.parts:
            yield part.read()


def _cast_lead_ids(frame: pl.DataFrame, ids: pl.Enum) -> pl.DataFrame:
    if "lead_id" not in frame.columns:
        return frame
    cast = frame.with_columns(pl.col("lead_id").cast(ids, strict=False))
    return cast.drop_nulls("lead_id") if cast["lead_id"].null_count() else cast


@contextmanager
def read_partitioned(  # noqa: PLR0913 - what is read, and how
    mapping: HistoryMapping,
    now: int,
    quarantine_file: Path | None = None,
    *,
    leads: int,
    ahead: bool = False,
    when_counted: Callable[[int], None] | None = None,
) -> Iterator[HistoryPartitions]:
    """Read all tables of a history as ``read_history`` does, with the events on disk.

    Where the mapping knows what a model reads out of the columns of leads (``extractions``), leads and
    accounts are on disk, too, and memory does not grow with the history.

    Args:
        mapping: Where the tables are and how they map onto the data contract.
        now: Epoch seconds; rows at or after ``mapping.observed_until``, or else ``now``, are in the future.
        quarantine_file: Where bad rows are written as CSV; None for nowhere.
        leads: About how many leads a part has.
        ahead: Whether a thread checks rows of events while those before are written: it takes a core more,
            and the memory of a batch. The parts are the same.
        when_counted: Called with the number of parts once all leads are there, before events are read.

    Yields:
        The history in parts; the files behind it go when the context ends.

    Raises:
        SourceError: a table or column is missing, or cannot be used at all.
        TooManyBadRowsError: more than ``mapping.max_share`` of all rows are bad.
    """
    with tempfile.TemporaryDirectory(prefix="leadloop-") as folder:
        cut = HistoryCut(leads, when_counted)
        spill = _Spill(Path(folder), cut)
        sink = EventSink(spill.add, spill.forget, spill.read, ahead, spill.leave_out)
        reading = read_history_in_batches(mapping, now, quarantine_file, sink=sink, cut=cut)
        spill.settle()
        parts = _Parts(spill, reading.history, len(cut.last_buckets))
        yield HistoryPartitions(replace(reading, notices=(*reading.notices, *spill.large_accounts())), parts)


@dataclass(frozen=True)
class _Parts(Sequence[HistoryPart]):
    """The parts of a history, each made when it is asked for."""

    spill: _Spill
    empty: LeadHistory
    count_of_parts: int

    def __len__(self) -> int:
        return self.count_of_parts

    def __getitem__(self, index: int) -> HistoryPart:  # type: ignore[override]
        if not 0 <= index < self.count_of_parts:
            raise IndexError(index)
        tables = tuple((name, tuple(self.spill.slices(name, index))) for name in (*_FREE, *EVENT_SCHEMAS))
        return HistoryPart(index + 1, self.count_of_parts, tables, self.empty)


@dataclass(frozen=True)
class _Batch:
    """A batch of a table on disk, sorted by part or, of leads and accounts, by bucket."""

    name: TableName
    path: Path
    ends: NDArray[np.int32]


@dataclass
class _Spill:
    """Batches of rows on disk, and where in each a part begins and ends."""

    folder: Path
    cut: HistoryCut
    batches: list[_Batch] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def add(self, name: TableName, rows: pl.DataFrame) -> None:
        """Add a batch."""
        path = self._new_path()
        is_free = name in _FREE
        ordered = (rows if is_free else _to_categories(rows)).sort(PART, maintain_order=True)
        self._write(ordered if is_free else ordered.drop(PART), path, is_free=is_free)
        # Which buckets make a part is known once all leads are there.
        groups = BUCKETS if is_free else len(self.cut.last_buckets)
        ends = np.searchsorted(ordered[PART].to_numpy(), np.arange(groups), side="right").astype(np.int32)
        self.batches.append(_Batch(name, path, ends))

    def _write(self, rows: pl.DataFrame, path: Path, *, is_free: bool) -> None:
        # Of a slice of a file all rows are read from where its record batch begins.
        parts = 0 if is_free else len(self.cut.last_buckets)
        size = max(rows.height // parts, _FEWEST_ROWS) if parts else _FREE_ROWS
        rows.write_ipc(path, record_batch_size=size)

    def settle(self) -> None:
        """Know where the parts are, now that all leads are there."""
        last = self.cut.last_buckets
        self.batches = [
            replace(batch, ends=batch.ends[last]) if batch.name in _FREE else batch for batch in self.batches
        ]

    def forget(self, name: TableName, count: int) -> None:
        """Delete the last so many batches of a table."""
        last = [batch for batch in self.batches if batch.name == name][-count:] if count else []
        for batch in last:
            batch.path.unlink()
        self.batches = [batch for batch in self.batches if all(batch is not each for each in last)]

    def leave_out(self, name: TableName, count: int, choose: RowChoice) -> None:
        """Take the rows that are chosen out of the last so many batches of a table."""
        last = (
            [place for place, batch in enumerate(self.batches) if batch.name == name][-count:]
            if count
            else []
        )
        for place in last:
            batch = self.batches[place]
            chosen = choose(pl.read_ipc(batch.path, columns=_TOLD_APART_BY))
            if not chosen.any():
                continue
            path = self._new_path()
            self._write(pl.scan_ipc(batch.path).collect().filter(~chosen), path, is_free=name in _FREE)
            gone = np.searchsorted(chosen.arg_true().to_numpy(), batch.ends).astype(np.int32)
            self.batches[place] = replace(batch, path=path, ends=batch.ends - gone)
            batch.path.unlink()

    def _new_path(self) -> Path:
        return self.folder / f"{next(self._numbers)}.arrow"

    def read(self, name: TableName, columns: Sequence[str]) -> pl.DataFrame:
        """Columns of all rows of a table."""
        frames = [
            pl.read_ipc(batch.path, columns=list(columns)) for batch in self.batches if batch.name == name
        ]
        return pl.concat(frames)

    def slices(self, name: TableName, part: int) -> Iterator[tuple[Path, int, int]]:
        """Where the rows of a part are: files, and the first row and the number of rows in each."""
        for batch in self.batches:
            if batch.name == name:
                begin, end = int(batch.ends[part - 1]) if part else 0, int(batch.ends[part])
                if begin < end:
                    yield batch.path, begin, end - begin

    def large_accounts(self) -> tuple[str, ...]:
        """A sentence on the largest account where it is hardly a company."""
        notable, leads = [notable_accounts(pl.Series(dtype=pl.String))], 0
        for part in range(len(self.cut.last_buckets)):
            for_part = [
                pl.scan_ipc(path).select("account_id").slice(first, rows)
                for path, first, rows in self.slices("leads", part)
            ]
            if not for_part:
                continue
            accounts = pl.concat(for_part).collect()
            leads += accounts.height
            notable.append(notable_accounts(accounts["account_id"]))
        return account_notices(pl.concat(notable), leads)


def _read_slices(
    name: TableName, empty: pl.DataFrame, slices: Sequence[tuple[Path, int, int]]
) -> pl.DataFrame:
    if name not in _FREE:
        empty = _to_categories(pl.DataFrame(schema=EVENT_SCHEMAS[name]))
    if not slices:
        return empty
    waiting = pl.concat([pl.scan_ipc(path).slice(first, size) for path, first, size in slices])
    if name not in _FREE:
        return waiting.select(empty.columns).collect()
    rows = waiting.collect()
    # Leads and accounts stand in the order of their own table, whatever their buckets are.
    ordered = rows.sort(ROW) if ROW in rows.columns else rows
    known = [column for column in ordered.columns if column in empty.columns or column != LEAD_KNOWN_AT]
    return ordered.select(known).drop(ROW, PART)


def _to_categories(rows: pl.DataFrame) -> pl.DataFrame:
    """Text as categories, which take a quarter of the memory and compare faster."""
    words = [name for name, dtype in rows.schema.items() if dtype == pl.String and name != "lead_id"]
    return rows.with_columns(pl.col(words).cast(pl.Categorical))
