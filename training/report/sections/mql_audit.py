"""The section on the audit of today's hand-over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.mql_audit import HandoverAudit
from training.report.charts.bars import bar_chart
from training.report.charts.forest import ForestRow, rate_forest
from training.report.charts.vega import chart_markup
from training.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.metrics import Interval
    from training.analysis.mql_audit import ContributionGap, EqualCallsComparison, HandoverOutcome
    from training.report.report import Report
    from training.report.translator import Translator


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``mql-audit.html``.

    Returns:
        rule, handed and kept (sentences), outcomes (table), same, against and towards (dicts with chart and
        table, or None), and rejections (table or None); {} where the audit is not applicable.
    """
    audit = report.insights.mql_audit
    if not isinstance(audit, HandoverAudit):
        return {}
    stage = t.label("stages", audit.stage or "")
    return {
        "rule": t("mql-audit.rule_points" if audit.rule == "points" else "mql-audit.rule_stage", stage=stage),
        "handed": _handed_over(audit, t),
        "kept": _not_handed_over(audit, t),
        "outcomes": _outcomes(audit, t),
        "same": None if audit.same is None else _equal_calls(audit.same, audit.hours, report, t),
        "against": _contribution_gaps(audit.against, "against", t),
        "towards": _contribution_gaps(audit.towards, "towards", t),
        "rejections": _rejections(audit, t),
    }


def _handed_over(audit: HandoverAudit, t: Translator) -> str:
    rate = audit.handed.rate
    if rate is None:
        return t("mql-audit.none_over")
    text = t(
        "mql-audit.handed",
        leads=t.number(audit.handed.leads),
        days=t.days(audit.days),
        lost=t.number(audit.handed.lost),
        rate=t.rate(rate),
    )
    if audit.hours is None:
        return text
    spent = t(
        "mql-audit.hours", hours=t.number(audit.hours * audit.handed.lost), each=t.number(audit.hours, 2)
    )
    return f"{text} {spent}"


def _not_handed_over(audit: HandoverAudit, t: Translator) -> str:
    if audit.kept.rate is None:
        return ""
    return t(
        "mql-audit.kept",
        leads=t.number(audit.kept.leads),
        won=t.number(audit.kept.won),
        rate=t.rate(audit.kept.rate),
        days=t.days(audit.days),
    )


def _outcomes(audit: HandoverAudit, t: Translator) -> Table:
    rows = tuple(
        _outcome(name, outcome, t) for name, outcome in (("handed", audit.handed), ("kept", audit.kept))
    )
    heads = ("leads_over", "won", "lost", "rate", "waiting")
    head = (t("mql-audit.group"), *(t(f"mql-audit.{name}") for name in heads))
    return Table(t("mql-audit.outcomes"), head, rows)


def _outcome(name: str, outcome: HandoverOutcome, t: Translator) -> tuple[str, ...]:
    return (
        t(f"mql-audit.group_{name}"),
        t.number(outcome.leads),
        t.number(outcome.won),
        t.number(outcome.lost),
        t.rate(outcome.rate) if outcome.rate else "",
        t.number(outcome.waiting),
    )


def _equal_calls(
    same: EqualCallsComparison, hours: float | None, report: Report, t: Translator
) -> dict[str, Any]:
    """The comparison at equal calls: chart, reading, offer (sentences) and table."""
    marks = [
        ForestRow(t(f"mql-audit.called_{cell.called}"), t.rate(cell.rate), cell.rate, _verdict(cell.called))
        for cell in same.quarters
        if cell.rate is not None
    ]
    rows = tuple(
        (
            t(f"mql-audit.called_{cell.called}"),
            t.number(cell.leads),
            t.number(cell.won),
            t.rate(cell.rate) if cell.rate else "",
        )
        for cell in same.quarters
    )
    heads = ("group", "leads", "won", "rate")
    return {
        "chart": chart_markup(rate_forest(marks, None, t)),
        "reading": _reading(same, t),
        "offer": _offer(same, hours, report, t),
        "table": Table(t("mql-audit.quarters"), tuple(t(f"mql-audit.{name}") for name in heads), rows),
    }


def _verdict(called: str) -> Any:
    return {"model": "more", "today": "less"}.get(called, "level")


def _reading(same: EqualCallsComparison, t: Translator) -> str:
    """Compare what came of the calls of each; a difference only where it is beyond chance."""
    rates = {outcome.called: t.rate(outcome.rate) for outcome in same.quarters if outcome.rate is not None}
    if not {"model", "today"} <= set(rates):
        return ""
    return t(
        "mql-audit.apart" if same.is_gain else "mql-audit.alike", today=rates["today"], model=rates["model"]
    )


def _offer(same: EqualCallsComparison, hours: float | None, report: Report, t: Translator) -> list[str]:
    """What the model's threshold would bring; nothing of it where its order is not to be followed."""
    if report.actions.order == "today":
        return [t("mql-audit.not_followed")]
    sentences = [
        t(
            "mql-audit.threshold",
            calls=t.number(same.calls),
            leads=t.number(same.leads),
            won=t.number(same.won),
            threshold=t.percent(same.threshold, 1),
        ),
        _describe_figure("gained", same.gained, t),
        _describe_figure("saved", same.saved, t),
    ]
    if hours is not None and same.saved.low > 0:
        ends = (t.number(hours * end) for end in (same.saved.low, same.saved.high))
        sentences.append(t("mql-audit.saved_hours", **dict(zip(("low", "high"), ends, strict=True))))
    return sentences


def _describe_figure(what: str, figure: Interval, t: Translator) -> str:
    """More, fewer, or undecided, by whether the interval contains zero."""
    sign = "more" if figure.low > 0 else "less" if figure.high < 0 else "level"
    ends = [t.number(abs(end)) for end in (figure.value, figure.low, figure.high)]
    if sign == "less":
        ends = [ends[0], ends[2], ends[1]]
    if sign == "level":
        ends = [t.signed(end, 0) for end in (figure.value, figure.low, figure.high)]
    return t(f"mql-audit.{what}_{sign}", value=ends[0], low=ends[1], high=ends[2])


def _contribution_gaps(gaps: Sequence[ContributionGap], what: str, t: Translator) -> dict[str, Any] | None:
    if not gaps:
        return None
    rows = tuple((t.title(gap.spec), t.signed(gap.points)) for gap in gaps)
    head = (t("mql-audit.feature"), t("mql-audit.points"))
    return {
        "chart": chart_markup(bar_chart([(t.title(gap.spec), gap.points) for gap in gaps], t)),
        "table": Table(t(f"mql-audit.{what}_table"), head, rows),
    }


def _rejections(audit: HandoverAudit, t: Translator) -> Table | None:
    if not audit.rejections:
        return None
    rows = tuple((rejection.reason, t.number(rejection.leads)) for rejection in audit.rejections)
    return Table(t("mql-audit.rejections"), (t("mql-audit.reason"), t("mql-audit.leads")), rows)
