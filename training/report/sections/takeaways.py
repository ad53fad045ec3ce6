"""What a reader in a hurry takes away from each block: one sentence, before everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.analysis.accounts import Accounts
from training.analysis.channels import Channels
from training.analysis.funnel import Funnel
from training.analysis.mql_audit import HandoverAudit
from training.analysis.offers import Offers
from training.analysis.points_comparison import PointsComparison
from training.analysis.time_to_conversion import TimeToConversion
from training.report.sections import channels, funnel, offers

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.report.report import Report
    from training.report.translator import Translator


def takeaway(report: Report, block: str, t: Translator) -> str:
    """What ``block`` says in one sentence; nothing where its first words say it already."""
    return _TAKEAWAYS[block](report, t) if block in _TAKEAWAYS else ""


def _worth(report: Report, t: Translator) -> str:
    at = report.summary.at_capacity
    if not report.summary.at_capacity.is_worthwhile:
        return t("summary.headline_none")
    return t("worth.takeaway", share=t.share(at.share), captured=t.percent(at.captured))


def _funnel(report: Report, t: Translator) -> str:
    found = report.insights.funnel
    return funnel.narrowest(found, t) if isinstance(found, Funnel) else ""


def _audit(report: Report, t: Translator) -> str:
    found = report.insights.mql_audit
    if not isinstance(found, HandoverAudit) or found.handed.rate is None:
        return ""
    told = t("mql-audit.takeaway", hits=t.number(100 * found.handed.rate.value))
    if found.same is None or found.same.gained.low <= 0:
        return told
    more = found.same.gained.value / found.same.won
    return f"{told} {t('mql-audit.takeaway_more', more=t.percent(more))}"


def _channels(report: Report, t: Translator) -> str:
    found = report.insights.channels
    return channels.headline(found, t) if isinstance(found, Channels) else ""


def _offers(report: Report, t: Translator) -> str:
    found = report.insights.offers
    if not isinstance(found, Offers):
        return ""
    first = offers.best(found.offers)
    if first is None:
        return t("offers.none")
    offer, ratio = first
    return t("offers.takeaway", offer=t.label("stages", offer.name), ratio=t.interval(ratio, 1))


def _drivers(report: Report, t: Translator) -> str:
    family, feature = report.drivers.families[0], report.drivers.features[0]
    if len(report.drivers.families) == 1:  # as in a flat export, where it would say nothing
        return t(
            "drivers.takeaway_one", feature=t.title(feature.spec), points=t.number(feature.importance, 1)
        )
    return t(
        "drivers.takeaway",
        family=t.label("families", family.name),
        points=t.number(family.importance),
        feature=t.title(feature.spec),
    )


def _timing(report: Report, t: Translator) -> str:
    found = report.insights.time_to_sql
    if not isinstance(found, TimeToConversion) or found.half is None or not found.overall.rates:
        return ""
    of = t.plural("funnel.days", found.overall.rates[-1].days)
    return t("time-to-sql.half", target=t.label("stages", found.target), of=of, day=t.number(found.half))


def _calibration(report: Report, t: Translator) -> str:
    total = report.calibration.total
    forecast, observed = t.number(100 * total.forecast, 1), t.number(100 * total.observed.value, 1)
    return t("calibration.takeaway", forecast=forecast, observed=observed)


def _accounts(report: Report, t: Translator) -> str:
    found = report.insights.accounts
    if not isinstance(found, Accounts) or not found.accounts:
        return ""
    return t("accounts.takeaway", several=t.number(found.several), together=t.number(found.together))


def _points(report: Report, t: Translator) -> str:
    found = report.insights.points_table
    if not isinstance(found, PointsComparison) or found.kept is None or found.kept <= 0:
        return ""
    return t("points-table.takeaway", lines=t.number(len(found.lines)), kept=t.percent(min(found.kept, 1.0)))


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
    "accounts": _accounts,
    "points-table": _points,
    "health": _health,
}
