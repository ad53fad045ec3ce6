"""leadloop's learner as a scikit-learn classifier, for pipelines, cross-validation and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from training.config.defaults import SEED
from training.learner.fit import fit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from sklearn.utils import Tags

    from training.learner.fit import FittedPredictor


class LeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn is not typed
    """A calibrated binary classifier of mixed numbers and categories.

    ``X`` is a pandas or Polars frame, or an array of shape (n, columns): numbers and flags are taken as
    numbers, all else as categories, and missing values stay missing. Nothing has to be scaled, imputed or
    encoded. Logistic regression, boosted trees and their stacking are compared on held-out rows, and the best
    is calibrated.

    Args:
        seed: Of folds and samples. Default: that of the command line, so that both give the same model.

    Attributes:
        classes_: (2,) the classes, sorted; the second one is predicted as converting.
        fitted_: The fitted predictor with the scores of its held-out rows.
        columns_: The columns of ``X`` with the types that they were learned as.

    >>> frame = pl.DataFrame({"visits": [0, 5] * 50, "source": ["ads", "talk"] * 50})
    >>> model = LeadClassifier().fit(frame, [0, 1] * 50)
    >>> model.predict(frame[:2]).tolist()
    [0, 1]
    """

    def __init__(self, *, seed: int = SEED) -> None:
        self.seed = seed

    def fit(
        self,
        X: Any,  # noqa: N803 - scikit-learn's name
        y: ArrayLike | None,
        sample_weight: ArrayLike | None = None,
        *,
        order: ArrayLike | None = None,
    ) -> Self:
        """Fit the classifier.

        Args:
            X: (n, columns) a frame or array.
            y: (n,) outcomes of two classes; the second one in sort order converts.
            sample_weight: (n,) weights of the rows. Default: 1 each.
            order: (n,) whole numbers that grow with time: the learner then selects and calibrates on later
                rows. Default: shuffled folds.

        Returns:
            The classifier itself.

        Raises:
            ValueError: There are not two classes, too few rows of one, or a column holds times.
        """
        if y is None:
            msg = "LeadClassifier requires y to be passed, but the target y is None"
            raise ValueError(msg)
        frame = self._frame(X, reset=True)
        check_consistent_length(frame, y)
        target = column_or_1d(check_array(y, ensure_2d=False, dtype=None), warn=True)
        check_classification_targets(target)
        self.classes_, codes = np.unique(target, return_inverse=True)
        _two_classes(self.classes_, target)
        weights = None if sample_weight is None else _weights(sample_weight, target)
        moments = None if order is None else np.asarray(order, dtype=np.int64)
        self.fitted_: FittedPredictor = fit(frame, codes, order=moments, weights=weights, seed=self.seed)
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """(n,) calibrated log-odds of the second class."""
        predictor, frame = self._predictor_and_frame(X)
        return np.asarray(predictor.log_odds(predictor.encodings.encode(frame)), dtype=np.float64)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """(n, 2) calibrated probabilities of the classes, in the order of ``classes_``."""
        log_odds = self.decision_function(X)
        p = self.fitted_.predictor.probability(log_odds)
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """(n,) the likelier class. Few leads are likelier to convert than not: rank by ``predict_proba``."""
        likely = self.decision_function(X) > 0
        return np.asarray(self.classes_[likely.astype(np.intp)])

    def explain(self, X: Any) -> tuple[float, pl.DataFrame]:  # noqa: N803
        """The contributions of each column to the log-odds.

        Args:
            X: (n, columns) a frame or array.

        Returns:
            The base, and the contributions of each column, after them those of the combinations of columns
            that tell more together; base and contributions of a row add up to its
            ``decision_function``.
        """
        predictor, frame = self._predictor_and_frame(X)
        base, weights = predictor.contributions(predictor.encodings.encode(frame))
        return base, pl.DataFrame(weights, schema=list(predictor.feature_names))

    def as_learned(self, X: Any) -> pl.DataFrame:  # noqa: N803
        """``X`` as the learner takes it: numbers as Float64, categories as text, missing values as null."""
        return self._predictor_and_frame(X)[1]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags

    def _predictor_and_frame(self, X: Any) -> tuple[Any, pl.DataFrame]:  # noqa: N803
        check_is_fitted(self)
        return self.fitted_.predictor, self._frame(X, reset=False)

    def _frame(self, X: Any, *, reset: bool) -> pl.DataFrame:  # noqa: N803
        """``X`` as Float64 and String columns; their types are set by ``reset``, else those of training."""
        if isinstance(native := nw.from_native(X, eager_only=True, pass_through=True), nw.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True)
            frame = native.to_polars()
        else:
            rows = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
            frame = pl.DataFrame({f"x{place}": rows[:, place].tolist() for place in range(rows.shape[1])})
        if reset:
            self.columns_ = {name: _kind(column) for name, column in zip(frame.columns, frame, strict=True)}
        return frame.select(pl.col(name).cast(kind) for name, kind in self.columns_.items())


def _kind(column: pl.Series) -> type[pl.DataType]:
    if column.dtype.is_temporal():
        msg = f"column {column.name!r} holds times; give their order to fit(order=...), or leave it out"
        raise ValueError(msg)
    is_number = column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)
    return pl.Float64 if is_number else pl.String


def _weights(sample_weight: ArrayLike, target: NDArray[Any]) -> NDArray[np.float64]:
    weights = _check_sample_weight(sample_weight, target, dtype=np.float64)
    if not weights.any():
        msg = "sample_weight is zero in every row: there is nothing to learn from"
        raise ValueError(msg)
    return np.asarray(weights)


def _two_classes(classes: NDArray[Any], target: NDArray[Any]) -> None:
    if len(classes) > 2:  # noqa: PLR2004
        msg = (
            "Only binary classification is supported. The type of the target is "
            f"{type_of_target(target, input_name='y')}."
        )
        raise ValueError(msg)
    if len(classes) < 2:  # noqa: PLR2004
        msg = f"LeadClassifier needs two classes to learn from; all rows have 1 class, {classes[0]!r}"
        raise ValueError(msg)


# The name that the class was published under.
LeadModel = LeadClassifier
