"""What a report tells its readers to do: decided in one place, so that no two actions contradict each other.

First it is decided whose order of calls to follow, the model's or today's. What rests on the model's scores
is only possible with the model's order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from training.analysis.accounts import Accounts
from training.analysis.mql_audit import HandoverAudit
from training.analysis.offers import Offers
from training.analysis.time_to_conversion import TimeToConversion

if TYPE_CHECKING:
    from training.analysis.not_applicable import NotApplicable
    from training.analysis.offers import OfferEffect
    from training.analysis.summary import Summary

_SEVERE = {"time_unproven", "findings"}


@dataclass(frozen=True, slots=True)
class Actions:
    """The actions of a report.

    Attributes:
        order: Whose order of calls to follow. With "today", leads are called as they are now, and no action
            may rest on the model's scores.
        check_data: Whether somebody is to read the findings first.
        hand_over: Whether to hand over by the model's threshold instead of today's rule.
        by_week: Whether to call before a certain week of a lead's life.
        offer: The offer to show to more leads; None without one.
        accounts: Whether to go through the companies with several active leads, by their scores.

    Raises:
        ValueError: An action rests on scores whose order is not followed.
    """

    order: Literal["model", "today"]
    check_data: bool = False
    hand_over: bool = False
    by_week: bool = False
    offer: OfferEffect | None = None
    accounts: bool = False

    def __post_init__(self) -> None:
        if self.order == "today" and (self.hand_over or self.accounts):
            msg = "leads are called as today, so no action may rest on the model's scores"
            raise ValueError(msg)


def decide_actions(
    summary: Summary,
    audit: HandoverAudit | NotApplicable,
    timing: TimeToConversion | NotApplicable,
    offers: Offers | NotApplicable,
    accounts: Accounts | NotApplicable,
) -> Actions:
    """Decide the actions of a report from its analyses.

    Args:
        summary: The value of the model, and what readers are warned of.
        audit: Today's rule beside the model.
        timing: When leads convert.
        offers: Offers beside each other.
        accounts: Companies with several active leads.
    """
    codes = {warning.code for warning in summary.warnings}
    by_model = summary.at_capacity.is_worthwhile and "little_signal" not in codes
    same = audit.same if isinstance(audit, HandoverAudit) else None
    return Actions(
        order="model" if by_model else "today",
        check_data="findings" in codes or (by_model and bool(codes & _SEVERE)),
        hand_over=by_model and same is not None and same.is_gain,
        by_week=isinstance(timing, TimeToConversion) and timing.hand_over.fades is not None,
        offer=best_offer(offers.offers) if isinstance(offers, Offers) else None,
        accounts=by_model and isinstance(accounts, Accounts) and bool(accounts.accounts),
    )


def best_offer(offers: tuple[OfferEffect, ...]) -> OfferEffect | None:
    """The significantly better offer with the highest lower bound of its ratio, if any."""
    better = [offer for offer in offers if offer.verdict == "more"]
    return max(better, key=lambda offer: offer.ratio.low if offer.ratio else 0.0, default=None)
