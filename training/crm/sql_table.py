"""A table of a database, whose rows are updated by a key: a CRM of one's own, or a warehouse.

Rows are never inserted. A batch is one transaction; each row is its own UPDATE, so that each has an answer.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from features.ingest.databases import first_line, open_engine
from features.redaction import without_secrets
from features.suggestions import suggest
from training.crm.http_client import UnreachableError
from training.crm.protocol import (
    Accepted,
    Answer,
    CrmRecord,
    PushError,
    PushStopped,
    Rejected,
    Request,
    Response,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training.crm.http_client import Send

FIELDS = {"leadloop_probability": "probability", "leadloop_points": "points", "leadloop_grade": "grade"}
_ABSENT = Rejected("the table has no row with this key")
_NOT_OF_TYPE = Rejected("the key of the table has another type than this id, such as a number")


@dataclass(frozen=True, slots=True)
class SqlTable:
    """Rows of ``table`` in the database at ``url``, found by the column ``key``."""

    url: str
    table: str
    key: str
    limit: int = 500

    def request(self, records: Sequence[CrmRecord]) -> Request:
        """The rows to update, as JSON; ``sql_session`` makes the statements of it."""
        rows = [{"lead_id": record.lead_id, "fields": dict(record.fields)} for record in records]
        body = json.dumps({"table": self.table, "key": self.key, "rows": rows})
        return Request("UPDATE", without_secrets(self.url), {}, body.encode())

    def answers(self, records: Sequence[CrmRecord], response: Response) -> list[Answer]:
        """One answer a record: how many rows its UPDATE has changed, null where the key cannot be one."""
        outcomes: dict[int, Answer] = {0: _ABSENT, 1: Accepted()}
        counts = response.json()
        return [
            _NOT_OF_TYPE if count is None else outcomes[count]
            for _, count in zip(records, counts, strict=True)
        ]

    def is_about_record(self, response: Response) -> bool:  # noqa: ARG002  # of the protocol
        """Never: each row has its own answer."""
        return False


@contextmanager
def sql_session(url: str, password: str | None = None) -> Iterator[Send]:
    """Updates rows over one kept connection.

    Args:
        url: The database: a URL, or the file of SQLite.
        password: The password of the user in the URL. Default: none, or the driver's own ways.

    Yields:
        Sends a request of ``SqlTable``.

    Raises:
        SourceError: There is no such database, or its driver is missing.
        UnreachableError: While sending: trying again may help.
        PushStopped: While sending: it will not.
    """
    engine = open_engine(url, password=password, writes=True)
    tables: dict[str, sa.Table] = {}

    def send(request: Request) -> Response:
        order = json.loads(request.body)
        try:
            with engine.begin() as connection:
                table = tables.setdefault(order["table"], _reflect(connection, order["table"]))
                counts = [_update(connection, table, order["key"], row) for row in order["rows"]]
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            raise UnreachableError(first_line(error)) from error
        except sa.exc.SQLAlchemyError as error:
            return Response(400, {}, json.dumps({"message": first_line(error)}).encode())
        return Response(200, {}, json.dumps(counts).encode())

    try:
        yield send
    finally:
        engine.dispose()


def _reflect(connection: sa.Connection, name: str) -> sa.Table:
    """The table ``name``, or ``schema.name``, with its columns."""
    schema, _, bare = name.rpartition(".")
    try:
        return sa.Table(bare, sa.MetaData(), schema=schema or None, autoload_with=connection)
    except sa.exc.NoSuchTableError as error:
        names = sa.inspect(connection).get_table_names(schema=schema or None)
        msg = f"the database has no table {name!r}{suggest(bare, names)}"
        raise PushStopped(msg) from error


def _update(connection: sa.Connection, table: sa.Table, key: str, row: dict[str, Any]) -> int | None:
    """How many rows an UPDATE has changed; None where the lead's id cannot be one of the table's keys."""
    for name in (key, *row["fields"]):
        if name not in table.c:
            msg = f"the table {table.name!r} has no column {name!r}{suggest(name, list(table.c.keys()))}"
            raise PushStopped(msg)
    column = table.c[key]
    value = _typed_key(column.type, row["lead_id"])
    if value is None:
        return None
    changed = connection.execute(sa.update(table).where(column == value).values(row["fields"])).rowcount
    if changed > 1:
        msg = f"{changed:,} rows of {table.name!r} have the same {key}; --key must name a unique column"
        raise PushStopped(msg)
    return int(changed)


def _typed_key(kind: sa.types.TypeEngine[Any], lead_id: str) -> str | int | UUID | None:
    """A lead's id as a value of the key's type, which no database takes as text; None where it is none."""
    try:
        match kind:
            case sa.Integer():
                return int(lead_id) if lead_id.isascii() else None
            case sa.Uuid():
                return UUID(lead_id)
            case _:
                return lead_id
    except ValueError:
        return None


def validate_database_url(url: str) -> str:
    """``url`` if it can be one of a database. Raises PushError where it holds a password."""
    if "://" in url and sa.make_url(url).password is not None:
        msg = "--url holds a password, which every user of this machine can see; use LEADLOOP_PUSH_TOKEN"
        raise PushError(msg)
    return url
