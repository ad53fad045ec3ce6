"""What a training run returns before it is saved: the model, its held-out scores and its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

    from models.conversion import ConversionModel
    from training.data.dataset import Dataset
    from training.leakage.checks import Check
    from training.learner.fit import RecipeScore
    from training.learner.jackknife import JackknifeModels
    from training.learner.plugin_learner import PluginLearner


@dataclass(frozen=True)
class TrainedModel:
    """A trained model with its held-out predictions.

    Attributes:
        model: The final model, learned from all rows; not saved yet.
        dataset: The rows.
        held_out_rows: The positions of the rows that were held out from the models that ``scores`` are by.
        scores: The predictions of these rows, in their order.
        checks: The leakage checks.
        capacity: The share of leads that sales can call.
        refits: The jackknife refits for intervals in the report, if any.
        learner: The plug-in's learner that made the model. Default: leadloop's own learner did.
        choice: The cross-validated scores of the recipes that the learner chose from.
        round_log_losses: Cross-validated log-loss of the trees alone by their number of rounds.
    """

    model: ConversionModel
    dataset: Dataset
    held_out_rows: NDArray[np.intp]
    scores: pl.DataFrame
    checks: tuple[Check, ...]
    capacity: float
    refits: JackknifeModels | None = None
    learner: PluginLearner | None = None
    choice: tuple[RecipeScore, ...] = ()
    round_log_losses: Mapping[int, float] = field(default_factory=dict)

    @property
    def label(self) -> NDArray[np.float64]:
        """(n,) the outcomes of the held-out rows, 0.0 or 1.0."""
        return self.dataset.label[self.held_out_rows].astype(np.float64)
