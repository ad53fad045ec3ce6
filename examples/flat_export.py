"""From a flat export to scores: one file, one row a lead, one column with the outcome.

    python examples/flat_export.py FOLDER

writes ``Leads.csv`` and ``New.csv`` of a simulated company into FOLDER, looks for leaks, trains without the
column that leaks, and scores the new leads. With ``--files-only`` it only writes the two files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from training.batch_scoring import ScoringOptions, score_flat
from training.config.settings import Config, FlatConfig
from training.data.load import read_dataset
from training.leakage.checks import run_checks, sorted_findings
from training.pipeline.train import run_training
from training.registry.tracking import tracking
from training.simulation.simulator import LEAK, simulate

KNOWN_AT_CREATION = ("industry", "job_role", "seniority", "company_size", "country", "first_channel")


def write_files(folder: Path, leads: int = 1500) -> None:
    """Writes an export of older leads with their outcome, and one of the newest without."""
    folder.mkdir(parents=True, exist_ok=True)
    history = simulate(leads, seed=1, leak=True).history
    converted = history.transitions.filter(pl.col("stage") == "sql")["lead_id"]
    rows = history.leads.sort("created_at").with_row_index("number", offset=1)
    export = rows.select(
        pl.col("lead_id").alias("Prospect ID"),
        pl.col("number").alias("Lead Number"),
        *KNOWN_AT_CREATION,
        pl.col(LEAK).alias("Call Result"),
        pl.col("lead_id").is_in(converted.implode()).cast(pl.Int8).alias("Converted"),
    )
    older = leads * 4 // 5
    export.head(older).write_csv(folder / "Leads.csv")
    export.tail(leads - older).drop("Converted", "Call Result").write_csv(folder / "New.csv")


def main(folder: Path) -> None:
    """Checks and trains on ``Leads.csv``, and writes ``scores.csv`` of ``New.csv``."""
    everything = Config(
        flat=FlatConfig(folder / "Leads.csv", "Converted", id="Prospect ID", time="Lead Number")
    )
    for finding in sorted_findings(run_checks(read_dataset(everything, folder))):
        print(f"{finding.code} {finding.severity} {finding.column}: {finding.message}")

    without_leak = FlatConfig(
        folder / "Leads.csv", "Converted", id="Prospect ID", time="Lead Number", exclude=("Call Result",)
    )
    run = run_training(
        Config(flat=without_leak),
        folder / "leadloop-out",
        tracking(folder / "leadloop-out"),
        say=print,
    )
    print(run.model)

    score_flat(run.model, folder / "New.csv", ScoringOptions(folder / "scores.csv", reasons=2), print)
    scores = pl.read_csv(folder / "scores.csv", schema_overrides={"lead_id": pl.String})
    best = scores.sort("probability", descending=True).head(5)
    print(best.select("lead_id", "probability", "points", "grade", "reason_1"))


if __name__ == "__main__":
    home = Path(next((word for word in sys.argv[1:] if not word.startswith("-")), "crm"))
    write_files(home)
    if "--files-only" not in sys.argv:
        main(home)
