"""Intervals of scores, and when there is too little data for a number.

The interval is of the lead's true probability given all that is visible of it. No method covers that for any
distribution (Barber 2020, "Is distribution-free inference possible for binary regression?"); what is
promised, on which assumption, is in ``training.learner.score_intervals``.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from features.messages import translate
from models.additive import PiecewiseLinearTerm
from models.metrics import Z_90

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVERED = 0.9
# A feature matters for doubt where leads differ in its contribution by this much (3 points).
MATTERS = 0.1

# Half the width where there is no interval.
NOTHING = PiecewiseLinearTerm((0.0,), (0.0,))

InsufficiencyCode = Literal[
    "too_few_outcomes", "no_signal", "unseen_value", "outside_range", "too_wide", "no_account"
]
# Too few outcomes concern the model: its number would be the same guess for every lead. All else concerns a
# lead whose number is the best there is, or (no signal) a rate that is known well: it stays.
WITHHELD: frozenset[InsufficiencyCode] = frozenset({"too_few_outcomes"})


@dataclass(frozen=True, slots=True)
class ScoreInterval:
    """The 90 % interval ``[low, high]`` of a lead's probability.

    Attributes:
        low: Lower bound.
        high: Upper bound.
    """

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class InsufficientEvidence:
    """Why a score is not to be relied on.

    Attributes:
        code: The reason for programs.
        feature: The feature at fault, where it is one.
        message: The reason as a sentence.
    """

    code: InsufficiencyCode
    feature: str | None
    message: str

    @property
    def withheld(self) -> bool:
        """Whether there is no number to give at all."""
        return self.code in WITHHELD


@dataclass(frozen=True)
class FeatureSupport:
    """The values of one feature that a model was trained on.

    Attributes:
        feature: The feature's name.
        source: Its matrix column.
        spread: Standard deviation of its contribution over leads, in log-odds: what not knowing it may come
            to.
        low: Least number in training.
        high: Greatest number in training.
        other: Of a category, the code of an unknown value; -1 where such values are common enough to be known
            by that. None for numbers.
        filled: Whether it was never missing in training.
    """

    feature: str
    source: int
    spread: float
    low: float = 0.0
    high: float = 0.0
    other: int | None = None
    filled: bool = False

    @property
    def code(self) -> InsufficiencyCode:
        """The code for a value outside of what training had."""
        return "outside_range" if self.other is None else "unseen_value"

    def unusual(self, column: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) whether each value of the matrix ``column`` is outside of what training had."""
        if self.other is not None:
            return np.asarray((column == self.other) | (self.filled & (column == self.other + 1)))
        outside = (column < self.low) | (column > self.high)
        return np.asarray(outside | (self.filled & np.isnan(column)))

    def is_unusual(self, value: float) -> bool:
        """Whether a ``value`` of the matrix column is outside of what training had."""
        if self.other is not None:
            return value == self.other or (self.filled and value == self.other + 1)
        return value < self.low or value > self.high or (self.filled and math.isnan(value))


@dataclass(frozen=True)
class ScoreUncertainty:
    """How uncertain the scores of one model are.

    Attributes:
        half: Half the width of the interval in log-odds, by the score's own log-odds.
        span: How far apart most scores are, in log-odds: an interval wider than that says nothing.
        watched: Features whose unusual values widen the interval, the weightiest first.
        lacking: Why the model tells no leads apart, if so; there are no intervals then.
        missing: How many conversions more should do.
    """

    half: PiecewiseLinearTerm
    span: float
    watched: tuple[FeatureSupport, ...] = ()
    lacking: InsufficiencyCode | None = None
    missing: int = 0

    def half_width(self, row: list[float], log_odds: float) -> tuple[float, int]:
        """Half the width of the interval of one encoded lead.

        Args:
            row: The lead's matrix row.
            log_odds: Its calibrated log-odds.

        Returns:
            Half the width in log-odds, and the place in ``watched`` of its first unusual feature, -1 without
            one.
        """
        half, first = self.half.at_scalar(log_odds), -1
        squared = half * half
        for index, support in enumerate(self.watched):
            if support.is_unusual(row[support.source]):
                first = index if first < 0 else first
                squared += self._squared_widenings[index]
        return math.sqrt(squared), first

    def half_widths(
        self, matrix: NDArray[np.float64], log_odds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Half the width of the interval of many encoded leads, the same as ``half_width`` to the bit.

        Args:
            matrix: (n, columns) encoded leads.
            log_odds: (n,) their calibrated log-odds.

        Returns:
            (n,) half widths in log-odds, and (n,) places in ``watched``, -1 without an unusual feature.
        """
        half, first = self.half.at(log_odds), np.full(len(matrix), -1)
        squared = half * half
        for index, support in enumerate(self.watched):
            unusual = support.unusual(matrix[:, support.source])
            first[unusual & (first < 0)] = index
            squared[unusual] += self._squared_widenings[index]
        return np.sqrt(squared), first

    def reason(self, half: float, first: int, lang: str = "en") -> InsufficientEvidence | None:
        """Say why a score is not to be relied on.

        Args:
            half: Half the width of its interval.
            first: The place in ``watched`` of its first unusual feature, -1 without one.
            lang: Language of the message. Default English.

        Returns:
            The reason, or None where the score can be relied on.
        """
        code, feature = self.code(half, first), None
        if code is None:
            return None
        if code in {"unseen_value", "outside_range"}:
            feature = self.watched[first].feature
        message = translate(f"insufficient.{code}", lang, feature=feature or "", missing=self.missing)
        return InsufficientEvidence(code, feature, message)

    def code(self, half: float, first: int) -> InsufficiencyCode | None:
        """The code of ``reason``; a cause goes before its effect.

        Args:
            half: Half the width of the interval.
            first: The place in ``watched`` of the first unusual feature, -1 without one.

        Returns:
            The code, or None where the score can be relied on.
        """
        if self.lacking is not None:
            return self.lacking
        if first >= 0:
            return self.watched[first].code
        return "too_wide" if 2 * half > self.span else None

    @cached_property
    def _squared_widenings(self) -> list[float]:
        return [(Z_90 * support.spread) ** 2 for support in self.watched]

    def to_json(self) -> str:
        """As JSON text; ``from_json`` gives back an equal one."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ScoreUncertainty:
        """What ``to_json`` wrote."""
        record: dict[str, Any] = json.loads(text)
        half = record["half"]
        return cls(
            half=PiecewiseLinearTerm(tuple(half["knots"]), tuple(half["values"]), half["missing"]),
            span=record["span"],
            watched=tuple(FeatureSupport(**support) for support in record["watched"]),
            lacking=record["lacking"],
            missing=record["missing"],
        )
