"""Texts for the checks of columns: each as a number that its words give away, and a flag for each word."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.extraction import ColumnExtraction
from features.spec import FeatureSet
from training.data.texts import frequent_words, word_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from features.spec import FeatureSpec
    from training.data.dataset import Dataset

MOST_WORDS, _FOLDS = 100, 5


def without_texts(dataset: Dataset) -> Dataset:
    """The dataset without its texts, for checks that compare values: hardly two texts are the same."""
    return replace(dataset, features=dataset.features.without(dataset.features.texts))


def expand_texts(dataset: Dataset) -> Dataset:
    """The dataset with each text as a number and flags, which the checks of columns can look at.

    The number ranks leads by the words of their text, as naive Bayes (Maron 1961) does from the leads of the
    other folds: words that sales wrote down after the outcome give it away together, whatever each does.
    """
    if not dataset.features.texts:
        return dataset
    specs: list[FeatureSpec] = []
    columns: list[pl.Series] = []
    for spec in dataset.features.specs:
        specs += [replace(spec, unit="number")] if spec.unit == "words" else [spec]
        if spec.unit == "words":
            score, flags = _expand(spec, dataset)
            columns += [score, *flags]
            specs += [_flag_spec(spec, flag.name) for flag in flags]
    return replace(dataset, features=FeatureSet(tuple(specs)), rows=dataset.rows.with_columns(columns))


def _flag_spec(spec: FeatureSpec, name: str) -> FeatureSpec:
    word = name.removeprefix(f"{spec.name}: ")
    flag = ColumnExtraction(spec.column, "choice", mark=" ", choice=word)
    return replace(spec, name=name, of=name, unit="flag", extraction=flag)


def _expand(spec: FeatureSpec, dataset: Dataset) -> tuple[pl.Series, list[pl.Series]]:
    texts = dataset.rows[spec.name]
    words = frequent_words(texts, dataset.lead, MOST_WORDS)
    present = word_matrix(texts, words)[:, :-1]
    known = texts.is_not_null().to_numpy()
    score = np.where(known, _cross_fitted_scores(present, dataset.label, dataset.lead), np.nan)
    flags = [
        pl.Series(f"{spec.name}: {word}", np.where(known, present[:, place], np.nan), nan_to_null=True)
        for place, word in enumerate(words)
    ]
    return pl.Series(spec.name, score, nan_to_null=True), [flag.cast(pl.Float64) for flag in flags]


def _cross_fitted_scores(
    present: NDArray[np.float32], label: NDArray[np.int8], lead: NDArray[np.int64]
) -> NDArray[np.float64]:
    scores = np.zeros(len(label))
    for own, others in _folds(lead):
        hits, rows = present[others].T @ label[others], present[others].sum(axis=0)
        won, lost = float(label[others].sum()), float((1 - label[others]).sum())
        weights = np.log((hits + 0.5) / (rows - hits + 0.5)) - np.log((won + 0.5) / (lost + 0.5))
        scores[own] = present[own] @ weights
    return scores


def _folds(lead: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """The rows of a fifth of the leads, and all others."""
    for part in range(_FOLDS):
        own = lead % _FOLDS == part
        yield own, ~own
