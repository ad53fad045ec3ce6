"""What a trained model is to be doubted for: its intervals, and the values it has not learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.cohort import numbered
from models.doubt import MATTERS, NOTHING, Doubt, Watched
from training.learning.learners import BASE_RATE
from training.learning.rehearsal import half_widths

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from models.doubt import Code
    from models.matrix import Encoding, Encodings
    from training.fit import FittedPredictor
    from training.learning_rows import LearningRows

# With fewer leads of either outcome no model is believed; a hundred conversions are what judging one takes
# (Vergouwe et al. 2005), so with so many it can be told whether there is anything to learn.
FEWEST, ENOUGH = 10, 100
# The spread of contributions is plain from so many rows; TreeSHAP takes some milliseconds a row.
LOOKED_AT = 300
# Numbers are known a little beyond those seen; rare values are known as such where they are common together.
BEYOND, COMMON = 0.1, 0.01
_MOST_SCORES = (0.1, 0.9)


def doubt(rows: LearningRows, fitted: FittedPredictor, lead: pl.Series, seed: int = 0) -> Doubt:
    """What is uncertain about a model that was ``fitted`` to ``rows``; ``lead`` (n,) is whose row it is."""
    number = numbered(lead)
    outcomes = [len(np.unique(number[rows.y == outcome])) for outcome in (0, 1)]
    if lacking := _lacking(outcomes, fitted):
        return Doubt(NOTHING, 0.0, lacking=lacking, missing=max(0, ENOUGH - outcomes[1]))
    low, high = np.quantile(fitted.log_odds, _MOST_SCORES)
    return Doubt(half_widths(rows, fitted, number, seed), float(high - low), _watched(rows, fitted))


def _lacking(outcomes: list[int], fitted: FittedPredictor) -> Code | None:
    """Why the model is to be believed no more than the rate of all leads, if so.

    ``outcomes`` are how many leads did not convert, and did: however often these were looked at.
    """
    if min(outcomes) < FEWEST:
        return "too_few_outcomes"
    if fitted.recipe != BASE_RATE.name:
        return None
    return "too_few_outcomes" if outcomes[1] < ENOUGH else "no_signal"


def _watched(rows: LearningRows, fitted: FittedPredictor) -> tuple[Watched, ...]:
    """The features that matter, the weightiest first."""
    predictor = fitted.predictor
    matrix = predictor.encodings.encode(rows.frame)
    some = matrix[:: 1 + len(matrix) // LOOKED_AT]
    spread = predictor.contributions(some)[1].std(axis=0)
    places = [place for place in np.argsort(-spread, kind="stable").tolist() if spread[place] >= MATTERS]
    return tuple(_seen(predictor.encodings, place, matrix, float(spread[place])) for place in places)


def _seen(encodings: Encodings, place: int, matrix: NDArray[np.float64], spread: float) -> Watched:
    """The values that the rows have of one feature."""
    feature, source = encodings.features[place], encodings.sources[place]
    column = matrix[:, source]
    if feature.kind == "category":
        return _seen_words(feature, column, Watched(feature.name, source, spread))
    known = column[np.isfinite(column)]
    low, high = float(known.min()), float(known.max())
    room = BEYOND * (high - low)
    return Watched(feature.name, source, spread, low - room, high + room, filled=len(known) == len(column))


def _seen_words(feature: Encoding, codes: NDArray[np.float64], empty: Watched) -> Watched:
    filled = not bool((codes == feature.other + 1).any())
    common = float((codes == feature.other).mean()) >= COMMON
    other = -1 if common else feature.other
    return Watched(empty.feature, empty.source, empty.spread, other=other, filled=filled and not common)
