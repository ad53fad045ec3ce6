"""Both points tables in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.clock import humanise
from training.analysis.points_comparison import PointsComparison
from training.report.table import Table
from training.report.translator import humanise_column

if TYPE_CHECKING:
    from training.analysis.points_comparison import CurrentRuleRow
    from training.report.report import Report
    from training.report.translator import Translator


def view(report: Report, t: Translator) -> dict[str, Any]:
    """What the template of the points tables shows."""
    found = report.insights.points_table
    if not isinstance(found, PointsComparison):
        return {}
    thresholds = ", ".join(f"{stage.upper()} {least:g}" for stage, least in found.thresholds.items())
    return {
        "reading": _reading(found, t),
        "learned": _learned(found, t),
        "reached": _reached(found, t),
        "measured": _measured(found, t),
        "today": _today(found, t) if found.today else None,
        "thresholds": thresholds,
    }


def _reading(found: PointsComparison, t: Translator) -> str:
    if found.kept is None:
        return t("points-table.nothing", judged=t.number(found.judged))
    if found.kept <= 0:
        return t("points-table.worthless", judged=t.number(found.judged))
    return t("points-table.kept", kept=t.percent(min(found.kept, 1.0)), judged=t.number(found.judged))


def _learned(found: PointsComparison, t: Translator) -> Table:
    rows = tuple((_said(line.condition.render(t.lang)), t.signed(line.points, 0)) for line in found.lines)
    return Table(t("points-table.learned"), (t("points-table.condition"), t("points-table.points")), rows)


def _said(condition: str) -> str:
    name, colon, values = condition.partition(":")
    return humanise_column(name) + colon + values


def _reached(found: PointsComparison, t: Translator) -> Table:
    rows = tuple(
        (
            reach.stage.upper(),
            t.number(reach.points),
            t.percent(reach.share, 1),
            t.percent(reach.rate, 1),
        )
        for reach in found.reached
    )
    head = tuple(t(f"points-table.{name}") for name in ("stage", "from", "share", "rate"))
    return Table(t("points-table.thresholds"), head, rows)


def _measured(found: PointsComparison, t: Translator) -> Table:
    rows = [
        (t(f"points-table.whose_{one.whose}"), t.number(one.roc_auc, 3), t.number(one.log_loss, 4))
        for one in found.measured
    ]
    rows.append((t("points-table.whose_nobody"), t.number(0.5, 3), t.number(found.base_rate, 4)))
    head = tuple(t(f"points-table.{name}") for name in ("whose", "roc_auc", "log_loss"))
    return Table(t("points-table.measured"), head, tuple(rows))


def _today(found: PointsComparison, t: Translator) -> Table:
    rows = tuple((_condition(line, t), t.signed(line.points, 0), _limits(line, t)) for line in found.today)
    head = tuple(t(f"points-table.{name}") for name in ("condition", "points", "limits"))
    return Table(t("points-table.today"), head, rows)


def _condition(line: CurrentRuleRow, t: Translator) -> str:
    if line.kind is not None:
        return t("points-table.each", kind=t.label("kinds", line.kind)) + (f" ({line.of})" if line.of else "")
    if line.of is not None:
        return f"{line.column}: {line.of}"
    ends = {"at_least": line.at_least, "below": line.below}
    said = [t(f"points-table.{name}", value=f"{end:g}") for name, end in ends.items() if end is not None]
    return f"{line.column}: {', '.join(said)}"


def _limits(line: CurrentRuleRow, t: Translator) -> str:
    cap = [] if line.cap is None else [t("points-table.cap", value=t.number(line.cap))]
    fades = [] if line.lifespan is None else [t("points-table.fades", span=humanise(line.lifespan, t.lang))]
    return ", ".join(cap + fades)
