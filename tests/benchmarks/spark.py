"""Scoring a history with Spark on two cores of this machine, beside scoring it without.

Run: python tests/benchmarks/spark.py MODEL [--leads N | --config FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import batch
import polars as pl
from peak_memory import PeakMemory
from polars.testing import assert_frame_equal

sys.path.append(str(Path(__file__).parents[1]))
from process_tree import descendants

from training.config.settings import load_config
from training.spark import read_spark_history
from training.spark.session import write_spark_table

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Processor seconds so far: of all processes, and of the Python workers that Spark started."""

    everything: float
    workers: float

    def __sub__(self, other):
        return Usage(self.everything - other.everything, self.workers - other.workers)


def usage():
    """What this process and all below it have used, those that ended included."""
    spent = {pid: _seconds(pid) for pid in descendants(os.getpid())}
    return Usage(sum(spent.values()), sum(spent[pid] for pid in spent if _is_worker(pid)))


def _seconds(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / TICK


def _is_worker(pid):
    try:
        return b"pyspark.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def open_session(folder):
    """A session with two workers, whose Java has little to compile and nothing to show."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra

    os.environ |= {"PYSPARK_PYTHON": sys.executable, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "3g",
        "spark.local.dir": str(folder),
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.range(10).count()
    return session


def measure(model, config):
    """The table of docs/explanation/measured.md."""
    plain = batch.score(model, config)
    scratch = Path(tempfile.mkdtemp())
    before = usage()
    session = open_session(scratch)
    start, clock = usage(), time.perf_counter()
    with PeakMemory(os.getpid(), _is_worker) as peak:
        history = read_spark_history(session, load_config(config), model)
        read = usage()
        leads = write_spark_table(history.scores(), scratch / "scores.parquet").count()
        end = usage()
    seconds = time.perf_counter() - clock
    once, twice = (
        pl.read_parquet(config.with_name("scores.parquet")),
        pl.read_parquet(scratch / "scores.parquet" / "*.parquet"),
    )
    assert_frame_equal(once.sort("lead_id"), twice.sort("lead_id"), check_exact=True)
    session.stop()
    whole, reading = end - start, read - start
    rows = {
        "leadloop score": (plain.processor, plain.seconds, plain.peak),
        "Spark, without the start of the session": (whole.everything, seconds, None),
        "of that, Spark's Python workers": (whole.workers, None, peak.gigabytes),
        "of that, cutting into parts and reading them": (reading.everything, None, None),
        "start of the session": ((start - before).everything, None, None),
    }
    print(f"\n| {leads:,} leads | processor seconds | times plain | seconds | peak GB a process |")
    print("|---|---|---|---|---|")
    for what, (processor, wall, memory) in rows.items():
        cells = ["" if each is None else f"{each:.1f}" for each in (wall, memory)]
        print(
            f"| {what} | {processor:.1f} | {processor / plain.processor:.1f} | {' | '.join(cells)} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a model of the simulated company")
    parser.add_argument("--leads", type=int, default=200_000)
    parser.add_argument("--config", type=Path, help="a history that is there already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measure(
            options.model,
            options.config or batch.write_history(options.leads, Path(place) / "crm", "parquet"),
        )
