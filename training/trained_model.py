"""What a training run returns before it is saved: the model, its held-out scores and its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from models.conversion import ConversionModel
    from training.data.dataset import Dataset
    from training.leakage.checks import Check
    from training.learner.jackknife import JackknifeModels
    from training.learner.plugin_learner import PluginLearner


@dataclass(frozen=True)
class TrainedModel:
    """A trained model with what it was judged by.

    ``judged`` are the positions of the rows that the judged model had not learned from, ``scores`` what was
    said of them then, and ``capacity`` the share of leads that sales can call. ``jackknife`` are for the
    report. ``learner`` is the plug-in that made the model, if one did.
    """

    model: ConversionModel
    dataset: Dataset
    judged: NDArray[np.intp]
    scores: pl.DataFrame
    checks: tuple[Check, ...]
    capacity: float
    refits: JackknifeModels | None = None
    learner: PluginLearner | None = None

    @property
    def label(self) -> NDArray[np.float64]:
        """What became of the judged rows."""
        return self.dataset.label[self.judged].astype(np.float64)
