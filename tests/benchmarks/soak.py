"""Hours in small: steady load, promotions and erasures, and nothing may fail, grow or come back.

Run: python tests/benchmarks/soak.py [MODEL] [--minutes 30] [--share 0.6] [--every 60]

Capacity is what as many clients get who never pause. Then they ask at fixed times, a share of that; an answer
is timed from when it was due, so that a service that stalls cannot make itself look good by being asked less.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import itertools
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from online import company, lead

from models import artifact
from models.active_model import set_active
from serving.decision_log.settings import LogSettings
from serving.server import run_service
from serving.settings import ServiceSettings

CLIENTS = 4
MEASURED_FOR = 5.0
# Memory of the last third against the third before; the first is warming up.
GROWS_AT_MOST = 1.03
_ONE, _TEN = [lead()], [lead(number) for number in range(10)]
# What a CRM asks: mostly one lead that changed, now and then why, some at once, what became of one.
REQUESTS = (
    *[("/v1/score", {"leads": _ONE})] * 7,
    ("/v1/score", {"leads": _TEN}),
    ("/v1/explain", {"leads": _ONE, "top": 5}),
    ("/v1/outcomes", None),
)
# Every so many turns a client has a lead scored and erases it, while the challenger may still hold it.
ERASES_EVERY = 20


@dataclass
class Crm:
    """Clients of one service, and what became of their requests."""

    url: str
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    _keys: itertools.count = field(default_factory=itertools.count)

    def capacity(self):
        """Requests a second of clients that never pause."""
        self.ask(MEASURED_FOR, interval=0.0)
        done = len(self.seconds)
        self.seconds.clear()
        return done / MEASURED_FOR

    def ask(self, lasting, interval):
        """Ask for so many seconds, every ``interval`` seconds; by all clients in turns."""
        start = time.monotonic()
        clients = [
            threading.Thread(target=self._client, args=(number, start, start + lasting, interval))
            for number in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def _client(self, number, start, end, interval):
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        for turn in itertools.count(number, CLIENTS):
            due = start + turn * interval if interval else time.monotonic()
            if max(due, time.monotonic()) >= end:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            self._one(connection, *REQUESTS[turn // CLIENTS % len(REQUESTS)])
            if turn // CLIENTS % ERASES_EVERY == 0:
                self._score_and_erase(connection, f"erased-{turn}")
            self.seconds.append(time.monotonic() - due)
        connection.close()

    def _one(self, connection, path, body):
        try:
            connection.request(
                "POST", path, json.dumps(body or self._outcome()), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            told = json.loads(answer.read())
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{path}: {error!r}")
            connection.close()
            return
        if answer.status != http.HTTPStatus.OK or any("error" in one for one in told["results"]):
            self.failures.append(f"{path}: {answer.status} {str(told)[:200]}")
        self.versions.add(told.get("model_version", ""))

    def _score_and_erase(self, connection, lead_id):
        self._one(connection, "/v1/score", {"leads": [lead(0) | {"lead_id": lead_id}]})
        try:
            connection.request("DELETE", f"/v1/leads/{lead_id}")
            answer = connection.getresponse()
            erased = json.loads(answer.read())
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"erasure: {error!r}")
            connection.close()
            return
        if answer.status != http.HTTPStatus.OK:
            self.failures.append(f"erasure: {answer.status} {str(erased)[:200]}")
        self.erased.add(lead_id)

    def _outcome(self):
        key = f"k{next(self._keys)}"
        return {
            "outcomes": [{"key": key, "lead_id": "0", "outcome": "qualified", "occurred_at": 1_770_000_000}]
        }


@dataclass(frozen=True)
class Promotions:
    """The same model again and again, each time with another card and so another version."""

    model: object
    store: Path
    versions: list[str] = field(default_factory=list)

    def next(self):
        turn = len(self.versions)
        card = dataclasses.replace(self.model.card, recipe=f"turn {turn}")
        folder = self.store / "leadloop.soak" / f"turn-{turn}"
        self.versions.append(artifact.save(dataclasses.replace(self.model, card=card), folder).version)
        set_active(folder)

    def go_on(self, every, over):
        """One every so many seconds, until it is over."""
        while not over.wait(every):
            self.next()


def memory(pid):
    """Resident bytes of a process and all it started, without what they share with files."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    mine = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return mine * 1024 + sum(memory(child) for child in children)


def watch(pid, over, samples, every=1.0):
    """Take a sample of memory every second, until it is over."""
    while not over.wait(every):
        samples.append(memory(pid))


def growth(samples):
    """How the last third of the samples compares with the third before."""
    third = len(samples) // 3
    before, after = (statistics.median(part) for part in (samples[third:-third], samples[-third:]))
    return after / before


@dataclass(frozen=True)
class Soaked:
    """What came of it."""

    crm: Crm
    promoted: list[str]
    capacity: float
    samples: list[int]
    back: int = 0

    @property
    def faults(self):
        """What must not be, in words; none is what it is all about."""
        unseen = set(self.promoted[:-1]) - self.crm.versions
        grown = growth(self.samples)
        return [
            *self.crm.failures[:10],
            *([f"{len(unseen)} promotions were never seen"] if unseen else []),
            *([f"memory grew by {grown - 1:.1%}"] if grown > GROWS_AT_MOST else []),
            *([f"{self.back} erased leads are in the log again"] if self.back else []),
        ]


def soak(model, told):
    """Load and promotions for ``told.minutes``."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["LEADLOOP_STORE"] = str(scratch / "models")
        promotions = Promotions(model, scratch / "models")
        promotions.next()
        log = stack.enter_context((scratch / "lines").open("wb"))
        challenger = scratch / "challenger"
        artifact.save(model, challenger)
        place = str(scratch / "decisions.db")
        settings = ServiceSettings(shadow=str(challenger), log=LogSettings(place))
        with run_service(settings, log=log) as service:
            crm, over, samples = Crm(service.url), threading.Event(), []
            capacity = crm.capacity()
            threads = [
                threading.Thread(target=promotions.go_on, args=(told.every, over)),
                threading.Thread(target=watch, args=(service.process.pid, over, samples)),
            ]
            for thread in threads:
                thread.start()
            crm.ask(told.minutes * 60, 1 / (capacity * told.share))
            over.set()
            for thread in threads:
                thread.join()
        back = len(crm.erased & leads_in(place))
    return Soaked(crm, promotions.versions, capacity, samples, back)


def leads_in(place):
    """The leads in a log, by whatever model they were scored."""
    with closing(sqlite3.connect(place)) as log:
        return {lead_id for (lead_id,) in log.execute("SELECT DISTINCT lead_id FROM decisions")}


def report(done):
    """What came of it, as the table of docs/explanation/measured.md."""
    ms = sorted(second * 1e3 for second in done.crm.seconds)
    third = len(done.samples) // 3
    print("\n| soak | |\n|---|---|")
    print(f"| capacity, requests a second | {done.capacity:,.0f} |")
    print(f"| requests | {len(ms):,} |\n| failed | {len(done.crm.failures):,} |")
    print(f"| promotions, each seen in answers | {len(done.promoted) - 1} |")
    print(f"| leads erased, in the log again | {len(done.crm.erased):,}, {done.back} |")
    print(f"| p50, p99, longest, ms | {ms[len(ms) // 2]:.1f}, {ms[len(ms) * 99 // 100]:.1f}, {ms[-1]:.0f} |")
    shown = (min(done.samples), statistics.median(done.samples[third:-third]), max(done.samples))
    print(f"| memory, least, median, most, MB | {', '.join(f'{one / 1e6:.0f}' for one in shown)} |")
    print(f"| last third against the one before | {growth(done.samples) - 1:+.1%} |")
    for fault in done.faults:
        print(f"FAULT {fault}")


def options(words=None):
    """Which model, for how long, how hard."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a model's folder; else one of a made-up company")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--share", type=float, default=0.6, help="of the capacity")
    parser.add_argument("--every", type=float, default=60, help="seconds from promotion to promotion")
    return parser.parse_args(words)


if __name__ == "__main__":
    told = options()
    done = soak(artifact.load(told.model) if told.model else company(), told)
    report(done)
    sys.exit(bool(done.faults))
