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
    from collections.abc import Mapping

    from numpy.typing import NDArray

COVERED = 0.9
# Squared factor of the logistic-normal integral (Zeger, Liang and Albert 1988): where log-odds have variance
# v around c, the mean probability has log-odds of about c / sqrt(1 + 0.346 v). Of rare outcomes that says too
# much: their probability is the exponential of their log-odds, whose mean lies v / 2 above c and no further.
ATTENUATION = (16 * math.sqrt(3) / (15 * math.pi)) ** 2
# The centre of an interval is at most this share of half its width away from the score.
MOST_OFF_CENTRE = 0.9
# A feature matters for doubt where leads differ in its contribution by this much (3 points).
MATTERS = 0.1

# Half the width where there is no interval.
NOTHING = PiecewiseLinearTerm((0.0,), (0.0,))

InsufficiencyCode = Literal[
    "too_few_outcomes", "no_signal", "unseen_value", "outside_range", "too_wide", "no_account", "dormant"
]
# A lead that is older, or silent for longer, than any in training: a state of the lead rather than a doubt
# about its score, so it goes before all doubts but those that concern the model.
DORMANT: InsufficiencyCode = "dormant"
# The place in ``watched`` that stands for it.
DORMANT_PLACE = -2
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
class MisfitTree:
    """A shallow tree that says of which leads the outcomes deviate from the scores by more than chance.

    Node 0 is the root; a row goes left where its value is at most the threshold, and right where it is
    missing.

    Attributes:
        columns: Of each node the matrix column that splits it, -1 at a leaf.
        thresholds: Of each node the value up to which rows go left.
        children: Of each node the node to its left; the one to its right follows it.
        values: Of each node the squared error in log-odds, 0 where it is no leaf.
    """

    columns: tuple[int, ...]
    thresholds: tuple[float, ...]
    children: tuple[int, ...]
    values: tuple[float, ...]

    def at(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) squared errors of the rows of an encoded ``matrix``."""
        return np.array(self.values)[self.leaves(matrix)]

    def leaves(self, matrix: NDArray[np.float64]) -> NDArray[np.intp]:
        """(n,) the node at which each row of an encoded ``matrix`` ends."""
        node = np.zeros(len(matrix), dtype=np.intp)
        columns, thresholds = np.array(self.columns), np.array(self.thresholds)
        children, rows = np.array(self.children), np.arange(len(matrix))
        while (inner := columns[node] >= 0).any():
            at, of = rows[inner], node[inner]
            node[inner] = children[of] + ~(matrix[at, columns[of]] <= thresholds[of])
        return node

    def at_scalar(self, row: list[float]) -> float:
        """The squared error of one encoded ``row``."""
        node = 0
        while self.columns[node] >= 0:
            is_left = row[self.columns[node]] <= self.thresholds[node]
            node = self.children[node] + (not is_left)
        return self.values[node]


@dataclass(frozen=True)
class ScoreUncertainty:
    """How uncertain the scores of one model are.

    Attributes:
        half: Half the width of the interval in log-odds, by the score's own log-odds.
        span: How far apart most scores are, in log-odds: an interval wider than that says nothing where it
            leaves open as well whether the lead is an A.
        watched: Features whose unusual values widen the interval, the weightiest first.
        lacking: Why the model tells no leads apart, if so; there are no intervals then.
        missing: How many conversions more should do.
        misfit_trees: Where outcomes deviate from scores by more than chance. Default none.
        attenuation: ``ATTENUATION`` where the interval is centred on the likely log-odds of a lead rather
            than on those of its mean probability. Default 0, as in models of early releases.
        aging: Features that grow with a lead's age or silence: beyond their range in training it is dormant.
            Default none, as in models of early releases.
    """

    half: PiecewiseLinearTerm
    span: float
    watched: tuple[FeatureSupport, ...] = ()
    lacking: InsufficiencyCode | None = None
    missing: int = 0
    misfit_trees: tuple[MisfitTree, ...] = ()
    attenuation: float = 0.0
    aging: tuple[FeatureSupport, ...] = ()

    def half_width(self, row: list[float], log_odds: float) -> tuple[float, int]:
        """Half the width of the interval of one encoded lead.

        Args:
            row: The lead's matrix row.
            log_odds: Its calibrated log-odds.

        Returns:
            Half the width in log-odds, and the place in ``watched`` of its first unusual feature, -1 without
            one, ``DORMANT_PLACE`` where the lead is dormant.
        """
        half, first = self.half.at_scalar(log_odds), -1
        squared = half * half
        for tree in self.misfit_trees:
            squared += Z_90**2 * tree.at_scalar(row)
        for index, support in enumerate(self.watched):
            if support.is_unusual(row[support.source]):
                first = index if first < 0 else first
                squared += self._squared_widenings[index]
        if any(row[each.source] > each.high for each in self.aging):
            first = DORMANT_PLACE
        return math.sqrt(squared), first

    def half_widths(
        self, matrix: NDArray[np.float64], log_odds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Half the width of the interval of many encoded leads, the same as ``half_width`` to the bit.

        Args:
            matrix: (n, columns) encoded leads.
            log_odds: (n,) their calibrated log-odds.

        Returns:
            (n,) half widths in log-odds, and (n,) places as ``half_width`` gives them.
        """
        half, first = self.half.at(log_odds), np.full(len(matrix), -1)
        squared = half * half
        for tree in self.misfit_trees:
            squared += Z_90**2 * tree.at(matrix)
        for index, support in enumerate(self.watched):
            unusual = support.unusual(matrix[:, support.source])
            first[unusual & (first < 0)] = index
            squared[unusual] += self._squared_widenings[index]
        for each in self.aging:
            first[matrix[:, each.source] > each.high] = DORMANT_PLACE
        return np.sqrt(squared), first

    def bounds(self, log_odds: float, half: float) -> tuple[float, float]:
        """The ends of the interval of one lead, in log-odds.

        A score is the mean probability of leads that look alike. Where these differ, the mean is nearer to
        one half than most of them are, so the interval reaches further away from one half: by the factor of
        ``attenuation``, and by half the variance at most, which is what it comes to for rare outcomes.

        Args:
            log_odds: The lead's calibrated log-odds.
            half: Half the width of its interval.

        Returns:
            The lower and the upper end; the score is between them.
        """
        scale = half / Z_90
        variance = scale * scale
        shift = log_odds * math.sqrt(1 + self.attenuation * variance) - log_odds
        most = min(variance / 2, MOST_OFF_CENTRE * half)
        centre = log_odds + min(max(shift, -most), most)
        return centre - half, centre + half

    def bounds_of_all(
        self, log_odds: NDArray[np.float64], half: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ends of the intervals of many leads, the same as ``bounds`` to the bit.

        Args:
            log_odds: (n,) their calibrated log-odds.
            half: (n,) half the widths of their intervals.

        Returns:
            (n,) lower and (n,) upper ends in log-odds.
        """
        scale = half / Z_90
        variance = scale * scale
        shift = log_odds * np.sqrt(1 + self.attenuation * variance) - log_odds
        most = np.minimum(variance / 2, MOST_OFF_CENTRE * half)
        centre = log_odds + np.minimum(np.maximum(shift, -most), most)
        return centre - half, centre + half

    def reason(
        self,
        half: float,
        first: int,
        lang: str = "en",
        titles: Mapping[str, str] | None = None,
        *,
        is_undecided: bool = True,
    ) -> InsufficientEvidence | None:
        """Say why a score is not to be relied on.

        Args:
            half: Half the width of its interval.
            first: The place that ``half_width`` gives.
            lang: Language of the message. Default English.
            titles: What features are called for people in this language, by name. Default: their names.
            is_undecided: Whether its interval leaves open if the lead is an A. Default True.

        Returns:
            The reason, or None where the score can be relied on.
        """
        code, feature = self.code(half, first, is_undecided=is_undecided), None
        if code is None:
            return None
        if code in {"unseen_value", "outside_range"}:
            feature = self.watched[first].feature
        title = (titles or {}).get(feature or "", feature or "")
        message = translate(f"insufficient.{code}", lang, feature=title, missing=self.missing)
        return InsufficientEvidence(code, feature, message)

    def code(self, half: float, first: int, *, is_undecided: bool = True) -> InsufficiencyCode | None:
        """The code of ``reason``; a cause goes before its effect.

        A wide interval of a lead that is surely not worth a call, or surely worth one, says all that its
        score is asked for.

        Args:
            half: Half the width of the interval.
            first: The place that ``half_width`` gives.
            is_undecided: Whether the interval leaves open if the lead is an A. Default True.

        Returns:
            The code, or None where the score can be relied on.
        """
        if self.lacking is not None:
            return self.lacking
        if first == DORMANT_PLACE:
            return DORMANT
        if first >= 0:
            return self.watched[first].code
        return "too_wide" if is_undecided and 2 * half > self.span else None

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
            misfit_trees=tuple(_tree_from_record(tree) for tree in record.get("misfit_trees", ())),
            attenuation=record.get("attenuation", 0.0),
            aging=tuple(FeatureSupport(**support) for support in record.get("aging", ())),
        )


def _tree_from_record(record: dict[str, list[Any]]) -> MisfitTree:
    """The tree of a record; one that could be walked for ever or out of its lists is refused."""
    tree = MisfitTree(**{name: tuple(values) for name, values in record.items()})
    size = len(tree.columns)
    is_whole = size > 0 and {len(tree.thresholds), len(tree.children), len(tree.values)} == {size}
    inner = [
        (node, child)
        for node, (column, child) in enumerate(zip(tree.columns, tree.children, strict=False))
        if column >= 0
    ]
    if not is_whole or any(not node < child < size - 1 for node, child in inner):
        msg = "a tree of misfit points at no node"
        raise ValueError(msg)
    return tree
