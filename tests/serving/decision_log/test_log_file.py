"""A log on SQLite whose file is deleted, replaced, cut short or opened to others."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from log_entries import log_decisions, make_decision

from serving.decision_log import log_file, queries
from serving.decision_log.async_log import DecisionLog
from serving.decision_log.database import open_log, writing
from serving.decision_log.records import RequestInfo
from serving.decision_log.settings import LogSettings, LogUnavailable

READS = """
import sqlite3
import sys

log = sqlite3.connect(sys.argv[1])
log.execute("SELECT count(*) FROM decisions").fetchall()
log.close()
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "logs" / "decisions.db"


@pytest.fixture
def journal(file):
    opened = DecisionLog(LogSettings(str(file)))
    with closing(opened):
        wait_until(lambda: opened.writer.available)
        log(opened, "before")
        yield opened


def wait_until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def log(journal, lead_id):
    asyncio.run(journal.log_decisions([make_decision(lead_id)], RequestInfo("/v1/score")))


def lead_ids(file):
    """What another process finds under the name of the log."""
    opened = open_log(str(file))
    try:
        return [decision.lead_id for decision in queries.latest_decisions(opened)]
    finally:
        opened.dispose()


def delete(file):
    for name in file.parent.iterdir():
        name.unlink()


def delete_database(file):
    file.unlink()


def move_away(file):
    file.rename(file.with_suffix(".old"))


def move_folder(file):
    file.parent.rename(file.parent.with_name("elsewhere"))


def delete_folder(file):
    shutil.rmtree(file.parent)


def replace_by_empty(file):
    delete(file)
    file.touch()


def replace_by_another(file):
    other = file.with_name("other.db")
    opened = writing(open_log(str(other)))
    log_decisions(opened, make_decision("other"))
    opened.dispose()
    other.replace(file)


CHANGES = [
    delete,
    delete_database,
    move_away,
    move_folder,
    delete_folder,
    replace_by_empty,
    replace_by_another,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_acknowledged_is_in_the_file_of_that_name(journal, file, change, caplog):
    change(file)
    acknowledged = []
    for number in range(20):
        try:
            log(journal, f"after {number}")
        except LogUnavailable:
            continue
        acknowledged.append(f"after {number}")
    assert acknowledged
    wait_until(lambda: journal.writer.available)
    assert set(acknowledged) <= set(lead_ids(file))
    assert "the decision log is opened anew" in caplog.text
    assert [
        decision.lead_id for decision in asyncio.run(journal.decisions_of(acknowledged[-1], None, 9))
    ] == [acknowledged[-1]]


def test_a_log_that_nobody_writes_to_is_looked_after_as_well(journal, file):
    delete(file)
    wait_until(file.exists)
    wait_until(lambda: lead_ids(file) == [])

    def reads_nothing():
        with suppress(LogUnavailable):
            return asyncio.run(journal.decisions_of("before", None, 9)) == []

    wait_until(reads_nothing)


def test_a_reader_verifies_the_files_while_the_first_transaction_adds_those_beside(tmp_path, monkeypatch):
    database = tmp_path / "decisions.db"
    database.write_text("a log")
    files = log_file.OpenedFiles(database)
    look_at = log_file._identity

    def look_and_add(file):
        monkeypatch.setattr(log_file, "_identity", look_at)
        files.add_files_beside()
        return look_at(file)

    monkeypatch.setattr(log_file, "_identity", look_and_add)
    files.verify()


def test_a_log_that_grows_between_two_looks_at_it_was_not_cut_short(tmp_path, monkeypatch):
    database = tmp_path / "decisions.db"
    database.write_text("a log")
    files = log_file.OpenedFiles(database)
    look_at = log_file._identity

    def look_and_grow(file):
        found = look_at(file)
        monkeypatch.setattr(log_file, "_identity", look_at)
        database.write_text("a log that has grown since")
        files.verify()
        return found

    monkeypatch.setattr(log_file, "_identity", look_and_grow)
    files.verify()
    database.write_text("")
    with pytest.raises(log_file.LogFileChangedError, match="cut short"):
        files.verify()


def test_readers_do_not_go_on_reading_a_file_that_was_deleted(journal, file):
    assert asyncio.run(journal.decisions_of("before", None, 9))
    delete(file)
    found = []
    with suppress(LogUnavailable):
        found = asyncio.run(journal.decisions_of("before", None, 9))
    assert found == []


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_file_beside_the_log_that_is_removed_takes_no_record_with_it(journal, file, suffix):
    Path(f"{file}{suffix}").unlink()
    log(journal, "after")
    journal.close()
    assert lead_ids(file) == ["before", "after"]


def test_a_log_that_was_cut_short_is_not_written_as_if_it_were_whole(journal, file, caplog):
    for number in range(50):
        log(journal, f"lead {number}")
    os.truncate(file, 0)
    acknowledged = []
    for number in range(5):
        try:
            log(journal, f"after {number}")
        except LogUnavailable:
            continue
        acknowledged.append(f"after {number}")
    assert "was cut short" in caplog.text
    if acknowledged:
        assert set(acknowledged) <= set(lead_ids(file))


def test_a_log_that_cannot_be_made_again_is_refused_until_it_can(journal, file, caplog):
    delete_folder(file)
    file.parent.write_text("a file where the folder was")
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            log(journal, "lost")
    assert journal.writer.available is False
    assert "cannot be written" in caplog.text
    file.parent.unlink()
    wait_until(lambda: journal.writer.available)
    log(journal, "after")
    assert lead_ids(file) == ["after"]


@pytest.mark.usefixtures("journal")
def test_a_log_that_is_opened_once_more_is_still_in_use_for_other_processes(file):
    """Whoever is the last to close a database deletes its write-ahead log, and goes by SQLite's locks."""
    wal = Path(f"{file}-wal")
    before = wal.stat().st_ino
    open_log(str(file)).dispose()
    command = [sys.executable, "-c", READS, str(file)]
    subprocess.run(command, check=True)
    assert wal.exists()
    assert wal.stat().st_ino == before


@pytest.mark.usefixtures("journal")
def test_only_the_owner_may_read_a_log(file):
    modes = {name.name: stat.S_IMODE(name.stat().st_mode) for name in file.parent.iterdir()}
    assert modes == {"decisions.db": 0o600, "decisions.db-wal": 0o600, "decisions.db-shm": 0o600}


@pytest.mark.parametrize(("mode", "closed"), [(0o644, 0o600), (0o666, 0o600), (0o640, 0o640), (0o600, 0o600)])
def test_a_log_that_all_may_read_is_closed_and_a_group_that_was_let_in_stays(file, mode, closed):
    open_log(str(file)).dispose()
    file.chmod(mode)
    open_log(str(file)).dispose()
    assert stat.S_IMODE(file.stat().st_mode) == closed
