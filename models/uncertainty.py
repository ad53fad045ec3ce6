"""How far a score may be from the truth, and when there is too little behind it to say a number.

The interval is meant for the lead's true chance given all that is visible of it. No method can promise to
cover that for whatever company there might be (Barber 2020, "Is distribution-free inference possible for
binary regression?"); what is promised, on which assumption, stands in ``training.learner.score_intervals``.
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

InsufficiencyCode = Literal["too_few_outcomes", "no_signal", "unseen_value", "outside_range", "too_wide"]
# Too few outcomes concern the model: its number would be the same guess for every lead. All else concerns a
# lead whose number is the best there is, or (no signal) a rate that is known well: it stays.
WITHHELD: frozenset[InsufficiencyCode] = frozenset({"too_few_outcomes"})


@dataclass(frozen=True, slots=True)
class ScoreInterval:
    """Where a lead's true probability is, nine times in ten: ``[low, high]``."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class InsufficientEvidence:
    """Why a score is not to be relied on: ``code`` for programs, ``message`` for people.

    ``feature`` is the one at fault, where it is one.
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
    """The values of a feature that a model learned from.

    ``source`` is its matrix column: numbers are known in ``[low, high]``; of a category ``other`` is the code
    of a value that is not known, -1 where such values are common enough to be known by that. ``filled`` says
    that it was never missing. ``spread`` is by how much leads differ in its contribution (a standard
    deviation): what not knowing the value may come to.
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
        """What it is called when a value is not among the known ones."""
        return "outside_range" if self.other is None else "unseen_value"

    def unusual(self, column: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) whether each value of the matrix column is not among the known ones."""
        if self.other is not None:
            return np.asarray((column == self.other) | (self.filled & (column == self.other + 1)))
        outside = (column < self.low) | (column > self.high)
        return np.asarray(outside | (self.filled & np.isnan(column)))

    def is_unusual(self, value: float) -> bool:
        """The same of one value."""
        if self.other is not None:
            return value == self.other or (self.filled and value == self.other + 1)
        return value < self.low or value > self.high or (self.filled and math.isnan(value))


@dataclass(frozen=True)
class ScoreUncertainty:
    """What is uncertain about the scores of one model.

    ``half`` is half the width of an interval in log-odds, by the score's own log-odds. A value that the model
    does not know widens it. ``span`` is how far most scores lie apart. ``lacking`` is why a model tells no
    leads apart, if so: there are no intervals then, as where a lead is around the rate of all is what nobody
    knows. ``missing`` is how many conversions more should do.
    """

    half: PiecewiseLinearTerm
    span: float
    watched: tuple[FeatureSupport, ...] = ()
    lacking: InsufficiencyCode | None = None
    missing: int = 0

    def half_width(self, row: list[float], log_odds: float) -> tuple[float, int]:
        """Half the width for one encoded lead, and the place of its weightiest unusual feature, else -1."""
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
        """The same (n,) of encoded leads, to the bit."""
        half, first = self.half.at(log_odds), np.full(len(matrix), -1)
        squared = half * half
        for index, support in enumerate(self.watched):
            unusual = support.unusual(matrix[:, support.source])
            first[unusual & (first < 0)] = index
            squared[unusual] += self._squared_widenings[index]
        return np.sqrt(squared), first

    def reason(self, half: float, first: int, lang: str = "en") -> InsufficientEvidence | None:
        """Why a score with such an interval and such an unusual feature is not to be relied on, if so."""
        code, feature = self.code(half, first), None
        if code is None:
            return None
        if code in {"unseen_value", "outside_range"}:
            feature = self.watched[first].feature
        message = translate(f"insufficient.{code}", lang, feature=feature or "", missing=self.missing)
        return InsufficientEvidence(code, feature, message)

    def code(self, half: float, first: int) -> InsufficiencyCode | None:
        """The reason for programs; a cause is named rather than its effect."""
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
