"""The additive part: a penalised logistic regression whose ridge penalties are chosen by the evidence.

Numbers enter as piecewise linear curves, categories as one effect per level. Each feature has a ridge penalty
of its own, set to the value under which the rows are most likely (MacKay 1992; the random-effects view of
Fellner and Schall): where the rows show little, the curve shrinks to flat. No penalty is chosen by hand or by
cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from models.additive import AdditiveModel, CategoryTerm, PiecewiseLinearTerm
from training.learner.blas_threads import one_blas_thread
from training.learner.monotonic import isotonic_effect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.encoding import FeatureEncoder, FeatureEncoding
    from training.data.training_rows import TrainingRows

MOST_KNOTS, FEWEST_KNOTS = 16, 4
# Curves share this many steps, so that hundreds of features do not make the equations unwieldy.
STEPS = 500
# Levels of at least so many rows have an effect each. Where these are too many, or leave too many rows to the
# rarer ones, the category enters by the log-odds of its levels' rates instead: one coefficient.
FEWEST, MOST_LEVELS, LEAST_COVERED = 10, 200, 0.7
# Multiplications that a look at the curvature may cost; more rows than that allows are sampled.
BUDGET = 8e9
# Newton steps share one look at the curvature until the rows' log-odds have moved by so much on average.
STALE = 0.05
# On the way to the first penalties every fourth row shows it, where rows are so many for each column.
SKETCH, ENOUGH = 4, 50
# The prior of a penalty: gamma with this shape and rate, nearly flat over what occurs.
SHAPE, RATE = 0.1, 0.01
PENALTY, STEPS_FIRST, STEPS_IN_ALL = 5.0, 5, 12


@dataclass(frozen=True, eq=False)
class FeatureTerm:
    """The design columns of one feature and how they are computed.

    Attributes:
        source: Column of the training matrix that holds the feature's value or code.
        knots: (k,) ascending knots of a number's curve; None for a category.
        level_of: (codes,) design column of each code; None where the category enters by its rate alone.
        scores: (codes,) log-odds of each code's rate, where there are too many levels for an effect each.
        rate_column: Column of the training matrix with the cross-fitted rate that goes with ``scores``.
    """

    source: int
    knots: NDArray[np.float64] | None = None
    level_of: NDArray[np.intp] | None = None
    scores: NDArray[np.float64] | None = None
    rate_column: int = 0

    @property
    def width(self) -> int:
        """The number of penalised coefficients, without the one for a missing value."""
        if self.knots is not None:
            return len(self.knots) - 1
        return 1 if self.level_of is None else int(self.level_of.max()) + 1

    def columns(self, matrix: NDArray[np.float64]) -> NDArray[np.generic]:
        """Compute the design columns of the term.

        Args:
            matrix: (n, columns) training matrix.

        Returns:
            (width, n) array, one row per coefficient.
        """
        if self.knots is not None:
            return _ramp_basis(matrix[:, self.source], self.knots)
        if self.level_of is None:
            return np.asarray(logit(matrix[:, self.rate_column])[None])
        level = self.level_of[matrix[:, self.source].astype(np.intp)]
        return np.asarray(level == np.arange(self.width)[:, None])

    def effect(self, beta: NDArray[np.float64], missing: float) -> PiecewiseLinearTerm | CategoryTerm:
        """Turn fitted coefficients into a curve (number) or a table (category).

        Args:
            beta: (width,) coefficients.
            missing: The effect of a missing number, in log-odds.
        """
        if self.knots is not None:
            values = np.append(0.0, np.cumsum(beta))
            return PiecewiseLinearTerm(tuple(self.knots.tolist()), tuple(values.tolist()), missing)
        values = beta[self.level_of] if self.level_of is not None else beta[0] * self.scores
        return CategoryTerm(tuple(values.tolist()))


def fit_additive(
    rows: TrainingRows, encodings: FeatureEncoder, matrix: NDArray[np.float64], seed: int
) -> AdditiveModel:
    """Fit the additive part: a logistic regression with one evidence-based ridge penalty per feature.

    Effects average to zero over the rows they were fitted to, so the intercept is the log-odds of an average
    lead. Constrained features are made monotone afterwards by isotonic regression.

    Args:
        rows: Training rows.
        encodings: The fitted encodings of ``rows``.
        matrix: (n, columns) their matrix with cross-fitted rates, as ``fit_encoders`` returns it.
        seed: Seed of the sample that is taken where rows and columns are many.

    Returns:
        The additive model: its contributions are in log-odds.
    """
    numbers = sum(feature.kind != "category" for feature in encodings.features)
    knots = int(np.clip(STEPS // max(1, numbers), FEWEST_KNOTS, MOST_KNOTS))
    features = len(encodings.features)
    terms = [
        _make_term(feature, source, start, matrix, knots)
        for feature, source, start in zip(
            encodings.features, encodings.sources[:features], encodings.starts[:features], strict=True
        )
    ]
    terms += [
        FeatureTerm(source, knots=_choose_knots(matrix[:, source], knots))
        for source in encodings.sources[features:]
    ]
    sample = _sample_rows(len(rows), sum(term.width for term in terms), seed)
    sampled_matrix = matrix[sample]
    with one_blas_thread():
        penalties = _penalty_groups(rows, encodings.feature_names)
        beta, missing, intercept = _fit_coefficients(rows.take(sample), terms, sampled_matrix, penalties)
    ends = np.cumsum([term.width for term in terms])
    effects = [
        isotonic_effect(term.effect(beta[end - term.width : end], missing_effect), rows.monotone.get(name, 0))
        for name, term, end, missing_effect in zip(encodings.feature_names, terms, ends, missing, strict=True)
    ]
    return _center_effects(
        AdditiveModel(intercept, tuple(effects), encodings.sources), sampled_matrix, rows.w[sample]
    )


def _make_term(
    feature: FeatureEncoding, source: int, start: int, matrix: NDArray[np.float64], knots: int
) -> FeatureTerm:
    if feature.kind != "category":
        return FeatureTerm(source, knots=_choose_knots(matrix[:, source], knots))
    if not feature.rates:  # nothing is told by its values; an effect of all rows ends up in the intercept
        return FeatureTerm(source, level_of=np.zeros(len(feature.levels) + 2, dtype=np.intp))
    codes = matrix[:, source].astype(np.intp)
    rows = np.bincount(codes, minlength=len(feature.levels) + 2)
    frequent = np.flatnonzero(rows[: feature.other] >= FEWEST)
    covered = rows[frequent].sum() >= LEAST_COVERED * rows[: feature.other + 1].sum()
    if len(frequent) > MOST_LEVELS or not covered:
        return FeatureTerm(source, scores=logit(np.array(feature.rates)), rate_column=start)
    # Rare and unknown values share column 0, missing ones have column 1.
    level_of = np.zeros(len(rows), dtype=np.intp)
    level_of[feature.other + 1] = 1
    level_of[frequent] = np.arange(len(frequent)) + 2
    return FeatureTerm(source, level_of=level_of)


def _choose_knots(x: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """The distinct values of ``x`` where there are at most ``most``, else ``most`` + 1 of its quantiles."""
    known = np.sort(x[np.isfinite(x)])
    if not len(known):
        return np.zeros(1)
    values = np.asarray(known[np.append(True, known[1:] != known[:-1])])
    if len(values) <= most:
        return values
    ranks = np.rint(np.linspace(0, len(known) - 1, most + 1)).astype(np.intp)
    return np.asarray(np.unique(known[ranks]))


def _ramp_basis(x: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """The basis of a piecewise linear curve: (knots - 1, n) shares in [0, 1] of each step between knots.

    A missing value has 0 everywhere. A ridge penalty on these steps shrinks the curve to flat, not to zero.
    """
    fraction = (np.where(np.isnan(x), knots[0], x) - knots[:-1, None]) / np.diff(knots)[:, None]
    return np.asarray(np.clip(fraction, 0.0, 1.0), dtype=np.float64)


def _sample_rows(rows: int, width: int, seed: int) -> NDArray[np.intp]:
    most = max(5000, int(BUDGET / max(1, width) ** 2))
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _penalty_groups(rows: TrainingRows, names: tuple[str, ...]) -> list[int]:
    """The number of the penalty of each feature: one for all choices of a column, else one of its own.

    A few choices alone show little of how much such choices tell; all of them together show more.
    """
    owners = ((name, rows.extractions.get(name)) for name in names)
    keys = [
        ("", each.column) if each is not None and each.part == "choice" else ("feature", name)
        for name, each in owners
    ]
    numbers: dict[tuple[str, str], int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _fit_coefficients(
    rows: TrainingRows, terms: list[FeatureTerm], matrix: NDArray[np.float64], penalties: list[int]
) -> tuple[NDArray[np.float64], list[float], float]:
    """The (width,) coefficients of all terms, the effect of a missing value per term, and the intercept."""
    with_missing = [
        place
        for place, term in enumerate(terms)
        if term.knots is not None and np.isnan(matrix[:, term.source]).any()
    ]
    last = max(penalties, default=-1) + 1
    group = np.repeat([*penalties, last], [*(term.width for term in terms), len(with_missing)])
    ends = np.cumsum([term.width for term in terms])
    design = np.ones((len(group) + 1, len(rows)), dtype=np.float32)
    for term, end in zip(terms, ends, strict=True):
        design[end - term.width : end] = term.columns(matrix)
    for row, place in enumerate(with_missing, start=len(group) - len(with_missing)):
        design[row] = np.isnan(matrix[:, terms[place].source])
    beta = fit_ridge_by_evidence(design.T, rows.y, rows.effective_weights, group)
    missing = np.zeros(len(terms))
    missing[with_missing] = beta[len(group) - len(with_missing) : len(group)]
    return beta[: len(group) - len(with_missing)], missing.tolist(), float(beta[-1])


def fit_ridge_by_evidence(
    design: NDArray[np.floating], y: NDArray[np.number], w: NDArray[np.float64], group: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Fit a logistic regression with one ridge penalty per group of coefficients, each set by the evidence.

    Newton's method, each step with the gradient of all rows and a Hessian that is renewed only after the
    log-odds have moved. After the first ``STEPS_FIRST`` steps every step updates the penalties too, by
    MacKay's fixed point (MacKay 1992).

    Args:
        design: (n, k + 1) columns; the last one is all ones and is not penalised.
        y: (n,) outcomes, 0 or 1.
        w: (n,) weights of the rows.
        group: (k,) the penalty, numbered from 0, of each penalised coefficient.

    Returns:
        (k + 1,) coefficients in log-odds, the intercept last.

    Example:
        Without signal the coefficient shrinks, and the intercept is the log-odds of the rate:

        >>> x = np.tile([-1.0, 1.0], 200)
        >>> y = np.repeat([0.0, 0.0, 0.0, 1.0], 100)
        >>> design = np.column_stack([x, np.ones(400)])
        >>> slope, intercept = fit_ridge_by_evidence(design, y, np.ones(400), np.zeros(1, dtype=np.intp))
        >>> round(abs(float(slope)), 3), round(float(intercept), 2)
        (0.0, -1.1)
    """
    penalty = np.full(int(group.max(initial=-1)) + 1, PENALTY)
    beta = np.zeros(design.shape[1])
    beta[-1] = logit((w @ y + 0.5) / (w.sum() + 1.0))
    expansion_point = np.zeros(len(y))
    for step in range(STEPS_IN_ALL):
        ridge = np.append(penalty[group], 1e-6)
        log_odds = _multiply(design, beta)
        p = expit(log_odds)
        hessian_weights = w * p * (1 - p)
        if (
            step in {0, STEPS_FIRST}
            or hessian_weights @ np.abs(log_odds - expansion_point) > STALE * hessian_weights.sum()
        ):
            stride = SKETCH if step < STEPS_FIRST and len(y) >= ENOUGH * len(beta) else 1
            expansion_point, curvature = (
                log_odds,
                _hessian(design[::stride], stride * hessian_weights[::stride]),
            )
        hessian = curvature + np.diag(ridge)
        gradient = _multiply(design.T, w * (p - y)) + ridge * beta
        # Only the penalties need the inverse, which costs four times a solution.
        inverse = np.linalg.inv(hessian) if step >= STEPS_FIRST else None
        change = np.linalg.solve(hessian, gradient) if inverse is None else inverse @ gradient
        # A long step can overshoot where the sigmoid is flat; a bounded one cannot.
        beta = beta - change / max(1.0, float(np.abs(change).max()) / 2)
        if inverse is not None:
            penalty = _update_penalties(penalty, group, beta[:-1], np.diag(inverse)[:-1])
    return beta


def _update_penalties(
    penalty: NDArray[np.float64],
    group: NDArray[np.intp],
    beta: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The next penalty of each group by MacKay's fixed point: effective coefficients / sum of squares."""
    width, variances, squares = (
        np.bincount(group, weights=weights, minlength=len(penalty))
        for weights in (np.ones(len(group)), variance, beta**2)
    )
    effective = width - penalty * variances
    return np.asarray(np.clip((effective + 2 * SHAPE) / (squares + 2 * RATE), 1e-2, 1e5))


def _multiply(design: NDArray[np.floating], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """``design @ vector`` in the precision of ``design``: single precision halves the time."""
    return np.asarray(design @ vector.astype(design.dtype), dtype=np.float64)


def _hessian(design: NDArray[np.floating], hessian_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(columns, columns): the second derivatives of the loss, the expensive part of a Newton step."""
    root = design * np.sqrt(hessian_weights).astype(design.dtype)[:, None]
    return np.asarray(root.T @ root, dtype=np.float64)


def _center_effects(
    part: AdditiveModel, matrix: NDArray[np.float64], w: NDArray[np.float64]
) -> AdditiveModel:
    """The same function with effects that average to zero over the rows, weighted by ``w``."""
    means = w @ part.contributions(matrix) / w.sum()
    effects = tuple(
        _shift_effect(effect, mean) for effect, mean in zip(part.effects, means.tolist(), strict=True)
    )
    return AdditiveModel(part.intercept + float(means.sum()), effects, part.sources)


def _shift_effect(
    effect: PiecewiseLinearTerm | CategoryTerm, shift: float
) -> PiecewiseLinearTerm | CategoryTerm:
    values = tuple(value - shift for value in effect.values)
    if isinstance(effect, CategoryTerm):
        return CategoryTerm(values)
    return PiecewiseLinearTerm(effect.knots, values, effect.missing - shift)
