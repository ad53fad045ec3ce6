"""Whether the choice of leads tells anything of their outcomes beyond what a model sees of them.

Where leads are chosen by a function of the features alone, the outcomes of chosen leads with given features
are those of all leads with these features: weights would only add noise. Otherwise they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
import polars as pl
from scipy.special import ndtr

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS, ROUNDS = 5, 100
FEWEST_ROWS, FEWEST_OF_A_CLASS = 200, 20
_PARAMETERS = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "lambda_l2": 5.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


def selection_p_value(
    frame: pl.DataFrame, label: NDArray[np.number], worth: NDArray[np.float64], seed: int = 0
) -> float | None:
    """Test whether outcomes are independent of what leads were ranked by, given their features.

    The generalised covariance measure (Shah and Peters 2020, Annals of Statistics 48): the products of the
    residuals of two regressions on the features, here boosted trees out of fold, average to zero under
    independence.

    Args:
        frame: (n, features) Float64 or String columns.
        label: (n,) outcomes, 0 or 1.
        worth: (n,) what the leads were ranked by.
        seed: Seed of folds and training.

    Returns:
        The two-sided p-value; None where there are too few rows or outcomes of one kind.
    """
    if len(label) < FEWEST_ROWS or min(label.sum(), len(label) - label.sum()) < FEWEST_OF_A_CLASS:
        return None
    ranks = pl.Series(worth).rank("average").to_numpy() / len(worth)
    if np.ptp(ranks) == 0.0:
        return 1.0
    fold = np.random.default_rng(seed).permutation(np.arange(len(label)) % FOLDS)
    products = [
        target - _out_of_fold(frame, np.asarray(target, dtype=np.float64), fold, objective, seed)
        for target, objective in ((label, "binary"), (ranks, "regression"))
    ]
    product = products[0] * products[1]
    spread = float(product.std())
    if spread == 0.0:
        return 1.0
    return float(2 * ndtr(-abs(np.sqrt(len(product)) * product.mean() / spread)))


def _out_of_fold(
    frame: pl.DataFrame, target: NDArray[np.float64], fold: NDArray[np.intp], objective: str, seed: int
) -> NDArray[np.float64]:
    """(n,) predictions of ``target`` by trees that were grown on the other folds."""
    texts = [place for place, column in enumerate(frame) if not column.dtype.is_numeric()]
    matrix = np.column_stack([_codes(column) for column in frame])
    predicted = np.empty(len(target))
    for number in range(FOLDS):
        others = fold != number
        data = lgb.Dataset(matrix[others], target[others], categorical_feature=texts)
        parameters = _PARAMETERS | {"objective": objective, "seed": seed}
        booster = lgb.train(parameters, data, ROUNDS)
        predicted[~others] = booster.predict(matrix[~others], num_threads=1)
    return predicted


def _codes(column: pl.Series) -> NDArray[np.float64]:
    """(n,) the numbers of a column, or numbers of its levels; NaN where missing."""
    if column.dtype.is_numeric():
        return column.cast(pl.Float64).to_numpy()
    levels = column.drop_nulls().unique().sort()
    codes = column.replace_strict(levels, pl.arange(levels.len(), eager=True), default=None)
    return codes.cast(pl.Float64).to_numpy()
