"""Tables and queries of databases read like files; a missing one is an error and never created."""

from __future__ import annotations

import sqlite3

import duckdb
import pytest
import sqlalchemy
from crm_databases import free_port

from features.clock import DAY
from features.ingest.mapping import HistoryMapping, TableMapping, TableSource
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.ingest.tables import open_table

NOW = 20_000 * DAY
CREATE = "CREATE TABLE leads (lead_id TEXT, created_at TEXT, visits INTEGER, budget NUMERIC, active BOOLEAN)"
FILL = "INSERT INTO leads VALUES ('007', '2020-01-01', 3, 12.34, true), ('008', '2020-01-02', NULL, 1, false)"


@pytest.fixture
def sqlite(tmp_path):
    path = tmp_path / "crm.sqlite"
    with sqlite3.connect(path) as db:
        db.execute(CREATE)
        db.execute(FILL)
    db.close()
    return str(path)


@pytest.fixture
def duck(tmp_path):
    path = tmp_path / "crm.duckdb"
    with duckdb.connect(path) as db:
        db.execute(CREATE)
        db.execute(FILL)
    return str(path)


@pytest.fixture
def filled(postgres):
    engine = sqlalchemy.create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as db:
        db.execute(sqlalchemy.text("DROP TABLE IF EXISTS leads"))
        db.execute(sqlalchemy.text(CREATE.replace("created_at TEXT", "created_at TIMESTAMPTZ")))
        db.execute(sqlalchemy.text("SET TIME ZONE 'UTC'"))
        db.execute(sqlalchemy.text(FILL))
    engine.dispose()
    return postgres


@pytest.fixture(params=["sqlite", "duck", "filled"])
def database(request):
    return request.getfixturevalue(request.param)


def history(database, **place):
    leads = TableMapping(database=database, **place)
    return read_history(HistoryMapping(leads, stages=("won",)), NOW).history.leads.sort("lead_id")


def test_a_table_becomes_leads(database):
    leads = history(database, table="leads")
    assert leads["lead_id"].to_list() == ["007", "008"]
    assert leads["created_at"].to_list() == [18262 * DAY, 18263 * DAY]
    assert leads["visits"].to_list() == [3.0, None]
    assert leads["budget"].to_list() == [12.34, 1.0]
    assert leads["active"].to_list() == [1.0, 0.0]


def test_a_query_becomes_leads(database):
    leads = history(
        database,
        query="SELECT * FROM leads WHERE visits > 1 AND created_at < '2020-01-05 10:00:00';",
    )
    assert leads["lead_id"].to_list() == ["007"]


def test_batches_are_as_small_as_wanted(database):
    table = open_table(TableSource(database=database, table="leads"))
    assert [batch.frame.height for batch in table.batches(rows=1) if batch.frame.height] == [1, 1]


def test_a_missing_table_is_an_error_that_names_the_database(database):
    with pytest.raises(SourceError, match="none"):
        open_table(TableSource(database=database, table="none"))


def test_reading_cannot_write(database):
    place = TableSource(database=database, query="DELETE FROM leads")
    with pytest.raises(SourceError, match="cannot be read"):
        open_table(place)
    assert history(database, table="leads").height == 2


def test_a_database_that_is_not_there_is_not_created(tmp_path):
    path = tmp_path / "none.sqlite"
    with pytest.raises(SourceError, match="does not exist"):
        open_table(TableSource(database=str(path), table="leads"))
    assert not path.exists()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "crm.db"
    path.write_text("hello")
    with pytest.raises(SourceError, match="neither a SQLite nor a DuckDB file"):
        open_table(TableSource(database=str(path), table="leads"))


def test_a_server_that_does_not_answer_is_an_error_without_the_password():
    place = TableSource(database=f"postgresql://me:secret@127.0.0.1:{free_port()}/crm", table="leads")
    with pytest.raises(SourceError, match="cannot be read") as caught:
        open_table(place)
    assert "secret" not in str(caught.value)


ODD = {
    "uuid": "'8d8ac610-566d-4ef0-9c22-186b2a5ed793'::uuid",
    "tags": "ARRAY['a', 'b']",
    "props": "'{\"a\": 1}'::jsonb",
    "pause": "interval '3 days'",
    "span": "int4range(1, 5)",
    "host": "inet '10.0.0.1'",
    "blob": "'\\x00ff'::bytea",
    "much": "'NaN'::numeric",
    "more": "'Infinity'::float8",
    "never": "'infinity'::timestamptz",
    "past": "'-infinity'::date",
    "far": "'20000-01-01'::timestamp",
    "clock": "time '10:00'",
    "bits": "B'101'",
    "price": "'12.50'::money",
    "point": "point(1, 2)",
}


def test_a_column_of_any_type_is_read_or_left_out(postgres):
    columns = ", ".join(f"{value} AS {name}" for name, value in ODD.items())
    query = (  # the columns above, and nothing from outside
        f"SELECT id::text AS lead_id, now() - interval '1 day' AS created_at, id AS visits, {columns} "
        "FROM generate_series(1, 5) AS id UNION ALL "
        f"SELECT '9', now() - interval '1 day', 7, {', '.join(['NULL'] * len(ODD))}"
    )
    leads = TableMapping(database=postgres, query=query)
    reading = read_history(HistoryMapping(leads, stages=("won",)), 2**40)
    assert reading.history.leads["visits"].to_list() == [1, 2, 3, 4, 5, 7]
    roles = {role.column: role.role for role in reading.roles if role.extraction is None}
    assert roles.keys() == {"visits", *ODD}
    assert reading.history.leads["tags: a"].to_list() == [1, 1, 1, 1, 1, None]
    assert {roles[name] for name in ("tags", "props", "pause")} == {"text"}
    assert {roles[name] for name in ("never", "past", "far", "much", "more")} <= {
        "empty",
        "constant",
        "number",
    }


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:geheim@127.0.0.1:1/crm",
        "postgresql://ada@127.0.0.1:1/crm?password=geheim&connect_timeout=1",
        "postgresql://ada:ge%40heim@127.0.0.1:1/crm?sslpassword=geheim",
        "postgresql://ada:x@geheim@127.0.0.1:1/crm",
        "unheard://ada:geheim@127.0.0.1/crm?token=geheim",
    ],
)
def test_no_message_about_a_source_names_its_password(url):
    place = TableSource(database=url, table="leads")
    with pytest.raises(SourceError) as refused:
        open_table(place)
    for message in (place.name, str(refused.value)):
        assert "ada" not in message
        assert "geheim" not in message
        assert "heim" not in message


def test_a_password_with_a_bare_at_sign_is_refused_with_what_to_write():
    with pytest.raises(SourceError, match="%40"):
        open_table(TableSource(database="postgresql://ada:x@y@127.0.0.1:1/crm", table="leads"))
