"""A model after the base rate moved: each score the same log-odds higher or lower, each reason the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from models.card import SCORE
from models.grades import Grades

if TYPE_CHECKING:
    from models.card import Card
    from models.conversion import ConversionModel
    from models.doubt import Doubt

_EDGE = 1e-12


def relevelled(model: ConversionModel, moved: float, note: str) -> ConversionModel:
    """``model`` with ``moved`` added to every log-odds; ``note`` is left on its card.

    Contributions stay and the base moves, so that reasons add up as before. Grades are those of capacity, so
    their thresholds move along and every lead keeps its letter; so do the widths of intervals.
    """
    calibration = model.predictor.calibration
    a, b, c = (_moved(threshold, moved) for threshold in model.grades.thresholds)
    return replace(
        model,
        predictor=replace(
            model.predictor, calibration=replace(calibration, intercept=calibration.intercept + moved)
        ),
        grades=Grades((a, b, c)),
        card=_card(model.card, moved, note),
        version="unsaved",
        doubt=None if model.doubt is None else _doubt(model.doubt, moved),
    )


def _doubt(doubt: Doubt, moved: float) -> Doubt:
    return replace(doubt, half=replace(doubt.half, knots=tuple(knot + moved for knot in doubt.half.knots)))


def _moved(probability: float, by: float) -> float:
    return float(expit(logit(np.clip(probability, _EDGE, 1 - _EDGE)) + by))


def _card(card: Card, moved: float, note: str) -> Card:
    """The card with the note, and scores spread where they are now."""
    spread = {
        name: replace(profile, edges=tuple(edge + moved for edge in profile.edges))
        for name, profile in card.profiles.items()
        if name == SCORE
    }
    return replace(card, notes=(*card.notes, note), profiles=card.profiles | spread)
