"""The effect of a treatment that was given at random with known chances: doubly robust, clustered by lead.

Outcomes are predicted with and without the treatment from the other folds (cross-fitting: Chernozhukov et
al. 2018), and the known chances mend what the predictions miss (augmented inverse probability weighting:
Robins, Rotnitzky and Zhao 1994). As the chances are known the estimate is unbiased however wrong the
predictions are; they only make it more precise. econml, causalml, scikit-uplift and DoubleML do more, and
bring numba, statsmodels, shap, matplotlib or xgboost with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit
from scipy.stats import chi2, norm
from scipy.stats import t as student

from models.metrics import Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

# Of the error rate of all claims on an effect: what the effect on all has, and what those on groups have at
# least. They have all of it where the effect on all is beyond chance (Wiens 2003: the fallback procedure).
ERROR_RATE, OVERALL_ERROR_RATE = 0.05, 0.04
_FOLDS = 5
# Of the level, the slope, the treatment and their product, in standard deviations of the score.
_PENALTIES = (1e-3, 1.0, 1.0, 1.0)
_ITERATIONS, _TOLERANCE, _LONGEST_STEP = 50, 1e-8, 3.0
_DRAWS, _DRAWN_AT_ONCE = 4_000, 250


@dataclass(frozen=True, eq=False)
class Experiment:
    """Rows of leads of which some, drawn with known chances, were treated.

    Attributes:
        lead: (n,) the lead of each row, numbered from 0.
        treated: (n,) whether it was treated.
        propensity: (n,) its chance to be treated, in (0, 1).
        y: (n,) outcomes, 0 or 1.
        score: (n,) what foretells the outcome, such as log-odds that were known before.
    """

    lead: NDArray[np.intp]
    treated: Flags
    propensity: Floats
    y: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class EffectEstimate:
    """An effect with its 95 % interval, its standard error, and the two-sided p-value that there is none."""

    effect: Interval
    error: float
    p_value: float


@dataclass(frozen=True, slots=True)
class LeadsNeeded:
    """How many leads of the control group, and how many others, an effect takes to be seen."""

    control: int
    treated: int


def aipw_scores(experiment: Experiment, seed: int = 0) -> Floats:
    """The doubly robust score of each row: its mean over any group of rows is the effect on the group.

    Args:
        experiment: The rows.
        seed: Of the folds; all rows of a lead are in one.

    Returns:
        (n,) ``m1 - m0 + t (y - m1) / e - (1 - t) (y - m0) / (1 - e)``, with the predictions ``m1`` and ``m0``
        of the outcome with and without treatment.
    """
    fold = _folds(experiment, seed)
    with_it, without = (np.zeros(len(fold)) for _ in range(2))
    for number in range(_FOLDS):
        rest, own = fold != number, fold == number
        if own.any():
            with_it[own], without[own] = _predict_outcomes(experiment, rest, own)
    t, y, e = experiment.treated, experiment.y, experiment.propensity
    return np.asarray(with_it - without + t * (y - with_it) / e - ~t * (y - without) / (1 - e))


def randomisation_p_values(
    experiment: Experiment, groups: Sequence[Flags], seed: int = 0
) -> tuple[float, ...]:
    """The exact p-values of no effect on anybody of each group (Fisher 1935), by drawing the treatments anew.

    What is compared is what the score leaves of the outcomes, as foretold from the other folds without regard
    to treatment. However rare outcomes are the p-value is at most ``a`` with chance ``a``.

    Args:
        experiment: The rows; all rows of a lead are treated alike, with one chance.
        groups: (n,) which rows count, for each group.
        seed: Of the draws.

    Returns:
        The two-sided p-value of each group, twice the smaller tail of 4,000 draws.
    """
    lead, first = np.unique(experiment.lead, return_index=True)
    chance, treated = experiment.propensity[first], experiment.treated[first]
    residual = experiment.y - _foretell(experiment, seed)
    place = np.searchsorted(lead, experiment.lead)
    scale = 1 / (chance * (1 - chance))
    weights = np.column_stack([np.bincount(place, residual * own, len(lead)) * scale for own in groups])
    observed = (treated - chance) @ weights
    below, above = (np.zeros(len(groups)) for _ in range(2))
    random = np.random.default_rng(seed + 1)
    for _ in range(_DRAWS // _DRAWN_AT_ONCE):
        draws = (random.random((_DRAWN_AT_ONCE, len(lead)), np.float32) < chance) - chance
        sums = draws @ weights
        below += (sums <= observed + 1e-9).sum(axis=0)
        above += (sums >= observed - 1e-9).sum(axis=0)
    tails = (np.minimum(below, above) + 1) / (_DRAWS + 1)
    return tuple(float(min(1.0, 2 * tail)) for tail in tails)


def _foretell(experiment: Experiment, seed: int) -> Floats:
    """Outcomes as the score foretells them, from the other folds and whoever was treated."""
    fold = _folds(experiment, seed)
    foretold = np.zeros(len(fold))
    for number in range(_FOLDS):
        rest, own = fold != number, fold == number
        if own.any():
            score, y = experiment.score[rest], experiment.y[rest]
            rate = (y.sum() + 0.5) / (len(y) + 1)
            centre, scale = (float(score.mean()), float(score.std()) or 1.0) if len(score) else (0.0, 1.0)
            design, later = (
                np.column_stack([np.ones(len(values)), (values - centre) / scale])
                for values in (score, experiment.score[own])
            )
            coefficients = _fit_penalised_logistic(design, y, float(logit(rate)))
            foretold[own] = expit(later @ coefficients + logit(rate))
    return foretold


def _folds(experiment: Experiment, seed: int) -> NDArray[np.int64]:
    random = np.random.default_rng(seed)
    return random.integers(_FOLDS, size=int(experiment.lead.max()) + 1)[experiment.lead]


def _predict_outcomes(experiment: Experiment, rest: Flags, own: Flags) -> tuple[Floats, Floats]:
    """Outcomes of ``own`` rows with and without treatment, by a logistic regression of the other rows."""
    score, t, y = experiment.score[rest], experiment.treated[rest], experiment.y[rest]
    rate = (y.sum() + 0.5) / (len(y) + 1)
    centre, scale = (float(score.mean()), float(score.std()) or 1.0) if len(score) else (0.0, 1.0)
    share = float(t.mean()) if len(t) else 0.5

    def design(values: Floats, treated: Floats) -> Floats:
        z = (values - centre) / scale
        return np.column_stack([np.ones(len(z)), z, treated - share, z * (treated - share)])

    coefficients = _fit_penalised_logistic(design(score, t.astype(np.float64)), y, float(logit(rate)))
    later = experiment.score[own]
    flags = (np.ones(len(later)), np.zeros(len(later)))
    first, second = (expit(design(later, flag) @ coefficients + logit(rate)) for flag in flags)
    return np.asarray(first), np.asarray(second)


def _fit_penalised_logistic(design: Floats, y: Floats, offset: float) -> Floats:
    coefficients, penalty = np.zeros(design.shape[1]), np.diag(_PENALTIES[: design.shape[1]])
    for _ in range(_ITERATIONS):
        p = expit(design @ coefficients + offset)
        curvature = (design.T * (p * (1 - p))) @ design + penalty
        step = np.linalg.solve(curvature, design.T @ (y - p) - penalty @ coefficients)
        coefficients = coefficients + step / max(1.0, float(np.abs(step).max()) / _LONGEST_STEP)
        if np.abs(step).max() < _TOLERANCE:
            break
    return np.asarray(coefficients)


def average_effect(experiment: Experiment, scores: Floats, rows: Flags | None = None) -> EffectEstimate:
    """The mean effect on some rows, with a standard error clustered by lead.

    Where hardly anybody of an arm has an outcome the observed variance is too small, or nothing at all: it
    grows as that of two shares does with a success and a failure added to each (Agresti and Caffo 2000).
    Quantiles are Student's, with the leads of the smaller arm.

    Args:
        experiment: All rows.
        scores: (n,) their ``aipw_scores``.
        rows: (n,) which rows count; both arms have some. Default: all.

    Returns:
        The effect, in shares: .05 are five conversions more of a hundred leads.
    """
    own = np.ones(len(scores), bool) if rows is None else rows
    error = _clustered_error(scores[own], experiment.lead[own]) * math.sqrt(_rare_outcomes(experiment, own))
    arms = (experiment.lead[own & arm] for arm in (experiment.treated, ~experiment.treated))
    fewest = min(len(np.unique(arm)) for arm in arms)
    return estimate_with_error(float(scores[own].mean()), error, max(1, fewest - 1))


def estimate_with_error(value: float, error: float, degrees: float = math.inf) -> EffectEstimate:
    """An estimate with the interval and the p-value of its standard error.

    Args:
        value: The estimate.
        error: Its standard error.
        degrees: Degrees of freedom of the error. Default: it is known.

    Returns:
        The estimate with its 95 % interval and the two-sided p-value that it is 0.
    """
    half = float(student.isf(0.025, degrees)) * error
    p_value = 2 * float(student.sf(abs(value) / error, degrees)) if error else float(value == 0)
    return EffectEstimate(Interval(value, value - half, value + half), error, p_value)


def _clustered_error(values: Floats, lead: NDArray[np.intp]) -> float:
    """The standard error of a mean whose rows come in clusters."""
    deviations = np.bincount(np.unique(lead, return_inverse=True)[1], values - values.mean())
    clusters = len(deviations)
    correction = clusters / max(1, clusters - 1)
    return float(np.sqrt(correction * (deviations @ deviations))) / len(values)


def _rare_outcomes(experiment: Experiment, own: Flags) -> float:
    """The variance of a difference of shares with a success and a failure more in each arm,."""
    plain, adjusted = 0.0, 0.0
    for arm, chance in (
        (experiment.treated, experiment.propensity),
        (~experiment.treated, 1 - experiment.propensity),
    ):
        weight = 1 / chance[own & arm]
        rows = float(weight.sum() ** 2 / (weight @ weight))
        rate = float(np.average(experiment.y[own & arm], weights=weight))
        less_extreme = (rate * rows + 1) / (rows + 2)
        plain += rate * (1 - rate) / rows
        adjusted += less_extreme * (1 - less_extreme) / (rows + 2)
    return max(1.0, adjusted / plain) if plain else 1.0


def effect_ratio(experiment: Experiment, outcome: Floats, treatment: Floats) -> EffectEstimate | None:
    """The effect on the outcome over that on what was really received, as where some leads are never called.

    It is the effect on those who are called exactly where they are handed over (Imbens and Angrist 1994).

    Args:
        experiment: The rows.
        outcome: (n,) doubly robust scores of the outcome.
        treatment: (n,) those of having received it.

    Returns:
        The ratio by the delta method; None where the second effect is not clearly above 0.
    """
    received = average_effect(experiment, treatment)
    if received.effect.value < 4 * received.error or received.effect.value <= 0:
        return None
    ratio = float(outcome.mean()) / received.effect.value
    error = _clustered_error((outcome - ratio * treatment) / received.effect.value, experiment.lead)
    return estimate_with_error(ratio, error)


def qini_coefficient(experiment: Experiment, scores: Floats, rank_by: Floats) -> EffectEstimate:
    """The area between the Qini curve and the line of an order at random (Radcliffe 2007).

    Above 0, treating those with the greatest values first gains more than treating as many at random.

    Args:
        experiment: The rows.
        scores: (n,) their ``aipw_scores``.
        rank_by: (n,) what they are ranked by, the greatest first; rows that tie share a rank.

    Returns:
        The area: conversions per lead, on the mean over all shares that may be treated.
    """
    values = scores * (0.5 - rank_shares(rank_by))
    return estimate_with_error(float(values.mean()), _clustered_error(values, experiment.lead))


def qini_curve(
    experiment: Experiment, scores: Floats, rank_by: Floats, shares: Sequence[float]
) -> tuple[Interval, ...]:
    """Conversions per lead that are gained where a share of leads is treated, the greatest values first.

    Args:
        experiment: The rows.
        scores: (n,) their ``aipw_scores``.
        rank_by: (n,) what they are ranked by.
        shares: The shares, in (0, 1].

    Returns:
        The gain at each share with its 95 % interval, each by itself.
    """
    ranks = rank_shares(rank_by)
    gains = (scores * (ranks <= share) for share in shares)
    return tuple(
        estimate_with_error(float(gain.mean()), _clustered_error(gain, experiment.lead)).effect
        for gain in gains
    )


def rank_shares(rank_by: Floats) -> Floats:
    """The share of rows with a greater value and half of those with the same one, in (0, 1).

    >>> rank_shares(np.array([5.0, 1.0, 3.0, 3.0])).tolist()
    [0.125, 0.875, 0.5, 0.5]
    """
    ordered = np.sort(-rank_by)
    before, until = (np.searchsorted(ordered, -rank_by, side) for side in ("left", "right"))
    return np.asarray((before + until) / (2 * len(rank_by)))


def differ(estimates: Sequence[EffectEstimate]) -> float:
    """The p-value of the hypothesis that effects of separate groups are all the same (Cochran 1954).

    >>> same = estimate_with_error(0.1, 0.02)
    >>> round(differ([same, same]), 3)
    1.0
    """
    weight = np.array([1 / max(each.error, 1e-12) ** 2 for each in estimates])
    value = np.array([each.effect.value for each in estimates])
    excess = float(weight @ (value - np.average(value, weights=weight)) ** 2)
    return float(chi2.sf(excess, len(estimates) - 1))


def holm(p_values: Sequence[float], rate: float = ERROR_RATE) -> tuple[bool, ...]:
    """Which hypotheses are rejected so that with chance ``rate`` at most any true one is (Holm 1979).

    Args:
        p_values: One of each hypothesis.
        rate: The error rate of all of them together.

    Returns:
        For each whether it is rejected.

    >>> holm([0.04, 0.001, 0.02])
    (True, True, True)
    >>> holm([0.04, 0.001, 0.03])
    (False, True, False)
    """
    order = np.argsort(p_values, kind="stable")
    rejected = [False] * len(p_values)
    for step, place in enumerate(order):
        if p_values[place] > rate / (len(p_values) - step):
            break
        rejected[place] = True
    return tuple(rejected)


def leads_needed(
    rate: float, effect: float, control_share: float, power: float = 0.8, alpha: float = OVERALL_ERROR_RATE
) -> LeadsNeeded:
    """How many leads it takes to see an effect, by the normal formula for two shares (Fleiss 1981).

    Args:
        rate: The share of leads of the control group with the outcome.
        effect: The difference that is to be seen, in shares.
        control_share: The share of leads that are the control group, in (0, 1).
        power: How often it is to be seen. Default: 80 %.
        alpha: The error rate, to both sides together.

    Returns:
        The leads of the control group, and the others.

    >>> leads_needed(0.2, 0.05, 0.5, alpha=0.05)
    LeadsNeeded(control=1094, treated=1094)
    """
    other = min(max(rate + effect, 0.0), 1.0)
    odds = (1 - control_share) / control_share
    pooled = (rate + odds * other) / (1 + odds)
    null = math.sqrt(pooled * (1 - pooled) * (1 + 1 / odds))
    alternative = math.sqrt(rate * (1 - rate) + other * (1 - other) / odds)
    control = ((norm.isf(alpha / 2) * null + norm.isf(1 - power) * alternative) / effect) ** 2
    return LeadsNeeded(math.ceil(control), math.ceil(control * odds))
