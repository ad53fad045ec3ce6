"""The section on points tables: the learned one beside today's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.clock import humanise
from features.display_names import humanise_column
from training.analysis.points_comparison import PointsComparison
from training.report.table import Table

if TYPE_CHECKING:
    from training.analysis.points_comparison import CurrentRuleRow
    from training.report.report import Report
    from training.report.translator import Translator


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``points-table.html``.

    Returns:
        reading and thresholds (sentences), learned, reached, measured and today (tables; today may be None);
        {} where there is no learned table.
    """
    comparison = report.insights.points_table
    if not isinstance(comparison, PointsComparison):
        return {}
    thresholds = ", ".join(f"{stage.upper()} {least:g}" for stage, least in comparison.thresholds.items())
    return {
        "reading": _reading(comparison, t),
        "learned": _learned(comparison, t),
        "reached": _reached(comparison, t),
        "measured": _measured(comparison, t),
        "today": _today(comparison, t) if comparison.today else None,
        "thresholds": thresholds,
    }


def _reading(comparison: PointsComparison, t: Translator) -> str:
    if comparison.retained_skill is None:
        return t("points-table.nothing", judged=t.number(comparison.held_out_leads))
    if comparison.retained_skill <= 0:
        return t("points-table.worthless", judged=t.number(comparison.held_out_leads))
    return t(
        "points-table.kept",
        kept=t.percent(min(comparison.retained_skill, 1.0)),
        judged=t.number(comparison.held_out_leads),
    )


def _learned(comparison: PointsComparison, t: Translator) -> Table:
    rows = tuple(
        (_humanise_condition(line.condition.render(t.lang)), t.signed(line.points, 0))
        for line in comparison.lines
    )
    return Table(t("points-table.learned"), (t("points-table.condition"), t("points-table.points")), rows)


def _humanise_condition(condition: str) -> str:
    name, colon, values = condition.partition(":")
    return humanise_column(name) + colon + values


def _reached(comparison: PointsComparison, t: Translator) -> Table:
    rows = tuple(
        (
            reach.stage.upper(),
            t.number(reach.points),
            t.percent(reach.share, 1),
            t.percent(reach.rate, 1),
        )
        for reach in comparison.reached
    )
    head = tuple(t(f"points-table.{name}") for name in ("stage", "from", "share", "rate"))
    return Table(t("points-table.thresholds"), head, rows)


def _measured(comparison: PointsComparison, t: Translator) -> Table:
    rows = [
        (
            t(f"points-table.whose_{metrics.whose}"),
            t.number(metrics.roc_auc, 3),
            t.number(metrics.log_loss, 4),
        )
        for metrics in comparison.measured
    ]
    rows.append((t("points-table.whose_nobody"), t.number(0.5, 3), t.number(comparison.base_rate, 4)))
    head = tuple(t(f"points-table.{name}") for name in ("whose", "roc_auc", "log_loss"))
    return Table(t("points-table.measured"), head, tuple(rows))


def _today(comparison: PointsComparison, t: Translator) -> Table:
    rows = tuple(
        (_condition(line, t), t.signed(line.points, 0), _limits(line, t)) for line in comparison.today
    )
    head = tuple(t(f"points-table.{name}") for name in ("condition", "points", "limits"))
    return Table(t("points-table.today"), head, rows)


def _condition(line: CurrentRuleRow, t: Translator) -> str:
    if line.kind is not None:
        return t("points-table.each", kind=t.label("kinds", line.kind)) + (f" ({line.of})" if line.of else "")
    if line.of is not None:
        return f"{_column(line, t)}: {t.names.value(line.column or '', line.of).render(t.lang)}"
    ends = {"at_least": line.at_least, "below": line.below}
    bounds = [
        t(f"points-table.{name}", value=t.number(end, 0 if float(end).is_integer() else 1))
        for name, end in ends.items()
        if end is not None
    ]
    return f"{_column(line, t)}: {', '.join(bounds)}"


def _column(line: CurrentRuleRow, t: Translator) -> str:
    return t.names.column(line.column or "").render(t.lang)


def _limits(line: CurrentRuleRow, t: Translator) -> str:
    cap = [] if line.cap is None else [t("points-table.cap", value=t.number(line.cap))]
    fades = [] if line.lifespan is None else [t("points-table.fades", span=humanise(line.lifespan, t.lang))]
    return ", ".join(cap + fades)
