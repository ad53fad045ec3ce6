"""leadloop's learner as a scikit-learn classifier, for pipelines, cross-validation and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from features.suggestions import suggest
from training.config.defaults import SEED
from training.data.training_rows import TrainingRows
from training.learner.fit import fit_learning_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray
    from sklearn.utils import Tags

    from training.learner.fit import FittedPredictor


# Rows that importances are averaged over; a mean of so many is known to some percent.
_IMPORTANCE_ROWS = 1000


# scikit-learn is not typed.
class LeadClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A calibrated binary classifier of mixed numbers and categories.

    ``X`` is a pandas or Polars frame, an Arrow table, or an array of shape (n, columns): numbers and flags
    are taken as numbers, all else as categories, and missing values stay missing. Nothing has to be scaled,
    imputed or encoded. Logistic regression, boosted trees and their stacking are compared on held-out rows,
    and the best is calibrated.

    Args:
        seed: Of folds and samples. Default: that of the command line, so that both give the same model.
        monotone: By number column, 1 where more may never lower a probability, -1 where it may never raise
            it. Default: no constraints.

    Attributes:
        classes_: (2,) the classes, sorted; the second one is predicted as converting.
        fitted_: The fitted predictor with the scores of its held-out rows.
        columns_: The columns of ``X`` with the types that they were learned as.

    >>> frame = pl.DataFrame({"visits": [0, 5] * 50, "source": ["ads", "talk"] * 50})
    >>> model = LeadClassifier().fit(frame, [0, 1] * 50)
    >>> model.predict(frame[:2]).tolist()
    [0, 1]
    """

    def __init__(self, *, seed: int = SEED, monotone: Mapping[str, int] | None = None) -> None:
        self.seed = seed
        self.monotone = monotone

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
            order: (n,) when each row is of: datetimes, dates, ISO texts, or numbers that grow with time; a
                pandas, Polars or Arrow column, an array or a list. The learner then selects and calibrates on
                later rows. Default: shuffled folds.

        Returns:
            The classifier itself.

        Raises:
            ValueError: There are not two classes, too few rows of one, a column holds times, ``order`` has
                gaps, or ``monotone`` names no number column.
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
        moments = None if order is None else _moments(order)
        if moments is not None:
            check_consistent_length(frame, moments)
        signs = self._signs()
        rows = TrainingRows(frame, codes, moments, weights, monotone=signs)
        self.fitted_: FittedPredictor = fit_learning_rows(rows, self.seed)
        self.sample_ = frame.gather_every(1 + frame.height // _IMPORTANCE_ROWS)
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

    def transform(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The contributions of ``explain`` as features for another step of a pipeline.

        Args:
            X: (n, columns) a frame or array.

        Returns:
            (n, ``get_feature_names_out``) contributions in log-odds; a frame after ``set_output``.
        """
        return self.explain(X)[1].to_numpy()

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """The names of the columns of ``transform``: those of ``X``, and combinations of columns after them.

        Args:
            input_features: Must be the columns that were learned from. Default: those.

        Returns:
            (contributions,) names.
        """
        check_is_fitted(self)
        learned = _check_feature_names_in(self, input_features)
        combinations = self.fitted_.predictor.feature_names[len(learned) :]
        return np.asarray([*learned, *combinations], dtype=object)

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """(columns,) the mean absolute contribution of each column of ``X``, in log-odds, on training rows.

        It is what shap's bar chart shows: how far a column moves a probability, either way, not how much is
        lost without it. A combination of columns counts in equal shares for each of them.
        """
        check_is_fitted(self)
        predictor = self.fitted_.predictor
        _, weights = predictor.contributions(predictor.encodings.encode(self.sample_))
        mean = dict(zip(predictor.feature_names, np.abs(weights).mean(axis=0), strict=True))
        parts = {each.name: each.parts for each in predictor.encodings.combinations}
        importance = dict.fromkeys(self.columns_, 0.0)
        for name, value in mean.items():
            for part in parts.get(name, (name,)):
                importance[part] += value / len(parts.get(name, (name,)))
        return np.array([importance[name] for name in self.columns_])

    def as_learned(self, X: Any) -> pl.DataFrame:  # noqa: N803
        """``X`` as the learner takes it: numbers as Float64, categories as text, missing values as null."""
        return self._predictor_and_frame(X)[1]

    def _signs(self) -> dict[str, int]:
        """``monotone`` with its columns checked."""
        signs = dict(self.monotone or {})
        for name, sign in signs.items():
            if self.columns_.get(name) is not pl.Float64:
                msg = (
                    f"monotone names {name!r}, which is no number column{suggest(name, list(self.columns_))}"
                )
                raise ValueError(msg)
            if sign not in {-1, 0, 1}:
                msg = f"monotone[{name!r}] is {sign!r}; use 1 for rising, -1 for falling"
                raise ValueError(msg)
        return signs

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
            frame = native.to_polars()
            # scikit-learn knows no Arrow tables.
            known = frame if native.implementation.is_pyarrow() else X
            validate_data(self, known, reset=reset, skip_check_array=True)
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


def _moments(order: Any) -> NDArray[np.int64]:
    """(n,) ``order`` as whole numbers: microseconds since 1970 of times, and numbers as they are."""
    native = nw.from_native(order, series_only=True, pass_through=True)
    column = native.to_polars() if isinstance(native, nw.Series) else pl.Series(_as_list(order))
    if column.dtype == pl.String:
        column = column.str.to_datetime(time_zone="UTC", strict=False)
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us")).cast(pl.Int64)
    if column.null_count() or not column.dtype.is_numeric() or column.is_nan().any():
        at = column.is_null().arg_max() if column.null_count() else 0
        msg = (
            f"order is not a time or number in row {at}; give datetimes, dates, ISO texts or numbers that "
            "grow with time, one a row"
        )
        raise ValueError(msg)
    # Numbers with fractions are times, too: only which is earlier counts.
    return column.rank("dense").to_numpy().astype(np.int64) if column.dtype.is_float() else column.to_numpy()


def _as_list(order: Any) -> list[Any]:
    """The values of a list, array or index, those of NumPy as Python's own."""
    values = np.asarray(order)
    return list(values.astype("datetime64[us]").tolist() if values.dtype.kind == "M" else values.tolist())


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
