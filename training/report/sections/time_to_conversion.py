"""The section on time to conversion: its curves, and when to call a lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.time_to_conversion import RATED, WEEK, TimeToConversion
from training.report.charts import bars, timing
from training.report.charts.vega import chart_markup
from training.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.analysis.time_to_conversion import CallTiming, ConversionCurve, HazardRate
    from training.report.report import Report
    from training.report.translator import Translator

_RECENT_DAYS = 7
_STEP_DAYS = 15
_MIN_OBSERVED = 30


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``time-to-sql.html``.

    Returns:
        target, by and rates; curve and curves (charts), points and segments (tables), comparison (sentence);
        the hazard rates by week (weeks, weeks_table, weeks_reading) and since requests (requests,
        requests_table, requests_reading, within); {} where the timing is not applicable.
    """
    conversion = report.insights.time_to_sql
    if not isinstance(conversion, TimeToConversion) or not conversion.overall.points:
        return {}
    named = _named(conversion, t)
    drawable = [pair for pair in named if pair[1].points]
    target = t.label("stages", conversion.target)
    title = t("time-to-sql.reached", target=target)
    return {
        "target": target,
        "rates": [(t.plural("funnel.days", rate.days), rate.share) for rate in conversion.overall.rates],
        "curve": chart_markup(timing.conversion_chart(conversion.overall.points, title, t)),
        "points": _points(conversion, t),
        "curves": chart_markup(timing.segment_chart(drawable, title, t)) if drawable else None,
        "by": "" if conversion.by is None else t.title(conversion.by),
        "segments": _segments(conversion, named, t),
        "comparison": _comparison(conversion, t),
        **_by_age(conversion, t),
        **_since_request(conversion.hand_over, t),
    }


def _named(conversion: TimeToConversion, t: Translator) -> list[tuple[str, ConversionCurve]]:
    pooled = [] if conversion.other is None else [(t("time-to-sql.other"), conversion.other)]
    return [*((_name_of(curve, conversion, t), curve) for curve in conversion.segments), *pooled]


def _name_of(curve: ConversionCurve, conversion: TimeToConversion, t: Translator) -> str:
    return str(curve.segment) if conversion.by is None else t.value(conversion.by, curve.segment)


def _points(conversion: TimeToConversion, t: Translator) -> Table:
    head = (
        t("time-to-sql.days"),
        t("time-to-sql.reached_interval", target=t.label("stages", conversion.target)),
    )
    points = [point for point in conversion.overall.points if point.days % _STEP_DAYS == 0]
    rows = tuple((t.number(point.days), t.rate(point.share)) for point in points)
    return Table(t("time-to-sql.curve_table"), head, rows)


def _segments(
    conversion: TimeToConversion, named: Sequence[tuple[str, ConversionCurve]], t: Translator
) -> Table:
    days = tuple(t("time-to-sql.within_days", days=t.plural("funnel.days", day)) for day in RATED)
    by = t("time-to-sql.segment") if conversion.by is None else t.title(conversion.by)
    all_leads = (t("time-to-sql.all"), conversion.overall)
    rows = tuple(_segment(name, curve, t) for name, curve in (*named, all_leads))
    return Table(t("time-to-sql.segments_table"), (by, t("time-to-sql.leads"), *days), rows)


def _segment(name: str, curve: ConversionCurve, t: Translator) -> tuple[str, ...]:
    known = {rate.days: rate.share for rate in curve.rates}
    shares = (t.rate(known[day]) if day in known else t("funnel.nothing") for day in RATED)
    return name, t.number(curve.leads), *shares


def _comparison(conversion: TimeToConversion, t: Translator) -> str:
    """Compare the fastest and the slowest segment on the last day that all were observed."""
    rated = conversion.rated_segments
    if len(rated) <= 1:
        return ""
    slow, fast = (pick(rated, key=lambda pair: pair[1].share.value) for pick in (min, max))
    return t(
        "time-to-sql.apart" if conversion.are_apart else "time-to-sql.alike",
        days=t.plural("funnel.days", slow[1].days),
        slow=_name_of(slow[0], conversion, t),
        low=t.percent(slow[1].share.value, 1),
        fast=_name_of(fast[0], conversion, t),
        high=t.percent(fast[1].share.value, 1),
    )


def _by_age(conversion: TimeToConversion, t: Translator) -> dict[str, Any]:
    """The hazard rates by week since creation; no chart where no week was observed enough."""
    ages = conversion.hand_over.by_age
    weekly = [(p.since // WEEK + 1, p.rate) for p in ages if p.until is not None and p.weeks >= _MIN_OBSERVED]
    title = t("time-to-sql.per_week", target=t.label("stages", conversion.target))
    return {
        "weeks": chart_markup(timing.hazard_chart(weekly, title, t)) if weekly else None,
        "weeks_table": _hazard_table([(_stretch(hazard, t), hazard) for hazard in ages], t, "ages_table"),
        "weeks_reading": _weeks_reading(conversion.hand_over, t),
    }


def _since_request(call_timing: CallTiming, t: Translator) -> dict[str, Any]:
    """The hazard rates since the newest request, and how soon after the first one leads convert."""
    hazards = _request_hazards(call_timing, t)
    intervals = [(name, hazard.rate, t.percent(hazard.rate.value, 1)) for name, hazard in hazards]
    return {
        "requests": chart_markup(bars.interval_bars(intervals)) if intervals else None,
        "requests_table": _hazard_table(hazards, t),
        "requests_reading": _requests_reading(call_timing, t),
        "within": _within(call_timing, t),
    }


def _hazard_table(
    rows: Sequence[tuple[str, HazardRate]], t: Translator, caption: str = "requests_table"
) -> Table:
    head = tuple(t(f"time-to-sql.{name}") for name in ("stretch", "watched", "hits", "per_week_interval"))
    cells = tuple((name, t.number(p.weeks), t.number(p.hits), t.rate(p.rate)) for name, p in rows)
    return Table(t(f"time-to-sql.{caption}"), head, cells)


def _request_hazards(call_timing: CallTiming, t: Translator) -> list[tuple[str, HazardRate]]:
    if not call_timing.since_request:
        return []
    never = [] if call_timing.unasked is None else [(t("time-to-sql.unasked"), call_timing.unasked)]
    return [*((_stretch(hazard, t), hazard) for hazard in call_timing.since_request), *never]


def _stretch(hazard: HazardRate, t: Translator) -> str:
    if hazard.until is None:
        return t("time-to-sql.from", day=t.number(hazard.since))
    if not hazard.since:
        return t("time-to-sql.under", days=t.plural("funnel.days", hazard.until))
    return t("time-to-sql.between", low=t.number(hazard.since), high=t.number(hazard.until))


def _weeks_reading(call_timing: CallTiming, t: Translator) -> str:
    """Name the week that stands out, and from when on the rate is lower; or say that none does."""
    if call_timing.best is None or call_timing.expected is None:
        return t("time-to-sql.no_best_week")
    text = t(
        "time-to-sql.best_week",
        week=t.number(call_timing.best.since // WEEK + 1),
        rate=t.percent(call_timing.best.rate.value, 1),
        expected=t.percent(call_timing.expected, 1),
    )
    if call_timing.fades is None:
        return f"{text} {t('time-to-sql.no_fading_week')}"
    return f"{text} {t('time-to-sql.fading_week', week=t.number(call_timing.fades // WEEK + 1))}"


def _requests_reading(call_timing: CallTiming, t: Translator) -> str:
    new = [
        hazard
        for hazard in call_timing.since_request
        if hazard.until is not None and hazard.until <= _RECENT_DAYS
    ]
    weeks, hits = sum(hazard.weeks for hazard in new), sum(hazard.hits for hazard in new)
    if not weeks or call_timing.unasked is None:
        return ""
    return t(
        "time-to-sql.asked_pace",
        asked=t.percent(hits / weeks, 1),
        unasked=t.percent(call_timing.unasked.rate.value, 1),
        days=t.plural("funnel.days", _RECENT_DAYS),
    )


def _within(call_timing: CallTiming, t: Translator) -> str:
    if not call_timing.within:
        return ""
    soon = {point.days: t.percent(point.share.value) for point in call_timing.within}
    return t(
        "time-to-sql.asked_first",
        asked=t.number(call_timing.asked),
        hits=t.number(call_timing.hits),
        seven=soon[7],
        fourteen=soon[14],
        thirty=soon[30],
    )
