"""Who takes part in a backtest: anything that learns from past rows and gives later ones a probability."""

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
    """What a candidate may learn from: feature rows with outcomes, and which lead and moment each one is.

    ``keys`` has ``lead_id`` and ``as_of``, for candidates that read the history themselves. ``today`` is the
    day of the origin, None where rows have no dates: nothing that was known later may be looked at.
    """

    rows: TrainingRows
    keys: pl.DataFrame
    today: int | None
    seed: int


@dataclass(frozen=True)
class BacktestCandidate:
    """A way to learn, told apart from others by ``key``, which names its settings too.

    ``learn`` returns a predictor for each name it takes part under: most under one, the default learner under
    its choice and each of its parts. A predictor takes rows with ``lead_id``, ``as_of`` and the features.
    ``note`` is what a reader of the result should know of it.
    """

    key: str
    learn: Callable[[TrainingWindow], Mapping[str, Predict]]
    note: str = ""


def default_learner() -> BacktestCandidate:
    """The default learner as it is, its parts alone, and the base rate."""
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
