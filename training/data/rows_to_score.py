"""The rows that a model would score: those of a file, or the open leads of a history."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from features.cohort import Snapshots, open_lead_snapshots
from features.ingest.flat_export import FlatColumns, iter_flat_batches
from features.ingest.mapping import FlatMapping
from training.config.toml_reader import ConfigError
from training.data.dataset import compute_feature_rows, flat_rows

if TYPE_CHECKING:
    from pathlib import Path

    from training.config.settings import Config
    from training.data.dataset import Dataset

MOST_LEADS = 20_000


def rows_to_score(dataset: Dataset, config: Config, file: Path | None) -> pl.DataFrame | None:
    """The feature rows to score, at most 20,000 at random; None for a flat export without a ``file``.

    Raises ConfigError where a file is named beside a history: its open leads are the rows to score.
    """
    if dataset.history is None:
        return None if file is None else _of_file(dataset, file)
    if file is not None:
        msg = "--score needs a flat export; leave it out, the open leads of a history are compared anyway"
        raise ConfigError(msg)
    open_leads = open_lead_snapshots(dataset.history, config.cohort_rule).frame
    sample = open_leads.sample(min(MOST_LEADS, open_leads.height), seed=0)
    return (
        compute_feature_rows(dataset.features, dataset.history, Snapshots(sample)) if sample.height else None
    )


def _of_file(dataset: Dataset, file: Path) -> pl.DataFrame:
    flat = dataset.flat or FlatMapping()
    columns = FlatColumns.from_features(dataset.features, flat.id, dataset.missing, dataset.marks)
    columns = replace(columns, encoding=flat.encoding)
    rows = pl.concat(flat_rows(dataset.features, batch.leads) for batch in iter_flat_batches(file, columns))
    return rows.sample(min(MOST_LEADS, rows.height), seed=0)
