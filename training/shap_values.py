"""leadloop's contributions as ``shap.Explanation``, for the plots that data scientists know; for notebooks.

Nothing is estimated here: base and values are the model's own, in log-odds, and add up to its score.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from types import ModuleType

    import polars as pl
    import shap
    from numpy.typing import NDArray

    from models.conversion import ConversionModel
    from training.estimator import LeadClassifier


def from_model(model: ConversionModel, rows: pl.DataFrame) -> shap.Explanation:
    """The contributions of feature ``rows``, such as ``Dataset.rows``: a row a lead, a column a feature."""
    base, values = model.contributions(rows)
    return _explanation(base, values, model.with_combinations(rows).select(model.reason_features.names))


def from_estimator(model: LeadClassifier, rows: Any) -> shap.Explanation:
    """The contributions of ``rows`` as a fitted estimator takes them, pandas or Polars."""
    base, values = model.explain(rows)
    learned = model.as_learned(rows)
    combinations = model.fitted_.predictor.encodings.combinations
    return _explanation(
        base, values.to_numpy(), learned.with_columns(each.keys(learned) for each in combinations)
    )


def _explanation(base: float, values: NDArray[np.float64], data: pl.DataFrame) -> shap.Explanation:
    """The values as an Explanation whose data keep text as text and missing numbers as NaN."""
    cells = np.column_stack([column.to_numpy().astype(object) for column in data])
    bases = np.full(len(values), base)
    return _shap().Explanation(values, bases, cells, feature_names=data.columns)


def _shap() -> ModuleType:
    """The library, imported late: it takes seconds, and only notebooks install it."""
    with warnings.catch_warnings():
        # It asks for a progress bar made of widgets, which nothing here draws.
        warnings.filterwarnings("ignore", "IProgress not found")
        import shap  # noqa: PLC0415
    return shap  # type: ignore[no-any-return]
