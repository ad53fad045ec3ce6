"""What it costs to keep scores current: leads of the store beside a file, and answers meanwhile.

Run: python tests/benchmarks/rescoring.py --model DIR [--leads N] [--database URL]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from batch import TOUCHPOINTS, score, write_history
from decision_log import _seconds
from online import lead

from serving.background_scorer import RESCORE_AFTER, BackgroundScorer
from serving.decision_log.database import open_log, writing
from serving.decision_log.score_queue import queue_all_leads, queue_length
from serving.decision_log.settings import LogSettings
from serving.decision_log.writer import GroupCommitWriter
from serving.model_reload import load_and_warm_up
from serving.server import run_service
from serving.settings import ServiceSettings

ROUNDS = 400


def fill(config, place):
    """``leadloop store load`` as a process of its own."""
    command = [sys.executable, "-m", "leadloop", "store", "load", "--config", str(config), "--log", place]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def rescore(model, place):
    """Seconds, CPU seconds and peak GB of scoring all that waits, in this process."""
    scorer = load_and_warm_up(Path(model))
    writer = GroupCommitWriter(LogSettings(place))
    while not writer.available:
        time.sleep(0.01)
    background = BackgroundScorer(writer, lambda: scorer)
    began, used = time.perf_counter(), time.process_time()
    while background.work():
        pass
    took = (time.perf_counter() - began, time.process_time() - used)
    background.close()
    writer.close()
    return *took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-6


def rescore_apart(model, place):
    """The same in a process of its own, on one core."""
    command = [sys.executable, __file__, "--model", str(model), "--only", place]
    environment = os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(answer.stdout)


def let_age(place):
    """Let every lead have been scored a day ago."""
    log = writing(open_log(place))
    with log.begin() as connection:
        connection.exec_driver_sql(f"UPDATE current_scores SET scored_at = scored_at - {RESCORE_AFTER + 60}")
    log.dispose()


def latencies(service):
    """Milliseconds of scores of one lead in full, the median and the 99th percentile."""
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"))
    body = json.dumps({"leads": [lead(1)]})
    taken = []
    for _ in range(ROUNDS):
        taken.append(_seconds(connection, body) * 1e3)
        # A client that asks again at once would leave the service no time for anything else.
        time.sleep(0.01)
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


def answers_meanwhile(model, place):
    """Latencies without and with leads that are scored in the background."""
    rows = []
    for busy in (False, True):
        settings = ServiceSettings(str(model), log=LogSettings(place), rescore=busy)
        log = writing(open_log(place))
        with log.begin() as connection:
            queue_all_leads(connection)
        with tempfile.TemporaryFile() as output, run_service(settings, log=output) as service:
            time.sleep(3)
            rows.append(latencies(service))
            with log.connect() as connection:
                left = queue_length(connection)[0]
        log.dispose()
        if busy and not left:
            print("all leads were scored before the answers were: take more leads", file=sys.stderr)
    return rows


def main(model, leads, database):
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        config = write_history(leads, Path(folder) / "crm", "parquet")
        place = database or str(Path(folder) / "store.db")
        file = score(model, config, "--parts")
        fill(config, place)
        runs = {"for the first time, each a decision": rescore_apart(model, place)}
        let_age(place)
        runs["a second later, as every day"] = rescore_apart(model, place)
        print(f"| {leads:,} leads, {TOUCHPOINTS} touchpoints each | CPU s | beside the file | peak GB |")
        print("|---|---|---|---|")
        print(f"| Parquet to Parquet, with parts | {file.processor:.1f} | 1 | {file.peak:.2f} |")
        for what, (_, used, peak) in runs.items():
            print(f"| store, {what} | {used:.1f} | {used / file.processor:.1f} x | {peak:.2f} |", flush=True)
        print("\n| answers with one lead | p50 ms | p99 ms |\n|---|---|---|")
        for name, (middle, slow) in zip(
            ("alone", "while leads are scored"), answers_meanwhile(model, place), strict=True
        ):
            print(f"| {name} | {middle:.1f} | {slow:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--leads", type=int, default=100_000)
    parser.add_argument("--database", default="")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(rescore(options.model, options.only)))
    else:
        main(options.model, options.leads, options.database)
