"""A worker that is killed in the middle of its work takes nothing with it that it had acknowledged."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import threading
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

CALLERS = 4


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


def lead_with_visit(lead_id, account_id):
    """Events of a new lead, each with an id."""
    created = 1_777_000_000
    lead = {"id": f"l-{lead_id}", "type": "lead", "lead_id": lead_id, "created_at": created}
    visit = {"id": f"v-{lead_id}", "type": "touchpoint", "lead_id": lead_id, "kind": "visit"}
    return {"events": [lead | {"account_id": account_id}, visit | {"occurred_at": created + 5}]}


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
def test_all_that_was_acknowledged_before_a_kill_is_in_the_log_and_every_event_is_scored_after_it(
    model_folder, place, tmp_path
):
    decided, stored, is_over = [], [], threading.Event()

    def load(caller):
        for turn in itertools.count():
            lead_id = f"{caller}-{turn}"
            if ask(service.url, json.dumps({"leads": [{"lead_id": lead_id}]})) == 200:
                decided.append(lead_id)
            if (
                ask(
                    service.url,
                    json.dumps(lead_with_visit(f"s-{lead_id}", f"acme-{turn // 4}")),
                    "/v1/events",
                )
                == 200
            ):
                stored.append(f"s-{lead_id}")
            if is_over.wait(0.02):
                return

    settings = ServiceSettings(str(model_folder), log=LogSettings(place))
    output = (tmp_path / "service.log").open("wb")
    with (
        output,
        run_service(settings, log=output) as service,
        ThreadPoolExecutor(CALLERS) as pool,
    ):
        try:
            calls = [pool.submit(load, caller) for caller in range(CALLERS)]
            log = open_log(place)
            # In the middle of answers, of events and of scores: the queue is looked at every second.
            wait_until(lambda: min(len(decided), len(stored)) > 50 and some_scores(log))
            killed = workers(service.process.pid)
            for worker in killed:
                os.kill(worker, signal.SIGKILL)
            wait_until(lambda: ask(service.url, '{"leads": [{"lead_id": "after"}]}') == 200)
        finally:
            is_over.set()
        for call in calls:
            call.result()
        reborn = workers(service.process.pid)
        wait_until(lambda: unscored(log, stored) == (set(), set(), 0))
    logged = {decision.lead_id for decision in queries.latest_decisions(log)}
    log.dispose()
    assert killed
    assert reborn
    assert not set(reborn) & set(killed)
    assert {*decided, *stored, "after"} <= logged


def some_scores(log):
    with log.connect() as connection:
        return connection.execute(select(CURRENT_SCORES.c.lead_id).limit(1)).first() is not None


def wait_until(holds):
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
