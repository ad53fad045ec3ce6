"""What predictions of the same rows are worth, each figure with a block bootstrap interval.

Leads of one week share a campaign and a mood, and the snapshots of one lead share nearly everything, so whole
blocks are drawn: each gets a Poisson(1) weight, the same one for all its rows (Chamandy et al. 2012).
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
# What else a candidate's record has beside the figures that metric_function measures.
_ELSEWHERE = ("log_loss", "calibration_slope", "calibration_intercept", "against_default", "gains", "months")
_CURVE = tuple(step / 20 for step in range(1, 21))


@dataclass(frozen=True, eq=False)
class TestRows:
    """The rows that judge: (n,) outcomes, the ``block`` of each, and its moment where rows have dates."""

    y: Floats
    block: NDArray[np.intp]
    called: str
    moments: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Month:
    """The rows of a month, how many of them converted, and how many were expected to."""

    month: str
    rows: int
    observed: int
    expected: float


@dataclass(frozen=True)
class CandidateMetrics:
    """What one candidate's probabilities came to.

    ``against_default`` is how much larger its log-loss is than that of the default on the same rows.
    ``gains`` are the shares of conversions among the best 5 %, 10 %, ... 100 % of leads.
    """

    figures: Mapping[str, Interval]
    against_default: Interval
    gains: tuple[tuple[float, float], ...]
    months: tuple[Month, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain values, every figure by its name."""
        return {
            **{name: interval_to_json(figure) for name, figure in self.figures.items()},
            "against_default": interval_to_json(self.against_default),
            "gains": [list(point) for point in self.gains],
            "months": [vars(month) for month in self.months],
        }


def interval_to_json(figure: Interval) -> dict[str, float | None]:
    """The figure as JSON can hold it: NaN, which it cannot, becomes null."""
    return {name: value if np.isfinite(value) else None for name, value in vars(figure).items()}


def evaluate_candidates(
    judges: TestRows,
    said: Mapping[str, Floats],
    capacity: float,
    seed: int,
    more: Mapping[str, PluginMetric] | None = None,
) -> dict[str, CandidateMetrics]:
    """Every candidate's probabilities of the same rows, judged with the same resamples."""
    weights = poisson_weight_matrix(int(judges.block.max()) + 1, RESAMPLES, seed)
    loss = {name: log_loss_terms(judges.y, p) for name, p in said.items()}
    # The default's choice says the same as one of its parts: once is enough.
    different = {p.tobytes(): p for p in said.values()}
    measure = metric_function(capacity, more or {})
    told = {key: intervals(judges, p, measure, weights) for key, p in different.items()}
    return {
        name: CandidateMetrics(
            figures=told[p.tobytes()],
            against_default=mean_interval(loss[name] - loss[DEFAULT], judges.block, weights),
            gains=tuple(zip(_CURVE, _captured(judges.y, p), strict=True)),
            months=_months(judges, p),
        )
        for name, p in said.items()
    }


def metric_function(capacity: float, more: Mapping[str, PluginMetric] | None = None) -> Measures:
    """All figures that need the order of forecasts; lift and capture at the usual shares and ``capacity``.

    Those of plug-ins, ``more``, come last.
    """
    shares = {f"{share:.0%}".rstrip("%"): share for share in SHARES} | {"capacity": capacity}

    def measured(y: Floats, p: Floats, w: Floats | None) -> dict[str, float]:
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
            **{f"capture_at_{name}": found for name, found in captured.items()},
            **{f"lift_at_{name}": found / shares[name] for name, found in captured.items()},
        }
        for metric in (more or {}).values():
            metric.check_name({*figures, *_ELSEWHERE})
        return figures | {name: metric(y, p, w) for name, metric in (more or {}).items()}

    return measured


def intervals(judges: TestRows, p: Floats, measure: Measures, weights: Floats) -> dict[str, Interval]:
    """Each figure with the 2.5 % and 97.5 % quantiles over resamples of blocks.

    Rows are put in the order of the forecasts once, so that sorting a resample costs next to nothing.
    """
    order = np.lexsort((judges.y, p))
    y, p, block = judges.y[order], p[order], judges.block[order]
    drawn = [measure(y, p, row[block]) for row in weights]
    slopes, intercepts = metrics.bootstrap_calibration(y, p, block, weights)
    return {
        "log_loss": mean_interval(log_loss_terms(y, p), block, weights),
        **{
            name: quantile_interval(value, np.array([draw[name] for draw in drawn]))
            for name, value in measure(y, p, None).items()
        },
        "calibration_slope": quantile_interval(metrics.calibration_slope(y, p), slopes),
        "calibration_intercept": quantile_interval(metrics.calibration_intercept(y, p), intercepts),
    }


def _captured(y: Floats, p: Floats) -> list[float]:
    return [float(found) for found in np.interp(_CURVE, *metrics.gains_curve(y, p))]


def _months(judges: TestRows, p: Floats) -> tuple[Month, ...]:
    if judges.moments is None:
        return ()
    names = np.array([f"{to_datetime(int(moment)):%Y-%m}" for moment in judges.moments])
    months = ((name, names == name) for name in np.unique(names))
    return tuple(
        Month(str(name), int(inside.sum()), int(judges.y[inside].sum()), float(p[inside].sum()))
        for name, inside in months
    )
