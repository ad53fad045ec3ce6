"""Whether a figure differs from what it is held against, told so that many figures at once mislead nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm

from models.metrics import Z_95, Interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Verdict = Literal["more", "level", "less", "few"]
ORDER: tuple[Verdict, ...] = ("more", "level", "less", "few")
FALSE_SHARE = 0.05
FEWEST_LEADS, FEWEST_SQLS = 30, 3.0
_WIDE = 30.0
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class RatioTest:
    """One figure held against another: their ``ratio`` with its 95 % interval, and how surprising it is."""

    ratio: Interval
    p_value: float


def observed_expected_ratio(y: Floats, expected: Floats) -> RatioTest:
    """What came, (n,) outcomes of 0 and 1, over what was expected, (n,) probabilities in (0, 1).

    All probabilities are moved by one shift in log-odds; the interval holds every shift that the score test
    does not refuse, ``(came - E)^2 <= z^2 V``, and the ratio is E at its ends over E without a shift. Where
    all probabilities are the same that is Wilson's interval (1927).

    >>> observed_expected_ratio(np.array([1.0, 0.0, 1.0, 1.0]), np.full(4, 0.5)).ratio.value
    1.5
    """
    log_odds, came, total = logit(expected), float(y.sum()), float(expected.sum())
    spread = float((expected * (1 - expected)).sum())

    def surprise(shift: float) -> float:
        p = expit(log_odds + shift)
        return float((came - p.sum()) / np.sqrt(max((p * (1 - p)).sum(), _TINY)))

    def end(z: float) -> float:
        shift = brentq(lambda shift: surprise(shift) - z, -_WIDE, _WIDE)
        return float(expit(log_odds + shift).sum()) / total

    low = 0.0 if came == 0 else end(Z_95)
    high = len(y) / total if came == len(y) else end(-Z_95)
    p_value = 2 * float(norm.sf(abs(came - total) / np.sqrt(spread)))
    return RatioTest(Interval(came / total, low, high), p_value)


def shift_to_total(probability: Floats, wanted: float) -> Floats:
    """The probabilities moved by one shift in log-odds, so that they add up to ``wanted``, in (0, n).

    >>> float(shift_to_total(np.array([0.2, 0.4]), 1.0).sum().round(9))
    1.0
    """
    log_odds = logit(probability)
    shift = brentq(lambda shift: expit(log_odds + shift).sum() - wanted, -_WIDE, _WIDE)
    return np.asarray(expit(log_odds + shift))


@dataclass(frozen=True, eq=False)
class WeightedGroup:
    """Leads, given as numbers, with an outcome each and a weight; a lead may be there more than once."""

    lead: NDArray[np.intp]
    y: Floats
    weight: Floats

    @property
    def rate(self) -> float:
        """The weighted share of outcomes that are 1."""
        return float(self.weight @ self.y / self.weight.sum())

    def influence(self, leads: int) -> Floats:
        """(leads,) how far each lead pulls the logarithm of the rate."""
        each = self.weight * (self.y - self.rate) / (self.weight.sum() * self.rate)
        return np.bincount(self.lead, each, leads).astype(np.float64)


def rate_ratio(one: WeightedGroup, other: WeightedGroup, leads: int) -> RatioTest | None:
    """The ratio of two groups' rates with its 95 % interval, and the p-value of there being no difference.

    The standard error of its logarithm is that of the sandwich by lead (Liang and Zeger 1986): a lead that
    stands in a group many times, or in both, still speaks once. None where a rate is zero.
    """
    if not one.rate or not other.rate:
        return None
    ratio = one.rate / other.rate
    error = float(np.sqrt(((one.influence(leads) - other.influence(leads)) ** 2).sum()))
    half = Z_95 * error
    p_value = 2 * float(norm.sf(abs(np.log(ratio)) / error)) if error else 1.0
    return RatioTest(Interval(ratio, float(ratio * np.exp(-half)), float(ratio * np.exp(half))), p_value)


def benjamini_hochberg(found: Sequence[RatioTest | None]) -> tuple[Verdict, ...]:
    """What may be said of each ratio, so that of all that are told apart no more than 5 % are by chance.

    By Benjamini and Hochberg (1995) over those that there are; None are too few to say anything.

    >>> sure, unsure = (RatioTest(Interval(2.0, 1.0, 4.0), p) for p in (0.001, 0.6))
    >>> benjamini_hochberg([sure, unsure, None])
    ('more', 'level', 'few')
    """
    p = np.sort([held.p_value for held in found if held is not None])
    kept = p[p <= FALSE_SHARE * np.arange(1, len(p) + 1) / max(len(p), 1)]
    least = float(kept[-1]) if len(kept) else -1.0
    return tuple(_verdict(held, least) for held in found)


def _verdict(held: RatioTest | None, least: float) -> Verdict:
    if held is None:
        return "few"
    if held.p_value > least:
        return "level"
    return "more" if held.ratio.value > 1 else "less"
