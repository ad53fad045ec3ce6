"""Metrics of predictions, in NumPy alone: ranking, calibration, gains, each with a bootstrap interval.

Every metric takes (n,) outcomes of 0 and 1, (n,) probabilities and optional (n,) weights, so that a bootstrap
resample is only another set of weights. Rows of equal probability are pooled: their order is irrelevant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from scipy.special import expit, logit, ndtri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray


_TINY = 1e-15


def argsort_scores(p: NDArray[np.float64]) -> NDArray[np.intp] | slice:
    """The order of scores from the lowest up, equal ones as they stand.

    A bootstrap asks hundreds of times about the same rows and sorts them once.

    Args:
        p: (n,) scores.

    Returns:
        (n,) positions, or a slice of everything where the scores are in order already, which copies nothing.
    """
    return slice(None) if bool((p[1:] >= p[:-1]).all()) else np.argsort(p, kind="stable")


@dataclass(frozen=True, eq=False)
class Ranking:
    """Leads pooled by score and sorted: what every figure of a ranking is computed from.

    Attributes:
        score: (g,) distinct scores, the lowest first.
        positive: (g,) weight of the converted leads at each score.
        total: (g,) weight of all leads at each score.
    """

    score: NDArray[np.float64]
    positive: NDArray[np.float64]
    total: NDArray[np.float64]

    @classmethod
    def of(
        cls, y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
    ) -> Self:
        """Sort leads by score and pool those of equal score.

        Args:
            y: (n,) outcomes, 1 for a conversion and 0 for none.
            p: (n,) predicted probabilities.
            weights: (n,) weights of the rows. Default 1 each.

        Returns:
            The distinct scores with their weights.
        """
        order = argsort_scores(p)
        p, w = p[order], np.ones(len(p)) if weights is None else weights[order]
        starts = np.flatnonzero(np.diff(p, prepend=-np.inf))
        positive = w * (y[order] == 1)
        return cls(p[starts], np.add.reduceat(positive, starts), np.add.reduceat(w, starts))

    @property
    def roc_auc(self) -> float:
        """The chance that a converted lead is ranked above another one, ties counting half."""
        negative = self.total - self.positive
        below = np.cumsum(negative) - negative
        pairs = self.positive.sum() * negative.sum()
        return float((self.positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")

    @property
    def average_precision(self) -> float:
        """The precision at each converted lead's rank, averaged."""
        positive, total = self.positive[::-1], self.total[::-1]
        if not positive.sum():
            return float("nan")
        with np.errstate(invalid="ignore"):  # leading groups that a resample left out are 0 of 0
            precision = np.nan_to_num(np.cumsum(positive) / np.cumsum(total))
        return float((positive * precision).sum() / positive.sum())

    @property
    def gains(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The share of leads called, best first, and the share of conversions among them."""
        positive, total = self.positive[::-1], self.total[::-1]
        called = np.append(0.0, np.cumsum(total)) / total.sum()
        captured = np.append(0.0, np.cumsum(positive)) / max(positive.sum(), _TINY)
        return called, captured


BINS = 10

RESAMPLES = 300

# How many standard errors of a normal distribution to either side hold 90 % and 95 % of it.
Z_90, Z_95 = float(ndtri(0.95)), float(ndtri(0.975))


class MetricFunction(Protocol):
    """A figure of labels, probabilities and weights."""

    def __call__(
        self, y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
    ) -> float:
        """Compute the figure.

        Args:
            y: (n,) outcomes, 1 for a conversion and 0 for none.
            p: (n,) predicted probabilities.
            weights: (n,) weights of the rows. Default 1 each.

        Returns:
            The figure; NaN where it is undefined.
        """
        ...


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval.

    Attributes:
        value: The figure itself.
        low: Lower bound; NaN where none could be computed.
        high: Upper bound; NaN where none could be computed.
    """

    value: float
    low: float
    high: float


def roc_auc(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Area under the ROC curve: how often a converted lead is ranked above another (Hanley, McNeil 1982).

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        The area, ties counting half: 1 is perfect, 0.5 is chance, NaN where there is one outcome only.

    >>> roc_auc(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.9]))
    0.75
    """
    return Ranking.of(y, p, weights).roc_auc


def average_precision(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Average precision: the precision at each converted lead's rank, averaged.

    It is the area under precision over recall as a step function, as scikit-learn's
    ``average_precision_score``.

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        The average in [0, 1]; a random ranking has the base rate. NaN without a conversion.
    """
    return Ranking.of(y, p, weights).average_precision


def log_loss_per_row(y: NDArray[np.number], log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-loss of each row by its log-odds, which stays exact however large these are.

    Args:
        y: (n,) outcomes, 1 or 0.
        log_odds: (n,) predicted log-odds.

    Returns:
        (n,) losses in nats.
    """
    return np.asarray(np.logaddexp(0, log_odds) - y * log_odds, dtype=np.float64)


def log_loss(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Log-loss: the mean of -log(probability that was given to what happened).

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        The mean in nats; 0 is perfect, log(2) is what 0.5 for every lead gives.
    """
    return float(np.average(log_loss_terms(y, p), weights=weights))


def log_loss_terms(y: NDArray[np.number], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-loss of each row by its probability, which is kept 1e-15 away from 0 and 1.

    Args:
        y: (n,) outcomes, 1 or 0.
        p: (n,) predicted probabilities.

    Returns:
        (n,) losses in nats.

    >>> log_loss_terms(np.array([1, 0]), np.array([0.5, 0.75])).round(3).tolist()
    [0.693, 1.386]
    """
    likely = np.clip(np.where(y == 1, p, 1 - p), _TINY, 1.0)
    return np.asarray(-np.log(likely), dtype=np.float64)


def brier_score(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Brier score: the mean squared distance of probability and outcome (Brier 1950).

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        The mean; 0 is perfect, the variance of the outcomes is what the base rate for every lead gives.
    """
    return float(np.average((p - y) ** 2, weights=weights))


def expected_calibration_error(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Expected calibration error over ten bins of equal weight (Naeini, Cooper, Hauskrecht 2015).

    Rows of equal probability share their rate before an edge cuts them apart, so their order is irrelevant.

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        The mean of |mean probability - rate| over the bins; 0 is perfectly calibrated.
    """
    order = argsort_scores(p)
    p, w = p[order], np.ones(len(p)) if weights is None else weights[order]
    y = _pool_ties(y[order], p, w)
    place = np.cumsum(w) - w / 2
    bins = np.minimum((place / w.sum() * BINS).astype(np.intp), BINS - 1)
    gaps = np.bincount(bins, weights=w * (p - y), minlength=BINS)
    return float(np.abs(gaps).sum() / w.sum())


def _pool_ties(y: NDArray[np.number], p: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each outcome replaced by the mean of those with the same probability; rows are sorted by it."""
    groups = np.cumsum(np.diff(p, prepend=p[:1]) > 0)
    weight = np.maximum(np.bincount(groups, weights=w), _TINY)
    return np.asarray((np.bincount(groups, weights=w * y) / weight)[groups])


def gains_curve(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cumulative gains: the share of conversions found by calling leads in the order of their scores.

    There is one point after each group of equal predictions; between them the curve is straight, which is
    what calling such a group in random order finds.

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        (g + 1,) shares of leads called, from 0 to 1, and (g + 1,) shares of conversions among them.
    """
    return Ranking.of(y, p, weights).gains


def capture_rate(y: NDArray[np.number], p: NDArray[np.float64], share: float) -> float:
    """Capture rate: the share of all conversions that the best ``share`` of leads holds.

    Args:
        y: (n,) outcomes, 1 or 0.
        p: (n,) predicted probabilities.
        share: Share of leads that are called, in (0, 1].

    Returns:
        The rate in [0, 1], interpolated on the gains curve.

    >>> capture_rate(np.array([1, 0, 0, 1]), np.array([0.9, 0.1, 0.2, 0.1]), 0.25)
    0.5
    """
    called, captured = gains_curve(y, p)
    return float(np.interp(share, called, captured))


def lift(y: NDArray[np.number], p: NDArray[np.float64], share: float) -> float:
    """Lift: how many times more conversions the best ``share`` of leads holds than as many random ones.

    Args:
        y: (n,) outcomes, 1 or 0.
        p: (n,) predicted probabilities.
        share: Share of leads that are called, in (0, 1].

    Returns:
        The lift; 1 is what chance gives.
    """
    return capture_rate(y, p, share) / share


def bootstrap_interval(
    metric: MetricFunction,
    y: NDArray[np.number],
    p: NDArray[np.float64],
    units: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> Interval:
    """One metric with its 95 % interval, as ``bootstrap_intervals`` gives it.

    Args:
        metric: A function of (y, p, weights).
        y: (n,) outcomes, 1 or 0.
        p: (n,) predicted probabilities.
        units: (n,) numbers of what rows belong to, such as their leads. Default each row by itself.
        seed: The same seed gives the same resamples.

    Returns:
        The metric of all rows with the bounds of its interval.
    """
    return bootstrap_intervals({"": metric}, y, p, units, seed)[""]


def bootstrap_intervals(
    measures: Mapping[str, MetricFunction],
    y: NDArray[np.number],
    p: NDArray[np.float64],
    units: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """Metrics with 95 % intervals by the Poisson bootstrap (Chamandy et al. 2012).

    A resample gives each unit a Poisson(1) weight, the same for every metric: rows of a unit, such as the
    snapshots of one lead, come and go together. Bounds are the 2.5 % and 97.5 % quantiles over 300 resamples,
    moved by the bias of resampling (Efron, Tibshirani 1993, section 10).

    Args:
        measures: Functions of (y, p, weights) by their names.
        y: (n,) outcomes, 1 or 0.
        p: (n,) predicted probabilities.
        units: (n,) numbers of what rows belong to, such as their leads. Default each row by itself.
        seed: The same seed gives the same resamples.

    Returns:
        Each metric of all rows with the bounds of its interval, NaN where no resample has the metric.
    """
    order = np.argsort(p, kind="stable")
    y, p = y[order], p[order]
    unit = np.arange(len(p)) if units is None else np.unique(units, return_inverse=True)[1][order]
    resamples = (w for w in poisson_weights(int(unit.max()) + 1, RESAMPLES, seed) if w.any())
    draws = [[metric(y, p, w[unit]) for metric in measures.values()] for w in resamples]
    columns = zip(measures, zip(*draws, strict=True), strict=True)
    return {name: _bias_corrected_interval(measures[name](y, p), column) for name, column in columns}


def _bias_corrected_interval(value: float, draws: Sequence[float]) -> Interval:
    """The quantiles of ``draws``, moved by the bias of resampling.

    A calibration error grows with noise, and its interval would else lie above the error that was measured.
    """
    finite = [draw for draw in draws if np.isfinite(draw)]
    if not finite:
        return Interval(value, np.nan, np.nan)
    bounds = np.quantile(finite, [0.025, 0.975]) - (np.mean(finite) - value)
    low, high = np.clip(bounds, min(0.0, *finite, value), max(*finite, value))
    return Interval(value, float(low), float(high))


def mean_interval(
    values: NDArray[np.float64], unit: NDArray[np.integer], weights: NDArray[np.float64]
) -> Interval:
    """The mean of (n,) values and its 95 % interval by resamples of units (a Poisson block bootstrap).

    Args:
        values: (n,) one value a row.
        unit: (n,) the unit of each row, numbered from 0; rows of a unit are drawn together.
        weights: (r, units) from ``poisson_weight_matrix``.

    Returns:
        The mean with the 2.5 % and 97.5 % quantiles of its resamples.
    """
    totals, sizes = np.bincount(unit, weights=values), np.bincount(unit)
    return quantile_interval(float(values.mean()), (weights @ totals) / (weights @ sizes))


def quantile_interval(value: float, resampled: NDArray[np.float64]) -> Interval:
    """The value with the 2.5 % and 97.5 % quantiles of its resamples (percentile bootstrap, Efron 1979).

    Args:
        value: The figure of all rows.
        resampled: (r,) the figure of each resample; those that are not finite are left out.

    Returns:
        The interval, which always holds ``value``; its bounds are NaN where ``value`` or all resamples are.
    """
    finite = resampled[np.isfinite(resampled)]
    if not len(finite) or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def poisson_weights(units: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """The (units,) weights of one resample after the other: Poisson(1), drawn apart (Chamandy et al. 2012).

    All at once would fill the memory. In a resample of very few units all weights may be 0.

    Args:
        units: How many units are drawn: rows, or what rows belong to.
        resamples: How many resamples are drawn.
        seed: The same seed gives the same weights.

    Yields:
        The weights of a resample.

    >>> [weights.tolist() for weights in poisson_weights(3, 2, 0)]
    [[1.0, 0.0, 0.0], [3.0, 3.0, 1.0]]
    """
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield random.poisson(1.0, units).astype(np.float64)


def poisson_weight_matrix(units: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """The weights of ``poisson_weights`` at once.

    Args:
        units: How many units are drawn.
        resamples: How many resamples are drawn.
        seed: The same seed gives the same weights.

    Returns:
        (resamples, units) weights; a resample that drew no unit holds each unit once.
    """
    weights = np.empty((resamples, units))
    for row, resample in zip(weights, poisson_weights(units, resamples, seed), strict=True):
        row[:] = resample if resample.any() else 1.0
    return weights


_ALMOST_ZERO = 1e-12

_MAX_ITERATIONS, _TOLERANCE, _MAX_STEP = 50, 1e-9, 3.0


@dataclass(frozen=True)
class BrierDecomposition:
    """The Brier score in parts (Murphy 1973): ``brier = reliability - resolution + uncertainty``.

    Predictions are grouped in ten of equal size; what they differ by within a group counts as resolution
    (Stephenson, Coelho, Jolliffe 2008), so that the sum is exact.

    Attributes:
        reliability: How far predictions are from the observed rates; 0 is best.
        resolution: How far the observed rates of the groups are apart.
        uncertainty: The variance of the outcomes, which no prediction changes.
    """

    reliability: float
    resolution: float
    uncertainty: float


def murphy(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> BrierDecomposition:
    """Decompose the Brier score into reliability, resolution and uncertainty (Murphy 1973).

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        The three parts; ``reliability - resolution + uncertainty`` is the Brier score.

    >>> murphy(np.array([0, 1]), np.array([0.0, 1.0]))
    BrierDecomposition(reliability=0.0, resolution=0.25, uncertainty=0.25)
    """
    return brier_decomposition(Ranking.of(y, p, weights), brier_score(y, p, weights))


def brier_decomposition(ranking: Ranking, brier: float) -> BrierDecomposition:
    """Decompose a Brier score whose ranking is at hand, as ``murphy`` does.

    Args:
        ranking: The scores and outcomes, pooled by score.
        brier: The Brier score of the same rows.

    Returns:
        The three parts.
    """
    share, forecast, observed = _equal_mass_groups(ranking)
    rate = float(share @ observed)
    reliability, uncertainty = float(share @ (forecast - observed) ** 2), rate * (1 - rate)
    return BrierDecomposition(reliability, reliability + uncertainty - brier, uncertainty)


def calibration_slope(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Calibration slope: that of a logistic regression on the predicted log-odds (Cox 1958).

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        The slope: 1 is right, below 1 predictions are too extreme, above 1 too cautious. NaN where all
        predictions or all outcomes are alike.
    """
    return _fit_recalibration(y, p, weights)[1]


def calibration_intercept(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Calibration in the large: by how much predicted log-odds are too low, at a slope of 1 (Cox 1958).

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        The intercept in log-odds: 0 is right. NaN where all outcomes are alike.
    """
    return _fit_logistic(np.ones((len(p), 1)), y, weights, log_odds(p))[0]


def _fit_recalibration(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None
) -> list[float]:
    """Intercept and slope of Cox's regression; NaN where forecasts are all alike."""
    f = log_odds(p)
    if np.ptp(f) < _ALMOST_ZERO:
        return [float("nan")] * 2
    return _fit_logistic(np.column_stack([np.ones_like(f), f]), y, weights, np.zeros_like(f))


def bootstrap_calibration(
    y: NDArray[np.number], p: NDArray[np.float64], block: NDArray[np.intp], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Resample calibration slope and intercept by the one-step bootstrap (Shao and Tu 1995, section 2.2).

    Each resample is one Newton step from the figures of all rows. What is summed within a block is summed
    once for all resamples. The error of the step is of the order of its square: the more rows, the smaller.

    Args:
        y: (n,) outcomes, 1 or 0.
        p: (n,) predicted probabilities.
        block: (n,) the block of each row, numbered from 0.
        weights: (r, blocks) weights of the blocks in each resample.

    Returns:
        (r,) slopes and (r,) intercepts, NaN where a resample has one outcome only.
    """
    f = log_odds(p)
    coefficients, intercept = np.array(_fit_recalibration(y, p, None)), calibration_intercept(y, p)

    def sum_by_block(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(weights @ np.bincount(block, values, weights.shape[1]))

    positives, rows = sum_by_block(np.asarray(y, dtype=np.float64)), sum_by_block(np.ones_like(f))
    defined = np.where((positives > 0) & (positives < rows), 1.0, np.nan)
    forecast = expit(coefficients[0] + coefficients[1] * f)
    spread = forecast * (1 - forecast)
    curvature_00, curvature_01, curvature_11 = (sum_by_block(spread * f**power) for power in range(3))
    gradient_0, gradient_1 = sum_by_block(y - forecast), sum_by_block((y - forecast) * f)
    slopes = coefficients[1] + (curvature_00 * gradient_1 - curvature_01 * gradient_0) / np.maximum(
        curvature_00 * curvature_11 - curvature_01**2, _ALMOST_ZERO
    )
    forecast = expit(intercept + f)
    levels = intercept + sum_by_block(y - forecast) / np.maximum(
        sum_by_block(forecast * (1 - forecast)), _ALMOST_ZERO
    )
    return slopes * defined, levels * defined


def observed_to_expected(
    y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Ratio of observed to expected conversions.

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        Conversions that came for each that was predicted: 1 is right, above 1 predictions are too low.

    >>> observed_to_expected(np.array([1, 0]), np.array([0.25, 0.25]))
    2.0
    """
    w = np.ones(len(p)) if weights is None else weights
    return float(w @ y) / max(float(w @ p), _ALMOST_ZERO)


def alift(y: NDArray[np.number], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> float:
    """Area under the lift curve: the mean lift over every share s of leads that could be called.

    It is the integral of capture(s) / s over 0 < s <= 1, capture being straight between groups of equal
    scores.

    Args:
        y: (n,) outcomes, 1 for a conversion and 0 for none.
        p: (n,) predicted probabilities.
        weights: (n,) weights of the rows. Default 1 each.

    Returns:
        The area: 1 is what chance gives, 1 - log(r) a perfect ranking at a base rate r.

    >>> alift(np.array([1, 0]), np.array([0.5, 0.5]))
    1.0
    """
    return area_under_lift(*gains_curve(y, p, weights))


def area_under_lift(called: NDArray[np.float64], captured: NDArray[np.float64]) -> float:
    """Integrate the lift over a gains curve, as ``alift`` does.

    Args:
        called: (g + 1,) shares of leads called, rising from 0 to 1.
        captured: (g + 1,) shares of conversions among them.

    Returns:
        The area.
    """
    step, rise = np.diff(called), np.diff(captured)
    right, height = called[1:], captured[1:]
    if not (is_step := step > 0).all():
        step, rise, right, height = step[is_step], rise[is_step], right[is_step], height[is_step]
    slope = rise / step
    # Before the first point the curve is straight from 0, and what starts at 0 has no logarithm to add.
    logs = np.log(right)
    return float(rise.sum() + ((height - slope * right)[1:] * np.diff(logs)).sum())


def _equal_mass_groups(
    ranking: Ranking,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Share, mean prediction and observed rate of up to ten groups of equal size; ties are not split."""
    whole = ranking.total.sum()
    mass, positive = ranking.total / whole, ranking.positive / whole
    middle = np.cumsum(mass) - mass / 2
    group = np.minimum((middle * BINS).astype(np.intp), BINS - 1)
    sums = (mass, mass * ranking.score, positive)
    total, forecast, observed = (np.bincount(group, part, BINS).astype(np.float64) for part in sums)
    occupied = total > 0
    return total[occupied], forecast[occupied] / total[occupied], observed[occupied] / total[occupied]


def log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of probabilities, finite even for 0 and 1.

    Args:
        p: (n,) probabilities.

    Returns:
        (n,) log-odds; probabilities are kept 1e-12 away from 0 and 1.
    """
    return np.asarray(logit(np.clip(p, _ALMOST_ZERO, 1 - _ALMOST_ZERO)), dtype=np.float64)


def _fit_logistic(
    design: NDArray[np.float64],
    y: NDArray[np.number],
    weights: NDArray[np.float64] | None,
    offset: NDArray[np.float64],
) -> list[float]:
    """Coefficients of a logistic regression with an offset, by Newton's method; NaN if undetermined."""
    w = np.ones(len(y)) if weights is None else weights
    if not 0 < w @ y < w.sum():
        return [float("nan")] * design.shape[1]
    coefficients = np.zeros(design.shape[1])
    for _ in range(_MAX_ITERATIONS):
        p = expit(design @ coefficients + offset)
        curvature = (design.T * (w * p * (1 - p))) @ design + _ALMOST_ZERO * np.eye(len(coefficients))
        step = np.linalg.solve(curvature, design.T @ (w * (y - p)))
        coefficients = coefficients + step / max(1.0, float(np.abs(step).max()) / _MAX_STEP)
        if np.abs(step).max() < _TOLERANCE:
            return [float(value) for value in coefficients]
    return [float("nan")] * design.shape[1]
