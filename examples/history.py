"""From a history to scores: two tables of a CRM, a configuration, a model, the scores of the open leads.

    python examples/history.py FOLDER

writes ``leads.csv`` and ``stages.csv`` of a simulated company into FOLDER, trains on them and scores the open
leads. With ``--files-only`` it only writes the two files, which is where the tutorial starts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from training.batch_scoring import ScoringOptions, score_history
from training.config.settings import load_config
from training.pipeline.train import run_training
from training.registry.tracking import tracking
from training.simulation.simulator import simulate

CONFIG = """\
[leads]
file = "leads.csv"

[[transitions]]
file = "stages.csv"

[funnel]
stages = ["mql", "sal", "sql", "disqualified"]
target = "sql"
closed = ["disqualified"]

[label]
horizon = "60d"

[cohort]
on = ["created", "mql"]
"""


def write_files(folder: Path, leads: int = 1000) -> None:
    """Writes the two tables as a CRM would export them: the leads, and which stages they entered when."""
    folder.mkdir(parents=True, exist_ok=True)
    history = simulate(leads, seed=1).history
    entries = history.transitions.filter(pl.col("stage").is_in(["mql", "sal", "sql", "disqualified"]))
    with_dates(history.leads.drop("account_id"), "created_at").write_csv(folder / "leads.csv")
    with_dates(entries.select("lead_id", "occurred_at", "stage"), "occurred_at").write_csv(
        folder / "stages.csv"
    )


def with_dates(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """The table with a column of epoch seconds as text, such as 2024-01-31 08:00:00."""
    return table.with_columns(pl.from_epoch(column).dt.strftime("%Y-%m-%d %H:%M:%S"))


def main(folder: Path) -> None:
    """Trains on the two files in ``folder`` and writes ``scores.csv`` beside them."""
    (folder / "leadloop.toml").write_text(CONFIG, encoding="utf-8")
    config = load_config(folder / "leadloop.toml")
    run = run_training(config, folder / "leadloop-out", tracking(folder / "leadloop-out"), say=print)
    print(run.model)

    score_history(run.model, config, ScoringOptions(folder / "scores.csv", reasons=2), print)
    scores = pl.read_csv(folder / "scores.csv", schema_overrides={"lead_id": pl.String})
    best = scores.sort("probability", descending=True).head(5)
    print(best.select("lead_id", "probability", "points", "grade", "reason_1"))


if __name__ == "__main__":
    home = Path(next((word for word in sys.argv[1:] if not word.startswith("-")), "crm"))
    write_files(home)
    if "--files-only" not in sys.argv:
        main(home)
