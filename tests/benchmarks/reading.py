"""What it costs to read a history, Parquet and CSV, and beside an earlier commit, in turns.

Run: python tests/benchmarks/reading.py [--leads N] [--rounds N] [--against FOLDER_OF_ANOTHER_CHECKOUT]

The figures are CPU seconds of one process with one thread, from the files to the last part of the history.
``git worktree add ../before COMMIT`` makes such a folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

TOUCHPOINTS = 20
KINDS = ["csv", "parquet"]
_HERE = Path(__file__).resolve().parents[2]
_START, _DAYS, _DAY = 1_640_000_000, 900, 86_400
_READ = """
import sys, time
from pathlib import Path
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.partitions import read_partitioned

folder, kind = Path(sys.argv[1]), sys.argv[2]
leads, touchpoints, transitions = (
    TableMapping(file=folder / f"{name}.{kind}") for name in ("leads", "touchpoints", "transitions")
)
mapping = HistoryMapping(leads, (touchpoints,), (transitions,), stages=("sql",))
begun = time.process_time()
with read_partitioned(mapping, 2_000_000_000, leads=20_000) as parts:
    rows = sum(part.touchpoints.height for part in parts.histories())
print(rows, time.process_time() - begun)
"""


def write_tables(leads: int, folder: Path, seed: int = 0) -> None:
    """Made-up leads with 20 touchpoints each, as both kinds of file."""
    r = np.random.default_rng(seed)
    ids = pl.Series("lead_id", np.arange(leads)).cast(pl.String).str.zfill(8)
    created = _START + r.integers(0, _DAYS * _DAY, leads)
    whose = np.sort(r.integers(0, leads, leads * TOUCHPOINTS))
    won = np.flatnonzero(r.random(leads) < 0.15)

    def words(choices: list[str], count: int) -> pl.Series:
        return pl.Series(choices).gather(r.integers(0, len(choices), count))

    def moments(seconds: np.ndarray) -> pl.Series:
        return pl.from_epoch(pl.Series(seconds), time_unit="s")

    tables = {
        "leads": {
            "lead_id": ids,
            "created_at": moments(created),
            "industry": words(["it", "retail", "steel", "health"], leads),
            "size": pl.Series(r.integers(1, 5000, leads)),
        },
        "touchpoints": {
            "lead_id": ids.gather(whose),
            "occurred_at": moments(created[whose] + r.integers(60, 90 * _DAY, len(whose))),
            "kind": words(["visit", "page_view", "form", "email_open", "email_click"], len(whose)),
            "channel": words(["organic", "paid", "email"], len(whose)),
            "seconds": pl.Series(r.integers(0, 600, len(whose))),
        },
        "transitions": {
            "lead_id": ids.gather(won),
            "occurred_at": moments(created[won] + r.integers(60, 90 * _DAY, len(won))),
            "stage": pl.Series(["sql"] * len(won)),
        },
    }
    for name, columns in tables.items():
        frame = pl.DataFrame(columns)
        frame.write_csv(folder / f"{name}.csv", datetime_format="%Y-%m-%d %H:%M:%S")
        frame.write_parquet(folder / f"{name}.parquet")


def read_seconds(checkout: Path, folder: Path, kind: str) -> tuple[int, float]:
    """How many touchpoints the code of a checkout reads, and the CPU seconds it takes."""
    threads = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
    words = [sys.executable, "-c", _READ, str(folder), kind]
    done = subprocess.run(words, env=os.environ | threads, cwd=checkout, capture_output=True, check=True)
    rows, seconds = done.stdout.split()
    return int(rows), float(seconds)


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args(arguments)
    checkouts = [_HERE] if options.against is None else [options.against.resolve(), _HERE]
    with tempfile.TemporaryDirectory() as name:
        write_tables(options.leads, Path(name))
        for kind in KINDS:
            seconds = np.zeros((options.rounds, len(checkouts)))
            for turn in range(options.rounds):
                for place in sorted(range(len(checkouts)), reverse=bool(turn % 2)):
                    rows, seconds[turn, place] = read_seconds(checkouts[place], Path(name), kind)
            best = seconds.min(axis=0)
            beside = "" if len(best) == 1 else f"; before {best[0]:.1f} s, ratio {best[-1] / best[0]:.3f}"
            print(f"{kind}: {rows:,} touchpoints in {best[-1]:.1f} CPU s{beside}")


if __name__ == "__main__":
    main()
