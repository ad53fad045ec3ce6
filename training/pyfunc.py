"""Lets MLflow serve a leadloop model: rows of a CRM's export or ready-made features in, scores out.

MLflow imports this module by name, so the logged model is its plain folder and nothing is pickled. It is a
convenience for who already runs MLflow; ``leadloop serve`` is faster, and gives reasons.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import narwhals as nw
import polars as pl

from features.cohort import Snapshots
from features.ingest.flat_export import FlatColumns, iter_flat_batches
from features.messages import join_items
from features.parsing import MISSING
from features.suggestions import suggest
from models import artifact
from training.data.dataset import compute_feature_rows, flat_rows
from training.data.nested_rows import ACCOUNT, AS_OF, CREATED, LEAD, NESTED, nested_columns, read_nested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from narwhals.typing import IntoDataFrame

    from features.spec import FeatureSpec
    from models.conversion import ConversionModel

# What ``predict`` returns, in this order, as MLflow's signature names the types. Who asks Spark for a single
# number gets the first.
OUTPUTS = {"probability": "double", "log_odds": "double", "points": "long", "grade": "string"}
MORE = (LEAD, CREATED, AS_OF, ACCOUNT, *NESTED)
_TYPES = {"double": pl.Float64, "long": pl.Int64, "string": pl.String}


@dataclass(frozen=True)
class ScoringModel:
    """A conversion model behind MLflow's ``predict(DataFrame)``."""

    model: ConversionModel

    def predict(self, rows: IntoDataFrame, params: dict[str, Any] | None = None) -> Any:
        """Score rows.

        Args:
            rows: One column a feature, named and typed as in the model's features; or, for a model of a flat
                export, the columns of that export as the CRM writes them; or, for a model of a history, a row
                a lead with its events as lists of records, see ``training.data.nested_rows``. NaN and None
                are missing values. Other columns are ignored.
            params: Must be empty.

        Returns:
            A pandas frame with ``OUTPUTS``, a row for each of ``rows`` in their order.

        Raises:
            ValueError: Columns are missing; the message names the first and what it may be called.
        """
        _refuse(params)
        frame = nw.from_native(rows, eager_only=True)
        missing = [spec.name for spec in self.model.features.specs if not _is_ready(frame, spec)]
        if not missing:
            specs = self.model.features.specs
            return self._score(pl.DataFrame([_column(spec, frame[spec.name]) for spec in specs])).to_pandas()
        columns = FlatColumns.from_features(
            self.model.features, None, self.model.card.missing or MISSING, self.model.card.marks
        )
        if self.model.card.flat and set(columns.needed) <= set(frame.columns):
            return self._score_export(frame, columns).to_pandas()
        if not self.model.card.flat and CREATED in frame.columns:
            return self._score_nested(frame).to_pandas()
        raise ValueError(_missing_message(missing, columns.needed, frame.columns, self.model))

    def _score_nested(self, frame: nw.DataFrame[Any]) -> pl.DataFrame:
        """The scores of leads whose events lie nested in their rows."""
        features = self.model.features
        names = [name for name in frame.columns if name in {*MORE, *nested_columns(features)}]
        table = pl.DataFrame([_cells(name, frame[name]) for name in names], strict=False)
        history, snapshots = read_nested(features, table, int(time.time()))
        rows = compute_feature_rows(features, history, Snapshots(snapshots))
        scores = self.model.score_frame(rows).select("lead_id", *OUTPUTS)
        return snapshots.join(scores, on="lead_id", how="left", maintain_order="left").select(*OUTPUTS)

    def _score(self, matrix: pl.DataFrame) -> pl.DataFrame:
        scores = self.model.score_frame(matrix.with_columns(lead_id=pl.lit(""), as_of=pl.lit(0, pl.Int64)))
        return scores.select(*OUTPUTS)

    def _score_export(self, frame: nw.DataFrame[Any], columns: FlatColumns) -> pl.DataFrame:
        """The scores of rows as a CRM exports them, read by the very code that reads files."""
        table = pl.DataFrame([_cells(name, frame[name]) for name in columns.needed])
        with TemporaryDirectory() as folder:
            file = Path(folder) / "leads.parquet"
            table.with_row_index("__row").with_columns(pl.col("__row").cast(pl.String)).write_parquet(file)
            batches = list(iter_flat_batches(file, replace(columns, id="__row")))
        scored = [
            self._score(flat_rows(self.model.features, batch.leads)).with_columns(batch.leads["lead_id"])
            for batch in batches
            if batch.leads.height
        ]
        empty = pl.DataFrame(schema={name: _TYPES[kind] for name, kind in OUTPUTS.items()})
        known = pl.concat(scored) if scored else empty.with_columns(lead_id=pl.lit(""))
        order = pl.DataFrame({"lead_id": [str(place) for place in range(table.height)]})
        return order.join(known, on="lead_id", how="left", maintain_order="left").select(*OUTPUTS)


def _is_ready(frame: nw.DataFrame[Any], spec: FeatureSpec) -> bool:
    """Whether the frame has a feature's column in the feature's type; a column of nothing is of any type."""
    if spec.name not in frame.columns:
        return False
    if spec.is_category:
        return True
    values = frame[spec.name]
    return values.dtype.is_numeric() or values.dtype == nw.Boolean or bool(values.is_null().all())


def _missing_message(
    features: Sequence[str], export: Sequence[str], present: Sequence[str], model: ConversionModel
) -> str:
    flat = model.card.flat
    absent = [name for name in export if name not in present] if flat else []
    if not flat:
        return (
            f"no column {features[0]!r} with the feature of that name ({len(features)} in all are missing"
            f"{suggest(features[0], present)}), and no {CREATED!r}; a model of a history takes a column for "
            f"each feature, or a row a lead with {CREATED}, {', '.join(nested_columns(model.features))}, "
            f"where {join_items('and', NESTED)} are lists of records"
        )
    if not absent:
        return (
            f"no column {features[0]!r} with the feature of that name ({len(features)} in all are missing); "
            f"the model needs one column a feature{suggest(features[0], present)}"
        )
    return (
        f"no column {absent[0]!r} ({len(absent)} in all are missing: {', '.join(absent[:5])}); the model "
        f"needs the columns of the export that it learned from, or one a feature"
        f"{suggest(absent[0], present)}"
    )


def _column(spec: FeatureSpec, values: nw.Series[Any]) -> pl.Series:
    cast = str if spec.is_category else float
    cells = zip(values.to_list(), values.is_null().to_list(), strict=True)
    dtype = pl.String if spec.is_category else pl.Float64
    column = pl.Series(spec.name, [None if null else cast(value) for value, null in cells], dtype)
    return column if spec.is_category else column.fill_nan(None)


def _cells(name: str, values: nw.Series[Any]) -> pl.Series:
    """A column as a file would hold it; one of mixed types as text."""
    cells = [
        None if null else value
        for value, null in zip(values.to_list(), values.is_null().to_list(), strict=True)
    ]
    if len({type(cell) for cell in cells if cell is not None}) > 1:
        cells = [None if cell is None else str(cell) for cell in cells]
    return pl.Series(name, cells)


def _refuse(params: dict[str, Any] | None) -> None:
    if params:
        msg = f"unknown parameters {sorted(params)}; the model takes none"
        raise ValueError(msg)


@dataclass(frozen=True)
class _LoadedModel:
    """A scoring model as MLflow calls it: what is wrong with the rows is an error of MLflow's own.

    Its server hides the message of every other exception behind "unexpected error" and a stack trace.
    """

    scoring: ScoringModel

    def predict(self, rows: IntoDataFrame, params: dict[str, Any] | None = None) -> Any:
        from mlflow import MlflowException  # noqa: PLC0415  # only MLflow calls this, so it is here already

        try:
            return self.scoring.predict(rows, params)
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def _load_pyfunc(path: str) -> _LoadedModel:
    """What MLflow calls with the local copy of the model's folder."""
    return _LoadedModel(ScoringModel(artifact.load(Path(path))))
