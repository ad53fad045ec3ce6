"""A worker that is killed in the middle of its work takes nothing with it that it had acknowledged."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from serving.decision_log import queries
from serving.decision_log.database import open_log
from serving.decision_log.score_queue import queue_length
from serving.decision_log.settings import LogSettings
from serving.decision_log.tables import CURRENT_SCORES, LEAD_EVENTS
from serving.server import run_service
from serving.settings import ServiceSettings

CALLERS, SECONDS = 4, 4


def children(pid):
    """The processes that a process started, and theirs."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for task in tasks for child in task.read_text().split()]
    return pids + [other for child in pids for other in children(child)]


def workers(pid):
    words = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children(pid)}
    return [child for child, command in words.items() if b"worker" in command]


def ask(url, body, path="/v1/score"):
    """The answer's status, or 0 where there was none."""
    try:
        with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
    except (OSError, http.client.HTTPException):
        return 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the worker in /proc")
def test_all_that_was_acknowledged_before_a_kill_is_in_the_log(model_folder, place, tmp_path):
    acknowledged = []

    def load(caller):
        until = time.monotonic() + SECONDS
        for turn in range(10**6):
            lead_id = f"{caller}-{turn}"
            if ask(service.url, json.dumps({"leads": [{"lead_id": lead_id}]})) == 200:
                acknowledged.append(lead_id)
            if time.monotonic() > until:
                return

    settings = ServiceSettings(str(model_folder), log=LogSettings(place))
    output = (tmp_path / "service.log").open("wb")
    with (
        output,
        run_service(settings, log=output) as service,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        calls = [pool.submit(load, caller) for caller in range(CALLERS)]
        time.sleep(SECONDS / 4)
        killed = workers(service.process.pid)
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        for call in calls:
            call.result()
        deadline = time.monotonic() + 60
        while ask(service.url, '{"leads": [{"lead_id": "after"}]}') != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        reborn = workers(service.process.pid)
    log = open_log(place)
    logged = {decision.lead_id for decision in queries.latest_decisions(log)}
    log.dispose()
    assert killed
    assert reborn
    assert not set(reborn) & set(killed)
    assert len(acknowledged) > 50
    assert set(acknowledged) | {"after"} <= logged


def lead_with_visit(lead_id):
    """Events of a new lead, each with an id."""
    created = 1_777_000_000
    lead = {"id": f"l-{lead_id}", "type": "lead", "lead_id": lead_id, "created_at": created}
    visit = {"id": f"v-{lead_id}", "type": "touchpoint", "lead_id": lead_id, "kind": "visit"}
    return {"events": [lead | {"account_id": "acme"}, visit | {"occurred_at": created + 5}]}


def unscored(log, lead_ids):
    """Those of some leads whose events or current scores are not in the database, and how many wait."""
    with log.connect() as connection:
        events = {
            row.subject
            for row in connection.execute(select(LEAD_EVENTS.c.subject).where(LEAD_EVENTS.c.kind != "lead"))
        }
        scores = {
            row.lead_id
            for row in connection.execute(
                select(CURRENT_SCORES.c.lead_id).where(CURRENT_SCORES.c.state == "open")
            )
        }
        return set(lead_ids) - events, set(lead_ids) - scores, queue_length(connection)[0]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the worker in /proc")
def test_every_event_that_was_acknowledged_before_a_kill_is_scored_after_it(model_folder, place, tmp_path):
    acknowledged = []

    def load(caller):
        until = time.monotonic() + SECONDS
        for turn in range(10**6):
            lead_id = f"{caller}-{turn}"
            if ask(service.url, json.dumps(lead_with_visit(lead_id)), "/v1/events") == 200:
                acknowledged.append(lead_id)
            time.sleep(0.02)
            if time.monotonic() > until:
                return

    settings = ServiceSettings(str(model_folder), log=LogSettings(place))
    output = (tmp_path / "service.log").open("wb")
    with (
        output,
        run_service(settings, log=output) as service,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        calls = [pool.submit(load, caller) for caller in range(CALLERS)]
        # In the middle of events and of scores: the queue is looked at every second.
        time.sleep(SECONDS / 2)
        killed = workers(service.process.pid)
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        for call in calls:
            call.result()
        log = open_log(place)
        deadline = time.monotonic() + 90
        while unscored(log, acknowledged) != (set(), set(), 0):
            assert time.monotonic() < deadline, unscored(log, acknowledged)
            time.sleep(0.5)
        log.dispose()
    assert killed
    assert len(acknowledged) > 20
