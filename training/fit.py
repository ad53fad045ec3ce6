"""leadloop's default learner: from rows to a calibrated predictor, and honest predictions to judge it by.

An additive model and a small bag of trees are trained on each fold and judged on rows they have not seen:
later ones where rows have an order, shuffled ones otherwise. Those predictions choose the recipe, the rounds
and the weights; then everything is trained once more on all rows. The additive part holds up where data is
thin or drifts, the trees find what belongs together, and the weights say how much of each to believe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit

from training.learning.blend import Blend, fit_blend
from training.learning.folds import Fold, LearningRows, folds
from training.learning.learners import BASE_RATE, BLEND, RECIPES, STAGES, Parts, Recipe, enough_rounds, learn

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from numpy.typing import NDArray

    from models.predictor import Predictor

    Progress = Callable[[str], None]

FOLDS, FOLDS_WHEN_MANY = 5, 3
MANY, MOST_FOR_CHOOSING = 30_000, 100_000
MOST_GROWTH = 1.5
# So many standard errors better is better, and not luck.
CLEARLY = 2.0


@dataclass(frozen=True)
class Candidate:
    """A recipe as judged: its log-loss, and by how much it is worse than the preferred one.

    ``standard_error`` is that of the paired difference, lead by lead.
    """

    name: str
    log_loss: float
    worse_by: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class FittedPredictor:
    """A predictor, and what it was judged by.

    ``log_odds`` (m,) are calibrated predictions of the rows at positions ``judged`` (m,) by models that had
    not learned from them: neither the parts, nor the rounds, nor the weights. ``blend`` is None where the
    base rate was chosen.
    """

    predictor: Predictor
    log_odds: NDArray[np.float64]
    judged: NDArray[np.intp]
    choice: tuple[Candidate, ...]
    recipe: str
    rounds: int
    time_ordered: bool
    blend: Blend | None = None

    @property
    def candidates(self) -> dict[str, float]:
        """The log-loss of each recipe that was tried."""
        return {candidate.name: candidate.log_loss for candidate in self.choice}

    def made_like(self, parts: Parts) -> Predictor:
        """Other parts under the same recipe and weights."""
        recipe = next(recipe for recipe in (*RECIPES, BASE_RATE) if recipe.name == self.recipe)
        blend = Blend(np.zeros(0), self.predictor.calibration.intercept) if self.blend is None else self.blend
        return parts.predictor(recipe, blend)


@dataclass(frozen=True, eq=False)
class Judged:
    """Out-of-fold log-odds: (m,) of the additive part, (m, stages) of the trees; ``base`` of the base rate.

    The base rate is one for all rows: each fold's own would rank the folds, and by nothing but noise. ``w``
    is what each row tells, ``unit`` (m,) the number of those that it shares its luck with.
    """

    rows: NDArray[np.intp]
    y: NDArray[np.number]
    w: NDArray[np.float64]
    unit: NDArray[np.intp]
    fold: NDArray[np.intp]
    base: float
    linear: NDArray[np.float64]
    trees: NDArray[np.float64]
    stages: tuple[int, ...]
    time_ordered: bool

    def parts(self, recipe: Recipe, stage: int) -> NDArray[np.float64]:
        """(m, parts): the columns that ``recipe`` blends."""
        columns = [self.linear] * recipe.linear + [self.trees[:, stage]] * recipe.trees
        return np.column_stack(columns)

    def best_stage(self, among: NDArray[np.bool_]) -> int:
        """The number of rounds, as a place in ``stages``, with the least log-loss among these rows."""
        losses = [_losses(self.y[among], f) @ self.w[among] for f in self.trees[among].T]
        return int(np.argmin(losses))

    def rounds(self, stage: int, rows: int) -> int:
        """The rounds for training on all ``rows``, which are more than a fold had and carry more rounds.

        Not so where rows have an order: there, what changes with time argues for fewer.
        """
        trained = len(self.y) * (1 - 1 / (1 + int(self.fold.max())))
        growth = 1.0 if self.time_ordered else float(np.clip(rows / trained, 1.0, MOST_GROWTH))
        return round(self.stages[stage] * growth)

    def blend(self, recipe: Recipe, stage: int, among: NDArray[np.bool_]) -> Blend:
        """The weights that these rows ask for."""
        periods = np.unique(self.fold[among], return_inverse=True)[1] if self.time_ordered else None
        return fit_blend(self.parts(recipe, stage)[among], self.y[among], self.w[among], periods)

    def honest(self, recipe: Recipe) -> NDArray[np.float64]:
        """(m,) calibrated log-odds, each fold under the rounds and weights that the other folds chose."""
        if recipe == BASE_RATE:
            return np.full(len(self.y), self.base)
        result = np.empty(len(self.y))
        for k in range(self.fold.max() + 1):
            others = self.fold != k
            stage = self.best_stage(others)
            result[~others] = self.blend(recipe, stage, others).apply(self.parts(recipe, stage)[~others])
        return result


def fit_predictor(  # noqa: PLR0913 - the one call that most users need
    frame: pl.DataFrame,
    y: NDArray[np.number],
    *,
    order: NDArray[np.int64] | None = None,
    weights: NDArray[np.float64] | None = None,
    groups: NDArray[np.int64] | None = None,
    gap: int = 0,
    matured: NDArray[np.bool_] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> FittedPredictor:
    """The default learner on feature columns and 0/1 outcomes; the arguments are those of LearningRows."""
    return fit_rows(LearningRows(frame, y, order, weights, groups, gap, matured), seed, progress)


def fit_rows(rows: LearningRows, seed: int = 0, progress: Progress | None = None) -> FittedPredictor:
    """The default learner on ``rows``; the same rows and seed give the same predictor.

    Raises ValueError when the rows do not hold both outcomes.
    """
    learned = _learned(rows, seed, progress or (lambda _: None))
    return learned.fitted(_chosen(learned.choice))


def fit_each(
    rows: LearningRows, seed: int = 0, progress: Progress | None = None
) -> tuple[FittedPredictor, dict[str, FittedPredictor]]:
    """The default learner's choice, and every recipe by name: all from one learning, for the price of it."""
    learned = _learned(rows, seed, progress or (lambda _: None))
    each = {recipe.name: learned.fitted(recipe) for recipe in (*RECIPES, BASE_RATE)}
    return each[_chosen(learned.choice).name], each


@dataclass(frozen=True, eq=False)
class _Learned:
    """The parts learned from all rows, and how their recipes were judged: what every recipe is made from."""

    parts: Parts
    judged: Judged
    choice: tuple[Candidate, ...]
    said: dict[str, NDArray[np.float64]]
    rate: float
    stage: int
    rounds: int

    def fitted(self, recipe: Recipe) -> FittedPredictor:
        everyone = np.ones(len(self.judged.y), dtype=np.bool_)
        blend = (
            self.judged.blend(recipe, self.stage, everyone)
            if recipe != BASE_RATE
            else Blend(np.zeros(0), float(logit(self.rate)))
        )
        return FittedPredictor(
            predictor=self.parts.predictor(recipe, blend),
            log_odds=self.said[recipe.name],
            judged=self.judged.rows,
            choice=self.choice,
            recipe=recipe.name,
            rounds=self.rounds,
            time_ordered=self.judged.time_ordered,
            blend=None if recipe == BASE_RATE else blend,
        )


def _learned(rows: LearningRows, seed: int, say: Progress) -> _Learned:
    if not 0 < rows.y[rows.judges].sum() < len(rows.judges):
        msg = "the label has only one outcome in these rows: there is nothing to tell apart"
        raise ValueError(msg)
    judged = _judge(rows, seed, say)
    choice, said = _compare(judged)
    say(f"chosen: {_chosen(choice).name}; learning from all rows")
    stage = judged.best_stage(np.ones(len(judged.y), dtype=np.bool_))
    rounds = judged.rounds(stage, len(rows))
    return _Learned(learn(rows, rounds, seed), judged, choice, said, rows.rate, stage, rounds)


def _judge(rows: LearningRows, seed: int, say: Progress) -> Judged:
    """Both parts, trained on each fold, asked about the rows outside it.

    Weights for outcomes that are not there yet have no place here: matured rows stand for themselves.
    """
    kept = _sampled(rows, seed)
    sample = rows.take(kept)
    if rows.matured is not None:
        sample = replace(sample, weights=None)
    made, time_ordered = folds(sample, FOLDS if len(sample) < MANY else FOLDS_WHEN_MANY, seed)
    stages = _stages(sample, made[-1], seed)
    pieces = []
    for number, fold in enumerate(made, start=1):
        say(f"fold {number} of {len(made)}")
        train, judge = sample.take(fold.train), sample.take(fold.judge)
        linear, trees = learn(train, stages[-1], seed).judge(judge, stages)
        pieces.append((linear, trees, np.full(len(judge), number - 1)))
    linear, trees, number_of = (np.concatenate(piece) for piece in zip(*pieces, strict=True))
    at = np.concatenate([fold.judge for fold in made])
    # Of rows in order the first fold learned from what lies before all that is judged.
    known = sample.take(made[0].train) if time_ordered else sample
    base = float(logit(known.rate))
    told = (sample.y[at], sample.evidence[at], sample.unit[at])
    return Judged(kept[at], *told, number_of, base, linear, trees, stages, time_ordered)


def _sampled(rows: LearningRows, seed: int) -> NDArray[np.intp]:
    """The rows to choose by: all that are matured, or as many as settle the choice."""
    judges = rows.judges
    if len(judges) <= MOST_FOR_CHOOSING:
        return judges
    return np.sort(np.random.default_rng(seed).choice(judges, MOST_FOR_CHOOSING, replace=False))


def _stages(rows: LearningRows, fold: Fold, seed: int) -> tuple[int, ...]:
    enough = enough_rounds(rows.take(fold.train), rows.take(fold.judge), seed)
    return tuple(stage for stage in STAGES if stage <= enough)


def _losses(y: NDArray[np.number], log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) log-losses of log-odds."""
    return np.asarray(np.logaddexp(0, log_odds) - y * log_odds, dtype=np.float64)


def _compare(judged: Judged) -> tuple[tuple[Candidate, ...], dict[str, NDArray[np.float64]]]:
    """Every recipe on the same rows, and what each said of them."""
    said = {recipe.name: judged.honest(recipe) for recipe in (*RECIPES, BASE_RATE)}
    losses = {name: _losses(judged.y, f) for name, f in said.items()}
    share = judged.w / judged.w.sum()
    table = []
    for name, loss in losses.items():
        paired = loss - losses[BLEND.name]
        mean = float(share @ paired)
        error = float(np.linalg.norm(np.bincount(judged.unit, weights=share * (paired - mean))))
        table.append(Candidate(name, float(share @ loss), mean, error))
    return tuple(table), said


def _chosen(choice: tuple[Candidate, ...]) -> Recipe:
    """The blend, unless another recipe is better by two standard errors, or nothing beats the base rate."""
    by_name = {candidate.name: candidate for candidate in choice}
    better = [
        recipe
        for recipe in RECIPES
        for rival in [by_name[recipe.name]]
        if rival.worse_by < -CLEARLY * rival.standard_error
    ]
    best = min(better, key=lambda recipe: by_name[recipe.name].log_loss, default=BLEND)
    return BASE_RATE if by_name[BASE_RATE.name].log_loss <= by_name[best.name].log_loss else best
