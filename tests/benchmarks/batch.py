"""Whole files of leads: histories from file to file on one core, flat leads, and what reasons cost.

Run: python tests/benchmarks/batch.py [--model DIR] [--leads N ...] [--workers N ...] [--repeat N]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from peak_memory import PeakMemory

from features.clock import to_datetime
from features.cohort import Snapshots, open_lead_snapshots
from features.ingest.flat_export import FlatColumns, iter_flat_batches
from models import artifact
from training import batch_scoring
from training.batch_scoring import ScoringOptions, read_model_parts, score_flat
from training.config.settings import Config, FlatConfig, TrainingConfig, load_config
from training.data.dataset import compute_feature_rows, flat_rows
from training.data.load import read_dataset
from training.file_output import frame_writer
from training.pipeline.fit_model import train_model
from training.simulation import export
from training.simulation.default_world import DEFAULT_WORLD
from training.simulation.simulator import simulate

TOUCHPOINTS = 20
BLOCK = 100_000
FEW = 50
# The default world comes to 17.3 touchpoints a lead.
_BUSIER = 1.16
_WORLD = replace(
    DEFAULT_WORLD,
    streams=tuple(replace(s, rates=tuple(_BUSIER * r for r in s.rates)) for s in DEFAULT_WORLD.streams),
)
_CLOSED = ("sql", "opportunity", "disqualified")


@dataclass(frozen=True)
class Run:
    """What a command took."""

    seconds: float
    processor: float
    peak: float


def write_history(leads, folder, suffix):
    """Tables of open leads with 20 touchpoints each, in no order, and the configuration that reads them."""
    folder.mkdir(parents=True)
    with ExitStack() as files:
        sinks = {}
        for first in range(0, leads, BLOCK):
            history = simulate(min(BLOCK, leads - first), seed=7 + first, world=_WORLD).history
            moves = history.transitions.filter(~pl.col("stage").is_in(_CLOSED))
            touches = history.touchpoints.sample(fraction=1, shuffle=True, seed=1)
            for name, table in export._tables(
                replace(history, transitions=moves, touchpoints=touches)
            ).items():
                if name not in sinks:
                    sinks[name] = files.enter_context(frame_writer(folder / f"{name}.{suffix}"))
                sinks[name](_as_exported(table, first, suffix))
    text = export._CONFIG.format(until=to_datetime(history.observed_until).isoformat(), days=60)
    config = folder / "leadloop.toml"
    config.write_text(text.replace(".csv", f".{suffix}"), encoding="utf-8")
    return config


def _as_exported(table, block, suffix):
    ids = pl.col("^(lead|account)_id$")
    table = table.with_columns((pl.lit(f"{block}-") + ids).name.keep())
    if suffix == "csv":
        return export._as_text(table)
    return table.with_columns(
        pl.from_epoch(name).dt.replace_time_zone("UTC") for name in export.TIMES if name in table.columns
    )


def score(model, config, *more, spread=False):
    """``leadloop score`` as a process of its own: on one core, or spread over those that there are."""
    out = config.with_name("scores.parquet")
    command = [sys.executable, "-m", "leadloop", "score", "--model", str(model), "--config", str(config)]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--out", str(out), *more],
        env=os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        preexec_fn=None if spread else _on_one_core,  # noqa: PLW1509 - no threads are running here
    )
    with PeakMemory(process.pid) as peak:
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"leadloop score ended with {process.returncode}"
        raise RuntimeError(msg)
    return Run(time.perf_counter() - start, used.ru_utime + used.ru_stime, peak.gigabytes)


def _on_one_core():
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def histories(model, sizes, scratch):
    """Rows (leads, files, what it took) of scoring histories from file to file."""
    for size in sizes:
        for suffix in ("parquet", "csv"):
            config = write_history(size, scratch / f"{suffix}{size}", suffix)
            yield size, suffix, score(model, config)


def bare_predict(model, config):
    """CPU seconds of ``Booster.predict`` on the ready matrix of a history, a part of its leads at a time."""
    predictor, settings, taken = model.predictor, load_config(config), 0.0
    with read_model_parts(model, settings, (), config.with_name("quarantine.csv")) as parts:
        for history in parts.histories():
            rows = compute_feature_rows(
                model.features, history, open_lead_snapshots(history, settings.cohort_rule)
            )
            width = predictor.encodings.tree_width
            ready = np.ascontiguousarray(predictor.encodings.encode(rows)[:, :width])
            start = time.process_time()
            predictor.booster.predict(ready, raw_score=True, num_threads=1)
            taken += time.process_time() - start
    return taken


def report_ratio(model, config, run, start):
    """The lines that compare a run of the command with what its trees alone cost."""
    bare = bare_predict(artifact.load(model), config)
    print("\n| of the processors, in seconds | |\n|---|---|")
    print(f"| `leadloop score`, file to file, one process | {run.processor:.1f} |")
    print(f"| of these the start: `leadloop score` of {FEW} leads | {start.processor:.1f} |")
    print(f"| `Booster.predict` of the same trees on the ready matrix of these leads | {bare:.2f} |")
    print(f"| the command without its start, times that | {(run.processor - start.processor) / bare:.1f} |")
    print(f"| the whole command, times that | {run.processor / bare:.1f} |", flush=True)


def repeat_history(config, times):
    """The history of so many companies like one, in a folder beside it: as large as simulating never gets."""
    folder = config.parent.with_name(f"{config.parent.name}-{times}")
    folder.mkdir()
    for path in config.parent.glob("*.parquet"):
        table = pl.read_parquet(path)
        with frame_writer(folder / path.name) as append:
            for copy in range(times):
                ids = pl.lit(f"{copy}-") + pl.col("^(lead|account)_id$")
                append(table.with_columns(ids.name.keep()))
    (folder / config.name).write_text(config.read_text(encoding="utf-8"), encoding="utf-8")
    return folder / config.name


def report_workers(model, sizes, counts, repeat=1):
    """The table of several processes at work on one history; the peak is that of the largest process."""
    print("\n| history | processes | of the processors | seconds | peak GB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            config = write_history(size, Path(scratch) / str(size), "parquet")
            config = config if repeat == 1 else repeat_history(config, repeat)
            runs = {}
            for count in counts:
                run = runs[count] = score(model, config, "--workers", str(count), spread=True)
                took = f"{run.processor:.1f} | {run.seconds:.1f} | {run.peak:.2f}"
                print(f"| {size * repeat:,} leads | {count} | {took} |", flush=True)
            if 1 in runs:
                few = write_history(FEW, Path(scratch) / f"few-{size}", "parquet")
                report_ratio(model, config, runs[1], score(model, few, spread=True))


def flat_model(scratch, leads):
    """A model of a flat export of simulated leads, and another export of so many leads."""
    learn, new = scratch / "learn.csv", scratch / "new.csv"
    flat_export(20_000, 1).write_csv(learn)
    flat_export(leads, 2).drop("sql").write_csv(new)
    return train_model(
        read_dataset(Config(flat=FlatConfig(learn, "sql", id="lead_id")), scratch), TrainingConfig()
    ).model, new


def flat_export(leads, seed):
    """One row a lead: who it is, how often it did what, and whether it became an SQL."""
    history = simulate(leads, seed).history
    counts = history.touchpoints.group_by("lead_id").agg(
        (pl.col("kind") == kind).sum().alias(f"{kind}s") for kind in sorted(set(history.touchpoints["kind"]))
    )
    won = history.transitions.filter(stage="sql").select("lead_id", sql=pl.lit("yes"))
    table = history.leads.drop("created_at", "account_id").join(counts, on="lead_id", how="left")
    return table.join(won, on="lead_id", how="left").with_columns(pl.col("sql").fill_null("no"))


def flat(model, leads, scratch):
    """Rows (what, seconds) of scoring a flat file, the last being the whole, beside a bare ``predict``."""
    frames = list(_read_flat(model, leads))
    rows = pl.concat(frames)
    predictor = model.predictor
    matrix = predictor.encodings.encode(rows)
    ready = np.ascontiguousarray(matrix[:, : predictor.encodings.tree_width])
    return {
        "Booster.predict on a ready matrix": best(
            lambda: predictor.booster.predict(ready, raw_score=True, num_threads=1)
        ),
        "read and type the file": best(lambda: list(_read_flat(model, leads))),
        "encode": best(lambda: [predictor.encodings.encode(frame) for frame in frames]),
        "additive part": best(lambda: predictor.linear and predictor.linear.log_odds(matrix)),
        "file to file": best(lambda: score_flat(model, leads, ScoringOptions(scratch / "s.csv"), _unheard)),
    }


def _unheard(line):
    pass


def _read_flat(model, leads):
    columns = FlatColumns.from_features(model.features, model.card.id_column, model.card.missing)
    return (flat_rows(model.features, batch.leads) for batch in iter_flat_batches(leads, columns))


def best(call, times=3):
    """The shortest of a few runs, in seconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def reason_costs(model, leads=2_000):
    """Rows (what, microseconds a lead) of explaining, and the largest difference to ``shap``."""
    import shap  # noqa: PLC0415 - heavy, and for this comparison alone

    history = simulate(leads, seed=5, world=_WORLD).history
    moments = history.leads.select("lead_id", as_of=pl.lit(history.observed_until, pl.Int64))
    rows = compute_feature_rows(model.features, history, Snapshots(moments))
    encodings, booster = model.predictor.encodings, model.predictor.booster
    matrix = encodings.encode(rows)
    trees = np.ascontiguousarray(matrix[:, : encodings.tree_width])
    explainer = shap.TreeExplainer(booster)
    ours = booster.predict(trees, pred_contrib=True, num_threads=1)
    difference = np.abs(ours[:, :-1] - explainer.shap_values(trees)).max()
    explained = pl.DataFrame(model.contributions(rows)[1], schema=list(model.features.names))
    took = {
        "scores": best(lambda: model.score_frame(rows)),
        "contributions": best(lambda: model.contributions(rows)),
        "three reasons in words": best(
            lambda: batch_scoring._reasons(model, rows, explained, ScoringOptions(Path(), 3))
        ),
        "shap.TreeExplainer": best(lambda: explainer.shap_values(trees)),
    }
    return {what: 1e6 * seconds / leads for what, seconds in took.items()}, difference


def report(folder, sizes):
    """Everything, as the tables that docs/explanation/measured.md shows."""
    model = artifact.load(folder)
    with tempfile.TemporaryDirectory() as scratch:
        print(
            f"\n| history, {TOUCHPOINTS} touchpoints a lead, {len(model.features)} features, one core", end=""
        )
        print(" | files | seconds | of the processor | leads a second | peak GB |\n|---|---|---|---|---|---|")
        for size, suffix, run in histories(folder, sizes, Path(scratch)):
            print(
                f"| {size:,} leads | {suffix} | {run.seconds:.1f} | {run.processor:.1f} | "
                f"{size / run.seconds:,.0f} | {run.peak:.2f} |",
                flush=True,
            )
        _report_flat(Path(scratch), min(sizes))
    _report_reasons(model)


def _report_flat(scratch, leads):
    model, new = flat_model(scratch, leads)
    took = flat(model, new, scratch)
    bare = next(iter(took.values()))
    print(f"\n| {leads:,} flat leads, {len(model.features)} columns | seconds | times a bare predict |")
    print("|---|---|---|")
    for what, seconds in took.items():
        print(f"| {what} | {seconds:.2f} | {seconds / bare:.2f} |")


def _report_reasons(model):
    took, difference = reason_costs(model)
    slowest = took["shap.TreeExplainer"]
    print("\n| reasons, a lead | microseconds | times shap |\n|---|---|---|")
    for what, micro in took.items():
        print(f"| {what} | {micro:,.0f} | {micro / slowest:.2f} |")
    print(f"\nLargest difference to shap before scaling: {difference:.1g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=Path, required=True, help="folder of a model of the simulated company"
    )
    parser.add_argument("--leads", type=int, nargs="+", default=[100_000])
    parser.add_argument("--workers", type=int, nargs="+", help="these numbers of processes alone")
    parser.add_argument("--repeat", type=int, default=1, help="with --workers: so many copies as one history")
    options = parser.parse_args()
    if options.workers:
        report_workers(options.model, options.leads, options.workers, options.repeat)
    else:
        report(options.model, options.leads)
