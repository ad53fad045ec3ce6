"""Databases: a connection that only reads, for DuckDB and SQLite files, PostgreSQL, MySQL and warehouses."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import sqlalchemy
from sqlalchemy.dialects import postgresql

from features.ingest.arrow_frames import arrow_to_empty_frame, arrow_to_frame
from features.ingest.quarantine import SourceError
from features.ingest.table_query import SqlDialect
from features.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from features.ingest.mapping import Database, TableSource
    from features.ingest.table_query import Families


def duckdb_connection(database: str = ":memory:", *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection on one thread that prints no progress bar, so that standard output is the command's."""
    connection = duckdb.connect(database, read_only=read_only, config={"threads": 1})
    # In a notebook without ipywidgets there is none, and DuckDB refuses to hear of it.
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() == [(True,)]:
        connection.execute("SET enable_progress_bar = false")
    return connection


def build_query(place: TableSource, connection: DatabaseConnection) -> str:
    """The query that reads a table: its own, or all rows."""
    text = place.query_text
    if text is None:
        return f"SELECT * FROM {connection.relation(place.table or '')}"  # noqa: S608
    return connection.dialect.escape(text)


@dataclass(frozen=True)
class DatabaseConnection:
    """A connection on which queries only read.

    Attributes:
        dialect: How the database spells a query.
        run: Runs a query with its bound values and yields frames of at most so many rows, the first of them
            empty.
        describe: The columns of a table, by its name, or of a query, each with the family of its values.
        relation: How a query names a table.
        lost_rows: How many rows of text files behind it could not be read so far, by sentence.
    """

    dialect: SqlDialect
    run: Callable[..., Iterator[pl.DataFrame]]
    describe: Callable[[str | None, str | None], Families]
    relation: Callable[[str], str]
    lost_rows: Callable[[], Mapping[str, int]] = dict


@contextmanager
def open_connection(place: TableSource) -> Iterator[DatabaseConnection]:
    """A connection to the database of a table, on which queries only read.

    Raises:
        SourceError: there is none, its driver is missing, or a query fails.
    """
    database = place.database or ""
    try:
        if "://" not in database and _starts_with(Path(database), b"DUCK", at=8):
            with duckdb_connection(database, read_only=True) as db:
                yield connect_duckdb(db)
        else:
            engine = open_engine(database)
            with engine.connect() as connection:
                if engine.dialect.name == "postgresql":
                    _read_infinity_as_missing(connection)
                yield _connect_sqlalchemy(connection)
    except (duckdb.Error, sqlalchemy.exc.SQLAlchemyError, pl.exceptions.PolarsError) as error:
        msg = f"{place.name} cannot be read: {first_line(error)}"
        raise SourceError(msg) from error


def list_database_tables(database: Database) -> dict[str, tuple[str, ...]]:
    """The tables and views of a database, each with its columns; those beside the default schema as ``a.b``.

    Raises:
        SourceError: there is no such database, its driver is missing, or it cannot be read.
    """
    try:
        if "://" not in database and _starts_with(Path(database), b"DUCK", at=8):
            with duckdb_connection(database, read_only=True) as db:
                return _duckdb_tables(db)
        engine = open_engine(database)
        with engine.connect() as connection:
            return _sqlalchemy_tables(sqlalchemy.inspect(connection))
    except (duckdb.Error, sqlalchemy.exc.SQLAlchemyError) as error:
        msg = f"{without_secrets(database)} cannot be read: {first_line(error)}"
        raise SourceError(msg) from error


def _duckdb_tables(db: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, ...]]:
    rows = db.execute(
        "SELECT table_schema, table_name, list(column_name ORDER BY ordinal_position) "
        "FROM information_schema.columns WHERE table_catalog = current_database() "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return {
        name if schema == "main" else f"{schema}.{name}": tuple(columns) for schema, name, columns in rows
    }


_OWN_SCHEMAS = frozenset({"information_schema", "performance_schema", "mysql", "sys"})


def _sqlalchemy_tables(inspector: sqlalchemy.Inspector) -> dict[str, tuple[str, ...]]:
    default = inspector.default_schema_name
    is_mysql = inspector.dialect.name in {"mysql", "mariadb"}  # there a schema is another database
    schemas = [] if is_mysql else [s for s in inspector.get_schema_names() if s != default]
    tables: dict[str, tuple[str, ...]] = {}
    for schema in [None, *(s for s in schemas if s not in _OWN_SCHEMAS and not s.startswith("pg_"))]:
        columns = inspector.get_multi_columns(schema=schema, kind=sqlalchemy.engine.reflection.ObjectKind.ANY)
        for (_, name), each in sorted(columns.items(), key=lambda item: item[0][1]):
            full = name if schema is None else f"{schema}.{name}"
            tables[full] = tuple(str(column["name"]) for column in each)
    return tables


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


def connect_duckdb(
    db: duckdb.DuckDBPyConnection, relation: Callable[[str], str] | None = None
) -> DatabaseConnection:
    """DuckDB as a connection; ``relation`` is how a query names a table, by default its quoted name."""
    dialect = SqlDialect("duckdb", postgresql.dialect())  # type: ignore[no-untyped-call]
    name_of = relation or dialect.quote_table

    def describe(table: str | None, query: str | None) -> Families:
        of_table = db.sql(f"SELECT * FROM {name_of(table) if table else f'({query})'} LIMIT 0")  # noqa: S608
        return {
            name: _duckdb_family(str(kind))
            for name, kind in zip(of_table.columns, of_table.types, strict=True)
        }

    return DatabaseConnection(dialect, partial(_duckdb_frames, db), describe, name_of)


def _duckdb_family(kind: str) -> str:
    if kind.startswith(("STRUCT", "MAP", "UNION")):
        return "nested"
    if kind.startswith("VARCHAR"):
        return "text"
    numbers = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "U", "DOUBLE", "FLOAT", "DECIMAL")
    return "number" if kind.startswith(numbers) and not kind.startswith("UUID") else kind.lower()


def _duckdb_frames(
    db: duckdb.DuckDBPyConnection, query: str, rows: int, parameters: Mapping[str, Any] | None = None
) -> Iterator[pl.DataFrame]:
    reader = db.sql(query, params=dict(parameters) if parameters else None).to_arrow_reader(rows)
    yield arrow_to_empty_frame(reader.schema)
    yield from map(arrow_to_frame, reader)


def _connect_sqlalchemy(connection: sqlalchemy.Connection) -> DatabaseConnection:
    dialect = SqlDialect(connection.dialect.name, connection.dialect)
    if connection.dialect.name == "mysql" and getattr(connection.dialect, "is_mariadb", False):
        dialect = SqlDialect("mariadb", connection.dialect)
    return DatabaseConnection(
        dialect,
        partial(_sql_frames, connection),
        partial(_describe, connection, dialect),
        dialect.quote_table,
    )


def _describe(
    connection: sqlalchemy.Connection, dialect: SqlDialect, table: str | None, query: str | None
) -> Families:
    relation = dialect.quote_table(table) if table else f"({dialect.escape(query or '')})"
    statement = sqlalchemy.text(f"SELECT * FROM {relation} AS described WHERE 1 = 0")  # noqa: S608
    with connection.execute(statement) as result:
        names = list(result.keys())
    families = _declared_families(connection, table) if table else {}
    return {name: families.get(name, "") for name in names}


def _declared_families(connection: sqlalchemy.Connection, table: str) -> Families:
    """The families of the columns of a table as it was declared; none where nothing says so."""
    schema, _, name = table.rpartition(".")
    try:
        columns = sqlalchemy.inspect(connection).get_columns(name, schema=schema or None)
    except (sqlalchemy.exc.SQLAlchemyError, NotImplementedError):
        return {}
    return {str(column["name"]): _sql_family(column["type"]) for column in columns}


def _sql_family(kind: Any) -> str:
    if isinstance(kind, sqlalchemy.types.NullType):
        return ""
    if isinstance(kind, sqlalchemy.types.JSON):
        return "nested"
    if isinstance(kind, sqlalchemy.types.Enum):
        return "enum"
    if isinstance(kind, sqlalchemy.types.String):
        return "text"
    if isinstance(kind, sqlalchemy.types.Integer | sqlalchemy.types.Numeric):
        return "number"
    return type(kind).__name__.lower()


def _sql_frames(
    connection: sqlalchemy.Connection, query: str, rows: int, parameters: Mapping[str, Any] | None = None
) -> Iterator[pl.DataFrame]:
    streaming = connection.execution_options(stream_results=True)
    with streaming.execute(sqlalchemy.text(query), dict(parameters or {})) as result:
        names = list(result.keys())
        yield pl.DataFrame(schema=dict.fromkeys(names, pl.Null))
        for part in result.partitions(rows):
            columns = [_plain_cells(column) for column in zip(*part, strict=True)]
            cells = list(zip(*columns, strict=True))
            yield pl.DataFrame(cells, names, orient="row", infer_schema_length=None, strict=False)


_PLAIN = frozenset({str, int, float, bool, bytes, type(None), datetime, date, time, timedelta})


def _plain_cells(column: tuple[Any, ...]) -> list[Any]:
    """The cells of a column in types that frames have; a list stays a list, and an object is no attribute."""
    return list(column) if set(map(type, column)) <= _PLAIN else list(map(_plain_cell, column))


def _plain_cell(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if type(value) in _PLAIN:
        return value
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    if isinstance(value, dict):
        return {"text": json.dumps(value, ensure_ascii=False, default=str)}
    return [str(each) for each in value] if isinstance(value, list | tuple | set) else str(value)


def open_engine(database: str, *, password: str | None = None, writes: bool = False) -> sqlalchemy.Engine:
    """The engine of a database, which does not connect yet.

    Args:
        database: A URL, or the file of SQLite.
        password: The password of the user in the URL. Default: that of the URL, or the driver's own ways.
        writes: Whether it is to be written; a file of SQLite is opened for reading only otherwise.

    Returns:
        The engine, without a pool of connections.

    Raises:
        SourceError: There is no such file, or the driver is missing.
    """
    url = _sqlalchemy_url(database, writes=writes)
    if password is not None and url.username is not None:
        url = url.set(password=password)
    kind = url.get_backend_name()
    try:
        return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    except (sqlalchemy.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        if kind == "spark":
            msg = "spark:// is the catalog of a Spark session; read it with --engine spark"
            raise SourceError(msg) from error
        package = _DRIVER_PACKAGES.get(kind, f"SQLAlchemy's dialect for {kind}")
        msg = f"{kind} databases need a driver that is not installed: install {package}"
        raise SourceError(msg) from error


# What brings the driver of a kind of database; the names of the packages are those of their makers.
_DRIVER_PACKAGES = {
    "mysql": "leadloop[mysql]",
    "mariadb": "leadloop[mysql]",
    "snowflake": "snowflake-sqlalchemy",
    "bigquery": "sqlalchemy-bigquery",
    "databricks": "databricks-sqlalchemy",
    "redshift": "sqlalchemy-redshift",
    "mssql": "pyodbc",
    "oracle": "oracledb",
}
_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}


def _sqlalchemy_url(database: str, *, writes: bool = False) -> sqlalchemy.URL:
    if "://" not in database:
        if not _starts_with(Path(database), b"SQLite format 3\x00"):
            msg = f"{database} is neither a SQLite nor a DuckDB file"
            raise SourceError(msg)
        query = {"mode": "rw" if writes else "ro", "uri": "true"}
        return sqlalchemy.URL.create("sqlite", database=f"file:{Path(database).resolve()}", query=query)
    address = database.partition("://")[2].partition("?")[0]
    if address.count("@") > 1:
        # A driver would take what follows the first one for the host, and say it aloud.
        msg = f"{without_secrets(database)}: an @ in a user or a password of a URL is written as %40"
        raise SourceError(msg)
    url = sqlalchemy.make_url(database)
    driver = _DRIVERS.get(url.drivername)
    return url.set(drivername=driver) if driver else url


def _starts_with(path: Path, magic: bytes, at: int = 0) -> bool:
    if not path.is_file():
        msg = f"{path} does not exist"
        raise SourceError(msg)
    with path.open("rb") as file:
        file.seek(at)
        return file.read(len(magic)) == magic


def first_line(error: BaseException) -> str:
    """The first line of a database's message, without the query, the stack and secrets of a URL."""
    return without_secrets(str(getattr(error, "orig", None) or error).strip().splitlines()[0])
