"""Common alternatives as candidates: logistic regression, plain LightGBM, LightGBM tuned by Optuna."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import optuna
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from training.backtesting.candidates import BacktestCandidate
from training.learner.cross_validation import make_folds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from training.backtesting.candidates import Predict, TrainingWindow
    from training.data.training_rows import TrainingRows

    Say = Callable[[str], None]

# LightGBM's default number of rounds.
ROUNDS = 100
# Rows below which a level is pooled with others in the one-hot encoding.
RARE = 10
TUNED = "tuned lightgbm"
# Inner folds, and the most that a trial and a study may run.
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


@dataclass(frozen=True)
class NativeLightGBM:
    """Feature rows as LightGBM takes them: numbers as they are, categories as codes.

    Attributes:
        numbers: Names of the numeric columns.
        levels: The levels of each category in training, in the order of their codes.
        signs: Monotone constraint per column, numbers first: 1, -1 or 0.
    """

    numbers: tuple[str, ...]
    levels: Mapping[str, Sequence[str]]
    signs: tuple[int, ...]

    @classmethod
    def of(cls, rows: TrainingRows) -> NativeLightGBM:
        """Take columns, levels and monotone constraints from training rows."""
        numbers, words = _split_columns(rows.frame)
        levels = {name: rows.frame[name].drop_nulls().unique().sort().to_list() for name in words}
        signs = (rows.monotone.get(name, 0) for name in (*numbers, *words))
        return cls(tuple(numbers), levels, tuple(signs))

    def settings(self, seed: int) -> dict[str, Any]:
        """LightGBM's parameters apart from those of the trees."""
        return {
            "objective": "binary",
            "verbosity": -1,
            "num_threads": 1,
            "seed": seed,
            "deterministic": True,
            **({"monotone_constraints": list(self.signs)} if any(self.signs) else {}),
        }

    def matrix(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """Encode a frame as (n, columns); a level that did not occur in training is NaN."""
        plain = [frame[name].to_numpy().astype(np.float64) for name in self.numbers]
        coded = [_encode_levels(frame[name], levels) for name, levels in self.levels.items()]
        return np.column_stack([*plain, *coded])

    def dataset(self, rows: TrainingRows, reference: lgb.Dataset | None = None) -> lgb.Dataset:
        """Build LightGBM's dataset of rows, binned like ``reference`` if given."""
        places = list(range(len(self.numbers), len(self.numbers) + len(self.levels)))
        return lgb.Dataset(
            self.matrix(rows.frame),
            rows.y,
            weight=rows.weights,
            reference=reference,
            categorical_feature=places,
            params={"feature_pre_filter": False, "verbosity": -1},
            free_raw_data=False,
        )

    def predict(self, booster: lgb.Booster) -> Predict:
        """A predictor that applies ``booster`` to frames."""
        return lambda frame: np.asarray(booster.predict(self.matrix(frame), num_threads=1))


@dataclass(frozen=True, eq=False)
class _Search:
    """The inner folds as LightGBM datasets, and the seed of the trials."""

    native: NativeLightGBM
    training_sets: tuple[lgb.Dataset, ...]
    validation_sets: tuple[lgb.Dataset, ...]
    seed: int

    @classmethod
    def of(cls, rows: TrainingRows, native: NativeLightGBM, seed: int) -> _Search:
        """Split the matured training rows into inner folds; censoring weights are dropped."""
        sample = rows.take(rows.validation_rows)
        if rows.matured is not None:
            sample = replace(sample, weights=None)
        folds, _ = make_folds(sample, FOLDS, seed)
        training_sets = tuple(native.dataset(sample.take(fold.train)) for fold in folds)
        pairs = zip(folds, training_sets, strict=True)
        return cls(
            native, training_sets, tuple(native.dataset(sample.take(f.validate), t) for f, t in pairs), seed
        )

    def run(self, seconds: float) -> optuna.Study:
        """Run trials until the time is over; at least the first one is finished."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=self.seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        )
        study.enqueue_trial(DEFAULTS)
        study.optimize(self._loss, n_trials=MOST_TRIALS, timeout=seconds)
        return study

    def _loss(self, trial: optuna.Trial) -> float:
        """The least mean log-loss over the folds, over numbers of rounds."""
        settings = self.native.settings(self.seed) | _with_fixed_params(_suggest_params(trial))
        curves: list[NDArray[np.float64]] = []
        for step, (training_sets, validation_sets) in enumerate(
            zip(self.training_sets, self.validation_sets, strict=True)
        ):
            curves.append(_learning_curve(settings, training_sets, validation_sets))
            mean = np.mean(curves, axis=0)
            trial.report(float(mean.min()), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("rounds", int(mean.argmin()) + 1)
        return float(mean.min())


def logistic_regression() -> BacktestCandidate:
    """scikit-learn's logistic regression on imputed, scaled numbers and one-hot categories."""

    def learn(window: TrainingWindow) -> dict[str, Predict]:
        numbers, words = _split_columns(window.rows.frame)
        scale = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler())
        one_hot = OneHotEncoder(min_frequency=RARE, handle_unknown="infrequent_if_exist", sparse_output=False)

        def parts(frame: pl.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
            categories = frame[words].fill_null("(missing)").to_numpy().astype(object)
            return frame[numbers].to_numpy().astype(np.float64), categories

        steps = [(scale, 0)] * bool(numbers) + [(one_hot, 1)] * bool(words)
        training_blocks = parts(window.rows.frame)
        design = np.hstack([step.fit_transform(training_blocks[place]) for step, place in steps])
        model = LogisticRegression(max_iter=2000).fit(
            design, window.rows.y, sample_weight=window.rows.weights
        )

        def predict(frame: pl.DataFrame) -> NDArray[np.float64]:
            blocks = parts(frame)
            columns = np.hstack([step.transform(blocks[place]) for step, place in steps])
            return np.asarray(model.predict_proba(columns)[:, 1])

        return {"logistic regression": predict}

    return BacktestCandidate("logistic regression", learn)


def plain_lightgbm() -> BacktestCandidate:
    """LightGBM with its default settings, ``ROUNDS`` rounds and native categories."""

    def learn(window: TrainingWindow) -> dict[str, Predict]:
        native = NativeLightGBM.of(window.rows)
        booster = lgb.train(native.settings(window.seed), native.dataset(window.rows), ROUNDS)
        return {"lightgbm": native.predict(booster)}

    return BacktestCandidate("lightgbm at its defaults", learn)


def optuna_lightgbm(seconds: float, say: Say = lambda _: None) -> BacktestCandidate:
    """LightGBM tuned by Optuna at each origin.

    Settings are scored on rolling origins within the training rows, so the test rows stay unused. LightGBM's
    own defaults are tried first. The same seed tries the same settings in the same order; how many fit into
    the time depends on the machine.

    Args:
        seconds: Time for the trials at each origin; the first trial is finished in any case.
        say: Called with a summary of the trials.
    """

    def learn(window: TrainingWindow) -> dict[str, Predict]:
        native = NativeLightGBM.of(window.rows)
        search = _Search.of(window.rows, native, window.seed)
        study = search.run(seconds)
        say(f"{TUNED}: {_describe_study(study)}")
        best = study.best_trial
        rounds = best.user_attrs["rounds"]
        settings = native.settings(window.seed) | _with_fixed_params(best.params)
        booster = lgb.train(settings, native.dataset(window.rows), rounds)
        return {TUNED: native.predict(booster)}

    return BacktestCandidate(f"{TUNED} for {seconds:g} s", learn)


def _suggest_params(trial: optuna.Trial) -> dict[str, float]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 63, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, 200, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 50.0, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "cat_smooth": trial.suggest_float("cat_smooth", 1.0, 100.0, log=True),
    }


def _with_fixed_params(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, "bagging_freq": 1, "force_row_wise": True}


def _learning_curve(
    settings: dict[str, Any], training: lgb.Dataset, validation: lgb.Dataset
) -> NDArray[np.float64]:
    """(rounds,) the log-loss of the validation rows after each round."""
    history: dict[str, dict[str, list[float]]] = {}
    callback = lgb.record_evaluation(history)
    lgb.train(
        settings | {"metric": "binary_logloss"},
        training,
        MOST_ROUNDS,
        valid_sets=[validation],
        callbacks=[callback],
    )
    return np.array(history["valid_0"]["binary_logloss"])


def _describe_study(study: optuna.Study) -> str:
    count = len(study.trials)
    pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
    first = study.trials[0].value
    return (
        f"{count} trial{'s' * (count > 1)}, {pruned} of them given up early; "
        f"log-loss on inner folds {study.best_value:.4f}, of LightGBM's defaults {first:.4f}"
    )


def _split_columns(frame: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The names of the numeric columns, and those of the categories."""
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    return numbers, [name for name in frame.columns if name not in numbers]


def _encode_levels(column: pl.Series, levels: Sequence[str]) -> NDArray[np.float64]:
    """The position of each value among ``levels``; NaN for any other value."""
    codes = {level: float(place) for place, level in enumerate(levels)}
    return np.array([codes.get(value, np.nan) for value in column.to_list()], dtype=np.float64)
