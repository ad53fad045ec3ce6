"""The first section: the headline, the next steps, and warnings about the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.clock import DAY
from models.metrics import Interval
from training.report.charts.bars import interval_bars
from training.report.charts.vega import chart_markup
from training.report.sections.recommendations import recommendations

if TYPE_CHECKING:
    from markupsafe import Markup

    from training.report.report import Report
    from training.report.translator import Translator


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``summary.html``.

    Returns:
        headline and looks (sentences), contrast (chart), steps (recommendations), warnings (code and
        sentence), better (whether the model is worthwhile) and half_days (days to half of the conversions, or
        None).
    """
    half = report.summary.leads.half
    return {
        "half_days": None if half is None else half / DAY,
        "better": report.actions.order == "model",
        "contrast": _contrast(report, t),
        "steps": recommendations(report, t),
        "headline": _headline(report, t),
        "looks": looks(report, t),
        "warnings": warnings(report, t),
    }


def looks(report: Report, t: Translator) -> str:
    """Say that each snapshot of a lead counts, where leads have several; else empty."""
    rows, people = report.summary.rows, report.summary.people
    return t("summary.looks", rows=t.number(rows), people=t.number(people)) if people < rows else ""


def _contrast(report: Report, t: Translator) -> Markup:
    """A chart of the rates when calling in the model's order and in any order."""
    summary = report.summary
    rates = [(t("summary.in_order", share=t.share(summary.at_capacity.share)), summary.at_capacity.rate)]
    rates.append((t("summary.in_any_order"), Interval(*(summary.base_rate,) * 3)))
    return chart_markup(interval_bars([(name, rate, t.number(100 * rate.value)) for name, rate in rates]))


def _headline(report: Report, t: Translator) -> str:
    if report.actions.order == "today":
        return t("summary.headline_none")
    summary = report.summary
    hits, without = t.number(100 * summary.at_capacity.rate.value), t.number(100 * summary.base_rate)
    if without in {hits, "0"}:
        hits, without = (
            t.number(100 * summary.at_capacity.rate.value, 1),
            t.number(100 * summary.base_rate, 1),
        )
    return t("summary.headline", hits=hits, base=without, label=t.question(report.card.label))


def warnings(report: Report, t: Translator) -> tuple[tuple[str, str], ...]:
    """The codes and sentences of the report's warnings."""
    unusable = t.percent(report.health.unusable, 1)
    return tuple(
        (
            warn.code,
            t(
                f"warnings.{warn.code}",
                number=t.number(warn.value),
                percent=t.percent(warn.value, 1),
                unusable=unusable,
            ),
        )
        for warn in report.summary.warnings
    )
