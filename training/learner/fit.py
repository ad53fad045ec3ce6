"""leadloop's default learner: from rows to a calibrated predictor, and honest predictions to judge it by.

An additive model and a small bag of trees are trained on each fold and judged on rows they have not seen:
later ones where rows have an order, shuffled ones otherwise. Those predictions choose the recipe, the size of
the trees, their rounds and the weights; then everything is trained once more on all rows. The additive part
holds up where data is thin or drifts, the trees find what belongs together, and the weights say how much of
each to believe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit

from training.data.training_rows import TrainingRows
from training.learner.model_selection import CLEARLY, OutOfFold, cross_validate
from training.learner.recipes import BASE_RATE, BLEND, RECIPES, FittedParts, Recipe, fit_parts
from training.learner.stacking import StackingWeights

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from models.predictor import Predictor
    from training.learner.boosting import TreeEnsembleConfig
    from training.learner.model_selection import Progress


@dataclass(frozen=True)
class RecipeScore:
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
    held_out_rows: NDArray[np.intp]
    choice: tuple[RecipeScore, ...]
    recipe: str
    rounds: int
    bag: TreeEnsembleConfig
    time_ordered: bool
    blend: StackingWeights | None = None

    @property
    def candidates(self) -> dict[str, float]:
        """The log-loss of each recipe that was tried."""
        return {candidate.name: candidate.log_loss for candidate in self.choice}

    def refit(self, rows: TrainingRows, seed: int) -> Predictor:
        """A predictor made of other rows as this one was: the same recipe, trees, rounds and weights."""
        parts = fit_parts(rows, self.rounds, seed, self.bag)
        recipe = next(recipe for recipe in (*RECIPES, BASE_RATE) if recipe.name == self.recipe)
        blend = (
            StackingWeights(np.zeros(0), self.predictor.calibration.intercept)
            if self.blend is None
            else self.blend
        )
        return parts.predictor(recipe, blend)


def fit(  # noqa: PLR0913 - the one call that most users need
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
    return fit_learning_rows(TrainingRows(frame, y, order, weights, groups, gap, matured), seed, progress)


def fit_learning_rows(rows: TrainingRows, seed: int = 0, progress: Progress | None = None) -> FittedPredictor:
    """The default learner on ``rows``; the same rows and seed give the same predictor.

    Raises ValueError when the rows do not hold both outcomes.
    """
    learner = _fit_learner(rows, seed, progress or (lambda _: None))
    return learner.fitted(_choose_recipe(learner.choice))


def fit_every_recipe(
    rows: TrainingRows, seed: int = 0, progress: Progress | None = None
) -> tuple[FittedPredictor, dict[str, FittedPredictor]]:
    """The default learner's choice, and every recipe by name: all from one learning, for the price of it."""
    learner = _fit_learner(rows, seed, progress or (lambda _: None))
    by_recipe = {recipe.name: learner.fitted(recipe) for recipe in (*RECIPES, BASE_RATE)}
    return by_recipe[_choose_recipe(learner.choice).name], by_recipe


@dataclass(frozen=True, eq=False)
class _FittedLearner:
    """The parts learned from all rows, and how their recipes were judged: what every recipe is made from."""

    parts: FittedParts
    out_of_fold: OutOfFold
    choice: tuple[RecipeScore, ...]
    predictions: dict[str, NDArray[np.float64]]
    rate: float
    stage: int
    rounds: int

    def fitted(self, recipe: Recipe) -> FittedPredictor:
        all_rows = np.ones(len(self.out_of_fold.y), dtype=np.bool_)
        blend = (
            self.out_of_fold.blend(recipe, self.stage, all_rows)
            if recipe != BASE_RATE
            else StackingWeights(np.zeros(0), float(logit(self.rate)))
        )
        return FittedPredictor(
            predictor=self.parts.predictor(recipe, blend),
            log_odds=self.predictions[recipe.name],
            held_out_rows=self.out_of_fold.rows,
            choice=self.choice,
            recipe=recipe.name,
            rounds=self.rounds,
            bag=self.out_of_fold.bag,
            time_ordered=self.out_of_fold.time_ordered,
            blend=None if recipe == BASE_RATE else blend,
        )


def _fit_learner(rows: TrainingRows, seed: int, say: Progress) -> _FittedLearner:
    if not 0 < rows.y[rows.validation_rows].sum() < len(rows.validation_rows):
        msg = "the label has only one outcome in these rows: there is nothing to tell apart"
        raise ValueError(msg)
    out_of_fold = cross_validate(rows, seed, say)
    choice, predictions = _score_recipes(out_of_fold)
    say(f"chosen: {_choose_recipe(choice).name}; learning from all rows")
    stage = out_of_fold.best_stage(np.ones(len(out_of_fold.y), dtype=np.bool_))
    rounds = out_of_fold.rounds(stage, len(rows))
    return _FittedLearner(
        fit_parts(rows, rounds, seed, out_of_fold.bag),
        out_of_fold,
        choice,
        predictions,
        rows.rate,
        stage,
        rounds,
    )


def _score_recipes(out_of_fold: OutOfFold) -> tuple[tuple[RecipeScore, ...], dict[str, NDArray[np.float64]]]:
    """Every recipe on the same rows, and what each said of them."""
    predictions = {recipe.name: out_of_fold.nested_predictions(recipe) for recipe in (*RECIPES, BASE_RATE)}
    table = (
        RecipeScore(name, out_of_fold.log_loss(f), *out_of_fold.paired_difference(f, predictions[BLEND.name]))
        for name, f in predictions.items()
    )
    return tuple(table), predictions


def _choose_recipe(choice: tuple[RecipeScore, ...]) -> Recipe:
    """The blend, unless another recipe is better by two standard errors, or nothing beats the base rate."""
    by_name = {candidate.name: candidate for candidate in choice}
    better = [
        recipe
        for recipe in RECIPES
        for score in [by_name[recipe.name]]
        if score.worse_by < -CLEARLY * score.standard_error
    ]
    best = min(better, key=lambda recipe: by_name[recipe.name].log_loss, default=BLEND)
    return BASE_RATE if by_name[BASE_RATE.name].log_loss <= by_name[best.name].log_loss else best
