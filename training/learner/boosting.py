"""Boosted trees: small LightGBM models with different seeds, averaged and stored as one booster."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.data.training_rows import TrainingRows


@dataclass(frozen=True)
class TreeParameters:
    """How one LightGBM model of an ensemble grows its trees.

    The defaults are small trees: they mostly generalise better here than LightGBM's own defaults, and their
    contributions cost a fifth to compute.

    Attributes:
        learning_rate: Shrinkage of each tree.
        num_leaves: Most leaves of a tree.
        max_depth: Most splits from root to leaf.
        min_leaf_rows: Rows that a leaf needs; fewer where there are few rows to train on.
        lambda_l2: L2 penalty on the values of the leaves.
        feature_fraction: Share of the columns that each tree may use; at least 8 columns.
        bagging_fraction: Share of the rows that each tree is grown on.
        extra_trees: Whether thresholds are drawn at random: extremely randomised trees (Geurts et al. 2006),
            whose errors differ from those of ordinary ones.
        monotone_signs: One per column: 1 where a larger value may only raise the score, -1 where it may only
            lower it, 0 where it is free. Empty for no constraints.
    """

    learning_rate: float = 0.1
    num_leaves: int = 15
    max_depth: int = 5
    min_leaf_rows: int = 40
    lambda_l2: float = 5.0
    feature_fraction: float = 0.4
    bagging_fraction: float = 0.8
    extra_trees: bool = False
    monotone_signs: tuple[int, ...] = ()

    def parameters(self, rows: TrainingRows, width: int, seed: int) -> dict[str, Any]:
        """Convert to LightGBM's parameters for these rows.

        Args:
            rows: The training rows; few of them get smaller leaves.
            width: The number of columns; few of them are not subsampled.
            seed: LightGBM's seed.
        """
        return {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "max_depth": self.max_depth,
            "min_data_in_leaf": int(np.clip(len(rows) // 50, 5, self.min_leaf_rows)),
            "lambda_l2": self.lambda_l2,
            "feature_fraction": min(1.0, max(self.feature_fraction, 8 / max(1, width))),
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1,
            "extra_trees": self.extra_trees,
            "seed": seed,
            "num_threads": 1,  # two threads on busy cores train 5 to 12 times slower than one
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            **({"monotone_constraints": list(self.monotone_signs)} if any(self.monotone_signs) else {}),
        }


@dataclass(frozen=True)
class TreeEnsembleConfig:
    """A named list of tree models; the mean of their log-odds is the ensemble's."""

    name: str
    members: tuple[TreeParameters, ...]


SMALL = TreeEnsembleConfig(
    "small", (TreeParameters(), TreeParameters(), TreeParameters(learning_rate=0.15, extra_trees=True))
)
# For what only many conditions together tell: deeper, from every column, and less held back.
_LARGER = TreeParameters(num_leaves=31, max_depth=8, min_leaf_rows=20, lambda_l2=1.0, feature_fraction=1.0)
LARGE = TreeEnsembleConfig(
    "large", (_LARGER, _LARGER, replace(_LARGER, learning_rate=0.15, extra_trees=True))
)


def lightgbm_dataset(
    rows: TrainingRows, matrix: NDArray[np.float64], reference: lgb.Dataset | None = None
) -> lgb.Dataset:
    """Build LightGBM's dataset of rows.

    Args:
        rows: Outcomes and weights.
        matrix: (n, columns) features.
        reference: A dataset whose bins to use, for validation rows.
    """
    return lgb.Dataset(
        matrix,
        rows.y,
        weight=rows.weights,
        reference=reference,
        params={"verbosity": -1, "feature_pre_filter": False},
        free_raw_data=False,
    ).construct()


def train_ensemble(
    data: lgb.Dataset, rows: TrainingRows, bag: TreeEnsembleConfig, rounds: int, seed: int
) -> list[lgb.Booster]:
    """Train one booster per member of ``bag`` for ``rounds`` rounds, with consecutive seeds from ``seed``."""
    width = data.num_feature()
    return [
        lgb.train(member.parameters(rows, width, seed + place), data, rounds)
        for place, member in enumerate(bag.members)
    ]


def early_stopping_rounds(
    data: lgb.Dataset, validation: lgb.Dataset, parameters: dict[str, Any], max_rounds: int
) -> tuple[int, float]:
    """Find the number of rounds with the least log-loss on validation rows.

    Args:
        data: Training rows.
        validation: Validation rows, binned like ``data``.
        parameters: LightGBM's parameters.
        max_rounds: Rounds after which to stop in any case; 30 rounds without a gain stop earlier.

    Returns:
        The best number of rounds, and the validation log-loss after it.
    """
    stop = lgb.early_stopping(30, verbose=False)
    booster = lgb.train(parameters, data, max_rounds, valid_sets=[validation], callbacks=[stop])
    return booster.best_iteration, float(booster.best_score["valid_0"]["binary_logloss"])


def staged_predictions(
    boosters: Sequence[lgb.Booster], matrix: NDArray[np.float64], stages: Sequence[int]
) -> NDArray[np.float64]:
    """Compute the ensemble's mean raw log-odds after different numbers of rounds, visiting each tree once.

    Args:
        boosters: The members of the ensemble.
        matrix: (n, columns) features.
        stages: Ascending numbers of rounds.

    Returns:
        (n, stages) log-odds.
    """
    steps = [
        sum(_raw_scores(booster, matrix, start, stop) for booster in boosters) / len(boosters)
        for start, stop in zip((0, *stages), stages, strict=False)
    ]
    return np.cumsum(np.column_stack(steps), axis=1)


def _raw_scores(
    booster: lgb.Booster, matrix: NDArray[np.float64], start: int, stop: int
) -> NDArray[np.float64]:
    raw = booster.predict(
        matrix, raw_score=True, start_iteration=start, num_iteration=stop - start, num_threads=1
    )
    return np.asarray(raw, dtype=np.float64)


def merge_boosters(boosters: Sequence[lgb.Booster]) -> lgb.Booster:
    """Merge boosters into one whose raw score is the sum of theirs.

    LightGBM's text format lists the trees one after the other, so the lists are joined and the trees numbered
    anew. The optional byte sizes of the trees are left out, as they would no longer be right.
    """
    texts = [booster.model_to_string() for booster in boosters]
    head, tail = texts[0].partition("Tree=0\n")[0], "end of trees" + texts[0].partition("end of trees")[2]
    trees = [tree for text in texts for tree in _tree_blocks(text)]
    numbered = "".join(f"Tree={place}\n{tree}" for place, tree in enumerate(trees))
    return lgb.Booster(model_str=re.sub(r"tree_sizes=.*\n", "", head) + numbered + tail)


def _tree_blocks(text: str) -> list[str]:
    body = text.partition("end of trees")[0]
    return re.split(r"^Tree=\d+\n", body, flags=re.MULTILINE)[1:]
