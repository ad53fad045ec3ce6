"""What the CRM gets to hear: a score, and reasons that add up to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.clock import humanise

if TYPE_CHECKING:
    from features.spec import FeatureSpec
    from models.grades import Grade

POINTS_PER_DOUBLING = 20.0
POINTS_AT_EVEN_ODDS = 200.0
_PER_LOG_ODDS = POINTS_PER_DOUBLING / math.log(2)
_NOTHING = {"en": "none", "de": "keine Angabe"}
_YES_NO = {"en": ("no", "yes"), "de": ("nein", "ja")}


def as_points(log_odds: float) -> float:
    """A contribution in points: 20 points double the odds (Siddiqi, Credit Risk Scorecards, 2006).

    >>> round(as_points(math.log(2)), 9)
    20.0
    """
    return log_odds * _PER_LOG_ODDS


def total_points(log_odds: float) -> int:
    """A lead's points: 200 at even odds, so that they stay above zero down to one in a thousand.

    >>> total_points(0.0), total_points(math.log(0.1 / 0.9))
    (200, 137)
    """
    return round(POINTS_AT_EVEN_ODDS + as_points(log_odds))


@dataclass(frozen=True, slots=True)
class Score:
    """How likely the lead is to convert, said at ``as_of`` by one version of the model."""

    lead_id: str
    as_of: int
    log_odds: float
    probability: float
    points: int
    grade: Grade
    model_version: str


@dataclass(frozen=True, slots=True)
class Reason:
    """What one feature adds to a lead's log-odds, with the sentence that says so."""

    feature: str
    family: str
    value: float | str | None
    contribution: float
    points: float
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score taken apart: ``base`` and all contributions add up to its log-odds."""

    score: Score
    base: float
    reasons: tuple[Reason, ...]


def sentence(spec: FeatureSpec, value: float | str | None, lang: str = "en") -> str:
    """The sentence of a feature with the lead's own value in it."""
    return spec.says.within(lang).replace("{value}", _shown(spec, value, lang))


def _shown(spec: FeatureSpec, value: float | str | None, lang: str) -> str:
    if value is None:
        return _NOTHING[lang]
    if isinstance(value, str):
        return value
    if spec.unit == "seconds":
        return humanise(value, lang)
    if spec.unit == "flag":
        return _YES_NO[lang][value > 0]
    text = f"{value / 100:,.2f}" if spec.unit == "money" else f"{value:,.6g}"
    return text if lang == "en" else text.translate(str.maketrans(",.", ".,"))
