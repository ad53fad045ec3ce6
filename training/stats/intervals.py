"""Intervals of rates whose rows are not independent: effective sample size, design effect, Wilson, Poisson.

The snapshots of one lead share its outcome, so a lead that was scored ten times is one observation and not
ten. All intervals are 95 % intervals.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import gammaincinv, stdtrit

from models.metrics import Z_95, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    Durations = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]


def effective_sample_size(lead_id: pl.Series) -> float:
    """How many independent observations rows of repeated leads are worth (Kish 1965).

    With ``m_i`` rows of lead i it is ``(sum m_i)^2 / sum m_i^2``: the number of leads where each has one row.

    Args:
        lead_id: (n,) the lead of each row.

    Returns:
        A number between 1 and the number of leads; 0 where there are no rows.

    >>> effective_sample_size(pl.Series(["a", "b", "b"]))
    1.8
    """
    rows = lead_id.value_counts(name="looks")["looks"].to_numpy().astype(np.float64)
    return float(rows.sum() ** 2 / (rows @ rows)) if len(rows) else 0.0


def design_effect(
    deviations: NDArray[np.float64], unit: NDArray[np.integer], alone: float | None = None
) -> float:
    """How many times the variance of a sum grows as rows come in clusters (Kish 1965; Rao and Scott 1984).

    It is 1 where each cluster has one row, and near the cluster size where all rows of a cluster deviate
    alike.

    Args:
        deviations: (n,) deviations of the rows from their expectation.
        unit: (n,) the cluster of each row, numbered from 0.
        alone: The variance of the sum if rows were independent. Default: the sum of squared deviations.

    Returns:
        The design effect, at least 1.

    >>> once = np.array([0.5, -0.5, 0.25])
    >>> design_effect(once, np.arange(3)), design_effect(np.repeat(once, 4), np.repeat(np.arange(3), 4))
    (1.0, 4.0)
    """
    together = np.bincount(unit, weights=deviations)
    apart = float(deviations @ deviations) if alone is None else alone
    return max(1.0, float(together @ together) / apart) if apart else 1.0


def wilson_interval(hits: float, rows: float) -> Interval:
    """A rate with Wilson's score interval (Wilson 1927), which stays within [0, 1] and holds for few rows.

    Args:
        hits: Positives among the rows; may be fractional where rows are weighted.
        rows: The number of rows, or what they are worth; above 0.

    Returns:
        ``hits / rows`` with its 95 % interval.

    >>> wilson_interval(0, 10).high > 0.2
    True
    """
    rate, spread = hits / rows, Z_95 * Z_95 / rows
    centre = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def intracluster_correlation(deviations: NDArray[np.float64], unit: NDArray[np.integer]) -> float:
    """How alike the rows of a cluster are, from 0 to 1 (Kish 1965).

    It is what makes a design effect of ``1 + (m - 1) * correlation``, with ``m`` the mean size of a row's
    cluster.

    Args:
        deviations: (n,) deviations of the rows from their expectation.
        unit: (n,) the cluster of each row.

    Returns:
        The correlation; 0 where each cluster has one row.

    >>> round(intracluster_correlation(np.tile([0.5, 0.5, -0.5, -0.5], 9), np.repeat(np.arange(18), 2)), 3)
    1.0
    """
    place = np.unique(unit, return_inverse=True)[1]
    size = _mean_cluster_size(place)
    return min(1.0, (design_effect(deviations, place) - 1) / (size - 1)) if size > 1 else 0.0


def _mean_cluster_size(place: NDArray[np.integer]) -> float:
    """The size of the cluster of a random row."""
    rows = np.bincount(place).astype(np.float64)
    return float(rows @ rows / rows.sum())


def clustered_rate(
    y: NDArray[np.float64],
    unit: NDArray[np.integer],
    weight: NDArray[np.float64] | None = None,
    correlation: float | None = None,
) -> Interval:
    """A rate with an interval in which the rows of one cluster count as one observation.

    It is Wilson's interval of ``rows / design_effect`` rows (Rao and Scott 1992). Where all outcomes are
    alike nothing varies; then each cluster counts as one row, whatever its size.

    Args:
        y: (n,) outcomes, 0 or 1.
        unit: (n,) the cluster of each row, for example its lead.
        weight: (n,) weights of the rows. Default: 1 each.
        correlation: The ``intracluster_correlation`` of more rows than these, which gives the design effect
            of a small group, without weights, less noise than its own outcomes do. Default: by its own.

    Returns:
        The weighted rate with its 95 % interval.

    >>> once, thrice = np.array([1.0, 0, 0, 0]), np.repeat([1.0, 0, 0, 0], 3)
    >>> clustered_rate(thrice, np.repeat(np.arange(4), 3)) == wilson_interval(1, 4)
    True
    """
    w = np.ones(len(y)) if weight is None else weight
    rows, rate = float(w.sum()), float(np.average(y, weights=w))
    place, alone = np.unique(unit, return_inverse=True)[1], rows * rate * (1 - rate)
    # Of outcomes that are all alike the limit: units that each say one thing.
    effect = (
        design_effect(w * (y - rate) if alone else w, place, alone or rows)
        if correlation is None
        else 1 + (_mean_cluster_size(place) - 1) * correlation
    )
    return wilson_interval(rate * rows / effect, rows / effect)


def scale_to_effective_size(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights scaled so that they add up to their effective sample size (Kish 1965).

    A penalty or a prior is compared with the sum of weights: scaled so, it keeps its strength.

    Args:
        weights: (n,) weights, not all 0.

    Returns:
        (n,) the weights times ``sum w / sum w^2``.

    >>> scale_to_effective_size(np.array([1.0, 1.0, 4.0])).tolist()
    [0.3333333333333333, 0.3333333333333333, 1.3333333333333333]
    """
    return np.asarray(weights * (weights.sum() / (weights @ weights)), dtype=np.float64)


def poisson_rate_interval(hits: int, weeks: float) -> Interval:
    """A rate of events over time with the exact interval of a Poisson count (Garwood 1936).

    Args:
        hits: The number of events.
        weeks: The time of observation in weeks; above 0.

    Returns:
        Events per week with their 95 % interval.

    >>> rate = poisson_rate_interval(10, 1.0)
    >>> low, high = round(rate.low, 3), round(rate.high, 3)
    >>> low, high
    (4.795, 18.39)
    """
    low = float(gammaincinv(hits, 0.025)) if hits else 0.0
    return Interval(hits / weeks, low / weeks, float(gammaincinv(hits + 1, 0.975)) / weeks)


def jackknife_half_width(figures: Sequence[Floats], share: float) -> Floats:
    """The half-width of the 95 % interval of figures over refits (delete-a-group jackknife: Kott 2001).

    Args:
        figures: The figures by each model that leaves out one group of leads.
        share: The share of all leads that these models were trained on samples of, which vary by 1/share as
            much as all of them would.

    Returns:
        Half-widths in the shape of one of ``figures``.
    """
    groups = len(figures)
    variance = (groups - 1) * np.var(np.stack(figures), axis=0) * share
    return np.asarray(stdtrit(groups - 1, 0.975) * np.sqrt(variance))
