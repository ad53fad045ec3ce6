"""Metrics of candidates on the same test rows, with block bootstrap intervals.

Leads of one week share campaigns, and the snapshots of one lead are nearly alike, so whole blocks are
resampled: each gets a Poisson(1) weight, the same for all its rows (Chamandy et al. 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.clock import to_datetime
from models import metrics
from models.metrics import (
    Interval,
    Ranking,
    log_loss_terms,
    mean_interval,
    poisson_weight_matrix,
    quantile_interval,
)
from training.backtesting.candidates import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    from training.stats.plugin_metrics import PluginMetric

    Measures = Callable[[Floats, Floats, Floats | None], dict[str, float]]

SHARES = (0.1, 0.2, 0.3)
RESAMPLES = 200
# The names in a candidate's record that metric_function does not compute; no plug-in may take one.
_OTHER_NAMES = (
    "log_loss",
    "calibration_slope",
    "calibration_intercept",
    "against_default",
    "gains",
    "months",
)
_GAINS_SHARES = tuple(step / 20 for step in range(1, 21))


@dataclass(frozen=True, eq=False)
class TestRows:
    """The rows that candidates are evaluated on.

    Attributes:
        y: (n,) outcomes, 0 or 1.
        block: (n,) number of the block that is resampled as a whole, from 0.
        block_name: What a block is: "week", "day", "lead" or "row".
        moments: (n,) epoch seconds, None where rows have no dates.
    """

    y: Floats
    block: NDArray[np.intp]
    block_name: str
    moments: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Month:
    """The rows of a calendar month (``YYYY-MM``, UTC), with observed and expected conversions."""

    month: str
    rows: int
    observed: int
    expected: float


@dataclass(frozen=True)
class CandidateMetrics:
    """The metrics of one candidate on one set of test rows.

    Attributes:
        figures: Each metric by name, with its 95 % interval.
        against_default: Mean log-loss minus that of the default learner on the same rows, paired.
        gains: (share of leads called, share of conversions captured), for 5 %, 10 %, ... 100 %.
        months: Observed and expected conversions by month; empty without dates.
    """

    figures: Mapping[str, Interval]
    against_default: Interval
    gains: tuple[tuple[float, float], ...]
    months: tuple[Month, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON, every metric by its name."""
        return {
            **{name: interval_to_json(figure) for name, figure in self.figures.items()},
            "against_default": interval_to_json(self.against_default),
            "gains": [list(point) for point in self.gains],
            "months": [vars(month) for month in self.months],
        }


def interval_to_json(figure: Interval) -> dict[str, float | None]:
    """Convert to a dict in which null stands for NaN, which JSON does not have."""
    return {name: value if np.isfinite(value) else None for name, value in vars(figure).items()}


def evaluate_candidates(
    test_rows: TestRows,
    predictions: Mapping[str, Floats],
    capacity: float,
    seed: int,
    extra_metrics: Mapping[str, PluginMetric] | None = None,
) -> dict[str, CandidateMetrics]:
    """Compute the metrics of every candidate, with the same resamples for all.

    Args:
        test_rows: The rows.
        predictions: (n,) probabilities by candidate; one is named "default".
        capacity: Share of leads for lift and capture at capacity, in (0, 1].
        seed: Seed of the resamples.
        extra_metrics: Metrics of plug-ins by name, computed beside leadloop's own. Default: none.

    Raises:
        PluginError: A plug-in has the name of one of leadloop's own metrics, or fails.
    """
    weights = poisson_weight_matrix(int(test_rows.block.max()) + 1, RESAMPLES, seed)
    loss = {name: log_loss_terms(test_rows.y, p) for name, p in predictions.items()}
    # The default's choice says the same as one of its parts: once is enough.
    distinct = {p.tobytes(): p for p in predictions.values()}
    measure = metric_function(capacity, extra_metrics)
    figures = {key: intervals(test_rows, p, measure, weights) for key, p in distinct.items()}
    return {
        name: CandidateMetrics(
            figures=figures[p.tobytes()],
            against_default=mean_interval(loss[name] - loss[DEFAULT], test_rows.block, weights),
            gains=tuple(zip(_GAINS_SHARES, _gains_points(test_rows.y, p), strict=True)),
            months=_monthly_totals(test_rows, p),
        )
        for name, p in predictions.items()
    }


def metric_function(capacity: float, extra_metrics: Mapping[str, PluginMetric] | None = None) -> Measures:
    """Build the function that computes all ranking and calibration metrics at once.

    Args:
        capacity: Share of leads for lift and capture at capacity, beside the usual 10, 20 and 30 %.
        extra_metrics: Metrics of plug-ins by name; they come last. Default: none.

    Returns:
        A function of (n,) outcomes, probabilities and weights (or None) that returns metrics by name. It
        raises PluginError where a plug-in has the name of one of leadloop's own metrics, or fails.
    """
    shares = {f"{share:.0%}".rstrip("%"): share for share in SHARES} | {"capacity": capacity}
    extra = extra_metrics or {}

    def compute(y: Floats, p: Floats, w: Floats | None) -> dict[str, float]:
        ranking, brier = Ranking.of(y, p, w), metrics.brier_score(y, p, w)
        gains = ranking.gains
        captured = dict(zip(shares, np.interp(list(shares.values()), *gains).tolist(), strict=True))
        figures = {
            "roc_auc": ranking.roc_auc,
            "average_precision": ranking.average_precision,
            "brier": brier,
            **{
                f"brier_{name}": value
                for name, value in vars(metrics.brier_decomposition(ranking, brier)).items()
            },
            "calibration_error": metrics.expected_calibration_error(y, p, w),
            "observed_to_expected": metrics.observed_to_expected(y, p, w),
            "alift": metrics.area_under_lift(*gains),
            **{f"capture_at_{name}": share_captured for name, share_captured in captured.items()},
            **{f"lift_at_{name}": share_captured / shares[name] for name, share_captured in captured.items()},
        }
        for metric in extra.values():
            metric.check_name({*figures, *_OTHER_NAMES})
        return figures | {name: metric(y, p, w) for name, metric in extra.items()}

    return compute


def intervals(test_rows: TestRows, p: Floats, measure: Measures, weights: Floats) -> dict[str, Interval]:
    """Compute metrics with the 2.5 % and 97.5 % quantiles over resamples of blocks.

    Rows are sorted by prediction once, so that sorting a resample costs next to nothing.

    Args:
        test_rows: The rows.
        p: (n,) predicted probabilities.
        measure: Computes the metrics of one resample.
        weights: (resamples, blocks) weights.

    Returns:
        Metrics by name: those of ``measure``, log-loss, and calibration slope and intercept.
    """
    order = np.lexsort((test_rows.y, p))
    y, p, block = test_rows.y[order], p[order], test_rows.block[order]
    resampled = [measure(y, p, row[block]) for row in weights]
    slopes, intercepts = metrics.bootstrap_calibration(y, p, block, weights)
    return {
        "log_loss": mean_interval(log_loss_terms(y, p), block, weights),
        **{
            name: quantile_interval(value, np.array([replicate[name] for replicate in resampled]))
            for name, value in measure(y, p, None).items()
        },
        "calibration_slope": quantile_interval(metrics.calibration_slope(y, p), slopes),
        "calibration_intercept": quantile_interval(metrics.calibration_intercept(y, p), intercepts),
    }


def _gains_points(y: Floats, p: Floats) -> list[float]:
    return [float(share) for share in np.interp(_GAINS_SHARES, *metrics.gains_curve(y, p))]


def _monthly_totals(test_rows: TestRows, p: Floats) -> tuple[Month, ...]:
    if test_rows.moments is None:
        return ()
    names = np.array([f"{to_datetime(int(moment)):%Y-%m}" for moment in test_rows.moments])
    months = ((name, names == name) for name in np.unique(names))
    return tuple(
        Month(str(name), int(inside.sum()), int(test_rows.y[inside].sum()), float(p[inside].sum()))
        for name, inside in months
    )
