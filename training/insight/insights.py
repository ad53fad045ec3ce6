"""What is found out for the blocks of the report beyond the model itself, in the order of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.insight.accounts import Accounts, accounts
from training.insight.audit import Audit, audit
from training.insight.channels import Channels, channels
from training.insight.doubted import Doubted, doubted
from training.insight.funnel import Funnel, funnel
from training.insight.offers import Offers, offers
from training.insight.pointed import Pointed, pointed
from training.insight.rates import NotApplicable
from training.insight.timing import Timing, timing

if TYPE_CHECKING:
    from training.insight.given import ReportInput

_LATER = NotApplicable("not_made")


@dataclass(frozen=True, slots=True)
class Insights:
    """What each block shows, or why it cannot."""

    funnel: Funnel | NotApplicable = _LATER
    mql_audit: Audit | NotApplicable = _LATER
    channels: Channels | NotApplicable = _LATER
    offers: Offers | NotApplicable = _LATER
    time_to_sql: Timing | NotApplicable = _LATER
    accounts: Accounts | NotApplicable = _LATER
    points_table: Pointed | NotApplicable = _LATER
    doubted: Doubted | NotApplicable = _LATER


def insights(given: ReportInput) -> Insights:
    """Every block of ``given``."""
    return Insights(
        funnel=funnel(given),
        mql_audit=audit(given),
        channels=channels(given),
        offers=offers(given),
        time_to_sql=timing(given),
        accounts=accounts(given),
        points_table=pointed(given),
        doubted=doubted(given),
    )
