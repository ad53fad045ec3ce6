"""The process that scores leads of the store: when there is one, what it is told, and how it ends."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from process_tree import alive, descendants

from models import artifact
from serving.current_scores.reading import find_score
from serving.decision_log.leases import is_taken
from serving.decision_log.settings import PLACE, LogSettings
from serving.decision_log.writer import GroupCommitWriter
from serving.endpoints.events import parse_event
from serving.lead_store.events import add_events
from serving.scorer_process import LEASE, ScorerProcess
from serving.server import run_service
from serving.settings import ServiceSettings

pytestmark = pytest.mark.slow
CREATED = 1_777_000_000


@pytest.fixture
def place(tmp_path, monkeypatch):
    place = str(tmp_path / "decisions.db")
    monkeypatch.setenv(PLACE, place)
    monkeypatch.setenv("LEADLOOP_WEBHOOKS", "")
    return place


@pytest.fixture
def stack():
    with ExitStack() as opened:
        yield opened


def open_writer(place, stack):
    writer = GroupCommitWriter(LogSettings(place))
    stack.callback(writer.close)
    wait_until(lambda: writer.available)
    return writer


def start(writer, folders, stack):
    process = ScorerProcess(writer, lambda: dict(folders))
    stack.callback(process.close)
    process.start()
    return process


def add(writer, *lead_ids):
    now = time.time()
    rows = [
        {"id": f"lead-{each}", "type": "lead", "lead_id": each, "created_at": CREATED} for each in lead_ids
    ]
    events = [parse_event(row, int(now)) for row in rows]
    writer.submit(lambda connection: add_events(connection, events, "", now)).result(10)


def version(writer, lead_id):
    with writer.log.connect() as connection:
        score = find_score(connection, lead_id, "")
    return None if score is None else score.model_version


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return result


def scorers(pid):
    """The processes below this one that score leads."""
    return {each for each in alive(descendants(pid)) if b"serving.scorer_process" in _command(each)}


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_without_leads_there_is_no_process_and_with_the_first_one_there_is(place, stack, model_folder):
    writer = open_writer(place, stack)
    process = start(writer, {"": model_folder}, stack)
    time.sleep(2.5)
    assert not scorers(os.getpid())
    add(writer, "a")
    wait_until(lambda: version(writer, "a"))
    (running,) = scorers(os.getpid())
    process.close()
    assert not alive({running})


def test_a_process_that_is_killed_is_replaced(place, stack, model_folder):
    writer = open_writer(place, stack)
    start(writer, {"": model_folder}, stack)
    add(writer, "a")
    wait_until(lambda: version(writer, "a"))
    (first,) = scorers(os.getpid())
    os.kill(first, signal.SIGKILL)
    add(writer, "b")
    wait_until(lambda: version(writer, "b"))
    (second,) = scorers(os.getpid())
    assert second != first


def test_of_two_workers_one_has_a_process_and_the_other_goes_on_at_once(place, stack, model_folder):
    writers = [open_writer(place, stack) for _ in range(2)]
    first, second = (start(writer, {"": model_folder}, stack) for writer in writers)
    add(writers[0], "a")
    wait_until(lambda: version(writers[0], "a"))
    assert len(scorers(os.getpid())) == 1
    ended, other = (first, second) if first._process is not None else (second, first)
    ended.close()
    add(writers[0], "b")
    # Well within the lease of who has ended.
    wait_until(lambda: other._process is not None, 15)
    wait_until(lambda: version(writers[0], "b"))


def test_it_scores_by_the_model_that_answers_now(place, stack, model_folder, tmp_path):
    model, first = artifact.load(model_folder), artifact.load(model_folder).version
    card = replace(model.card, closed_stages=("sql",))
    second = artifact.save(replace(model, card=card), tmp_path / "next").version
    writer, current = open_writer(place, stack), {"": model_folder}
    start(writer, current, stack)
    add(writer, "a")
    wait_until(lambda: version(writer, "a") == first)
    current[""] = tmp_path / "next"
    wait_until(lambda: version(writer, "a") == second)
    # One that cannot be loaded changes nothing.
    current[""] = tmp_path / "nowhere"
    add(writer, "b")
    wait_until(lambda: version(writer, "b") == second)


def test_who_had_to_be_killed_leaves_no_lease(place, stack, model_folder):
    """Its worker gives it back: nobody else waits for it."""
    writer = open_writer(place, stack)
    process = start(writer, {"": model_folder}, stack)
    add(writer, "a")
    wait_until(lambda: version(writer, "a"))
    (running,) = scorers(os.getpid())
    os.kill(running, signal.SIGSTOP)
    process.close()
    assert not alive({running})

    def is_free():
        with writer.log.connect() as connection:
            return not is_taken(connection, LEASE, "another", time.time())

    wait_until(is_free, 10)


def test_a_scorer_ends_with_a_worker_that_is_killed_and_another_one_goes_on(place, model_folder):
    settings = ServiceSettings(str(model_folder), log=LogSettings(place))
    with run_service(settings, workers=2) as service, ExitStack() as stack:
        writer = open_writer(place, stack)
        add(writer, "a")
        wait_until(lambda: version(writer, "a"))
        (first,) = scorers(service.process.pid)
        (worker,) = [pid for pid in descendants(service.process.pid) if descendants(pid) - {pid} == {first}]
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not alive({first}), 20)
        add(writer, "b")
        wait_until(lambda: version(writer, "b"))
        (second,) = scorers(service.process.pid)
    assert not alive({first, second})
