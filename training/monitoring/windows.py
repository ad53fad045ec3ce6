"""What came of groups of scored leads, beside what was forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY
from features.cohort import lead_codes
from models.drift import ReferenceDistribution
from models.metrics import Interval
from models.model_card import SCORE
from training.monitoring.results import ColumnDrift, GroupCalibration, Window
from training.stats.intervals import clustered_rate, effective_sample_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from models.drift import Drift

AT, MONTH = "at", "month"


def join_outcomes(scores: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """The scores with an outcome, and it; one with an ``as_of`` is of the score of that moment alone."""
    return scores.join(outcomes, on=[key for key in ("lead_id", "as_of") if key in outcomes.columns])


def group_calibration(name: str, rows: pl.DataFrame) -> GroupCalibration:
    """What came of some rows; a lead that was scored twice has one outcome, and counts as one witness.

    Chance does to them what it does if each lead has one outcome for all its rows, or what is seen to be
    more: where next to none converted, what is seen is next to nothing.
    """
    if rows.is_empty():
        return GroupCalibration(name, 0, 0.0, Interval(0.0, 0.0, 1.0), 1.0, 0.0, 0.0)
    y, p = rows["label"].to_numpy(), rows["probability"].to_numpy()
    came, said = pl.col("label"), pl.col("probability")
    leads = rows.group_by("lead_id", maintain_order=True).agg(
        off=(came - said).sum(), alike=said.sum() * (1 - said).sum(), came=came.mean(), said=said.mean()
    )
    spread = max(float(leads["alike"].sum()), float((leads["off"] ** 2).sum()))
    excess = float(y.sum() - p.sum())
    ratio = float(y.sum() / p.sum()) if p.sum() else 1.0
    beyond = excess / np.sqrt(spread) if spread else 0.0
    observed = clustered_rate(y.astype(np.float64), lead_codes(rows["lead_id"]))
    enough = max(float(leads["came"].sum()), float(leads["said"].sum()))
    return GroupCalibration(name, len(y), float(p.mean()), observed, ratio, float(beyond), enough)


def column_drift(name: str, drift: Drift) -> ColumnDrift:
    """A drift under the name of its column."""
    return ColumnDrift(name, drift.psi, drift.chance)


def split_recent(rows: pl.DataFrame, days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows before the last ``days``, and those of them, counted back from the newest; undated are old."""
    edge = (rows[AT].max() or 0) - days * DAY  # type: ignore[operator]  # epoch seconds
    late = (pl.col(AT) > edge).fill_null(value=False)
    return rows.filter(~late), rows.filter(late)


def by_month(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The rows of each month, the oldest first; undated ones belong to none."""
    if MONTH not in rows.columns:
        return []
    names = rows[MONTH].unique().drop_nulls().sort().to_list()
    return [(str(name), rows.filter(pl.col(MONTH) == name)) for name in names]


def compute_windows(
    judged: ReferenceDistribution | None, parts: Sequence[tuple[str, pl.DataFrame]], known: pl.DataFrame
) -> Iterator[Window]:
    """Drift and calibration of scores by windows, each beside how scores were ``judged`` and the one before.

    ``known`` are the scored rows with an outcome, of all windows.
    """
    before: ReferenceDistribution | None = None
    keys = [key for key in ("lead_id", AT, "as_of") if key in known.columns]
    for name, rows in parts:
        scores, worth = rows[SCORE], effective_sample_size(rows["lead_id"])
        came = known.join(rows.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
        yield Window(
            name,
            rows.height,
            drift=None if judged is None else column_drift(SCORE, judged.drift(scores, worth)),
            since=None if before is None else column_drift(SCORE, before.drift(scores, worth)),
            outcome=None if came.is_empty() else group_calibration(name, came),
        )
        before = ReferenceDistribution.of(scores, worth) if rows.height else before
