"""What the lead store costs: events a second beside bare inserts, and a score by id beside a lead in full.

Run: python tests/benchmarks/lead_store.py MODEL [POSTGRESQL_URL]
"""

from __future__ import annotations

import http.client
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from decision_log import _seconds
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


def bare(place, name, size):
    """Events a second that executemany inserts, so many a transaction, into the same table."""
    engine = writing(open_log(place))
    rows = [
        (name, row.event_id, *row.values, 0, BY_REST)
        for row in (parse_event(event, int(time.time())) for event in touchpoint_events(name, EVENTS))
    ]
    start = time.perf_counter()
    for first in range(0, EVENTS, size):
        with engine.begin() as connection:
            ADD_EVENTS.execute_many(connection, rows[first : first + size])
    taken = time.perf_counter() - start
    engine.dispose()
    return EVENTS / taken


def stored(place, name, size):
    """Events a second that the store adds, so many a transaction, from parsed events to their statuses."""
    engine = writing(open_log(place))
    now = time.time()
    rows = [parse_event(event, int(now)) for event in touchpoint_events(name, EVENTS)]
    start = time.perf_counter()
    for first in range(0, EVENTS, size):
        with engine.begin() as connection:
            add_events(connection, rows[first : first + size], name, now)
    taken = time.perf_counter() - start
    engine.dispose()
    return EVENTS / taken


def posted(connection, name, size):
    """Events a second that one client sends, so many a request; an answer is waited for."""
    events = touchpoint_events(name, EVENTS)
    bodies = [json.dumps({"events": events[first : first + size]}) for first in range(0, EVENTS, size)]
    # One that was idle for long is closed by the service.
    connection.close()
    start = time.perf_counter()
    for body in bodies:
        answer = post(connection, "/v1/events", body)
        assert all(result["status"] == "accepted" for result in json.loads(answer)["results"])
    return EVENTS / (time.perf_counter() - start)


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


def main(model, *urls):
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"SQLite": str(Path(folder) / "store.db")} | dict(zip(["PostgreSQL"], urls, strict=False))
        print("| database | events a request | bare inserts, events a second | by the store | over HTTP |")
        print("|---|---|---|---|---|")
        scored = {}
        for database, place in places.items():
            settings = ServiceSettings(str(model), log=LogSettings(place))
            with tempfile.TemporaryFile() as log, run_service(settings, log=log) as service:
                connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
                for size in BATCHES:
                    # In turns, on a machine that others use as well.
                    turns = [
                        (
                            bare(place, f"bare{size}-{turn}", size),
                            stored(place, f"stored{size}-{turn}", size),
                            posted(connection, f"sent{size}-{turn}", size),
                        )
                        for turn in range(TURNS)
                    ]
                    inserted, added, sent = map(statistics.median, zip(*turns, strict=True))
                    print(
                        f"| {database} | {size:,} | {inserted:,.0f} | {added:,.0f} "
                        f"({added / inserted:.2f} x) | {sent:,.0f} ({sent / inserted:.2f} x) |"
                    )
                scored[database] = by_id(connection)
        print("\n| database | ms by id | in full | ratio |\n|---|---|---|---|")
        for database, (ids, in_full) in scored.items():
            print(f"| {database} | {ids:.2f} | {in_full:.2f} | {ids / in_full:.2f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
