"""Checks of the rows to score, LC012 and LC013: values not seen in training, and covariate shift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
import polars as pl

from features.clock import describe_duration
from features.date_parts import write_clock
from features.messages import Message, join_items
from models.metrics import bootstrap_interval, roc_auc
from training.leakage.column_checks import (
    AGE,
    FEWEST,
    QUICK,
    NotApplicableError,
    bin_codes,
    single_column_auc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from features.spec import FeatureSpec
    from models.metrics import Interval
    from training.data.dataset import Dataset
    from training.leakage.column_checks import FindingRows

    ShiftCheckFunction = Callable[[Dataset, pl.DataFrame], FindingRows]

NEVER_SEEN, EMPTIED = 0.05, 0.5
TOLD_APART = 0.65
_NAMED, _MOST, _ROUNDS, _HALVES = 3, 10_000, 60, 2
# Seconds: snapshots at creation are younger.
_AT_CREATION = 60


def unseen_categories(dataset: Dataset, ahead: pl.DataFrame) -> FindingRows:
    """Features of which at least 5 % of the rows to score hold a value that training never saw.

    That is a new category, a number outside of the range in training, or a plain column that is hardly filled
    any more.
    """
    for spec, message in _unseen_values(dataset, ahead):
        yield "medium", spec.name, message


def _unseen_values(dataset: Dataset, ahead: pl.DataFrame) -> Iterator[tuple[FeatureSpec, Message]]:
    """The features that go beyond what training saw, each with its message.

    Leads older than any in training are reported once, by their age: all their other times are beyond, too.
    """
    alike = _of_known_age(dataset, ahead)
    for spec in dataset.features.specs:
        before, after = dataset.rows[spec.name], (ahead if spec.name == AGE else alike)[spec.name]
        strange = _new_words(before, after) if spec.is_category else _out_of_range(before, after)
        if len(strange) >= max(NEVER_SEEN * len(after), FEWEST):
            yield spec, _unseen_message(spec, before, strange, len(strange) / len(after))
        elif spec.reduce == "value" and _filled(before) - _filled(after) >= EMPTIED:
            yield spec, Message("findings.emptied", before=_filled(before), after=_filled(after))


def _of_known_age(dataset: Dataset, ahead: pl.DataFrame) -> pl.DataFrame:
    if AGE not in dataset.features.names:
        return ahead
    ages = dataset.rows[AGE]
    return ahead.filter(pl.col(AGE).is_between(ages.min(), ages.max()))


def _filled(column: pl.Series) -> float:
    return 1 - column.null_count() / max(1, len(column))


def _new_words(before: pl.Series, after: pl.Series) -> pl.Series:
    """The values to score that training never saw."""
    known = after.drop_nulls()
    return known.filter(~known.is_in(before.drop_nulls().unique().implode()))


def _out_of_range(before: pl.Series, after: pl.Series) -> pl.Series:
    """The numbers to score that lie outside of all that training saw."""
    known, values = before.drop_nulls(), after.drop_nulls()
    if known.is_empty():
        return values
    numbers = known.to_numpy()
    low, high = float(numbers.min()), float(numbers.max())
    return values.filter((values < low) | (values > high))


def _unseen_message(spec: FeatureSpec, before: pl.Series, strange: pl.Series, share: float) -> Message:
    """The message on the ``share`` of rows to score whose values are ``strange``."""
    if spec.is_category:
        return Message("findings.new_words", share=share, value=repr(strange.mode().sort()[0]))
    known = before.drop_nulls().to_numpy()
    if not len(known):
        return Message("findings.new_numbers", share=share)
    low, high = float(known.min()), float(known.max())
    if spec.unit == "clock":
        return Message(
            "findings.times_out_of_range", share=share, low=write_clock(low), high=write_clock(high)
        )
    if spec.unit != "seconds":
        return Message("findings.out_of_range", share=share, low=low, high=high)
    if spec.name == AGE and high < _AT_CREATION:
        return Message("findings.older_than_created", share=share)
    key = "findings.ages_out_of_range" if spec.name == AGE else "findings.times_out_of_range"
    return Message(key, share=share, low=describe_duration(round(low)), high=describe_duration(round(high)))


def covariate_shift(dataset: Dataset, ahead: pl.DataFrame) -> FindingRows:
    """A quick model tells rows to score from rows to learn from (adversarial validation).

    Out-of-fold predictions of half of the rows by a model of the other half; a finding where the lower end of
    their ROC AUC is at least 0.65. One row per lead and side, because rows of one lead are not independent.
    Only the leads' own columns count: what a lead did grows with its age, and the cohort rule, not the data,
    decides at which age it is looked at. Columns that LC012 has reported do not count either.
    """
    before, after = (_one_row_per_lead(rows) for rows in (dataset.rows, _of_known_age(dataset, ahead)))
    fewer = min(before.height, after.height)
    if fewer < FEWEST:
        raise NotApplicableError(Message("not_applicable.few_leads", fewer=fewer, least=FEWEST))
    reported = {spec.name for spec, _ in _unseen_values(dataset, ahead)}
    names = [s.name for s in dataset.features.specs if s.reduce == "value" and s.name not in reported]
    if not names:
        raise NotApplicableError(Message("not_applicable.no_own_columns"))
    columns = pl.concat([before.select(names), after.select(names)])
    side = np.repeat(np.array([0, 1], dtype=np.int8), [before.height, after.height])
    auc, gains = _separability(columns, side)
    if auc.low >= TOLD_APART:
        best = [names[j] for j in np.argsort(-gains, kind="stable")[:_NAMED] if gains[j] > 0]
        alone = [
            Message("findings.told_by", column=name, auc=single_column_auc(columns[name], side))
            for name in best
        ]
        interval = {"auc": auc.value, "low": auc.low, "high": auc.high}
        yield "medium", "", Message("findings.told_apart", named=join_items("comma", alone), **interval)


def _one_row_per_lead(rows: pl.DataFrame) -> pl.DataFrame:
    mixed = rows.sample(fraction=1.0, shuffle=True, seed=0)
    return mixed.unique("lead_id", keep="first", maintain_order=True).head(_MOST)


def _separability(columns: pl.DataFrame, side: NDArray[np.int8]) -> tuple[Interval, NDArray[np.float64]]:
    """The ROC AUC with its interval at which a model tells the sides apart, and (columns,) their gains."""
    matrix = np.column_stack([bin_codes(column) for column in columns]).astype(np.float64)
    half = np.random.default_rng(0).permutation(np.arange(len(side)) % _HALVES)
    predictions, gains = np.empty(len(side)), np.zeros(matrix.shape[1])
    for k, model in enumerate(_models(matrix, side, half)):
        predictions[half == k] = model.predict(matrix[half == k], num_threads=1)
        gains += model.feature_importance("gain")
    return bootstrap_interval(roc_auc, side, predictions), gains


def _models(
    matrix: NDArray[np.float64], side: NDArray[np.int8], half: NDArray[np.intp]
) -> Iterator[lgb.Booster]:
    """A model for each part, learned from the other parts."""
    for k in range(_HALVES):
        data = lgb.Dataset(matrix[half != k], side[half != k])
        yield lgb.train({"objective": "binary", **QUICK}, data, _ROUNDS)
