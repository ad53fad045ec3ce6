"""Measures what docs/explanation/measured.md claims and prints its tables.

Figures of one run compare; those of two may not.

Run: python tests/benchmarks/run.py [PART ...] [--leads N] [--million] [--accuracy]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PARTS = ("online", "batch", "learning")
# Only when they are named: each takes minutes, or an hour. The first ones are given the model that scores.
WITH_MODEL = (
    "load",
    "stalls",
    "decision_log",
    "lead_store",
    "explain",
    "faults",
    "refused_bodies",
    "soak",
    "spark",
)
LONGER = (
    *WITH_MODEL,
    *("handover", "handover_weights", "interval_coverage", "leak_checks", "learning_curve"),
    *("accounts", "misspecified_coverage", "report", "snapshot_grid", "train_cost", "worlds"),
)
MILLION = 1_000_000


_CHOICE = f"{', '.join(PARTS)}: these by default; {', '.join(LONGER)}"


def options(words=None):
    """What to measure, and how large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=_CHOICE)
    parser.add_argument("--leads", type=int, default=100_000, help="leads of the histories to score")
    parser.add_argument("--million", action="store_true", help="score a million leads as well: some minutes")
    parser.add_argument("--snapshots", type=int, default=200_000, help="snapshots to learn from")
    parser.add_argument("--company", type=int, default=4_000, help="leads that the scoring model learns from")
    parser.add_argument("--accuracy", action="store_true", help="the public sets as well: half an hour")
    asked = parser.parse_args(words)
    if unknown := set(asked.parts) - {*PARTS, *LONGER}:
        parser.error(f"no such part: {', '.join(unknown)}")
    asked.parts = asked.parts or PARTS
    return asked


def main(asked):
    """Run the parts one after the other."""
    python = platform.python_version()
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {python}")
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        if {"online", "batch", *WITH_MODEL} & set(asked.parts):
            _online(model, asked)
        if "batch" in asked.parts:
            part("batch", "--model", model, "--leads", asked.leads, *([MILLION] if asked.million else []))
        for name in WITH_MODEL:
            if name in asked.parts:
                part(name, model)
    if "learning" in asked.parts:
        part("learning", "--snapshots", asked.snapshots)
    for name in set(asked.parts) - {*PARTS, *WITH_MODEL}:
        part(name)
    if asked.accuracy:
        part("accuracy")


def _online(folder, asked):
    """Train the model that scores, and let it score one lead at a time."""
    from online import company, report  # noqa: PLC0415 - what only this part needs takes seconds to import

    from models import artifact  # noqa: PLC0415

    model = artifact.save(company(asked.company), folder)
    if "online" in asked.parts:
        report(model, folder)


def part(name, *words):
    """One part as a process of its own on one thread, whatever the parts before have left behind."""
    sys.stdout.flush()
    command = [sys.executable, str(HERE / f"{name}.py"), *map(str, words)]
    subprocess.run(command, check=True, env=os.environ | {"POLARS_MAX_THREADS": "1"})


if __name__ == "__main__":
    main(options())
