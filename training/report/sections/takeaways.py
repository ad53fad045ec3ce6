"""The takeaway of each section: one sentence before everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.analysis.accounts import Accounts
from training.analysis.channels import Channels
from training.analysis.fairness import Fairness
from training.analysis.funnel import Funnel
from training.analysis.mql_audit import HandoverAudit
from training.analysis.offers import Offers
from training.analysis.points_comparison import PointsComparison
from training.analysis.time_to_conversion import TimeToConversion
from training.report.sections import channels, funnel

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.report.report import Report
    from training.report.translator import Translator


def takeaway(report: Report, block: str, t: Translator) -> str:
    """The takeaway of the section ``block``; empty where its first words say it already."""
    return _TAKEAWAYS[block](report, t) if block in _TAKEAWAYS else ""


def _worth(report: Report, t: Translator) -> str:
    capacity = report.summary.at_capacity
    if report.actions.order == "today":
        return t("summary.headline_none")
    return t("worth.takeaway", share=t.share(capacity.share), captured=t.percent(capacity.captured))


def _funnel(report: Report, t: Translator) -> str:
    analysis = report.insights.funnel
    return funnel.narrowest(analysis, t) if isinstance(analysis, Funnel) else ""


def _audit(report: Report, t: Translator) -> str:
    audit = report.insights.mql_audit
    if not isinstance(audit, HandoverAudit) or audit.handed.rate is None:
        return ""
    text = t("mql-audit.takeaway", hits=t.number(100 * audit.handed.rate.value))
    if audit.same is None or not report.actions.hand_over:
        return text
    ends = audit.same.gained
    more = t(
        "mql-audit.takeaway_more",
        more=t.number(ends.value),
        low=t.number(ends.low),
        high=t.number(ends.high),
        won=t.number(audit.same.won),
    )
    return f"{text} {more}"


def _channels(report: Report, t: Translator) -> str:
    analysis = report.insights.channels
    return channels.headline(analysis, t) if isinstance(analysis, Channels) else ""


def _offers(report: Report, t: Translator) -> str:
    analysis = report.insights.offers
    if not isinstance(analysis, Offers):
        return ""
    offer = report.actions.offer
    if offer is None or offer.ratio is None:
        return t("offers.none")
    return t("offers.takeaway", offer=t.offer(offer.name), ratio=t.interval(offer.ratio, 1))


def _drivers(report: Report, t: Translator) -> str:
    family, feature = report.drivers.families[0], report.drivers.features[0]
    if len(report.drivers.families) == 1:  # as in a flat export, where it would say nothing
        text = t(
            "drivers.takeaway_one", feature=t.title(feature.spec), points=t.number(feature.importance, 1)
        )
    else:
        text = t(
            "drivers.takeaway",
            family=t.label("families", family.name),
            points=t.number(family.importance),
            feature=t.title(feature.spec),
        )
    return f"{text} {_only_age(report, t)}" if feature.is_age else text


def _only_age(report: Report, t: Translator) -> str:
    """Say that the first feature is only the age of the lead, and which one is the first that is not."""
    others = [
        driver for driver in report.drivers.features if not driver.is_age and driver.direction != "none"
    ]
    if not others:
        return t("drivers.only_age")
    return t("drivers.only_age_before", feature=t.title(others[0].spec))


def _timing(report: Report, t: Translator) -> str:
    analysis = report.insights.time_to_sql
    if not isinstance(analysis, TimeToConversion) or analysis.half is None or not analysis.overall.rates:
        return ""
    days = t.plural("funnel.days", analysis.overall.rates[-1].days)
    return t(
        "time-to-sql.half", target=t.label("stages", analysis.target), of=days, day=t.number(analysis.half)
    )


def _calibration(report: Report, t: Translator) -> str:
    total = report.calibration.total
    forecast, observed = t.number(100 * total.forecast, 1), t.number(100 * total.observed.value, 1)
    return t("calibration.takeaway", forecast=forecast, observed=observed)


def _fairness(report: Report, t: Translator) -> str:
    analysis = report.insights.fairness
    if not isinstance(analysis, Fairness):
        return ""
    judged = sum(group.is_judged for group in analysis.groups)
    if not judged:
        return t("fairness.none_judged")
    if not analysis.different:
        return t.plural("fairness.none_differs", judged)
    return t.plural("fairness.some_differ", len(analysis.different), of=t.number(judged))


def _accounts(report: Report, t: Translator) -> str:
    analysis = report.insights.accounts
    if not isinstance(analysis, Accounts) or not analysis.accounts:
        return ""
    return t("accounts.takeaway", several=t.number(analysis.several), together=t.number(analysis.together))


def _points(report: Report, t: Translator) -> str:
    analysis = report.insights.points_table
    if (
        not isinstance(analysis, PointsComparison)
        or analysis.retained_skill is None
        or analysis.retained_skill <= 0
    ):
        return ""
    return t(
        "points-table.takeaway",
        lines=t.number(len(analysis.lines)),
        kept=t.percent(min(analysis.retained_skill, 1.0)),
    )


def _health(report: Report, t: Translator) -> str:
    read, aside = report.health.rows_read, report.health.rows_quarantined
    return t("health.lead", read=t.number(read), aside=t.number(aside))


_TAKEAWAYS: dict[str, Callable[[Report, Translator], str]] = {
    "worth": _worth,
    "funnel": _funnel,
    "mql-audit": _audit,
    "channels": _channels,
    "offers": _offers,
    "drivers": _drivers,
    "time-to-sql": _timing,
    "calibration": _calibration,
    "fairness": _fairness,
    "accounts": _accounts,
    "points-table": _points,
    "health": _health,
}
