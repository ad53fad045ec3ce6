"""What a model is worth to who calls: how many leads that convert are at the top of its order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.clock import DAY
from models import metrics
from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.stats.intervals import clustered_rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from training.analysis.inputs import ReportInput

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

_NOTICEABLE = 1.1
SHARES = (0.1, 0.2, 0.3)
STEPS = 200
_WEEK = 7 * DAY


@dataclass(frozen=True, slots=True)
class Lift:
    """Calling the best ``share`` of leads: how many that is, how many of them convert, and against chance.

    ``rate`` is hits / leads, in whose interval a lead that was looked at twice is one witness, and
    ``captured`` the share of all conversions among them.
    """

    share: float
    leads: int
    hits: float
    rate: Interval
    lift: float
    captured: float

    @property
    def is_worthwhile(self) -> bool:
        """Whether that is noticeably more than the same number of calls in any order, and beyond chance."""
        return self.lift >= _NOTICEABLE and self.rate.low > self.rate.value / self.lift


@dataclass(frozen=True, slots=True)
class CurrentRuleValue:
    """What the rule of today does: the share of leads it hands over, and what became of them."""

    share: float
    leads: int
    hits: int
    rate: Interval
    captured: float


@dataclass(frozen=True, slots=True)
class ModelValue:
    """How well leads are put in order; ``gains`` are (share called, share of conversions) pairs.

    ``constant`` is the log-loss of always saying the base rate, and the base rate what AP is without skill.
    ``weekly`` is how many leads were looked at in a week, where the judged leads have dates, and ``today``
    what is done now, where that is known.
    """

    roc_auc: Interval
    average_precision: Interval
    log_loss: Interval
    constant: float
    gains: tuple[tuple[float, float], ...]
    lifts: tuple[Lift, ...]
    weekly: float | None
    today: CurrentRuleValue | None


def model_value(
    inputs: ReportInput, figures: Mapping[str, Interval], handed_over: NDArray[np.bool_] | None
) -> ModelValue:
    """What the order of leads is worth; ``handed_over`` (n,) are those that today's rule took."""
    y, p = inputs.label, inputs.scores["probability"].to_numpy()
    return ModelValue(
        roc_auc=figures["roc_auc"],
        average_precision=figures["average_precision"],
        log_loss=figures["log_loss"],
        constant=metrics.log_loss(y, np.full_like(p, y.mean())),
        gains=_gains_points(y, p),
        lifts=tuple(lift_at_share(y, p, share, inputs.lead) for share in sorted({*SHARES, inputs.capacity})),
        weekly=_leads_per_week(inputs),
        today=None
        if handed_over is None or not handed_over.any()
        else _current_rule_value(y, handed_over, inputs.lead),
    )


def lift_at_share(y: Floats, p: Floats, share: float, lead: Codes) -> Lift:
    """What calling the best ``share`` brings; leads of equal probability count as called in part."""
    leads = math.ceil(round(share * len(y), 6))
    captured = metrics.capture_rate(y, p, leads / len(y))
    rate = clustered_rate(y, lead, _called_share(p, leads))
    return Lift(share, leads, captured * float(y.sum()), rate, rate.value / float(y.mean()), captured)


def _called_share(p: Floats, leads: int) -> Floats:
    """(n,) the part of each lead that is called: 1 or 0, and one share for all that tie at the edge."""
    edge = np.partition(p, len(p) - leads)[len(p) - leads]
    above, equal = p > edge, p == edge
    return np.asarray(np.where(equal, (leads - above.sum()) / equal.sum(), above), dtype=np.float64)


def _gains_points(y: Floats, p: Floats) -> tuple[tuple[float, float], ...]:
    shares = np.arange(1, STEPS + 1) / STEPS
    captured = np.interp(shares, *metrics.gains_curve(y, p))
    return tuple(zip(shares.tolist(), captured.tolist(), strict=True))


def _current_rule_value(y: Floats, handed_over: NDArray[np.bool_], lead: Codes) -> CurrentRuleValue:
    leads, hits = int(handed_over.sum()), int(y[handed_over].sum())
    rate = clustered_rate(y[handed_over], lead[handed_over])
    return CurrentRuleValue(leads / len(y), leads, hits, rate, hits / float(y.sum()))


def _leads_per_week(inputs: ReportInput) -> float | None:
    """How many of the judged leads there are for each week between the first and the last of them."""
    if inputs.card.window is None or "as_of" not in inputs.scores.columns:
        return None
    moments = inputs.scores["as_of"].to_numpy()
    return len(moments) / (max(int(np.ptp(moments)), _WEEK) / _WEEK)
