"""Looks at a decision log without changing it: neither its tables nor its files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from features.redaction import without_secrets
from serving.decision_log.settings import OFF, LogError

_SOUND = "ok"


def describe_log(place: str) -> str:
    """Say what is at the place of a decision log.

    Args:
        place: A path, a URL, or "off".

    Returns:
        A sentence.

    Raises:
        LogError: The database cannot be reached, or the file is damaged or none.
    """
    if place == OFF:
        return "off"
    if "://" in place:
        return _describe_server(place)
    if not Path(place).is_file():
        return f"{place} is made when the service starts"
    return _describe_file(Path(place))


def _describe_server(place: str) -> str:
    # A file is looked at without them.
    from sqlalchemy import create_engine, text  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from serving.decision_log.database import log_url  # noqa: PLC0415

    address = without_secrets(place)
    try:
        engine = create_engine(log_url(place))
        with closing(engine.connect()) as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()
    except SQLAlchemyError as error:
        msg = f"{address} cannot be reached ({without_secrets(str(error).partition(chr(10))[0])[:160]})"
        raise LogError(msg) from error
    return f"{address} can be reached"


def _describe_file(file: Path) -> str:
    try:
        address = f"file:{quote(str(file.absolute()))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            (count,) = connection.execute("SELECT count(*) FROM decisions").fetchone()
    except sqlite3.Error as error:
        msg = f"{file} cannot be read as a decision log ({error})"
        raise LogError(msg) from error
    if state != _SOUND:
        msg = f"{file} is damaged ({state})"
        raise LogError(msg)
    return f"{file} is sound and holds {count:,} decisions"
