"""Weights of the words of a text: a penalised logistic regression on the words that enough leads have.

The words are chosen and weighed by the training rows alone, fold by fold: a word that only later rows have,
or an outcome that is held out, changes nothing. A text then is one number, the sum of its words' weights, of
which each training row has the one by the rows of other folds, as categories have their rates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.encoding import FeatureEncoding
from training.data.texts import frequent_words, word_matrix
from training.learner.additive import fit_ridge_by_evidence
from training.learner.blas_threads import one_blas_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.training_rows import TrainingRows

MOST_WORDS = 200
# Multiplications that one look at the curvature may cost; more rows than that allows are sampled.
BUDGET = 2e9
_LEAST_ROWS = 5_000


def fit_word_weights(rows: TrainingRows, name: str, seed: int) -> FeatureEncoding:
    """Choose the words of the text column ``name`` that count, and fit their weights.

    Args:
        rows: Training rows.
        name: The column.
        seed: Seed of the sample that is taken where rows and words are many.
    """
    words = frequent_words(rows.frame[name], rows.group, MOST_WORDS)
    if not words:
        return FeatureEncoding(name, "words")
    weights = _fit_weights(rows, word_matrix(rows.frame[name], words), seed)
    return FeatureEncoding(name, "words", words, weights=tuple(weights[:-1].tolist()))


def cross_fitted_word_scores(
    rows: TrainingRows, encoding: FeatureEncoding, fold: NDArray[np.intp], seed: int
) -> NDArray[np.float64]:
    """(n,) the sum of each text's weights, fitted to the rows outside its fold; NaN where there is no text.

    Args:
        rows: n training rows.
        encoding: The words and their weights by all rows.
        fold: (n,) folds, numbered from 0.
        seed: Seed of the samples.
    """
    texts = rows.frame[encoding.name]
    scores = encoding.word_scores(texts).copy()
    if not encoding.weights:
        return scores
    present = word_matrix(texts, tuple(map(str, encoding.levels)))
    usual = float((present[:, :-1] @ np.array(encoding.weights)).mean())
    for k in range(int(fold.max()) + 1):
        others, own = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        sums = present @ _fit_weights(rows.take(others), present[others], seed)
        # Each fold has an intercept of its own, which no score shows: the sums are moved to one level.
        scores[own] = np.where(np.isnan(scores[own]), np.nan, sums[own] - sums.mean() + usual)
    return scores


def _fit_weights(rows: TrainingRows, present: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """(words + 1,) the weight of each word, and 0 for the column of ones."""
    most = max(_LEAST_ROWS, int(BUDGET / present.shape[1] ** 2))
    if len(rows) > most:
        sample = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
        rows, present = rows.take(sample), present[sample]
    group = np.zeros(present.shape[1] - 1, dtype=np.intp)
    with one_blas_thread():
        weights = fit_ridge_by_evidence(present, rows.y, rows.effective_weights, group)
    weights[-1] = 0.0
    return weights
