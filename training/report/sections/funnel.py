"""The section on the funnel: its charts, its tables, and what stands out in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from babel.dates import format_date

from features.clock import DAY, to_datetime
from training.analysis.funnel import Funnel
from training.report.charts import bars, cohorts
from training.report.charts.vega import chart_markup
from training.report.table import Table

if TYPE_CHECKING:
    from training.analysis.funnel import Cohort, ConversionRate, FunnelStage
    from training.report.report import Report
    from training.report.translator import Translator

_SHORT = {"month": "MMM yy", "quarter": "QQQ yy"}
_LONG = {"month": "MMMM y", "quarter": "QQQ y"}
_MIN_LEADS = 30
_WHOLE = 10


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``funnel.html``.

    Returns:
        stages and cohorts (charts), steps, stays and by_period (tables), spread (sentence), maturing, days
        and target; {} where the funnel is not applicable.
    """
    funnel = report.insights.funnel
    if not isinstance(funnel, Funnel):
        return {}
    target = t.label("stages", funnel.target)
    named = [(_period(cohort, funnel, _SHORT, t), cohort) for cohort in funnel.cohorts]
    counts = [(t.label("stages", step.stage), step.entered) for step in funnel.steps]
    return {
        "stages": chart_markup(bars.stage_chart(counts, t)),
        "cohorts": chart_markup(cohorts.cohort_chart(named, t("funnel.rate", target=target), t)),
        "steps": replace(_steps(funnel, t), leads=report.lead_lists.get("funnel.steps", ())),
        "stays": _stays(funnel, t),
        "by_period": _by_period(funnel, t),
        "spread": _spread(funnel, t),
        "maturing": any(cohort.maturing for cohort in funnel.cohorts),
        "days": days_of(funnel.horizon, t),
        "target": target,
    }


def days_of(seconds: int, t: Translator) -> str:
    """Format a duration as it stands after "within"; German inflects it."""
    return t.plural("funnel.days", max(1, round(seconds / DAY)))


def _steps(funnel: Funnel, t: Translator) -> Table:
    names = ("stage", "entered", "skipped", "onward", "onward_naive", "target", "closed", "still")
    target, days = t.label("stages", funnel.target), days_of(funnel.horizon, t)
    head = tuple(t(f"funnel.{name}", target=target, days=days) for name in names)
    return Table(t("funnel.steps"), head, tuple(_step(step, t) for step in funnel.steps))


def _step(step: FunnelStage, t: Translator) -> tuple[str, ...]:
    return (
        t.label("stages", step.stage),
        t.number(step.entered),
        t.number(step.skipped),
        _matured(step.onward, t),
        _naive(step.onward, t),
        _matured(step.target, t),
        t.number(step.closed),
        t.number(step.still),
    )


def _stays(funnel: Funnel, t: Translator) -> Table:
    head = tuple(t(f"funnel.{name}") for name in ("stage", "first", "median", "third"))
    rows = tuple(
        (t.label("stages", step.stage), *(_days(days, t) for days in (stay.first, stay.median, stay.third)))
        for step in funnel.steps[:-1]
        for stay in (step.stay,)
    )
    return Table(t("funnel.stays"), head, rows)


def _by_period(funnel: Funnel, t: Translator) -> Table:
    named = tuple(t.label("stages", step.stage) for step in funnel.steps)
    head = (t(f"funnel.{funnel.period}"), t("funnel.naive"), t("funnel.matured"), t("funnel.state"), *named)
    rows = tuple(
        (
            _period(cohort, funnel, _LONG, t),
            _naive(cohort.target, t),
            _matured(cohort.target, t),
            t("funnel.maturing") if cohort.maturing else t("funnel.done"),
            *(t.number(count) for count in cohort.entered),
        )
        for cohort in funnel.cohorts
    )
    return Table(t("funnel.by_period"), head, rows)


def narrowest(funnel: Funnel, t: Translator) -> str:
    """Name the stage before the target with the smallest onward rate; empty where there is only one."""
    before = [step for step in funnel.steps if step.target is not None]
    rates = [
        (step.onward.matured, step.stage)
        for step in before
        if step.onward and step.onward.matured and step.onward.old >= _MIN_LEADS
    ]
    if len(rates) <= 1:
        return ""
    rate, stage = min(rates, key=lambda pair: pair[0].value)
    days = days_of(funnel.horizon, t)
    return t("funnel.narrowest", stage=t.label("stages", stage), rate=t.rate(rate), days=days)


def _spread(funnel: Funnel, t: Translator) -> str:
    """Compare the smallest and the largest matured rate of the cohorts."""
    rates = [
        cohort.target.matured
        for cohort in funnel.cohorts
        if cohort.target.matured is not None and not cohort.maturing and cohort.leads >= _MIN_LEADS
    ]
    if len(rates) <= 1:
        return ""
    low, high = (pick(rates, key=lambda rate: rate.value) for pick in (min, max))
    apart = "apart" if low.high < high.low else "alike"
    return t(f"funnel.{apart}", low=t.percent(low.value, 1), high=t.percent(high.value, 1))


def _period(cohort: Cohort, funnel: Funnel, patterns: dict[str, str], t: Translator) -> str:
    return format_date(to_datetime(cohort.start), patterns[funnel.period], locale=t.lang)


def _naive(rate: ConversionRate | None, t: Translator) -> str:
    return t.percent(rate.naive, 1) if rate is not None and rate.naive is not None else t("funnel.nothing")


def _matured(rate: ConversionRate | None, t: Translator) -> str:
    return t.rate(rate.matured) if rate is not None and rate.matured is not None else t("funnel.nothing")


def _days(days: float | None, t: Translator) -> str:
    return t("funnel.longer") if days is None else t.days(days, 1 if days < _WHOLE else 0)
