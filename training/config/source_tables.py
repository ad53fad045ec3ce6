"""Finds the tables of the files, folders and databases that a draft is for, without reading their rows."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy

from features.ingest.databases import list_database_tables
from features.ingest.mapping import Database, TableSource, table_stem
from features.ingest.quarantine import SourceError
from features.ingest.tables import open_table
from features.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ENDINGS = frozenset({".csv", ".tsv", ".txt", ".parquet"})
_DATABASE_ENDINGS = frozenset({".duckdb", ".ddb", ".sqlite", ".sqlite3", ".db"})
_SECRET = re.compile(r"password|passwd|token|secret|key", re.IGNORECASE)
_SAMPLE_ROWS = 200


@dataclass(frozen=True)
class SourceTable:
    """A table that is there: a file, or a table of a database or a folder.

    Attributes:
        place: How it is read.
        keys: What ``leadloop.toml`` says of it: ``file``, or ``database`` and ``table``, without a password.
        name: Its name, with its schema where it has one and without the ending of a file.
        schema: Which tables belong together: those of a schema of a database, of a folder, or all files.
        neighbours: Which tables can be joined: those of one database or folder.
        columns: Its columns.
    """

    place: TableSource
    keys: Mapping[str, str]
    name: str
    schema: str
    neighbours: str
    columns: tuple[str, ...]

    @property
    def stem(self) -> str:
        """The name without its schema."""
        return table_stem(self.name)

    @cached_property
    def sample(self) -> pl.DataFrame:
        """Its first rows."""
        frames = (batch.frame for batch in open_table(self.place).batches(_SAMPLE_ROWS))
        first = next(frames)
        # Of a database the first frame is empty.
        return next((frame for frame in frames if frame.height), first) if first.is_empty() else first


def count_values(table: SourceTable, column: str, where: Mapping[str, Any]) -> dict[str, int]:
    """How many of the rows that ``where`` means hold each value of a column, the most frequent first."""
    counts: dict[str, int] = {}
    for batch in open_table(replace(table.place, where=dict(where))).batches(columns=[column]):
        values = batch.frame[column].cast(pl.String, strict=False).drop_nulls()
        for value, count in values.value_counts().iter_rows():
            counts[value] = counts.get(value, 0) + count
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def find_tables(places: Sequence[str | Path], folder: Path) -> list[SourceTable]:
    """The tables of files, folders and databases; paths in their keys are relative to ``folder``.

    Raises:
        SourceError: A place does not exist or cannot be read, or has no tables.
    """
    files = [Path(place) for place in places if not _is_database(place) and not Path(place).is_dir()]
    tables = [_file_table(path, folder) for path in files]
    for place in places:
        if _is_database(place):
            tables += _database_tables(str(place), folder)
        elif Path(place).is_dir():
            tables += _folder_tables(Path(place), folder)
    return tables


def _is_database(place: str | Path) -> bool:
    if "://" in str(place):
        return True
    path = Path(place)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(16)
    return head[8:12] == b"DUCK" or head == b"SQLite format 3\x00"


def relative_path(path: Path, folder: Path) -> str:
    """A path as a file in ``folder`` would write it: relative where it lies below."""
    full, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # noqa: PTH100 - a link stays a link
    return (full.relative_to(base) if full.is_relative_to(base) else full).as_posix()


def _file_table(path: Path, folder: Path) -> SourceTable:
    place = TableSource(file=path)
    return SourceTable(
        place,
        {"file": relative_path(path, folder)},
        path.stem,
        "files",
        str(path.resolve().parent),
        open_table(place).columns,
    )


def _folder_tables(path: Path, folder: Path) -> Iterator[SourceTable]:
    files = [each for each in sorted(path.iterdir()) if each.suffix.lower() in _ENDINGS]
    if not files:
        databases = [each.name for each in sorted(path.iterdir()) if each.suffix in _DATABASE_ENDINGS]
        hint = f"; name the database: {path / databases[0]}" if databases else ""
        msg = f"{path} holds no CSV or Parquet file{hint}"
        raise SourceError(msg)
    for each in files:
        place = TableSource(database=Database(str(path)), table=each.stem)
        if each.suffix.lower() == ".txt" and not _is_table(place):
            continue
        keys = {"database": relative_path(path, folder), "table": each.stem}
        columns = open_table(place).columns
        yield SourceTable(place, keys, each.stem, str(path), str(path.resolve()), columns)


def _is_table(place: TableSource) -> bool:
    try:
        return len(open_table(place).columns) > 1
    except SourceError:
        return False


def _database_tables(database: str, folder: Path) -> Iterator[SourceTable]:
    place = public_url(database) if "://" in database else relative_path(Path(database), folder)
    tables = list_database_tables(Database(database))
    if not tables:
        msg = f"{without_secrets(database)} holds no tables that this user may read"
        raise SourceError(msg)
    for name, columns in tables.items():
        yield SourceTable(
            TableSource(database=Database(database), table=name),
            {"database": place, "table": name},
            name,
            f"{database} {name.rpartition('.')[0]}",
            database,
            columns,
        )


def public_url(database: str) -> str:
    """A URL without its password, in whatever place a password can be.

    >>> public_url("postgresql://ada:secret@db/crm?sslmode=require&password=secret")
    'postgresql://ada@db/crm?sslmode=require'
    """
    url = sqlalchemy.make_url(database)
    query = {key: value for key, value in url.query.items() if not _SECRET.search(key)}
    public = url.set(query=query)._replace(password=None)
    return public.render_as_string(hide_password=False)


def has_password(database: str) -> bool:
    """Whether a URL holds a password or another secret."""
    return "://" in database and public_url(database) != sqlalchemy.make_url(database).render_as_string(
        hide_password=False
    )
