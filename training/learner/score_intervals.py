"""How far a model may be from the truth, learned where the truth is known: in rehearsals.

A rehearsal takes the company's own leads, calls a model of them the truth, draws what becomes of each lead
by it (a parametric bootstrap: Efron and Tibshirani 1993, chapter 6), learns anew from most of the leads, and
asks about the others. What the new model errs by is then plain to see: the noise of few outcomes, and the
caution that shrinks effects. Snapshots of one lead share their luck.

The model itself is too smooth a truth: what it has not learned is not in it. So there are two acts. The first
takes the model for the truth; what is learned there differs from it by a pattern that such rows can put into
such a model. The second adds that pattern to the truth, and stretches it all as much as learning shrank it
(indirect inference: Gourieroux, Monfort and Renault 1993). With few leads that pattern is mostly noise, and
the second truth rougher than the real one. So the truth is taken to lie between the acts, as far towards the
second as one thing says that can be seen without knowing it: how widely log-odds are spread that models say
of leads they have not learned from, in either act and in reality. Where outcomes of leads that the real model
had not learned from disagree with it by more than chance, that counts as well.

The promise is that of split conformal prediction (Vovk et al. 2005) within an act: nine in ten intervals hold
its truth, over leads and rehearsals. For the company's own leads it holds as far as the company lies between
the acts as said. This can be believed, not proven; ``tests/benchmarks/interval_coverage.py`` measures it
where the truth is known.

What a trained model is to be doubted for: its intervals, and the values it has not learned from.
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
from models.uncertainty import COVERED, MATTERS, NOTHING, FeatureSupport, ScoreUncertainty
from training.learner.recipes import BASE_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.data.training_rows import TrainingRows
    from training.learner.fit import FittedPredictor

    Floats = NDArray[np.float64]
    import polars as pl

    from models.encoding import FeatureEncoder, FeatureEncoding
    from models.uncertainty import InsufficiencyCode


# Learning is what a rehearsal costs, so it is held with so many rows. Its truth is smoother than the real
# one: learning it from half the rows is no easier than learning that from all. Still more rows make a model
# surer, but no faster than by a power of them, 1 / (2 + features): the best that can be had for functions of
# bounded slope that join as many features as one of the trees may (Stone 1982).
MOST_ROWS, SMOOTHER = 8_000, 2.0

# One rehearsal alone would be a matter of luck.
TIMES = 3

TAUGHT = 0.9

FEWEST_CONVERSIONS, FEWEST_OF_A_CLASS, FEWEST_ASKED, TRIES = 50, 3, 2, 50

# Errors are parted by the score, at most so many parts of at least so many rows.
PARTS, FEWEST_OF_A_PART = 10, 100

# Expected conversions and failures that a part of the judged rows needs before it may accuse the model.
FEWEST_EXPECTED = 25.0

_MOST_STRETCH, _LEAST_KEPT, _TINY = 1.5, 0.2, 1e-12


@dataclass(frozen=True, eq=False)
class SimulationErrors:
    """(m,) log-odds that models said in rehearsals, and (m,) how far they were from the truth.

    ``spread`` is the standard deviation of what is said within one rehearsal.
    """

    said: Floats
    off: Floats
    spread: float = 0.0

    @classmethod
    def of(cls, said: Floats, truth: Floats) -> SimulationErrors:
        """What one rehearsal said of leads, beside their truth."""
        return cls(said, said - truth, float(said.std()))


def interval_half_widths(
    rows: TrainingRows, fitted: FittedPredictor, lead: NDArray[np.intp], seed: int = 0
) -> PiecewiseLinearTerm:
    """Half the width of the intervals of a model, by its log-odds; ``lead`` (n,) numbers whose row it is.

    Raises ValueError when no rehearsal can be held because one of the outcomes is too rare.
    """
    share = _share(rows)
    held = [_rehearsed(rows, fitted, lead, share, (seed, number)) for number in range(1, TIMES + 1)]
    first, second = (_together(acts) for acts in zip(*held, strict=True))
    power = 1 / (2 + max(growth.depth for growth in fitted.bag.growths))
    found, surer = conformal_curve(second), min(1.0, SMOOTHER * share) ** power
    towards = interpolate_scenarios(float(fitted.log_odds.std()), first.spread, second.spread)
    knots = np.array(found.knots)
    squared = (1 - towards) * conformal_curve(first).at(knots) ** 2 + towards * np.array(found.values) ** 2
    misfit = excess_squared_error(
        fitted.log_odds, rows.y[fitted.held_out_rows], lead[fitted.held_out_rows], knots
    )
    values = np.sqrt(surer**2 * squared + Z_90**2 * misfit)
    return replace(found, values=tuple(values.tolist()), missing=surer * found.missing)


def interpolate_scenarios(real: float, first: float, second: float) -> float:
    """How far from the first act to the second, in [0, 1], the ``real`` spread of log-odds lies.

    >>> [interpolate_scenarios(*x) for x in ((1.5, 1.25, 1.75), (1.2, 1.4, 1.6), (1.7, 1.6, 1.5))]
    [0.5, 0.0, 1.0]
    """
    if second <= first:
        return 1.0
    return float(np.clip((real - first) / (second - first), 0.0, 1.0))


def _together(acts: Sequence[SimulationErrors]) -> SimulationErrors:
    """The errors of the same act of all rehearsals, each with the mean spread."""
    said, off = (np.concatenate([getattr(act, name) for act in acts]) for name in ("said", "off"))
    return SimulationErrors(said, off, float(np.mean([act.spread for act in acts])))


def _share(rows: TrainingRows) -> float:
    """The share of leads in a rehearsal: what it may cost, more where conversions are rare."""
    return min(1.0, max(MOST_ROWS, FEWEST_CONVERSIONS / rows.rate) / len(rows))


def _rehearsed(
    rows: TrainingRows, fitted: FittedPredictor, lead: NDArray[np.intp], share: float, seed: tuple[int, int]
) -> tuple[SimulationErrors, SimulationErrors]:
    """The errors of both acts, held with a share of the leads."""
    random = np.random.default_rng(seed)
    kept = np.flatnonzero((random.random(int(lead.max()) + 1) < share)[lead])
    sample, whose = rows.take(kept), lead[kept]
    predictor = fitted.predictor
    truth = predictor.log_odds(predictor.encodings.encode(sample.frame))
    learned, asked = _act(sample, fitted, truth, whose, random)
    rougher = _levelled(_rougher(truth, learned, asked), sample)
    again, others = _act(sample, fitted, rougher, whose, random)
    return SimulationErrors.of(learned[asked], truth[asked]), SimulationErrors.of(
        again[others], rougher[others]
    )


def _act(
    rows: TrainingRows,
    fitted: FittedPredictor,
    truth: Floats,
    lead: NDArray[np.intp],
    random: np.random.Generator,
) -> tuple[Floats, NDArray[np.bool_]]:
    """(n,) what a model of most leads says where ``truth`` decides, and (n,) which rows it did not see."""
    leads = int(lead.max()) + 1
    for _ in range(TRIES):
        luck, taught = random.random(leads)[lead], (random.random(leads) < TAUGHT)[lead]
        y = (luck < expit(truth)).astype(np.float64)
        positives = int(y[taught].sum())
        few = min(positives, int(taught.sum()) - positives) < FEWEST_OF_A_CLASS
        if not few and int((~taught).sum()) >= FEWEST_ASKED:
            at = np.flatnonzero(taught)
            told = replace(rows.take(at), y=y[at], order=None, groups=lead[at])
            predictor = fitted.refit(told, int(random.integers(2**31)))
            return predictor.log_odds(predictor.encodings.encode(rows.frame)), ~taught
    msg = f"fewer than {FEWEST_OF_A_CLASS} leads of one outcome: there is nothing to rehearse"
    raise ValueError(msg)


def _rougher(truth: Floats, learned: Floats, asked: NDArray[np.bool_]) -> Floats:
    """``truth`` as it may be where ``learned`` is what a model makes of it."""
    centred = truth - truth[asked].mean()
    spread = max(float(centred[asked] @ centred[asked]), _TINY)
    slope = float(centred[asked] @ learned[asked]) / spread
    pattern = learned - learned[asked].mean() - slope * centred
    kept = max(_LEAST_KEPT, 1 - float(pattern[asked] @ pattern[asked]) / spread)
    stretch = float(np.clip(np.sqrt(kept) / max(slope, _TINY), 1 / _MOST_STRETCH, _MOST_STRETCH))
    return np.asarray(stretch * truth + pattern, dtype=np.float64)


def _levelled(truth: Floats, rows: TrainingRows) -> Floats:
    """``truth`` moved so far that it expects as many conversions as there were."""
    return update_intercept(PlattCalibration(), truth, rows.y, prior_precision=1e-6).apply(truth)


def conformal_curve(errors: SimulationErrors) -> PiecewiseLinearTerm:
    """What nine in ten errors do not exceed, by the log-odds said: a knot for each part of the scores.

    Within a part it is the split conformal quantile: the ``ceil((m + 1) * 0.9)``-th smallest of m errors.
    """
    order = np.argsort(errors.said, kind="stable")
    parts = np.array_split(order, int(np.clip(len(order) // FEWEST_OF_A_PART, 1, PARTS)))
    middles = np.array([np.median(errors.said[part]) for part in parts])
    sizes = [_quantile(np.abs(errors.off[part])) for part in parts]
    knots, first = np.unique(middles, return_index=True)
    overall = _quantile(np.abs(errors.off))
    return PiecewiseLinearTerm(tuple(knots.tolist()), tuple(sizes[place] for place in first), overall)


def _quantile(sizes: Floats) -> float:
    rank = min(len(sizes), int(np.ceil((len(sizes) + 1) * COVERED)))
    return float(np.sort(sizes)[rank - 1])


def excess_squared_error(said: Floats, y: NDArray[np.number], lead: NDArray[np.intp], at: Floats) -> Floats:
    """(k,) the squared error, in log-odds, that outcomes show beyond chance, at log-odds ``at`` (k,).

    ``said`` (m,) are log-odds of rows that the model had not learned from, ``lead`` (m,) numbers whose they
    are. In each part of them one Newton step says by how much the level is off; its variance, in which the
    rows of a lead count as one (White 1980; Liang and Zeger 1986), is the part that chance explains.
    """
    order = np.argsort(said, kind="stable")
    p = expit(said[order])
    spread, off, lead = p * (1 - p), y[order] - p, lead[order]
    place = np.minimum(np.cumsum(spread) // FEWEST_EXPECTED, max(0.0, spread.sum() // FEWEST_EXPECTED - 1))
    part = np.unique(place, return_inverse=True)[1]
    information, surplus, mass = (np.bincount(part, x) for x in (spread, off, spread * said[order]))
    whose, row = np.unique(part * (lead.max() + 1) + lead, return_inverse=True)
    by_lead = np.bincount(row, off)
    variance = np.bincount(whose // (lead.max() + 1), by_lead**2)
    beyond = np.maximum(0.0, (surplus**2 - variance) / information**2)
    return np.asarray(np.interp(at, mass / information, beyond), dtype=np.float64)


# With fewer leads of either outcome no model is believed; a hundred conversions are what judging one takes
# (Vergouwe et al. 2005), so with so many it can be told whether there is anything to learn.
FEWEST, ENOUGH = 10, 100

# The spread of contributions is plain from so many rows; TreeSHAP takes some milliseconds a row.
LOOKED_AT = 300

# Numbers are known a little beyond those seen; rare values are known as such where they are common together.
BEYOND, COMMON = 0.1, 0.01

_MOST_SCORES = (0.1, 0.9)


def estimate_uncertainty(
    rows: TrainingRows, fitted: FittedPredictor, lead: pl.Series, seed: int = 0
) -> ScoreUncertainty:
    """What is uncertain about a model that was ``fitted`` to ``rows``; ``lead`` (n,) is whose row it is."""
    number = lead_codes(lead)
    outcomes = [len(np.unique(number[rows.y == outcome])) for outcome in (0, 1)]
    if lacking := _lacking(outcomes, fitted):
        return ScoreUncertainty(NOTHING, 0.0, lacking=lacking, missing=max(0, ENOUGH - outcomes[1]))
    low, high = np.quantile(fitted.log_odds, _MOST_SCORES)
    return ScoreUncertainty(
        interval_half_widths(rows, fitted, number, seed), float(high - low), _watched(rows, fitted)
    )


def _lacking(outcomes: list[int], fitted: FittedPredictor) -> InsufficiencyCode | None:
    """Why the model is to be believed no more than the rate of all leads, if so.

    ``outcomes`` are how many leads did not convert, and did: however often these were looked at.
    """
    if min(outcomes) < FEWEST:
        return "too_few_outcomes"
    if fitted.recipe != BASE_RATE.name:
        return None
    return "too_few_outcomes" if outcomes[1] < ENOUGH else "no_signal"


def _watched(rows: TrainingRows, fitted: FittedPredictor) -> tuple[FeatureSupport, ...]:
    """The features that matter, the weightiest first."""
    predictor = fitted.predictor
    matrix = predictor.encodings.encode(rows.frame)
    some = matrix[:: 1 + len(matrix) // LOOKED_AT]
    spread = predictor.contributions(some)[1].std(axis=0)
    places = [place for place in np.argsort(-spread, kind="stable").tolist() if spread[place] >= MATTERS]
    return tuple(_seen(predictor.encodings, place, matrix, float(spread[place])) for place in places)


def _seen(
    encodings: FeatureEncoder, place: int, matrix: NDArray[np.float64], spread: float
) -> FeatureSupport:
    """The values that the rows have of one feature."""
    feature, source = encodings.features[place], encodings.sources[place]
    column = matrix[:, source]
    if feature.kind == "category":
        return _seen_words(feature, column, FeatureSupport(feature.name, source, spread))
    known = column[np.isfinite(column)]
    low, high = float(known.min()), float(known.max())
    room = BEYOND * (high - low)
    return FeatureSupport(
        feature.name, source, spread, low - room, high + room, filled=len(known) == len(column)
    )


def _seen_words(
    feature: FeatureEncoding, codes: NDArray[np.float64], empty: FeatureSupport
) -> FeatureSupport:
    filled = not bool((codes == feature.other + 1).any())
    common = float((codes == feature.other).mean()) >= COMMON
    other = -1 if common else feature.other
    return FeatureSupport(
        empty.feature, empty.source, empty.spread, other=other, filled=filled and not common
    )
