"""Small trees with missing values and zeros, and rows that are hard for them."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

COLUMNS = 3
QUIET = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
# Values that a split has to treat in a way of its own.
SPECIAL = (np.nan, 0.0, -0.0, 5e-36, -5e-36, 1e-34, np.inf, -np.inf, 1e300)


def grow(seed, rounds=3, rows=120, *, label=None, spread=4, **options):
    """Trees on few columns, which come again on a path, with missing values and zeros."""
    random = np.random.default_rng(seed)
    matrix = np.round(random.normal(size=(rows, COLUMNS)) * spread) / 2
    matrix[random.random(matrix.shape) < 0.2] = np.nan
    label = random.random(rows) < 1 / (1 + np.exp(-np.nan_to_num(matrix[:, 0]))) if label is None else label
    booster = lgb.train({**QUIET, "seed": 1, **options}, lgb.Dataset(matrix, label), rounds)
    return booster, matrix


def probes(matrix, seed=0):
    """Rows like those of training, and rows with special values in any column."""
    random = np.random.default_rng(seed)
    rows = np.concatenate([matrix[:40], random.choice(SPECIAL, size=(40, matrix.shape[1]))])
    mixed = np.where(random.random(rows.shape) < 0.5, rows, random.permutation(rows))
    return np.concatenate([rows, mixed])
