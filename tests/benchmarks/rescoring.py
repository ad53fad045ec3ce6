"""What it costs to keep scores current: leads of the store beside a file, and answers meanwhile.

Run: python tests/benchmarks/rescoring.py --model DIR [--leads N] [--database URL]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from contextlib import contextmanager, nullcontext
from pathlib import Path

from batch import TOUCHPOINTS, score, write_history
from decision_log import _seconds
from online import lead

from serving.background_scorer import BackgroundScorer
from serving.decision_log.database import open_log, writing
from serving.decision_log.score_queue import queue_all_leads, queue_length
from serving.decision_log.settings import LogSettings
from serving.decision_log.writer import GroupCommitWriter
from serving.model_reload import load_and_warm_up
from serving.server import run_service
from serving.settings import ServiceSettings

ROUNDS, FEW, DAY = 400, 100, 86_400
LEAST_QUEUED = 3_000


def fill(config, place):
    """``leadloop store load`` as a process of its own."""
    command = [sys.executable, "-m", "leadloop", "store", "load", "--config", str(config), "--log", place]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def rescore(model, place, moment):
    """Seconds, CPU seconds and peak GB of scoring all that waits as of a moment, in this process.

    Seconds and CPU seconds are without the start of the process and the loading of the model.
    """
    scorer = load_and_warm_up(Path(model))
    writer = GroupCommitWriter(LogSettings(place))
    while not writer.available:
        time.sleep(0.01)
    background = BackgroundScorer(writer, lambda: scorer, clock=lambda: moment)
    began, used = time.perf_counter(), time.process_time()
    while background.work():
        pass
    took = (time.perf_counter() - began, time.process_time() - used)
    background.close()
    writer.close()
    return *took, peak_memory()


def peak_memory():
    """The most GB that this process has had; ``ru_maxrss`` would begin at what its parent had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1.024e-6


def rescore_apart(model, place, moment):
    """The same in a process of its own, on one core; and how many decisions it logged."""
    before = count_decisions(place)
    command = [sys.executable, __file__, "--model", str(model), "--only", place, "--moment", str(moment)]
    environment = os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return *json.loads(answer.stdout), count_decisions(place) - before


def count_decisions(place):
    """How many decisions a log has."""
    log = open_log(place)
    with log.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM decisions").scalar_one()
    log.dispose()
    return count


def observed_until(config):
    """The end of a simulated history, in epoch seconds: later on all of its leads are dormant."""
    return tomllib.loads(config.read_text(encoding="utf-8"))["observed_until"].timestamp()


def start_up(model, folder):
    """CPU seconds of ``leadloop score`` that do not grow with the leads."""
    return score(model, write_history(FEW, folder, "parquet"), "--parts").processor


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
    """Latencies without and with leads that are scored in the background, queued again and again."""
    rows = []
    for busy in (False, True):
        settings = ServiceSettings(str(model), log=LogSettings(place), rescore=busy)
        log = writing(open_log(place))
        with log.begin() as connection:
            queue_all_leads(connection)
        with tempfile.TemporaryFile() as output, run_service(settings, log=output) as service:
            time.sleep(3)
            with _kept_busy(log) if busy else nullcontext():
                rows.append(latencies(service))
        log.dispose()
    return rows


@contextmanager
def _kept_busy(log):
    """Begins when the first leads have been scored; from then on there are always some that wait."""
    queued, done = _queued(log), threading.Event()
    while queued and _queued(log) == queued:
        time.sleep(0.05)

    def queue_again():
        while not done.wait(0.1):
            if _queued(log) < LEAST_QUEUED:
                with log.begin() as connection:
                    queue_all_leads(connection)

    thread = threading.Thread(target=queue_again)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _queued(log):
    with log.connect() as connection:
        return queue_length(connection)[0]


def main(model, leads, database):
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        config = write_history(leads, Path(folder) / "crm", "parquet")
        place, end = database or str(Path(folder) / "store.db"), observed_until(config)
        file = score(model, config, "--parts")
        bare = file.processor - start_up(model, Path(folder) / "few")
        fill(config, place)
        runs = {
            "for the first time, each a decision": rescore_apart(model, place, end),
            "a day later": rescore_apart(model, place, end + DAY),
        }
        print(
            f"| {leads:,} leads, {TOUCHPOINTS} touchpoints each | CPU s | ms a lead | beside the file", end=""
        )
        print(" | decisions | peak GB |\n|---|---|---|---|---|---|")
        print(
            f"| Parquet to Parquet, with parts | {bare:.1f} | {1e3 * bare / leads:.2f} | 1 | "
            f"| {file.peak:.2f} |"
        )
        for what, (_, used, peak, decisions) in runs.items():
            print(
                f"| store, {what} | {used:.1f} | {1e3 * used / leads:.2f} | {used / bare:.2f} x | "
                f"{decisions:,} | {peak:.2f} |",
                flush=True,
            )
        _report_answers(model, place)


def _report_answers(model, place):
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
    parser.add_argument("--moment", type=float, default=0)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(rescore(options.model, options.only, options.moment)))
    else:
        main(options.model, options.leads, options.database)
