"""Recipes: what leadloop can learn from rows, as data; and the two parts a recipe is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
from training.learner.encoders import fit_encoders
from training.learner.monotonic import lightgbm_constraints

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lightgbm as lgb
    import numpy as np
    from numpy.typing import NDArray

    from models.additive import AdditiveModel
    from models.encoding import FeatureEncoder
    from training.data.training_rows import TrainingRows
    from training.learner.stacking import StackingWeights


@dataclass(frozen=True)
class Recipe:
    """Which parts a model has: the additive one, the trees, both, or neither (the base rate)."""

    name: str
    linear: bool
    trees: bool


# In order of preference: a later one must be better than chance explains to replace the first.
BLEND = Recipe("additive + trees", linear=True, trees=True)
RECIPES = (BLEND, Recipe("additive", linear=True, trees=False), Recipe("trees", linear=False, trees=True))
BASE_RATE = Recipe("base rate", linear=False, trees=False)

STAGES = (5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 125, 150, 175, 200, 250, 300)


@dataclass(frozen=True, eq=False)
class FittedParts:
    """Encodings and both parts learned from the same rows; ``boosters`` is the bag of tree models."""

    encodings: FeatureEncoder
    linear: AdditiveModel
    boosters: tuple[lgb.Booster, ...]

    def judge(
        self, rows: TrainingRows, stages: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The (n,) log-odds of the additive part, and those (n, stages) of the trees after so many rounds."""
        matrix = self.encodings.encode(rows.frame)
        return self.linear.log_odds(matrix), staged_predictions(
            self.boosters, matrix[:, : self.encodings.tree_width], stages
        )

    def predictor(self, recipe: Recipe, blend: StackingWeights) -> Predictor:
        """The parts under the weights of ``blend``; its slope goes to the calibration."""
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


def fit_parts(rows: TrainingRows, rounds: int, seed: int, bag: TreeEnsembleConfig = SMALL) -> FittedParts:
    """Both parts, learned from ``rows``, with ``rounds`` rounds of trees."""
    encodings, matrix = fit_encoders(rows, seed)
    seen = matrix[:, : encodings.tree_width]
    boosters = train_ensemble(lightgbm_dataset(rows, seen), rows, _told(bag, encodings, rows), rounds, seed)
    return FittedParts(encodings, fit_additive(rows, encodings, matrix, seed), tuple(boosters))


@dataclass(frozen=True)
class EarlyStoppingProbe:
    """What one fold says of a bag: the rounds that are surely enough, and the log-loss of its first model."""

    bag: TreeEnsembleConfig
    rounds: int
    log_loss: float


def probe_ensembles(
    train: TrainingRows, judge: TrainingRows, bags: Sequence[TreeEnsembleConfig], seed: int
) -> tuple[EarlyStoppingProbe, ...]:
    """A pilot of each bag on one fold: it saves the others rounds in excess, and trees that do not suit."""
    encodings, matrix = fit_encoders(train, seed)
    width = encodings.tree_width
    data = lightgbm_dataset(train, matrix[:, :width])
    judged = lightgbm_dataset(judge, encodings.encode(judge.frame)[:, :width], data)
    made = []
    for bag in bags:
        growth = _told(bag, encodings, train).growths[0]
        best, loss = early_stopping_rounds(data, judged, growth.parameters(train, width, seed), STAGES[-1])
        made.append(EarlyStoppingProbe(bag, min(STAGES[-1], best + best // 2 + 20), loss))
    return tuple(made)


def _told(bag: TreeEnsembleConfig, encodings: FeatureEncoder, rows: TrainingRows) -> TreeEnsembleConfig:
    """The same bag, told which features may only raise a score, or only lower it."""
    signs = lightgbm_constraints(encodings, rows.monotone)
    return replace(bag, growths=tuple(replace(growth, signs=signs) for growth in bag.growths))
