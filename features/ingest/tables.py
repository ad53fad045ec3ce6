"""Raw tables: a file or a table of a database as it is, before anything is made of its cells.

A CSV file comes as text in every cell, so that an id keeps its leading zeros; Parquet files and databases
keep their types. Reading goes in batches, so a file larger than the memory can be streamed.
"""

from __future__ import annotations

import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow.parquet as pq

from features.ingest.databases import build_query, duckdb_connection, first_line, open_connection
from features.ingest.delimited import (
    Dialect,
    Encoding,
    find_header_line,
    record_lines,
    sniff_dialect,
    unique_names,
    write_normalised_copy,
)
from features.ingest.quarantine import SourceError
from features.ingest.stray_quotes import find_swallowed_records
from features.messages import Message
from features.parsing import clean_text
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from features.ingest.mapping import TableSource
    from features.ingest.stray_quotes import SwallowedRecords
    from features.parsing import Decimal

BATCH_ROWS = 100_000
_GLOB = set("*?[]{}")
_REASONS = {
    "MISSING COLUMNS": "ingest.fewer_columns",
    "TOO MANY COLUMNS": "ingest.more_columns",
    "UNQUOTED VALUE": "ingest.open_quote",
    "LINE SIZE OVER MAXIMUM": "ingest.long_line",
}


@dataclass(frozen=True)
class Batch:
    """Some rows of a table as read. ``first`` is the number of the row before them: 0 for the first batch."""

    frame: pl.DataFrame
    first: int = 0


@dataclass(frozen=True)
class TableReader:
    """An opened table: its columns, how numbers are written in it, and its rows in batches.

    ``own_names`` are the columns as a file or database with typed columns calls them, in the same order.
    ``rejects`` holds the records that did not fit the header; it is complete once the batches are exhausted.
    """

    place: TableSource
    columns: tuple[str, ...]
    dialect: Dialect | None = None
    own_names: tuple[str, ...] = ()
    rejects: list[dict[str, Any]] = field(default_factory=list)

    @property
    def decimal(self) -> Decimal:
        """The decimal mark to expect in text."""
        return self.dialect.decimal if self.dialect is not None else "."

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences on how the table was read."""
        return self.dialect.notices if self.dialect is not None else ()

    def require(self, names: Iterable[str]) -> None:
        """Raise SourceError unless every name is a column; the message suggests the nearest one."""
        for name in map(clean_text, names):
            if name not in self.columns:
                hint = self._header_below(name) or suggest(name, self.columns)
                msg = f"{self.place.name} has no column {name!r}{hint}"
                raise SourceError(msg)

    def _header_below(self, name: str) -> str:
        if self.dialect is None or self.place.file is None:
            return ""
        line = find_header_line(self.place.file, self.dialect, name)
        return "" if line is None else f"; line {line} names it: remove the lines above the column names"

    def batches(self, rows: int = BATCH_ROWS, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """The rows in their order, at most ``rows`` at a time; only ``columns``, if any are given."""
        first = 0
        for frame in _frames(self, rows, list(columns or self.columns)):
            yield Batch(frame, first)
            first += frame.height

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All rows at once.

        Raises:
            SourceError: there are none.
        """
        frames = [batch.frame for batch in self.batches(columns=columns)]
        if not sum(frame.height for frame in frames) and not self.rejects:
            msg = f"{self.place.name} has column names but no rows"
            raise SourceError(msg)
        return (
            pl.concat(frames, how="vertical_relaxed")
            if frames
            else pl.DataFrame(schema=dict.fromkeys(columns or self.columns, pl.String))
        )

    def numbered(self, rows: Iterable[int]) -> dict[int, int]:
        """For row numbers (the first is 0): the line in a text file, the number of the record elsewhere."""
        numbers = set(rows)
        if self.dialect is None or not numbers:
            return {row: row + 1 for row in numbers}
        return {row: line for row, line in self._accepted_lines(max(numbers)) if row in numbers}

    def _accepted_lines(self, last: int) -> Iterator[tuple[int, int]]:
        rejected = {reject["record"] for reject in self.rejects}
        row = 0
        for record, (line, blank) in enumerate(self._records(), 1):
            if record == 1 or record in rejected or (blank and len(self.columns) > 1):
                continue
            yield row, line
            row += 1
            if row > last:
                return

    def _records(self) -> Iterator[tuple[int, bool]]:
        if self.dialect is None or self.place.file is None:
            return iter(())
        return record_lines(self.place.file, self.dialect)

    def rejected(self) -> list[dict[str, Any]]:
        """The records that did not fit, each with its ``line``."""
        by_record = {reject["record"]: reject for reject in self.rejects}
        if not by_record:
            return []
        lines = {record: line for record, (line, _) in enumerate(self._records(), 1) if record in by_record}
        return [reject | {"line": lines.get(record)} for record, reject in sorted(by_record.items())]

    @property
    def rejected_rows(self) -> int:
        """How many records could not be read; those that a quote swallowed count each."""
        return sum(reject["records"] for reject in self.rejects)

    def records_of(self, rows: Collection[int], rejected: Collection[int]) -> dict[int, int]:
        """The number of the record of each of the rows that were read, where others were rejected."""
        records: dict[int, int] = {}
        if rows:
            numbers = (
                record
                for record, (_, blank) in enumerate(self._records(), 1)
                if record > 1 and record not in rejected and not (blank and len(self.columns) > 1)
            )
            records = {row: record for row, record in enumerate(numbers) if row in rows}
        return records


def open_table(place: TableSource, usual_encoding: str | None = None) -> TableReader:
    """Open a table without reading its rows.

    A text file that is no UTF-8 is read in the ``usual_encoding`` of its kind, if that is known and it can.

    Raises:
        SourceError: it does not exist or is no table.
    """
    if place.file is not None:
        encoding = place.encoding or usual_encoding
        named = None if encoding is None else Encoding(encoding, is_sure=place.encoding is not None)
        return _open_file(place, place.file, named)
    query = f"SELECT * FROM ({build_query(place)}) AS source LIMIT 0"  # noqa: S608
    with open_connection(place) as run, closing(run(query, 1)) as frames:
        names = next(frames).columns
        return TableReader(place, unique_names(names), own_names=tuple(names))


def _open_file(place: TableSource, path: Path, encoding: Encoding | None) -> TableReader:
    if not path.is_file():
        raise SourceError(
            f"{path} does not exist" if not path.exists() else f"{path} is a folder, not a file"
        )
    if path.stat().st_size == 0:
        msg = f"{path} is empty: not even a header line"
        raise SourceError(msg)
    if not is_parquet(path):
        dialect = sniff_dialect(path, encoding)
        return TableReader(place, dialect.columns, dialect)
    try:
        names = tuple(pl.read_parquet_schema(path))
        return TableReader(place, unique_names(names), own_names=names)
    except (pl.exceptions.PolarsError, OSError) as error:
        msg = f"{path} looks like Parquet but cannot be read: {first_line(error)}"
        raise SourceError(msg) from error


def is_parquet(path: Path) -> bool:
    """Whether the file begins as a Parquet file does."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _frames(table: TableReader, rows: int, columns: list[str]) -> Iterator[pl.DataFrame]:
    place = table.place
    if table.dialect is not None:
        yield from _delimited_frames(table, table.dialect, rows, columns)
        return
    own_names = dict(zip(table.columns, table.own_names, strict=True))
    names = [own_names[column] for column in columns]
    if place.file is not None:
        frames = _parquet_frames(place.file, rows, names)
        yield from (frame.rename(dict(zip(names, columns, strict=True))) for frame in frames)
        return
    with open_connection(place) as run:
        for frame in run(build_query(place), rows):
            yield frame.select(names).rename(dict(zip(names, columns, strict=True)))


def _parquet_frames(path: Path, rows: int, columns: list[str]) -> Iterator[pl.DataFrame]:
    # Polars reads ahead without a bound: 20 million rows took 1.7 GB more than this does.
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(rows, columns=columns, use_threads=False):
            yield pl.DataFrame(batch).select(columns)


def _delimited_frames(
    table: TableReader, dialect: Dialect, rows: int, columns: list[str]
) -> Iterator[pl.DataFrame]:
    indices = [table.columns.index(name) for name in columns]
    with _readable_copy(table.place.file, dialect) as path, duckdb_connection() as db:  # type: ignore[arg-type]
        try:
            relation = db.sql(_csv_query(dialect), params=[str(path), dialect.delimiter])
            swallowed: dict[int, SwallowedRecords] = {}
            first = 0
            for batch in relation.to_arrow_reader(rows):
                frame = pl.DataFrame(batch)
                found = find_swallowed_records(frame, dialect.delimiter) if dialect.quotes else ()
                bad = {each.row: each for each in found}
                swallowed |= {first + row: each for row, each in bad.items()}
                first += frame.height
                if bad:
                    frame = frame.filter(~pl.int_range(pl.len()).is_in(list(bad)))
                yield pl.DataFrame(
                    [
                        _strip_excel_quotes(frame.to_series(i)).alias(name)
                        for i, name in zip(indices, columns, strict=True)
                    ]
                )
            rejects = list(_rejects(db, table.columns))
            records = table.records_of(swallowed, {reject["record"] for reject in rejects})
            lost = (_swallowed_reject(records[row], each, table) for row, each in swallowed.items())
            table.rejects[:] = [*rejects, *lost]
        except duckdb.Error as error:
            msg = f"{table.place.name} cannot be read as CSV: {first_line(error)}"
            raise SourceError(msg) from error


def _swallowed_reject(record: int, swallowed: SwallowedRecords, table: TableReader) -> dict[str, Any]:
    return {
        "record": record,
        "column": table.columns[swallowed.column],
        "value": swallowed.start,
        "reason": Message("ingest.swallowed", n=swallowed.records),
        "records": swallowed.records,
    }


def _strip_excel_quotes(cells: pl.Series) -> pl.Series:
    """The cells without ``="..."``, by which a spreadsheet keeps leading zeros: ``="00123"``."""
    if not cells.str.starts_with('="').any():
        return cells
    return cells.str.replace(r'^="([^"]*)"$', "${1}")


def _csv_query(dialect: Dialect) -> str:
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(dialect.columns)))
    options = "delim = $2, header = true, quote = '\"', escape = '\"', auto_detect = false"
    return f"SELECT * FROM read_csv($1, {options}, store_rejects = true, columns = {{{columns}}})"  # noqa: S608


@contextmanager
def _readable_copy(path: Path, dialect: Dialect) -> Iterator[Path]:
    """A path that DuckDB can read: the file itself where possible, a repaired copy otherwise."""
    if not dialect.needs_copy and not _GLOB & set(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.csv"
        write_normalised_copy(path, dialect, copy)
        yield copy


def _rejects(db: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    # DuckDB has an error for each column that a line lacks; the record is one.
    errors = db.execute(
        "SELECT DISTINCT ON (line) line, column_name, error_type, csv_line "
        "FROM reject_errors ORDER BY line, column_name NULLS FIRST"
    ).fetchall()
    for record, column, kind, text in errors:
        ragged = column is None or kind in {"MISSING COLUMNS", "TOO MANY COLUMNS"}
        yield {
            "record": record,
            "column": None if ragged else columns[int(column[1:])],
            "value": text.strip("\r\n"),
            # An open quote takes all the lines below it along.
            "records": 1 if ragged else 1 + text.strip("\r\n").count("\n"),
            "reason": (
                Message(_REASONS[kind])
                if kind in _REASONS
                else Message("ingest.other_reject", kind=kind.lower())
            ),
        }
