"""Ranking quality of a model: lift and gains, at capacity and beside today's rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.clock import DAY
from models import metrics
from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.stats.intervals import clustered_rate
from training.stats.significance import Z_CLAIM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from training.analysis.inputs import ReportInput

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]

# A lift below this is not worthwhile.
_MIN_LIFT = 1.1
SHARES = (0.1, 0.2, 0.3)
STEPS = 200
_WEEK = 7 * DAY


@dataclass(frozen=True, slots=True)
class Lift:
    """The result of calling the best ``share`` of leads.

    Attributes:
        share: In (0, 1].
        leads: How many that is.
        hits: Conversions among them; ties count in part.
        rate: hits / leads with its 95 % interval, clustered by lead.
        lift: Rate relative to the base rate.
        captured: Share of all conversions among them.
    """

    share: float
    leads: int
    hits: float
    rate: Interval
    lift: float
    captured: float

    @property
    def is_worthwhile(self) -> bool:
        """Whether the rate is noticeably above the base rate, and beyond the chance of a report's claims."""
        base, below = self.rate.value / self.lift, self.rate.value - self.rate.low
        return self.lift >= _MIN_LIFT and self.rate.value - base > below * Z_CLAIM / metrics.Z_95


@dataclass(frozen=True, slots=True)
class CurrentRuleValue:
    """The result of today's rule: the share of leads it hands over, and their conversions."""

    share: float
    leads: int
    hits: int
    rate: Interval
    captured: float


@dataclass(frozen=True, slots=True)
class ModelValue:
    """The ranking quality of a model.

    Attributes:
        roc_auc: With its interval, as the next two.
        average_precision: The base rate is what it is without skill.
        log_loss: Mean log-loss.
        constant: The log-loss of predicting the base rate for all.
        gains: (share called, share of conversions captured).
        lifts: At the usual shares and at capacity.
        weekly: Snapshots per week; None where rows have no dates.
        today: Today's rule, where there is one.
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
    """Measure the ranking quality of held-out scores.

    Args:
        inputs: The held-out rows of a report.
        figures: Metrics of the run by name.
        handed_over: (n,) whether today's rule had handed the row's lead over; None without a rule.
    """
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
    """Compute the lift of calling the best ``share`` of rows.

    Args:
        y: (n,) outcomes, 0 or 1.
        p: (n,) predicted probabilities; rows that tie at the threshold count in part.
        share: In (0, 1].
        lead: (n,) number of each row's lead.
    """
    leads = math.ceil(round(share * len(y), 6))
    captured = metrics.capture_rate(y, p, leads / len(y))
    rate = clustered_rate(y, lead, _called_share(p, leads))
    return Lift(share, leads, captured * float(y.sum()), rate, rate.value / float(y.mean()), captured)


def _called_share(p: Floats, leads: int) -> Floats:
    """(n,) the part of each row that is called: 1 or 0, and one share for all that tie at the threshold."""
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
    """Held-out snapshots per week between the first and the last of them."""
    if inputs.card.window is None or "as_of" not in inputs.scores.columns:
        return None
    moments = inputs.scores["as_of"].to_numpy()
    return len(moments) / (max(int(np.ptp(moments)), _WEEK) / _WEEK)
