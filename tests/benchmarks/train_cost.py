"""What `leadloop train` costs beside its own fit: CPU seconds of the fit, of each stage, and of the whole.

    python tests/benchmarks/train_cost.py [--rows N ...] [--leads N ...] [--keep DIR]

Each size is a flat file (--rows) or a history in event tables (--leads), made up here. The whole is the
command in a process of its own, imports included, user and system time of all its threads; a first run
beforehand creates the tracking store, as in any folder that has been trained in once, and leaves compiled
modules, as any installation has (in a folder of this benchmark, whatever PYTHONDONTWRITEBYTECODE says:
compiling them anew costs 4 CPU s a start). Stages are clocked in another process, so that the clocks do
not count. The fit is the learner alone on the same rows, without imports.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl

LEADLOOP = Path(sys.executable).with_name("leadloop")
# The function of each stage by its module; time in one within another counts for the inner one.
STAGES = {
    "read the file, compute features": ("training.pipeline.train", "read_dataset"),
    "checks": ("training.pipeline.fit_model", "run_checks"),
    "fit": ("training.pipeline.fit_model", "fit_learning_rows"),
    "metrics with intervals": ("training.pipeline.fit_model", "evaluate"),
    "intervals of scores": ("training.pipeline.fit_model", "estimate_uncertainty"),
    "observed rates": ("training.pipeline.fit_model", "ObservedRates.of"),
    "jackknife refits": ("training.pipeline.fit_model", "jackknife"),
    "save the model": ("training.pipeline.train", "artifact.save"),
    "evidence for promotion": ("training.pipeline.train", "save_promotion_evidence"),
    "inputs of the report": ("training.pipeline.train", "report_input"),
    "points table": ("training.pipeline.train", "learn_points"),
    "figures of the report": ("training.pipeline.train", "build_report"),
    "page in two languages": ("training.report.render", "render"),
    "charts as files": ("training.report.render", "plots"),
    "tracking": ("training.pipeline.train", "log"),
}


class StageClock:
    """CPU seconds of this process by stage."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(("imports", *STAGES, "all else"), 0.0)
        self.stack = ["imports"]
        self.since = 0.0

    def switch(self) -> None:
        """Count the time since the last switch for the stage that is running."""
        now = time.process_time()
        self.spent[self.stack[-1]] += now - self.since
        self.since = now

    @contextmanager
    def stage(self, name: str):
        """Count the time of a block for a stage."""
        self.switch()
        self.stack.append(name)
        try:
            yield
        finally:
            self.switch()
            self.stack.pop()

    def clocked(self, name: str, function):
        """The function, counted for a stage."""

        def call(*args, **options):
            with self.stage(name):
                return function(*args, **options)

        return call


def clock_stages(words: list[str]) -> dict[str, float]:
    """CPU seconds by stage of the command ``words`` in this process."""
    clock = StageClock()
    import leadloop  # noqa: PLC0415 - the imports are a stage

    with ExitStack() as stack:
        for name, (module, path) in STAGES.items():
            *owners, function = path.split(".")
            owner = import_module(module)
            for step in owners:
                owner = getattr(owner, step)
            stack.enter_context(patch.object(owner, function, clock.clocked(name, getattr(owner, function))))
        clock.switch()
        clock.stack.append("all else")
        leadloop.app(words, standalone_mode=False)
    clock.switch()
    return clock.spent


def flat_file(rows: int, file: Path) -> list[str]:
    """Write a flat export whose outcome depends on categories, counts, a wave and a product; its options."""
    random = np.random.default_rng(rows)

    def category(levels: int, prefix: str):
        share = 1 / np.arange(1, levels + 1)
        return random.choice([f"{prefix}{i}" for i in range(levels)], rows, p=share / share.sum())

    region_effect = random.normal(0, 0.3, 800)
    region = category(800, "r")
    columns = {
        "source": category(8, "s"),
        "industry": category(20, "i"),
        "country": category(60, "c"),
        "region": region,
        "role": category(6, "j"),
        "size": np.exp(random.normal(4, 1.5, rows)).round() + 1,
        "budget": np.where(random.random(rows) < 0.2, np.nan, np.exp(random.normal(8, 1, rows)).round(2)),
        "visits": random.poisson(4, rows),
        "pages": random.poisson(12, rows),
        "opens": random.poisson(2, rows),
        "clicks": random.poisson(0.7, rows),
        "fit": random.normal(size=rows).round(3),
        "reach": random.normal(size=rows).round(3),
        "business": random.integers(0, 2, rows),
        "phone": random.integers(0, 2, rows),
    }
    log_odds = (
        -2.6
        + 0.15 * columns["visits"]
        + 0.3 * columns["clicks"]
        + 0.5 * (columns["source"] == "s1")
        - 0.6 * (columns["source"] == "s0")
        + 0.3 * np.log(columns["size"] / 50) * (columns["industry"] == "i1")
        + 0.5 * np.sin(2 * columns["fit"])
        + 0.3 * columns["reach"] * columns["business"]
        + region_effect[np.char.lstrip(region, "r").astype(int)]
    )
    converted = (random.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(int)
    frame = pl.DataFrame(columns, nan_to_null=True).with_columns(converted=converted).with_row_index("id")
    frame.write_csv(file / "leads.csv")
    return ["--leads", str(file / "leads.csv"), "--id", "id", "--label", "converted"]


def history_files(leads: int, folder: Path) -> list[str]:
    """Write the event tables of a simulated company; the options that train on them."""
    from training.simulation.export import write_csv  # noqa: PLC0415
    from training.simulation.simulator import simulate  # noqa: PLC0415

    write_csv(simulate(leads, seed=1), folder)
    return ["--config", str(folder / "leadloop.toml")]


def fit_cost(words: list[str]) -> dict[str, float]:
    """CPU seconds of the learner alone on the rows that ``train`` reads, and their number."""
    from training.config.settings import Config, FlatConfig, load_config  # noqa: PLC0415
    from training.data.load import read_dataset  # noqa: PLC0415
    from training.learner.fit import fit_learning_rows  # noqa: PLC0415

    options = dict(zip(words[::2], words[1::2], strict=True))
    if "--config" in options:
        config = load_config(Path(options["--config"]))
    else:
        config = Config(flat=FlatConfig(Path(options["--leads"]), options["--label"], id=options["--id"]))
    rows = read_dataset(config, Path(tempfile.mkdtemp())).to_learning_rows()
    start = time.process_time()
    fit_learning_rows(rows, config.training.seed)
    return {"fit": time.process_time() - start, "rows": len(rows)}


def whole_cost(words: list[str], folder: Path) -> float:
    """CPU seconds of ``leadloop`` with ``words`` as a process of its own, run in ``folder``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([LEADLOOP, *words], cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _child(what: str, words: list[str], folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", what, json.dumps(words)]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(title: str, source: list[str], folder: Path) -> None:
    """Print the table of one size."""
    train = ["train", *source, "--out", str(folder / "out")]
    first = whole_cost(train, folder)
    fit, stages = _child("fit", source, folder), _child("stages", train, folder)
    whole = whole_cost(train, folder)
    print(f"\n| {title}, {fit['rows']:,} rows | CPU s | x fit |\n|---|---|---|")
    print(f"| fit | {fit['fit']:.1f} | 1.0 |")
    print(f"| **leadloop train, whole process** | **{whole:.1f}** | **{whole / fit['fit']:.1f}** |")
    print(f"| the same where it also creates the tracking store | {first:.1f} | {first / fit['fit']:.1f} |")
    for name, seconds in stages.items():
        print(f"| - {name} | {seconds:.2f} | {seconds / fit['fit']:.2f} |", flush=True)


def main(options: argparse.Namespace) -> None:
    """Measure every size that was named."""
    os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(scratch) / "compiled")
        for make, sizes, unit in (
            (flat_file, options.rows, "flat file"),
            (history_files, options.leads, "history"),
        ):
            for size in sizes:
                folder = Path(options.keep or scratch) / f"{unit.replace(' ', '-')}-{size}"
                folder.mkdir(parents=True, exist_ok=True)
                report(unit, make(size, folder), folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[4_000, 50_000])
    parser.add_argument("--leads", type=int, nargs="*", default=[2_000])
    parser.add_argument("--keep", help="keep files and outputs in this folder")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        measure = {"fit": fit_cost, "stages": clock_stages}[given.child[0]]
        print(json.dumps(measure(json.loads(given.child[1]))))
    else:
        main(given)
