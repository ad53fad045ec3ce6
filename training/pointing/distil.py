"""Distils a model into a table of a few lines of whole points, for tools that know only points.

The lines are learned from the model's probabilities, not from the outcomes: a probability says more of a lead
than one yes or no, and judged on rows not learned from it was the better teacher on every set tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from models import metrics
from models.points_rules import Thresholds
from models.points_table import calibrated
from training.dataset import NothingToLearnError
from training.learning.folds import folds
from training.learning.judging import FOLDS, FOLDS_WHEN_MANY, MANY, MOST_FOR_CHOOSING
from training.learning.learners import BASE_RATE, RECIPES, learn
from training.pointing.conditions import conditions, held
from training.pointing.lines import choose, fitted_weights, least_points, whole_points
from training.pointing.points import Compared, LearnedPoints, Lines, PointsRow, Reached

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from features.spec import FeatureSet
    from training.learning.folds import Fold
    from training.learning.judging import Progress
    from training.learning_rows import LearningRows
    from training.pointing.conditions import Condition
    from training.run import Fitted

MOST = 30
MQL_WIDER = 4
# So many rounds of trees teach a table well enough; it cannot follow them into detail anyway.
ROUNDS = 60
ENOUGH_FOR_CHOOSING = 30_000


@dataclass(frozen=True, eq=False)
class Lessons:
    """Rows to learn a table from: features, outcomes, and which outcomes are final."""

    features: FeatureSet
    rows: LearningRows
    final: NDArray[np.bool_]
    incumbent: NDArray[np.float64] | None


def points_of(
    fitted: Fitted,
    *,
    incumbent: NDArray[np.float64] | None = None,
    seed: int = 42,
    progress: Progress | None = None,
) -> LearnedPoints:
    """The points table of a trained model; ``incumbent`` are the points that today's table gives its rows.

    To be judged as the model was, tables are learned on the same earlier rows as the models that judged the
    later ones, each from a model of those rows alone; then the table itself is learned from the final model.

    Raises NothingToLearnError where the model knows nothing that points could say.
    """
    say = progress or (lambda _: None)
    if fitted.model.card.recipe == BASE_RATE.name:
        msg = "the model knows no more than the base rate: there are no points to be given for anything"
        raise NothingToLearnError(msg)
    chosen = _chosen(fitted, seed)
    lessons = _lessons(fitted, incumbent, chosen)
    said = _judged(lessons, fitted, chosen, seed, say)
    say("learning the table itself")
    taught = fitted.model.score_rows(fitted.dataset.rows[chosen])["probability"].to_numpy()
    table = _learned(lessons, np.arange(len(chosen)), taught)
    if not table.rows:
        msg = "no condition on these leads is worth a point: there is no table to be written"
        raise NothingToLearnError(msg)
    return _summed(fitted, table, said)


def _chosen(fitted: Fitted, seed: int) -> NDArray[np.intp]:
    """The positions of the rows that judged the model, and of as many others as teaching needs."""
    others = np.setdiff1d(np.arange(len(fitted.dataset)), fitted.judged)
    room = max(0, MOST_FOR_CHOOSING - len(fitted.judged))
    if len(others) > room:
        others = np.random.default_rng(seed).choice(others, room, replace=False)
    return np.union1d(fitted.judged, others)


def _lessons(fitted: Fitted, incumbent: NDArray[np.float64] | None, chosen: NDArray[np.intp]) -> Lessons:
    data = fitted.dataset
    rows = data.to_learn().take(chosen)
    final = np.ones(len(data), dtype=np.bool_) if data.matured is None else data.matured
    return Lessons(data.features, rows, final[chosen], None if incumbent is None else incumbent[chosen])


@dataclass(frozen=True, eq=False)
class _Said:
    """What became of the judged rows, and the probabilities that each contestant gave them."""

    y: NDArray[np.float64]
    base_rate: NDArray[np.float64]
    probability: dict[str, NDArray[np.float64]]

    def compared(self, metric: metrics.Metric) -> Compared:
        return Compared(**{name: metric(self.y, p) for name, p in self.probability.items()})


def _judged(lessons: Lessons, fitted: Fitted, chosen: NDArray[np.intp], seed: int, say: Progress) -> _Said:
    """What tables of each fold's earlier rows say of its later ones, beside what the model said of them."""
    model = np.full(len(fitted.dataset), np.nan)
    model[fitted.judged] = fitted.scores["probability"].to_numpy()
    made, _ = folds(lessons.rows, FOLDS if len(chosen) < MANY else FOLDS_WHEN_MANY, seed)
    parts: list[tuple[NDArray[np.intp], dict[str, NDArray[np.float64]]]] = []
    for number, fold in enumerate(made, start=1):
        say(f"table {number} of {len(made)}, to be judged on other rows")
        asked = fold.judge[~np.isnan(model[chosen[fold.judge]])]
        parts.append((asked, _contest(lessons, fold, asked, fitted.model.card.recipe, seed)))
    places = np.concatenate([asked for asked, _ in parts])
    said = {name: np.concatenate([p[name] for _, p in parts]) for name in parts[0][1]}
    base = said.pop(BASE_RATE.name)
    return _Said(lessons.rows.y[places].astype(np.float64), base, said | {"model": model[chosen[places]]})


def _contest(
    lessons: Lessons, fold: Fold, asked: NDArray[np.intp], recipe: str, seed: int
) -> dict[str, NDArray[np.float64]]:
    """The probabilities that table, incumbent and base rate of a fold's training rows give to others."""
    train = lessons.rows.take(fold.train)
    table = _learned(lessons, fold.train, _taught(train, recipe, seed))
    points = table.score(lessons.rows.frame[asked]).astype(np.float64)
    said = {
        "table": expit(table.calibration.apply(points)),
        BASE_RATE.name: np.full(len(asked), train.rate),
    }
    if lessons.incumbent is not None:
        final = fold.train[lessons.final[fold.train]]
        today = calibrated(lessons.incumbent[final], lessons.rows.y[final])
        said["incumbent"] = expit(today.apply(lessons.incumbent[asked]))
    return said


def _taught(train: LearningRows, recipe: str, seed: int) -> NDArray[np.float64]:
    """(n,) probabilities of a model of these rows: the parts of the chosen recipe in equal shares."""
    (wanted,) = (known for known in RECIPES if known.name == recipe)
    linear, trees = learn(train, ROUNDS, seed).judge(train, (ROUNDS,))
    return np.asarray(expit(np.mean([linear] * wanted.linear + [trees[:, 0]] * wanted.trees, axis=0)))


def _learned(lessons: Lessons, places: NDArray[np.intp], taught: NDArray[np.float64]) -> Lines:
    """The table of the rows at ``places``, whose probabilities are ``taught``."""
    frame, final = lessons.rows.frame[places], lessons.final[places]
    y = lessons.rows.y[places].astype(np.float64)
    asked = _asked(lessons.features, frame, taught)
    meets = held(asked, frame)
    weights = fitted_weights(meets, taught)[1:]
    points = whole_points(meets[final], weights, y[final])
    rows = [PointsRow(condition, int(worth)) for condition, worth in zip(asked, points, strict=True) if worth]
    return Lines(_in_order(rows), calibrated((meets @ points)[final].astype(np.float64), y[final]))


def _asked(features: FeatureSet, frame: pl.DataFrame, taught: NDArray[np.float64]) -> tuple[Condition, ...]:
    """The conditions that tell most; some ten thousands of rows settle which, in every order of time."""
    every = -(-len(frame) // ENOUGH_FOR_CHOOSING)
    sample = frame.gather_every(every)
    possible = conditions(features, sample)
    return tuple(possible[place] for place in choose(held(possible, sample), taught[::every], MOST))


def _in_order(rows: list[PointsRow]) -> tuple[PointsRow, ...]:
    """The weightiest features first, the lines of one feature together."""
    weight: dict[str, int] = {}
    for row in rows:
        name = row.condition.spec.name
        weight[name] = max(weight.get(name, 0), abs(row.points))

    def place(row: PointsRow) -> tuple[int, str, float, int]:
        value = row.condition.value
        size = value if isinstance(value, float) else 0.0
        return -weight[row.condition.spec.name], row.condition.spec.name, size, -row.points

    return tuple(sorted(rows, key=place))


def _summed(fitted: Fitted, table: Lines, said: _Said) -> LearnedPoints:
    judged = fitted.dataset.rows[fitted.judged]
    points = table.score(judged)
    shares = (min(1.0, MQL_WIDER * fitted.capacity), fitted.capacity)
    mql, sql = least_points(points, shares)
    return LearnedPoints(
        question=fitted.dataset.question,
        lines=table,
        thresholds=Thresholds(mql, sql),
        reached={"mql": _reached(points >= mql, fitted.label), "sql": _reached(points >= sql, fitted.label)},
        judged=len(said.y),
        roc_auc=said.compared(metrics.roc_auc),
        log_loss=said.compared(metrics.log_loss),
        base_rate=metrics.log_loss(said.y, said.base_rate),
    )


def _reached(taken: NDArray[np.bool_], label: NDArray[np.float64]) -> Reached:
    return Reached(float(taken.mean()), float(label[taken].mean()))
