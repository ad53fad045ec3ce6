"""What a report tells its readers to do: decided in one place, so that no two actions contradict each other.

First it is decided whose order of calls to follow, the model's or today's. What rests on the model's scores
is only possible with the model's order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from training.analysis.accounts import Accounts
from training.analysis.calibration import is_miscalibrated
from training.analysis.channels import Channels, has_codes, is_named
from training.analysis.mql_audit import HandoverAudit
from training.analysis.offers import Offers
from training.analysis.time_to_conversion import TimeToConversion

if TYPE_CHECKING:
    from training.analysis.calibration import Reliability
    from training.analysis.channels import Channel, ChannelBreakdown
    from training.analysis.data_health import Health
    from training.analysis.drivers import Driver, Drivers
    from training.analysis.not_applicable import NotApplicable
    from training.analysis.offers import OfferEffect
    from training.analysis.summary import Summary

_SEVERE = {"time_unproven", "findings"}
# An attribute is worth filling in if it is among the first so many drivers and so many leads lack it.
_FIRST, _MUCH_MISSING = 10, 0.2


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
        channel: The channel to win more leads through; None without one.
        fill_in: The attribute that weighs most among those that many leads lack; None without one.
        repair: Whether more rows than usual could not be used.
        train_again: Whether predictions are off beyond chance, which newer outcomes may mend.
        read_findings: Whether somebody is to read findings that are not grave.
        add_costs: Whether channels could show the cost of a conversion, but nobody named what they cost.

    Raises:
        ValueError: An action rests on scores whose order is not followed.
    """

    order: Literal["model", "today"]
    check_data: bool = False
    hand_over: bool = False
    by_week: bool = False
    offer: OfferEffect | None = None
    accounts: bool = False
    channel: tuple[ChannelBreakdown, Channel] | None = None
    fill_in: tuple[Driver, float] | None = None
    repair: bool = False
    train_again: bool = False
    read_findings: bool = False
    add_costs: bool = False

    def __post_init__(self) -> None:
        if self.order == "today" and (self.hand_over or self.accounts):
            msg = "leads are called as today, so no action may rest on the model's scores"
            raise ValueError(msg)


def decide_actions(  # noqa: PLR0913  # one for each analysis
    summary: Summary,
    audit: HandoverAudit | NotApplicable,
    timing: TimeToConversion | NotApplicable,
    offers: Offers | NotApplicable,
    accounts: Accounts | NotApplicable,
    *,
    channels: Channels | NotApplicable,
    drivers: Drivers,
    health: Health,
    calibration: Reliability,
) -> Actions:
    """Decide the actions of a report from its analyses.

    Args:
        summary: The value of the model, and what readers are warned of.
        audit: Today's rule beside the model.
        timing: When leads convert.
        offers: Offers beside each other.
        accounts: Companies with several active leads.
        channels: Channels beside each other.
        drivers: What weighs how much in the model.
        health: How much of each attribute is missing, and what the checks found.
        calibration: Predictions beside outcomes.
    """
    codes = {warning.code for warning in summary.warnings}
    by_model = summary.at_capacity.is_worthwhile and "little_signal" not in codes
    same = audit.same if isinstance(audit, HandoverAudit) else None
    check_data = "findings" in codes or (by_model and bool(codes & _SEVERE))
    return Actions(
        order="model" if by_model else "today",
        check_data=check_data,
        hand_over=by_model and same is not None and same.is_gain,
        by_week=isinstance(timing, TimeToConversion) and timing.hand_over.fades is not None,
        offer=best_offer(offers.offers) if isinstance(offers, Offers) else None,
        accounts=by_model and isinstance(accounts, Accounts) and bool(accounts.accounts),
        channel=best_channel(channels) if isinstance(channels, Channels) else None,
        fill_in=most_missed(drivers, health) if by_model else None,
        repair="quarantined" in codes,
        train_again=by_model and is_miscalibrated(calibration.total),
        read_findings=not check_data and any(note.severity == "medium" for note in health.findings),
        add_costs=isinstance(channels, Channels) and not _has_costs(channels),
    )


def best_offer(offers: tuple[OfferEffect, ...]) -> OfferEffect | None:
    """The significantly better offer with the highest lower bound of its ratio, if any."""
    better = [offer for offer in offers if offer.verdict == "more"]
    return max(better, key=lambda offer: offer.ratio.low if offer.ratio else 0.0, default=None)


def best_channel(channels: Channels) -> tuple[ChannelBreakdown, Channel] | None:
    """The significantly better channel with the highest lower bound of its ratio, if any, and its column."""
    better = [
        (breakdown, channel)
        for breakdown in channels.dimensions
        for channel in breakdown.channels
        if channel.verdict == "more" and is_named(channel) and not has_codes(breakdown)
    ]
    return max(better, key=lambda each: each[1].ratio.low if each[1].ratio else 0.0, default=None)


def most_missed(drivers: Drivers, health: Health) -> tuple[Driver, float] | None:
    """The first attribute among the ``_FIRST`` drivers that many leads lack, and their share, if any."""
    missing = {column.column: column.missing for column in health.columns}
    attributes = (each for each in drivers.features[:_FIRST] if each.spec.source in {"leads", "attributes"})
    lacking = (
        (each, missing.get(each.spec.name, 0.0)) for each in attributes if each.spec.extraction is None
    )
    return next(((each, share) for each, share in lacking if share >= _MUCH_MISSING), None)


def _has_costs(channels: Channels) -> bool:
    named = bool(channels.unknown)
    return named or any(each.cost for breakdown in channels.dimensions for each in breakdown.channels)
