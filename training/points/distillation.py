"""Distils a model into an integer scorecard of a few rows, for tools that know only points.

The scorecard is learned from the model's probabilities, not from the outcomes: a probability tells more of a
lead than one yes or no, and gave the better scorecard on held-out rows of every data set tried (knowledge
distillation, Hinton et al. 2015).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from models import metrics
from models.points_table import Thresholds, calibrate_points
from training.config.defaults import SEED
from training.data.dataset import NoLabelledRowsError
from training.learner.cross_validation import make_folds
from training.learner.model_selection import FOLDS, FOLDS_WHEN_MANY, MANY, MOST_FOR_CHOOSING
from training.learner.recipes import BASE_RATE, RECIPES, fit_parts
from training.points.conditions import candidate_conditions, condition_matrix
from training.points.integer_weights import (
    fitted_weights,
    forward_selection,
    round_to_integers,
    threshold_points,
)
from training.points.learned_table import (
    IntegerScorecard,
    LearnedScorecard,
    ModelComparison,
    ScorecardRow,
    ThresholdReach,
)
from training.points.table_file import current_points
from training.progress import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from numpy.typing import NDArray

    from features.spec import FeatureSet
    from models.points_table import PointsTable
    from training.data.training_rows import TrainingRows
    from training.learner.cross_validation import Fold
    from training.learner.model_selection import Progress
    from training.learner.plugin_learner import PluginLearner
    from training.points.conditions import Condition
    from training.trained_model import TrainedModel

    ModelPredictions = Callable[[TrainingRows], NDArray[np.float64]]

MOST = 30
MQL_WIDER = 4

# Boosting rounds of the model that a table is learned from: a table cannot follow more detail anyway.
ROUNDS = 60

ENOUGH_FOR_CHOOSING = 30_000

# Learning a table costs as much as learning a model, and so many rows give the same rows of the table.
MOST_TAUGHT = 4000


@dataclass(frozen=True, eq=False)
class DistillationData:
    """Rows to learn a table from: features, outcomes, which outcomes are final, and today's points if any."""

    features: FeatureSet
    rows: TrainingRows
    final: NDArray[np.bool_]
    incumbent: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class _HeldOutPredictions:
    """The outcomes of held-out rows, and the probabilities by table, model and incumbent."""

    y: NDArray[np.float64]
    base_rate: NDArray[np.float64]
    probability: dict[str, NDArray[np.float64]]

    def compare(self, metric: metrics.MetricFunction) -> ModelComparison:
        return ModelComparison(**{name: metric(self.y, p) for name, p in self.probability.items()})


def learn_points(fitted: TrainedModel, today: PointsTable | None, seed: int = 0) -> LearnedScorecard | None:
    """The points table of a trained model, learned from at most ``MOST_TAUGHT`` of its rows.

    Args:
        fitted: The trained model.
        today: The points table in use, to be compared with.
        seed: Of the folds and samples.

    Returns:
        The table; None where the model knows nothing that points could say.
    """
    few = subsample_run(fitted, MOST_TAUGHT)
    incumbent = None if today is None else current_points(today, few.dataset)
    try:
        return distil_points(few, incumbent=incumbent, seed=seed)
    except NoLabelledRowsError:
        return None


def distil_points(
    fitted: TrainedModel,
    *,
    incumbent: NDArray[np.float64] | None = None,
    seed: int = SEED,
    progress: Progress | None = None,
) -> LearnedScorecard:
    """Distil a trained model into an integer scorecard.

    The scorecard is learned from the final model. Its metrics come from scorecards of each fold, each
    distilled from a model of that fold's training rows, on the rows held out from them.

    Args:
        fitted: The trained model.
        incumbent: (n,) the points that today's table gives the rows of ``fitted.dataset``. Default: no
            comparison.
        seed: Of the folds and samples.
        progress: Called with a line per step.

    Returns:
        The scorecard with its thresholds and metrics.

    Raises:
        NoLabelledRowsError: The model knows no more than the base rate, or no condition is worth a point.
    """
    say = progress or (lambda _: None)
    if fitted.model.card.recipe == BASE_RATE.name:
        msg = "the model is no better than the base rate, so no condition is worth points"
        raise NoLabelledRowsError(msg)
    places = _choose_rows(fitted, seed)
    data = _distillation_data(fitted, incumbent, places)
    predictions = _predict_held_out(data, fitted, places, seed, say)
    say("learning the final table")
    probabilities = fitted.model.score_frame(fitted.dataset.rows[places])["probability"].to_numpy()
    table = _fit_table(data, np.arange(len(places)), probabilities)
    if not table.rows:
        msg = "no condition on these leads is worth a point, so there is no points table"
        raise NoLabelledRowsError(msg)
    return _summarise(fitted, table, predictions)


def subsample_run(fitted: TrainedModel, most: int) -> TrainedModel:
    """The training run with at most ``most`` of its rows, evenly spread; the model stays the same."""
    rows = len(fitted.dataset)
    if rows <= most:
        return fitted
    dataset = fitted.dataset.subsample(most)
    positions = np.linspace(0, rows - 1, most).astype(np.intp)
    is_kept = np.isin(fitted.held_out_rows, positions)
    held_out = np.searchsorted(positions, fitted.held_out_rows[is_kept])
    return replace(fitted, dataset=dataset, held_out_rows=held_out, scores=fitted.scores.filter(is_kept))


def _choose_rows(fitted: TrainedModel, seed: int) -> NDArray[np.intp]:
    """The positions of all held-out rows, and of as many others as there is room for."""
    others = np.setdiff1d(np.arange(len(fitted.dataset)), fitted.held_out_rows)
    capacity = max(0, MOST_FOR_CHOOSING - len(fitted.held_out_rows))
    if len(others) > capacity:
        others = np.random.default_rng(seed).choice(others, capacity, replace=False)
    return np.union1d(fitted.held_out_rows, others)


def _distillation_data(
    fitted: TrainedModel, incumbent: NDArray[np.float64] | None, places: NDArray[np.intp]
) -> DistillationData:
    data = fitted.dataset
    rows = data.to_learning_rows().take(places)
    final = np.ones(len(data), dtype=np.bool_) if data.matured is None else data.matured
    return DistillationData(
        data.features, rows, final[places], None if incumbent is None else incumbent[places]
    )


def _predict_held_out(
    data: DistillationData, fitted: TrainedModel, sample: NDArray[np.intp], seed: int, say: Progress
) -> _HeldOutPredictions:
    """The predictions of each fold's table for its held-out rows, beside the model's."""
    model = np.full(len(fitted.dataset), np.nan)
    model[fitted.held_out_rows] = fitted.scores["probability"].to_numpy()
    folds, _ = make_folds(data.rows, FOLDS if len(sample) < MANY else FOLDS_WHEN_MANY, seed)
    model_probabilities = partial(
        _model_probabilities, recipe=fitted.model.card.recipe, seed=seed, learner=fitted.learner
    )
    parts: list[tuple[NDArray[np.intp], dict[str, NDArray[np.float64]]]] = []
    for number, fold in enumerate(folds, start=1):
        line = f"table {number} of {len(folds)}, measured on the other rows"
        say(Step(line, done=number - 1, total=len(folds)))
        positions = fold.validate[~np.isnan(model[sample[fold.validate]])]
        parts.append((positions, _predict_fold(data, fold, positions, model_probabilities)))
    places = np.concatenate([positions for positions, _ in parts])
    predictions = {name: np.concatenate([p[name] for _, p in parts]) for name in parts[0][1]}
    base = predictions.pop(BASE_RATE.name)
    return _HeldOutPredictions(
        data.rows.y[places].astype(np.float64), base, predictions | {"model": model[sample[places]]}
    )


def _predict_fold(
    data: DistillationData,
    fold: Fold,
    positions: NDArray[np.intp],
    model_probabilities: ModelPredictions,
) -> dict[str, NDArray[np.float64]]:
    """The probabilities at ``positions`` by table, incumbent and base rate of a fold's training rows.

    ``model_probabilities`` are those of a model of these rows, which the table is learned from.
    """
    train = data.rows.take(fold.train)
    table = _fit_table(data, fold.train, model_probabilities(train))
    points = table.score(data.rows.frame[positions]).astype(np.float64)
    predictions = {
        "table": expit(table.calibration.apply(points)),
        BASE_RATE.name: np.full(len(positions), train.rate),
    }
    if data.incumbent is not None:
        final = fold.train[data.final[fold.train]]
        today = calibrate_points(data.incumbent[final], data.rows.y[final])
        predictions["incumbent"] = expit(today.apply(data.incumbent[positions]))
    return predictions


def _model_probabilities(
    train: TrainingRows, recipe: str, seed: int, learner: PluginLearner | None
) -> NDArray[np.float64]:
    """(n,) probabilities by a model of these rows: the parts of the recipe in equal shares.

    With a plug-in's ``learner``: those by its classifier, fitted to these rows.
    """
    if learner is not None:
        encodings, classifier = learner.fit(train, seed)
        return learner.probability(classifier, encodings.encode(train.frame)[:, : encodings.tree_width])
    (selected,) = (known for known in RECIPES if known.name == recipe)
    linear, trees = fit_parts(train, ROUNDS, seed).staged_log_odds(train, (ROUNDS,))
    return np.asarray(expit(np.mean([linear] * selected.linear + [trees[:, 0]] * selected.trees, axis=0)))


def _fit_table(
    data: DistillationData, places: NDArray[np.intp], probabilities: NDArray[np.float64]
) -> IntegerScorecard:
    """The table of the rows at ``places``, learned from their ``probabilities``."""
    frame, final = data.rows.frame[places], data.final[places]
    y = data.rows.y[places].astype(np.float64)
    conditions = _select_conditions(data.features, frame, probabilities)
    meets = condition_matrix(conditions, frame)
    weights = fitted_weights(meets, probabilities)[1:]
    points = round_to_integers(meets[final], weights, y[final])
    rows = [
        ScorecardRow(condition, int(worth))
        for condition, worth in zip(conditions, points, strict=True)
        if worth
    ]
    return IntegerScorecard(
        _in_order(rows), calibrate_points((meets @ points)[final].astype(np.float64), y[final])
    )


def _select_conditions(
    features: FeatureSet, frame: pl.DataFrame, probabilities: NDArray[np.float64]
) -> tuple[Condition, ...]:
    """At most ``MOST`` conditions by forward selection, on no more than ``ENOUGH_FOR_CHOOSING`` rows."""
    every = -(-len(frame) // ENOUGH_FOR_CHOOSING)
    sample = frame.gather_every(every)
    possible = candidate_conditions(features, sample)
    return tuple(
        possible[place]
        for place in forward_selection(condition_matrix(possible, sample), probabilities[::every], MOST)
    )


def _in_order(rows: list[ScorecardRow]) -> tuple[ScorecardRow, ...]:
    """The weightiest features first, the lines of one feature together."""
    weight: dict[str, int] = {}
    for row in rows:
        name = row.condition.spec.name
        weight[name] = max(weight.get(name, 0), abs(row.points))

    def place(row: ScorecardRow) -> tuple[int, str, float, int]:
        value = row.condition.value
        size = value if isinstance(value, float) else 0.0
        return -weight[row.condition.spec.name], row.condition.spec.name, size, -row.points

    return tuple(sorted(rows, key=place))


def _summarise(
    fitted: TrainedModel, table: IntegerScorecard, predictions: _HeldOutPredictions
) -> LearnedScorecard:
    held_out = fitted.dataset.rows[fitted.held_out_rows]
    points = table.score(held_out)
    shares = (min(1.0, MQL_WIDER * fitted.capacity), fitted.capacity)
    mql, sql = threshold_points(points, shares)
    return LearnedScorecard(
        question=fitted.dataset.question,
        lines=table,
        thresholds=Thresholds(mql, sql),
        reached={
            "mql": _threshold_reach(points >= mql, fitted.label),
            "sql": _threshold_reach(points >= sql, fitted.label),
        },
        judged=len(predictions.y),
        roc_auc=predictions.compare(metrics.roc_auc),
        log_loss=predictions.compare(metrics.log_loss),
        base_rate=metrics.log_loss(predictions.y, predictions.base_rate),
    )


def _threshold_reach(above: NDArray[np.bool_], label: NDArray[np.float64]) -> ThresholdReach:
    return ThresholdReach(float(above.mean()), float(label[above].mean()))
