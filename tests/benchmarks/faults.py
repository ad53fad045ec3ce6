"""What is acknowledged stays, whatever happens to a service under load, to its log and to its database.

Run: python tests/benchmarks/faults.py [MODEL] [--seconds 12] [--only NAME ...]

Clients ask without a pause, each time for another lead, and keep the ids that were answered with 200. Halfway
the fault happens. In the end every acknowledged id must be in the log; where somebody deletes the log, those
that were acknowledged since. A fault that this machine cannot make (no root, no PostgreSQL) is named.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from online import company

from models import artifact
from serving.decision_log import queries
from serving.decision_log.database import open_log
from serving.decision_log.settings import LogSettings
from serving.server import run_service
from serving.settings import ServiceSettings

CLIENTS = 4
WITHIN = 60
JSON = {"Content-Type": "application/json"}


class NotPossibleError(RuntimeError):
    """This machine cannot make the fault; the message says why."""


@dataclass
class Clients:
    """Clients of one service: the leads that were acknowledged, by when, and the statuses."""

    url: str
    acknowledged: list[tuple[float, str]] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self):
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client):
        turn = 0
        while not self._over.is_set():
            turn += 1
            lead_id = f"{client}-{turn}"
            # What was committed just before a log was taken away may be answered just after.
            started = time.monotonic()
            status = ask(self.url, json.dumps({"leads": [{"lead_id": lead_id}]}))
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == http.HTTPStatus.OK:
                self.acknowledged.append((started, lead_id))
            else:
                time.sleep(0.02)


def ask(url, body=None, path="/v1/score"):
    """The status of an answer, 0 where there was none."""
    try:
        with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)) as connection:
            connection.request("GET" if body is None else "POST", path, body, JSON)
            answer = connection.getresponse()
            answer.read()
            return answer.status
    except (OSError, http.client.HTTPException):
        return 0


def until(true, what, within=WITHIN):
    """The seconds that it took; a fault that is not overcome ends the benchmark."""
    start = time.monotonic()
    while not true():
        if time.monotonic() - start > within:
            msg = f"{what} did not happen within {within} s"
            raise TimeoutError(msg)
        time.sleep(0.05)
    return time.monotonic() - start


def descendants(pid):
    """The processes that a process started, and theirs."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for task in tasks for child in task.read_text().split()]
    return pids + [other for child in pids for other in descendants(child)]


def logged(place):
    """The leads in a log."""
    log = open_log(place)
    try:
        return {decision.lead_id for decision in queries.latest_decisions(log)}
    finally:
        log.dispose()


@dataclass
class Trial:
    """A service under load, and where its log is."""

    model: Path
    place: str
    seconds: float
    scratch: Path
    workers: int = 2
    cluster: object = None
    notes: list[str] = field(default_factory=list)

    def run(self, fault):
        """Load, the fault halfway, load again; the acknowledged ids, and those before the fault."""
        settings = ServiceSettings(str(self.model), log=LogSettings(self.place))
        with (
            (self.scratch / "lines").open("wb") as lines,
            run_service(settings, workers=self.workers, log=lines) as service,
            Clients(service.url) as clients,
        ):
            time.sleep(self.seconds / 2)
            self.at = time.monotonic()
            fault(self, service)
            time.sleep(self.seconds / 2)
        return clients

    def again(self, service, what="an answer after the fault"):
        """Wait until the service answers, and note how long it took."""
        body = '{"leads": [{"lead_id": "after"}]}'
        self.notes.append(f"answers again after {until(lambda: ask(service.url, body) == 200, what):.1f} s")


def kill_worker(trial, service):
    """kill -9 of every worker."""
    for pid in descendants(service.process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    trial.again(service)


def kill_parent(trial, service):
    """kill -9 of the parent: the workers must leave, and the port with them."""
    family = descendants(service.process.pid)
    service.process.kill()
    service.process.wait()
    try:
        gone = until(lambda: not any(_runs(pid) for pid in family), "the end of the workers")
    finally:
        for pid in filter(_runs, family):
            os.kill(pid, signal.SIGKILL)
    port = int(service.url.rpartition(":")[2])
    socket.create_server(("127.0.0.1", port)).close()
    trial.notes.append(f"workers and port are gone after {gone:.1f} s")


def delete_log(trial, service):
    """The SQLite log and what lies beside it are deleted."""
    for file in trial.scratch.glob("decisions.db*"):
        file.unlink()
    trial.at = time.monotonic()
    trial.again(service)


def replace_log(trial, service):
    """The folder of the log is moved away and an empty one put in its place, as a restore does."""
    moved = trial.scratch / "moved"
    moved.mkdir()
    for file in trial.scratch.glob("decisions.db*"):
        file.rename(moved / file.name)
    trial.at = time.monotonic()
    trial.again(service)


def fill_disk(trial, service):
    """The disk of the log fills up, and has room again."""
    block = Path(trial.place).parent / "block"
    with suppress(OSError), block.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65536)
    body = '{"leads": [{"lead_id": "during"}]}'
    until(
        lambda: ask(service.url, body) == http.HTTPStatus.SERVICE_UNAVAILABLE,
        "a refusal while the disk is full",
    )
    ready = ask(service.url, path="/readyz")
    block.unlink()
    trial.notes.append(f"refused while full (readyz {ready})")
    trial.again(service)


def kill_database(trial, service):
    """kill -9 of PostgreSQL, which is started again."""
    os.kill(_postmaster(trial.cluster), signal.SIGKILL)
    time.sleep(1)
    for file in (trial.cluster.folder / "data" / "postmaster.pid", *trial.cluster.folder.glob(".s.PGSQL*")):
        file.unlink(missing_ok=True)
    trial.cluster.start()
    trial.again(service)


def freeze_database(trial, service):
    """PostgreSQL stands still for a while (SIGSTOP) and goes on."""
    postmaster = _postmaster(trial.cluster)
    family = [postmaster, *descendants(postmaster)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        noticed = until(
            lambda: ask(service.url, path="/readyz") == http.HTTPStatus.SERVICE_UNAVAILABLE, "readyz 503"
        )
        alive = ask(service.url, path="/livez")
    finally:
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    trial.notes.append(f"readyz is 503 after {noticed:.1f} s, livez {alive}")
    trial.again(service)


def _runs(pid):
    return Path(f"/proc/{pid}").exists()


def _postmaster(cluster):
    return int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])


SQLITE = {
    "kill -9 of all workers": kill_worker,
    "kill -9 of the parent": kill_parent,
    "log deleted": delete_log,
}
SQLITE |= {"log replaced": replace_log, "disk full": fill_disk}
POSTGRESQL = {"workers killed, PostgreSQL": kill_worker, "kill -9 of PostgreSQL": kill_database}
POSTGRESQL |= {"PostgreSQL frozen": freeze_database}
# What was in a log that somebody takes away is gone with it.
TAKEN_AWAY = {delete_log, replace_log}


def measure(name, model, seconds):
    """One fault; a row of the table."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fault = (SQLITE | POSTGRESQL)[name]
        place, cluster = str(scratch / "decisions.db"), None
        if fault is fill_disk:
            place = str(stack.enter_context(small_disk(scratch)) / "decisions.db")
        if name in POSTGRESQL:
            cluster = stack.enter_context(postgresql())
            place = cluster.database()
        trial = Trial(model, place, seconds, scratch, cluster=cluster)
        clients = trial.run(fault)
        kept = logged(place)
    due = [lead for at, lead in clients.acknowledged if fault not in TAKEN_AWAY or at > trial.at]
    lost = [lead for lead in due if lead not in kept]
    return len(clients.acknowledged), len(due), len(lost), clients.statuses, trial.notes


@contextmanager
def small_disk(scratch):
    """A disk of 64 megabytes, so that the load alone does not fill it."""
    disk = scratch / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["/bin/mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=False
        ).returncode
    ):
        msg = "a small disk takes the right to mount one"
        raise NotPossibleError(msg)
    try:
        yield disk
    finally:
        subprocess.run(["/bin/umount", "-l", disk], check=True)


@contextmanager
def postgresql():
    """A PostgreSQL of its own."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    import pytest  # noqa: PLC0415

    from tests.serving.conftest import start_cluster  # noqa: PLC0415

    try:
        with start_cluster() as cluster:
            yield cluster
    except pytest.skip.Exception as error:
        raise NotPossibleError(str(error)) from error


def main(told):
    """Every fault, as the table of docs/explanation/measured.md."""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        model = told.model
        if model is None:
            model = Path(folder) / "model"
            artifact.save(company(1_000), model)
        print("| fault | acknowledged | due in the log | lost | other answers | |\n|---|---|---|---|---|---|")
        for name in told.only or (*SQLITE, *POSTGRESQL):
            try:
                total, due, lost, statuses, notes = measure(name, model, told.seconds)
            except NotPossibleError as error:
                print(f"| {name} | not measured: {error} | | | | |", flush=True)
                continue
            except (TimeoutError, OSError) as error:
                print(f"| {name} | FAULT: {error} | | | | |", flush=True)
                failed = True
                continue
            others = ", ".join(
                f"{status or 'none'}: {count}" for status, count in sorted(statuses.items()) if status != 200
            )
            print(f"| {name} | {total:,} | {due:,} | {lost} | {others} | {'; '.join(notes)} |", flush=True)
            failed = failed or lost > 0
    return int(failed)


def options(words=None):
    """Which model, how long, which faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a model's folder; else one of a made-up company")
    parser.add_argument("--seconds", type=float, default=12, help="of load around each fault")
    parser.add_argument("--only", nargs="+", choices=(*SQLITE, *POSTGRESQL), help="these faults only")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(options()))
