"""What the decision log costs: answers with and without it, in turns, and the writer alone.

Run: python tests/benchmarks/decision_log.py MODEL [POSTGRESQL_URL]
"""

from __future__ import annotations

import asyncio
import http.client
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from online import lead

from models.explanation import Score
from serving.decision_log.async_log import DecisionLog
from serving.decision_log.records import NewDecision, RequestInfo
from serving.decision_log.settings import OFF, LogSettings
from serving.server import run_service
from serving.settings import ServiceSettings

ROUNDS = 400
WAITING = (1, 10, 100)


def answers(model, place):
    """Rows (leads, ms without the log, ms with it) of one client that asks two services in turns."""
    services = [ServiceSettings(str(model), log=LogSettings(where)) for where in (OFF, place)]
    with (
        tempfile.TemporaryFile() as log,
        run_service(services[0], log=log) as without,
        run_service(services[1], log=log) as logging,
    ):
        connections = [
            http.client.HTTPConnection(one.url.removeprefix("http://")) for one in (without, logging)
        ]
        return [(size, *_medians(connections, size)) for size in (1, 10)]


def _medians(connections, size):
    body = json.dumps({"leads": [lead(i) for i in range(size)]})
    taken = [[_seconds(one, body) for one in connections] for _ in range(ROUNDS)][ROUNDS // 5 :]
    return [statistics.median(column) * 1e3 for column in zip(*taken, strict=True)]


def _seconds(connection, body):
    start = time.perf_counter()
    connection.request("POST", "/v1/score", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == http.HTTPStatus.OK
    return time.perf_counter() - start


def writer(place, waiting, features=124):
    """Decisions a second when so many requests of one lead wait at any time."""
    row = {f"feature_{i}": i / 7 for i in range(features)}
    made = [NewDecision(Score("0012", 100, -1.1, 0.25, 168, "B", "v1"), row)]
    journal = DecisionLog(LogSettings(place))
    each = max(1, 3_000 // waiting)

    async def one():
        for _ in range(each):
            await journal.log_decisions(made, RequestInfo("/v1/score"))

    async def all_of_them():
        await asyncio.gather(*(one() for _ in range(waiting)))

    asyncio.run(one())
    start = time.perf_counter()
    asyncio.run(all_of_them())
    taken = time.perf_counter() - start
    journal.writer.close()
    return each * waiting / taken


def main(model, *urls):
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        print("| leads a request | ms without the log | with it | ratio |\n|---|---|---|---|")
        for size, without, logged in answers(model, str(Path(folder) / "answers.db")):
            print(f"| {size} | {without:.2f} | {logged:.2f} | {logged / without:.2f} |")
        print("\n| requests that wait | SQLite, decisions a second | PostgreSQL |\n|---|---|---|")
        for waiting in WAITING:
            rates = [writer(place, waiting) for place in (str(Path(folder) / "writer.db"), *urls)]
            print(f"| {waiting} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
