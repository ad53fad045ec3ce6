"""What the checks look for in the rows to score: values never seen in training, and rows of another kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightgbm as lgb
import numpy as np
import polars as pl

from features.clock import humanise
from models.metrics import roc_auc, with_interval
from training.checking.searches import FEWEST, QUICK, NotApplicableError, codes_of, single_auc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from features.spec import FeatureSpec
    from models.metrics import Interval
    from training.checking.searches import Found
    from training.dataset import Dataset

    SearchAhead = Callable[[Dataset, pl.DataFrame], Found]

NEVER_SEEN, EMPTIED = 0.05, 0.5
TOLD_APART = 0.65
_NAMED, _MOST, _ROUNDS, _HALVES = 3, 10_000, 60, 2
AGE = "lead.age"
_LOOK = "Is it filled as it was, and are the leads drawn alike? If it stays so, train again with such rows"
_WORDS = "Do its words come and go? Then it teaches nothing that lasts: exclude it"
_OLDER = (
    "Their scores are guesses: let training look at leads as old ([cohort] until_age), or do not score them"
)


def never_seen(dataset: Dataset, ahead: pl.DataFrame) -> Found:
    """A model has nothing to say of words it never met, and of numbers beyond all it met it guesses."""
    for spec, told in _strange(dataset, ahead):
        yield "medium", spec.name, told


def _strange(dataset: Dataset, ahead: pl.DataFrame) -> Iterator[tuple[FeatureSpec, str]]:
    """The features that go beyond what training saw.

    Leads older than any that taught are told of once, by their age: all their other times are beyond, too.
    """
    alike = _of_known_age(dataset, ahead)
    for spec in dataset.features.specs:
        before, after = dataset.rows[spec.name], (ahead if spec.name == AGE else alike)[spec.name]
        strange, told = _new_words(before, after) if spec.is_category else _out_of_range(spec, before, after)
        if strange >= max(NEVER_SEEN * len(after), FEWEST):
            hint = _WORDS if spec.is_category else _OLDER if spec.name == AGE else _LOOK
            yield spec, f"{strange / len(after):.0%} of the rows to score {told}. {hint}"
        elif spec.reduce == "value" and _filled(before) - _filled(after) >= EMPTIED:
            told = f"filled for {_filled(before):.0%} of the rows that teach and {_filled(after):.0%}"
            yield spec, f"{told} of those to score. {_LOOK}"


def _of_known_age(dataset: Dataset, ahead: pl.DataFrame) -> pl.DataFrame:
    if AGE not in dataset.features.names:
        return ahead
    ages = dataset.rows[AGE]
    return ahead.filter(pl.col(AGE).is_between(ages.min(), ages.max()))


def _filled(column: pl.Series) -> float:
    return 1 - column.null_count() / max(1, len(column))


def _new_words(before: pl.Series, after: pl.Series) -> tuple[int, str]:
    """How many values training never saw, and what they are, in words."""
    known = after.drop_nulls()
    new = known.filter(~known.is_in(before.drop_nulls().unique().implode()))
    most = new.mode().sort().head(1).to_list()
    return len(new), f"have a value that training never saw, such as {', '.join(map(repr, most))}"


def _out_of_range(spec: FeatureSpec, before: pl.Series, after: pl.Series) -> tuple[int, str]:
    known, asked = before.drop_nulls().to_numpy(), after.drop_nulls().to_numpy()
    if not len(known):
        return len(asked), "have a number, where training had none"
    low, high = float(known.min()), float(known.max())
    beyond = int(((asked < low) | (asked > high)).sum())
    in_words = (humanise(round(end)) if spec.unit == "seconds" else f"{end:g}" for end in (low, high))
    return beyond, f"lie outside of {' to '.join(in_words)}, which is all that training saw"


def told_apart(dataset: Dataset, ahead: pl.DataFrame) -> Found:
    """If a quick model can tell rows to score from rows that taught, what was learned may not hold for them.

    Adversarial validation: out-of-fold scores of half of the rows by a model of the other half. One row a
    lead and side, because rows of one lead are no independent witnesses. Only the leads' own columns count:
    what a lead did grows with its age, and the cohort, not the data, says at which age one looks. Nor do
    columns count of which values never seen have been told already.
    """
    before, after = (_witnesses(rows) for rows in (dataset.rows, _of_known_age(dataset, ahead)))
    fewer = min(before.height, after.height)
    if fewer < FEWEST:
        msg = f"only {fewer} leads on one side, {FEWEST} are needed"
        raise NotApplicableError(msg)
    told = {spec.name for spec, _ in _strange(dataset, ahead)}
    names = [s.name for s in dataset.features.specs if s.reduce == "value" and s.name not in told]
    if not names:
        msg = "no column of the leads' own is left to tell them apart by"
        raise NotApplicableError(msg)
    columns = pl.concat([before.select(names), after.select(names)])
    side = np.repeat(np.array([0, 1], dtype=np.int8), [before.height, after.height])
    auc, gains = _apart(columns, side)
    if auc.low >= TOLD_APART:
        best = [names[j] for j in np.argsort(-gains, kind="stable")[:_NAMED] if gains[j] > 0]
        named = ", ".join(f"{name} (alone {single_auc(columns[name], side):.2f})" for name in best)
        told_by = f"with an AUC of {auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f}), most of all by {named}"
        yield "medium", "", f"a model tells the rows to score from those that teach {told_by}. {_LOOK}"


def _witnesses(rows: pl.DataFrame) -> pl.DataFrame:
    mixed = rows.sample(fraction=1.0, shuffle=True, seed=0)
    return mixed.unique("lead_id", keep="first", maintain_order=True).head(_MOST)


def _apart(columns: pl.DataFrame, side: NDArray[np.int8]) -> tuple[Interval, NDArray[np.float64]]:
    """How well a model tells the sides apart, and how much of that each column does."""
    matrix = np.column_stack([codes_of(column) for column in columns]).astype(np.float64)
    half = np.random.default_rng(0).permutation(np.arange(len(side)) % _HALVES)
    said, gains = np.empty(len(side)), np.zeros(matrix.shape[1])
    for k, model in enumerate(_models(matrix, side, half)):
        said[half == k] = model.predict(matrix[half == k], num_threads=1)
        gains += model.feature_importance("gain")
    return with_interval(roc_auc, side, said), gains


def _models(
    matrix: NDArray[np.float64], side: NDArray[np.int8], half: NDArray[np.intp]
) -> Iterator[lgb.Booster]:
    """A model for each part, which has not learned from it."""
    for k in range(_HALVES):
        data = lgb.Dataset(matrix[half != k], side[half != k])
        yield lgb.train({"objective": "binary", **QUICK}, data, _ROUNDS)
