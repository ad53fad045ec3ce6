"""Recipes: which parts a model has, and how both parts are trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from models.calibration import PlattCalibration
from models.predictor import Predictor
from training.learner.additive import fit_additive
from training.learner.boosting import (
    SMALL,
    TreeEnsembleConfig,
    early_stopping_rounds,
    lightgbm_dataset,
    merge_boosters,
    staged_predictions,
    train_ensemble,
)
from training.learner.combinations import find_combinations, fit_combinations
from training.learner.encoders import fit_encoders
from training.learner.monotonic import lightgbm_constraints

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lightgbm as lgb
    from numpy.typing import NDArray

    from models.additive import AdditiveModel
    from models.encoding import FeatureEncoder
    from training.data.training_rows import TrainingRows
    from training.learner.stacking import StackingWeights


@dataclass(frozen=True)
class Recipe:
    """The parts of a model: the additive one, the trees, both, or neither (the base rate)."""

    name: str
    linear: bool
    trees: bool


# In order of preference: a later one must be better than chance explains to replace the first.
BLEND = Recipe("additive + trees", linear=True, trees=True)
ADDITIVE_ALONE = Recipe("additive", linear=True, trees=False)
RECIPES = (BLEND, ADDITIVE_ALONE, Recipe("trees", linear=False, trees=True))
BASE_RATE = Recipe("base rate", linear=False, trees=False)

STAGES = (5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 125, 150, 175, 200, 250, 300, 375, 450, 550, 700, 850, 1000)


@dataclass(frozen=True, eq=False)
class FittedParts:
    """Encodings and both parts trained on the same rows; ``boosters`` are the tree ensemble."""

    encodings: FeatureEncoder
    linear: AdditiveModel
    boosters: tuple[lgb.Booster, ...]

    def staged_log_odds(
        self, rows: TrainingRows, stages: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute the log-odds of both parts.

        Args:
            rows: n rows.
            stages: Ascending numbers of boosting rounds.

        Returns:
            (n,) of the additive part, and (n, stages) of the trees.
        """
        matrix = self.encodings.encode(rows.frame)
        return self.linear.log_odds(matrix), staged_predictions(
            self.boosters, matrix[:, : self.encodings.tree_width], stages
        )

    def predictor(self, recipe: Recipe, blend: StackingWeights) -> Predictor:
        """Combine the parts into a predictor; the sum of the weights becomes the slope of its calibration.

        Args:
            recipe: The parts to use.
            blend: Their stacking weights and the intercept.
        """
        weights = iter((blend.weights / blend.slope if blend.slope > 0 else blend.weights).tolist())
        linear = self.linear.scale(next(weights)) if recipe.linear else None
        tree_weight = next(weights) / len(self.boosters) if recipe.trees else 0.0
        return Predictor(
            encodings=self.encodings,
            calibration=PlattCalibration(blend.slope, blend.intercept),
            linear=linear,
            booster=merge_boosters(self.boosters) if tree_weight > 0 else None,
            tree_weight=tree_weight,
        )


def fit_parts(
    rows: TrainingRows,
    rounds: int,
    seed: int,
    bag: TreeEnsembleConfig = SMALL,
    combinations: Sequence[tuple[str, ...]] | None = None,
) -> FittedParts:
    """Train encodings, additive part and trees on the same rows.

    Args:
        rows: Training rows.
        rounds: Boosting rounds of each tree model.
        seed: Seed of the cross-fitting and the trees.
        bag: The tree ensemble; default small trees.
        combinations: The combinations of columns to use. Default: those that these rows show.
    """
    encodings, matrix, linear = fit_additive_part(rows, seed, combinations)
    tree_matrix = matrix[:, : encodings.tree_width]
    boosters = train_ensemble(
        lightgbm_dataset(rows, tree_matrix), rows, _with_constraints(bag, encodings, rows), rounds, seed
    )
    return FittedParts(encodings, linear, tuple(boosters))


def fit_additive_part(
    rows: TrainingRows, seed: int, combinations: Sequence[tuple[str, ...]] | None = None
) -> tuple[FeatureEncoder, NDArray[np.float64], AdditiveModel]:
    """Train the encodings and the additive part, with combinations of columns where they tell more.

    Args:
        rows: Training rows.
        seed: Seed of the cross-fitting.
        combinations: The combinations to use. Default: those that these rows show.

    Returns:
        The encodings, the (n, columns) training matrix and the additive part.
    """
    encodings, matrix = fit_encoders(rows, seed)
    linear = fit_additive(rows, encodings, matrix, seed)
    log_odds = linear.log_odds(matrix)
    fitted = (
        find_combinations(rows, encodings, log_odds, seed)
        if combinations is None
        else fit_combinations(rows, combinations, log_odds, seed)
    )
    if not fitted:
        return encodings, matrix, linear
    width, effects = encodings.tree_width, np.column_stack([each.cross_fitted for each in fitted])
    encodings = replace(encodings, combinations=tuple(each.encoding for each in fitted))
    matrix = np.asfortranarray(np.hstack([matrix[:, :width], effects, matrix[:, width:]]))
    return encodings, matrix, fit_additive(rows, encodings, matrix, seed)


@dataclass(frozen=True)
class EarlyStoppingProbe:
    """What one fold shows of a tree ensemble: rounds that surely suffice, its first member's log-loss."""

    bag: TreeEnsembleConfig
    rounds: int
    log_loss: float


def probe_ensembles(
    train: TrainingRows, validation: TrainingRows, bags: Sequence[TreeEnsembleConfig], seed: int
) -> tuple[EarlyStoppingProbe, ...]:
    """Train the first member of each tree ensemble on one fold with early stopping.

    This bounds the rounds of the other folds, and drops ensembles that do not suit the rows.

    Args:
        train: Training rows of the fold.
        validation: Validation rows of the fold.
        bags: The tree ensembles to try.
        seed: Seed of the training.

    Returns:
        A probe per ensemble, in their order.
    """
    encodings, matrix, _ = fit_additive_part(train, seed)
    width = encodings.tree_width
    data = lightgbm_dataset(train, matrix[:, :width])
    validation_data = lightgbm_dataset(validation, encodings.encode(validation.frame)[:, :width], data)
    probes = []
    for bag in bags:
        member = _with_constraints(bag, encodings, train).members[0]
        best, loss = early_stopping_rounds(
            data, validation_data, member.parameters(train, width, seed), STAGES[-1]
        )
        probes.append(EarlyStoppingProbe(bag, min(STAGES[-1], best + best // 2 + 20), loss))
    return tuple(probes)


def _with_constraints(
    bag: TreeEnsembleConfig, encodings: FeatureEncoder, rows: TrainingRows
) -> TreeEnsembleConfig:
    """The same ensemble with the monotone constraints of ``rows``."""
    signs = lightgbm_constraints(encodings, rows.monotone)
    return replace(bag, members=tuple(replace(member, monotone_signs=signs) for member in bag.members))
