"""Forecast, outcome and drift of groups and windows of scored leads."""

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
    from training.monitoring.scores_in_force import ScoresInForce

AT, MONTH = "at", "month"


def join_outcomes(scores: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """Join scores with outcomes by lead and, where outcomes have one, by ``as_of``."""
    return scores.join(outcomes, on=[key for key in ("lead_id", "as_of") if key in outcomes.columns])


def group_calibration(name: str, rows: pl.DataFrame) -> GroupCalibration:
    """Compare forecast and outcome of a group of scores; rows of a lead share one outcome.

    The standard error is the larger of the one under the forecast, with one outcome per lead, and the
    observed one: where hardly any lead converts the observed one is next to nothing.

    Args:
        name: The group.
        rows: ``lead_id``, ``probability`` and ``label``.

    Returns:
        The comparison; an empty one for no rows.
    """
    if rows.is_empty():
        return GroupCalibration(name, 0, 0.0, Interval(0.0, 0.0, 1.0), 1.0, 0.0, 0.0)
    y, p = rows["label"].to_numpy(), rows["probability"].to_numpy()
    outcome, forecast = pl.col("label"), pl.col("probability")
    leads = rows.group_by("lead_id", maintain_order=True).agg(
        residual=(outcome - forecast).sum(),
        variance=forecast.sum() * (1 - forecast).sum(),
        outcome=outcome.mean(),
        forecast=forecast.mean(),
    )
    spread = max(float(leads["variance"].sum()), float((leads["residual"] ** 2).sum()))
    excess = float(y.sum() - p.sum())
    ratio = float(y.sum() / p.sum()) if p.sum() else 1.0
    beyond = excess / np.sqrt(spread) if spread else 0.0
    observed = clustered_rate(y.astype(np.float64), lead_codes(rows["lead_id"]))
    enough = max(float(leads["outcome"].sum()), float(leads["forecast"].sum()))
    return GroupCalibration(name, len(y), float(p.mean()), observed, ratio, float(beyond), enough)


def column_drift(name: str, drift: Drift) -> ColumnDrift:
    """A drift under the name of its column."""
    return ColumnDrift(name, drift.psi, drift.chance)


def split_recent(rows: pl.DataFrame, days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows before the last ``days`` and those within, counted from the newest; undated ones are before."""
    edge = (rows[AT].max() or 0) - days * DAY  # type: ignore[operator]  # epoch seconds
    late = (pl.col(AT) > edge).fill_null(value=False)
    return rows.filter(~late), rows.filter(late)


def by_month(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The rows of each month, the earliest first, without undated rows."""
    if MONTH not in rows.columns:
        return []
    names = rows[MONTH].unique().drop_nulls().sort().to_list()
    return [(str(name), rows.filter(pl.col(MONTH) == name)) for name in names]


def compute_windows(
    reference: ReferenceDistribution | None,
    parts: Sequence[tuple[str, pl.DataFrame]],
    known: pl.DataFrame,
    in_force: ScoresInForce | None = None,
) -> Iterator[Window]:
    """Drift and calibration of scores by windows.

    Args:
        reference: The distribution that scores are compared with, if known.
        parts: The name and the scores of each window, the earliest first.
        known: The scores with an outcome, of all windows.
        in_force: All scores, of which those in force at the end of each window are compared. Default: the
            scores of the window.

    Yields:
        One ``Window`` per part, compared with the reference and with the window before.
    """
    before: ReferenceDistribution | None = None
    keys = [key for key in ("lead_id", AT, "as_of") if key in known.columns]
    for name, rows in parts:
        newest = 0 if in_force is None or rows.is_empty() else int(rows[AT].max())  # type: ignore[arg-type]
        compared = rows if in_force is None or rows.is_empty() else in_force.at(newest)
        scores, worth = compared[SCORE], effective_sample_size(compared["lead_id"])
        outcomes = known.join(rows.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
        yield Window(
            name,
            rows.height,
            drift=None if reference is None else column_drift(SCORE, reference.drift(scores, worth)),
            since=None if before is None else column_drift(SCORE, before.drift(scores, worth)),
            outcome=None if outcomes.is_empty() else group_calibration(name, outcomes),
        )
        before = ReferenceDistribution.of(scores, worth) if rows.height else before
