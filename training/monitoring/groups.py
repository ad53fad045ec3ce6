"""What came of groups of scored leads, beside what was forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY
from features.cohort import numbered
from models.card import SCORE
from models.metrics import Interval
from models.profile import Profile
from models.witnesses import witnesses
from training.insight.rates import shared_rate
from training.monitoring.monitored import Drifted, Group, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from models.profile import Drift

AT, MONTH = "at", "month"


def joined(scores: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """The scores with an outcome, and it; one with an ``as_of`` is of the score of that moment alone."""
    return scores.join(outcomes, on=[key for key in ("lead_id", "as_of") if key in outcomes.columns])


def group(name: str, rows: pl.DataFrame) -> Group:
    """What came of some rows; a lead that was scored twice has one outcome, and counts as one witness.

    Chance does to them what it does if each lead has one outcome for all its rows, or what is seen to be
    more: where next to none converted, what is seen is next to nothing.
    """
    if rows.is_empty():
        return Group(name, 0, 0.0, Interval(0.0, 0.0, 1.0), 1.0, 0.0, 0.0)
    y, p = rows["label"].to_numpy(), rows["probability"].to_numpy()
    came, said = pl.col("label"), pl.col("probability")
    leads = rows.group_by("lead_id", maintain_order=True).agg(
        off=(came - said).sum(), alike=said.sum() * (1 - said).sum(), came=came.mean(), said=said.mean()
    )
    spread = max(float(leads["alike"].sum()), float((leads["off"] ** 2).sum()))
    excess = float(y.sum() - p.sum())
    ratio = float(y.sum() / p.sum()) if p.sum() else 1.0
    beyond = excess / np.sqrt(spread) if spread else 0.0
    observed = shared_rate(y.astype(np.float64), numbered(rows["lead_id"]))
    enough = max(float(leads["came"].sum()), float(leads["said"].sum()))
    return Group(name, len(y), float(p.mean()), observed, ratio, float(beyond), enough)


def drifted(name: str, drift: Drift) -> Drifted:
    """A drift under the name of its column."""
    return Drifted(name, drift.psi, drift.chance)


def recent(rows: pl.DataFrame, days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows before the last ``days``, and those of them, counted back from the newest; undated are old."""
    edge = (rows[AT].max() or 0) - days * DAY  # type: ignore[operator]  # epoch seconds
    late = (pl.col(AT) > edge).fill_null(value=False)
    return rows.filter(~late), rows.filter(late)


def months(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The rows of each month, the oldest first; undated ones belong to none."""
    if MONTH not in rows.columns:
        return []
    names = rows[MONTH].unique().drop_nulls().sort().to_list()
    return [(str(name), rows.filter(pl.col(MONTH) == name)) for name in names]


def windows(
    judged: Profile | None, parts: Sequence[tuple[str, pl.DataFrame]], known: pl.DataFrame
) -> Iterator[Window]:
    """Drift and calibration of scores by windows, each beside how scores were ``judged`` and the one before.

    ``known`` are the scored rows with an outcome, of all windows.
    """
    before: Profile | None = None
    keys = [key for key in ("lead_id", AT, "as_of") if key in known.columns]
    for name, rows in parts:
        scores, worth = rows[SCORE], witnesses(rows["lead_id"])
        came = known.join(rows.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
        yield Window(
            name,
            rows.height,
            drift=None if judged is None else drifted(SCORE, judged.drift(scores, worth)),
            since=None if before is None else drifted(SCORE, before.drift(scores, worth)),
            outcome=None if came.is_empty() else group(name, came),
        )
        before = Profile.of(scores, worth) if rows.height else before
