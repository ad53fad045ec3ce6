"""Where the log may be, and that its tables are what the code thinks they are."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from log_entries import add_old_decision, add_old_row, make_decision, old_decision, open_old_log
from sqlalchemy import func, insert, inspect, select, text

from features.clock import DAY, HOUR
from models.handover_selection import lead_lot
from serving.current_scores.reading import read_page, read_score_history
from serving.current_scores.records import ScoreFilter
from serving.decision_log import queries
from serving.decision_log.async_log import DecisionLog
from serving.decision_log.database import MIGRATING, PATIENCE, open_log, writing
from serving.decision_log.records import RequestInfo
from serving.decision_log.settings import (
    KEEP_DAYS,
    PLACE,
    PROJECT,
    LogError,
    LogSettings,
    LogUnavailable,
    displayed_place,
)
from serving.decision_log.tables import HANDOVERS, LEAD_RANKS, METADATA

NEWEST = "0015"


# Each database has its own way to look for a word.
INDEXES_OF_TEXTS = {
    f"{table}_scores_by_{name}" for table in ("current", "named") for name in ("probability", "text")
}


def test_migrations_lead_to_the_tables_of_the_code(log):
    with log.connect() as connection:
        same = {"include_object": lambda _, name, *__: name not in INDEXES_OF_TEXTS}
        context = MigrationContext.configure(connection, opts=same)
        assert compare_metadata(context, METADATA) == []
        assert {"decisions", "outcomes", "erasures", "handovers", "handed_over"} <= set(
            inspect(connection).get_table_names()
        )


@pytest.mark.parametrize("table", ["current_scores", "named_scores"])
def test_the_text_that_lists_are_searched_by_has_an_index(log, table):
    indexes = {each["name"]: each for each in inspect(log).get_indexes(table)}
    name = "text" if log.dialect.name == "postgresql" else "probability"
    assert "search_text" in indexes[f"{table}_by_{name}"]["column_names"]


def test_whose_user_may_add_no_extension_goes_without_an_index_of_trigrams(cluster):
    url = cluster.database()
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE ROLE plain LOGIN")
        db.execute("GRANT ALL ON SCHEMA public TO plain")
    log = open_log(url.replace("//me@", "//plain@"))
    indexes = {each["name"] for each in inspect(log).get_indexes("current_scores")}
    log.dispose()
    assert "current_scores_by_owner" in indexes
    assert "current_scores_by_text" not in indexes


def test_workers_that_start_at_once_do_not_collide(place):
    barrier = Barrier(6)

    def start(_):
        barrier.wait()
        engine = open_log(place)
        with engine.connect() as connection:
            steps = connection.execute(text("SELECT version_num FROM alembic_version")).all()
        engine.dispose()
        return steps

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(start, range(6))) == [[(NEWEST,)]] * 6


def test_who_holds_a_new_file_is_waited_for(tmp_path):
    """SQLite itself would not wait: it turns away at once whoever switches a file to WAL that is held."""
    file = tmp_path / "decisions.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        opening = pool.submit(open_log, str(file))
        with pytest.raises(TimeoutError):
            opening.result(0.3)
        other.execute("ROLLBACK")
        opening.result().dispose()
    with closing(sqlite3.connect(file)) as later:
        assert later.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_tables_that_somebody_else_is_making_are_waited_for(place):
    """Longer than an answer would wait: whoever migrates may have much to do."""
    old = open_old_log(place, "0002")
    with ThreadPoolExecutor(1) as pool:
        with old.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(*MIGRATING)))
            else:
                connection.execute(text("DELETE FROM erasures"))
            opening = pool.submit(open_log, place)
            with pytest.raises(TimeoutError):
                opening.result(PATIENCE + 0.5)
        opened = opening.result()
    assert inspect(opened).has_table("handovers")
    opened.dispose()
    old.dispose()


def test_a_log_that_is_up_to_date_is_opened_while_somebody_writes(place, log):
    with log.begin() as connection:
        connection.execute(text("DELETE FROM erasures"))
        opened = open_log(place)
        assert list(queries.latest_decisions(opened)) == []
        opened.dispose()


def test_a_log_of_before_doubts_were_logged_keeps_its_decisions(place):
    old = open_old_log(place, "0001")
    add_old_decision(old, "ada")
    old.dispose()
    log = open_log(place)
    (decision,) = queries.decisions_of_lead(log, "ada")
    assert (decision.probability, decision.insufficient, decision.withheld) == (0.25, None, False)
    log.dispose()


@pytest.fixture
def old_log(place):
    """A log of the time before leads had ranks, with three open leads, a closed one, and one never scored."""
    old = open_old_log(place, "0003")
    add_old_decision(old, "ada", 0.9)
    add_old_decision(old, "ada", 0.2)
    add_old_decision(old, "bob", 0.3)
    add_old_decision(old, "bob", 0.8, shadow=1)
    add_old_decision(old, "cy", 0.7, insufficient="too_few_outcomes")
    add_old_decision(old, "di", 0.6)
    for key, lead_id, corrects in OLD_OUTCOMES:
        row = {"key": key, "lead_id": lead_id, "corrects": corrects}
        add_old_row(old, "outcomes", row | {"outcome": "won", "occurred_at": 1, "recorded_at": 1})
    wish = {"day": 0, "capacity": 5, "explore": 0.0, "value": "", "open": 1, "tied": 1, "tied_taken": 1}
    add_old_row(old, "handovers", wish)
    old.dispose()
    opened = writing(open_log(place))
    yield opened
    opened.dispose()


# Two circles, of one lead and of another whose second report closes it; and a chain, which is none.
OLD_OUTCOMES = [
    ("1", "di", None),
    ("2", "di", "1"),
    ("3", "eve", "4"),
    ("4", "eve", "3"),
    ("5", "di", "5"),
]


SCORE = {
    "lead_id": "a",
    "tenant": "t",
    "model_version": "v1",
    "as_of": 7 * HOUR + 5,
    "scored_at": 7 * HOUR,
    "changed_at": 7 * HOUR,
    "probability": 0.25,
    "points": 168,
    "grade": "B",
    "state": "open",
    "name": "Ada",
    "attributes": "{}",
}
POINT = {name: SCORE[name] for name in ("lead_id", "tenant", "as_of", "probability", "points", "grade")}


def test_a_log_of_before_models_had_histories_keeps_its_own_and_begins_theirs(place):
    old = open_old_log(place, "0014")
    add_old_row(old, "score_history", POINT | {"hour": 7, "model_version": "v1"})
    add_old_row(old, "named_scores", SCORE | {"model": "renewal", "points": 300})
    withheld = {"lead_id": "b", "name": "Bob", "probability": None, "points": None, "grade": None}
    add_old_row(old, "named_scores", SCORE | {"model": "renewal"} | withheld)
    outcome = {"key": "k", "lead_id": "a", "tenant": "t", "outcome": "won", "occurred_at": 1}
    add_old_row(old, "outcomes", outcome | {"recorded_at": 1})
    wish = {"day": 0, "capacity": 5, "explore": 0.0, "value": "", "open": 1, "tied": 1, "tied_taken": 1}
    add_old_row(old, "handovers", wish | {"owner": "anna"})
    old.dispose()
    log = writing(open_log(place))
    with log.begin() as connection:
        for model, points in (("", 168), ("renewal", 300)):
            (point,) = read_score_history(connection, "a", "t", model)
            assert (point.as_of, point.points) == (7 * HOUR + 5, points)
        assert read_score_history(connection, "b", "t", "renewal") == ()
        found = read_page(connection, ScoreFilter(text="ADA"), "t", None, 5, "renewal")
        assert [each.lead_id for each in found.scores] == ["a"]
        # The same list by another model is another one, and numbers go on.
        again = insert(HANDOVERS).values(**wish, owner="anna", model="renewal").returning(HANDOVERS.c.id)
        assert connection.execute(again).scalar_one() == 2
    assert [(each.key, each.model) for each in queries.outcomes(log)] == [("k", "")]
    log.dispose()


def ranks(log):
    with log.connect() as connection:
        rows = connection.execute(select(LEAD_RANKS).order_by(LEAD_RANKS.c.lead_id)).mappings().all()
    return {row["lead_id"]: row for row in rows}


def test_an_old_log_is_ranked_as_one_that_was_written_today(old_log):
    by_lead = ranks(old_log)
    columns = ("tenant", "worth", "withheld", "closed")
    assert {lead: tuple(row[name] for name in columns) for lead, row in by_lead.items()} == {
        "ada": ("", 0.2, 0, 0),
        "bob": ("", 0.3, 0, 0),
        "cy": ("", 0.7, 1, 0),
        "di": ("", 0.6, 0, 1),
        "eve": ("", 0.0, 1, 1),
    }
    assert by_lead["ada"]["lot"] == lead_lot("ada")


def test_the_newest_of_outcomes_that_corrected_each_other_stands(old_log):
    assert [outcome.key for outcome in queries.outcomes(old_log)] == ["2", "4", "5"]


def test_more_leads_than_a_batch_are_ranked_as_well(place):
    old = open_old_log(place, "0003")
    add_old_row(old, "decisions", *[old_decision(f"lead {n % 5_500}") for n in range(11_000)])
    old.dispose()
    log = open_log(place)
    with log.connect() as connection:
        newest = func.count(), func.min(LEAD_RANKS.c.decision_id), func.max(LEAD_RANKS.c.decision_id)
        assert connection.execute(select(*newest)).one() == (5_500, 5_501, 11_000)
    log.dispose()


def test_the_rows_and_numbers_of_an_old_log_stay(old_log):
    with old_log.begin() as connection:
        number = connection.execute(
            insert(HANDOVERS)
            .values(day=DAY, capacity=5, explore=0.0, value="", open=1, tied=1, tied_taken=1)
            .returning(HANDOVERS.c.id)
        ).scalar_one()
        assert number == 2
    assert [outcome.key for outcome in queries.outcome_history(old_log, "di")] == ["1", "2", "5"]


def test_a_log_of_a_newer_leadloop_is_refused_and_left_alone(log, place):
    with log.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LogError, match="9999"):
        open_log(place)


@pytest.mark.parametrize(
    "place",
    ["mysql://me@db/log", "sqlite://", "sqlite:///:memory:", "ftp://x/y", "duckdb:///log.db"],
)
def test_other_databases_are_refused(place):
    with pytest.raises(LogError, match="a decision log is a file"):
        open_log(place)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("no database " * 100)
    with pytest.raises(LogError, match="file is not a database"):
        open_log(str(file))
    assert file.read_text() == "no database " * 100


def test_a_server_that_does_not_answer_is_an_error_without_the_password():
    with pytest.raises(LogError, match="cannot be opened") as caught:
        open_log("postgresql://me:secret@127.0.0.1:1/log")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b.db", "what?.db", "50%.db", "#1.db"])
def test_a_path_is_taken_as_it_is(tmp_path, name):
    open_log(str(tmp_path / "new" / name)).dispose()
    assert (tmp_path / "new" / name).is_file()


def test_without_a_word_the_log_is_on_and_keeps_for_ever():
    settings = LogSettings.of({})
    assert settings.on
    assert settings.keeps_for is None


@pytest.mark.parametrize("days", ["0", "-1", "ten", "1.5", "99999"])
def test_a_time_to_keep_that_makes_no_sense_is_refused(days):
    with pytest.raises(LogError):
        LogSettings.of({KEEP_DAYS: days})


@pytest.mark.parametrize("settings", [LogSettings("off"), LogSettings("postgresql://me@db/log", keep_days=3)])
def test_settings_survive_the_environment(settings):
    assert LogSettings.of(settings.environment) == settings


def test_a_relative_path_means_the_folder_in_which_it_was_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert LogSettings("decisions.db").environment[PLACE] == str(tmp_path / "decisions.db")


@pytest.mark.parametrize(
    ("place", "displayed"),
    [
        ("logs/decisions.db", "logs/decisions.db"),
        ("sqlite:////logs/decisions.db?key=hunter2", "sqlite:////logs/decisions.db"),
        ("postgresql://me:hunter2@db.example:5432/log", "postgresql://db.example:5432/log"),
        ("postgresql://hunter2%40crm@db/log?sslmode=require", "postgresql://db/log"),
        ("postgresql://db/log?user=me&password=hunter2", "postgresql://db/log"),
        ("postgresql://db/log?password=hunter@2", "postgresql://..."),
        ("postgresql://db/log?sslpassword=hunter2&options=-c%20hunter2", "postgresql://db/log"),
        ("postgresql://me:hunter2/x@db/log", "postgresql://db/log"),
        ("postgresql://me:hunter?2@db/log", "postgresql://..."),
        ("postgresql://me:hunter2 db/log", "postgresql://..."),
        ("postgresql://me:hunter2@[::1]:5432/log", "postgresql://[::1]:5432/log"),
        ("postgresql://me:hunter2@a:5432,b:5433/log", "postgresql://a:5432,b:5433/log"),
        ("postgresql:///log?host=/run/hunter2", "postgresql:///log"),
    ],
)
def test_a_place_is_displayed_without_whatever_may_be_a_password(place, displayed):
    assert displayed_place(place) == displayed
    assert LogSettings(place).in_words().startswith(f"decisions are logged in {displayed} ")
    assert "hunter" not in displayed


@pytest.mark.parametrize(
    "place",
    [
        "postgresql://me:hunter2@127.0.0.1:1/log",
        "postgresql://127.0.0.1:1/log?user=me&password=hunter2",
        "postgresql://127.0.0.1:1/log?sslmode=hunter2",
        "postgresql://127.0.0.1:1/log?hunter2=hunter2",
        "postgresql://127.0.0.1:hunter2/log",
        "postgresql://me:hunter2@127.0.0.1:port/log",
        "postgresql://me:hun@ter2@:/:hunter2",
        "postgresql+hunter2://127.0.0.1:1/log",
    ],
)
def test_no_message_about_a_database_names_a_password(place, caplog):
    with pytest.raises(LogError) as caught:
        open_log(place)
    with closing(DecisionLog(LogSettings(place))) as journal:
        deadline = time.monotonic() + 20
        while journal.writer.available is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "hunter2" not in f"{caught.value} {caplog.text}"
    assert "cannot be" in str(caught.value)


def test_a_log_belongs_to_the_first_project_that_opens_it(place):
    open_log(place).dispose()
    open_log(place, "crm-a").dispose()
    open_log(place, "crm-a").dispose()
    open_log(place).dispose()
    with pytest.raises(
        LogError, match="belongs to the project 'crm-a', and this service to 'crm-b'; name another"
    ):
        open_log(place, "crm-b")
    assert LogSettings.of({PLACE: place, PROJECT: "crm-b"}).project == "crm-b"


def test_a_service_of_another_project_writes_nothing(place, caplog):
    open_log(place, "crm-a").dispose()
    with closing(DecisionLog(LogSettings(place, project="crm-b"))) as journal:
        with pytest.raises(LogUnavailable):
            asyncio.run(journal.log_decisions([make_decision("ada")], RequestInfo("/v1/score")))
        assert journal.writer.available is False
    assert "belongs to the project 'crm-a'" in caplog.text
    log = open_log(place)
    assert list(queries.latest_decisions(log)) == []
    log.dispose()


def test_a_connection_that_comes_back_after_its_log_was_closed_is_closed(place):
    log = open_log(place)
    connection = log.connect()
    connection.execute(select(1))
    driver = connection.connection.driver_connection
    log.dispose()
    assert driver.execute("SELECT 1").fetchone() == (1,)
    connection.close()
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        driver.execute("SELECT 1")
    with log.connect() as again:
        kept = again.connection.driver_connection
    assert kept.execute("SELECT 1").fetchone() == (1,)
    log.dispose()
