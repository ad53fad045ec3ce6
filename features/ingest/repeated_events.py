"""Events that were delivered twice: which rows of a table are one event, so that it counts once.

Where a column with the event's id is named, rows of one id are one event. Elsewhere it takes the same row, in
every column of the table, with a time of day: two calls on one day are two calls.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from weakref import finalize

import numpy as np
import polars as pl

from features.clock import DAY
from features.ingest.row_validation import ROW
from features.ingest.timestamps import has_days
from features.parsing import has_single_values, parse_categories

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import IO

    from numpy.typing import NDArray

    from features.ingest.row_validation import ValidatedRows
    from features.ingest.tables import Batch, TableReader
    from features.ingest.timestamps import TimeFormat

EVENT_ID = "leadloop.event_id"
CELLS = "leadloop.row_cells"
_FULL = "leadloop.whole_row"
REPEATED = (
    "rows are there once more, the same in every column and with a time of day; each event counts "
    'once (name a column with its id to be sure: id = "...")'
)
"""The notice on rows that are left out since they were there before."""


@dataclass(frozen=True)
class RepeatedEvents:
    """The rows of a table that are the same event as others.

    Attributes:
        cells: By the hash of the cells that are read, how many of the rows with them count.
        ids: Hashes of the ids and leads that several rows have, as ``hash_ids`` has them.
    """

    cells: dict[int, int] = field(default_factory=dict)
    ids: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.UInt64))

    def __bool__(self) -> bool:
        return bool(self.cells) or len(self.ids) > 0


_RUN = 2_000_000


class HashRuns:
    """Hashes of rows, to find those that are there more than once; many wait on disk, in sorted runs."""

    def __init__(self) -> None:
        self._waiting: list[NDArray[np.uint64]] = []
        self._file: IO[bytes] | None = None
        self._runs: list[int] = []

    def add(self, hashes: pl.Series) -> None:
        """Remember so many more."""
        self._waiting.append(hashes.to_numpy())
        if sum(map(len, self._waiting)) >= _RUN:
            self._write_run()

    def _write_run(self) -> None:
        run = np.sort(np.concatenate(self._waiting))
        self._waiting = []
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="leadloop-")  # noqa: SIM115 - closed with this object
            finalize(self, self._file.close)
        run.tofile(self._file)
        self._runs.append(len(run))

    def find_repeated(self) -> pl.Series:
        """Each hash that is there more than once."""
        if self._file is None:
            hashes = np.concatenate([np.empty(0, np.uint64), *self._waiting])
            return pl.Series(_find_repeated(np.sort(hashes)), dtype=pl.UInt64)
        if self._waiting:
            self._write_run()
        self._file.flush()
        ends = np.cumsum(self._runs)
        whole = np.memmap(self._file, np.uint64, "r")
        runs = [whole[end - size : end] for end, size in zip(ends, self._runs, strict=True)]
        # One range of the hashes after the other, each about as large as one run.
        bounds = np.array([2**64 * i // len(runs) for i in range(1, len(runs))], np.uint64)
        places = [[0, *np.searchsorted(run, bounds), len(run)] for run in runs]
        begins = [end - size for end, size in zip(ends, self._runs, strict=True)]
        del whole, runs
        found = [
            _find_repeated(
                np.sort(
                    np.concatenate(
                        [
                            self._read_hashes(begin + at[i], at[i + 1] - at[i])
                            for begin, at in zip(begins, places, strict=True)
                        ]
                    )
                )
            )
            for i in range(len(begins))
        ]
        return pl.Series(np.concatenate(found), dtype=pl.UInt64)

    def _read_hashes(self, first: int, count: int) -> NDArray[np.uint64]:
        """So many hashes of the file, read and not mapped: what is mapped counts as memory of the process."""
        if self._file is None:
            return np.empty(0, np.uint64)
        self._file.seek(8 * int(first))
        return np.fromfile(self._file, np.uint64, int(count))


def _find_repeated(ordered: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


@dataclass
class EventWatch:
    """Remembers, eight bytes a row, what the rows of a table are, to find those that are there twice.

    Attributes:
        times: How the table writes its times.
        compares_cells: Whether rows without an id of their own are compared in their cells.
        spreads: Whether one row may be an event of several leads.
        cells: Hashes of the cells of rows with a time of day.
        ids: Hashes of ids of events.
    """

    times: TimeFormat
    compares_cells: bool
    spreads: bool = False
    cells: HashRuns = field(default_factory=HashRuns)
    ids: HashRuns = field(default_factory=HashRuns)

    @classmethod
    def of_table(cls, name: str, times: TimeFormat, *, spreads: bool) -> EventWatch:
        """The watch of a table: only touchpoints are compared in all their cells."""
        return cls(times, name == "touchpoints" and has_days(times.pattern), spreads)

    def add_cells(self, rows: ValidatedRows, batch: Batch) -> ValidatedRows:
        """The rows with the hash of their cells beside them, where these may tell that two are the same."""
        if not self.compares_cells or not batch.frame.width or EVENT_ID in rows.frame.columns:
            return rows
        return replace(rows, frame=rows.frame.with_columns(hash_rows(batch.frame).alias(CELLS)))

    def remember(self, frame: pl.DataFrame) -> None:
        """Remember good rows, with times that were read."""
        if EVENT_ID in frame.columns:
            hashes = hash_ids(frame)
            self.ids.add(hashes.filter(frame[EVENT_ID].is_not_null()))
        elif CELLS in frame.columns:
            timed = frame.select(ROW, CELLS).filter(has_time_of_day(frame["occurred_at"], self.times))
            self.cells.add((timed.unique(ROW) if self.spreads else timed)[CELLS])

    def find_repeated(self, table: TableReader, columns: Sequence[str]) -> RepeatedEvents:
        """The rows that are the same event; the whole rows are compared where what was read is the same."""
        ids = self.ids.find_repeated()
        candidates = self.cells.find_repeated()
        cells = count_distinct_rows(table, columns, candidates) if len(candidates) else {}
        return RepeatedEvents(cells, ids)


def has_time_of_day(moments: pl.Series, times: TimeFormat) -> pl.Series:
    """Which epoch seconds are not midnight where the table's clocks are: the others may be mere dates."""
    if times.zone == "UTC":
        return moments % DAY != 0
    local = pl.from_epoch(moments, time_unit="s").dt.replace_time_zone("UTC").dt.convert_time_zone(times.zone)
    return local.dt.replace_time_zone(None).dt.epoch("s") % DAY != 0


def hash_rows(frame: pl.DataFrame) -> pl.Series:
    """UInt64 hashes of rows; cells that hold several values count by what Python writes of them."""
    return pl.DataFrame([_hashable(column) for column in frame]).hash_rows()


def _hashable(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Categorical | pl.Enum):  # the codes of which differ from batch to batch
        return column.cast(pl.String)
    if has_single_values(column.dtype) or column.dtype == pl.Binary:
        return column
    return pl.Series(column.name, [repr(cell) for cell in column.to_list()], pl.String)


def hash_ids(frame: pl.DataFrame) -> pl.Series:
    """UInt64 hashes of the ids of events, each of its lead, and of its stage where there is one.

    One meeting of two leads is an event of each, and one row may date several stages.
    """
    parts = [parse_categories(frame[EVENT_ID]), frame["lead_id"]]
    return pl.DataFrame([*parts, *([frame["stage"]] if "stage" in frame.columns else [])]).hash_rows()


def count_distinct_rows(table: TableReader, columns: Sequence[str], candidates: pl.Series) -> dict[int, int]:
    """By hash of the cells in ``columns``, how many different rows have them, where fewer than all do."""
    known = candidates.implode()
    parts = [pl.DataFrame(schema={CELLS: pl.UInt64, _FULL: pl.UInt64})]
    for batch in table.batches(columns=table.columns):
        cells = hash_rows(batch.frame.select(columns))
        hits = cells.is_in(known)
        if hits.any():
            whole = hash_rows(batch.frame.filter(hits))
            parts.append(pl.DataFrame([cells.filter(hits).alias(CELLS), whole.alias(_FULL)]))
    counts = pl.concat(parts).group_by(CELLS).agg(pl.len().alias("rows"), pl.col(_FULL).n_unique())
    return dict(counts.filter(pl.col(_FULL) < pl.col("rows")).select(CELLS, _FULL).iter_rows())


class EventOnce:
    """Leaves out what is there more than once; rows that share an id wait until the last batch was read."""

    def __init__(self, repeated: RepeatedEvents) -> None:
        self._repeated = repeated
        self._counts: Counter[int] = Counter()
        self._cells = pl.Series(list(repeated.cells), dtype=pl.UInt64).implode()
        self._waiting: list[pl.DataFrame] = []

    def leave_out_cells(self, rows: ValidatedRows, times: TimeFormat) -> ValidatedRows:
        """The good rows without those whose cells were counted already."""
        if not self._repeated.cells or CELLS not in rows.frame.columns:
            return rows
        timed = has_time_of_day(rows.frame["occurred_at"], times)
        places = (rows.frame[CELLS].is_in(self._cells) & timed).arg_true()
        numbers, hashes = rows.frame[ROW].gather(places), rows.frame[CELLS].gather(places)
        surplus = set(self._surplus(numbers, hashes))
        remaining = rows.frame.filter(~pl.col(ROW).is_in(list(surplus)))
        return replace(rows, frame=remaining).add_notice(REPEATED, len(surplus))

    def find_surplus(self, rows: pl.DataFrame, times: TimeFormat) -> pl.Series:
        """Which rows are there once more, by their cells and ``occurred_at``; batch after batch is asked."""
        repeated = rows[CELLS].is_in(self._cells) & has_time_of_day(rows["occurred_at"], times)
        places = repeated.arg_true()
        surplus = pl.Series(list(self._surplus(places, rows[CELLS].gather(places))), dtype=pl.UInt32)
        return pl.int_range(rows.height, eager=True).is_in(surplus.cast(pl.Int64).implode())

    def _surplus(self, numbers: Iterable[int], hashes: Iterable[int]) -> Iterable[int]:
        for number, hash_of_row in dict(zip(numbers, hashes, strict=True)).items():
            self._counts[hash_of_row] += 1
            if self._counts[hash_of_row] > self._repeated.cells[hash_of_row]:
                yield number

    def hold_back_ids(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows without those that share their id; these come with ``first_known``."""
        if not len(self._repeated.ids) or EVENT_ID not in frame.columns:
            return frame
        is_repeated = hash_ids(frame).is_in(self._repeated.ids.implode()) & frame[EVENT_ID].is_not_null()
        self._waiting.append(frame.filter(is_repeated))
        return frame.filter(~is_repeated)

    def first_known(self) -> tuple[pl.DataFrame | None, int]:
        """Of the rows with one id the one that was known first, and how many are left out.

        Of several known at once the earliest counts, then the one whose cells come first: not the order of
        rows.
        """
        if not self._waiting:
            return None, 0
        rows = pl.concat(self._waiting, how="diagonal_relaxed")
        keyed = rows.with_columns(hash_ids(rows).alias(CELLS))
        moments = [name for name in ("known_at", "occurred_at") if name in rows.columns]
        others = sorted(set(rows.columns) - {ROW, EVENT_ID, *moments})
        text = pl.Series(_FULL, [repr(row) for row in rows.select(others).iter_rows()])
        ranked = keyed.with_columns(text).sort(CELLS, *moments, _FULL, maintain_order=True)
        first = ranked.unique(CELLS, keep="first", maintain_order=True)
        return first.select(rows.columns), rows.height - first.height
