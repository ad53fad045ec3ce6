"""A company's points table: read from TOML, and put beside the rows that a model was trained on::

[thresholds]
mql = 30
sql = 60

[[touchpoints]]
kind = "email_open"
points = 3
cap = 15              # however many, together no more than this
lifespan = "90d"      # fades to nothing in this time

[[attributes]]
column = "job_role"
value = "marketing manager"
points = 5
"""  # noqa: D415  # an example ends it

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.clock import parse_duration
from features.cohort import Snapshots
from features.history import LeadHistory
from models.points_table import PointsTable, Seconds, score_points
from training.config.toml_reader import read_file, register_converter
from training.data.dataset import FLAT_AS_OF

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from training.data.dataset import Dataset

register_converter(Seconds)(parse_duration)


def load_points_table(path: Path) -> PointsTable:
    """Read a points table from a TOML file.

    Args:
        path: The file.

    Returns:
        The points table.

    Raises:
        ConfigError: there is no such file, it is no TOML, or it says something that cannot be; the message
            names the line and what would be right.
    """
    return read_file(PointsTable, path, "an example stands in training/points/table_file.py")


def current_points(table: PointsTable, dataset: Dataset) -> NDArray[np.float64]:
    """(n,) what the table gives the rows of ``dataset``."""
    rows = Snapshots(dataset.rows.select("lead_id", "as_of"))
    return score_points(table, dataset_history(dataset), rows)["points"].to_numpy()


def dataset_history(dataset: Dataset) -> LeadHistory:
    """The history that ``dataset`` was computed from; the rows of a flat export are one without events."""
    if dataset.history is not None:
        return dataset.history
    columns = dataset.rows.drop("as_of").with_columns(created_at=pl.lit(0, pl.Int64))
    return LeadHistory.from_leads(columns, FLAT_AS_OF)
