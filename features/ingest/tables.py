"""Raw tables: a file or a table of a database as it is, before anything is made of its cells.

A CSV file comes as text in every cell, so that an id keeps its leading zeros; Parquet files and databases
keep their types. Reading goes in batches, so a file larger than the memory can be streamed.
"""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.ingest.arrow_frames import (
    arrow_to_empty_frame,
    arrow_to_frame,
    has_plain_cells,
    needs_conversion,
)
from features.ingest.databases import (
    build_query,
    connect_duckdb,
    duckdb_connection,
    first_line,
    open_connection,
)
from features.ingest.delimited import (
    Dialect,
    Encoding,
    find_header_line,
    record_lines,
    sniff_dialect,
    unique_names,
    write_normalised_copy,
)
from features.ingest.mapping import Database, TableSource, table_stem
from features.ingest.quarantine import SourceError
from features.ingest.row_conditions import matching_rows
from features.ingest.stray_quotes import find_swallowed_records
from features.ingest.table_query import BASE, ROW_NUMBER, TableQueryBuilder, find_place
from features.messages import Message
from features.parsing import clean_text
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from features.ingest.databases import DatabaseConnection
    from features.ingest.mapping import GatheredValues
    from features.ingest.table_query import TableQuery
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
    """Some rows of a table as read.

    Attributes:
        frame: The rows.
        first: The number of the row before them: 0 for the first batch.
        numbers: The number of each row in its file, where some rows of it are left out or stand apart.
    """

    frame: pl.DataFrame
    first: int = 0
    numbers: pl.Series | None = None


@dataclass(frozen=True)
class TableReader:
    """An opened table: its columns, how numbers are written in it, and its rows in batches.

    ``own_names`` are the columns as a file or database with typed columns calls them, in the same order.
    ``rejects`` holds the records that did not fit the header, and ``unmatched`` how many rows found nothing
    in a join or a lookup, by sentence; both are complete once the batches are exhausted.
    """

    place: TableSource
    columns: tuple[str, ...]
    dialect: Dialect | None = None
    own_names: tuple[str, ...] = ()
    rejects: list[dict[str, Any]] = field(default_factory=list)
    path: Path | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    composed: bool = False
    keeps_rows: bool = False
    unmatched: dict[str, int] = field(default_factory=dict)

    @property
    def decimal(self) -> Decimal:
        """The decimal mark to expect in text."""
        return self.dialect.decimal if self.dialect is not None else "."

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences on how the table was read."""
        own = self.dialect.notices if self.dialect is not None else ()
        return (*own, *(f"{self.place.name}: {n:,} {text}" for text, n in self.unmatched.items()))

    def require(self, names: Iterable[str]) -> None:
        """Raise SourceError unless every name is a column; the message suggests the nearest one."""
        for name in map(clean_text, names):
            if name not in self.columns:
                hint = self._header_below(name) or suggest(name, self.columns)
                msg = f"{self.place.name} has no column {name!r}{hint}"
                raise SourceError(msg)

    def _header_below(self, name: str) -> str:
        if self.dialect is None or self.path is None:
            return ""
        line = find_header_line(self.path, self.dialect, name)
        return "" if line is None else f"; line {line} names it: remove the lines above the column names"

    def batches(self, rows: int = BATCH_ROWS, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """The rows in their order, at most ``rows`` at a time; only ``columns``, if any are given."""
        first, names = 0, list(columns or self.columns)
        if self.composed:
            yield from _composed_batches(self, rows, names)
            return
        needed = [*names, *(name for name in self.place.where if name not in names)]
        for frame in _frames(self, rows, needed):
            yield _filter_batch(Batch(frame, first), self.place, names)
            first += frame.height

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All rows at once.

        Raises:
            SourceError: there are none.
        """
        return self.read_batch(columns).frame

    def read_batch(self, columns: Sequence[str] | None = None, *, may_be_empty: bool = False) -> Batch:
        """All rows at once, with their numbers.

        Raises:
            SourceError: there are none, and there should be some.
        """
        batches = list(self.batches(columns=columns))
        if not sum(batch.frame.height for batch in batches) and not self.rejects and not may_be_empty:
            raise SourceError(self.no_rows_message)
        if not batches:
            return Batch(pl.DataFrame(schema=dict.fromkeys(columns or self.columns, pl.String)))
        numbers = [batch.numbers for batch in batches if batch.numbers is not None]
        return Batch(
            pl.concat([batch.frame for batch in batches], how="vertical_relaxed"),
            numbers=pl.concat(numbers) if numbers else None,
        )

    @property
    def no_rows_message(self) -> str:
        """What to say where no row is left."""
        if not self.place.where:
            return f"{self.place.name} has column names but no rows"
        limits = " and ".join(
            f"{column} = {' or '.join(map(repr, values))}" for column, values in self.place.where.items()
        )
        return f"{self.place.name} has no row with {limits}"

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
        if self.dialect is None or self.path is None:
            return iter(())
        return record_lines(self.path, self.dialect)

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


def open_table(
    place: TableSource, usual_encoding: str | None = None, *, keeps_rows: bool = False
) -> TableReader:
    """Open a table without reading its rows.

    Args:
        place: Where the table is, and which of its rows and columns count.
        usual_encoding: The encoding in which a text file of its kind that is no UTF-8 is read, if it can be.
        keeps_rows: Whether a row stays that a join finds nothing for.

    Raises:
        SourceError: it does not exist, is no table, or has not the columns that the place names.
    """
    path = None if place.query is not None else _file_of(place)
    encoding = _encoding(place, usual_encoding)
    table = _open_file(place, path, encoding) if path is not None else TableReader(place, ())
    if path is not None and not _is_composed(place, table.columns):
        table.require(place.where)
        return table
    with _connection(place) as connection:
        if path is None:
            names = tuple(connection.describe(place.table, place.query_text))
            table = replace(table, columns=unique_names(names), own_names=names)
            if not (place.where or _is_composed(place, table.columns)):
                return table
        return _open_composed(replace(table, keeps_rows=keeps_rows), connection)


def _encoding(place: TableSource, usual: str | None = None) -> Encoding | None:
    name = place.encoding or usual
    return None if name is None else Encoding(name, is_sure=place.encoding is not None)


def _is_composed(place: TableSource, columns: Sequence[str]) -> bool:
    """Whether a table is more than its own columns: joined, looked up, or taken out of JSON."""
    elsewhere = (name for name in (*place.references.values(), *place.where) if name not in columns)
    return bool(place.join or place.lookup or place.gather or any("." in name for name in elsewhere))


def _open_composed(table: TableReader, connection: DatabaseConnection) -> TableReader:
    builder = _query_builder(table, connection)
    own = dict(zip(table.columns, table.own_names or table.columns, strict=True))
    resolved = {
        name: reference
        for name, reference in table.place.references.items()
        if find_place(reference, builder.tables) is not None
    }
    references = own | resolved | {name: name for name in table.place.gather}
    builder.build(references)  # refuses what is not there
    return replace(table, columns=tuple(references), references=references, composed=True)


def _query_builder(table: TableReader, connection: DatabaseConnection) -> TableQueryBuilder:
    place = table.place
    base = place.table if table.path is None else str(table.path)
    of_joins = {join.name: join.table for join in place.join}
    describe, relation = connection.describe, connection.relation
    query = f"({connection.dialect.escape(place.query_text or '')})"
    return TableQueryBuilder(
        source=place,
        dialect=connection.dialect,
        tables={
            BASE: describe(base, place.query_text),
            **{name: describe(joined, None) for name, joined in of_joins.items()},
        },
        relations={
            BASE: query if base is None else relation(base),
            **{name: relation(joined) for name, joined in of_joins.items()},
        },
        lookups={
            column: (relation(lookup.table), describe(lookup.table, None))
            for column, lookup in place.lookup.items()
            if lookup.table is not None
        },
        keeps_rows=table.keeps_rows,
        gathered={name: _gather_builder(place, gather, connection) for name, gather in place.gather.items()},
    )


def _gather_builder(
    place: TableSource, gather: GatheredValues, connection: DatabaseConnection
) -> TableQueryBuilder:
    """The builder of the query of the rows whose values are gathered."""
    folder = _folder(place)
    source = TableSource(
        database=Database(place.database or str(folder)),
        table=gather.table,
        where=gather.where,
        lookup={} if gather.lookup is None else {gather.value: gather.lookup},
    )
    return _query_builder(TableReader(source, ()), connection)


_ENDINGS = ("", ".parquet", ".csv", ".tsv", ".txt")


def _file_of(place: TableSource) -> Path | None:
    """The file of a table; None where it is in a database."""
    if place.file is not None:
        return place.file
    folder = _folder(place)
    return None if folder is None or place.table is None else _find_file(folder, place.table)


def _folder(place: TableSource) -> Path | None:
    """The folder whose files are the tables beside this one; None where these are in a database."""
    if place.file is not None:
        return place.file.parent
    database = place.database or ""
    return Path(database) if "://" not in database and Path(database).is_dir() else None


def _find_file(folder: Path, table: str) -> Path:
    candidates = (folder / f"{table}{ending}" for ending in _ENDINGS)
    path = next((path for path in candidates if path.is_file() or _is_parquet_folder(path)), None)
    if path is None:
        known = sorted(table_stem(each.name) for each in folder.iterdir() if each.suffix in _ENDINGS[1:])
        msg = f"{folder} has no table {table!r}{suggest(table, known)}"
        raise SourceError(msg)
    return path


def _is_parquet_folder(path: Path) -> bool:
    return path.suffix == ".parquet" and path.is_dir()


def _connection(place: TableSource) -> AbstractContextManager[DatabaseConnection]:
    folder = _folder(place)
    return open_connection(place) if folder is None else _connect_files(place, folder)


@contextmanager
def _connect_files(place: TableSource, folder: Path) -> Iterator[DatabaseConnection]:
    """The files of a folder as the tables of a database in memory."""
    with ExitStack() as stack, duckdb_connection() as db:
        spill = stack.enter_context(tempfile.TemporaryDirectory(prefix="leadloop-"))
        db.execute(f"SET temp_directory = {_literal(spill)}")
        views: dict[Path, str] = {}
        names: dict[str, str] = {}

        def relation(table: str) -> str:
            path = _find_file(folder, table)
            if path not in views:
                views[path] = _create_view(db, stack, path, _encoding(place), names)
            return views[path]

        try:
            for file in _files_of_query(folder, place.query):
                relation(file.name)
            yield replace(connect_duckdb(db, relation), lost_rows=partial(_lost_rows, db, names))
        except duckdb.Error as error:
            msg = f"{place.name} cannot be read: {first_line(error)}"
            raise SourceError(msg) from error


def _lost_rows(db: duckdb.DuckDBPyConnection, names: Mapping[str, str]) -> dict[str, int]:
    """How many rows of the text files of a query do not fit their column names, by file.

    Raises:
        SourceError: a quote that is not closed took the lines below it along.
    """
    query = (
        "SELECT DISTINCT ON (file_path, line) file_path, line, csv_line FROM reject_errors "
        "JOIN reject_scans USING (scan_id, file_id) ORDER BY file_path, line"
    )
    try:
        errors = db.execute(query).fetchall()
    except duckdb.CatalogException:  # no text file was read
        return {}
    lost: dict[str, int] = {}
    for file, line, text in errors:
        name = names.get(file, file)
        if "\n" in text.strip("\r\n"):
            msg = f"{name}, line {line}: {Message('ingest.open_quote')}: {text.splitlines()[0]!r}"
            raise SourceError(msg)
        lost[name] = lost.get(name, 0) + 1
    return {f"rows of {name} do not fit its column names and are left out": n for name, n in lost.items()}


def _files_of_query(folder: Path, query: str | None) -> list[Path]:
    """The files that a query names, as far as that can be told without understanding it."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in _ENDINGS[1:]]
    return [path for path in files if query and table_stem(path.name).lower() in query.lower()]


def _create_view(
    db: duckdb.DuckDBPyConnection,
    stack: ExitStack,
    path: Path,
    encoding: Encoding | None,
    read_files: dict[str, str],
) -> str:
    """Make a file a table of a database in memory, and say how a query names it.

    ``read_files`` gets the name of the file by the path that is read, which may be that of a repaired copy.
    """
    view = _quoted(table_stem(path.name))
    if is_parquet(path):
        files = (stack.enter_context(_plain_path(file)) for file in parquet_files(path))
        names = ", ".join(_literal(str(file)) for file in files)
        rows = f"SELECT * FROM read_parquet([{names}], union_by_name = true)"  # noqa: S608
    else:
        dialect = sniff_dialect(path, encoding)
        copy = stack.enter_context(_readable_copy(path, dialect))
        read_files[str(copy)] = path.name
        _refuse_swallowed_records(db, path, dialect, copy)
        names = ", ".join(
            f"regexp_replace(c{i}, '^=\"([^\"]*)\"$', '\\1') AS {_quoted(column)}"
            for i, column in enumerate(dialect.columns)
        )
        text = (
            _csv_query(dialect).replace("$1", _literal(str(copy))).replace("$2", _literal(dialect.delimiter))
        )
        rows = f"SELECT {names} FROM ({text})"  # noqa: S608
    db.execute(f"CREATE VIEW {view} AS {rows}")
    return view


def _refuse_swallowed_records(
    db: duckdb.DuckDBPyConnection, path: Path, dialect: Dialect, copy: Path
) -> None:
    """Raise where a stray quote made one cell of several records in a file that is joined or queried."""
    if not dialect.quotes:
        return
    several = " OR ".join(f"contains(c{i}, chr(10))" for i in range(len(dialect.columns)))
    query = f"SELECT * FROM ({_csv_query(dialect)}) WHERE {several}"  # noqa: S608
    for batch in db.sql(query, params=[str(copy), dialect.delimiter]).to_arrow_reader(BATCH_ROWS):
        for each in find_swallowed_records(pl.DataFrame(batch), dialect.delimiter):
            reason = Message("ingest.swallowed", n=each.records)
            msg = f"{path}, column {dialect.columns[each.column]!r}: {reason}: {each.start.splitlines()[0]!r}"
            raise SourceError(msg)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _plain_path(path: Path) -> Iterator[Path]:
    """A path without the signs that DuckDB takes for a pattern."""
    if not _GLOB & set(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "link.parquet"
        link.symlink_to(path.resolve())
        yield link


def _composed_batches(table: TableReader, rows: int, columns: list[str]) -> Iterator[Batch]:
    """The rows of a table with what it is joined to; rows are numbered as in the file, if there is one."""
    with _connection(table.place) as connection:
        builder = _query_builder(table, connection)
        if table.path is not None:
            numbered = f"row_number() OVER () - 1 AS {_quoted(ROW_NUMBER)}"
            rows_of_file = f"(SELECT *, {numbered} FROM {builder.relations[BASE]})"  # noqa: S608
            relation = f"(SELECT * FROM {rows_of_file} WHERE {_is_no_header(table)})"  # noqa: S608
            builder = replace(builder, relations={**builder.relations, BASE: relation})
        query = builder.build(
            {name: table.references[name] for name in columns}, numbered=table.path is not None
        )
        yield from _run_composed(table, connection, query, rows)
        table.unmatched.update(connection.lost_rows())


def _is_no_header(table: TableReader) -> str:
    """The condition that a row of a text file is not the column names once more, as in joined exports."""
    names = [name for name in table.dialect.columns if "(" not in name] if table.dialect is not None else []
    equal = [f"coalesce(trim({_quoted(name)}), '') = {_literal(name)}" for name in names]
    return f"NOT ({' AND '.join(equal)})" if len(equal) > 1 else "true"


def _run_composed(
    table: TableReader, connection: DatabaseConnection, query: TableQuery, rows: int
) -> Iterator[Batch]:
    names, first, matched = list(query.columns), 0, 0
    table.unmatched.clear()
    for raw in connection.run(query.sql, rows, query.parameters):
        frame = _leave_out_unmatched(table, raw, query)
        matched += frame.height
        numbers = frame[ROW_NUMBER] if ROW_NUMBER in names else None
        yield Batch(frame.select(name for name in names if name != ROW_NUMBER), first, numbers)
        first += frame.height
    if not matched and not table.keeps_rows and table.unmatched:
        text = next(iter(table.unmatched))
        msg = f"{table.place.name}: all {table.unmatched[text]:,} {text}; are the columns of the join right?"
        raise SourceError(msg)


def _leave_out_unmatched(table: TableReader, raw: pl.DataFrame, query: TableQuery) -> pl.DataFrame:
    """The rows under their names, without those for which a join found nothing; these are counted."""
    frame = raw.rename(dict(zip(raw.columns, query.columns, strict=False)))
    for name, check in zip(raw.columns[len(query.columns) :], query.checks, strict=True):
        missing = frame[name].cast(pl.Boolean).fill_null(value=False)
        if missing.any():
            table.unmatched[check.text] = table.unmatched.get(check.text, 0) + int(missing.sum())
            frame = frame.filter(~missing) if check.drops_row else frame
    return frame.select(query.columns)


def _filter_batch(batch: Batch, place: TableSource, columns: list[str]) -> Batch:
    """The rows that keep the conditions of a place; they keep their numbers."""
    if not place.where:
        return batch
    mask = matching_rows(batch.frame, place.where)
    numbers = pl.int_range(batch.first, batch.first + batch.frame.height, eager=True)
    return Batch(batch.frame.filter(mask).select(columns), batch.first, numbers.filter(mask))


def _open_file(place: TableSource, path: Path, encoding: Encoding | None) -> TableReader:
    if not path.exists():
        msg = f"{path} does not exist"
        raise SourceError(msg)
    if path.is_dir():
        return _open_parquet(place, path)
    if path.stat().st_size == 0:
        msg = f"{path} is empty: not even a header line"
        raise SourceError(msg)
    if not is_parquet(path):
        dialect = sniff_dialect(path, encoding)
        return TableReader(place, dialect.columns, dialect, path=path)
    return _open_parquet(place, path)


def _open_parquet(place: TableSource, path: Path) -> TableReader:
    names_of = {file: _parquet_names(file) for file in parquet_files(path)}
    (first, names), *others = names_of.items()
    for file, further in others:
        if differing := sorted(set(names) ^ set(further)):
            msg = (
                f"{path}: {file.name} and {first.name} have other columns (such as {differing[0]!r}); "
                "files of one table have the same: write the folder again"
            )
            raise SourceError(msg)
    return TableReader(place, unique_names(names), own_names=names, path=path)


def _parquet_names(file: Path) -> tuple[str, ...]:
    try:
        return tuple(pq.read_schema(file).names)
    except (pa.ArrowException, OSError) as error:
        msg = f"{file} looks like Parquet but cannot be read: {first_line(error)}"
        raise SourceError(msg) from error


def parquet_files(path: Path) -> list[Path]:
    """The files of a table in Parquet: itself, or all of a folder, as Spark writes, by name.

    Raises:
        SourceError: A folder has none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.glob("*.parquet") if not file.name.startswith((".", "_")))
    if not files:
        msg = (
            f"{path} is a folder without Parquet files; name a file, or a folder whose files end in .parquet"
        )
        raise SourceError(msg)
    return files


def is_parquet(path: Path) -> bool:
    """Whether it is a folder of Parquet files, or begins as a Parquet file does."""
    if path.is_dir():
        return bool(parquet_files(path))
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _frames(table: TableReader, rows: int, columns: list[str]) -> Iterator[pl.DataFrame]:
    if table.path is not None and table.dialect is not None:
        yield from _delimited_frames(table, table.path, table.dialect, rows, columns)
        return
    own_names = dict(zip(table.columns, table.own_names, strict=True))
    names = [own_names[column] for column in columns]
    if table.path is not None:
        frames = _parquet_frames(table.path, rows, names)
        yield from (frame.rename(dict(zip(names, columns, strict=True))) for frame in frames)
        return
    with _connection(table.place) as connection:
        for frame in connection.run(build_query(table.place, connection), rows):
            yield frame.select(names).rename(dict(zip(names, columns, strict=True)))
        table.unmatched.update(connection.lost_rows())


def _parquet_frames(path: Path, rows: int, columns: list[str]) -> Iterator[pl.DataFrame]:
    for each in parquet_files(path):
        with pq.ParquetFile(each) as file:
            if _is_plain(each, file, columns):
                yield from _plain_parquet_frames(each, file.metadata.num_rows, rows, columns)
                continue
            # What pyarrow reads of a file stays in memory until it is done with the row groups asked for.
            for groups in _row_groups(file.metadata, rows):
                for batch in file.iter_batches(rows, groups, columns, use_threads=False):
                    yield arrow_to_frame(batch).select(columns)


def _is_plain(path: Path, file: pq.ParquetFile, columns: list[str]) -> bool:
    """Whether Polars reads the columns as pyarrow does, which takes it a fifth of the time."""
    chosen = pa.schema([file.schema_arrow.field(column) for column in columns if _is_unique(file, column)])
    physical = {each.name: each.physical_type for each in map(file.schema.column, range(len(file.schema)))}
    if len(chosen) < len(columns) or not all(
        has_plain_cells(each.type) and physical.get(each.name) != "INT96" for each in chosen
    ):
        return False
    if any(needs_conversion(each.type) for each in file.schema_arrow):  # Polars panics at some of them
        return False
    try:
        own = pl.Schema(pl.read_parquet_schema(path))
    except pl.exceptions.PolarsError:
        return False
    expected = arrow_to_empty_frame(chosen).schema
    return [own.get(name) for name in expected] == list(expected.values())


def _is_unique(file: pq.ParquetFile, column: str) -> bool:
    return bool(file.schema_arrow.names.count(column) == 1)


def _plain_parquet_frames(path: Path, size: int, rows: int, columns: list[str]) -> Iterator[pl.DataFrame]:
    # One slice after the other: of a whole file Polars reads ahead without a bound.
    table = pl.scan_parquet(path, glob=False, hive_partitioning=False).select(columns)
    for first in range(0, size, rows):
        try:
            yield table.slice(first, rows).collect()
        except pl.exceptions.PolarsError as error:
            msg = f"{path} looks like Parquet but cannot be read: {first_line(error)}"
            raise SourceError(msg) from error


def _row_groups(metadata: pq.FileMetaData, rows: int) -> Iterator[list[int]]:
    """The row groups of a file in their order, together where they are smaller than so many rows."""
    groups: list[int] = []
    waiting = 0
    for number in range(metadata.num_row_groups):
        groups.append(number)
        waiting += metadata.row_group(number).num_rows
        if waiting >= rows:
            yield groups
            groups, waiting = [], 0
    if groups:
        yield groups


def _delimited_frames(
    table: TableReader, file: Path, dialect: Dialect, rows: int, columns: list[str]
) -> Iterator[pl.DataFrame]:
    indices = [table.columns.index(name) for name in columns]
    with _readable_copy(file, dialect) as path, duckdb_connection() as db:
        try:
            relation = db.sql(_csv_query(dialect), params=[str(path), dialect.delimiter])
            lost: dict[int, dict[str, Any]] = {}
            first = 0
            for batch in relation.to_arrow_reader(rows):
                frame = pl.DataFrame(batch)
                bad = {first + row: reject for row, reject in _no_records(frame, dialect)}
                if bad:
                    lost |= bad
                    frame = frame.filter(~pl.int_range(first, first + pl.len()).is_in(list(bad)))
                first += batch.num_rows
                yield pl.DataFrame(
                    [
                        _strip_excel_quotes(frame.to_series(i)).alias(name)
                        for i, name in zip(indices, columns, strict=True)
                    ]
                )
            rejects = list(_rejects(db, table.columns))
            records = table.records_of(lost, {reject["record"] for reject in rejects})
            table.rejects[:] = [*rejects, *({"record": records[row]} | each for row, each in lost.items())]
        except duckdb.Error as error:
            msg = f"{table.place.name} cannot be read as CSV: {first_line(error)}"
            raise SourceError(msg) from error


def _no_records(frame: pl.DataFrame, dialect: Dialect) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a text file that are none: several records in a cell, the column names once more."""
    for each in find_swallowed_records(frame, dialect.delimiter) if dialect.quotes else ():
        yield (
            each.row,
            {
                "column": dialect.columns[each.column],
                "value": each.start,
                "reason": Message("ingest.swallowed", n=each.records),
                "records": each.records,
            },
        )
    names = frame.to_series(0) == dialect.columns[0]
    for row in names.arg_true() if names.any() else ():
        if unique_names([cell or "" for cell in frame.row(row)]) == dialect.columns:
            reason = Message("ingest.repeated_header")
            yield int(row), {"column": None, "value": dialect.columns[0], "reason": reason, "records": 1}


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
