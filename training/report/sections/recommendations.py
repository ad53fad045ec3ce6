"""Recommendations: a few next steps, each only where the figures behind it are significant."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from training.analysis.accounts import Accounts
from training.analysis.mql_audit import HandoverAudit
from training.analysis.time_to_conversion import WEEK, TimeToConversion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from training.report.report import Report
    from training.report.translator import Translator


class Recommendation(NamedTuple):
    """What to do, the figure that supports it, and the id of the section that shows it."""

    do: str
    why: str
    block: str


def recommendations(report: Report, t: Translator) -> tuple[Recommendation, ...]:
    """List the recommendations by value, as ``report.actions`` decides them."""
    return tuple(step for rule in _RULES for step in rule(report, t))


def _check_first(report: Report, t: Translator) -> Iterator[Recommendation]:
    if report.actions.check_data:
        yield Recommendation(t("monday.check"), t("monday.check_why"), "health")


def _call(report: Report, t: Translator) -> Iterator[Recommendation]:
    if report.actions.order == "today":
        yield Recommendation(t("monday.wait"), t("monday.wait_why"), "health")
        return
    capacity, weekly = report.summary.at_capacity, report.worth.weekly
    why = t("monday.call_why", captured=t.percent(capacity.captured))
    if weekly:
        calls = max(1, round(capacity.share * weekly))
        yield Recommendation(t.plural("monday.call_week", calls), why, "worth")
    else:
        yield Recommendation(t("monday.call", share=t.share(capacity.share)), why, "worth")


def _hand_over(report: Report, t: Translator) -> Iterator[Recommendation]:
    audit = report.insights.mql_audit
    if isinstance(audit, HandoverAudit) and audit.same is not None and report.actions.hand_over:
        ends = [
            t.number(end) for end in (audit.same.gained.value, audit.same.gained.low, audit.same.gained.high)
        ]
        why = t(
            "monday.hand_over_why",
            calls=t.number(audit.same.calls),
            won=t.number(audit.same.won),
            **dict(zip(("more", "low", "high"), ends, strict=True)),
        )
        yield Recommendation(
            t("monday.hand_over", threshold=t.percent(audit.same.threshold, 1)), why, "mql-audit"
        )


def _in_time(report: Report, t: Translator) -> Iterator[Recommendation]:
    timing = report.insights.time_to_sql
    if not isinstance(timing, TimeToConversion) or not report.actions.by_week:
        return
    best, fades = timing.hand_over.best, timing.hand_over.fades
    if best is None or fades is None:
        return
    why = t(
        "monday.in_time_why",
        week=t.number(best.since // WEEK + 1),
        rate=t.percent(best.rate.value, 1),
        expected=t.percent(timing.hand_over.expected or 0.0, 1),
    )
    yield Recommendation(t("monday.in_time", week=t.number(fades // WEEK + 1)), why, "time-to-sql")


def _offer(report: Report, t: Translator) -> Iterator[Recommendation]:
    offer = report.actions.offer
    if offer is not None and offer.ratio is not None:
        why = t("monday.offer_why", ratio=t.interval(offer.ratio, 1))
        yield Recommendation(t("monday.offer", offer=t.offer(offer.name)), why, "offers")


def _companies(report: Report, t: Translator) -> Iterator[Recommendation]:
    analysis = report.insights.accounts
    if isinstance(analysis, Accounts) and report.actions.accounts:
        first = analysis.accounts[0]
        why = t("monday.companies_why", account=first.account, lead=first.lead, best=t.percent(first.best))
        yield Recommendation(t("monday.companies", several=t.number(analysis.several)), why, "accounts")


def _channel(report: Report, t: Translator) -> Iterator[Recommendation]:
    if report.actions.channel is None:
        return
    breakdown, channel = report.actions.channel
    if channel.ratio is not None:
        why = t("monday.channel_why", ratio=t.interval(channel.ratio, 1))
        name = t.value(breakdown.spec, channel.name)
        yield Recommendation(t("monday.channel", channel=name), why, "channels")


def _fill_in(report: Report, t: Translator) -> Iterator[Recommendation]:
    if report.actions.fill_in is not None:
        driver, missing = report.actions.fill_in
        why = t("monday.fill_in_why", share=t.percent(missing))
        yield Recommendation(t("monday.fill_in", attribute=t.title(driver.spec)), why, "health")


def _repair(report: Report, t: Translator) -> Iterator[Recommendation]:
    if report.actions.repair:
        why = t("monday.repair_why", unusable=t.percent(report.health.unusable, 1))
        yield Recommendation(t("monday.repair"), why, "health")


def _again(report: Report, t: Translator) -> Iterator[Recommendation]:
    if report.actions.train_again:
        yield Recommendation(t("monday.again"), t("monday.again_why"), "calibration")


def _findings(report: Report, t: Translator) -> Iterator[Recommendation]:
    if report.actions.read_findings:
        yield Recommendation(t("monday.check"), t("monday.findings_why"), "health")


def _costs(report: Report, t: Translator) -> Iterator[Recommendation]:
    if report.actions.add_costs:
        yield Recommendation(t("monday.costs"), t("monday.costs_why"), "channels")


# The most valuable first: the board shows three.
_RULES: tuple[Callable[[Report, Translator], Iterator[Recommendation]], ...] = (
    _check_first,
    _call,
    _hand_over,
    _in_time,
    _offer,
    _channel,
    _companies,
    _fill_in,
    _repair,
    _again,
    _findings,
    _costs,
)
