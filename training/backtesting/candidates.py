"""Backtest candidates: anything that is trained on past rows and predicts probabilities of later ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.learner.fit import FittedPredictor, fit_every_recipe

if TYPE_CHECKING:
    from training.data.training_rows import TrainingRows

DEFAULT = "default"
Predict = Callable[[pl.DataFrame], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class TrainingWindow:
    """What a candidate may be trained on at an origin.

    Attributes:
        rows: Feature rows with outcomes.
        keys: ``lead_id`` and ``as_of`` of each row, for candidates that read the history themselves.
        today: The origin in epoch seconds, None where rows have no dates; nothing known later may be used.
        seed: Seed of the training.
    """

    rows: TrainingRows
    keys: pl.DataFrame
    today: int | None
    seed: int


@dataclass(frozen=True)
class BacktestCandidate:
    """A way to train predictors.

    Attributes:
        key: Identifies the candidate and its settings; stored predictions are reused only for equal keys.
        learn: Trains on a window and returns a predictor by name. Most candidates return one; the default
            learner returns its choice and each of its recipes. A predictor takes a frame with ``lead_id``,
            ``as_of`` and the features, and returns (n,) probabilities.
        note: What a reader of the result should know about the candidate.
    """

    key: str
    learn: Callable[[TrainingWindow], Mapping[str, Predict]]
    note: str = ""


def default_learner() -> BacktestCandidate:
    """The default learner, its recipes one by one, and the base rate, as one candidate."""
    return BacktestCandidate(DEFAULT, _fit_default)


def _fit_default(window: TrainingWindow) -> dict[str, Predict]:
    chosen, by_recipe = fit_every_recipe(window.rows, window.seed)
    return {DEFAULT: _make_predictor(chosen)} | {
        name: _make_predictor(fitted) for name, fitted in by_recipe.items()
    }


def _make_predictor(fitted: FittedPredictor) -> Predict:
    predictor = fitted.predictor

    def probability(frame: pl.DataFrame) -> NDArray[np.float64]:
        return predictor.probability(predictor.log_odds(predictor.encodings.encode(frame)))

    return probability
