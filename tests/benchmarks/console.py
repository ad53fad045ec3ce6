"""What the lists of the console cost where the table of current scores is large: queries, and their plans.

Run: python tests/benchmarks/console.py [POSTGRESQL_URL] [--leads N] [--plans] [--model DIR]

With a model a service shows the pages as well, over HTTP.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import event, text

from serving.console.lead_lists import _read_choices
from serving.current_scores.reading import count_scores, read_page
from serving.current_scores.records import PageEnd, ScoreFilter
from serving.decision_log.database import open_log, writing
from serving.decision_log.settings import LogSettings
from serving.server import run_service
from serving.settings import ServiceSettings

PAGE = 25
_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {leads})",
    "postgresql": "WITH n(i) AS (SELECT generate_series(0::bigint, {leads} - 1))",
}
# A number that looks like one at random, and is the same in both databases.
_LOT = "((i * 7919 + 13) % 1000003)"
_FILLS = (
    """INSERT INTO current_scores (lead_id, tenant, decision_id, model, model_version, as_of, scored_at,
    changed_at, probability, points, grade, interval_low, interval_high, state, fit, engagement,
    combined_grade, account_id, owner, channel, stage, name, created_at, attributes)
    {numbers} SELECT 'lead ' || i, '', i + 1, '', 'v1', 1777000000, 1777000000, 1777000000,
    ({lot} * 1.0 / 1000003), {lot} % 200, CASE WHEN {lot} % 100 < 5 THEN 'A' WHEN {lot} % 100 < 15 THEN 'B'
    WHEN {lot} % 100 < 35 THEN 'C' ELSE 'D' END, 0.1, 0.3, CASE WHEN i % 10 = 9 THEN 'dormant' WHEN i % 10 = 8
    THEN 'closed' ELSE 'open' END, {lot} % 100, {lot} % 100, 'B2', 'account ' || (i / 4),
    'owner ' || ({lot} % 25), 'channel ' || ({lot} % 8), 'stage ' || ({lot} % 4),
    'Person ' || i || ' of Company ' || (i / 4), 1770000000,
    '{{"industry": "industry ' || ({lot} % 30) || '", "country": "DE", "employees": 120, "job_title": "title '
    || ({lot} % 200) || '"}}' FROM n""",
    """INSERT INTO lead_ranks (tenant, lead_id, value_name, decision_id, worth, value, known, lot, withheld,
    closed)
    {numbers} SELECT '', 'lead ' || i, '', i + 1, {lot} * 1.0 / 1000003, NULL, 1, {lot}, 0,
    CASE WHEN i % 50 = 7 THEN 1 ELSE 0 END FROM n""",
)
UNDECIDED = ScoreFilter(undecided=True)


def queries(leads):
    """By name, what the pages ask of the database."""

    def page(after=None, **wanted):
        return lambda connection: read_page(
            connection, ScoreFilter(undecided=True, **wanted), "", after, PAGE
        )

    def count(**wanted):
        return lambda connection: count_scores(connection, ScoreFilter(undecided=True, **wanted), "")

    return {
        "the first page": page(),
        "a page in the middle": page(PageEnd(0.5, "lead")),
        "how many there are": count(),
        "the first page of an owner": page(owner="owner 7"),
        "how many of an owner": count(owner="owner 7"),
        "the first page of an attribute": page(attribute=("industry", "industry 7")),
        "a name that one lead has": page(text=f"person {leads - 3} of"),
        "how many have it": count(text=f"person {leads - 3} of"),
        "a name that nobody has": page(text="nobody at all"),
        "choices (once a minute)": lambda connection: _read_choices(connection.engine, "", ""),
    }


def fill(place, leads):
    """A log in which so many leads have scores: four in five open, one in fifty of them decided."""
    log = writing(open_log(place))
    numbers = _NUMBERS[log.dialect.name].format(leads=leads)
    with log.begin() as connection:
        for statement in _FILLS:
            connection.execute(text(statement.format(numbers=numbers, lot=_LOT).replace(":", "\\:")))
    if log.dialect.name == "postgresql":
        with log.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))
    log.dispose()


def measure(place, leads, rounds=5):
    """By query: median and longest ms of wall clock, after one to warm up, and the plan of each statement."""
    log, figures = open_log(place), {}
    try:
        for name, query in queries(leads).items():
            plans = []
            with log.connect() as connection:
                _explained(connection, query, plans)
                spent = [_milliseconds(connection, query) for _ in range(rounds)]
            figures[name] = (statistics.median(spent), max(spent), plans)
    finally:
        log.dispose()
    return figures


def pages(leads):
    """By name, addresses of the console."""
    return {
        "page of today": "/console",
        "page of an owner": "/console?owner=owner+7",
        "page of a name that one lead has": f"/console?text=person+{leads - 3}+of",
        "page of a name that nobody has": "/console?text=nobody+at+all",
    }


def measure_pages(model, place, leads, rounds=9):
    """By page: median and longest ms over HTTP, of a service with one worker, after one to warm up."""
    settings, figures = ServiceSettings(str(model), log=LogSettings(place), rescore=False), {}
    with tempfile.TemporaryFile() as output, run_service(settings, log=output) as service:
        connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
        for name, address in pages(leads).items():
            spent = [_load(connection, address) for _ in range(rounds + 1)][1:]
            figures[name] = (statistics.median(spent), max(spent))
    return figures


def _load(connection, address):
    started = time.perf_counter()
    connection.request("GET", address)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == http.HTTPStatus.OK, content
    return (time.perf_counter() - started) * 1_000


def _milliseconds(connection, query):
    started = time.perf_counter()
    query(connection)
    return (time.perf_counter() - started) * 1_000


def _explained(connection, query, plans):
    """Ask once, and keep the plan of each statement."""
    statements = []

    def note(_connection, _cursor, statement, parameters, *_):
        statements.append((statement, parameters))

    event.listen(connection.engine, "before_cursor_execute", note)
    try:
        query(connection)
    finally:
        event.remove(connection.engine, "before_cursor_execute", note)
    word = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    for statement, parameters in statements:
        rows = connection.exec_driver_sql(f"{word} {statement}", parameters)
        plans.append([str(row[-1]) for row in rows])


def main():
    """Print a table, and with --plans how the database goes about it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--leads", type=int, default=200_000)
    parser.add_argument("--plans", action="store_true")
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.url or str(Path(folder) / "decisions.db")
        fill(place, options.leads)
        for name, (median, longest, plans) in measure(place, options.leads).items():
            print(f"| {name} | {median:,.1f} | {longest:,.1f} |")
            for plan in plans if options.plans else ():
                print("   ", "\n      ".join(plan))
        if options.model is not None:
            for name, (median, longest) in measure_pages(options.model, place, options.leads).items():
                print(f"| {name} | {median:,.1f} | {longest:,.1f} |")


if __name__ == "__main__":
    main()
