"""How long a costly request keeps a worker from answering others: /livez is asked all the while.

Run: python tests/benchmarks/stalls.py [MODEL] [--rounds N] [--only WORDS]
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import statistics
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from online import company, lead

from models import artifact
from serving.decision_log.settings import LogSettings
from serving.server import run_service
from serving.settings import ServiceSettings

# As many bytes as a request may have.
LIMIT = 8 * 1024 * 1024
INTERVAL = 0.003
JSON = {"Content-Type": "application/json"}


def attributes(number, prefix="a"):
    """As many attributes as there are, none of which a model knows."""
    return {f"{prefix}{i}": 1 for i in range(number)}


def busy_lead(number, touchpoints):
    """A lead that did a lot."""
    events = [{"occurred_at": 1_770_000_000 + i * 60, "kind": "visit"} for i in range(touchpoints)]
    return {"lead_id": str(number), "created_at": 1_769_999_999, "touchpoints": events}


def body_of(leads, **options):
    """A request body."""
    return json.dumps({"leads": leads} | options, separators=(",", ":")).encode()


def filled(unit):
    """A body full of one value, in an attribute of one lead."""
    head, tail = b'{"leads":[{"lead_id":"1","attributes":{"industry":[', b"]}}]}"
    return head + b",".join([unit] * ((LIMIT - len(head) - len(tail)) // (len(unit) + 1))) + tail


ATTACKS = {
    "score 1 lead": lambda: ("/v1/score", body_of([lead()])),
    "score 100 leads": lambda: ("/v1/score", body_of([lead(i) for i in range(100)])),
    "score 1,000 leads": lambda: ("/v1/score", body_of([lead(i) for i in range(1_000)])),
    "63 leads x 9,999 unknown attributes": lambda: (
        "/v1/score",
        body_of([{"lead_id": str(i), "attributes": attributes(9_999)} for i in range(63)]),
    ),
    "63 leads x 2,800 touchpoints": lambda: (
        "/v1/score",
        body_of([busy_lead(i, 2_800) for i in range(63)]),
    ),
    "a lead with 750,000 unknown fields": lambda: ("/v1/score", body_of([attributes(750_000, "")])),
    "an envelope with 750,000 unknown fields": lambda: (
        "/v1/score",
        body_of([{"lead_id": "1"}], **attributes(700_000, "")),
    ),
    "an outcome with 750,000 unknown fields": lambda: (
        "/v1/outcomes",
        json.dumps({"outcomes": [attributes(750_000, "")]}, separators=(",", ":")).encode(),
    ),
    "an event with 750,000 unknown fields": lambda: (
        "/v1/score",
        body_of([{"lead_id": "1", "touchpoints": [attributes(750_000, "")]}]),
    ),
    "a field's name of 8 MB": lambda: ("/v1/score", body_of([{"lead_id": "1", "x" * 8_000_000: 1}])),
    "an attribute's name of 8 MB": lambda: (
        "/v1/score",
        body_of([{"lead_id": "1", "attributes": {"x" * 8_000_000: 1}}]),
    ),
    "a word of 8 MB": lambda: (
        "/v1/score",
        body_of([{"lead_id": "1", "attributes": {"industry": "x" * 8_000_000}}]),
    ),
    "1,000 misspelt attributes": lambda: (
        "/v1/score",
        body_of([{"lead_id": str(i), "attributes": {f"industri_{i}": 1}} for i in range(1_000)]),
    ),
    "empty lists in 8 MB": lambda: ("/v1/score", filled(b"[]")),
    "lists 100 deep in 8 MB": lambda: ("/v1/score", filled(b"[" * 100 + b"]" * 100)),
    "numbers of 4,000 digits": lambda: ("/v1/score", filled(b"9" * 4_000)),
    "numbers of 100,000 digits": lambda: ("/v1/score", filled(b"9" * 100_000)),
    "nested 1,000,000 deep": lambda: ("/v1/score", b'{"leads":' + b"[" * 1_000_000),
    "explain 100 leads": lambda: ("/v1/explain", body_of([lead(i) for i in range(100)])),
    "explain 1,000 leads": lambda: ("/v1/explain", body_of([lead(i) for i in range(1_000)])),
    "explain 1,000 leads, top 5": lambda: (
        "/v1/explain",
        body_of([lead(i) for i in range(1_000)], top=5),
    ),
}


@dataclass(frozen=True)
class Stall:
    """What one request cost, and how long /livez had to wait meanwhile, in milliseconds."""

    status: int
    answer: int
    cpu: float
    wall: float
    stalled_cpu: float
    stalled_wall: float


def cpu_clock(pid):
    """The clock of another process's CPU time, all threads, to the nanosecond (see clock_getcpuclockid)."""
    return (~pid << 3) | 2


def descendants(pid):
    """The processes that a process has started, and those that they have."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [*children, *(each for child in children for each in descendants(child))]


def worker_of(service):
    """The process that answers: of all that belong to the service, the one that spends time on answers."""
    pids = [service.process.pid, *descendants(service.process.pid)]
    before = {pid: cpu_seconds(pid) for pid in pids}
    with closing(connected(service.url)) as connection:
        for _ in range(200):
            ask(connection, "GET", "/livez")
    return max(pids, key=lambda pid: cpu_seconds(pid) - before[pid])


def cpu_seconds(pid):
    """The CPU time of a process, by now; that of one that has ended does not grow."""
    with suppress(OSError):
        return time.clock_gettime(cpu_clock(pid))
    return 0.0


def connected(url):
    """A connection that is open."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=300)
    connection.connect()
    return connection


def ask(connection, method, path, body=None):
    """Status and length of an answer."""
    connection.request(method, path, body, JSON if body else {})
    answer = connection.getresponse()
    return answer.status, len(answer.read())


def send(url, path, body, results):
    """One request, in a process of its own: what the client does is not to delay the probes."""
    with closing(connected(url)) as connection:
        start = time.perf_counter()
        status, size = ask(connection, "POST", path, body)
        results.put((status, size, time.perf_counter() - start))


def measure(url, worker, path, body):
    """The longest stall during one request."""
    results = multiprocessing.Queue()
    client = multiprocessing.Process(target=send, args=(url, path, body, results))
    with closing(connected(url)) as probe:
        ask(probe, "GET", "/livez")
        before, stalls = cpu_seconds(worker), []
        client.start()
        # Once more after the answer: the worker may still write its log.
        while results.empty():
            stalls.append(probe_once(probe, worker))
            time.sleep(INTERVAL)
        stalls.extend(probe_once(probe, worker) for _ in range(20))
    status, size, wall = results.get()
    client.join()
    cpu = cpu_seconds(worker) - before
    cpu_stalls, wall_stalls = zip(*stalls, strict=True)
    return Stall(status, size, cpu * 1e3, wall * 1e3, max(cpu_stalls) * 1e3, max(wall_stalls) * 1e3)


def probe_once(probe, worker):
    """CPU seconds of the worker, and seconds of the clock, until /livez was answered."""
    cpu, start = cpu_seconds(worker), time.perf_counter()
    ask(probe, "GET", "/livez")
    return cpu_seconds(worker) - cpu, time.perf_counter() - start


def main(folder, *, rounds, only=""):
    """The table."""
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as log:
        settings = ServiceSettings(str(folder), log=LogSettings(f"{scratch}/decisions.db"))
        with run_service(settings, log=log) as service:
            worker = worker_of(service)
            measure(service.url, worker, *ATTACKS["score 1 lead"]())
            print("\n| request | bytes | status | answer | its CPU ms | its ms | stall CPU ms | stall ms |")
            print("|---|---|---|---|---|---|---|---|")
            for name, make in ATTACKS.items():
                if only in name:
                    path, body = make()
                    row(name, len(body), [measure(service.url, worker, path, body) for _ in range(rounds)])


def row(name, size, stalls):
    """One line of the table: medians over the rounds."""
    columns = ("cpu", "wall", "stalled_cpu", "stalled_wall")
    medians = [statistics.median(getattr(stall, column) for stall in stalls) for column in columns]
    figures = " | ".join(f"{figure:.0f}" for figure in medians)
    print(f"| {name} | {size:,} | {stalls[-1].status} | {stalls[-1].answer:,} | {figures} |", flush=True)


def options(words=None):
    """Which model, how often."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a model's folder; else one of a made-up company")
    parser.add_argument("--rounds", type=int, default=3, help="the figures are medians of so many requests")
    parser.add_argument("--only", default="", help="requests whose names have these words in them")
    return parser.parse_args(words)


if __name__ == "__main__":
    chosen = options()
    with tempfile.TemporaryDirectory() as home:
        place = chosen.model or Path(home) / "model"
        if not chosen.model:
            artifact.save(company(), place)
        main(place, rounds=chosen.rounds, only=chosen.only)
