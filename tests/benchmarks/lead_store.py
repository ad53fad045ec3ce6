"""What the lead store costs: events a second beside bare inserts, and a score by id beside a lead in full.

Run: python tests/benchmarks/lead_store.py MODEL [POSTGRESQL_URL]

Events a second are by the clock; CPU is that of this process, or of the service's over HTTP, so that it tells
what events cost where other programs have the cores. PostgreSQL's own processes are not counted.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from decision_log import _seconds
from faults import descendants
from online import lead

from serving.decision_log.database import open_log, writing
from serving.decision_log.settings import LogSettings
from serving.endpoints.events import parse_event
from serving.lead_store.events import ADD_EVENTS, add_events
from serving.lead_store.records import BY_REST
from serving.server import run_service
from serving.settings import ServiceSettings

EVENTS = 10_000
BATCHES = (100, 1_000)
ROUNDS = 300
TURNS = 3
COLLEAGUES = 3


def touchpoint_events(name, count):
    """Touchpoints of leads with forty each, as a CRM would send them."""
    leads = (lead(i) for i in range(count // 40 + 1))
    events = [
        {"id": f"{name}-{one['lead_id']}-{n}", "type": "touchpoint", "lead_id": f"{name}-{one['lead_id']}"}
        | touch
        for one in leads
        for n, touch in enumerate(one["touchpoints"])
    ]
    return events[:count]


@dataclass(frozen=True)
class Pace:
    """Events a second, and the CPU of one in microseconds."""

    a_second: float
    cpu: float

    @classmethod
    def of(cls, seconds, cpu):
        return cls(EVENTS / seconds, cpu / EVENTS * 1e6)


def cpu_of(pid):
    """CPU seconds of a process and all that it started."""
    ticks = 0
    for each in (pid, *descendants(pid)):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def bare(place, name, size):
    """The pace of executemany, so many rows a transaction, into the same table."""
    engine = writing(open_log(place))
    rows = [
        (name, row.event_id, *row.values, 0, BY_REST)
        for row in (parse_event(event, int(time.time())) for event in touchpoint_events(name, EVENTS))
    ]
    start, used = time.perf_counter(), time.process_time()
    for first in range(0, EVENTS, size):
        with engine.begin() as connection:
            ADD_EVENTS.execute_many(connection, rows[first : first + size])
    pace = Pace.of(time.perf_counter() - start, time.process_time() - used)
    engine.dispose()
    return pace


def stored(place, name, size):
    """The pace at which the store adds events, so many a transaction, from parsed ones to their statuses."""
    engine = writing(open_log(place))
    now = time.time()
    rows = [parse_event(event, int(now)) for event in touchpoint_events(name, EVENTS)]
    start, used = time.perf_counter(), time.process_time()
    for first in range(0, EVENTS, size):
        with engine.begin() as connection:
            add_events(connection, rows[first : first + size], name, now)
    pace = Pace.of(time.perf_counter() - start, time.process_time() - used)
    engine.dispose()
    return pace


def posted(service, connection, name, size):
    """The pace at which the service takes the events of one client, so many a request, each answered."""
    events = touchpoint_events(name, EVENTS)
    bodies = [json.dumps({"events": events[first : first + size]}) for first in range(0, EVENTS, size)]
    # One that was idle for long is closed by the service.
    connection.close()
    start, used = time.perf_counter(), cpu_of(service.process.pid)
    for body in bodies:
        answer = post(connection, "/v1/events", body)
        assert all(result["status"] == "accepted" for result in json.loads(answer)["results"])
    return Pace.of(time.perf_counter() - start, cpu_of(service.process.pid) - used)


def post(connection, path, body):
    """The body of the answer."""
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == http.HTTPStatus.OK, content
    return content


def by_id(connection):
    """Milliseconds of a score by id and of the same lead in full, medians of turns."""
    own, *others = (lead(i) for i in range(COLLEAGUES + 1))
    events = [
        {"id": f"lead-{one['lead_id']}", "type": "lead", "lead_id": one["lead_id"], "account_id": "A"}
        | {"created_at": one["created_at"]}
        for one in (own, *others)
    ]
    events += [
        {"id": f"{one['lead_id']}-{n}", "type": "touchpoint", "lead_id": one["lead_id"]} | touch
        for one in (own, *others)
        for n, touch in enumerate(one["touchpoints"])
    ]
    post(connection, "/v1/events", json.dumps({"events": events}))
    colleagues = [touch | {"lead_id": one["lead_id"]} for one in others for touch in one["touchpoints"]]
    in_full = json.dumps({"leads": [own | {"account": {"touchpoints": colleagues}}]})
    ids = json.dumps({"lead_ids": [own["lead_id"]]})
    answers = [json.loads(post(connection, "/v1/score", body))["results"][0] for body in (ids, in_full)]
    assert answers[0]["probability"] == answers[1]["probability"], answers
    taken = [[_seconds(connection, body) for body in (ids, in_full)] for _ in range(ROUNDS)][ROUNDS // 5 :]
    return [statistics.median(column) * 1e3 for column in zip(*taken, strict=True)]


def median_pace(paces):
    """The median of some paces, by the clock and of CPU."""
    return Pace(statistics.median(p.a_second for p in paces), statistics.median(p.cpu for p in paces))


def _cells(paces):
    """Events a second and CPU, and both beside the first pace."""
    first = paces[0]
    for pace in paces:
        clock, cpu = pace.a_second / first.a_second, first.cpu / pace.cpu
        yield f"{pace.a_second:,.0f} ({clock:.2f} x) | {pace.cpu:.1f} ({cpu:.2f} x)"


def main(model, *urls):
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"SQLite": str(Path(folder) / "store.db")} | dict(zip(["PostgreSQL"], urls, strict=False))
        ways = "".join(
            f" {way} | CPU, µs an event |" for way in ("bare inserts", "by the store", "over HTTP")
        )
        print(f"| database | events a request |{ways}\n|---|---|---|---|---|---|---|---|")
        scored = {}
        for database, place in places.items():
            # What it takes to score their leads is in rescoring.py.
            settings = ServiceSettings(str(model), log=LogSettings(place), rescore=False)
            with tempfile.TemporaryFile() as log, run_service(settings, log=log) as service:
                connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
                for size in BATCHES:
                    # In turns, on a machine that others use as well.
                    turns = [
                        (
                            bare(place, f"bare{size}-{turn}", size),
                            stored(place, f"stored{size}-{turn}", size),
                            posted(service, connection, f"sent{size}-{turn}", size),
                        )
                        for turn in range(TURNS)
                    ]
                    paces = [median_pace(column) for column in zip(*turns, strict=True)]
                    print(f"| {database} | {size:,} | {' | '.join(_cells(paces))} |", flush=True)
                scored[database] = by_id(connection)
        print("\n| database | ms by id | in full | ratio |\n|---|---|---|---|")
        for database, (ids, in_full) in scored.items():
            print(f"| {database} | {ids:.2f} | {in_full:.2f} | {ids / in_full:.2f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
