"""Opens the decision log, a SQLite file or a PostgreSQL database, and migrates its tables."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, create_engine, event, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from serving.decision_log.settings import LogError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

MIGRATIONS = Path(__file__).parent / "migrations"
# Any two numbers that nobody else locks in the same database; these are "lead" and "loop" in ASCII.
MIGRATING = (0x6C656164, 0x6C6F6F70)
# How long somebody else may hold a lock before an answer is refused.
PATIENCE = 2
# How long whoever opens the log waits for others who open it, too: one of them may have tables to change.
_OPENS_WITHIN = 60
_WAL = "wal"


def open_log(place: str) -> Engine:
    """Open the decision log, create it where there is none, and migrate its tables.

    Several processes may do so at once: one migrates, the others wait for it.

    Args:
        place: The path of a SQLite file, or a URL of SQLite or PostgreSQL.

    Returns:
        An engine whose transactions wait at most ``PATIENCE`` seconds for a lock.

    Raises:
        LogError: The place is none of these, or the database cannot be opened.
    """
    url = log_url(place)
    opening = _engine(url, _OPENS_WITHIN)
    try:
        if url.get_backend_name() == "sqlite":
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        _upgrade_schema(opening)
    except (SQLAlchemyError, CommandError, OSError) as error:
        msg = f"the decision log {url} cannot be opened ({reason(error)}); name another place, or off"
        raise LogError(msg) from error
    finally:
        opening.dispose()
    return _engine(url, PATIENCE)


def writing(log: Engine) -> Engine:
    """The same log for transactions that write: on SQLite they take the write lock when they begin."""
    return log.execution_options(writes=True)


def reason(error: BaseException) -> str:
    """The first line of the database's own message, without the values of the statement."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def log_url(place: str) -> URL:
    """The URL of a place: a path is a SQLite file; other databases than SQLite and PostgreSQL are refused."""
    if "://" not in place:
        return URL.create("sqlite", database=str(Path(place).absolute()))
    scheme, _, rest = place.partition("://")
    backend = scheme.partition("+")[0]
    if backend in {"postgres", "postgresql"}:
        return make_url(f"postgresql+psycopg://{rest}")
    if backend != "sqlite" or rest in {"", "/", "/:memory:"}:
        msg = "a decision log is a file, sqlite:///FILE, postgresql://USER@HOST/DATABASE, or off"
        raise LogError(msg)
    return make_url(place)


def _engine(url: URL, patience: int) -> Engine:
    """An engine that waits ``patience`` seconds for a lock, and whose errors name no values."""
    if url.get_backend_name() == "sqlite":
        log = create_engine(url, connect_args={"timeout": patience}, hide_parameters=True)
        event.listen(log, "connect", _configure)
        event.listen(log, "begin", _begin)
        return log
    settings = {
        "connect_timeout": 3,
        "tcp_user_timeout": 5_000,
        "options": f"-c lock_timeout={patience}s",
    }
    defaults = {name: value for name, value in settings.items() if name not in url.query}
    # A connection that was cut while nobody used it is replaced before a record is put on it.
    return create_engine(url, connect_args=defaults, hide_parameters=True, pool_pre_ping=True)


def _configure(connection: Any, _: object) -> None:
    """Configure a SQLite connection: WAL, overwriting of deleted content, transactions begun by SQLAlchemy.

    ``synchronous`` NORMAL: a commit outlives the death of the process, the last few may not outlive that of
    the machine. FULL would, for 4 ms a commit where NORMAL takes 0.02.
    """
    connection.isolation_level = None
    _enable_wal(connection)
    for setting in ("synchronous = NORMAL", "secure_delete = ON"):
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


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


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
