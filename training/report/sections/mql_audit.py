"""The audit of today's hand-over in words."""

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
    """What the template of the audit shows."""
    found = report.insights.mql_audit
    if not isinstance(found, HandoverAudit):
        return {}
    stage = t.label("stages", found.stage or "")
    return {
        "rule": t("mql-audit.rule_points" if found.rule == "points" else "mql-audit.rule_stage", stage=stage),
        "handed": _handed(found, t),
        "kept": _kept(found, t),
        "outcomes": _outcomes(found, t),
        "same": None if found.same is None else _same(found.same, found.hours, t),
        "against": _leans(found.against, "against", t),
        "towards": _leans(found.towards, "towards", t),
        "rejections": _rejections(found, t),
    }


def _handed(found: HandoverAudit, t: Translator) -> str:
    rate = found.handed.rate
    if rate is None:
        return t("mql-audit.none_over")
    text = t(
        "mql-audit.handed",
        leads=t.number(found.handed.leads),
        days=t.days(found.days),
        lost=t.number(found.handed.lost),
        rate=t.rate(rate),
    )
    if found.hours is None:
        return text
    spent = t(
        "mql-audit.hours", hours=t.number(found.hours * found.handed.lost), each=t.number(found.hours, 2)
    )
    return f"{text} {spent}"


def _kept(found: HandoverAudit, t: Translator) -> str:
    if found.kept.rate is None:
        return ""
    return t(
        "mql-audit.kept",
        leads=t.number(found.kept.leads),
        won=t.number(found.kept.won),
        rate=t.rate(found.kept.rate),
        days=t.days(found.days),
    )


def _outcomes(found: HandoverAudit, t: Translator) -> Table:
    rows = tuple(_outcome(name, one, t) for name, one in (("handed", found.handed), ("kept", found.kept)))
    heads = ("leads_over", "won", "lost", "rate", "waiting")
    head = (t("mql-audit.group"), *(t(f"mql-audit.{name}") for name in heads))
    return Table(t("mql-audit.outcomes"), head, rows)


def _outcome(name: str, one: HandoverOutcome, t: Translator) -> tuple[str, ...]:
    return (
        t(f"mql-audit.group_{name}"),
        t.number(one.leads),
        t.number(one.won),
        t.number(one.lost),
        t.rate(one.rate) if one.rate else "",
        t.number(one.waiting),
    )


def _same(same: EqualCallsComparison, hours: float | None, t: Translator) -> dict[str, Any]:
    """The offer: the same number of calls by the model, and what that brings."""
    marks = [
        ForestRow(t(f"mql-audit.called_{one.called}"), t.rate(one.rate), one.rate, _verdict(one.called))
        for one in same.quarters
        if one.rate is not None
    ]
    rows = tuple(
        (
            t(f"mql-audit.called_{one.called}"),
            t.number(one.leads),
            t.number(one.won),
            t.rate(one.rate) if one.rate else "",
        )
        for one in same.quarters
    )
    heads = ("group", "leads", "won", "rate")
    return {
        "chart": chart_markup(rate_forest(marks, None, t)),
        "reading": _reading(same, t),
        "offer": _offer(same, hours, t),
        "table": Table(t("mql-audit.quarters"), tuple(t(f"mql-audit.{name}") for name in heads), rows),
    }


def _verdict(called: str) -> Any:
    return {"model": "more", "today": "less"}.get(called, "level")


def _reading(same: EqualCallsComparison, t: Translator) -> str:
    """Whom only one of both calls: told as a difference only where the intervals keep apart."""
    model, today = (next(q for q in same.quarters if q.called == who) for who in ("model", "today"))
    if model.rate is None or today.rate is None:
        return t("mql-audit.agree")
    apart = model.rate.low > today.rate.high or today.rate.low > model.rate.high
    return t(
        "mql-audit.apart" if apart else "mql-audit.alike",
        today=t.rate(today.rate),
        model=t.rate(model.rate),
        today_leads=t.number(today.leads),
        model_leads=t.number(model.leads),
    )


def _offer(same: EqualCallsComparison, hours: float | None, t: Translator) -> list[str]:
    said = [
        t(
            "mql-audit.threshold",
            calls=t.number(same.calls),
            leads=t.number(same.leads),
            won=t.number(same.won),
            threshold=t.percent(same.threshold, 1),
        ),
        _sure("gained", same.gained, t),
        _sure("saved", same.saved, t),
    ]
    if hours is not None and same.saved.low > 0:
        ends = (t.number(hours * end) for end in (same.saved.low, same.saved.high))
        said.append(t("mql-audit.saved_hours", **dict(zip(("low", "high"), ends, strict=True))))
    return said


def _sure(what: str, figure: Interval, t: Translator) -> str:
    """More, fewer, or not to be told: by whether the interval holds zero."""
    sign = "more" if figure.low > 0 else "less" if figure.high < 0 else "level"
    size = [t.number(abs(end)) for end in (figure.value, figure.low, figure.high)]
    if sign == "less":
        size = [size[0], size[2], size[1]]
    if sign == "level":
        size = [t.signed(end, 0) for end in (figure.value, figure.low, figure.high)]
    return t(f"mql-audit.{what}_{sign}", value=size[0], low=size[1], high=size[2])


def _leans(leans: Sequence[ContributionGap], what: str, t: Translator) -> dict[str, Any] | None:
    if not leans:
        return None
    rows = tuple((t.title(lean.spec), t.signed(lean.points)) for lean in leans)
    head = (t("mql-audit.feature"), t("mql-audit.points"))
    return {
        "chart": chart_markup(bar_chart([(t.title(lean.spec), lean.points) for lean in leans], t)),
        "table": Table(t(f"mql-audit.{what}_table"), head, rows),
    }


def _rejections(found: HandoverAudit, t: Translator) -> Table | None:
    if not found.rejections:
        return None
    rows = tuple((one.reason, t.number(one.leads)) for one in found.rejections)
    return Table(t("mql-audit.rejections"), (t("mql-audit.reason"), t("mql-audit.leads")), rows)
