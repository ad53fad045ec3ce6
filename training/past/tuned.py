"""LightGBM tuned by Optuna within a time budget: the challenger that a data scientist would send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import optuna

from training.learning.folds import folds
from training.past.candidates import Candidate
from training.past.challengers import Native

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.learning_rows import LearningRows
    from training.past.candidates import Past, Predict

    Say = Callable[[str], None]

TUNED = "tuned lightgbm"
FOLDS, MOST_ROUNDS, MOST_TRIALS = 3, 300, 200
# LightGBM's own defaults are tried first, so that tuning starts from what it is to beat.
DEFAULTS = {
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "lambda_l2": 1e-3,
    "feature_fraction": 1.0,
    "bagging_fraction": 1.0,
    "cat_smooth": 10.0,
}


def tuned_lightgbm(seconds: float, say: Say = lambda _: None) -> Candidate:
    """LightGBM with the settings that do best on inner folds, looked for ``seconds`` long at each origin.

    The inner folds are rolling origins within the rows that teach, so the rows that judge are never seen. The
    same seed tries the same settings in the same order; how many fit into the time is up to the machine, so
    ``say`` hears it.
    """

    def learn(past: Past) -> dict[str, Predict]:
        native = Native.of(past.rows)
        search = _Search.of(past.rows, native, past.seed)
        study = search.run(seconds)
        say(f"{TUNED}: {_in_words(study)}")
        best = study.best_trial
        rounds = best.user_attrs["rounds"]
        settings = native.settings(past.seed) | _also(best.params)
        booster = lgb.train(settings, native.dataset(past.rows), rounds)
        return {TUNED: native.predict(booster)}

    return Candidate(f"{TUNED} for {seconds:g} s", learn)


@dataclass(frozen=True, eq=False)
class _Search:
    """The inner folds, binned once, and the seed of all that is drawn."""

    native: Native
    taught: tuple[lgb.Dataset, ...]
    judged: tuple[lgb.Dataset, ...]
    seed: int

    @classmethod
    def of(cls, rows: LearningRows, native: Native, seed: int) -> _Search:
        """Only matured rows take part: they stand for themselves and need no weights."""
        sample = rows.take(rows.judges)
        if rows.matured is not None:
            sample = replace(sample, weights=None)
        made, _ = folds(sample, FOLDS, seed)
        taught = tuple(native.dataset(sample.take(fold.train)) for fold in made)
        pairs = zip(made, taught, strict=True)
        return cls(native, taught, tuple(native.dataset(sample.take(f.judge), t) for f, t in pairs), seed)

    def run(self, seconds: float) -> optuna.Study:
        """Trials until the time is over; at least the first one is finished."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=self.seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        )
        study.enqueue_trial(DEFAULTS)
        study.optimize(self._loss, n_trials=MOST_TRIALS, timeout=seconds)
        return study

    def _loss(self, trial: optuna.Trial) -> float:
        """The mean log-loss over the folds, after the number of rounds that suits them best together."""
        settings = self.native.settings(self.seed) | _also(_drawn(trial))
        curves: list[NDArray[np.float64]] = []
        for step, (taught, judged) in enumerate(zip(self.taught, self.judged, strict=True)):
            curves.append(_curve(settings, taught, judged))
            mean = np.mean(curves, axis=0)
            trial.report(float(mean.min()), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("rounds", int(mean.argmin()) + 1)
        return float(mean.min())


def _drawn(trial: optuna.Trial) -> dict[str, float]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 63, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, 200, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 50.0, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "cat_smooth": trial.suggest_float("cat_smooth", 1.0, 100.0, log=True),
    }


def _also(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, "bagging_freq": 1, "force_row_wise": True}


def _curve(settings: dict[str, Any], taught: lgb.Dataset, judged: lgb.Dataset) -> NDArray[np.float64]:
    """(rounds,) the log-loss of the judged rows after each round."""
    told: dict[str, dict[str, list[float]]] = {}
    listen = lgb.record_evaluation(told)
    lgb.train(
        settings | {"metric": "binary_logloss"}, taught, MOST_ROUNDS, valid_sets=[judged], callbacks=[listen]
    )
    return np.array(told["valid_0"]["binary_logloss"])


def _in_words(study: optuna.Study) -> str:
    made = len(study.trials)
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    first = study.trials[0].value
    return (
        f"{made} trial{'s' * (made > 1)}, {pruned} of them given up early; "
        f"log-loss on inner folds {study.best_value:.4f}, of LightGBM's defaults {first:.4f}"
    )
