"""Out-of-fold predictions, and the choice of recipe, tree ensemble and number of rounds by them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit
from scipy.stats import t as student_t

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
from training.progress import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.data.training_rows import TrainingRows

    Progress = Callable[[str], None]

FOLDS, FOLDS_WHEN_MANY = 5, 3
MANY, MOST_FOR_CHOOSING = 30_000, 100_000
MOST_GROWTH = 1.5
# A difference of so many standard errors is significant.
CLEARLY = 2.0
# The chance of periods that agree by accident.
AGREED = 0.025


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Out-of-fold log-odds of both parts for m validation rows.

    Attributes:
        rows: (m,) positions among all rows.
        y: (m,) outcomes.
        w: (m,) effective weight of each row.
        group: (m,) cluster of each row for standard errors: its lead.
        fold: (m,) fold in which the row validates.
        base: Log-odds of the base rate, one for all rows: a rate per fold would rank the folds by noise.
        linear: (m,) log-odds of the additive part.
        trees: (m, stages) log-odds of the trees after each of ``stages`` rounds.
        stages: Numbers of rounds.
        bag: The tree ensemble.
        time_ordered: Whether the folds are rolling origins.
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
        """The (m, parts) log-odds that ``recipe`` stacks, with the trees at position ``stage``."""
        columns = [self.linear] * recipe.linear + [self.trees[:, stage]] * recipe.trees
        return np.column_stack(columns)

    def best_stage(self, among: NDArray[np.bool_]) -> int:
        """The position in ``stages`` with the least log-loss of the trees on the rows ``among`` (m,)."""
        return int(np.argmin(self.w[among] @ self._tree_losses[among]))

    @cached_property
    def _tree_losses(self) -> NDArray[np.float64]:
        """(m, stages): the log-loss of each row by the trees."""
        return np.column_stack([log_loss_per_row(self.y, f) for f in self.trees.T])

    def rounds(self, stage: int, rows: int) -> int:
        """The number of rounds for training on all ``rows``.

        All rows are more than a fold had and support more rounds, in proportion up to ``MOST_GROWTH``. Not so
        where rows have an order: there, what changes with time is a reason for fewer.
        """
        trained = len(self.y) * (1 - 1 / (1 + int(self.fold.max())))
        growth = 1.0 if self.time_ordered else float(np.clip(rows / trained, 1.0, MOST_GROWTH))
        return round(self.stages[stage] * growth)

    def blend(self, recipe: Recipe, stage: int, among: NDArray[np.bool_]) -> StackingWeights:
        """Fit the stacking weights of ``recipe`` to the rows masked by ``among`` (m,)."""
        periods = np.unique(self.fold[among], return_inverse=True)[1] if self.time_ordered else None
        return fit_stacking(self.parts(recipe, stage)[among], self.y[among], self.w[among], periods)

    def nested_predictions(self, recipe: Recipe) -> NDArray[np.float64]:
        """Compute calibrated log-odds, each fold with rounds and stacking weights fitted to the other folds.

        Args:
            recipe: The parts to stack.

        Returns:
            (m,) log-odds.
        """
        if recipe == BASE_RATE:
            return np.full(len(self.y), self.base)
        result = np.empty(len(self.y))
        for k in range(self.fold.max() + 1):
            others = self.fold != k
            stage = self.best_stage(others)
            result[~others] = self.blend(recipe, stage, others).apply(self.parts(recipe, stage)[~others])
        return result

    def log_loss(self, log_odds: NDArray[np.float64]) -> float:
        """The weighted mean log-loss of ``log_odds`` (m,)."""
        return float(self.w @ log_loss_per_row(self.y, log_odds)) / float(self.w.sum())

    def fold_log_losses(self, log_odds: NDArray[np.float64]) -> tuple[float, ...]:
        """The weighted mean log-loss of ``log_odds`` (m,) in each fold."""
        loss = np.bincount(self.fold, self.w * log_loss_per_row(self.y, log_odds))
        return tuple((loss / np.bincount(self.fold, self.w)).tolist())

    def round_log_losses(self) -> dict[int, float]:
        """The weighted mean log-loss of the trees alone after each of ``stages`` rounds; none without."""
        means = self.w @ self._tree_losses / self.w.sum()
        return {stage: loss for stage, loss in zip(self.stages, means.tolist(), strict=True) if stage}

    def periods_agree(self, log_odds: NDArray[np.float64], reference: NDArray[np.float64]) -> bool:
        """Whether the folds of time agree that one prediction is better than a ``reference``.

        A one-sided t-test of the mean gain of each period: three periods are three witnesses, whatever rows
        they have. Rows without an order have one period: there, folds are but shares of the same rows.
        """
        if not self.time_ordered:
            return True
        loss = log_loss_per_row(self.y, reference) - log_loss_per_row(self.y, log_odds)
        gain = np.bincount(self.fold, self.w * loss) / np.bincount(self.fold, self.w)
        error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        return bool(gain.mean() > float(student_t.isf(AGREED, max(1, len(gain) - 1))) * error)

    def paired_difference(
        self, log_odds: NDArray[np.float64], reference: NDArray[np.float64]
    ) -> tuple[float, float]:
        """Compare the log-loss of two predictions of the same rows.

        Args:
            log_odds: (m,) log-odds to compare.
            reference: (m,) log-odds to compare with.

        Returns:
            The difference of the mean log-losses, above 0 where ``log_odds`` is worse, and its standard
            error, from paired differences clustered by lead.
        """
        share = self.w / self.w.sum()
        paired = log_loss_per_row(self.y, log_odds) - log_loss_per_row(self.y, reference)
        mean = float(share @ paired)
        return mean, float(np.linalg.norm(np.bincount(self.group, weights=share * (paired - mean))))


def cross_validate(rows: TrainingRows, seed: int, say: Progress) -> OutOfFold:
    """Compute out-of-fold predictions of both parts, with the tree ensemble that suits the rows.

    Small trees are used unless larger ones are better by two standard errors and, where rows have an order,
    periods agree. The larger ones rarely are, so they are cross-validated only where they beat the small ones
    on the last fold.

    Args:
        rows: Training rows.
        seed: Seed of folds and training.
        say: Called with a line of text at each step.
    """
    plan = _plan_validation(rows, seed)
    small, large = plan.probes(seed)
    out_of_fold = plan.predict(small, seed, say)
    if large.log_loss >= small.log_loss:
        return out_of_fold
    say("larger trees are better on the last fold; trying them on all folds")
    challenger = plan.predict(large, seed, say)
    larger, smaller = challenger.nested_predictions(BLEND), out_of_fold.nested_predictions(BLEND)
    gain, error = out_of_fold.paired_difference(smaller, larger)
    is_better = gain > CLEARLY * error and out_of_fold.periods_agree(larger, smaller)
    return challenger if is_better else out_of_fold


@dataclass(frozen=True, eq=False)
class _ValidationPlan:
    """The sampled rows, their ``positions`` among all rows, and the folds that they are validated in."""

    sample: TrainingRows
    positions: NDArray[np.intp]
    folds: tuple[Fold, ...]
    time_ordered: bool

    def split(self, fold: Fold) -> tuple[TrainingRows, TrainingRows]:
        return self.sample.take(fold.train), self.sample.take(fold.validate)

    def probes(self, seed: int) -> tuple[EarlyStoppingProbe, ...]:
        return probe_ensembles(*self.split(self.folds[-1]), (SMALL, LARGE), seed)

    def predict(self, probe: EarlyStoppingProbe, seed: int, say: Progress) -> OutOfFold:
        stages = tuple(stage for stage in STAGES if stage <= probe.rounds)
        pieces = []
        for number, fold in enumerate(self.folds):
            say(Step(f"fold {number + 1} of {len(self.folds)}", done=number, total=len(self.folds)))
            train, validation = self.split(fold)
            linear, trees = fit_parts(train, stages[-1], seed, probe.bag).staged_log_odds(validation, stages)
            pieces.append((linear, trees, np.full(len(validation), number)))
        linear, trees, fold_of = (np.concatenate(piece) for piece in zip(*pieces, strict=True))
        positions = np.concatenate([fold.validate for fold in self.folds])
        sample = self.sample
        return OutOfFold(
            rows=self.positions[positions],
            y=sample.y[positions],
            w=sample.effective_weights[positions],
            group=sample.group[positions],
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
        """Log-odds of the base rate; of ordered rows that of the rows before the first origin."""
        rows = self.sample.take(self.folds[0].train) if self.time_ordered else self.sample
        return float(logit(rows.rate))


def _plan_validation(rows: TrainingRows, seed: int) -> _ValidationPlan:
    """Sample rows and split them into folds.

    Matured rows count with weight 1: censoring weights stand for outcomes that are not known yet, and only
    known outcomes validate.
    """
    at = _sample_validation_rows(rows, seed)
    sample = rows.take(at)
    if rows.matured is not None:
        sample = replace(sample, weights=None)
    folds, time_ordered = make_folds(sample, FOLDS if len(sample) < MANY else FOLDS_WHEN_MANY, seed)
    return _ValidationPlan(sample, at, folds, time_ordered)


def _sample_validation_rows(rows: TrainingRows, seed: int) -> NDArray[np.intp]:
    """Positions of the matured rows, at most ``MOST_FOR_CHOOSING`` of them, sampled at random."""
    validation_rows = rows.validation_rows
    if len(validation_rows) <= MOST_FOR_CHOOSING:
        return validation_rows
    return np.sort(np.random.default_rng(seed).choice(validation_rows, MOST_FOR_CHOOSING, replace=False))
