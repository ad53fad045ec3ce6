"""Today's rule and the model on the same leads with the same number of calls: who calls whom, to what end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from models import metrics
from models.metrics import Interval
from training.insight.rates import wilson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

Called = Literal["both", "today", "model", "neither"]
RESAMPLES = 300


@dataclass(frozen=True, slots=True)
class Quarter:
    """The leads that both would call, only one of them, or neither; what became of them."""

    called: Called
    leads: int
    won: int
    rate: Interval | None


@dataclass(frozen=True, slots=True)
class SameCalls:
    """Of ``leads`` today's rule calls ``calls`` and reaches ``won`` SQLs; the model calls its best ``calls``.

    ``gained`` is by how many SQLs that is more, ``saved`` how many calls fewer the model needs for ``won``.
    ``threshold`` is the least probability that it calls.
    """

    leads: int
    calls: int
    won: int
    gained: Interval
    saved: Interval
    threshold: float
    quarters: tuple[Quarter, ...]


def same_calls(y: Floats, p: Floats, today: Flags) -> SameCalls | None:
    """(n,) outcomes and probabilities of leads, and whether ``today`` calls them.

    The intervals are of Poisson resamples of the leads, in which the model calls as many as today's rule.
    Of leads that tie at the threshold lots say whom it calls: all of them would be more calls than today's.
    None where that calls all or none, or reaches nobody.
    """
    calls = int(today.sum())
    if not 0 < calls < len(y) or not y[today].any():
        return None
    lots = np.random.default_rng(1).permutation(len(y))
    order = np.lexsort((lots, p))  # once, so that each resample's own sort costs next to nothing
    y, p, today = y[order], p[order], today[order]
    weights = metrics.poisson_weights(len(y), RESAMPLES, 0)
    drawn = np.array([_difference(y, p, today, w) for w in weights if (w * y)[today].any()])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    gained, saved = _difference(y, p, today, np.ones(len(y)))
    best = len(p) - calls
    return SameCalls(
        leads=len(y),
        calls=calls,
        won=int(y[today].sum()),
        gained=Interval(gained, float(low[0]), float(high[0])),
        saved=Interval(saved, float(low[1]), float(high[1])),
        threshold=float(p[best]),
        quarters=tuple(_quarters(y, today, np.arange(len(p)) >= best)),
    )


def _difference(y: Floats, p: Floats, today: Flags, weights: Floats) -> tuple[float, float]:
    """The SQLs that the model gains on ``today``, and the calls that it saves, among leads so weighted."""
    called, found = metrics.gains(y, p, weights)
    leads, won = float(weights.sum()), float(weights @ y)
    calls, reached = float(weights @ today), float((weights * y) @ today)
    more = won * float(np.interp(calls / leads, called, found)) - reached
    # The curve is flat where leads did not convert: the first place that reaches as many is the one.
    enough = leads * float(np.interp(reached / won, *_rising(found, called)))
    return more, calls - enough


def _rising(found: Floats, called: Floats) -> tuple[Floats, Floats]:
    first = np.diff(found, prepend=-1.0) > 0
    return found[first], called[first]


def _quarters(y: Floats, today: Flags, model: Flags) -> Iterator[Quarter]:
    parts: dict[Called, Flags] = {
        "both": today & model,
        "model": ~today & model,
        "today": today & ~model,
        "neither": ~today & ~model,
    }
    for called, rows in parts.items():
        leads, won = int(rows.sum()), int(y[rows].sum())
        yield Quarter(called, leads, won, wilson(won, leads) if leads else None)
