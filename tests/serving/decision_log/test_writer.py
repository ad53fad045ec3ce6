"""The writer: what it acknowledged is there, whatever happens; what it cannot write is refused."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from threading import Event

import psycopg
import pytest
from log_entries import log_decisions, make_decision, make_outcome
from sqlalchemy import event, text

from features.clock import DAY
from serving.decision_log import async_log, queries, writer
from serving.decision_log.async_log import DecisionLog
from serving.decision_log.database import open_log, writing
from serving.decision_log.records import RequestInfo
from serving.decision_log.settings import LogSettings, LogUnavailable
from serving.decision_log.statements import add_decisions, decision_rows, probe_writable


@pytest.fixture
def journal(place):
    opened = DecisionLog(LogSettings(place))
    wait_until(lambda: opened.writer.available)
    yield opened
    opened.close()


def wait_until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lead_ids(journal):
    return [decision.lead_id for decision in queries.latest_decisions(journal.writer.log)]


def decide(journal, *lead_ids):
    row = {"note": "x" * 1_000, "visits": 3.0}
    return journal.log_decisions(
        [make_decision(lead_id, row=row) for lead_id in lead_ids], RequestInfo("/v1/score")
    )


def acknowledged(journal, number):
    """Ask for so many records at once; the ids of those that were acknowledged."""

    async def log_one(lead_id):
        try:
            await decide(journal, lead_id)
        except LogUnavailable:
            return None
        return lead_id

    async def all_of_them():
        return await asyncio.gather(*(log_one(str(i)) for i in range(number)))

    return [lead_id for lead_id in asyncio.run(all_of_them()) if lead_id is not None]


def test_who_waits_together_is_written_together_in_order(journal):
    commits = []
    event.listen(journal.writer.log, "commit", commits.append)
    assert len(acknowledged(journal, 300)) == 300
    assert lead_ids(journal) == [str(i) for i in range(300)]
    assert len(commits) < 150


def test_what_is_wrong_with_one_is_not_held_against_the_others(journal):
    def wrong(_):
        msg = "not a record"
        raise KeyError(msg)

    async def ask():
        jobs = [decide(journal, "a"), journal.writer.write(wrong), decide(journal, "b")]
        return await asyncio.gather(*jobs, return_exceptions=True)

    first, second, third = asyncio.run(ask())
    assert (first, third) == (None, None)
    assert isinstance(second, KeyError)
    assert lead_ids(journal) == ["a", "b"]


def test_the_same_key_from_two_workers_counts_once(place, journal):
    other = DecisionLog(LogSettings(place))

    async def ask():
        jobs = [who.log_outcomes([make_outcome(f"k{i}")]) for i in range(30) for who in (journal, other)]
        return await asyncio.gather(*jobs)

    try:
        receipts = asyncio.run(ask())
    finally:
        other.close()
    assert [sorted(first + second) for first, second in zip(receipts[::2], receipts[1::2], strict=True)] == [
        ["recorded", "repeated"]
    ] * 30


def test_what_was_accepted_is_written_before_the_writer_ends(place):
    journal = DecisionLog(LogSettings(place))

    async def ask():
        waiting = [asyncio.create_task(decide(journal, str(i))) for i in range(50)]
        await asyncio.sleep(0)
        await asyncio.to_thread(journal.close)
        await asyncio.gather(*waiting)

    asyncio.run(ask())
    log = open_log(place)
    assert sum(1 for _ in queries.latest_decisions(log)) == 50
    log.dispose()


def test_a_client_that_went_away_leaves_no_record_and_no_harm(journal):
    async def ask():
        blocked = asyncio.create_task(journal.writer.write(lambda _: time.sleep(0.3)))
        await asyncio.sleep(0.1)
        gone = asyncio.create_task(decide(journal, "gone"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(blocked, gone, return_exceptions=True)
        await decide(journal, "here")

    asyncio.run(ask())
    assert lead_ids(journal) == ["here"]


def test_who_waited_too_long_is_refused(journal, monkeypatch):
    monkeypatch.setattr(writer, "WAITS", 0.05)

    async def ask():
        blocked = asyncio.create_task(journal.writer.write(lambda _: time.sleep(0.5)))
        await asyncio.sleep(0.01)
        with pytest.raises(LogUnavailable):
            await decide(journal, "late")
        await asyncio.gather(blocked, return_exceptions=True)

    asyncio.run(ask())
    asyncio.run(asyncio.sleep(0.6))
    assert lead_ids(journal) == []


@pytest.fixture
def small(tmp_path):
    """A log in a file."""
    opened = DecisionLog(LogSettings(str(tmp_path / "decisions.db")))
    wait_until(lambda: opened.writer.available)
    yield opened
    opened.close()


@pytest.mark.slow
def test_a_locked_database_is_refused_and_then_written_again(small, tmp_path):
    acknowledged_before = acknowledged(small, 3)
    with closing(sqlite3.connect(tmp_path / "decisions.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert acknowledged(small, 5) == []
        assert small.writer.available is False
        assert [decision.lead_id for decision in asyncio.run(small.decisions_of("0", None, 9))] == ["0"]
        other.execute("ROLLBACK")
    wait_until(lambda: small.writer.available)
    asyncio.run(decide(small, "after"))
    assert lead_ids(small) == [*acknowledged_before, "after"]


def test_a_full_disk_loses_nothing_acknowledged_and_ends_with_room(small, caplog):
    def pages(connection, most):
        return connection.exec_driver_sql(f"PRAGMA max_page_count = {most}").scalar()

    with small.writer.log.connect() as connection:
        now = connection.exec_driver_sql("PRAGMA page_count").scalar()
    event.listen(small.writer.log, "begin", partial(pages, most=now + 8))
    lead_ids_acknowledged = [lead_id for i in range(10) for lead_id in acknowledged(small, 20 + i)]
    # What comes last may be few records, which the room that is left holds; then the next ones fill it.
    while last := acknowledged(small, 1):
        lead_ids_acknowledged += last
    assert 0 < len(lead_ids_acknowledged) < 245
    assert small.writer.available is False
    assert "database or disk is full" in caplog.text
    assert sum(1 for _ in every(small)) == len(lead_ids_acknowledged)
    event.listen(small.writer.log, "begin", partial(pages, most=now + 10_000))
    wait_until(lambda: small.writer.available)
    assert len(acknowledged(small, 20)) == 20
    assert sum(1 for _ in every(small)) == len(lead_ids_acknowledged) + 20


def every(journal):
    return queries.scores(journal.writer.log, 0, 2**60)


@pytest.mark.slow
def test_postgresql_may_go_and_come_back(cluster):
    journal = DecisionLog(LogSettings(cluster.database()))
    wait_until(lambda: journal.writer.available)
    try:
        before = acknowledged(journal, 10)
        cluster.stop()
        assert acknowledged(journal, 10) == []
        with pytest.raises(LogUnavailable):
            asyncio.run(journal.decisions_of("0", None, 9))
        cluster.start()
        wait_until(lambda: journal.writer.available)
        after = acknowledged(journal, 10)
        assert len(list(every(journal))) == len(before) + len(after) == 20
    finally:
        journal.close()


def test_a_log_that_is_not_there_yet_is_written_as_soon_as_it_is(tmp_path, caplog):
    place = tmp_path / "folder"
    place.write_text("a file where a folder should be")
    journal = DecisionLog(LogSettings(str(place / "decisions.db")))
    try:
        assert acknowledged(journal, 2) == []
        with pytest.raises(LogUnavailable):
            asyncio.run(journal.decisions_of("0", None, 9))
        place.unlink()
        wait_until(lambda: journal.writer.available)
        assert len(acknowledged(journal, 2)) == 2
    finally:
        journal.close()
    assert caplog.text.count("cannot be written") == 1


def test_what_is_older_than_it_may_be_is_forgotten_by_itself(place, log):
    now = int(time.time())
    log_decisions(log, *[make_decision("old")] * 1_200, now=now - 2 * DAY)
    log_decisions(log, make_decision("new"), now=now)
    journal = DecisionLog(LogSettings(place, keep_days=1))
    try:
        wait_until(
            lambda: (
                [decision.lead_id for decision in every(journal)] == ["new"]
                if journal.writer.available
                else 0
            )
        )
    finally:
        journal.close()


def test_erasing_waits_its_turn(journal):
    async def ask():
        calls = [
            decide(journal, "ada"),
            journal.log_outcomes([make_outcome("k1", "ada")]),
            journal.erase("ada"),
        ]
        return await asyncio.gather(*calls)

    erased = asyncio.run(ask())[2]
    assert (erased.decisions, erased.outcomes) == (1, 1)
    assert lead_ids(journal) == []


def test_no_decision_is_no_commit(journal):
    commits = []
    event.listen(journal.writer.log, "commit", commits.append)
    asyncio.run(journal.log_decisions([], RequestInfo("/v1/score")))
    assert commits == []


def test_a_record_is_there_when_it_is_acknowledged(journal, place):
    asyncio.run(decide(journal, "ada"))
    log = open_log(place)
    assert [decision.lead_id for decision in queries.latest_decisions(log)] == ["ada"]
    log.dispose()


def test_rows_are_made_once_for_all_leads_of_a_request(log):
    rows = decision_rows([make_decision("a"), make_decision("b")], RequestInfo("/v1/score", "r1"), 5)
    with log.begin() as connection:
        add_decisions(connection, rows)
    assert {(decision.request_id, decision.decided_at) for decision in queries.latest_decisions(log)} == {
        ("r1", 5)
    }


def backends(cluster, place):
    """The processes of PostgreSQL that serve the connections to a database."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(f"postgresql://me@127.0.0.1:{cluster.port}/postgres") as db:
        return [pid for (pid,) in db.execute(query, [place.rpartition("/")[2]])]


@pytest.fixture
def frozen(cluster, monkeypatch):
    """A log on a PostgreSQL whose processes can be stopped, and answer nothing while they are."""
    monkeypatch.setattr(writer, "WAITS", 1.0)
    monkeypatch.setattr(writer, "DEADLINE", 1.5)
    monkeypatch.setattr(async_log, "DEADLINE", 1.5)
    place = cluster.database()
    journal = DecisionLog(LogSettings(place))
    wait_until(lambda: journal.writer.available)
    asyncio.run(decide(journal, "before"))
    asyncio.run(journal.decisions_of("before", None, 9))
    stopped = backends(cluster, place)
    stopped.append(int((cluster.folder / "data/postmaster.pid").read_text().splitlines()[0]))
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield journal, stopped
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        journal.close()


@pytest.mark.slow
def test_a_database_that_is_frozen_is_refused_and_noticed_and_used_again(frozen):
    journal, stopped = frozen
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            asyncio.run(decide(journal, "while it is frozen"))
        with pytest.raises(LogUnavailable):
            asyncio.run(journal.decisions_of("before", None, 9))
    wait_until(lambda: not journal.writer.available)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: journal.writer.available)
    asyncio.run(decide(journal, "after"))
    assert {"before", "after"} <= set(lead_ids(journal))


@pytest.mark.slow
def test_a_database_that_freezes_while_nobody_asks_is_noticed(frozen):
    journal, _ = frozen
    wait_until(lambda: not journal.writer.available)


def test_reads_of_a_log_that_hangs_leave_the_threads_that_score_alone(journal, monkeypatch):
    """And no more of them wait than there is room for."""
    monkeypatch.setattr(async_log, "DEADLINE", 0.5)
    hangs = Event()
    monkeypatch.setattr(queries, "outcome_history", lambda *_, **__: hangs.wait(5))

    async def ask():
        reads = [asyncio.create_task(journal.outcomes_of("ada")) for _ in range(async_log.MOST_READS + 5)]
        await asyncio.sleep(0)
        computed = await asyncio.wait_for(asyncio.to_thread(lambda: 42), 5)
        return computed, await asyncio.gather(*reads, return_exceptions=True)

    computed, answers = asyncio.run(ask())
    hangs.set()
    assert computed == 42
    assert [type(answer) for answer in answers] == [LogUnavailable] * (async_log.MOST_READS + 5)


def test_no_more_requests_wait_than_there_is_room_for(journal, monkeypatch):
    monkeypatch.setattr(writer, "MOST_WAITING", 10)

    async def ask():
        blocked = asyncio.create_task(journal.writer.write(lambda _: time.sleep(0.5)))
        await asyncio.sleep(0.1)
        jobs = [decide(journal, str(i)) for i in range(15)]
        answers = await asyncio.gather(*jobs, return_exceptions=True)
        await blocked
        return [type(answer) for answer in answers]

    assert asyncio.run(ask()) == [type(None)] * 10 + [LogUnavailable] * 5
    assert len(lead_ids(journal)) == 10


def test_a_disk_that_hangs_is_noticed_and_requests_are_refused_at_once(journal, monkeypatch):
    monkeypatch.setattr(writer, "WAITS", 0.2)

    async def ask():
        blocked = asyncio.create_task(journal.writer.write(lambda _: time.sleep(1)))
        await asyncio.sleep(0.5)
        assert journal.writer.available is False
        with pytest.raises(LogUnavailable):
            await asyncio.wait_for(decide(journal, "ada"), 0.1)
        await asyncio.gather(blocked, return_exceptions=True)

    asyncio.run(ask())
    wait_until(lambda: journal.writer.available)


def test_workers_that_write_the_same_leads_in_any_order_do_not_deadlock(place):
    """Neither lose a record, nor take the log for unavailable."""
    leads = [f"lead {n}" for n in range(8)]
    workers = [DecisionLog(LogSettings(place)) for _ in range(3)]

    async def ask():
        jobs = []
        for turn in range(40):
            order = leads[turn % 8 :] + leads[: turn % 8]
            for number, journal in enumerate(workers):
                mine = order if number % 2 else order[::-1]
                reports = [make_outcome(f"{turn}-{lead}", lead) for lead in mine]
                jobs += [decide(journal, *mine), journal.log_outcomes(reports)]
        return await asyncio.gather(*jobs)

    try:
        for worker in workers:
            wait_until(lambda worker=worker: worker.writer.available)
        answers = asyncio.run(ask())
        assert sum(1 for _ in every(workers[0])) == 40 * 3 * 8
    finally:
        for worker in workers:
            worker.close()
    statuses = [status for answer in answers if answer is not None for status in answer]
    assert (statuses.count("recorded"), statuses.count("repeated")) == (320, 640)


def test_a_deadlock_is_tried_again_and_is_no_unavailable_log(cluster, caplog):
    place = cluster.database()
    journal, other = DecisionLog(LogSettings(place)), writing(open_log(place))
    wait_until(lambda: journal.writer.available)
    log_decisions(other, make_decision("a"), make_decision("b"))
    locked, waits = Event(), Event()
    lock = text("SELECT 1 FROM lead_ranks WHERE lead_id = :lead FOR UPDATE")

    def work(connection):
        connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
        connection.execute(lock, {"lead": "a"})
        locked.set()
        waits.wait(5)
        connection.execute(lock, {"lead": "b"})
        return "written"

    def against():
        locked.wait(5)
        with other.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            connection.execute(lock, {"lead": "b"})
            waits.set()
            connection.execute(lock, {"lead": "a"})

    with ThreadPoolExecutor(1) as pool:
        opposing = pool.submit(against)
        assert asyncio.run(journal.writer.write(work)) == "written"
        opposing.result(5)
    assert "cannot be written" not in caplog.text
    assert journal.writer.available
    journal.close()
    other.dispose()


def test_a_clock_that_jumps_ahead_does_not_empty_the_log(place, log, monkeypatch, caplog):
    now = int(time.time())
    log_decisions(log, make_decision("old"), now=now - 40 * DAY)
    log_decisions(log, *[make_decision(f"lead {n}") for n in range(5)], now=now - DAY)
    monkeypatch.setattr(time, "time", lambda: float(now + 400 * DAY))
    with closing(DecisionLog(LogSettings(place, keep_days=30))) as journal:
        wait_until(lambda: journal.writer.available and "400 days after" in caplog.text.replace("401", "400"))
        asyncio.run(decide(journal, "of the wrong time"))
    assert "log prune --keep-days 30 --force" in caplog.text
    kept = {decision.lead_id for decision in queries.scores(log, 0, 2**60)}
    assert kept == {*[f"lead {n}" for n in range(5)], "of the wrong time"}


def test_who_still_reads_when_the_log_is_closed_leaves_no_connection_open(place):
    journal = DecisionLog(LogSettings(place))
    journal.writer.submit(probe_writable).result(20)
    reads, goes_on, drivers = Event(), Event(), []

    def read():
        with journal.writer.log.connect() as connection:
            drivers.append(connection.connection.driver_connection)
            reads.set()
            goes_on.wait(20)

    async def give_up():
        reading = asyncio.create_task(journal.read(read))
        await asyncio.to_thread(reads.wait, 20)
        reading.cancel()

    asyncio.run(give_up())
    journal.close()
    goes_on.set()
    journal._readers.shutdown(wait=True)
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        drivers[0].execute("SELECT 1")
