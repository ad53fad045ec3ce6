"""The chance that at least one lead of an account converts, from the probabilities of its leads.

Colleagues are not independent: they share what speaks for their company. So the chance is neither
``1 - (1 - p1)(1 - p2)...``, which would be right if they were, nor the largest probability, which would be
if one converted whenever a likelier one does. Both are bounds under positive dependence (Frechet 1935). In
between it is that of an equicorrelated probit model, in which each lead has its own probability and all of an
account share one normal factor (Ochi and Prentice 1984, Biometrika 71; Vasicek 1987). How much they share is
measured in training, ``training.stats.account_dependence``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# The trapezoidal rule on so many points is exact to 1e-6 up to a correlation of .95.
_FACTOR: Floats = np.linspace(-8, 8, 81)
_WEIGHT: Floats = np.exp(-_FACTOR * _FACTOR / 2) / np.exp(-_FACTOR * _FACTOR / 2).sum()
HIGHEST = 0.95


@dataclass(frozen=True, slots=True)
class AccountDependence:
    """How alike the outcomes of colleagues are, beyond their scores, among held-out leads.

    Attributes:
        correlation: Of the latent normal variables of two leads of an account, 0 to ``HIGHEST``.
        low: Lower end of its 90 % interval.
        high: Upper end of it.
        accounts: How many accounts of several leads it was measured in.
        pairs: How many pairs of colleagues.
    """

    correlation: float
    low: float
    high: float
    accounts: int
    pairs: int

    def to_json(self) -> str:
        """The record as the text of a file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AccountDependence:
        """The record that ``to_json`` wrote.

        Raises:
            TypeError, ValueError: It did not write ``text``.
        """
        return cls(**json.loads(text))


def chance_of_any(probabilities: Sequence[float] | Floats, correlation: float) -> float:
    """The chance that at least one lead of an account converts.

    Args:
        probabilities: Those of its leads, each in [0, 1].
        correlation: Of the latent variables of two leads, from 0 (independent) to 1 (the likeliest decides).

    Returns:
        The chance, between the largest probability and that of independent leads; 0 without leads.

    >>> chance_of_any([0.2, 0.5], 0.0), chance_of_any([0.2, 0.5], 1.0)
    (0.6, 0.5)
    >>> round(chance_of_any([0.2, 0.5], 0.3), 3)
    0.566
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if len(p) < 2:  # noqa: PLR2004  # a lead alone
        return float(p.sum())
    largest, independent = float(p.max()), chance_of_independent(p)
    if correlation <= 0:
        return independent
    if correlation >= 1 or largest >= 1:
        return largest
    missed = np.log1p(-conditional_probabilities(p, min(correlation, HIGHEST))).sum(axis=0)
    return min(independent, max(largest, float(1 - np.exp(missed) @ _WEIGHT)))


def chances_of_any(probabilities: Floats, starts: NDArray[np.int64], correlation: float) -> Floats:
    """The chance of ``chance_of_any`` of many accounts at once, to 1e-12.

    Args:
        probabilities: (n,) those of their leads, account by account.
        starts: (k,) where the leads of each account begin, from 0 on; none is empty.
        correlation: As of ``chance_of_any``.

    Returns:
        (k,) chances.
    """
    if not len(starts):
        return np.zeros(0)
    largest = np.maximum.reduceat(probabilities, starts)
    independent = 1 - np.multiply.reduceat(1 - probabilities, starts)
    alone = np.diff(np.append(starts, len(probabilities))) == 1
    if correlation <= 0 or correlation >= 1:
        return np.asarray(np.where(alone, largest, independent if correlation <= 0 else largest))
    missed = np.zeros(len(starts))
    with np.errstate(divide="ignore"):
        limits = ndtri(probabilities) / np.sqrt(1 - min(correlation, HIGHEST))
    slope = np.sqrt(min(correlation, HIGHEST) / (1 - min(correlation, HIGHEST)))
    for factor, weight in zip(_FACTOR, _WEIGHT, strict=True):
        share = np.minimum(ndtr(limits + slope * factor), 1 - 1e-16)
        missed += weight * np.exp(np.add.reduceat(np.log1p(-share), starts))
    chances = np.clip(1 - missed, largest, independent)
    return np.asarray(np.where(alone | (largest >= 1), largest, chances))


def chance_of_independent(probabilities: Sequence[float] | Floats) -> float:
    """The chance that any of independent leads converts: an upper bound for those of one account."""
    return float(1 - np.prod(1 - np.asarray(probabilities, dtype=np.float64)))


def conditional_probabilities(probabilities: Floats, correlation: float) -> Floats:
    """(n, factors) the probability of each lead given the factor that colleagues share, at ``_FACTOR``."""
    limits = (ndtri(probabilities)[:, None] + np.sqrt(correlation) * _FACTOR) / np.sqrt(1 - correlation)
    return np.asarray(np.minimum(ndtr(limits), 1 - 1e-16))


def chance_of_both(first: Floats, second: Floats, correlation: float) -> Floats:
    """(n,) the chance that both leads of n pairs convert."""
    both = conditional_probabilities(first, correlation) * conditional_probabilities(second, correlation)
    return np.asarray(both @ _WEIGHT)
