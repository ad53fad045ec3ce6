"""Databases: a connection that only reads, for DuckDB and SQLite files and for PostgreSQL."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import sqlalchemy

from features.ingest.quarantine import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.ingest.mapping import TableSource


def duckdb_connection(database: str = ":memory:", *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection on one thread that prints no progress bar, so that standard output is the command's."""
    connection = duckdb.connect(database, read_only=read_only, config={"threads": 1})
    # In a notebook without ipywidgets there is none, and DuckDB refuses to hear of it.
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() == [(True,)]:
        connection.execute("SET enable_progress_bar = false")
    return connection


def build_query(place: TableSource) -> str:
    """The query that reads a table: its own, or all rows."""
    if place.query is not None:
        return place.query.rstrip().rstrip(";")
    quoted = ".".join(f'"{part}"' for part in (place.table or "").replace('"', '""').split("."))
    return f"SELECT * FROM {quoted}"  # noqa: S608


@contextmanager
def open_connection(place: TableSource) -> Iterator[Any]:
    """A function that runs a query and yields its rows as frames, on a connection that only reads."""
    database = place.database or ""
    try:
        if "://" not in database and _starts_with(Path(database), b"DUCK", at=8):
            with duckdb_connection(database, read_only=True) as db:
                yield lambda query, rows: _duckdb_frames(db, query, rows)
        else:
            engine = sqlalchemy.create_engine(_sqlalchemy_url(database), poolclass=sqlalchemy.NullPool)
            with engine.connect() as connection:
                if engine.dialect.name == "postgresql":
                    _read_infinity_as_missing(connection)
                yield lambda query, rows: _sql_frames(connection, query, rows)
    except (duckdb.Error, sqlalchemy.exc.SQLAlchemyError, pl.exceptions.PolarsError) as error:
        msg = f"{place.name} cannot be read: {first_line(error)}"
        raise SourceError(msg) from error


def _read_infinity_as_missing(connection: sqlalchemy.Connection) -> None:
    """Read PostgreSQL's ``infinity``, and years beyond Python's, as no date: both mean an open end."""
    from psycopg.types import datetime as psycopg_types  # noqa: PLC0415 - an extra, here for PostgreSQL alone

    adapters = connection.connection.driver_connection.adapters  # type: ignore[union-attr]
    for name, loader in (
        ("date", psycopg_types.DateLoader),
        ("timestamp", psycopg_types.TimestampLoader),
        ("timestamptz", psycopg_types.TimestamptzLoader),
    ):
        adapters.register_loader(name, type(loader.__name__, (_OpenEnd, loader), {}))


class _OpenEnd:
    """Loads a date that Python cannot hold as None; the loader of psycopg comes after it."""

    def load(self, data: Any) -> Any:
        from psycopg import DataError  # noqa: PLC0415

        try:
            return super().load(data)  # type: ignore[misc]
        except DataError:
            return None


def _duckdb_frames(db: duckdb.DuckDBPyConnection, query: str, rows: int) -> Iterator[pl.DataFrame]:
    reader = db.sql(query).to_arrow_reader(rows)
    yield pl.DataFrame(reader.schema.empty_table())
    yield from map(pl.DataFrame, reader)


def _sql_frames(connection: sqlalchemy.Connection, query: str, rows: int) -> Iterator[pl.DataFrame]:
    as_written = sqlalchemy.text(query.replace(":", "\\:"))
    with connection.execution_options(stream_results=True).execute(as_written) as result:
        names = list(result.keys())
        yield pl.DataFrame(schema=dict.fromkeys(names, pl.Null))
        for part in result.partitions(rows):
            columns = [_plain_cells(column) for column in zip(*part, strict=True)]
            cells = list(zip(*columns, strict=True))
            yield pl.DataFrame(cells, names, orient="row", infer_schema_length=None, strict=False)


_PLAIN = frozenset({str, int, float, bool, bytes, type(None), datetime, date, time, timedelta})


def _plain_cells(column: tuple[Any, ...]) -> list[Any]:
    """The cells of a column in types that frames have; a list or a map stays a list, so that it is none."""
    return list(column) if set(map(type, column)) <= _PLAIN else list(map(_plain_cell, column))


def _plain_cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if type(value) in _PLAIN:
        return value
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    if isinstance(value, dict):
        return [f"{key}: {each}" for key, each in value.items()]
    return [str(each) for each in value] if isinstance(value, list | tuple | set) else str(value)


def _sqlalchemy_url(database: str) -> sqlalchemy.URL:
    if "://" not in database:
        if not _starts_with(Path(database), b"SQLite format 3\x00"):
            msg = f"{database} is neither a SQLite nor a DuckDB file"
            raise SourceError(msg)
        return sqlalchemy.URL.create(
            "sqlite", database=f"file:{Path(database).resolve()}", query={"mode": "ro", "uri": "true"}
        )
    url = sqlalchemy.make_url(database)
    driver = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}.get(url.drivername)
    return url.set(drivername=driver) if driver else url


def _starts_with(path: Path, magic: bytes, at: int = 0) -> bool:
    if not path.is_file():
        msg = f"{path} does not exist"
        raise SourceError(msg)
    with path.open("rb") as file:
        file.seek(at)
        return file.read(len(magic)) == magic


def first_line(error: BaseException) -> str:
    """The first line of a database's message, without the query and the stack."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
