"""Tests of ratios (observed to expected, rate to rate), and how often the claims of a report may be false.

A report makes claims of several families: to call the best first, to hand over otherwise, channels, offers,
paths, weeks, segments. Each has the same share of one error rate (Bonferroni), and within a family
Benjamini-Hochberg holds it where nothing has an effect: of reports on such data at most one in twenty makes
any claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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
# How many reports may make any claim where nothing has an effect; what of it each family of claims has.
REPORT_ERROR_RATE = 0.05
CLAIM_FAMILIES = ("calls", "hand_over", "channels", "offers", "paths", "weeks", "segments")
FAMILY_ERROR_RATE = REPORT_ERROR_RATE / len(CLAIM_FAMILIES)
# The normal quantile of a claim in one direction.
Z_CLAIM = float(norm.isf(FAMILY_ERROR_RATE))
FEWEST_LEADS, FEWEST_SQLS = 30, 3.0
_WIDE = 30.0
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class RatioTest:
    """A ratio with its 95 % interval, and the two-sided p-value of the hypothesis that it is 1."""

    ratio: Interval
    p_value: float


def observed_expected_ratio(y: Floats, expected: Floats) -> RatioTest:
    """Observed over expected conversions, with the interval of a score test.

    All probabilities are moved by one shift in log-odds. The interval holds every shift that the score test
    does not reject, ``(observed - E)^2 <= z^2 V``; its ends are E at those shifts over E without a shift.
    Where all probabilities are equal this is Wilson's interval (Wilson 1927).

    Args:
        y: (n,) outcomes, 0 or 1.
        expected: (n,) probabilities in (0, 1).

    Returns:
        The ratio ``sum(y) / sum(expected)``, its 95 % interval and p-value.

    >>> observed_expected_ratio(np.array([1.0, 0.0, 1.0, 1.0]), np.full(4, 0.5)).ratio.value
    1.5
    """
    log_odds, observed, total = logit(expected), float(y.sum()), float(expected.sum())
    spread = float((expected * (1 - expected)).sum())

    def surprise(shift: float) -> float:
        p = expit(log_odds + shift)
        return float((observed - p.sum()) / np.sqrt(max((p * (1 - p)).sum(), _TINY)))

    def end(z: float) -> float:
        shift = brentq(lambda shift: surprise(shift) - z, -_WIDE, _WIDE)
        return float(expit(log_odds + shift).sum()) / total

    low = 0.0 if observed == 0 else end(Z_95)
    high = len(y) / total if observed == len(y) else end(-Z_95)
    p_value = 2 * float(norm.sf(abs(observed - total) / np.sqrt(spread)))
    return RatioTest(Interval(observed / total, low, high), p_value)


def shift_to_total(probability: Floats, total: float) -> Floats:
    """Probabilities moved by one shift in log-odds so that they add up to ``total``.

    Args:
        probability: (n,) probabilities in (0, 1).
        total: What they are to add up to, in (0, n).

    Returns:
        (n,) shifted probabilities.

    >>> float(shift_to_total(np.array([0.2, 0.4]), 1.0).sum().round(9))
    1.0
    """
    log_odds = logit(probability)
    shift = brentq(lambda shift: expit(log_odds + shift).sum() - total, -_WIDE, _WIDE)
    return np.asarray(expit(log_odds + shift))


@dataclass(frozen=True, eq=False)
class WeightedGroup:
    """The rows of one group of leads; a lead may have several rows.

    Attributes:
        lead: (n,) the lead of each row, numbered from 0.
        y: (n,) outcomes, 0 or 1.
        weight: (n,) weights.
    """

    lead: NDArray[np.intp]
    y: Floats
    weight: Floats

    @cached_property
    def rate(self) -> float:
        """The weighted share of outcomes that are 1."""
        return float(self.weight @ self.y / self.weight.sum())

    def influence(self, leads: int) -> Floats:
        """(leads,) the influence of each lead on the logarithm of the rate, 0 for those outside the group."""
        each = self.weight * (self.y - self.rate) / (self.weight.sum() * self.rate)
        return np.bincount(self.lead, each, leads).astype(np.float64)


def rate_ratio(group: WeightedGroup, reference: WeightedGroup, leads: int) -> RatioTest | None:
    """The ratio of two groups' rates, with a standard error that is clustered by lead (Liang and Zeger 1986).

    A lead with many rows, or with rows in both groups, counts as one observation. The interval is normal on
    the scale of the logarithm.

    Args:
        group: The rows whose rate is the numerator.
        reference: The rows whose rate is the denominator.
        leads: How many leads there are in all; both groups number their leads below it.

    Returns:
        The ratio, its 95 % interval and p-value; None where one of the rates is 0.
    """
    if not group.rate or not reference.rate:
        return None
    ratio = group.rate / reference.rate
    error = float(np.sqrt(((group.influence(leads) - reference.influence(leads)) ** 2).sum()))
    half = Z_95 * error
    p_value = 2 * float(norm.sf(abs(np.log(ratio)) / error)) if error else 1.0
    return RatioTest(Interval(ratio, float(ratio * np.exp(-half)), float(ratio * np.exp(half))), p_value)


def both_tests(first: RatioTest | None, second: RatioTest | None) -> RatioTest | None:
    """The first ratio with the p-value that both are on the same side of 1 (Berger 1982: intersection-union).

    Args:
        first: The ratio that is reported.
        second: A ratio that must confirm it.

    Returns:
        The first ratio; its p-value is the larger one, 1 where the ratios contradict each other. None where
        one is missing.
    """
    if first is None or second is None:
        return None
    agree = (first.ratio.value - 1) * (second.ratio.value - 1) > 0
    return RatioTest(first.ratio, max(first.p_value, second.p_value) if agree else 1.0)


def benjamini_hochberg(tests: Sequence[RatioTest | None]) -> tuple[Verdict, ...]:
    """Verdicts on many ratios at a false discovery rate of a family's share (Benjamini and Hochberg 1995).

    The rate is ``FAMILY_ERROR_RATE``, so that all families of a report together name something in one report
    of twenty where there is nothing.

    Args:
        tests: One test per ratio; None where there are too few leads for one, which does not count.

    Returns:
        For each test "more" or "less" where the ratio differs from 1, "level" where it does not, "few" for
        None.

    >>> sure, unsure = (RatioTest(Interval(2.0, 1.0, 4.0), p) for p in (0.001, 0.6))
    >>> benjamini_hochberg([sure, unsure, None])
    ('more', 'level', 'few')
    """
    p = np.sort([test.p_value for test in tests if test is not None])
    significant = p[p <= FAMILY_ERROR_RATE * np.arange(1, len(p) + 1) / max(len(p), 1)]
    least = float(significant[-1]) if len(significant) else -1.0
    return tuple(_verdict(test, least) for test in tests)


def _verdict(test: RatioTest | None, least: float) -> Verdict:
    if test is None:
        return "few"
    if test.p_value > least:
        return "level"
    return "more" if test.ratio.value > 1 else "less"
