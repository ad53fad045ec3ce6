"""What more conversions to learn from are worth, by the learning curve that was measured."""

from __future__ import annotations

import numpy as np

LEARNING_CURVE = ((40, 61), (100, 66), (400, 87), (2_000, 93), (10_000, 96), (40_000, 96), (100_000, 97))
"""From how many conversions a model captures how many percent of what can be known of simulated companies, as
``tests/benchmarks/learning_curve.py`` measured."""


def captured_share(conversions: float) -> float:
    """The share of what can be known, in [0, 1], that a model of so many conversions captures.

    >>> captured_share(400), captured_share(1_000_000)
    (0.87, 0.97)
    """
    sizes, shares = zip(*LEARNING_CURVE, strict=True)
    return round(float(np.interp(np.log(max(conversions, 1)), np.log(sizes), shares)) / 100, 4)


def describe_gain(conversions: float, times: float) -> str:
    """What learning from so many times the conversions brings, in words.

    >>> describe_gain(100, 4), describe_gain(20_000, 2)
    ('about 21 points more', 'less than one point more')
    """
    points = round(100 * (captured_share(conversions * times) - captured_share(conversions)))
    return f"about {points:.0f} points more" if points else "less than one point more"
