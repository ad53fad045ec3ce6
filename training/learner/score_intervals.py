"""Intervals around scores, and what else is uncertain about a trained model.

The intervals come from simulations in which the truth is known. A simulation takes the company's own leads,
treats the log-odds of a model as the truth, draws each lead's outcome from it (a parametric bootstrap: Efron
and Tibshirani 1993, chapter 6), trains a new model on most of the leads and predicts the others. Its errors
show both the noise of few outcomes and the bias of shrinkage. The snapshots of a lead share one uniform draw.

The model itself is too smooth a truth: what it has not learned is missing from it. So there are two
scenarios. In the first the model is the truth; the new model differs from it by a pattern that such rows can
produce in such a model. The second adds that pattern to the truth and stretches the sum by as much as
training shrank it (indirect inference: Gourieroux, Monfort and Renault 1993). With few leads that pattern is
mostly noise, and the second truth rougher than the real one. So the squared half-width is interpolated
between the scenarios, by the one thing that can be observed without knowing the truth: the spread of the
log-odds of held-out leads, in either scenario and in reality. Where the outcomes of held-out leads deviate
from the real model by more than chance, that adds to the half-width.

Within a scenario the coverage is that of split conformal prediction (Vovk et al. 2005): nine in ten intervals
hold the truth, over leads and simulations. For the company's own leads it holds as far as the company lies
between the scenarios, which is an assumption. What no model of this kind can say is in neither;
``training.learner.misfit`` widens the intervals by it. ``tests/benchmarks/interval_coverage.py`` and
``misspecified_coverage.py`` measure the coverage where the truth is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from features.cohort import lead_codes
from models.additive import PiecewiseLinearTerm
from models.calibration import PlattCalibration, update_intercept
from models.metrics import Z_90
from models.uncertainty import ATTENUATION, COVERED, MATTERS, NOTHING, FeatureSupport, ScoreUncertainty
from training.learner.misfit import (
    expected_misfit,
    interaction_evidence,
    level_drift,
    misfit_trees,
)
from training.learner.recipes import BASE_RATE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from models.encoding import FeatureEncoder, FeatureEncoding
    from models.predictor import Predictor
    from models.uncertainty import InsufficiencyCode
    from training.data.training_rows import TrainingRows
    from training.learner.fit import FittedPredictor

    Floats = NDArray[np.float64]


# Training is the cost of a simulation, so it uses at most so many rows. With more rows the error falls by a
# power that simulations of half as many show. It lies between 1 / (2 + features), the optimal rate for
# functions of bounded slope in as many features as one of the trees may combine (Stone 1982), and that of a
# model whose coefficients are fixed in number.
MOST_ROWS, FASTEST = 8_000, 0.5
# Simulations; a single one has too much Monte Carlo error.
TIMES = 3
# The share of a simulation's leads that is trained on.
TAUGHT = 0.9
# What a simulation needs: expected conversions, leads of either outcome in training, held-out leads; and how
# often outcomes are redrawn to get them.
FEWEST_CONVERSIONS, FEWEST_OF_A_CLASS, FEWEST_ASKED, TRIES = 50, 3, 2, 50
# Parts of the scores within which errors have a quantile of their own, and the rows that each needs.
PARTS, FEWEST_OF_A_PART = 10, 100
# The information that a part of the held-out rows needs before its deviation counts: sum of p * (1 - p).
FEWEST_EXPECTED = 25.0
# Bounds of the second scenario: how far the truth may be stretched, and how small a share of the variance may
# remain after the pattern is taken out.
_MAX_STRETCH, _MIN_VARIANCE_SHARE, _TINY = 1.5, 0.2, 1e-12
# With fewer leads of either outcome scores are insufficient. A hundred conversions are what validating a
# model takes (Vergouwe et al. 2005), so with so many a lack of signal is a finding.
FEWEST, ENOUGH = 10, 100
# Rows that the spread of contributions is estimated from; TreeSHAP takes some milliseconds a row.
LOOKED_AT = 300
# Numbers are supported a little beyond the range in training, by this share of it; rare levels where they
# are at least this share of the rows together.
BEYOND, COMMON = 0.1, 0.01
# Most scores lie between these quantiles.
_SCORE_QUANTILES = (0.1, 0.9)


@dataclass(frozen=True, eq=False)
class SimulationErrors:
    """The errors of simulated models on held-out leads.

    Attributes:
        log_odds: (m,) predicted log-odds.
        errors: (m,) predicted minus true log-odds.
        spread: Standard deviation of the predicted log-odds within one simulation.
    """

    log_odds: Floats
    errors: Floats
    spread: float = 0.0

    @classmethod
    def of(cls, log_odds: Floats, truth: Floats) -> SimulationErrors:
        """Compare the (m,) predictions of one simulation with its (m,) true log-odds."""
        return cls(log_odds, log_odds - truth, float(log_odds.std()))


def estimate_uncertainty(
    rows: TrainingRows,
    fitted: FittedPredictor,
    lead: pl.Series,
    seed: int = 0,
    aging: Collection[str] = (),
) -> ScoreUncertainty:
    """Estimate what is uncertain about a trained model: interval widths, and the support of its features.

    Args:
        rows: The rows that ``fitted`` was trained on.
        fitted: The model.
        lead: (n,) the lead of each row.
        seed: Seed of the simulations.
        aging: The features that grow with a lead's age or silence. Default: none, and no lead is dormant.

    Returns:
        The uncertainty; without intervals, and with a reason, where there are too few outcomes or no signal.
    """
    number = lead_codes(lead)
    outcomes = [len(np.unique(number[rows.y == outcome])) for outcome in (0, 1)]
    if insufficiency := _insufficiency(outcomes, fitted):
        return ScoreUncertainty(NOTHING, 0.0, lacking=insufficiency, missing=max(0, ENOUGH - outcomes[1]))
    low, high = np.quantile(fitted.log_odds, _SCORE_QUANTILES)
    encodings, at = fitted.predictor.encodings, fitted.held_out_rows
    matrix = encodings.encode(rows.frame)
    half = interval_half_widths(rows, fitted, number, seed)
    return ScoreUncertainty(
        _widen_by_misfit(half, rows, fitted, drift=period_drift(rows, fitted, number)),
        float(high - low),
        _feature_support(matrix, fitted),
        misfit_trees=misfit_trees(matrix[at], fitted.log_odds, rows.y[at], number[at], seed),
        attenuation=ATTENUATION,
        aging=tuple(
            _support_of_feature(encodings, place, matrix, 0.0)
            for place, each in enumerate(encodings.features)
            if each.name in aging and np.isfinite(matrix[:, encodings.sources[place]]).any()
        ),
    )


def period_drift(rows: TrainingRows, fitted: FittedPredictor, lead: NDArray[np.intp]) -> float:
    """The squared error of scores by levels that move, from the periods that validated a model.

    Args:
        rows: The rows that ``fitted`` was trained on.
        fitted: The model.
        lead: (n,) number of each row's lead, from 0.

    Returns:
        A squared error in log-odds; 0 where rows have no order.
    """
    if not fitted.time_ordered or fitted.fold is None:
        return 0.0
    at = fitted.held_out_rows
    return level_drift(fitted.log_odds, rows.y[at], lead[at], fitted.fold)


def _widen_by_misfit(
    half: PiecewiseLinearTerm, rows: TrainingRows, fitted: FittedPredictor, *, drift: float
) -> PiecewiseLinearTerm:
    """The half-widths of simulations, wider by the error that they do not show."""
    p = expit(fitted.log_odds)
    misfit = expected_misfit(
        np.array([*half.knots, fitted.log_odds.mean()]),  # the last one stands for all scores
        leads=len(rows) / rows.design_effect,
        information=float((p * (1 - p)).mean()),
        evidence=interaction_evidence(fitted.choice),
    )
    squared = np.array([*half.values, half.missing]) ** 2
    *values, missing = np.sqrt(squared + Z_90**2 * (misfit + drift)).tolist()
    return replace(half, values=tuple(values), missing=missing)


def _insufficiency(outcomes: list[int], fitted: FittedPredictor) -> InsufficiencyCode | None:
    """Why scores are no better than the base rate, or None.

    ``outcomes`` are the numbers of leads that did not convert, and that did; each lead counts once.
    """
    if min(outcomes) < FEWEST:
        return "too_few_outcomes"
    if fitted.recipe != BASE_RATE.name:
        return None
    return "too_few_outcomes" if outcomes[1] < ENOUGH else "no_signal"


def _feature_support(matrix: Floats, fitted: FittedPredictor) -> tuple[FeatureSupport, ...]:
    """The value ranges of the features whose contributions vary by ``MATTERS`` or more, the widest first."""
    predictor = fitted.predictor
    sample = matrix[:: 1 + len(matrix) // LOOKED_AT]
    spread = predictor.contributions(sample)[1].std(axis=0)
    # Combinations come after the features; their values are those of their parts.
    spread = spread[: len(predictor.encodings.features)]
    places = [place for place in np.argsort(-spread, kind="stable").tolist() if spread[place] >= MATTERS]
    return tuple(
        _support_of_feature(predictor.encodings, place, matrix, float(spread[place])) for place in places
    )


def _support_of_feature(
    encodings: FeatureEncoder, place: int, matrix: NDArray[np.float64], spread: float
) -> FeatureSupport:
    """The values that the rows have of the feature at ``place``."""
    feature, source = encodings.features[place], encodings.sources[place]
    column = matrix[:, source]
    if feature.kind == "category":
        return _support_of_category(feature, column, FeatureSupport(feature.name, source, spread))
    known = column[np.isfinite(column)]
    low, high = float(known.min()), float(known.max())
    room = BEYOND * (high - low)
    return FeatureSupport(
        feature.name, source, spread, low - room, high + room, filled=len(known) == len(column)
    )


def _support_of_category(
    feature: FeatureEncoding, codes: NDArray[np.float64], empty: FeatureSupport
) -> FeatureSupport:
    filled = not bool((codes == feature.other + 1).any())
    common = float((codes == feature.other).mean()) >= COMMON
    other = -1 if common else feature.other
    return FeatureSupport(
        empty.feature, empty.source, empty.spread, other=other, filled=filled and not common
    )


def interval_half_widths(
    rows: TrainingRows, fitted: FittedPredictor, lead: NDArray[np.intp], seed: int = 0
) -> PiecewiseLinearTerm:
    """Compute the half-width of a model's 90 % intervals as a function of its log-odds.

    Args:
        rows: The rows that ``fitted`` was trained on.
        fitted: The model.
        lead: (n,) number of each row's lead, from 0.
        seed: Seed of the simulations.

    Returns:
        A curve from log-odds to the half-width in log-odds.

    Raises:
        ValueError: One outcome is too rare to be simulated.
    """
    share = _simulation_share(rows)
    numbers = range(1, TIMES + 1)
    simulations = [_simulate(rows, fitted, lead, share, (seed, number)) for number in numbers]
    first, second = (_pool_simulations(scenarios) for scenarios in zip(*simulations, strict=True))
    curve, shrinkage = conformal_curve(second), 1.0
    if share < 1:
        smaller = [
            _first_scenario(_Sample.of(rows, fitted, lead, share / 2, (seed, number)), fitted).errors
            for number in numbers
        ]
        slowest = 1 / (2 + max(member.max_depth for member in fitted.bag.members))
        shrinkage = share ** learning_power(_pool_simulations(smaller), first, slowest)
    position = interpolate_scenarios(float(fitted.log_odds.std()), first.spread, second.spread)
    knots = np.array(curve.knots)
    squared = (1 - position) * conformal_curve(first).at(knots) ** 2 + position * np.array(curve.values) ** 2
    misfit = excess_squared_error(
        fitted.log_odds, rows.y[fitted.held_out_rows], lead[fitted.held_out_rows], knots
    )
    values = np.sqrt(shrinkage**2 * squared + Z_90**2 * misfit)
    return replace(curve, values=tuple(values.tolist()), missing=shrinkage * curve.missing)


def learning_power(half: SimulationErrors, whole: SimulationErrors, slowest: float) -> float:
    """Measure the power by which errors fall with the number of leads.

    Args:
        half: Errors of models that were trained on half as many leads.
        whole: Errors of models that were trained on all.
        slowest: The least that it may be.

    Returns:
        The power, between ``slowest`` and ``FASTEST``.

    Example:
        >>> errors = [SimulationErrors(np.zeros(2), size * np.array([1.0, -1.0])) for size in (1.3, 1.0)]
        >>> round(learning_power(*errors, slowest=0.2), 2)
        0.38
    """
    squares = (float(np.mean(simulated.errors**2)) for simulated in (half, whole))
    before, after = (max(square, _TINY) for square in squares)
    return float(np.clip(np.log2(before / after) / 2, slowest, FASTEST))


def interpolate_scenarios(real: float, first: float, second: float) -> float:
    """Locate the observed spread of log-odds between those of the two scenarios.

    Args:
        real: Standard deviation of the held-out log-odds in reality.
        first: The same in the first scenario.
        second: The same in the second, rougher scenario.

    Returns:
        The position in [0, 1]: 0 at the first scenario, 1 at the second.

    Example:
        >>> [interpolate_scenarios(*x) for x in ((1.5, 1.25, 1.75), (1.2, 1.4, 1.6), (1.7, 1.6, 1.5))]
        [0.5, 0.0, 1.0]
    """
    if second <= first:
        return 1.0
    return float(np.clip((real - first) / (second - first), 0.0, 1.0))


def _pool_simulations(simulations: Sequence[SimulationErrors]) -> SimulationErrors:
    """The errors of one scenario from all simulations, with their mean spread."""
    log_odds, errors = (
        np.concatenate([getattr(simulation, name) for simulation in simulations])
        for name in ("log_odds", "errors")
    )
    return SimulationErrors(
        log_odds, errors, float(np.mean([simulation.spread for simulation in simulations]))
    )


def _simulation_share(rows: TrainingRows) -> float:
    """The share of leads in a simulation: bounded by its cost, larger where conversions are rare."""
    return min(1.0, max(MOST_ROWS, FEWEST_CONVERSIONS / rows.rate) / len(rows))


@dataclass(frozen=True, eq=False)
class _Sample:
    """The rows of a random share of the leads, with (n,) the lead and the log-odds of a model of each."""

    rows: TrainingRows
    lead: NDArray[np.intp]
    truth: Floats
    random: np.random.Generator

    @classmethod
    def of(
        cls,
        rows: TrainingRows,
        fitted: FittedPredictor,
        lead: NDArray[np.intp],
        share: float,
        seed: tuple[int, int],
    ) -> _Sample:
        random = np.random.default_rng(seed)
        at = np.flatnonzero((random.random(int(lead.max()) + 1) < share)[lead])
        sample, predictor = rows.take(at), fitted.predictor
        return cls(sample, lead[at], predictor.log_odds(predictor.encodings.encode(sample.frame)), random)


@dataclass(frozen=True, eq=False)
class _FirstScenario:
    """What a model learned from outcomes of which the fitted one is the truth, about (n,) rows."""

    estimate: Floats
    held_out: NDArray[np.bool_]
    errors: SimulationErrors


def _first_scenario(sample: _Sample, fitted: FittedPredictor) -> _FirstScenario:
    model, held_out = _simulate_scenario(sample.rows, fitted, sample.truth, sample.lead, sample.random)
    estimate = model.log_odds(model.encodings.encode(sample.rows.frame))
    return _FirstScenario(estimate, held_out, SimulationErrors.of(estimate[held_out], sample.truth[held_out]))


def _simulate(
    rows: TrainingRows, fitted: FittedPredictor, lead: NDArray[np.intp], share: float, seed: tuple[int, int]
) -> tuple[SimulationErrors, SimulationErrors]:
    """The errors of the first and of the second scenario, on a random ``share`` of the leads."""
    sample = _Sample.of(rows, fitted, lead, share, seed)
    first = _first_scenario(sample, fitted)
    rougher_truth = _match_base_rate(
        _rougher_truth(sample.truth, first.estimate, first.held_out), sample.rows
    )
    model, held_out = _simulate_scenario(sample.rows, fitted, rougher_truth, sample.lead, sample.random)
    # The first truth needs the pattern of all rows; of the second one only the errors count.
    estimate = model.log_odds(model.encodings.encode(sample.rows.frame.filter(held_out)))
    return first.errors, SimulationErrors.of(estimate, rougher_truth[held_out])


def _simulate_scenario(
    rows: TrainingRows,
    fitted: FittedPredictor,
    truth: Floats,
    lead: NDArray[np.intp],
    random: np.random.Generator,
) -> tuple[Predictor, NDArray[np.bool_]]:
    """Train a model on outcomes drawn from ``truth``.

    Returns:
        The model, and (n,) a mask of the held-out rows.
    """
    leads = int(lead.max()) + 1
    for _ in range(TRIES):
        uniform, in_training = random.random(leads)[lead], (random.random(leads) < TAUGHT)[lead]
        y = (uniform < expit(truth)).astype(np.float64)
        positives = int(y[in_training].sum())
        is_sparse = min(positives, int(in_training.sum()) - positives) < FEWEST_OF_A_CLASS
        if not is_sparse and int((~in_training).sum()) >= FEWEST_ASKED:
            at = np.flatnonzero(in_training)
            training = replace(rows.take(at), y=y[at], order=None, groups=lead[at])
            return fitted.refit(training, int(random.integers(2**31))), ~in_training
    msg = f"fewer than {FEWEST_OF_A_CLASS} leads of one outcome: the interval cannot be simulated"
    raise ValueError(msg)


def _rougher_truth(truth: Floats, estimate: Floats, held_out: NDArray[np.bool_]) -> Floats:
    """The truth of the second scenario, given the first truth and what a model estimated from it."""
    centred = truth - truth[held_out].mean()
    spread = max(float(centred[held_out] @ centred[held_out]), _TINY)
    slope = float(centred[held_out] @ estimate[held_out]) / spread
    pattern = estimate - estimate[held_out].mean() - slope * centred
    variance_share = max(_MIN_VARIANCE_SHARE, 1 - float(pattern[held_out] @ pattern[held_out]) / spread)
    stretch = float(np.clip(np.sqrt(variance_share) / max(slope, _TINY), 1 / _MAX_STRETCH, _MAX_STRETCH))
    return np.asarray(stretch * truth + pattern, dtype=np.float64)


def _match_base_rate(truth: Floats, rows: TrainingRows) -> Floats:
    """``truth`` shifted so that it expects as many conversions as were observed."""
    return update_intercept(PlattCalibration(), truth, rows.y, prior_precision=1e-6).apply(truth)


def conformal_curve(errors: SimulationErrors) -> PiecewiseLinearTerm:
    """Fit the curve that nine in ten absolute errors do not exceed, with a knot per part of the scores.

    Within a part it is the split conformal quantile, the ``ceil((m + 1) * 0.9)``-th smallest of m absolute
    errors (Vovk et al. 2005). Parts hold equally many rows.

    Args:
        errors: Errors of simulated models.

    Returns:
        A curve from log-odds to the quantile, in log-odds; its missing value is the quantile of all errors.
    """
    order = np.argsort(errors.log_odds, kind="stable")
    parts = np.array_split(order, int(np.clip(len(order) // FEWEST_OF_A_PART, 1, PARTS)))
    middles = np.array([np.median(errors.log_odds[part]) for part in parts])
    sizes = [_conformal_quantile(np.abs(errors.errors[part])) for part in parts]
    knots, first = np.unique(middles, return_index=True)
    overall = _conformal_quantile(np.abs(errors.errors))
    return PiecewiseLinearTerm(tuple(knots.tolist()), tuple(sizes[place] for place in first), overall)


def _conformal_quantile(sizes: Floats) -> float:
    rank = min(len(sizes), int(np.ceil((len(sizes) + 1) * COVERED)))
    return float(np.sort(sizes)[rank - 1])


def excess_squared_error(
    log_odds: Floats, y: NDArray[np.number], lead: NDArray[np.intp], at: Floats
) -> Floats:
    """Estimate the squared error of log-odds that outcomes show beyond chance.

    In each part of the scores one Newton step estimates by how much the log-odds are off; its variance,
    clustered by lead (White 1980; Liang and Zeger 1986), is the part of its square that chance explains.

    Args:
        log_odds: (m,) log-odds of rows that the model was not trained on.
        y: (m,) their outcomes.
        lead: (m,) number of each row's lead.
        at: (k,) log-odds at which to evaluate.

    Returns:
        (k,) squared errors, 0 where chance explains the deviation.
    """
    order = np.argsort(log_odds, kind="stable")
    p = expit(log_odds[order])
    spread, residual, lead = p * (1 - p), y[order] - p, lead[order]
    part_number = np.minimum(
        np.cumsum(spread) // FEWEST_EXPECTED, max(0.0, spread.sum() // FEWEST_EXPECTED - 1)
    )
    part = np.unique(part_number, return_inverse=True)[1]
    information, score, mass = (np.bincount(part, x) for x in (spread, residual, spread * log_odds[order]))
    part_lead, row = np.unique(part * (lead.max() + 1) + lead, return_inverse=True)
    by_lead = np.bincount(row, residual)
    variance = np.bincount(part_lead // (lead.max() + 1), by_lead**2)
    excess = np.maximum(0.0, (score**2 - variance) / information**2)
    return np.asarray(np.interp(at, mass / information, excess), dtype=np.float64)
