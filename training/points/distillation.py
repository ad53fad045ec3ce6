"""Distils a model into a table of a few lines of whole points, for tools that know only points.

The lines are learned from the model's probabilities, not from the outcomes: a probability says more of a lead
than one yes or no, and judged on rows not learned from it was the better teacher on every set tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from models import metrics
from models.points_table import Thresholds, calibrate_points
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

    Teach = Callable[[TrainingRows], NDArray[np.float64]]


MOST = 30

MQL_WIDER = 4

# So many rounds of trees teach a table well enough; it cannot follow them into detail anyway.
ROUNDS = 60

ENOUGH_FOR_CHOOSING = 30_000


@dataclass(frozen=True, eq=False)
class DistillationData:
    """Rows to learn a table from: features, outcomes, and which outcomes are final."""

    features: FeatureSet
    rows: TrainingRows
    final: NDArray[np.bool_]
    incumbent: NDArray[np.float64] | None


def distil_points(
    fitted: TrainedModel,
    *,
    incumbent: NDArray[np.float64] | None = None,
    seed: int = 42,
    progress: Progress | None = None,
) -> LearnedScorecard:
    """The points table of a trained model; ``incumbent`` are the points that today's table gives its rows.

    To be judged as the model was, tables are learned on the same earlier rows as the models that judged the
    later ones, each from a model of those rows alone; then the table itself is learned from the final model.

    Raises NothingToLearnError where the model knows nothing that points could say.
    """
    say = progress or (lambda _: None)
    if fitted.model.card.recipe == BASE_RATE.name:
        msg = "the model knows no more than the base rate: there are no points to be given for anything"
        raise NoLabelledRowsError(msg)
    chosen = _chosen(fitted, seed)
    lessons = _lessons(fitted, incumbent, chosen)
    said = _judged(lessons, fitted, chosen, seed, say)
    say("learning the table itself")
    taught = fitted.model.score_frame(fitted.dataset.rows[chosen])["probability"].to_numpy()
    table = _learned(lessons, np.arange(len(chosen)), taught)
    if not table.rows:
        msg = "no condition on these leads is worth a point: there is no table to be written"
        raise NoLabelledRowsError(msg)
    return _summed(fitted, table, said)


def _chosen(fitted: TrainedModel, seed: int) -> NDArray[np.intp]:
    """The positions of the rows that judged the model, and of as many others as teaching needs."""
    others = np.setdiff1d(np.arange(len(fitted.dataset)), fitted.judged)
    room = max(0, MOST_FOR_CHOOSING - len(fitted.judged))
    if len(others) > room:
        others = np.random.default_rng(seed).choice(others, room, replace=False)
    return np.union1d(fitted.judged, others)


def _lessons(
    fitted: TrainedModel, incumbent: NDArray[np.float64] | None, chosen: NDArray[np.intp]
) -> DistillationData:
    data = fitted.dataset
    rows = data.to_learning_rows().take(chosen)
    final = np.ones(len(data), dtype=np.bool_) if data.matured is None else data.matured
    return DistillationData(
        data.features, rows, final[chosen], None if incumbent is None else incumbent[chosen]
    )


@dataclass(frozen=True, eq=False)
class _Said:
    """What became of the judged rows, and the probabilities that each contestant gave them."""

    y: NDArray[np.float64]
    base_rate: NDArray[np.float64]
    probability: dict[str, NDArray[np.float64]]

    def compared(self, metric: metrics.MetricFunction) -> ModelComparison:
        return ModelComparison(**{name: metric(self.y, p) for name, p in self.probability.items()})


def _judged(
    lessons: DistillationData, fitted: TrainedModel, chosen: NDArray[np.intp], seed: int, say: Progress
) -> _Said:
    """What tables of each fold's earlier rows say of its later ones, beside what the model said of them."""
    model = np.full(len(fitted.dataset), np.nan)
    model[fitted.judged] = fitted.scores["probability"].to_numpy()
    made, _ = make_folds(lessons.rows, FOLDS if len(chosen) < MANY else FOLDS_WHEN_MANY, seed)
    teach = partial(_taught, recipe=fitted.model.card.recipe, seed=seed, learner=fitted.learner)
    parts: list[tuple[NDArray[np.intp], dict[str, NDArray[np.float64]]]] = []
    for number, fold in enumerate(made, start=1):
        say(f"table {number} of {len(made)}, to be judged on other rows")
        asked = fold.validate[~np.isnan(model[chosen[fold.validate]])]
        parts.append((asked, _contest(lessons, fold, asked, teach)))
    places = np.concatenate([asked for asked, _ in parts])
    said = {name: np.concatenate([p[name] for _, p in parts]) for name in parts[0][1]}
    base = said.pop(BASE_RATE.name)
    return _Said(lessons.rows.y[places].astype(np.float64), base, said | {"model": model[chosen[places]]})


def _contest(
    lessons: DistillationData, fold: Fold, asked: NDArray[np.intp], teach: Teach
) -> dict[str, NDArray[np.float64]]:
    """The probabilities that table, incumbent and base rate of a fold's training rows give to others."""
    train = lessons.rows.take(fold.train)
    table = _learned(lessons, fold.train, teach(train))
    points = table.score(lessons.rows.frame[asked]).astype(np.float64)
    said = {
        "table": expit(table.calibration.apply(points)),
        BASE_RATE.name: np.full(len(asked), train.rate),
    }
    if lessons.incumbent is not None:
        final = fold.train[lessons.final[fold.train]]
        today = calibrate_points(lessons.incumbent[final], lessons.rows.y[final])
        said["incumbent"] = expit(today.apply(lessons.incumbent[asked]))
    return said


def _taught(
    train: TrainingRows, recipe: str, seed: int, learner: PluginLearner | None
) -> NDArray[np.float64]:
    """(n,) probabilities of a model of these rows: the parts of the chosen recipe in equal shares.

    Where a plug-in's ``learner`` made the model, one of its classifiers.
    """
    if learner is not None:
        encodings, classifier = learner.fit(train, seed)
        return learner.probability(classifier, encodings.encode(train.frame)[:, : encodings.tree_width])
    (wanted,) = (known for known in RECIPES if known.name == recipe)
    linear, trees = fit_parts(train, ROUNDS, seed).judge(train, (ROUNDS,))
    return np.asarray(expit(np.mean([linear] * wanted.linear + [trees[:, 0]] * wanted.trees, axis=0)))


def _learned(
    lessons: DistillationData, places: NDArray[np.intp], taught: NDArray[np.float64]
) -> IntegerScorecard:
    """The table of the rows at ``places``, whose probabilities are ``taught``."""
    frame, final = lessons.rows.frame[places], lessons.final[places]
    y = lessons.rows.y[places].astype(np.float64)
    asked = _asked(lessons.features, frame, taught)
    meets = condition_matrix(asked, frame)
    weights = fitted_weights(meets, taught)[1:]
    points = round_to_integers(meets[final], weights, y[final])
    rows = [
        ScorecardRow(condition, int(worth)) for condition, worth in zip(asked, points, strict=True) if worth
    ]
    return IntegerScorecard(
        _in_order(rows), calibrate_points((meets @ points)[final].astype(np.float64), y[final])
    )


def _asked(features: FeatureSet, frame: pl.DataFrame, taught: NDArray[np.float64]) -> tuple[Condition, ...]:
    """The conditions that tell most; some ten thousands of rows settle which, in every order of time."""
    every = -(-len(frame) // ENOUGH_FOR_CHOOSING)
    sample = frame.gather_every(every)
    possible = candidate_conditions(features, sample)
    return tuple(
        possible[place]
        for place in forward_selection(condition_matrix(possible, sample), taught[::every], MOST)
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


def _summed(fitted: TrainedModel, table: IntegerScorecard, said: _Said) -> LearnedScorecard:
    judged = fitted.dataset.rows[fitted.judged]
    points = table.score(judged)
    shares = (min(1.0, MQL_WIDER * fitted.capacity), fitted.capacity)
    mql, sql = threshold_points(points, shares)
    return LearnedScorecard(
        question=fitted.dataset.question,
        lines=table,
        thresholds=Thresholds(mql, sql),
        reached={"mql": _reached(points >= mql, fitted.label), "sql": _reached(points >= sql, fitted.label)},
        judged=len(said.y),
        roc_auc=said.compared(metrics.roc_auc),
        log_loss=said.compared(metrics.log_loss),
        base_rate=metrics.log_loss(said.y, said.base_rate),
    )


def _reached(taken: NDArray[np.bool_], label: NDArray[np.float64]) -> ThresholdReach:
    return ThresholdReach(float(taken.mean()), float(label[taken].mean()))


# Learning a table costs as much as learning a model; so many rows write the same lines.
MOST_TAUGHT = 4000


def learn_points(fitted: TrainedModel, today: PointsTable | None, seed: int = 0) -> LearnedScorecard | None:
    """The points table of a trained model, from evenly fewer of very many rows.

    None where there is nothing that points could say.
    """
    few = subsample_run(fitted, MOST_TAUGHT)
    incumbent = None if today is None else current_points(today, few.dataset)
    try:
        return distil_points(few, incumbent=incumbent, seed=seed)
    except NoLabelledRowsError:
        return None


def subsample_run(fitted: TrainedModel, most: int) -> TrainedModel:
    """A run as if it had had ``most`` of its rows, evenly spread; the model stays what it is."""
    rows = len(fitted.dataset)
    if rows <= most:
        return fitted
    dataset = fitted.dataset.subsample(most)
    kept = np.linspace(0, rows - 1, most).astype(np.intp)
    there = np.isin(fitted.judged, kept)
    judged = np.searchsorted(kept, fitted.judged[there])
    return replace(fitted, dataset=dataset, judged=judged, scores=fitted.scores.filter(there))
