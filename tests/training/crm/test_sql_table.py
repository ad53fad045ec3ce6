"""Scores in a table: each row by its key, none made, and a bad one costs no other."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from leadloop import app
from training.crm.protocol import PushError
from training.crm.push import plan, push_scores
from training.crm.sql_table import sql_session
from training.crm.target import CrmTarget

MAPPED = {"score": "probability", "grade": "grade"}


def create(database, key="TEXT PRIMARY KEY", rows=()):
    with closing(sqlite3.connect(database)) as db, db:
        db.execute(f"CREATE TABLE leads (id {key}, score REAL, grade TEXT CHECK (grade <> 'D'), name TEXT)")
        db.executemany(
            "INSERT INTO leads (id, name) VALUES (?, ?)", [(row, f"name of {row}") for row in rows]
        )
    return str(database)


def stored(database):
    with closing(sqlite3.connect(database)) as db:
        return {row[0]: row[1:] for row in db.execute("SELECT id, score, grade, name FROM leads")}


def pushed(database, file, **more):
    target = CrmTarget("sql", database, "id", MAPPED, object="leads")
    planned = plan(target, file)
    with sql_session(database) as send:
        return push_scores(planned, send, **more)


HOSTILE = ["O'Neill", "a/b", "x\ny", "'); DROP TABLE leads; --", "%s", ":id", "ü ß 名", 'q"', "."]


def test_every_row_gets_its_score_and_nothing_else(tmp_path, scores):
    ids = [*HOSTILE, *(str(i) for i in range(1200))]
    database = create(tmp_path / "crm.db", rows=[*ids, "another"])
    file = scores(ids, "scores.parquet")
    result = pushed(database, file)
    rows = stored(database)
    assert rows.keys() == {*ids, "another"}
    assert rows["another"] == (None, None, "name of another")
    assert rows["1"][2] == "name of 1"
    # Every fourth has a grade that the table does not take; the others of its batch are not lost.
    refused = {lead for i, lead in enumerate(ids) if i % 4 == 3}
    assert set(result.refused) == refused
    assert result.acknowledged == len(ids) - len(refused)
    assert all((rows[lead][0] is None) == (lead in refused) for lead in ids)


def test_no_row_is_made_for_a_lead_that_the_table_does_not_have(tmp_path, scores):
    database = create(tmp_path / "crm.db", rows=["a", "b"])
    result = pushed(database, scores(["a", "c", "b"]))
    assert result.refused == {"c": "the table has no row with this key"}
    assert stored(database).keys() == {"a", "b"}


def test_a_key_of_numbers_takes_ids_of_digits_and_refuses_others(tmp_path, scores):
    database = create(tmp_path / "crm.db", "INTEGER PRIMARY KEY", rows=[1, 2, 3])
    result = pushed(database, scores(["1", "02", "x"]))
    assert set(result.refused) == {"x"}
    assert [number for number, row in stored(database).items() if row[0] is not None] == [1, 2]


def test_a_key_that_is_not_unique_changes_nothing(tmp_path, scores):
    database = create(tmp_path / "crm.db", "TEXT", rows=["a", "b", "b"])
    result = pushed(database, scores(["a", "b"]))
    assert "2 rows of 'leads' have the same id" in result.stopped
    assert all(row[0] is None for row in stored(database).values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"object": "leeds"}, "no table 'leeds'; did you mean 'leads'"),
        ({"key": "idd"}, "no column 'idd'; did you mean 'id'"),
        ({"mapped": {"scor": "probability"}}, "no column 'scor'; did you mean 'score'"),
    ],
)
def test_a_name_that_is_not_there_stops_the_push_and_is_named(tmp_path, scores, changes, message):
    database = create(tmp_path / "crm.db", rows=["a"])
    options = {"key": "id", "mapped": MAPPED, "object": "leads"} | changes
    with sql_session(database) as send:
        result = push_scores(plan(CrmTarget("sql", database, **options), scores(["a"])), send)
    assert message in result.stopped


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (CrmTarget("sql", key="id", object="t"), "--url is missing"),
        (CrmTarget("sql", "crm.db", key="id"), "--object and --key are missing"),
        (CrmTarget("sql", "crm.db", object="t"), "--object and --key are missing"),
        (CrmTarget("sql", "postgresql://me:secret@db/crm", "id", object="t"), "--url holds a password"),
    ],
)
def test_a_target_says_what_it_lacks_and_shows_no_password(target, message):
    with pytest.raises(PushError, match=message) as refused:
        target.crm()
    assert "secret" not in str(refused.value)


def test_the_command_shows_the_rows_and_writes_them_when_told_to(tmp_path, scores, monkeypatch):
    monkeypatch.delenv("LEADLOOP_PUSH_TOKEN", raising=False)
    database = create(tmp_path / "crm.db", rows=["a", "b"])
    words = [
        "push",
        "sql",
        "--url",
        database,
        "--object",
        "leads",
        "--key",
        "id",
        "--map",
        "score=probability",
    ]
    words += ["--scores", str(scores(["a", "b"])), "--json", "-"]
    dry = CliRunner().invoke(app, words)
    assert dry.exit_code == 0, dry.output
    assert '"lead_id": "a"' in dry.stderr
    assert all(row[0] is None for row in stored(database).values())
    done = CliRunner().invoke(app, [*words, "--go"])
    assert json.loads(done.stdout)["acknowledged"] == 2
    assert all(row[0] is not None for row in stored(database).values())


def test_a_locked_database_is_tried_again_and_then_left_to_the_next_push(tmp_path, scores, monkeypatch):
    database = create(tmp_path / "crm.db", rows=["a"])
    monkeypatch.setattr(sa.engine.Engine, "begin", _locked)
    from training.crm.retry import RetryPolicy  # noqa: PLC0415

    waits = []
    result = pushed(database, scores(["a"]), patience=RetryPolicy(attempts=3, sleep=waits.append))
    assert "database is locked" in result.stopped
    assert len(waits) == 2


def _locked(_):
    statement = "UPDATE"
    raise sa.exc.OperationalError(statement, {}, sqlite3.OperationalError("database is locked"))


@pytest.mark.slow
def test_postgresql_takes_keys_of_its_own_types(postgres_database, scores):
    url = sa.make_url(postgres_database).set(drivername="postgresql+psycopg")
    ids = ["6f9619ff-8b86-d011-b42d-00c04fc964ff", "6F9619FF-8B86-D011-B42D-00C04FC964FE", "no uuid"]
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA crm"))
        connection.execute(sa.text("CREATE TABLE crm.leads (id uuid PRIMARY KEY, score numeric, grade text)"))
        for each in ids[:2]:
            connection.execute(sa.text("INSERT INTO crm.leads (id) VALUES (CAST(:id AS uuid))"), {"id": each})
    address = url.render_as_string(hide_password=False)
    target = CrmTarget("sql", address, "id", MAPPED, object="crm.leads")
    with sql_session(address) as send:
        result = push_scores(plan(target, scores(ids)), send)
    assert (result.acknowledged, set(result.refused)) == (2, {"no uuid"})
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT score, grade FROM crm.leads ORDER BY score")).all()
    assert [(float(score), grade) for score, grade in rows] == [(0.0, "A"), (0.07, "B")]
