"""The check of whole rows, LC014: leads that appear twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.messages import Message
from training.leakage.column_checks import CERTAIN, NotApplicableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.dataset import Dataset
    from training.leakage.column_checks import FindingRows

FEWEST_COLUMNS, REPEATED = 5, 0.02


def duplicate_leads(dataset: Dataset) -> FindingRows:
    """Leads that are equal in every column, where hardly two are equal in all columns but one.

    In few coarse columns leads are alike by chance, and then many more differ in a single one: where a twin
    is expected, near misses are expected for each column that has another value to take. A twin without any
    near miss is a copy, if there are more of these than of leads with a near miss and no twin.
    """
    leads = dataset.rows.unique("lead_id", keep="first", maintain_order=True)
    names = [spec.name for spec in dataset.features.specs if spec.reduce == "value"]
    names = [name for name in names if leads[name].n_unique() > 1]
    if len(names) < FEWEST_COLUMNS:
        raise NotApplicableError(Message("not_applicable.alike_by_chance", count=len(names)))
    twins, misses = count_duplicates(leads.select(names))
    copies, chances = int(((twins > 0) & (misses == 0)).sum()), int(((twins == 0) & (misses > 0)).sum())
    if copies >= max(CERTAIN, REPEATED * leads.height) and copies > chances:
        counts = {"copies": copies, "leads": leads.height, "count": len(names), "chances": chances}
        yield "medium", "", Message("findings.repeated", **counts)


def count_duplicates(rows: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count exact duplicates and near misses of each row.

    Args:
        rows: (n, columns) values.

    Returns:
        (n,) how many other rows are equal in every column, and (n,) how many in every column but one.

    Rows are compared by sums of a hash of each cell, from which a column can be taken out again.
    """
    cells = [rows[name].hash(seed=place).to_numpy() for place, name in enumerate(rows.columns)]
    whole = np.add.reduce(cells)
    alike = _shared(whole)
    misses = sum((_shared(whole - cell) - alike for cell in cells), np.zeros(len(whole), np.int64))
    return alike - 1, misses


def _shared(key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(n,) how many rows have the key of each."""
    return pl.DataFrame({"key": key}).select(pl.len().over("key")).to_series().cast(pl.Int64).to_numpy()
