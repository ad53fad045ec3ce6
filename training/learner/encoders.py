"""Fit encodings to rows, with a training matrix in which no row's rate includes its own outcome."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import logit

from models.encoding import FeatureEncoder, FeatureEncoding, to_floats
from models.metrics import log_loss_per_row
from training.learner.cross_validation import assign_folds
from training.learner.word_weights import cross_fitted_word_scores, fit_word_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.training_rows import TrainingRows

# A level of fewer leads shares a code with values never seen: the model then knows what "rare" means, and its
# folder holds no value that points at one lead, however many snapshots that has. Not higher, though: with
# thousands of region codes of a few leads each, what little each tells adds up.
FEWEST_LEADS = 2
# Rows that the overall rate counts for against a level's own rate.
SMOOTHING = 10.0
# A level with at least this share of the rows has a 0/1 column of its own, the most common ones first.
COMMON, FEWEST_ALONE, MOST_ALONE = 0.01, 5, 20
# A number with at most this many values, all whole and above zero, may be a code; counts start at zero.
FEW_VALUES = 30
# Below this many levels, how common a level is says little that its rate does not.
MANY_LEVELS = 12
CROSS_FITS = 5
# Whole numbers are categories where their levels tell other folds more than the levels beside them and than
# ranges do: by so many standard errors, and the levels beside them at most this share of it. Of an amount its
# neighbours tell nearly all.
CLEARLY_CODES, MOST_IN_ORDER = 3.0, 0.5
# Curves have a knot at each of so few levels, so that nothing is to be gained.
RANGES = 16
NEIGHBOURHOODS, ROWS_A_LEVEL = 32, 3
# Standard errors by which neighbours tell of each other where numbers have an order.
IN_ORDER = 2.0


def fit_encoders(rows: TrainingRows, seed: int) -> tuple[FeatureEncoder, NDArray[np.float64]]:
    """Fit the encoding of every column, with cross-fitted target rates.

    Smoothed target encoding (Micci-Barreca 2001), cross-fitted as in scikit-learn's TargetEncoder: without
    that, the rate of a rare level would give away the outcomes it is meant to predict.

    Args:
        rows: Training rows.
        seed: Seed of the folds that rates are cross-fitted in.

    Returns:
        The encodings, which hold the rates of all rows, and the (n, columns) training matrix, in which each
        row has the rates of the other folds.
    """
    fold = assign_folds(rows, CROSS_FITS, seed)
    fits = [_fit_cross_fitted(rows, name, fold, seed) for name in rows.frame.columns]
    encodings = FeatureEncoder(tuple(encoding for encoding, _ in fits))
    matrix = encodings.encode(rows.frame)
    for (encoding, cross_fitted), start in zip(fits, encodings.starts, strict=True):
        if cross_fitted is not None:
            matrix[:, start + (encoding.kind == "number")] = cross_fitted
    return encodings, matrix


def _fit_cross_fitted(
    rows: TrainingRows, name: str, fold: NDArray[np.intp], seed: int
) -> tuple[FeatureEncoding, NDArray[np.float64] | None]:
    """The encoding of one column, and (n,) its cross-fitted rates or scores if it has any.

    What was read out of a column is a guess at what may matter, and each guess costs a little where it is
    wrong: it counts only where it tells rows of other folds more than the base rate does.
    """
    if name in rows.texts:
        encoding = fit_word_weights(rows, name, seed)
        scores = cross_fitted_word_scores(rows, encoding, fold, seed)
        logits = np.nan_to_num(scores - np.nanmean(scores)) if encoding.weights else np.zeros(len(rows))
        if not _beats_base_rate(rows, logit(rows.rate) + logits):
            return _silent(name), None
        return encoding, scores
    encoding, codes = _fit_encoding(rows, name, fold)
    rates = None if codes is None else _cross_fitted_rates(rows, codes, len(encoding.levels) + 2, fold)
    if name not in rows.extractions or rows.extractions[name].unit in {"seconds", "clock"}:
        return encoding, rates
    known_rates = _flag_rates(rows, name, fold) if rates is None else rates
    return (encoding, rates) if _beats_base_rate(rows, logit(known_rates)) else (_silent(name), None)


def _silent(name: str) -> FeatureEncoding:
    """The encoding of a column whose values count for nothing: no column of the trees, and one effect."""
    return FeatureEncoding(name, "category")


def _flag_rates(rows: TrainingRows, name: str, fold: NDArray[np.intp]) -> NDArray[np.float64]:
    """(n,) the cross-fitted rate of each row's flag: no, yes or missing."""
    codes = rows.frame[name].fill_null(2).cast(pl.Int64).to_numpy()
    return _cross_fitted_rates(rows, codes, 3, fold)


def _beats_base_rate(rows: TrainingRows, log_odds: NDArray[np.float64]) -> bool:
    """Whether log-odds by other folds have less log-loss than the base rate."""
    base_rate = np.full(len(rows), logit(rows.rate))
    loss, base_loss = (float(rows.w @ log_loss_per_row(rows.y, each)) for each in (log_odds, base_rate))
    return loss < base_loss


def _fit_encoding(
    rows: TrainingRows, name: str, fold: NDArray[np.intp]
) -> tuple[FeatureEncoding, NDArray[np.int64] | None]:
    """The encoding of one column, and the (n,) codes of the rows if it has any."""
    values = rows.frame[name]
    if name in rows.monotone:  # a rate of its own for each value would know no order
        return FeatureEncoding(name, "number"), None
    is_number = values.dtype.is_numeric() and not is_code_column(rows, name, fold)
    encoding = (_numeric_encoding if is_number else _categorical_encoding)(values, rows.group)
    if encoding.kind == "number" and not encoding.levels:
        return encoding, None
    codes = encoding.codes(values)
    size = len(encoding.levels) + 2
    return replace(
        encoding, rates=tuple(_smoothed_rates(rows.y, rows.w, codes, size, rows.rate).tolist())
    ), codes


@dataclass(frozen=True, eq=False)
class CodeEvidence:
    """What whole numbers tell of the outcome of other folds, each by itself and in their order.

    Attributes:
        by_level: (leads,) by how much log-loss is less with the rate of each number.
        by_neighbours: (leads,) the same with the rate of the numbers beside it.
        by_range: (leads,) the same with the rate of ranges of numbers of about as many rows.
    """

    by_level: NDArray[np.float64]
    by_neighbours: NDArray[np.float64]
    by_range: NDArray[np.float64]

    @property
    def are_codes(self) -> bool:
        """Whether what they tell has no order, and each tells more than a curve could."""
        others = (self.by_neighbours, self.by_range)
        is_clear = all(gain_in_standard_errors(self.by_level - other) > CLEARLY_CODES for other in others)
        return is_clear and self.by_neighbours.sum() <= MOST_IN_ORDER * self.by_level.sum()

    @property
    def have_order(self) -> bool:
        """Whether what they tell goes with their size."""
        return gain_in_standard_errors(self.by_neighbours) > IN_ORDER and not self.are_codes


def code_evidence(rows: TrainingRows, name: str, fold: NDArray[np.intp]) -> CodeEvidence | None:
    """Compare the rate of each number in other folds with that of its neighbours there, lead by lead.

    Args:
        rows: Training rows.
        name: A column.
        fold: (n,) the fold of each row.

    Returns:
        None where the column cannot hold codes: other than whole numbers above zero, or hardly any twice.
    """
    column = rows.frame[name]
    if not column.dtype.is_numeric() or name in rows.monotone:
        return None
    x = to_floats(column)
    known = x[~np.isnan(x)]
    if not len(known) or known.min() <= 0 or (known != np.floor(known)).any():
        return None
    if len(np.unique(known)) * ROWS_A_LEVEL > len(known):
        return None
    level = np.unique(np.where(np.isnan(x), 0.0, x), return_inverse=True)[1]
    size = int(level.max()) + 1
    before = np.cumsum(np.bincount(level)) - 1
    ranges = (before * RANGES // len(level))[level]
    rates = (
        _cross_fitted_rates(rows, level, size, fold),
        _neighbour_rates(rows, level, fold),
        _cross_fitted_rates(rows, ranges, RANGES, fold),
    )
    return CodeEvidence(*(_gain_over_base_rate(rows, rate) for rate in rates))


def is_code_column(rows: TrainingRows, name: str, fold: NDArray[np.intp]) -> bool:
    """Whether the numbers of a column are codes: what they tell of the outcome has no order.

    Of rows with an order earlier ones must tell later ones so, too: codes that are given anew, as those of
    routes and campaigns are, tell nothing of the next period.

    Args:
        rows: Training rows.
        name: A column.
        fold: (n,) the fold of each row.
    """
    if rows.frame[name].n_unique() <= RANGES:
        return False
    evidence = code_evidence(rows, name, fold)
    return evidence is not None and evidence.are_codes and _codes_last(rows, name)


def _codes_last(rows: TrainingRows, name: str) -> bool:
    """Whether the rates of numbers in the earlier half tell the later half more than ranges do."""
    if rows.order is None:
        return True
    later = rows.order > np.median(rows.order)
    earlier_rows = rows.take(np.flatnonzero(~later))
    if not 0 < later.sum() < len(rows) or not 0 < earlier_rows.y.sum() < len(earlier_rows):
        return False
    x = to_floats(rows.frame[name])
    level = np.unique(np.where(np.isnan(x), 0.0, x), return_inverse=True)[1]
    before = np.cumsum(np.bincount(level)) - 1
    losses = []
    for codes in (level, (before * RANGES // len(level))[level]):
        rates = _smoothed_rates(
            earlier_rows.y, earlier_rows.w, codes[~later], int(codes.max()) + 1, earlier_rows.rate
        )
        losses.append(float(rows.w[later] @ log_loss_per_row(rows.y[later], logit(rates[codes[later]]))))
    return losses[0] < losses[1]


def gain_in_standard_errors(gain: NDArray[np.float64]) -> float:
    """How many standard errors of their sum the gains of leads add up to."""
    error = float(np.linalg.norm(gain - gain.mean()))
    return float(gain.sum()) / error if error else 0.0


def find_code_columns(rows: TrainingRows, seed: int = 0) -> tuple[str, ...]:
    """The columns of whole numbers that a learner would take for categories.

    Args:
        rows: Training rows.
        seed: Seed of the folds, as in ``fit_encoders``.

    Returns:
        Their names, in the order of the columns.
    """
    fold = assign_folds(rows, CROSS_FITS, seed)
    return tuple(name for name in rows.frame.columns if is_code_column(rows, name, fold))


def _gain_over_base_rate(rows: TrainingRows, rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """(leads,) by how much log-loss is less with ``rates`` (n,) than with the rate of all rows."""
    base = np.full(len(rows), logit(rows.rate))
    gain = log_loss_per_row(rows.y, base) - log_loss_per_row(rows.y, logit(rates))
    return np.bincount(rows.group, rows.w * gain).astype(np.float64)


def _neighbour_rates(
    rows: TrainingRows, level: NDArray[np.intp], fold: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(n,) the rate of the levels on both sides of each row's level, without it, in other folds."""
    count, size = int(fold.max()) + 1, int(level.max()) + 1
    reach = -(-size // NEIGHBOURHOODS)
    low, high = np.maximum(np.arange(size) - reach, 0), np.minimum(np.arange(size) + reach + 1, size)
    sums = []
    for weights in (rows.w * rows.y, rows.w):
        cells = np.bincount(level * count + fold, weights, size * count).reshape(size, count)
        others = cells.sum(axis=1, keepdims=True) - cells
        total = np.vstack([np.zeros((1, count)), np.cumsum(others, axis=0)])
        sums.append(total[high] - total[low] - others)
    return np.asarray(_shrink_to_prior(sums[0], sums[1], rows.rate)[level, fold])


def _numeric_encoding(values: pl.Series, lead: NDArray[np.intp]) -> FeatureEncoding:
    x = to_floats(values)
    known = x[~np.isnan(x)]
    if not len(known) or known.min() <= 0:
        return FeatureEncoding(values.name, "number")
    levels = np.unique(known)
    is_code = 2 < len(levels) <= FEW_VALUES and bool((levels == np.round(levels)).all())  # noqa: PLR2004
    common = _common_levels(values.fill_nan(None), lead)["level"].to_list() if is_code else ()
    return FeatureEncoding(values.name, "number", tuple(common))


def _categorical_encoding(values: pl.Series, lead: NDArray[np.intp]) -> FeatureEncoding:
    values = values.fill_nan(None) if values.dtype.is_numeric() else values
    tally = _common_levels(values, lead)
    levels, rows = tuple(tally["level"].to_list()), tally["rows"].to_numpy()
    other, missing = len(values) - values.null_count() - int(rows.sum()), values.null_count()
    rare_levels = values.drop_nulls().n_unique() - tally.height
    counts = np.concatenate([rows, [other / max(1, rare_levels), missing]]).astype(np.float64)
    common = np.flatnonzero(counts >= max(FEWEST_ALONE, COMMON * len(values)))
    alone = np.sort(common[np.argsort(-counts[common], kind="stable")][:MOST_ALONE])
    return FeatureEncoding(
        values.name,
        "category",
        levels,
        counts=tuple(counts.tolist()) if len(levels) > MANY_LEVELS else (),
        alone=tuple(alone.tolist()) if len(alone) > 1 else (),
    )


def _common_levels(values: pl.Series, lead: NDArray[np.intp]) -> pl.DataFrame:
    """Each ``level`` that at least ``FEWEST_LEADS`` leads have, sorted, with how many ``rows`` have it."""
    table = pl.DataFrame({"level": values, "lead": lead}).drop_nulls("level")
    tally = table.group_by("level").agg(rows=pl.len(), leads=pl.col("lead").n_unique())
    return tally.filter(pl.col("leads") >= FEWEST_LEADS).sort("level")


def _smoothed_rates(
    y: NDArray[np.number], w: NDArray[np.float64], codes: NDArray[np.int64], size: int, prior: float
) -> NDArray[np.float64]:
    """(size,) the rate of each code, shrunk to ``prior``."""
    positive = np.bincount(codes, weights=w * y, minlength=size)
    return _shrink_to_prior(positive, np.bincount(codes, weights=w, minlength=size), prior)


def _shrink_to_prior(
    positive: NDArray[np.number], total: NDArray[np.number], prior: float
) -> NDArray[np.float64]:
    """Rates with ``SMOOTHING`` pseudo-rows at ``prior``; exactly ``prior`` where there are no rows."""
    return np.asarray((positive + SMOOTHING * prior) / (total + SMOOTHING), dtype=np.float64)


def _cross_fitted_rates(
    rows: TrainingRows, codes: NDArray[np.int64], size: int, fold: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(n,) the rate of each row's code, computed from the rows outside its fold."""
    count = int(fold.max()) + 1
    cell = codes * count + fold
    positive, total = (
        np.bincount(cell, weights=weights, minlength=size * count).reshape(size, count)
        for weights in (rows.w * rows.y, rows.w)
    )
    positive, total = (cells.sum(axis=1, keepdims=True) - cells for cells in (positive, total))
    return np.asarray(_shrink_to_prior(positive, total, rows.rate).ravel()[cell])
