"""Learners of other packages as candidates of a backtest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.backtesting.candidates import DEFAULT, BacktestCandidate
from training.learner.plugin_learner import PluginLearner
from training.learner.recipes import BASE_RATE, RECIPES
from training.plugins import load_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from training.backtesting.candidates import Predict, TrainingWindow
    from training.plugins import PluginModule

_OWN_NAMES = frozenset({DEFAULT, BASE_RATE.name, *(recipe.name for recipe in RECIPES), "lightgbm"})


def plugin_candidates(modules: Sequence[PluginModule] = ()) -> Iterator[BacktestCandidate]:
    """The learners of installed packages and of ``modules``, each under its own name.

    Raises:
        PluginError: As ``load_plugins``, or where a name is that of one of leadloop's own candidates.
    """
    for plugin in load_plugins("leadloop.learners", modules):
        if plugin.name in _OWN_NAMES:
            plugin.refuse("leadloop has a candidate of this name; give yours another one")
        yield learner_candidate(PluginLearner(plugin))


def learner_candidate(learner: PluginLearner) -> BacktestCandidate:
    """A learner on the encoded matrix of the training rows, its probabilities as they are."""

    def learn(past: TrainingWindow) -> dict[str, Predict]:
        encodings, classifier = learner.fit(past.rows, past.seed)

        def predict(frame: pl.DataFrame) -> NDArray[np.float64]:
            return learner.probability(classifier, encodings.encode(frame)[:, : encodings.tree_width])

        return {learner.plugin.name: predict}

    return BacktestCandidate(learner.key, learn)
