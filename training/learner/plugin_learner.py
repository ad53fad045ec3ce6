"""Learners of other packages, by scikit-learn's protocol: fitted on encoded rows, checked, and made a model.

Any such learner can take part in a backtest. To be the model that is saved, it must also say what each column
adds to a row's log-odds, and write its state as text; whether that holds is tried out here, not believed.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from models.calibration import PlattCalibration
from models.plugin_part import LEARNERS, PluginPart
from models.predictor import Predictor
from training.learner.boosting import LARGE
from training.learner.cross_validation import make_folds
from training.learner.encoders import fit_encoders
from training.learner.fit import FittedPredictor, RecipeScore
from training.learner.model_selection import FOLDS, FOLDS_WHEN_MANY, MANY, MOST_FOR_CHOOSING, OutOfFold
from training.learner.recipes import BASE_RATE, Recipe
from training.learner.stacking import StackingWeights
from training.plugins import Plugin, PluginModule, find_plugin
from training.progress import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.encoding import FeatureEncoder
    from training.data.training_rows import TrainingRows
    from training.learner.model_selection import Progress

    Floats = NDArray[np.float64]

# How far contributions may be from predict_proba, and so many rows are tried one by one.
EXACT, TRIED = 1e-9, 50
# Nothing is known of how a plug-in joins features; the widths of intervals are those of the larger trees.
_NO_TREES = replace(LARGE, name="none")
_METHODS = ("contributions", "to_files", "from_files")
_SAVED = (
    "a model is a folder of text without pickle, so its learner has contributions(X), to_files() and "
    "from_files(files)"
)
_OTHERWISE = "or keep it a candidate of `leadloop backtest` and leave [training] learner out"


@dataclass(frozen=True, eq=False)
class PluginLearner:
    """A plug-in of ``leadloop.learners``: a callable that returns an unfitted classifier."""

    plugin: Plugin

    @property
    def key(self) -> str:
        """The learner with its settings: a backtest keeps finished origins under it."""
        settings = repr(self._unfitted())
        # The default repr has the address of the object, which differs in the next run.
        description = type(self._unfitted()).__qualname__ if " at 0x" in settings else settings
        return (
            f"{self.plugin.name} {self.plugin.package or self.plugin.place} {' '.join(description.split())}"
        )

    def fit(self, rows: TrainingRows, seed: int) -> tuple[FeatureEncoder, Any]:
        """The encodings of ``rows``, and a classifier fitted to their matrix.

        The matrix (n, columns) is numbers only, NaN where one is missing; rates of categories are
        cross-fitted. A ``random_state`` that is None becomes ``seed``.

        Raises:
            PluginError: It has no ``fit`` or ``predict_proba``, or raises; or rows have weights, which it
                does not take.
        """
        classifier = self._unfitted()
        encodings, matrix = fit_encoders(rows, seed)
        columns, y = matrix[:, : encodings.tree_width], np.asarray(rows.y, dtype=np.int64)
        self._run(lambda: _set_seed(classifier, seed))
        if rows.weights is None:
            self._run(lambda: classifier.fit(columns, y))
        elif "sample_weight" in inspect.signature(classifier.fit).parameters:
            self._run(lambda: classifier.fit(columns, y, sample_weight=rows.weights))
        else:
            self.plugin.refuse(
                "its fit() takes no sample_weight, and these rows have weights; add it, or drop weights = "
                '"ipcw" from [training]'
            )
        return encodings, classifier

    def probability(self, classifier: Any, columns: Floats) -> Floats:
        """(n,) what a fitted classifier predicts for an encoded matrix.

        Raises:
            PluginError: ``predict_proba`` gives something else than (n, 2) probabilities.
        """
        probabilities = self._run(lambda: classifier.predict_proba(columns))
        shape = np.shape(probabilities)
        if shape != (len(columns), 2):
            self.plugin.refuse(
                f"predict_proba() gave the shape {shape} for {len(columns):,} rows; it should be "
                f"{(len(columns), 2)}, the second column being the probability of conversion"
            )
        p = np.asarray(probabilities, dtype=np.float64)[:, 1]
        if not ((p >= 0) & (p <= 1)).all():
            self.plugin.refuse("predict_proba() gave numbers that are no probabilities between 0 and 1")
        return p

    def part(self, classifier: Any, columns: Floats) -> PluginPart:
        """The fitted classifier as part of a predictor, after it was tried out on rows that it learned from.

        Raises:
            PluginError: It cannot be saved or explained; the message says what does not hold.
        """
        package = self.plugin.package
        if package is None:
            self.plugin.refuse(
                f"a saved model finds its learner by the entry point in {LEARNERS}; register it in the "
                f"pyproject.toml of a package and install that, {_OTHERWISE}"
            )
        if missing := [name for name in _METHODS if not callable(getattr(classifier, name, None))]:
            self.plugin.refuse(f"{_SAVED}; this one lacks {', '.join(missing)}. Add it, {_OTHERWISE}")
        part = PluginPart(self.plugin.name, package, classifier)
        self._run(lambda: self._check(part, columns))
        return part

    def _check(self, part: PluginPart, columns: Floats) -> None:
        """Refuse contributions that do not add up or depend on other rows, and a state that is not text."""
        base, shares = part.contributions(columns)
        if shares.shape != columns.shape or not np.isfinite(shares).all() or not np.isfinite(base):
            self.plugin.refuse(
                f"contributions() gave the shape {shares.shape} for a matrix of {columns.shape}, or numbers "
                "that are not finite; it should be a base and one number for each row and column"
            )
        p = self.probability(part.learner, columns)
        if (deviation := float(np.abs(expit(part.log_odds(columns)) - p).max())) > EXACT:
            self.plugin.refuse(
                "base and contributions are log-odds of another probability than predict_proba(), "
                f"by up to {deviation:.2g}; reasons must add up to the score to {EXACT:g}"
            )
        sample = columns[:: 1 + len(columns) // TRIED]
        for row, expected in zip(sample, part.contributions(sample)[1], strict=True):
            single_base, single_row = part.contributions(row[None])
            if single_base != base or not np.array_equal(single_row[0], expected):
                self.plugin.refuse(
                    "contributions() of one row alone differ from those of the same row among others; use "
                    "operations on each element, no matrix product and no mean over rows"
                )
        self._check_files(part, sample)

    def _check_files(self, part: PluginPart, sample: Floats) -> None:
        files = part.learner.to_files()
        is_text = isinstance(files, dict) and all(
            isinstance(name, str) and isinstance(text, str) and name and "/" not in name and "\\" not in name
            for name, text in files.items()
        )
        if not is_text:
            self.plugin.refuse("to_files() should be a dictionary of plain file names and texts")
        restored = replace(part, learner=self._unfitted().from_files(files))
        if not np.array_equal(restored.log_odds(sample), part.log_odds(sample)):
            self.plugin.refuse(
                "the learner that from_files() reads from to_files() predicts something else than before"
            )

    def _unfitted(self) -> Any:
        classifier = self.plugin.call()
        if not all(callable(getattr(classifier, name, None)) for name in ("fit", "predict_proba")):
            self.plugin.refuse_result(classifier, "an unfitted classifier with fit() and predict_proba()")
        return classifier

    def _run(self, step: Any) -> Any:
        return replace(self.plugin, value=step).call()


def _set_seed(classifier: Any, seed: int) -> None:
    settings = classifier.get_params() if hasattr(classifier, "get_params") else {}
    unset = {
        name: seed for name, value in settings.items() if name.endswith("random_state") and value is None
    }
    if unset:
        classifier.set_params(**unset)


def savable_learner(name: str, modules: Sequence[PluginModule] = ()) -> PluginLearner:
    """The learner that ``[training] learner`` names.

    Raises:
        PluginError: There is none of this name; the message has the nearest one.
    """
    return PluginLearner(find_plugin("leadloop.learners", name, "[training] learner", modules))


@dataclass(frozen=True, eq=False)
class FittedPlugin(FittedPredictor):
    """A predictor of a plug-in's learner, and what it was validated by."""

    learner: PluginLearner | None = None

    def refit(self, rows: TrainingRows, seed: int) -> Predictor:
        """A predictor made of other rows as this one was, under the same calibration."""
        if self.learner is None:
            return Predictor(fit_encoders(rows, seed)[0], self.predictor.calibration)
        return _predictor(self.learner, rows, seed, self.predictor.calibration)


def fit_plugin_learner(
    rows: TrainingRows, learner: PluginLearner, seed: int = 0, progress: Progress | None = None
) -> FittedPlugin:
    """A model by ``learner``: validated out of fold, calibrated (Platt 1999), and learned from all rows.

    Args:
        rows: What the model is learned from; folds follow their order and keep the rows of a lead together.
        learner: A plug-in whose classifier can be saved and explained.
        seed: Of the folds, and of a classifier that takes one.
        progress: Called with a line per step.

    Returns:
        The predictor with its out-of-fold log-odds. It is the base rate where nothing better came out.

    Raises:
        PluginError: The classifier cannot be saved or explained, or fails.
        ValueError: The rows do not hold both outcomes.
    """
    if not 0 < rows.y[rows.validation_rows].sum() < len(rows.validation_rows):
        msg = "the label has only one outcome in these rows: a model needs both"
        raise ValueError(msg)
    say, name = progress or (lambda _: None), learner.plugin.name
    recipe = Recipe(name, linear=True, trees=False)
    # Learned first: what cannot be saved is refused before minutes are spent on folds.
    encodings, classifier = learner.fit(rows, seed)
    part = learner.part(classifier, encodings.encode(rows.frame)[:, : encodings.tree_width])
    out_of_fold = _cross_validate(rows, learner, seed, say)
    log_odds = {each.name: out_of_fold.nested_predictions(each) for each in (recipe, BASE_RATE)}
    scores = tuple(
        RecipeScore(
            each,
            out_of_fold.log_loss(f),
            *out_of_fold.paired_difference(f, log_odds[name]),
            fold_log_losses=out_of_fold.fold_log_losses(f),
        )
        for each, f in log_odds.items()
    )
    chosen = BASE_RATE if scores[1].log_loss <= scores[0].log_loss else recipe
    say(f"chosen: {chosen.name}")
    weights = out_of_fold.blend(recipe, 0, np.ones(len(out_of_fold.y), dtype=np.bool_))
    if chosen == BASE_RATE:
        weights = StackingWeights(np.zeros(1), float(logit(rows.rate)))
    calibration = PlattCalibration(weights.slope, weights.intercept)
    return FittedPlugin(
        predictor=Predictor(encodings, calibration, plugin=part if chosen == recipe else None),
        log_odds=log_odds[chosen.name],
        held_out_rows=out_of_fold.rows,
        choice=scores,
        recipe=chosen.name,
        rounds=0,
        bag=_NO_TREES,
        time_ordered=out_of_fold.time_ordered,
        blend=weights if chosen == recipe else None,
        fold=out_of_fold.fold,
        learner=learner if chosen == recipe else None,
    )


def _predictor(
    learner: PluginLearner, rows: TrainingRows, seed: int, calibration: PlattCalibration
) -> Predictor:
    encodings, classifier = learner.fit(rows, seed)
    part = PluginPart(learner.plugin.name, str(learner.plugin.package), classifier)
    return Predictor(encodings, calibration, plugin=part)


def _cross_validate(rows: TrainingRows, learner: PluginLearner, seed: int, say: Progress) -> OutOfFold:
    """Log-odds of rows outside the fold that was learned from, by the folds of the default learner."""
    positions = rows.validation_rows
    if len(positions) > MOST_FOR_CHOOSING:
        positions = np.sort(np.random.default_rng(seed).choice(positions, MOST_FOR_CHOOSING, replace=False))
    sample = rows.take(positions)
    if rows.matured is not None:  # matured rows stand for themselves
        sample = replace(sample, weights=None)
    folds, time_ordered = make_folds(sample, FOLDS if len(sample) < MANY else FOLDS_WHEN_MANY, seed)
    parts = []
    for number, fold in enumerate(folds):
        say(Step(f"fold {number + 1} of {len(folds)}", done=number, total=len(folds)))
        held_out = sample.take(fold.validate)
        predictor = _predictor(learner, sample.take(fold.train), seed, PlattCalibration())
        parts.append(
            (predictor.log_odds(predictor.encodings.encode(held_out.frame)), len(held_out) * [number])
        )
    validation_rows = np.concatenate([fold.validate for fold in folds])
    training_rows = sample.take(folds[0].train) if time_ordered else sample
    return OutOfFold(
        rows=positions[validation_rows],
        y=sample.y[validation_rows],
        w=sample.effective_weights[validation_rows],
        group=sample.group[validation_rows],
        fold=np.concatenate([number for _, number in parts]),
        base=float(logit(training_rows.rate)),
        linear=np.concatenate([log_odds for log_odds, _ in parts]),
        trees=np.zeros((len(validation_rows), 1)),
        stages=(0,),
        bag=_NO_TREES,
        time_ordered=time_ordered,
    )
