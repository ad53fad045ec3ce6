"""leadloop's contributions as ``shap.Explanation``, for the plots that data scientists know; for notebooks.

Nothing is estimated here: base and values are the model's own, in log-odds, and add up to its score.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from models.conversion import ConversionModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import polars as pl
    import shap
    from numpy.typing import NDArray

    from training.estimator import LeadClassifier


def explain_rows(
    model: ConversionModel | LeadClassifier, rows: Any, *, families: Mapping[str, str] | bool = False
) -> shap.Explanation:
    """The contributions of rows as shap's plots take them; ``[0]`` of it is the explanation of one lead.

    Args:
        model: A model, or a fitted classifier.
        rows: Feature rows such as ``Dataset.rows``, or a frame as the classifier takes it.
        families: True for a column a family of features instead of a column a feature; for a classifier, the
            family of each column by name. Default: False, a column a feature.

    Returns:
        A row a lead. Base and values are log-odds and add up to the score, with families as without.

    Raises:
        ValueError: ``families`` does not name the family of a column.
    """
    if isinstance(model, ConversionModel):
        explanation = from_model(model, rows)
        known = dict(zip(model.reason_features.names, model.reason_families, strict=True))
    else:
        explanation, known = from_estimator(model, rows), {}
    if not families:
        return explanation
    return _by_family(explanation, known if families is True else known | dict(families))


def from_model(model: ConversionModel, rows: pl.DataFrame) -> shap.Explanation:
    """The contributions of feature ``rows``, such as ``Dataset.rows``: a row a lead, a column a feature."""
    base, values = model.contributions(rows)
    return _explanation(base, values, model.with_combinations(rows).select(model.reason_features.names))


def from_estimator(model: LeadClassifier, rows: Any) -> shap.Explanation:
    """The contributions of ``rows`` as a fitted estimator takes them: pandas, Polars or Arrow."""
    base, values = model.explain(rows)
    learned = model.as_learned(rows)
    combinations = model.fitted_.predictor.encodings.combinations
    return _explanation(
        base, values.to_numpy(), learned.with_columns(each.keys(learned) for each in combinations)
    )


def _by_family(explanation: shap.Explanation, families: Mapping[str, str]) -> shap.Explanation:
    """The sums over the features of each family; its colour in a plot is its own sum."""
    names = list(explanation.feature_names)
    if absent := [name for name in names if name not in families]:
        msg = f"families does not say which family {absent[0]!r} belongs to"
        raise ValueError(msg)
    order = list(dict.fromkeys(families[name] for name in names))
    member = np.array([[families[name] == family for family in order] for name in names], dtype=np.float64)
    sums = np.asarray(explanation.values @ member)
    return _shap().Explanation(sums, explanation.base_values, sums, feature_names=order)


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
