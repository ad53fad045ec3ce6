"""Writes the tables of the log anew, so that nothing of what was deleted is left in their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from serving.decision_log.database import truncate_wal
from serving.decision_log.settings import LogError
from serving.decision_log.tables import METADATA

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_FOREIGN_TABLES = text(
    "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY(:names) "
    "AND NOT pg_has_role(tableowner, 'USAGE') ORDER BY tablename"
)
_WAL_LEFT = (
    "PostgreSQL's write-ahead log has deleted rows until its files are overwritten, and so have backups and "
    "standbys; docs/how-to/postgresql.md says how long"
)


def rewrite_tables(log: Engine) -> str | None:
    """Write all tables and indexes of the log anew; requests wait meanwhile, and are refused after seconds.

    Args:
        log: An open log.

    Returns:
        A sentence about what is left to do; None where nothing is.

    Raises:
        LogError: The tables belong to another user of the database.
    """
    if log.dialect.name == "postgresql":
        with log.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            _rewrite_postgresql(connection)
        return _WAL_LEFT
    file = log.raw_connection()
    try:
        file.cursor().execute("VACUUM")
    finally:
        file.close()
    return None if truncate_wal(log) else "somebody is reading the log; run this command again later"


def _rewrite_postgresql(connection: Connection) -> None:
    """A plain VACUUM lets space be used again, and overwrites nothing until then."""
    names = sorted(table.name for table in METADATA.sorted_tables)
    foreign = connection.execute(_FOREIGN_TABLES, {"names": names}).scalars().all()
    if foreign:
        msg = f"{', '.join(foreign)} can be written anew only by the owner of these tables"
        raise LogError(msg)
    for name in names:
        connection.exec_driver_sql(f"VACUUM (FULL) {name}")
