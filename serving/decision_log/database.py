"""Opens the decision log, a SQLite file or a PostgreSQL database, and migrates its tables."""

from __future__ import annotations

import json
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import ARRAY, URL, Text, bindparam, create_engine, event, func, make_url, select, update
from sqlalchemy.exc import SQLAlchemyError

from serving.decision_log.log_file import create_owner_only, log_path
from serving.decision_log.settings import LogError, displayed_place
from serving.decision_log.tables import LOG_STATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, CursorResult, Engine, Select

    from serving.decision_log.deadlines import ConnectionDeadlines

MIGRATIONS = Path(__file__).parent / "migrations"
# Any two numbers that nobody else locks in the same database; these are "lead" and "loop" in ASCII.
MIGRATING = (0x6C656164, 0x6C6F6F70)
# How long somebody else may hold a lock before an answer is refused.
PATIENCE = 2
# How often a transaction that writes asks for the write lock of SQLite while another process has it.
_ASKS_AGAIN = 0.001
_BEGIN_WRITING = "BEGIN IMMEDIATE"
# How long whoever opens the log waits for others who open it, too: one of them may have tables to change.
_OPENS_WITHIN = 60
# How often the engine had been disposed of when it made a connection.
_DISPOSALS = "disposals"
_WAL = "wal"
# Everybody's writes wait for a checkpoint that waits for a reader.
_CHECKPOINT_WAITS_MS = 200


def open_log(place: str, project: str = "", deadlines: ConnectionDeadlines | None = None) -> Engine:
    """Open the decision log, create it where there is none, and migrate its tables.

    Several processes may do so at once: one migrates, the others wait for it.

    Args:
        place: The path of a SQLite file, or a URL of SQLite or PostgreSQL.
        project: The project of whoever opens it. A log without one belongs to it from now on. Default: none,
            and a log of any project is opened.
        deadlines: What ends uses of the engine's connections that take too long. Default: none, for commands
            that read a whole log.

    Returns:
        An engine whose transactions wait at most ``PATIENCE`` seconds for a lock.

    Raises:
        LogError: The place is none of these, the database cannot be opened, or the log is another project's.
    """
    url = log_url(place)
    opening = _engine(url, _OPENS_WITHIN)
    try:
        path = log_path(url)
        if path is not None:
            create_owner_only(path)
        _upgrade_schema(opening)
        _bind_project(opening, place, project)
    except (SQLAlchemyError, CommandError, OSError) as error:
        cause = without_credentials(reason(error), url)
        readable = displayed_place(place)
        msg = f"the decision log {readable} cannot be opened ({cause}); name another place, or off"
        raise LogError(msg) from error
    finally:
        opening.dispose()
    return _engine(url, PATIENCE, deadlines)


def writing(log: Engine) -> Engine:
    """The same log for transactions that write: on SQLite they take the write lock when they begin."""
    return log.execution_options(writes=True)


class DriverStatement:
    """A statement with ``?`` for its values, which the driver gets without SQLAlchemy's translation."""

    def __init__(self, sql: str) -> None:
        self._sql = {"sqlite": sql, "postgresql": sql.replace("%", "%%").replace("?", "%s")}

    def execute(self, connection: Connection, values: tuple[Any, ...]) -> CursorResult[Any]:
        """The result of the statement."""
        return connection.exec_driver_sql(self._sql[connection.dialect.name], values)

    def execute_many(self, connection: Connection, rows: list[tuple[Any, ...]]) -> int:
        """Execute the statement with each of these rows, one at least; how many rows that changed."""
        return connection.exec_driver_sql(self._sql[connection.dialect.name], rows).rowcount


class ListStatement:
    """A statement whose last value is a list of any length, named ``{values}`` in its text.

    ``{joined}`` in it is the aggregate of texts with something between them.
    """

    def __init__(self, sql: str) -> None:
        sqlite = {"values": "(SELECT value FROM json_each(?))", "joined": "group_concat"}
        postgresql = {"values": "(SELECT unnest(CAST(? AS text[])))", "joined": "string_agg"}
        self._statements = {
            "sqlite": DriverStatement(sql.format(**sqlite)),
            "postgresql": DriverStatement(sql.format(**postgresql)),
        }

    def rows(self, connection: Connection, *values: Any, among: Iterable[str]) -> Sequence[Any]:
        """The rows of the statement; ``among`` is the list."""
        name = connection.dialect.name
        listed = list(among)
        last = json.dumps(listed) if name == "sqlite" else listed
        result = self._statements[name].execute(connection, (*values, last))
        # The driver's own tuples: rows of SQLAlchemy cost as much again as reading them.
        rows: Sequence[Any] = result.cursor.fetchall()
        result.close()
        return rows


def listed(connection: Connection, values: Iterable[str]) -> Select[tuple[str]]:
    """The values of a list of any length as a query, each a row: one parameter, however many there are."""
    rows = list(values)
    if connection.dialect.name == "sqlite":
        return select(func.json_each(json.dumps(rows)).table_valued("value").c.value)
    return select(func.unnest(bindparam(None, rows, ARRAY(Text))))


def truncate_wal(log: Engine) -> bool:
    """Move SQLite's write-ahead log into the database and empty it; False where a reader prevents it.

    Deleted content is overwritten in the database, but stays in the write-ahead log until then.
    """
    if log.dialect.name != "sqlite":
        return False
    connection = log.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_WAITS_MS}").close()
        busy, *_ = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.cursor().execute(f"PRAGMA busy_timeout = {PATIENCE * 1000}").close()
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return not busy


def reason(error: BaseException) -> str:
    """The first line of the database's own message, without the values of the statement."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def without_credentials(message: str, url: URL) -> str:
    """A message without the password, and without whatever stands in the query of a URL."""
    values = [
        value for entry in url.query.values() for value in ([entry] if isinstance(entry, str) else entry)
    ]
    for secret in sorted({str(url.password or ""), *values} - {""}, key=len, reverse=True):
        message = message.replace(secret, "***")
    return message


def log_url(place: str) -> URL:
    """The URL of a place: a path is a SQLite file; other databases than SQLite and PostgreSQL are refused."""
    if "://" not in place:
        return URL.create("sqlite", database=str(Path(place).absolute()))
    scheme, _, rest = place.partition("://")
    backend = scheme.partition("+")[0]
    if backend in {"postgres", "postgresql"}:
        return _make_url(f"postgresql+psycopg://{rest}")
    if backend != "sqlite" or rest in {"", "/", "/:memory:"}:
        msg = "a decision log is a file, sqlite:///FILE, postgresql://USER@HOST/DATABASE, or off"
        raise LogError(msg)
    return _make_url(place)


def _make_url(text: str) -> URL:
    try:
        return make_url(text)
    except (SQLAlchemyError, ValueError):
        # What cannot be read may hold a password anywhere.
        msg = "the URL of the decision log cannot be read; a user, password or name in it may need %-encoding"
        raise LogError(msg) from None


def _engine(url: URL, patience: int, deadlines: ConnectionDeadlines | None = None) -> Engine:
    """An engine that waits ``patience`` seconds for a lock, and whose errors name no values."""
    if url.get_backend_name() == "sqlite":
        log = create_engine(
            url, connect_args={"timeout": patience}, hide_parameters=True, pool_timeout=patience
        )
        event.listen(log, "connect", _configure)
        _close_late_connections(log)
        event.listen(log, "begin", partial(_begin, patience=patience))
        return log
    settings = {
        "connect_timeout": 3,
        "tcp_user_timeout": 5_000,
        "options": f"-c lock_timeout={patience}s",
    }
    defaults = {name: value for name, value in settings.items() if name not in url.query}
    # A connection that was cut while nobody used it is replaced before a record is put on it.
    log = create_engine(
        url,
        connect_args=defaults,
        hide_parameters=True,
        pool_pre_ping=deadlines is None,
        pool_timeout=patience,
    )
    if deadlines is not None:
        deadlines.attach(log)
    _close_late_connections(log)
    return log


def _close_late_connections(log: Engine) -> None:
    """Close connections that come back after the engine was disposed of.

    SQLAlchemy puts them into a pool that nobody has any more, where they stay open until they are collected:
    those of a reader whose request has given up, or that was still reading when the service stopped.
    """
    disposals = 0

    def note_disposal(_: Engine) -> None:
        nonlocal disposals
        disposals += 1

    def connect(_: Any, record: Any) -> None:
        record.info[_DISPOSALS] = disposals

    def check_in(connection: Any, record: Any) -> None:
        # None where it was closed already because it was broken.
        if connection is not None and record.info.get(_DISPOSALS) != disposals:
            connection.close()

    event.listen(log, "connect", connect)
    event.listen(log, "checkin", check_in)
    event.listen(log, "engine_disposed", note_disposal)


def _configure(connection: Any, _: object) -> None:
    """Configure a SQLite connection: WAL, overwriting of deleted content, transactions begun by SQLAlchemy.

    ``synchronous`` NORMAL: a commit outlives the death of the process, the last few may not outlive that of
    the machine. FULL would, for 4 ms a commit where NORMAL takes 0.02.
    """
    connection.isolation_level = None
    _enable_wal(connection)
    # Two MB, the default, are read and written again and again while thousands of scores are written.
    for setting in ("synchronous = NORMAL", "secure_delete = ON", "cache_size = -8192"):
        connection.execute(f"PRAGMA {setting}").close()


def _enable_wal(connection: Any) -> None:
    """Switch the file to WAL, once for all its life.

    SQLite waits for any lock but the one of this switch, whatever its timeout: of two who open a new file
    together one is turned away at once. So the waiting is done here, until one of them has switched.
    """
    deadline = time.monotonic() + _OPENS_WITHIN
    while _journal_mode(connection) != _WAL:
        try:
            connection.execute(f"PRAGMA journal_mode = {_WAL}").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _journal_mode(connection: Any) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _begin(connection: Connection, patience: float) -> None:
    """Begin a transaction; one that writes waits ``patience`` seconds for the write lock at most.

    SQLite asks again after longer and longer pauses, and misses the moments between the transactions of a
    process that writes thousands of scores. So it is asked every millisecond here.
    """
    if not connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN")
        return
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + patience
    driver.execute("PRAGMA busy_timeout = 0").close()
    try:
        while _is_locked(driver) and time.monotonic() < deadline:
            time.sleep(_ASKS_AGAIN)
        if not driver.in_transaction:
            # Whatever prevents it is told in the words of SQLAlchemy.
            connection.exec_driver_sql(_BEGIN_WRITING)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {patience * 1000:.0f}").close()


def _is_locked(driver: Any) -> bool:
    """Whether another process has the write lock; else a transaction begins, unless something prevents it."""
    try:
        driver.execute(_BEGIN_WRITING).close()
    except sqlite3.Error as error:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return False


def _upgrade_schema(log: Engine) -> None:
    """Run the missing migrations; where none is missing, no write lock is taken."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with log.connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    if heads != tuple(ScriptDirectory.from_config(config).get_heads()):
        with writing(log).begin() as connection:
            _migrate(connection, config)


def _migrate(connection: Connection, config: Config) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(*MIGRATING)))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _bind_project(log: Engine, place: str, project: str) -> None:
    """Let a log without a project belong to this one; refuse the log of another."""
    if not project:
        return
    with log.connect() as connection:
        owner = connection.execute(select(LOG_STATE.c.project)).scalar_one()
    if not owner:
        with writing(log).begin() as connection:
            unbound = update(LOG_STATE).where(LOG_STATE.c.project == "")
            connection.execute(unbound.values(project=project))
            owner = connection.execute(select(LOG_STATE.c.project)).scalar_one()
    if owner != project:
        msg = (
            f"the decision log {displayed_place(place)} belongs to the project {owner!r}, and this service "
            f"to {project!r}; name another log, or start the service in the folder of {owner!r}"
        )
        raise LogError(msg)
