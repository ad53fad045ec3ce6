"""The first section: the headline, the next steps, and warnings about the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.clock import DAY
from features.display_names import split_question
from models.metrics import Interval
from training.analysis.calibration import is_miscalibrated
from training.analysis.channels import Channels, has_codes
from training.analysis.funnel import Funnel
from training.report.charts.bars import interval_bars, stage_chart
from training.report.charts.vega import chart_markup
from training.report.sections.channels import board_table
from training.report.sections.funnel import narrowest
from training.report.sections.recommendations import recommendations

if TYPE_CHECKING:
    from markupsafe import Markup

    from training.report.report import MonitorVerdict, Report
    from training.report.translator import Translator


# Rows of the board's table of channels.
MOST_CHANNELS = 6


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``summary.html``, the board page.

    Returns:
        headline (sentence), facts (sentences on base rate and time), contrast (chart), steps
        (recommendations), channels (table with channels_reading, or None), funnel (chart with funnel_reading,
        or None), trust (sentences), warnings (code and sentence) and better (is the model worthwhile).
    """
    return {
        "better": report.actions.order == "model",
        "facts": _facts(report, t),
        "contrast": _contrast(report, t),
        "steps": recommendations(report, t),
        "headline": _headline(report, t),
        "trust": _trust(report, t),
        "warnings": warnings(report, t),
        **_channels(report, t),
        **_funnel(report, t),
    }


def _facts(report: Report, t: Translator) -> list[str]:
    """What a manager asks first: the base rate, the median time, and what counts as a lead."""
    summary, half = report.summary, report.summary.leads.half
    _, days = split_question(report.card.label)
    base = t(
        "summary.explained" if days is None else "summary.explained_within",
        base=t.percent(summary.base_rate, 1),
        **({} if days is None else {"days": t.plural("page.dative_days", days)}),
        rows=t.number(summary.rows),
        positives=t.number(summary.positives),
    )
    median = [] if half is None else [t("summary.median", target=_target(report, t), days=t.days(half / DAY))]
    return [sentence for sentence in (base, *median, looks(report, t)) if sentence]


def _channels(report: Report, t: Translator) -> dict[str, Any]:
    """The largest channels of the column that a step names, and the channel of that step.

    Without such a step, of the first column with readable names whose channel every lead has.
    """
    analysis = report.insights.channels
    if not isinstance(analysis, Channels):
        return {"channels": None}
    breakdown, step = report.actions.channel or (
        min(analysis.dimensions, key=lambda each: (has_codes(each), not each.whole)),
        None,
    )
    largest = sorted(
        breakdown.channels, key=lambda channel: (channel != step, channel.pooled > 0, -channel.leads)
    )
    reading = (
        "channels.board_costs" if any(channel.cost for channel in largest) else "channels.board_no_costs"
    )
    shown = sorted(largest[:MOST_CHANNELS], key=lambda channel: (channel.pooled > 0, -channel.leads))
    table = board_table(breakdown, shown, t.title(breakdown.spec), _target(report, t), t)
    return {"channels": table, "channels_reading": t(reading)}


def _target(report: Report, t: Translator) -> str:
    """The name of the target stage; "conversion" for a flat export."""
    funnel = report.insights.funnel
    return t.label("stages", funnel.target) if isinstance(funnel, Funnel) else t("channels.conversion")


def _funnel(report: Report, t: Translator) -> dict[str, Any]:
    funnel = report.insights.funnel
    if not isinstance(funnel, Funnel):
        return {"funnel": None}
    counts = [(t.label("stages", step.stage), step.entered) for step in funnel.steps]
    return {
        "funnel": chart_markup(stage_chart(counts, t)),
        "funnel_reading": narrowest(funnel, t) or t("summary.funnel_reading"),
    }


def _trust(report: Report, t: Translator) -> list[str]:
    """What was measured on how many leads, how well it ranks, and how far predictions are from outcomes."""
    summary, total = report.summary, report.calibration.total
    verdict = "summary.off_beyond" if is_miscalibrated(total) else "summary.off_chance"
    # The warning of little signal says how many pairs are in order, too.
    has_warning = any(warning.code == "little_signal" for warning in summary.warnings)
    pairs = [] if has_warning else [t("summary.pairs", auc=t.percent(report.worth.roc_auc.value))]
    monitor = report.monitor
    return [
        t.plural("summary.unseen", summary.people),
        *([_monitor(monitor, t)] if monitor is not None and monitor.state == "healthy" else []),
        *pairs,
        t(
            verdict,
            forecast=t.number(100 * total.forecast, 1),
            observed=t.number(100 * total.observed.value, 1),
        ),
    ]


def _monitor(verdict: MonitorVerdict, t: Translator) -> str:
    """What the monitor says of the model, with forecast and outcome where there are some."""
    text = t("summary.monitor", verdict=t(f"monitor.verdict_{verdict.state}"))
    if not verdict.outcomes:
        return text
    outcomes = t.plural(
        "summary.monitor_outcomes",
        verdict.outcomes,
        forecast=t.number(100 * verdict.forecast, 1),
        observed=t.number(100 * verdict.observed, 1),
    )
    return f"{text} {outcomes}"


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
    stage, horizon = split_question(report.card.label)
    is_stage = horizon is not None
    goal = t("summary.reach", target=t.label("stages", stage)) if is_stage else t("summary.convert")
    return t("summary.headline", hits=hits, base=without, goal=goal)


def warnings(report: Report, t: Translator) -> tuple[tuple[str, str], ...]:
    """The codes and sentences of the report's warnings."""
    unusable, verdict = t.percent(report.health.unusable, 1), report.monitor
    is_alert = verdict is not None and verdict.state != "healthy"
    alerts = ((f"monitor_{verdict.state}", _monitor(verdict, t)),) if verdict and is_alert else ()
    return alerts + tuple(
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
