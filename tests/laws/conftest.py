"""Engines that the laws hold for, and the features they are tried on."""

from __future__ import annotations

from itertools import count

import duckdb
import polars as pl
import pytest

from features import batch
from features.cohort import Snapshots


def in_polars(features, history, snapshots):
    return batch.compute_features(features, history, snapshots).collect().sort("lead_id", "as_of")


def in_pandas(features, history, snapshots):
    frames = history.map_frames(lambda frame: frame.to_pandas())
    rows = batch.compute_features(features, frames, Snapshots(snapshots.frame.to_pandas()))
    return _as_polars(pl.from_pandas(rows), features)


def in_duckdb(features, history, snapshots):
    with duckdb.connect() as connection:
        names = count()

        def table(frame):
            name = f"t{next(names)}"
            connection.register(name, frame.to_arrow())
            return connection.table(name)

        rows = batch.compute_features(
            features, history.map_frames(table), Snapshots(table(snapshots.frame))
        ).pl()
    return _as_polars(rows, features)


def _as_polars(rows, features):
    schema = {"lead_id": pl.String, "as_of": pl.Int64} | {
        spec.name: pl.String if spec.is_category else pl.Float64 for spec in features.specs
    }
    floats = pl.selectors.float().fill_nan(None)
    return rows.cast(schema).with_columns(floats).sort("lead_id", "as_of")


ENGINES = {"polars": in_polars, "pandas": in_pandas, "duckdb": in_duckdb}


@pytest.fixture(params=ENGINES, scope="session")
def compute(request):
    """Feature rows by each engine in turn, sorted."""
    return ENGINES[request.param]
