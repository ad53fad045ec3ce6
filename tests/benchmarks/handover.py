"""What a hand-over costs where a million leads are open: CPU and memory of one list.

Run: python tests/benchmarks/handover.py [POSTGRESQL_URL] [--leads N]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import tempfile
import time
from functools import partial
from pathlib import Path

from sqlalchemy import insert, text

from features.clock import DAY
from models.explanation import Score
from models.handover_lists import ListWish
from models.handover_plan import Exclusion, HandoverPlan
from models.handover_selection import HandoverRequest
from serving.decision_log.database import open_log, writing
from serving.decision_log.handovers import select_handovers
from serving.decision_log.records import NewDecision, RequestInfo
from serving.decision_log.statements import add_decisions, decision_rows
from serving.decision_log.tables import CURRENT_SCORES

MILLION = 1_000_000
BATCH = 5_000
CAPACITY = 500
OWNERS = [f"owner {n}" for n in range(25)]
PLAN = HandoverPlan(
    owners=dict.fromkeys(OWNERS, CAPACITY // len(OWNERS)),
    territory="country",
    territories={"*": "all"},
    teams={"all": OWNERS},
    exclusions=(
        Exclusion("customer", "stage", ("customer",)),
        Exclusion("student", "job_title", contains=("student",)),
    ),
)


def _alone(request):
    return ListWish(request, HandoverPlan(), by_owner=False)


WISHES = {
    "the best 500": _alone(HandoverRequest(DAY, CAPACITY)),
    "with 50 of them drawn": _alone(HandoverRequest(DAY, CAPACITY, 0.1)),
    "by value, the first time": _alone(HandoverRequest(DAY, CAPACITY, 0.1, "deal")),
    "by value, with 50 drawn": _alone(HandoverRequest(DAY, CAPACITY, 0.1, "deal")),
    "25 owners, two exclusions": ListWish(HandoverRequest(DAY, CAPACITY, 0.05), PLAN, by_owner=True),
}


def fill(place, leads):
    """A log with one decision per lead; two in three have a value."""
    log, numbers = writing(open_log(place)), random.Random(7)  # noqa: S311
    for start in range(0, leads, BATCH):
        made = [_decision(f"00Q{lead:015d}", numbers) for lead in range(start, min(start + BATCH, leads))]
        with log.begin() as connection:
            add_decisions(connection, decision_rows(made, RequestInfo("/v1/score"), DAY))
            known = [_known(each.score.lead_id, numbers) for each in made]
            connection.execute(insert(CURRENT_SCORES), known)
    if log.dialect.name == "postgresql":
        with log.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))
    log.dispose()


def _decision(lead_id, numbers):
    deal = numbers.lognormvariate(9, 1) if numbers.random() < 2 / 3 else None
    row = {"deal": deal} | {f"feature_{i}": numbers.random() for i in range(10)}
    return NewDecision(Score(lead_id, 100, -1.1, numbers.betavariate(1, 9), 168, "B", "v1"), row)


def _known(lead_id, numbers):
    """What the lead store knows of a lead: one in three has no owner."""
    titles = [f"title {n}" for n in range(200)] + ["student"] * 10
    attributes = {"job_title": numbers.choice(titles), "country": numbers.choice(["DE", "FR", "US"])}
    return {
        **dict.fromkeys(("as_of", "scored_at", "changed_at"), 0),
        "lead_id": lead_id,
        "model_version": "v1",
        "state": "open",
        "name": lead_id,
        "channel": "ads",
        "owner": numbers.choice(OWNERS) if numbers.random() < 2 / 3 else None,
        "stage": numbers.choice(["lead", "mql", "mql", "customer"]),
        "attributes": json.dumps(attributes | {f"attribute_{n}": "some value" for n in range(8)}),
    }


def cost(place, wish):
    """CPU seconds of this process and of PostgreSQL's, and MB that the list took over rest."""
    log = open_log(place)
    with log.connect() as connection:
        connection.execute(text("SELECT max(id) FROM decisions")).scalar()
        server = None
        if log.dialect.name == "postgresql":
            backend = connection.execute(text("SELECT pg_backend_pid()")).scalar()
            server = _parent(backend)
    Path("/proc/self/clear_refs").write_text("5")
    rest, own, theirs = _memory_mb("VmRSS"), time.process_time(), _children_cpu(server)
    lists = select_handovers(log, wish)
    assert sum(len(each.selection.leads) for each in lists) == CAPACITY
    spent, memory = time.process_time() - own, _memory_mb("VmHWM") - rest
    log.dispose()
    # What a backend has used is told by its parent once it has ended.
    time.sleep(0.5 if server else 0)
    return spent, _children_cpu(server) - theirs, memory


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _children_cpu(pid):
    """CPU seconds of a process' children, those that ended included; 0 where there is no process."""
    if pid is None:
        return 0.0
    ended = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]))
    running = [
        sum(map(int, Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]))
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]
    return (ended + sum(running)) / os.sysconf("SC_CLK_TCK")


def _memory_mb(field):
    """What /proc says of this process: VmRSS is its memory now, VmHWM the most since the last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def main(words=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("urls", nargs="*", metavar="POSTGRESQL_URL")
    parser.add_argument("--leads", type=int, default=MILLION)
    options = parser.parse_args(words)
    print("| a list from | CPU ms of the service | of the database | MB over rest |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for place in (str(Path(folder) / "decisions.db"), *options.urls):
            fill(place, options.leads)
            name = "PostgreSQL" if "://" in place else "SQLite"
            for wish, request in WISHES.items():
                # A process of its own, so that its peak is the list's.
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    own, server, memory = pool.apply(partial(cost, place, request))
                label = f"{options.leads:,} leads, {name}, {wish}"
                print(f"| {label} | {own * 1e3:,.0f} | {server * 1e3:,.0f} | {memory:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
