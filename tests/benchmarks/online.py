"""One lead while the CRM waits: in process, over REST, and where one by one stops paying.

Run: python tests/benchmarks/online.py
"""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import polars as pl

from features import batch
from features.clock import DAY
from features.cohort import SNAPSHOT_SCHEMA, CohortRule, Snapshots
from features.labels import LabelSpec
from features.record import from_records
from models import artifact
from serving import server
from serving.scorer import Scorer
from training.config.settings import TrainingConfig
from training.data.dataset import from_history
from training.pipeline.fit_model import train_model
from training.simulation.simulator import simulate

EVENTS = 40
KINDS = (
    "visit",
    "page_view",
    "product_view",
    "email_open",
    "email_click",
    "download",
    "form",
    "demo_request",
)


def lead(number=0):
    """A request's lead with forty touchpoints over forty days."""
    start = 1_770_000_000 + number
    touchpoints = [
        {
            "occurred_at": start + i * 86_400,
            "kind": KINDS[(i + number) % len(KINDS)],
            "channel": ("organic", "paid", "referral")[i % 3],
            "offer_stage": ("awareness", "decision")[i % 2],
        }
        for i in range(EVENTS)
    ]
    return {"lead_id": str(number), "created_at": start - 60, "touchpoints": touchpoints}


def milliseconds(call, times=300):
    """The median time of a call, after one that does not count."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e3


def in_process(model):
    """Rows (what, ms) for one lead, from the parsed request to the answer."""
    scorer, one = Scorer(model), lead()
    asked = scorer._read(one)
    row = scorer.feature_row(asked)
    return [
        ("read and check the request", milliseconds(lambda: scorer._read(one))),
        (f"{len(model.features)} features", milliseconds(lambda: scorer.feature_row(asked))),
        ("score", milliseconds(lambda: model.score(row, "0", asked.as_of))),
        ("score and reasons", milliseconds(lambda: model.explain(row, "0", asked.as_of))),
        ("all of it, with reasons", milliseconds(lambda: scorer.explain([one]))),
    ]


def crossings(model, sizes=(1, 4, 8, 16, 32, 100, 1000)):
    """Rows (leads, ms each way): features folded or by the engine, scores one by one or as one matrix."""
    scorer = Scorer(model)
    return [(size, *_ways(scorer, size)) for size in sizes]


def _ways(scorer, size):
    model = scorer.model
    asked = [scorer._read(lead(i)) for i in range(size)]
    rows = [scorer.feature_row(one) for one in asked]
    keys = [{"lead_id": str(i), "as_of": one.as_of} for i, one in enumerate(asked)]
    ways = (
        lambda: [scorer.feature_row(one) for one in asked],
        lambda: _by_engine(model, asked, Snapshots(pl.DataFrame(keys, SNAPSHOT_SCHEMA))),
        lambda: [model.score(row, "0", 1) for row in rows],
        lambda: model.score_frame(_frame(scorer, keys, rows)),
    )
    return [milliseconds(way, 3 if size > 50 else 20) for way in ways]


def _by_engine(model, asked, moments):
    history = from_records([one.record for one in asked], model.features)
    return batch.compute_features(model.features, history, moments).collect()


def _frame(scorer, keys, rows):
    return pl.DataFrame([key | row for key, row in zip(keys, rows, strict=True)], scorer._schema)


def over_rest(folder, times=300):
    """Rows (what, ms) over REST, each beside an empty endpoint of the same service."""
    body = json.dumps({"leads": [lead()]})
    calls = {"/empty": "{}", "/v1/score": body, "/v1/explain": body}
    with (
        tempfile.TemporaryFile() as log,
        patch.object(server, "SERVICE", "tests.benchmarks.empty_service:WithEmpty"),
        server.run_service(folder, log=log) as service,
    ):
        connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
        taken = {path: [] for path in calls}
        # In turns, so that whatever else the machine does falls on all of them alike.
        for _ in range(times):
            for path, payload in calls.items():
                taken[path].append(_seconds(connection, path, payload))
    medians = {path: statistics.median(seconds[times // 5 :]) * 1e3 for path, seconds in taken.items()}
    return [(path, ms, ms / medians["/empty"]) for path, ms in medians.items()]


def _seconds(connection, path, payload):
    start = time.perf_counter()
    connection.request("POST", path, payload, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == http.HTTPStatus.OK
    return time.perf_counter() - start


def company(leads=4_000):
    """A model of a company with every kind of touchpoint, trained as leadloop trains by default."""
    history = simulate(leads, seed=1).history
    rule = CohortRule(on=("created", "mql"), every=14 * DAY, closed=("sql", "disqualified"))
    return train_model(
        from_history(history, rule, LabelSpec("sql", 60 * DAY, closed=("disqualified",))), TrainingConfig()
    ).model


def report(model, folder):
    """Everything, as the tables that docs/explanation/measured.md shows."""
    print(f"\n| one lead, {EVENTS} touchpoints, in process | ms |\n|---|---|")
    for what, ms in in_process(model):
        print(f"| {what} | {ms:.2f} |")
    print("\n| over REST | ms | times an empty endpoint |\n|---|---|---|")
    for path, ms, ratio in over_rest(folder):
        print(f"| {path} | {ms:.2f} | {ratio:.2f} |")
    print("\n| leads (ms) | features folded | by the engine | scored each | as a matrix |")
    print("|---|---|---|---|---|")
    for size, *ways in crossings(model):
        print(f"| {size:,} | " + " | ".join(f"{ms:.1f}" for ms in ways) + " |")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        report(artifact.save(company(), folder), folder)
