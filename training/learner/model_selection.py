"""How good recipes are on rows that they have not learned from, and which trees these rows argue for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit

from models.metrics import log_loss_per_row
from training.learner.boosting import LARGE, SMALL, TreeEnsembleConfig
from training.learner.cross_validation import Fold, make_folds
from training.learner.recipes import (
    BASE_RATE,
    BLEND,
    STAGES,
    EarlyStoppingProbe,
    Recipe,
    fit_parts,
    probe_ensembles,
)
from training.learner.stacking import StackingWeights, fit_stacking

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.data.training_rows import TrainingRows

    Progress = Callable[[str], None]

FOLDS, FOLDS_WHEN_MANY = 5, 3
MANY, MOST_FOR_CHOOSING = 30_000, 100_000
MOST_GROWTH = 1.5
# So many standard errors better is better, and not luck.
CLEARLY = 2.0


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Out-of-fold log-odds: (m,) of the additive part, (m, stages) of the trees; ``base`` of the base rate.

    The base rate is one for all rows: each fold's own would rank the folds, and by nothing but noise. ``w``
    is what each row tells, ``unit`` (m,) the number of those that it shares its luck with.
    """

    rows: NDArray[np.intp]
    y: NDArray[np.number]
    w: NDArray[np.float64]
    group: NDArray[np.intp]
    fold: NDArray[np.intp]
    base: float
    linear: NDArray[np.float64]
    trees: NDArray[np.float64]
    stages: tuple[int, ...]
    bag: TreeEnsembleConfig
    time_ordered: bool

    def parts(self, recipe: Recipe, stage: int) -> NDArray[np.float64]:
        """(m, parts): the columns that ``recipe`` blends."""
        columns = [self.linear] * recipe.linear + [self.trees[:, stage]] * recipe.trees
        return np.column_stack(columns)

    def best_stage(self, among: NDArray[np.bool_]) -> int:
        """The number of rounds, as a place in ``stages``, with the least log-loss among these rows."""
        return int(np.argmin(self.w[among] @ self._tree_losses[among]))

    @cached_property
    def _tree_losses(self) -> NDArray[np.float64]:
        """(m, stages): what each row loses by the trees."""
        return np.column_stack([log_loss_per_row(self.y, f) for f in self.trees.T])

    def rounds(self, stage: int, rows: int) -> int:
        """The rounds for training on all ``rows``, which are more than a fold had and carry more rounds.

        Not so where rows have an order: there, what changes with time argues for fewer.
        """
        trained = len(self.y) * (1 - 1 / (1 + int(self.fold.max())))
        growth = 1.0 if self.time_ordered else float(np.clip(rows / trained, 1.0, MOST_GROWTH))
        return round(self.stages[stage] * growth)

    def blend(self, recipe: Recipe, stage: int, among: NDArray[np.bool_]) -> StackingWeights:
        """The weights that these rows ask for."""
        periods = np.unique(self.fold[among], return_inverse=True)[1] if self.time_ordered else None
        return fit_stacking(self.parts(recipe, stage)[among], self.y[among], self.w[among], periods)

    def nested_predictions(self, recipe: Recipe) -> NDArray[np.float64]:
        """(m,) calibrated log-odds, each fold under the rounds and weights that the other folds chose."""
        if recipe == BASE_RATE:
            return np.full(len(self.y), self.base)
        result = np.empty(len(self.y))
        for k in range(self.fold.max() + 1):
            others = self.fold != k
            stage = self.best_stage(others)
            result[~others] = self.blend(recipe, stage, others).apply(self.parts(recipe, stage)[~others])
        return result

    def log_loss(self, log_odds: NDArray[np.float64]) -> float:
        """The mean log-loss of log-odds (m,)."""
        return float(self.w @ log_loss_per_row(self.y, log_odds)) / float(self.w.sum())

    def paired_difference(
        self, log_odds: NDArray[np.float64], reference: NDArray[np.float64]
    ) -> tuple[float, float]:
        """By how much log-odds ``log_odds`` are worse than the ``reference``, and the standard error of that.

        The error is that of the paired difference, rows that share their luck taken together.
        """
        share = self.w / self.w.sum()
        paired = log_loss_per_row(self.y, log_odds) - log_loss_per_row(self.y, reference)
        mean = float(share @ paired)
        return mean, float(np.linalg.norm(np.bincount(self.group, weights=share * (paired - mean))))


def cross_validate(rows: TrainingRows, seed: int, say: Progress) -> OutOfFold:
    """Both parts, trained on each fold and asked about the rows outside it, with the trees that suit them.

    Small trees, unless larger ones are clearly better: they rarely are, so they are only tried on all folds
    where they look better on the last one.
    """
    plan = _plan_validation(rows, seed)
    small, large = plan.pilots(seed)
    out_of_fold = plan.judged(small, seed, say)
    if large.log_loss >= small.log_loss:
        return out_of_fold
    say("larger trees look better on the last fold: trying them on all")
    challenger = plan.judged(large, seed, say)
    gain, error = out_of_fold.paired_difference(
        out_of_fold.nested_predictions(BLEND), challenger.nested_predictions(BLEND)
    )
    return challenger if gain > CLEARLY * error else out_of_fold


@dataclass(frozen=True, eq=False)
class _ValidationPlan:
    """The rows to choose by, where they are among all, and the folds that they are judged in."""

    sample: TrainingRows
    at: NDArray[np.intp]
    folds: tuple[Fold, ...]
    time_ordered: bool

    def parted(self, fold: Fold) -> tuple[TrainingRows, TrainingRows]:
        return self.sample.take(fold.train), self.sample.take(fold.validate)

    def pilots(self, seed: int) -> tuple[EarlyStoppingProbe, ...]:
        return probe_ensembles(*self.parted(self.folds[-1]), (SMALL, LARGE), seed)

    def judged(self, probe: EarlyStoppingProbe, seed: int, say: Progress) -> OutOfFold:
        stages = tuple(stage for stage in STAGES if stage <= probe.rounds)
        pieces = []
        for number, fold in enumerate(self.folds):
            say(f"fold {number + 1} of {len(self.folds)}")
            train, validation = self.parted(fold)
            linear, trees = fit_parts(train, stages[-1], seed, probe.bag).judge(validation, stages)
            pieces.append((linear, trees, np.full(len(validation), number)))
        linear, trees, fold_of = (np.concatenate(piece) for piece in zip(*pieces, strict=True))
        at = np.concatenate([fold.validate for fold in self.folds])
        sample = self.sample
        return OutOfFold(
            rows=self.at[at],
            y=sample.y[at],
            w=sample.effective_weights[at],
            group=sample.group[at],
            fold=fold_of,
            base=self.base,
            linear=linear,
            trees=trees,
            stages=stages,
            bag=probe.bag,
            time_ordered=self.time_ordered,
        )

    @property
    def base(self) -> float:
        """Of rows in order the first fold learned from what lies before all that is judged."""
        known = self.sample.take(self.folds[0].train) if self.time_ordered else self.sample
        return float(logit(known.rate))


def _plan_validation(rows: TrainingRows, seed: int) -> _ValidationPlan:
    """Weights for outcomes that are not there yet have no place here: matured rows stand for themselves."""
    at = _sample_validation_rows(rows, seed)
    sample = rows.take(at)
    if rows.matured is not None:
        sample = replace(sample, weights=None)
    folds, time_ordered = make_folds(sample, FOLDS if len(sample) < MANY else FOLDS_WHEN_MANY, seed)
    return _ValidationPlan(sample, at, folds, time_ordered)


def _sample_validation_rows(rows: TrainingRows, seed: int) -> NDArray[np.intp]:
    """The rows to choose by: all that are matured, or as many as settle the choice."""
    validation_rows = rows.validation_rows
    if len(validation_rows) <= MOST_FOR_CHOOSING:
        return validation_rows
    return np.sort(np.random.default_rng(seed).choice(validation_rows, MOST_FOR_CHOOSING, replace=False))
