"""Lets MLflow serve a leadloop model: rows of ready-made features in, scores out.

MLflow imports this module by name, so the logged model is its plain folder and nothing is pickled. It is a
convenience for who already runs MLflow; ``leadloop serve`` is faster, and computes the features as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw
import polars as pl

from models import artifact

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame

    from features.spec import FeatureSpec
    from models.conversion import ConversionModel


@dataclass(frozen=True)
class ScoringModel:
    """A conversion model behind MLflow's ``predict(DataFrame)``."""

    model: ConversionModel

    def predict(self, rows: IntoDataFrame, params: dict[str, Any] | None = None) -> Any:
        """``log_odds``, ``probability``, ``points`` and ``grade`` of each row, in order, for pandas.

        ``rows`` has one column a feature, named as in the model's features; NaN and None are missing values.
        Other columns are ignored. Raises ValueError when a feature's column is not there.
        """
        _refuse(params)
        frame = nw.from_native(rows, eager_only=True)
        missing = [name for name in self.model.features.names if name not in frame.columns]
        if missing:
            msg = f"no column {missing[0]!r} ({len(missing)} in all); the model needs one a feature"
            raise ValueError(msg)
        matrix = pl.DataFrame([_column(spec, frame[spec.name]) for spec in self.model.features.specs])
        scores = self.model.score_frame(matrix.with_columns(lead_id=pl.lit(""), as_of=pl.lit(0, pl.Int64)))
        return scores.drop("lead_id", "as_of").to_pandas()


def _column(spec: FeatureSpec, values: nw.Series[Any]) -> pl.Series:
    cast = str if spec.is_category else float
    cells = zip(values.to_list(), values.is_null().to_list(), strict=True)
    dtype = pl.String if spec.is_category else pl.Float64
    column = pl.Series(spec.name, [None if null else cast(value) for value, null in cells], dtype)
    return column if spec.is_category else column.fill_nan(None)


def _refuse(params: dict[str, Any] | None) -> None:
    if params:
        msg = f"unknown parameters {sorted(params)}; the model takes none"
        raise ValueError(msg)


def _load_pyfunc(path: str) -> ScoringModel:
    """What MLflow calls with the local copy of the model's folder."""
    return ScoringModel(artifact.load(Path(path)))
