"""Where the log may be, and that its tables are what the code thinks they are."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from log_entries import log_decisions, make_decision
from sqlalchemy import func, inspect, select, text

from models.uncertainty import InsufficientEvidence
from serving.decision_log import queries
from serving.decision_log.database import MIGRATING, PATIENCE, open_log
from serving.decision_log.settings import KEEP_DAYS, PLACE, LogError, LogSettings
from serving.decision_log.tables import METADATA


def test_migrations_lead_to_the_tables_of_the_code(log):
    with log.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
        assert {"decisions", "outcomes", "erasures", "handovers", "handed_over"} <= set(
            inspect(connection).get_table_names()
        )


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
        assert list(pool.map(start, range(6))) == [[("0003",)]] * 6


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


def test_tables_that_somebody_else_is_making_are_waited_for(place, log):
    """Longer than an answer would wait: whoever migrates may have much to do."""
    with log.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
        for later in ("handovers", "handed_over"):
            connection.execute(text(f"DROP TABLE {later}"))
    with ThreadPoolExecutor(1) as pool:
        with log.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(*MIGRATING)))
            opening = pool.submit(open_log, place)
            with pytest.raises(TimeoutError):
                opening.result(PATIENCE + 0.5)
        opened = opening.result()
    assert inspect(opened).has_table("handovers")
    opened.dispose()


def test_a_log_that_is_up_to_date_is_opened_while_somebody_writes(place, log):
    with log.begin() as connection:
        connection.execute(text("DELETE FROM erasures"))
        opened = open_log(place)
        assert list(queries.latest_decisions(opened)) == []
        opened.dispose()


def test_a_log_of_before_doubts_were_logged_keeps_its_decisions(log, place):
    log_decisions(
        log, make_decision("ada", insufficient=InsufficientEvidence("too_wide", None, "Too little is known."))
    )
    with log.begin() as connection:
        connection.execute(text("ALTER TABLE decisions DROP COLUMN insufficient"))
        for later in ("handovers", "handed_over"):
            connection.execute(text(f"DROP TABLE {later}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    open_log(place).dispose()
    (decision,) = queries.decisions_of_lead(log, "ada")
    assert (decision.probability, decision.insufficient, decision.withheld) == (0.25, None, False)


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
