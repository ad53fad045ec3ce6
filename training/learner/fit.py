"""The default learner: from feature rows to a calibrated predictor with out-of-fold predictions.

An additive model and a small ensemble of trees are trained on each fold and validated on rows outside it:
later ones where rows have an order, shuffled ones otherwise. The out-of-fold predictions choose the recipe,
the size of the trees, the number of rounds and the stacking weights; then everything is trained once more on
all rows. The additive part is robust where data are thin or drift, the trees add interactions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit

from training.config.defaults import SEED
from training.data.training_rows import TrainingRows
from training.learner.model_selection import CLEARLY, OutOfFold, cross_validate
from training.learner.recipes import BASE_RATE, BLEND, RECIPES, FittedParts, Recipe, fit_parts
from training.learner.stacking import StackingWeights

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

    from models.predictor import Predictor
    from training.learner.boosting import TreeEnsembleConfig
    from training.learner.model_selection import Progress


@dataclass(frozen=True)
class RecipeScore:
    """The cross-validated log-loss of one recipe.

    Attributes:
        name: The recipe.
        log_loss: Mean out-of-fold log-loss per row.
        worse_by: Log-loss minus that of the preferred recipe, "additive + trees".
        standard_error: Standard error of ``worse_by``, from the paired differences clustered by lead.
        periods_agree: Whether periods of rows with an order agree that it is better than the preferred one.
        fold_log_losses: Mean out-of-fold log-loss per row in each fold.
    """

    name: str
    log_loss: float
    worse_by: float
    standard_error: float
    periods_agree: bool = True
    fold_log_losses: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class FittedPredictor:
    """A fitted predictor, with the out-of-fold predictions it was selected and calibrated by.

    Attributes:
        predictor: Trained on all rows.
        log_odds: (m,) calibrated log-odds of the held-out rows, by models whose parts, rounds and weights had
            not been fitted to them.
        held_out_rows: (m,) positions of these rows.
        choice: The scores of all recipes.
        recipe: The name of the chosen one.
        rounds: Boosting rounds on all rows.
        bag: The tree ensemble that was chosen.
        time_ordered: Whether folds were rolling origins.
        blend: Stacking weights; None where the base rate was chosen.
        fold: (m,) the fold that held each of them out, a period of time where these were rolling origins;
            None where it is not known.
        round_log_losses: Mean out-of-fold log-loss of the trees alone by their number of rounds.
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
    fold: NDArray[np.intp] | None = None
    round_log_losses: Mapping[int, float] = field(default_factory=dict)

    @property
    def candidates(self) -> dict[str, float]:
        """The log-loss of each recipe, by name."""
        return {candidate.name: candidate.log_loss for candidate in self.choice}

    def refit(self, rows: TrainingRows, seed: int) -> Predictor:
        """Train the same recipe, ensemble, rounds and weights on other rows.

        Args:
            rows: The rows to train on.
            seed: Seed of the training.
        """
        # The same combinations, too: what is compared between models must be the same columns.
        combinations = [each.parts for each in self.predictor.encodings.combinations]
        parts = fit_parts(rows, self.rounds, seed, self.bag, combinations)
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
    seed: int = SEED,
    progress: Progress | None = None,
) -> FittedPredictor:
    """Fit the default learner to feature columns and 0/1 outcomes.

    Args:
        frame: One column per feature: numbers or strings, null where missing.
        y: (n,) outcomes, 0 or 1.
        order: (n,) times or ranks; where given, validation rows are later than training rows.
        weights: (n,) weights of the rows, e.g. inverse probability of censoring; default all 1.
        groups: (n,) the lead of each row; rows of a lead share a fold.
        gap: How long, in units of ``order``, an outcome takes to be known.
        matured: (n,) which rows have a final outcome; only these validate.
        seed: Seed of folds and training; the same rows and seed give the same predictor.
        progress: Called with a line of text at each step.

    Raises:
        ValueError: The rows that validate all have the same outcome.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"visits": [float(i % 10) for i in range(400)]})
        >>> y = (frame["visits"].to_numpy() >= 5).astype(float)
        >>> fitted = fit(frame, y)
        >>> low, high = fitted.predictor.log_odds(fitted.predictor.encodings.encode(frame[[0, 9]]))
        >>> bool(low < 0 < high)
        True
    """
    return fit_learning_rows(TrainingRows(frame, y, order, weights, groups, gap, matured), seed, progress)


def fit_learning_rows(rows: TrainingRows, seed: int = 0, progress: Progress | None = None) -> FittedPredictor:
    """Fit the default learner to ``rows``.

    Args:
        rows: Training rows.
        seed: Seed of folds and training; the same rows and seed give the same predictor.
        progress: Called with a line of text at each step.

    Raises:
        ValueError: The rows that validate all have the same outcome.
    """
    learner = _fit_learner(rows, seed, progress or (lambda _: None))
    return learner.predictor_of(_choose_recipe(learner.choice))


def fit_every_recipe(
    rows: TrainingRows, seed: int = 0, progress: Progress | None = None
) -> tuple[FittedPredictor, dict[str, FittedPredictor]]:
    """Fit the default learner's choice and every recipe, sharing one training of the parts.

    Args:
        rows: Training rows.
        seed: Seed of folds and training.
        progress: Called with a line of text at each step.

    Returns:
        The chosen predictor, and the predictor of every recipe by name, the base rate included.

    Raises:
        ValueError: The rows that validate all have the same outcome.
    """
    learner = _fit_learner(rows, seed, progress or (lambda _: None))
    by_recipe = {recipe.name: learner.predictor_of(recipe) for recipe in (*RECIPES, BASE_RATE)}
    return by_recipe[_choose_recipe(learner.choice).name], by_recipe


@dataclass(frozen=True, eq=False)
class _FittedLearner:
    """Both parts trained on all rows, and the out-of-fold scores of the recipes that can be made of them."""

    parts: FittedParts
    out_of_fold: OutOfFold
    choice: tuple[RecipeScore, ...]
    predictions: dict[str, NDArray[np.float64]]
    rate: float
    stage: int
    rounds: int

    def predictor_of(self, recipe: Recipe) -> FittedPredictor:
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
            fold=self.out_of_fold.fold,
            round_log_losses=self.out_of_fold.round_log_losses(),
        )


def _fit_learner(rows: TrainingRows, seed: int, say: Progress) -> _FittedLearner:
    if not 0 < rows.y[rows.validation_rows].sum() < len(rows.validation_rows):
        msg = "the label has only one outcome in these rows: a model needs both"
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
    """The scores of every recipe on the same rows, and its nested out-of-fold log-odds by name."""
    predictions = {recipe.name: out_of_fold.nested_predictions(recipe) for recipe in (*RECIPES, BASE_RATE)}
    preferred = predictions[BLEND.name]
    table = (
        RecipeScore(
            name,
            out_of_fold.log_loss(f),
            *out_of_fold.paired_difference(f, preferred),
            out_of_fold.periods_agree(f, preferred),
            out_of_fold.fold_log_losses(f),
        )
        for name, f in predictions.items()
    )
    return tuple(table), predictions


def _choose_recipe(choice: tuple[RecipeScore, ...]) -> Recipe:
    """The blend, unless a recipe is clearly better; the base rate if it is not beaten.

    Clearly is by two standard errors, and periods must agree: where they differ, the rows of one are no
    independent witnesses, and what won on average may have won by the level of one period. Without that
    little is lost: the weights of the blend can leave a part out, too.
    """
    by_name = {candidate.name: candidate for candidate in choice}
    clearly = [recipe for recipe in RECIPES if _is_clearly_better(by_name[recipe.name])]
    agreed = [recipe for recipe in clearly if by_name[recipe.name].periods_agree]
    base_loss = by_name[BASE_RATE.name].log_loss
    # Where the base rate beats the blend, periods that disagree do not stand in the way of what beats both.
    for candidates in (agreed, clearly):
        best = min(candidates, key=lambda recipe: by_name[recipe.name].log_loss, default=BLEND)
        if by_name[best.name].log_loss < base_loss:
            return best
    return BASE_RATE


def _is_clearly_better(score: RecipeScore) -> bool:
    """Whether a recipe is better than the blend by two standard errors."""
    return score.worse_by < -CLEARLY * score.standard_error
