"""Does the rate of conversion depend on age, or do the ready leads merely leave first?

Leads differ (frailty): the ready ones convert and leave, so the hazard rate of those that stay falls although
nobody's own rate does (Vaupel, Manton and Stallard 1979). Where every lead has a constant rate of its own, of
conversion and of closing, in whatever way these differ and go together, the share of all leads that convert
at an age is a mixture of exponentials. The likeliest mixture is found without a family of distributions
(Jewell 1982), and what no mixture explains is an effect of age.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Rates of leaving per interval that are mixed, from never to at once.
_RATES = np.append(0.0, np.geomspace(0.01, 12, 22))
# A resample is fitted from the mixture it was drawn from, so that few iterations do.
_ITERATIONS, _REFIT_ITERATIONS, _RESAMPLES = 4000, 60, 999
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class AgeEffect:
    """Conversions by age beside those of leads whose own rates do not change.

    Attributes:
        expected: (k,) conversions expected in each interval.
        p_value: (k,) the chance that any interval stands out as far above its expectation as this one, so
            that together they name a false one no more often than one alone does.
    """

    expected: Floats
    p_value: Floats


def constant_rate_test(hits: Floats, exposure: Floats) -> AgeEffect:
    """Test each interval of age for more conversions than any mixture of constant rates explains.

    The statistic is the excess over the fit in its standard errors, and its greatest value over all intervals
    is compared with that of a parametric bootstrap in which the mixture is fitted anew: simultaneous over
    intervals.

    Args:
        hits: (k,) conversions in successive intervals of equal length.
        exposure: (k,) how many conversions each interval would have if age did not matter, up to a factor:
            the leads that are followed, whether they are still open or not, times what is known of seasons.

    Returns:
        Expected conversions, and simultaneous p-values.

    >>> effect = constant_rate_test(np.array([30.0, 28, 75, 25, 24, 22, 21]), np.full(7, 1000.0))
    >>> (effect.p_value < 0.01).tolist()
    [False, False, True, False, False, False, False]
    """
    age = np.arange(len(hits))[:, None]
    # The chance to convert in an interval is that of leaving in it; a rate of 0 leaves equally in all.
    leaving = np.where(_RATES > 0, np.exp(-_RATES * age) * -np.expm1(-_RATES), 1.0)
    basis = exposure[:, None] * leaving
    basis /= basis.sum(axis=0)
    start = np.full(len(_RATES), hits.sum() / len(_RATES))
    weight = _fit_mixture(hits[None], basis, start[None], _ITERATIONS)
    expected = (weight @ basis.T)[0]
    resampled = np.random.default_rng(0).poisson(expected, (_RESAMPLES, len(hits))).astype(np.float64)
    refitted = _fit_mixture(resampled, basis, weight, _REFIT_ITERATIONS) @ basis.T
    excess = (resampled - refitted) / np.sqrt(refitted + _TINY)
    spread = excess.std(axis=0) + _TINY
    own = (hits - expected) / np.sqrt(expected + _TINY) / spread
    greatest = np.sort((excess / spread).max(axis=1))
    above = _RESAMPLES - np.searchsorted(greatest, own, side="left")
    return AgeEffect(expected, (1 + above) / (1 + _RESAMPLES))


def _fit_mixture(hits: Floats, basis: Floats, start: Floats, iterations: int) -> Floats:
    """(r, rates) weights of the likeliest mixtures, one for each row of ``hits``, by the EM algorithm."""
    weight = start
    for _ in range(iterations):
        weight = weight * ((hits / (weight @ basis.T + _TINY)) @ basis)
    return np.asarray(weight)
