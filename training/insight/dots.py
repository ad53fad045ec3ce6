"""Single leads' points for a feature, and how high its value is: what a beeswarm shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

MOST = 120


@dataclass(frozen=True, slots=True)
class Dot:
    """One lead: its points, and what share of leads have a lower value; None without a value, or an order."""

    points: float
    height: float | None


def dots(pairs: pl.DataFrame) -> tuple[Dot, ...]:
    """At most ``MOST`` of the (value, points) pairs, evenly through their order of points.

    So the dots lie as densely as the leads do, and the same leads give the same dots.
    """
    value = pl.col("value")
    known = value.count()
    ordered = pl.lit(None, pl.Float64)
    if pairs["value"].dtype != pl.String:
        ordered = pl.when(known > 1).then((value.rank("average") - 1) / (known - 1))
    high = pairs.select("points", height=ordered).sort("points", "height", nulls_last=True)
    places = np.unique(np.linspace(0, len(high) - 1, min(MOST, len(high))).round().astype(int))
    return tuple(
        Dot(round(points, 2), None if height is None else round(height, 3))
        for points, height in high[places].iter_rows()
    )
