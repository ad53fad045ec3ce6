"""Combinations of columns that tell more together than each alone: two codes of which only the pair decides.

Each pair of categories (whole numbers may be codes, too) gets the effect by which the log-odds of its leads
differ from the additive part, shrunken to none by empirical Bayes (James and Stein 1961; Robbins 1956). It
counts only where leads of other folds show it, with all pairs that were tried accounted for (Bonferroni).
Pairs that count are tried with a third column, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations as subsets
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import expit
from scipy.stats import norm

from models.encoding import TOGETHER, CombinationEncoding
from models.metrics import log_loss_per_row
from training.learner.cross_validation import assign_folds
from training.learner.encoders import FEWEST_LEADS, code_evidence, gain_in_standard_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.encoding import FeatureEncoder, FeatureEncoding
    from training.data.training_rows import TrainingRows

# The chance that any combination is chosen where there is none.
ERROR_RATE = 0.01
CROSS_FITS, PERIODS = 5, 4
# Standard errors by which later rows must gain by the effects of earlier ones, where rows have an order.
LASTING = 2.0
# Columns with the most levels are tried first: what few levels have in common the trees find themselves.
MOST_COLUMNS, MOST_COMBINATIONS = 16, 6
# Standard errors by which residuals must vary more between combinations than chance makes them.
STANDS_OUT = 2.0
# The least and the most that effects may vary by, as a variance in log-odds.
LEAST_VARIANCE, MOST_VARIANCE = 1e-4, 9.0


@dataclass(frozen=True, eq=False)
class FittedCombination:
    """The encoding of a combination, and (n,) the cross-fitted effects of the rows that it was fitted to."""

    encoding: CombinationEncoding
    cross_fitted: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Trial:
    """What the rows of other folds say of a combination: its effects, and how sure it is that they help."""

    parts: tuple[str, ...]
    effects: NDArray[np.float64]
    z: float
    lasts: bool


@dataclass(frozen=True, eq=False)
class _Evidence:
    """The rows, the fold of each, and (n,) the codes of each column that may combine."""

    rows: TrainingRows
    fold: NDArray[np.intp]
    codes: dict[str, NDArray[np.int64]]

    def cells(self, parts: tuple[str, ...]) -> NDArray[np.int64]:
        """(n,) the number of the combination of each row."""
        cell, size = self.codes[parts[0]], self.sizes[parts[0]]
        for part in parts[1:]:
            cell, size = cell * self.sizes[part] + self.codes[part], size * self.sizes[part]
            if size > len(cell):  # most of the numbers are of no row then
                cell = _renumber(cell)
                size = int(cell.max()) + 1
        return cell

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many codes each column has."""
        return {name: int(codes.max()) + 1 for name, codes in self.codes.items()}

    def stands_out(
        self, parts: tuple[str, ...], score: NDArray[np.float64], information: NDArray[np.float64]
    ) -> bool:
        """Whether residuals of a combination add up to more than chance makes of them.

        It costs a fifth of a trial on other folds, and spares it where nothing can come of it: the sum of the
        squared scores, less their variance, in standard errors.
        """
        cell = self.cells(parts)
        scores, informations = np.bincount(cell, score), np.bincount(cell, information)
        excess = float(scores @ scores - informations.sum())
        return excess > STANDS_OUT * float(np.sqrt(2 * informations @ informations))

    def cross_fitted(
        self, cell: NDArray[np.int64], fold: NDArray[np.intp], log_odds: NDArray[np.float64], *, earlier: bool
    ) -> NDArray[np.float64]:
        """(n,) effects by the rows of the other folds, or by those of ``earlier`` ones."""
        count = int(fold.max()) + 1
        size = (int(cell.max()) + 1) * count
        place = cell * count + fold
        p = expit(log_odds)
        w = self.rows.effective_weights
        score, information, rows = (
            np.bincount(place, weights=each, minlength=size).astype(np.float64).reshape(-1, count)
            for each in (w * (self.rows.y - p), w * p * (1 - p), None)
        )
        if earlier:
            score, information, rows = (np.cumsum(each, axis=1) - each for each in (score, information, rows))
        else:
            score, information, rows = (
                each.sum(axis=1, keepdims=True) - each for each in (score, information, rows)
            )
        return np.asarray(_shrunken_effects(score, information, rows > 0).ravel()[place])

    def gain(self, effects: NDArray[np.float64], log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """(leads,) by how much log-loss is less with ``effects``."""
        loss = log_loss_per_row(self.rows.y, log_odds) - log_loss_per_row(self.rows.y, log_odds + effects)
        return np.bincount(self.rows.group, weights=self.rows.w * loss).astype(np.float64)

    def try_combination(self, parts: tuple[str, ...], log_odds: NDArray[np.float64]) -> _Trial:
        """How sure it is that a combination says more than ``log_odds`` (n,)."""
        cell = self.cells(parts)
        effects = self.cross_fitted(cell, self.fold, log_odds, earlier=False)
        gain = self.gain(effects, log_odds)
        z = gain_in_standard_errors(gain)
        return _Trial(parts, effects, z, self._lasts(cell, log_odds) if z > 1 else False)

    def _lasts(self, cell: NDArray[np.int64], log_odds: NDArray[np.float64]) -> bool:
        """Whether later rows gain by the effects of earlier ones; true where rows have no order."""
        order = self.rows.order
        if order is None:
            return True
        bounds = np.unique(np.quantile(order, np.arange(1, PERIODS) / PERIODS, method="higher"))
        period = np.searchsorted(bounds, order, side="right")
        effects = self.cross_fitted(cell, period, log_odds, earlier=True)
        return gain_in_standard_errors(self.gain(effects, log_odds)) > LASTING


def find_combinations(
    rows: TrainingRows, encodings: FeatureEncoder, log_odds: NDArray[np.float64], seed: int
) -> tuple[FittedCombination, ...]:
    """Find the pairs and triples of columns that tell other folds more than the additive part does.

    Args:
        rows: Training rows.
        encodings: The encodings of their columns; those that say nothing are not combined.
        log_odds: (n,) log-odds of the additive part without combinations.
        seed: Seed of the folds.

    Returns:
        The combinations, at most ``MOST_COMBINATIONS``, the surest first; mostly none.
    """
    fold = assign_folds(rows, CROSS_FITS, seed)
    codes = _candidate_codes(rows, encodings, fold)
    pairs = [parts for parts in subsets(codes, 2) if TOGETHER.join(parts) not in rows.frame.columns]
    if not pairs:
        return ()
    evidence = _Evidence(rows, fold, codes)
    # Triples are tried with what is left of the error rate once pairs have had theirs.
    chosen, explained = _choose(evidence, pairs, log_odds, ERROR_RATE / 2, MOST_COMBINATIONS)
    if chosen:
        triples = sorted(
            {
                tuple(name for name in codes if name in {*trial.parts, other})
                for trial in chosen
                for other in codes
                if other not in trial.parts
            }
        )
        more, _ = _choose(evidence, triples, explained, ERROR_RATE / 2, MOST_COMBINATIONS - len(chosen))
        chosen = [*chosen, *more]
    return fit_combinations(rows, [trial.parts for trial in chosen], log_odds, seed)


def fit_combinations(
    rows: TrainingRows, parts: Sequence[tuple[str, ...]], log_odds: NDArray[np.float64], seed: int
) -> tuple[FittedCombination, ...]:
    """Fit the effects of given combinations, each beyond those before it.

    Args:
        rows: Training rows.
        parts: The columns of each combination.
        log_odds: (n,) log-odds of the additive part without combinations.
        seed: Seed of the folds.
    """
    if not parts:
        return ()
    codes = {name: _codes(rows.frame[name]) for name in {each for names in parts for each in names}}
    evidence = _Evidence(rows, assign_folds(rows, CROSS_FITS, seed), codes)
    fitted = []
    for names in parts:
        cell = evidence.cells(names)
        cross_fitted = evidence.cross_fitted(cell, evidence.fold, log_odds, earlier=False)
        is_common = np.logical_and.reduce([_is_common(codes[name], rows.group) for name in names])
        fitted.append(FittedCombination(_encoding(rows, names, cell, log_odds, is_common), cross_fitted))
        log_odds = log_odds + cross_fitted
    return tuple(fitted)


def _choose(
    evidence: _Evidence,
    candidates: Sequence[tuple[str, ...]],
    log_odds: NDArray[np.float64],
    error_rate: float,
    most: int,
) -> tuple[list[_Trial], NDArray[np.float64]]:
    """The candidates that count, each beyond those before it, and (n,) the log-odds with them."""
    least = float(norm.isf(error_rate / max(1, len(candidates))))
    p = expit(log_odds)
    w = evidence.rows.effective_weights
    score, information = w * (evidence.rows.y - p), w * p * (1 - p)
    chosen = list[_Trial]()
    candidates = [parts for parts in candidates if evidence.stands_out(parts, score, information)]
    while candidates and len(chosen) < most:
        trials = [evidence.try_combination(parts, log_odds) for parts in candidates]
        trials = [trial for trial in trials if trial.lasts and trial.z > least]
        if not trials:
            break
        best = max(trials, key=lambda trial: trial.z)
        chosen.append(best)
        log_odds = log_odds + best.effects
        candidates = [trial.parts for trial in trials if trial is not best]
    return chosen, log_odds


def _is_common(codes: NDArray[np.int64], lead: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(n,) whether at least ``FEWEST_LEADS`` leads have the value of each row: no other one is to be kept."""
    leads = int(lead.max()) + 1
    of_lead = np.unique(codes * leads + lead) // leads
    return np.asarray(np.bincount(of_lead) >= FEWEST_LEADS)[codes]


def _encoding(
    rows: TrainingRows,
    parts: tuple[str, ...],
    cell: NDArray[np.int64],
    log_odds: NDArray[np.float64],
    is_common: NDArray[np.bool_],
) -> CombinationEncoding:
    p, w = expit(log_odds), rows.effective_weights
    score, information, count = (
        np.bincount(cell, weights=each).astype(np.float64)
        for each in (w * (rows.y - p), w * p * (1 - p), None)
    )
    # A single row counts, too: what one other row shows is what most rows had to learn by.
    effects = _shrunken_effects(score[:, None], information[:, None], (count > 0)[:, None])[:, 0]
    first = np.zeros(len(count), dtype=np.int64)
    first[cell[::-1]] = np.arange(len(cell))[::-1]
    # Not every number is one of a cell.
    present = np.flatnonzero(np.bincount(cell, weights=is_common))
    keys = CombinationEncoding(parts).keys(rows.frame[first[present].tolist()])
    levels = pl.DataFrame({"key": keys, "effect": effects[present]}).sort("key")
    return CombinationEncoding(parts, tuple(levels["key"].to_list()), tuple(levels["effect"].to_list()))


def _shrunken_effects(
    score: NDArray[np.float64], information: NDArray[np.float64], usable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Effects by columns: score / (information + 1 / variance), the variance by the method of moments.

    A score has the variance ``information`` where there are no effects; what it varies more is theirs.
    """
    score, information = np.where(usable, score, 0.0), np.where(usable, information, 0.0)
    excess = (score**2 - information).sum(axis=0)
    variance = np.clip(
        excess / np.maximum((information**2).sum(axis=0), 1e-12), LEAST_VARIANCE, MOST_VARIANCE
    )
    return np.asarray(score / (information + 1 / variance))


def _candidate_codes(
    rows: TrainingRows, encodings: FeatureEncoder, fold: NDArray[np.intp]
) -> dict[str, NDArray[np.int64]]:
    """The codes of the columns that may combine, those with the most levels first."""
    combinations = {
        feature.name: _codes(rows.frame[feature.name])
        for feature in encodings.features
        if _may_combine(rows, feature, fold)
    }
    levels = {name: int(codes.max()) for name, codes in combinations.items()}
    names = sorted(
        (name for name in combinations if levels[name] > 0), key=lambda name: (-levels[name], name)
    )
    return {name: combinations[name] for name in names[:MOST_COLUMNS]}


def _may_combine(rows: TrainingRows, feature: FeatureEncoding, fold: NDArray[np.intp]) -> bool:
    """Whether a column holds categories that count, or whole numbers that may be codes.

    Where the outcome goes with the size of a number, curves and trees know more of it than cells do.
    """
    if not rows.frame[feature.name].dtype.is_numeric():
        return feature.kind == "category" and bool(feature.rates)
    evidence = code_evidence(rows, feature.name, fold)
    return evidence is not None and not evidence.have_order


def _codes(column: pl.Series) -> NDArray[np.int64]:
    """(n,) a number for each value, a missing one included."""
    return _renumber(column.rank("dense").fill_null(0).cast(pl.Int64).to_numpy())


def _renumber(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the values numbered from 0 without gaps."""
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)
